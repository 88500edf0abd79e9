//! What rules hold: how much that may be, and when it ends.
//!
//! The truth is the ledger's: what stands as held there, by which rule, with how many bytes, until when. What was taken since
//! it was last asked is counted here. Instances that come at the same moment are each measured against what was there before
//! them, so a quota may be overshot by what is in flight: at most one instance for each open association.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packhorse_ids::{DeliveryId, WallTime};
use packhorse_ledger::Fact;
use packhorse_ledger::fact::Discarded;
use packhorse_ledger::view::HeldView;
use packhorse_policy::{Hold, RuleName};
use packhorse_spool::{Entry, EntryState, Index as _, Settlement, StoreError};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::hold::HeldBy;
use crate::notices::{Notice, NoticeKind};
use crate::shared::{Shared, fact_bytes};

/// Ends of holds dealt with at a time.
const PAGE: usize = 256;
/// How long nobody else may work on what is being discarded.
const LEASE: Duration = Duration::from_secs(30);
/// It is told so long before a hold ends, when it is longer than that.
const TOLD_BEFORE: Duration = Duration::from_secs(86_400);

/// While a quota is used up, the ledger is asked so often at most whether there is room again.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// Bytes that rules hold.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    known: Mutex<Option<BTreeMap<String, u64>>>,
    /// When the ledger was asked last because a quota was used up. Held while it is asked.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

/// Why nothing more is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverQuota {
    /// The quota, in bytes.
    quota: u64,
    /// It is the one of `[limits]`, for all rules together.
    of_all: bool,
}

impl Holds {
    /// What is held by each rule. `None`: not known yet.
    fn bytes(&self) -> Option<BTreeMap<String, u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// So many bytes more are held by this rule.
    pub(crate) fn add(&self, rule: &RuleName, bytes: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_mut() {
            *known.entry(rule.to_string()).or_default() += bytes;
        }
    }

    /// Asks the ledger.
    async fn renew(&self, shared: &Shared) {
        if let Err(error) = crate::ledger::catch_up(shared).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "facts cannot be read now");
        }
        if let Some(Ok(held)) = shared.ledger(|projection| projection.held_by_rules()).await {
            let bytes = held.into_iter().map(|held| (held.rule, held.bytes)).collect();
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        }
    }

    /// Asks the ledger, unless that was done just now. Whether it was asked.
    async fn renew_now_and_then(&self, shared: &Shared) -> bool {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < ASKED_AGAIN) {
            return false;
        }
        self.renew(shared).await;
        *asked = Some(Instant::now());
        true
    }
}

fn over_quota(held: &BTreeMap<String, u64>, hold: &Hold, length: u64, of_all: u64) -> Option<OverQuota> {
    let by_rule = held.get(&hold.rule.to_string()).copied().unwrap_or(0);
    let all: u64 = held.values().sum();
    match hold.quota {
        Some(quota) if by_rule.saturating_add(length) > quota => Some(OverQuota { quota, of_all: false }),
        _ if all.saturating_add(length) > of_all => Some(OverQuota {
            quota: of_all,
            of_all: true,
        }),
        _ => None,
    }
}

/// Whether a rule may hold so many bytes more; if not, the Error Comment, at most 64 characters. It is told once a day.
pub(crate) async fn may_hold(shared: &Shared, hold: &Hold, length: u64) -> Result<(), String> {
    let of_all = shared.config.held;
    let over = |held: Option<BTreeMap<String, u64>>| match held {
        Some(held) => over_quota(&held, hold, length, of_all),
        None => Some(OverQuota {
            quota: of_all,
            of_all: true,
        }),
    };
    if over(shared.holds.bytes()).is_none() {
        return Ok(());
    }
    // Something may have been released since.
    shared.holds.renew_now_and_then(shared).await;
    let Some(over) = over(shared.holds.bytes()) else {
        return Ok(());
    };
    let notice = quota_used_up(&hold.rule, &over, shared.clock.now());
    shared.notify(notice).await;
    Err(format!("rule {}: quota of held instances is used up", hold.rule.number))
}

fn quota_used_up(rule: &RuleName, over: &OverQuota, now: WallTime) -> Notice {
    let whose = if over.of_all { "[limits] held" } else { "its quota" };
    let day: String = now.to_string().chars().take(10).collect();
    let mut fields = Map::new();
    fields.insert("rule".to_owned(), Value::from(rule.to_string()));
    fields.insert("quota".to_owned(), Value::from(over.quota));
    Notice {
        kind: NoticeKind::Held,
        key: format!("quota/{rule}/{day}"),
        what: format!(
            "{rule} holds as much as {whose} allows ({} bytes): further instances are answered A700",
            over.quota
        ),
        remedy: format!("release or discard what is held (edge-gateway held), or raise {whose}"),
        fields,
    }
}

/// Looks now and then whether holds have ended, or will soon, until the edge stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    while !shared.stop.is_cancelled() {
        shared.holds.renew(&shared).await;
        if let Err(error) = end(&shared).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "holds that have ended stay for now"
            );
        }
        tell_soon(&shared).await;
        tokio::select! {
            () = tokio::time::sleep(shared.config.watch.held_look) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

/// Discards what has been held long enough, by its rule. Gives how much that was.
pub(crate) async fn end(shared: &Shared) -> Result<usize, StoreError> {
    let (mut after, mut ended) = (0, 0);
    loop {
        let now = shared.clock.now();
        let due = shared
            .ledger(move |projection| projection.holds_ended(now, after, PAGE))
            .await;
        let Some(Ok(due)) = due else { return Ok(ended) };
        let Some((last, _)) = due.last() else { return Ok(ended) };
        after = *last;
        ended += discard(shared, due.into_iter().map(|(_, delivery)| delivery).collect(), now).await?;
    }
}

async fn discard(shared: &Shared, due: Vec<DeliveryId>, at: WallTime) -> Result<usize, StoreError> {
    let leased = shared.spool.lease(shared.epoch, due, LEASE).await?;
    // Only what its rule still holds: somebody may have released it, or holds it himself.
    let by_rule = |entry: &Entry| match HeldBy::of(entry) {
        HeldBy::Rule(rule) if entry.state == EntryState::Held => Some(rule),
        _ => None,
    };
    let (mut settlements, mut facts, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &leased {
        let delivery = entry.routing.delivery;
        let Some(rule) = by_rule(entry) else {
            others.push(delivery);
            continue;
        };
        let held = at.unix_micros().saturating_sub(entry.committed_at.unix_micros());
        let by = format!("{rule}: held {}", in_words(held));
        tracing::info!(%delivery, by, "a hold has ended: the instance is discarded");
        facts.extend(fact_bytes(&Fact::Discarded(Discarded {
            delivery,
            by,
            at,
            reason: None,
        })));
        settlements.push((delivery, Settlement::Discarded));
    }
    let count = settlements.len();
    if !others.is_empty() {
        shared.spool.unclaim(shared.epoch, others).await?;
    }
    if count > 0 {
        shared.spool.settle(shared.epoch, settlements, facts).await?;
    }
    Ok(count)
}

/// So many microseconds, in the largest unit that there is at least one of.
fn in_words(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let (count, unit) = match seconds {
        86_400.. => (seconds / 86_400, "day"),
        3_600.. => (seconds / 3_600, "hour"),
        60.. => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

async fn tell_soon(shared: &Shared) {
    let now = shared.clock.now();
    let soon = now.saturating_add(TOLD_BEFORE);
    let ending = shared
        .ledger(move |projection| projection.holds_ending(now, soon, TOLD_BEFORE))
        .await;
    let Some(Ok(ending)) = ending else { return };
    for HeldView {
        rule, instances, ends, ..
    } in ending
    {
        let ends = ends.unwrap_or_default();
        let day: String = ends.chars().take(10).collect();
        let mut fields = Map::new();
        fields.insert("rule".to_owned(), Value::from(rule.clone()));
        fields.insert("instances".to_owned(), Value::from(instances));
        fields.insert("ends".to_owned(), Value::from(ends.clone()));
        let notice = Notice {
            kind: NoticeKind::Held,
            key: format!("ending/{rule}/{day}"),
            what: format!("{instances} instances that {rule} holds are discarded within a day, the first at {ends}"),
            remedy: "release what is wanted: edge-gateway held lists it".to_owned(),
            fields,
        };
        shared.notify(notice).await;
    }
}

#[cfg(test)]
mod tests;
