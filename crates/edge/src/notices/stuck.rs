//! What is held or has failed: one notice for each study, destination and reason, once it has gathered.

use std::collections::BTreeMap;
use std::time::Duration;

use packhorse_ids::WallTime;
use packhorse_ledger::State;
use packhorse_ledger::store::Group;
use packhorse_ledger::view::Direction;
use serde_json::json;

use super::late::named;
use super::told::word;
use super::{Notice, NoticeKind, without_comment};
use crate::shared::Shared;

/// Reasons that are looked at.
const GROUPS_MAX: usize = 10_000;
/// What goes on failing is told after so many times the time it is gathered for.
const GATHERED_TIMES: u32 = 6;

/// What was found at the last look.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// The last fact then; `None`: something was still gathering.
    seen: Option<u64>,
}

impl Stuck {
    /// Tells of everything that is held or has failed and was not told of yet.
    pub(super) async fn look(&mut self, shared: &Shared) {
        let seen = self.seen;
        let asked = shared.ledger(move |projection| {
            let last = projection.last()?;
            // Nothing can have changed.
            let groups = if seen == Some(last) {
                Vec::new()
            } else {
                projection.stuck(GROUPS_MAX)?
            };
            Ok::<_, packhorse_ledger::store::ProjectionError>((last, groups))
        });
        let Some(Ok((last, groups))) = asked.await else {
            tracing::warn!("the ledger does not say what is held or has failed");
            return;
        };
        let (gather, now) = (shared.config.notices.gather, shared.clock.now());
        let mut is_all = true;
        for group in merged(groups) {
            if has_gathered(&group, gather, now) {
                consider(shared, group).await;
            } else {
                is_all = false;
            }
        }
        self.seen = is_all.then_some(last);
    }
}

/// The same reasons but for what a PACS added in its own words are one.
fn merged(groups: Vec<Group>) -> Vec<Group> {
    let mut all: BTreeMap<(i64, &'static str, String), Group> = BTreeMap::new();
    for mut group in groups {
        let reason = without_comment(group.reason.as_deref().unwrap_or("no reason is known")).to_owned();
        group.reason = Some(reason.clone());
        all.entry((group.account, group.state.as_str(), reason))
            .and_modify(|known| {
                known.count += group.count;
                known.in_far_custody += group.in_far_custody;
                known.oldest = known.oldest.min(group.oldest);
                known.newest = known.newest.max(group.newest);
            })
            .or_insert(group);
    }
    all.into_values().collect()
}

/// Whether no more of it comes just now, or it has come for long enough.
fn has_gathered(group: &Group, gather: Duration, now: WallTime) -> bool {
    now.saturating_since(group.newest) >= gather
        || now.saturating_since(group.oldest) >= gather.saturating_mul(GATHERED_TIMES)
}

/// What is held or has failed now, told or not, the longest standing first.
pub(crate) async fn now(shared: &Shared) -> Vec<Notice> {
    let asked = shared.ledger(|projection| projection.stuck(GROUPS_MAX)).await;
    let mut groups = merged(asked.and_then(Result::ok).unwrap_or_default());
    groups.sort_by_key(|group| group.oldest);
    groups.iter().map(describe).collect()
}

const fn kind(group: &Group) -> NoticeKind {
    match group.state {
        State::Held => NoticeKind::Held,
        _ => NoticeKind::Failed,
    }
}

/// What all notices of one study, route and reason have in common in their keys.
fn key(group: &Group) -> String {
    let (study, way) = (group.study.as_deref().unwrap_or_default(), word(group.direction));
    let digest = blake3::hash(group.reason.as_deref().unwrap_or_default().as_bytes()).to_hex();
    let digest = digest.get(..16).unwrap_or_default();
    format!("{way}/{}/{}/{study}/{digest}/", group.route, group.source)
}

async fn consider(shared: &Shared, group: Group) {
    let (kind, key) = (kind(&group), key(&group));
    let last = shared
        .ledger(move |projection| projection.last_notice(kind.as_str(), &key))
        .await;
    // The same as long as something of what was told of is still there.
    let Some(Ok(last)) = last else { return };
    if last.is_none_or(|told| group.oldest > told) {
        shared.notify(describe(&group)).await;
    }
}

fn describe(group: &Group) -> Notice {
    let (kind, reason) = (kind(group), group.reason.as_deref().unwrap_or_default());
    let (stands, remedy) = match kind {
        NoticeKind::Held if group.count == 1 => ("is held", held_remedy(reason)),
        NoticeKind::Held => ("are held", held_remedy(reason)),
        _ => ("failed", failed_remedy(group, reason)),
    };
    let fields = json!({
        "direction": word(group.direction),
        "route": group.route,
        "source": group.source,
        "to": group.to,
        "study": group.study,
        "count": group.count,
        "since": group.oldest.to_string(),
        "reason": reason,
    });
    Notice {
        kind,
        key: format!("{}{}", key(group), group.oldest),
        what: format!(
            "{} of {} for {} {stands}: {reason}",
            group.count,
            named(group),
            group.to
        ),
        remedy,
        fields: fields.as_object().cloned().unwrap_or_default(),
    }
}

fn held_remedy(reason: &str) -> String {
    if reason.contains("no consent") {
        "give the consent with the command that stands there, and they go on by themselves".to_owned()
    } else {
        "`edge-gateway held` lists them, `edge-gateway release ID` sends one on".to_owned()
    }
}

fn failed_remedy(group: &Group, reason: &str) -> String {
    let cause = if reason.contains("does not take") {
        "have its class and transfer syntax enabled at the PACS, or refuse them to the source with a [[rule]]; then"
    } else {
        "when its cause is gone:"
    };
    let site = group.to.split_once('/').map(|(site, _)| site);
    match site.filter(|_| group.direction == Direction::Outgoing && group.in_far_custody > 0) {
        Some(site) => format!("{cause} at {site}, `edge-gateway failed` lists them, `edge-gateway retry` tries again"),
        None => format!("{cause} `edge-gateway failed` lists them, `edge-gateway retry` tries again"),
    }
}
