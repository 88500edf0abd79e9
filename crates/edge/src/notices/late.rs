//! What is late: in custody, neither delivered nor held nor failed, for longer than its priority and route allow. One
//! notice for each study, route and priority, which says where it hangs.
//!
//! It is told again when nothing is late any more of what was late when it was told, and not before the same time has
//! passed once more: a study that creeps over a slow link is one notice, and one that hangs again tomorrow another.

use std::time::Duration;

use packhorse_ids::{Priority, WallTime};
use packhorse_ledger::store::{Group, LateFilter, Places};
use packhorse_ledger::view::Direction;
use packhorse_spool::{EntryState, Index as _};
use packhorse_transport::LinkStatus;
use serde_json::json;

use super::told::word;
use super::{Notice, NoticeKind, without_comment};
use crate::shared::{Health, Shared};

/// Studies that are looked at, each time and for each time.
const STUDIES_MAX: usize = 10_000;
/// Deliveries of one study of which it is looked up where they are.
const LOOKED_UP_MAX: usize = 1000;

/// Tells of everything that is late and was not told of yet.
pub(super) async fn look(shared: &Shared) {
    for (filter, limit) in filters(shared) {
        let asked = filter.clone();
        let late = shared
            .ledger(move |projection| projection.late(&asked, STUDIES_MAX))
            .await;
        let Some(Ok(late)) = late else {
            tracing::warn!("the ledger does not say what is late");
            return;
        };
        for group in late {
            consider(shared, &filter, limit, group).await;
        }
    }
}

/// What is asked for: each priority, on routes with a time of their own and everywhere else.
fn filters(shared: &Shared) -> Vec<(LateFilter, Duration)> {
    let (late, now) = (&shared.config.late, shared.clock.now());
    let filter = |priority, limit: Duration, places| {
        let limit_micros = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
        let before = WallTime::from_unix_micros(now.unix_micros().saturating_sub(limit_micros));
        let filter = LateFilter {
            priority,
            before,
            places,
        };
        (filter, limit)
    };
    let mut filters = Vec::new();
    for priority in [Priority::Stat, Priority::Routine, Priority::Bulk] {
        let own = late.routes().iter();
        filters
            .extend(own.map(|(route, limit)| filter(priority, late.on(*limit, priority), Places::Only(route.clone()))));
        let others = late.routes().keys().cloned().collect();
        filters.push(filter(priority, late.of(priority), Places::AllBut(others)));
    }
    filters
}

/// What is late now, told or not, the longest waiting first of each priority.
pub(crate) async fn now(shared: &Shared) -> Vec<Notice> {
    let mut notices = Vec::new();
    for (filter, limit) in filters(shared) {
        let asked = filter.clone();
        let late = shared
            .ledger(move |projection| projection.late(&asked, STUDIES_MAX))
            .await;
        for group in late.and_then(Result::ok).unwrap_or_default() {
            notices.push(describe(shared, &filter, limit, &group).await);
        }
    }
    notices
}

/// What all notices of one study, route and priority have in common in their keys.
fn key(filter: &LateFilter, group: &Group) -> String {
    let (study, way) = (group.study.as_deref().unwrap_or_default(), word(group.direction));
    format!("{way}/{}/{}/{study}/{}/", group.route, group.source, filter.priority)
}

async fn consider(shared: &Shared, filter: &LateFilter, limit: Duration, group: Group) {
    let key = key(filter, &group);
    let last = shared
        .ledger(move |projection| projection.last_notice(NoticeKind::Late.as_str(), &key))
        .await;
    let Some(Ok(last)) = last else { return };
    if is_another(last, group.oldest, limit, shared.clock.now()) {
        shared.notify(describe(shared, filter, limit, &group).await).await;
    }
}

async fn describe(shared: &Shared, filter: &LateFilter, limit: Duration, group: &Group) -> Notice {
    let hangs = Hangs::look(shared, filter, group).await;
    let what = format!(
        "{} of {} for {}, {}, {} {}: {}",
        group.count,
        named(group),
        group.to,
        filter.priority,
        if group.count == 1 {
            "is not delivered since"
        } else {
            "are not delivered, the first since"
        },
        group.oldest,
        hangs.words(shared, group),
    );
    let fields = json!({
        "direction": word(group.direction),
        "route": group.route,
        "source": group.source,
        "to": group.to,
        "study": group.study,
        "priority": filter.priority.to_string(),
        "count": group.count,
        "since": group.oldest.to_string(),
        "late_after_seconds": limit.as_secs(),
        "waits_for_link": hangs.link,
        "at_relay": hangs.relay,
        "at_far_site": hangs.far,
        "waits_for_pacs": hangs.here,
    });
    Notice {
        kind: NoticeKind::Late,
        key: format!("{}{}", key(filter, group), group.oldest),
        what,
        remedy: hangs.remedy(shared, group),
        fields: fields.as_object().cloned().unwrap_or_default(),
    }
}

/// A group's study, for people.
pub(super) fn named(group: &Group) -> String {
    match &group.study {
        Some(study) => format!("study {study}"),
        None => "no study".to_owned(),
    }
}

/// Whether it is another time and not the one that was told at `told`.
fn is_another(told: Option<WallTime>, oldest: WallTime, limit: Duration, now: WallTime) -> bool {
    let Some(told) = told else { return true };
    let was_late_then = oldest.saturating_add(limit) <= told;
    !was_late_then && now.saturating_since(told) >= limit
}

/// Where late deliveries are, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hangs {
    /// Here, for the relay.
    link: u64,
    /// The relay has them, the far site has not.
    relay: u64,
    /// The far site has them on disk.
    far: u64,
    /// Here, for our own PACS.
    here: u64,
}

impl Hangs {
    async fn look(shared: &Shared, filter: &LateFilter, group: &Group) -> Self {
        let mut hangs = Self::default();
        if group.direction == Direction::Incoming {
            hangs.here = group.count;
            return hangs;
        }
        hangs.far = group.in_far_custody;
        let (account, priority) = (group.account, filter.priority);
        let ids = shared
            .ledger(move |projection| projection.in_flight_here(account, priority, LOOKED_UP_MAX))
            .await;
        for delivery in ids.and_then(Result::ok).unwrap_or_default() {
            // Gone means that it moves just now.
            match shared.spool.entry(delivery).await {
                Ok(Some(entry)) if entry.state == EntryState::Ready => hangs.link += 1,
                Ok(_) => hangs.relay += 1,
                Err(_) => {}
            }
        }
        hangs
    }

    fn words(self, shared: &Shared, group: &Group) -> String {
        let (site, title) = group.to.split_once('/').unwrap_or(("", &group.to));
        let mut parts = Vec::new();
        if self.link > 0 {
            parts.push(match &*shared.link.borrow() {
                LinkStatus::Up { .. } => format!("{} here, waiting for their turn on the link, which is up", self.link),
                LinkStatus::Down { since, why, .. } => {
                    format!(
                        "{} here, waiting for the link, which is down since {since}: {why}",
                        self.link
                    )
                }
                LinkStatus::Connecting { since } => {
                    format!(
                        "{} here, waiting for the link, which is being dialled since {since}",
                        self.link
                    )
                }
            });
        }
        if self.relay > 0 {
            parts.push(format!(
                "{} at the relay, where {site} has not fetched them",
                self.relay
            ));
        }
        if self.far > 0 {
            parts.push(format!("{} at {site}, waiting for {title} there", self.far));
        }
        if self.here > 0 {
            parts.push(format!(
                "{} here, waiting for {title}, which {}",
                self.here,
                health(shared, title)
            ));
        }
        if parts.is_empty() {
            "moving just now".to_owned()
        } else {
            parts.join("; ")
        }
    }

    fn remedy(self, shared: &Shared, group: &Group) -> String {
        let site = group.to.split_once('/').map_or("", |(site, _)| site);
        let is_up = matches!(&*shared.link.borrow(), LinkStatus::Up { .. });
        if self.here > 0 {
            format!("`edge-gateway doctor` says what {} answers", group.to)
        } else if self.link > 0 && !is_up {
            "bring the link up: outbound UDP 443 to the relay; `edge-gateway doctor` says more".to_owned()
        } else if self.far > 0 {
            format!("at {site}, run `edge-gateway doctor`: it says what the PACS answers")
        } else if self.relay > 0 {
            format!("see that the gateway at {site} runs and is linked: there, run `edge-gateway doctor`")
        } else {
            "the line is too slow for what is sent, or `priority` in a [[rule]] lets others go first".to_owned()
        }
    }
}

/// How one of our PACS is, in words behind "which".
fn health(shared: &Shared, title: &str) -> String {
    let health = shared.health.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let known = health.iter().find(|(known, _)| known.as_str() == title);
    match known.map(|(_, health)| health) {
        None => "was not tried since the start".to_owned(),
        Some(Health::Good { since }) => format!("takes what it is sent since {since}"),
        Some(Health::Down { since, why, .. }) => format!("is down since {since}: {}", without_comment(why)),
        Some(Health::Paused { since, why, .. }) => format!("rejects us since {since}: {}", without_comment(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime::default().saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_study_is_told_again_when_what_was_late_is_through_and_the_time_has_passed_again() {
        let limit = Duration::from_secs(100);
        let another = |told, oldest, now| is_another(told, at(oldest), limit, at(now));
        assert!(another(None, 0, 100));
        assert!(!another(Some(at(100)), 0, 1_000_000), "the same is still late");
        assert!(!another(Some(at(100)), 1, 199), "it creeps");
        assert!(
            another(Some(at(100)), 1, 200),
            "what was late is through, and others hang"
        );
        assert!(another(Some(at(100)), 86_400, 86_500), "tomorrow");
    }
}
