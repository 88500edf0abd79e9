//! What is seen by looking from time to time: late, failed, held, the link, the disk.

use std::sync::Arc;
use std::time::Duration;

use packhorse_ids::WallTime;
use packhorse_transport::LinkStatus;
use serde_json::{Map, json};

use super::stuck::Stuck;
use super::{Notice, NoticeKind, late};
use crate::shared::Shared;

/// Looks are so far apart at least,
const LOOK_MIN: Duration = Duration::from_millis(100);
/// and at most.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// A tenth of the shortest time in question is soon enough.
const PARTS: u32 = 10;

/// Looks until the edge stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let notices = &shared.config.notices;
    let shortest = shared.config.late.shortest().min(notices.link_down) / PARTS;
    let between = shortest.min(notices.gather).clamp(LOOK_MIN, LOOK_MAX);
    let (mut stuck, mut link, mut disk) = (Stuck::default(), Link::default(), Disk::default());
    while !shared.stop.is_cancelled() {
        link.look(&shared).await;
        disk.look(&shared).await;
        stuck.look(&shared).await;
        late::look(&shared).await;
        tokio::select! {
            () = tokio::time::sleep(between) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

/// The link to the relay.
#[derive(Debug, Default)]
struct Link {
    /// Since when it is not up; `None`: it is.
    down_since: Option<WallTime>,
    is_told: bool,
}

impl Link {
    async fn look(&mut self, shared: &Shared) {
        let status = shared.link.borrow().clone();
        let (since, why) = match status {
            LinkStatus::Up { .. } => return self.is_up(),
            LinkStatus::Connecting { since } => (since, "no answer yet".to_owned()),
            LinkStatus::Down { since, why, .. } => (since, why),
        };
        let (now, after) = (shared.clock.now(), shared.config.notices.link_down);
        let since = *self.down_since.get_or_insert(since);
        if self.is_told || now.saturating_since(since) < after {
            return;
        }
        self.is_told = true;
        let relay = shared.config.relay.as_ref().or_else(|| shared.relay.first());
        let relay = relay.map(String::as_str).unwrap_or_default();
        let fields = json!({ "since": since.to_string(), "relay": relay, "why": why });
        let notice = Notice {
            kind: NoticeKind::LinkDown,
            key: since.to_string(),
            what: format!("the link to the relay at {relay} is down since {since}: {why}"),
            remedy: "what is taken waits here and goes on by itself; see that outbound UDP to the relay is open"
                .to_owned(),
            fields: fields.as_object().cloned().unwrap_or_default(),
        };
        shared.notify(notice).await;
    }

    fn is_up(&mut self) {
        if let (Some(since), true) = (self.down_since, self.is_told) {
            tracing::info!(down_since = %since, "the link is up again");
        }
        *self = Self::default();
    }
}

/// The spool's disk.
#[derive(Debug, Default)]
struct Disk {
    low: Since,
    full: Since,
}

/// Since when something is so, if it is.
#[derive(Debug, Default)]
struct Since(Option<WallTime>);

impl Since {
    /// The time when it began, if it is so; once it is, it is so until `has_ended`.
    fn so(&mut self, is_so: bool, has_ended: bool, now: WallTime) -> Option<WallTime> {
        if is_so {
            self.0.get_or_insert(now);
        } else if has_ended {
            self.0 = None;
        }
        self.0
    }
}

impl Disk {
    async fn look(&mut self, shared: &Shared) {
        let (now, low) = (shared.clock.now(), shared.config.notices.disk_low);
        let Ok(room) = shared.spool.room() else { return };
        let (left, limit) = (room.free.saturating_sub(room.reserve), low.bytes(room.total));
        let mib = |bytes: u64| bytes >> 20;
        let fields = |since: WallTime| {
            let fields = json!({
                "since": since.to_string(),
                "free_bytes": room.free,
                "reserve_bytes": room.reserve,
                "disk_bytes": room.total,
            });
            fields.as_object().cloned().unwrap_or_else(Map::new)
        };
        // Some way above the limit it is over: else a disk that breathes is told of with every breath.
        if let Some(since) = self.low.so(left < limit, left > limit.saturating_add(limit / 4), now) {
            let what = format!(
                "the disk of the spool is nearly full: {} MiB are left above the reserve of {} MiB",
                mib(left),
                mib(room.reserve)
            );
            let remedy = "make room on it, or see what is held up: `edge-gateway status`, `edge-gateway doctor`";
            shared
                .notify(Notice {
                    kind: NoticeKind::DiskLow,
                    key: format!("low/{since}"),
                    what,
                    remedy: remedy.to_owned(),
                    fields: fields(since),
                })
                .await;
        }
        let is_full = !shared.spool.is_poisoned() && !shared.spool.takes();
        if let Some(since) = self.full.so(is_full, !is_full && left > limit / 4, now) {
            let remedy = "make room now: to most senders A700 means lost, and they do not send again by themselves";
            shared
                .notify(Notice {
                    kind: NoticeKind::DiskLow,
                    key: format!("full/{since}"),
                    what: "the disk of the spool is full: instances are refused (A700)".to_owned(),
                    remedy: remedy.to_owned(),
                    fields: fields(since),
                })
                .await;
        }
    }
}

#[cfg(test)]
mod tests;
