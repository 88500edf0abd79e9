//! The disk, what stands still, and whether anybody is told.

use std::time::Duration;

use packhorse_ids::WallTime;
use packhorse_spool::{Filter, Index as _};

use super::{Finding, Level, bounded};
use crate::notices::{self, Notice, NoticeKind, queue_of};
use crate::place::{STRAY_HELP, STRAY_QUEUE};
use crate::shared::Shared;

/// Notices that were given up within that time are told of.
const GIVEN_UP_LATELY: Duration = Duration::from_secs(7 * 86_400);

pub(super) async fn examine(shared: &Shared) -> Vec<Finding> {
    let mut findings = vec![disk(shared)];
    if shared.spool.is_poisoned() {
        let what = "a write has failed: it takes nothing more until it is opened again";
        let remedy = "look at the disk and its log, then start the gateway again; nothing acknowledged is lost";
        findings.push(Finding::new(Level::Bad, "spool", what, remedy));
    }
    let counts = shared.spool.counts();
    let stray: u64 = counts
        .iter()
        .filter(|count| count.queue.as_str() == STRAY_QUEUE)
        .map(|count| count.entries)
        .sum();
    if stray > 0 {
        let what = format!("{stray} envelopes cannot be opened");
        findings.push(Finding::new(Level::Bad, "failed", what, STRAY_HELP));
    }
    let found = |notice: Notice| {
        let level = if notice.kind == NoticeKind::Held {
            Level::Warn
        } else {
            Level::Bad
        };
        Finding::new(level, notice.kind.as_str(), notice.what, notice.remedy)
    };
    let late = notices::late_now(shared).await.into_iter().map(found).collect();
    findings.extend(bounded(late, "late", "edge-gateway studies"));
    let stuck = notices::stuck_now(shared).await.into_iter().map(found).collect();
    findings.extend(bounded(stuck, "failed and held", "edge-gateway failed"));
    findings
}

fn disk(shared: &Shared) -> Finding {
    let about = "disk of the spool";
    let room = match shared.spool.room() {
        Ok(room) => room,
        Err(error) => return Finding::new(Level::Bad, about, format!("it cannot be looked at: {error}"), ""),
    };
    let mib = |bytes: u64| bytes >> 20;
    let left = room.free.saturating_sub(room.reserve);
    let what = format!(
        "{} MiB free, of which {} are the reserve; slabs of {} MiB",
        mib(room.free),
        mib(room.reserve),
        mib(shared.config.slab)
    );
    if !shared.spool.takes() {
        let remedy = "make room now: to most senders A700 means lost, and they do not send again by themselves";
        Finding::new(
            Level::Bad,
            about,
            format!("{what}: it is full, instances are refused (A700)"),
            remedy,
        )
    } else if left < shared.config.notices.disk_low.bytes(room.total) {
        let remedy = "make room on it, or see what is held up: `edge-gateway status`";
        Finding::new(Level::Warn, about, format!("{what}: it is nearly full"), remedy)
    } else {
        Finding::ok(about, what)
    }
}

/// Whether somebody is told.
pub(super) async fn notices(shared: &Shared) -> Vec<Finding> {
    let mut findings = Vec::new();
    for channel in shared.channels() {
        let about = format!("notices by {} ({})", channel.name, notices::address(&channel.way));
        let remedy = format!("when it is put right: edge-gateway notify test {}", channel.name);
        let waiting = waiting(shared, &channel.name).await;
        let state = shared.notices.state(&channel.name);
        findings.push(match (state.failing, waiting) {
            (Some(failing), (waiting, _)) => {
                let what = format!(
                    "it cannot be told since {}: {}; {waiting} notices wait, next try {}",
                    failing.since, failing.why, failing.next
                );
                Finding::new(Level::Bad, about, what, remedy)
            }
            (None, (waiting, Some(why))) => {
                let what = format!("it could not be told: {why}; {waiting} notices wait");
                Finding::new(Level::Bad, about, what, remedy)
            }
            (None, (waiting, None)) => match state.told_at {
                Some(at) => Finding::ok(about, format!("told last at {at}; {waiting} notices wait")),
                None => Finding::ok(about, format!("nothing told since the start; {waiting} notices wait")),
            },
        });
    }
    if findings.is_empty() {
        let what = "edge.toml has no [[notify]]: nobody is told when something is late or has failed";
        findings.push(Finding::new(
            Level::Warn,
            "notices",
            what,
            "add a [[notify]], and try `edge-gateway notify test`",
        ));
    }
    let lately = i64::try_from(GIVEN_UP_LATELY.as_micros()).unwrap_or(i64::MAX);
    let since = WallTime::from_unix_micros(shared.clock.now().unix_micros().saturating_sub(lately));
    let given_up = shared.ledger(move |projection| projection.given_up(since)).await;
    for (channel, count, why) in given_up.and_then(Result::ok).unwrap_or_default() {
        let what = format!("{count} notices were given up within a week, for nobody could be told: {why}");
        let about = format!("notices by {channel}");
        findings.push(Finding::new(
            Level::Warn,
            about,
            what,
            "`edge-gateway notices` lists them",
        ));
    }
    findings
}

/// How many notices wait on a channel, and why the first of those that were tried does.
async fn waiting(shared: &Shared, channel: &str) -> (u64, Option<String>) {
    let queue = queue_of(channel);
    let counts = shared.spool.counts();
    let waiting = counts
        .iter()
        .filter(|count| count.queue == queue)
        .map(|count| count.entries)
        .sum();
    let filter = Filter {
        queue: Some(queue),
        state: None,
    };
    let first = shared.spool.page(0, filter, 1).await.unwrap_or_default();
    let note = first
        .into_iter()
        .map(|(_, entry)| entry.note)
        .find(|note| !note.is_empty());
    (waiting, note)
}
