//! Our SCU beside `storescu`: both into storescp, which delays its acknowledgements.

use std::path::Path;

use packhorse_daemon::output;

use crate::load::Load;
use crate::receiver::Receivers;
use crate::rounds::Course;
use crate::table::{Spread, Table, cell};

/// The receiver. It leaves delayed acknowledgements on.
const RECEIVER: &str = "storescp";

/// Both senders in turn, over one association each, file after file; the time is that of the whole process.
pub(crate) fn run(
    course: &Course,
    rounds: u32,
    parent: &Path,
    receivers: &mut Receivers,
) -> anyhow::Result<Option<String>> {
    let load = Load::slices(parent, "senders", course.instances, course.size)?;
    let Some(receiver) = receivers.all.iter_mut().find(|receiver| receiver.name() == RECEIVER) else {
        return Ok(None);
    };
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (is_ours, figures) in [(false, &mut theirs), (true, &mut ours)] {
            receiver.begin(course.nagle)?;
            let (port, called) = (receiver.port()?, receiver.called_ae_title());
            rustix::fs::sync();
            let sent = if is_ours {
                load.send_with_ours(port, called)?
            } else {
                load.send(port, called, course.nagle)?
            };
            receiver.settle(load.count())?;
            receiver.end()?;
            output::error_line(&format!("{} round {round} ours: {is_ours} {sent:?}", course.title));
            figures.push(sent.took.as_secs_f64());
        }
    }
    let mut table = Table::new(&["sender", "instances a second", "seconds", "times as fast as storescu"]);
    for (name, figures) in [("storescu", &theirs), ("our SCU", &ours)] {
        let ratios = theirs.iter().zip(figures).map(|(theirs, took)| theirs / took);
        table.row(&[
            name.to_owned(),
            cell(Spread::of(
                figures.iter().map(|took| f64::from(course.instances) / took),
            )),
            cell(Spread::of(figures.iter().copied())),
            cell(Spread::of(ratios)),
        ]);
    }
    let title = format!(
        "Senders into storescp: {} x {}, {rounds} rounds",
        course.instances, course.title
    );
    Ok(Some(table.finish(&title)))
}
