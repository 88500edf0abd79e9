//! Some associations at once: rate and how long answers take, our SCU into one receiver.

use std::path::Path;

use packhorse_daemon::output;
use packhorse_testkit::instances::ImageSize;

use crate::load::{Load, Nagle};
use crate::receiver::Receivers;
use crate::scu;
use crate::table::{Spread, Table, cell};

/// Associations at once, in the order of the turns.
const ASSOCIATIONS: [u32; 4] = [1, 4, 16, 64];
/// The receiver: edge A, taking into custody.
const RECEIVER: &str = "edge A, no link";

/// So many instances of a size over 1, 4, 16 and 64 associations, in each round.
pub(crate) fn run(
    (title, instances, size): (&str, u32, ImageSize),
    rounds: u32,
    parent: &Path,
    receivers: &mut Receivers,
) -> anyhow::Result<Option<String>> {
    let warm_up = Load::slices(parent, "many/warm-up", 64, ImageSize::default())?;
    let load = Load::slices(parent, "many/load", instances, size)?;
    let Some(receiver) = receivers.all.iter_mut().find(|receiver| receiver.name() == RECEIVER) else {
        return Ok(None);
    };
    let mut reports = Vec::new();
    for round in 1..=rounds {
        for associations in ASSOCIATIONS {
            receiver.begin(Nagle::Off)?;
            let (port, called) = (receiver.port()?, receiver.called_ae_title());
            let at_once = usize::try_from(associations)?;
            scu::run(port, called, at_once, &warm_up)?;
            rustix::fs::sync();
            let report = scu::run(port, called, at_once, &load)?;
            receiver.settle(warm_up.count() + load.count())?;
            receiver.end()?;
            output::error_line(&format!("{title} round {round} x{associations} {report:?}"));
            reports.push((associations, report));
        }
    }
    let columns = ["associations", "instances a second", "C-STORE-RSP p50, ms", "p99, ms"];
    let mut table = Table::new(&columns);
    for associations in ASSOCIATIONS {
        let of = |figure: &dyn Fn(&scu::Report) -> f64| {
            let ours = reports.iter().filter(|(count, _)| *count == associations);
            cell(Spread::of(ours.map(|(_, report)| figure(report))))
        };
        table.row(&[
            associations.to_string(),
            of(&|report| f64::from(instances) / report.took.as_secs_f64()),
            of(&|report| report.p50.as_secs_f64() * 1e3),
            of(&|report| report.p99.as_secs_f64() * 1e3),
        ]);
    }
    let title = format!("Associations at once: {RECEIVER}, {instances} x {title}, {rounds} rounds");
    Ok(Some(table.finish(&title)))
}
