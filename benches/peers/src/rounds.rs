//! Rounds of turns, and the tables they make.

use std::path::Path;
use std::time::{Duration, SystemTime};

use packhorse_daemon::output;
use packhorse_testkit::instances::ImageSize;

use crate::load::{Load, Nagle, Sent};
use crate::receiver::{Receiver, Receivers};
use crate::table::{Spread, Table, cell};

/// Instances sent before a turn is measured, so that nobody's first file or statement is.
const WARM_UP: u32 = 3;
const MB: f64 = 1e6;

/// What is sent in each turn.
pub(crate) struct Course {
    pub(crate) title: &'static str,
    pub(crate) instances: u32,
    pub(crate) size: ImageSize,
    pub(crate) nagle: Nagle,
}

/// One receiver's turn in one round.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    round: u32,
    receiver: &'static str,
    /// Bytes of the data sets.
    bytes: f64,
    /// storescu from its start to its end.
    sent: Duration,
    /// From storescu's start to the last arrival.
    arrived: Option<Duration>,
}

/// All turns of a course: A B C D, A B C D, and so on.
pub(crate) fn run(course: &Course, rounds: u32, parent: &Path, receivers: &mut Receivers) -> anyhow::Result<Vec<Turn>> {
    let mut turns = Vec::new();
    for round in 1..=rounds {
        let load = |what: &str, instances| {
            let seed = format!("{}/{round}/{what}", course.title);
            Load::slices(parent, &seed, instances, course.size)
        };
        let (warm_up, load) = (load("warm-up", WARM_UP)?, load("load", course.instances)?);
        for index in 0..receivers.all.len() {
            let Some(receiver) = receivers.all.get_mut(index) else {
                continue;
            };
            let (sent, last) = turn(receiver.as_mut(), &warm_up, &load, course.nagle)?;
            let peaks = receiver.peaks()?;
            receiver.end()?;
            let turn = Turn {
                round,
                receiver: receiver.name(),
                bytes: as_figure(load.bytes),
                sent: sent.took,
                arrived: last.and_then(|last| last.duration_since(sent.begun).ok()),
            };
            output::error_line(&format!("{} {:?}", course.title, turn));
            receivers.note(peaks);
            turns.push(turn);
        }
    }
    Ok(turns)
}

/// One turn, up to the last arrival.
pub(crate) fn turn(
    receiver: &mut dyn Receiver,
    warm_up: &Load,
    load: &Load,
    nagle: Nagle,
) -> anyhow::Result<(Sent, Option<SystemTime>)> {
    receiver.begin(nagle)?;
    let (port, called) = (receiver.port()?, receiver.called_ae_title());
    warm_up.send(port, called, nagle)?;
    receiver.settle(warm_up.count())?;
    // What the last receiver left for the disk to do is not the next one's to wait for.
    rustix::fs::sync();
    let sent = load.send(port, called, nagle)?;
    let last = receiver.settle(warm_up.count() + load.count())?;
    Ok((sent, last))
}

/// Tables of rates, of ratios, and of the whole way.
pub(crate) fn report(course: &Course, rounds: u32, turns: &[Turn]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for turn in turns {
        if !names.contains(&turn.receiver) {
            names.push(turn.receiver);
        }
    }
    let title = format!("{} x {}, {rounds} rounds", course.instances, course.title);
    let mut text = rates(&title, course, turns, &names);
    text.push('\n');
    text.push_str(&ratios(&title, turns, &names));
    if course.nagle == Nagle::Off {
        text.push('\n');
        text.push_str(&whole_way(&title, course, turns));
    }
    text
}

fn rates(title: &str, course: &Course, turns: &[Turn], names: &[&str]) -> String {
    let columns = ["receiver", "instances a second", "MB/s", "storescu, seconds"];
    let mut table = Table::new(&columns);
    for name in names {
        let of = |figure: &dyn Fn(&Turn) -> f64| cell(Spread::of(of_receiver(turns, name).map(figure)));
        let count = f64::from(course.instances);
        table.row(&[
            (*name).to_owned(),
            of(&|turn| count / turn.sent.as_secs_f64()),
            of(&|turn| turn.bytes / MB / turn.sent.as_secs_f64()),
            of(&|turn| turn.sent.as_secs_f64()),
        ]);
    }
    table.finish(&format!("C-STORE: {title}"))
}

/// How many times as fast a receiver of ours is as each of the others in the same round.
fn ratios(title: &str, turns: &[Turn], names: &[&str]) -> String {
    let (edges, others): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| is_ours(name));
    let mut columns = vec!["receiver"];
    columns.extend(&others);
    let mut table = Table::new(&columns);
    for edge in edges {
        let ratio = |other: &&str| {
            let pairs = of_receiver(turns, edge).flat_map(|ours| {
                let theirs = of_receiver(turns, other).filter(move |theirs| theirs.round == ours.round);
                theirs.map(move |theirs| theirs.sent.as_secs_f64() / ours.sent.as_secs_f64())
            });
            cell(Spread::of(pairs))
        };
        let mut cells = vec![edge.to_owned()];
        cells.extend(others.iter().map(ratio));
        table.row(&cells);
    }
    table.finish(&format!("Times as fast: {title}"))
}

fn is_ours(name: &str) -> bool {
    name.starts_with("edge") || name.starts_with("bare")
}

/// From the first C-STORE to the last arrival at a `storescp +B`, through two edges and a relay or straight.
fn whole_way(title: &str, course: &Course, turns: &[Turn]) -> String {
    let (through, straight) = ("edge A, link running", "storescp +B");
    let columns = ["way", "instances a second", "MB/s", "of the straight way's rate"];
    let mut table = Table::new(&columns);
    let arrived = |name: &'static str| {
        let all = of_receiver(turns, name).filter_map(|turn| Some((turn, turn.arrived?.as_secs_f64())));
        all.collect::<Vec<_>>()
    };
    let rows = [
        ("storescu to edge A, relay, edge B, storescp +B", through),
        ("storescu to storescp +B", straight),
    ];
    for (way, name) in rows {
        let share = arrived(name).into_iter().flat_map(|(turn, took)| {
            let same = arrived(straight)
                .into_iter()
                .filter(move |(other, _)| other.round == turn.round);
            same.map(move |(_, other)| other / took)
        });
        let count = f64::from(course.instances);
        table.row(&[
            way.to_owned(),
            cell(Spread::of(arrived(name).iter().map(|(_, took)| count / took))),
            cell(Spread::of(
                arrived(name).iter().map(|(turn, took)| turn.bytes / MB / took),
            )),
            cell(Spread::of(share)),
        ]);
    }
    table.finish(&format!("The whole way: {title}"))
}

fn of_receiver<'a>(turns: &'a [Turn], name: &str) -> impl Iterator<Item = &'a Turn> {
    turns.iter().filter(move |turn| turn.receiver == name)
}

/// Bytes as a figure: exact up to 8 PB.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_figure(bytes: u64) -> f64 {
    bytes as f64
}
