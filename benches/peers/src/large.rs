//! Memory while one large instance passes.

use std::path::Path;

use packhorse_daemon::output;
use packhorse_testkit::instances::ImageSize;

use crate::load::{Load, Nagle};
use crate::receiver::Receivers;
use crate::table::Table;

/// Each receiver, newly started, takes a few small instances and then one with so many MiB of pixels.
pub(crate) fn run(mib: u64, parent: &Path, receivers: &mut Receivers) -> anyhow::Result<String> {
    let warm_up = Load::slices(parent, "one/warm-up", 3, ImageSize::default())?;
    let one = Load::one(parent, "one", mib << 20)?;
    let title = format!("Memory: peak RSS while one instance of {mib} MiB passes");
    let mut table = Table::new(&["process", "before, MiB", "after, MiB", "storescu, seconds"]);
    for receiver in &mut receivers.all {
        receiver.begin(Nagle::Off)?;
        warm_up.send(receiver.port()?, receiver.called_ae_title(), Nagle::Off)?;
        receiver.settle(warm_up.count())?;
        let before = receiver.peaks()?;
        rustix::fs::sync();
        let sent = one.send(receiver.port()?, receiver.called_ae_title(), Nagle::Off)?;
        receiver.settle(warm_up.count() + one.count())?;
        let mut seconds = format!("{:.2}", sent.took.as_secs_f64());
        for ((name, before), (_, after)) in before.iter().zip(receiver.peaks()?) {
            table.row(&[
                (*name).to_owned(),
                (before / 1024).to_string(),
                (after / 1024).to_string(),
                std::mem::take(&mut seconds),
            ]);
        }
        receiver.end()?;
        output::error_line(&format!("{mib} MiB {} {sent:?}", receiver.name()));
    }
    Ok(table.finish(&title))
}
