//! What a person should hear of: in the log, in `edge-gateway notices`, and by what `[[notify]]` names.
//!
//! A notice is written down and told later. It is in the spool once for each channel, in a queue of the channel's own
//! (`notify/<name>`), under an id that comes from its kind, key and channel; a fact goes with it into the ledger. So one
//! commit makes it durable, and the spool's memory of ids (30 days) makes it be told once, also across restarts. A channel
//! that takes a notice and fails to say so gets it again, with the same id.
//!
//! **A condition that ends and comes back is another notice.** Its key has to say which time it is: by the time since when
//! it is so (`PACS_B/2026-11-25T10:00:00.000Z`), or tomorrow's will not be told.
//!
//! - [`courier`](self): one task for each channel; `ration` says how often it may speak.
//! - `channel`: how a channel is told: `webhook`, `email`, `command`.
//! - `watch`: what is seen by looking from time to time: `late`, `stuck` (failed, held), link, disk.

mod channel;
mod command;
mod courier;
mod email;
mod late;
mod ration;
mod stuck;
mod told;
mod watch;
mod webhook;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use packhorse_ids::{DeliveryId, Digest, Kind, Priority, Routing, Sequence, WallTime};
use packhorse_ledger::Fact;
use packhorse_ledger::fact::Noticed;
use packhorse_spool::{Body, Custody, Index as _, NewEntry, NewState, QueueName, Settlement, StoreError};
use serde_json::{Map, Value};

use crate::config::{Channel, Config};
use crate::shared::{Shared, draw, fact_bytes, queue};

pub(crate) use channel::{address, tell};
pub(crate) use courier::keep as deliver;
pub(crate) use late::now as late_now;
pub(crate) use stuck::now as stuck_now;
pub(crate) use told::Telling;
pub(crate) use watch::keep as watch;

/// Where a notice is remembered whatever the channels are.
const MEMORY_QUEUE: &str = "notices";
/// Queues of channels begin so.
const QUEUE_PREFIX: &str = "notify/";
/// Notices that wait on one channel; of more, the log and the ledger know alone. Some 20 MB.
const WAITING_MAX: u64 = 10_000;
/// Ids that are known to have been noticed without asking the spool,
const KNOWN_MAX: usize = 4096;
/// and for how long: well within the spool's own memory.
const KNOWN_FOR: Duration = Duration::from_secs(86_400);
/// Longest line of a notice in characters.
const LINE_MAX: usize = 1000;
/// Longest fields of a notice, as JSON in bytes: body and fact stay small.
const FIELDS_LEN_MAX: usize = 8 * 1024;

/// Something that a person should hear of. No values of data sets: a study's UID is the most that it says of a patient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// What it is about.
    pub(crate) kind: NoticeKind,
    /// What makes it one and the same: a notice with the same kind and key is not told again for 30 days. Says which time
    /// it is (since when), for a condition that can come back.
    pub(crate) key: String,
    /// What happened, in one line.
    pub(crate) what: String,
    /// What to do about it, in one line; empty: nothing.
    pub(crate) remedy: String,
    /// The same for programs: names of sources, routes, classes, ids, counts. `study` with `direction` and `route`, or
    /// alone, is what patients are looked up by for a channel with `include_patient`.
    pub(crate) fields: Map<String, Value>,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NoticeKind {
    /// In custody and not delivered within its time.
    Late,
    /// On the failed list.
    Failed,
    /// A destination rejects us; its instances stay queued.
    DestinationPaused,
    /// A class was refused to a source for the first time.
    ClassRefused,
    /// A sender stopped in the middle of a study at what was refused.
    SenderStopped,
    /// A study comes again and again with the same refused class.
    ResendLoop,
    /// A rule keeps instances here, or its quota is used up.
    Held,
    /// Another site's or person's word is needed, or an instance is not what was expected: pixels changed, two patients.
    Suspicious,
    /// A source asks for storage commitment, which this version does not give.
    CommitmentAsked,
    /// The link to the relay is down.
    LinkDown,
    /// The disk is nearly full.
    DiskLow,
}

impl NoticeKind {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Late,
        Self::Failed,
        Self::DestinationPaused,
        Self::ClassRefused,
        Self::SenderStopped,
        Self::ResendLoop,
        Self::Held,
        Self::Suspicious,
        Self::CommitmentAsked,
        Self::LinkDown,
        Self::DiskLow,
    ];

    /// Which goes first on a channel: what stops the work goes before what can wait for the morning.
    const fn priority(self) -> Priority {
        match self {
            Self::Late | Self::DestinationPaused | Self::LinkDown | Self::DiskLow => Priority::Stat,
            Self::Failed
            | Self::ClassRefused
            | Self::SenderStopped
            | Self::ResendLoop
            | Self::Held
            | Self::Suspicious
            | Self::CommitmentAsked => Priority::Routine,
        }
    }

    /// Whether the kind with this word waits behind no others.
    fn is_urgent(word: &str) -> bool {
        let mut urgent = Self::ALL.iter().filter(|kind| kind.priority() == Priority::Stat);
        urgent.any(|kind| kind.as_str() == word)
    }

    /// The word in configuration and JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Failed => "failed",
            Self::DestinationPaused => "destination-paused",
            Self::ClassRefused => "class-refused",
            Self::SenderStopped => "sender-stopped",
            Self::ResendLoop => "resend-loop",
            Self::Held => "held",
            Self::Suspicious => "suspicious",
            Self::CommitmentAsked => "commitment-asked",
            Self::LinkDown => "link-down",
            Self::DiskLow => "disk-low",
        }
    }
}

/// How a channel does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelState {
    /// When it was told something last.
    pub(crate) told_at: Option<WallTime>,
    /// Since when it cannot be told, why, and when it is tried again; `None`: it can.
    pub(crate) failing: Option<Failing>,
}

/// A channel that cannot be told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    pub(crate) since: WallTime,
    pub(crate) why: String,
    pub(crate) next: WallTime,
}

/// What this module keeps in memory.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Held while a notice is written down: one at a time, so that two of the same are one.
    known: tokio::sync::Mutex<HashMap<DeliveryId, WallTime>>,
    states: Mutex<BTreeMap<String, ChannelState>>,
}

impl Desk {
    fn states(&self) -> MutexGuard<'_, BTreeMap<String, ChannelState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a channel does, since the start.
    pub(crate) fn state(&self, channel: &str) -> ChannelState {
        self.states().get(channel).cloned().unwrap_or_default()
    }
}

/// The queue of a channel.
pub(crate) fn queue_of(channel: &str) -> QueueName {
    queue(&format!("{QUEUE_PREFIX}{channel}"))
}

/// The same kind and key make the same id, the same for a channel.
fn id_of(kind: &str, key: &str, channel: &str) -> DeliveryId {
    let mut hasher = blake3::Hasher::new_derive_key("packhorse notice 1");
    for part in [kind, key, channel] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    DeliveryId::from_bytes(id)
}

/// One line that can be shown anywhere: no control characters, not too long.
pub(crate) fn line(text: &str) -> String {
    let shown = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character });
    shown.take(LINE_MAX).collect()
}

/// A reason without the words that a PACS added to its status: nobody knows what stands in those.
pub(crate) fn without_comment(reason: &str) -> &str {
    let end = reason.starts_with("answered ").then(|| reason.find("): ")).flatten();
    end.and_then(|end| reason.get(..=end)).unwrap_or(reason)
}

impl Shared {
    /// Tells a notice, once. It is durable when this returns; one that cannot be written down is in the log alone.
    pub(crate) async fn notify(&self, notice: Notice) {
        if let Err(error) = self.note(notice).await {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "a notice cannot be written down: it is told in the log only");
        }
    }

    async fn note(&self, mut notice: Notice) -> Result<(), StoreError> {
        let (kind, now) = (notice.kind.as_str(), self.clock.now());
        let id = id_of(kind, &notice.key, "");
        let mut known = self.notices.known.lock().await;
        let is_known = |at: &WallTime| now.saturating_since(*at) < KNOWN_FOR;
        if known.get(&id).is_some_and(is_known) {
            return Ok(());
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        if self.spool.seen(&[id]).await?.iter().all(Option::is_none) {
            (notice.what, notice.remedy) = (line(&notice.what), line(&notice.remedy));
            if Value::Object(notice.fields.clone()).to_string().len() > FIELDS_LEN_MAX {
                notice.fields = Map::from_iter([("too_long".to_owned(), true.into())]);
            }
            let Notice { key, what, remedy, .. } = &notice;
            tracing::warn!(notice = kind, key, what, remedy, "notice");
            let entries = self.entries(id, &notice, now);
            let fact = Fact::Noticed(Box::new(Noticed {
                notice: id,
                about: kind.to_owned(),
                key: notice.key,
                what: notice.what,
                remedy: notice.remedy,
                fields: notice.fields,
                at: now,
            }));
            let facts = fact_bytes(&fact).into_iter().collect();
            self.spool.commit(self.epoch, entries, facts).await?;
            let remembered = vec![(id, Settlement::Released)];
            self.spool.settle(self.epoch, remembered, Vec::new()).await?;
        }
        known.insert(id, now);
        Ok(())
    }

    /// What is committed of a notice: the memory of it, and one for each channel that is told of its kind.
    fn entries(&self, id: DeliveryId, notice: &Notice, now: WallTime) -> Vec<NewEntry> {
        let mut entries = vec![self.entry(id, queue(MEMORY_QUEUE), Priority::Bulk, Bytes::from_static(b"{}"))];
        let body = Bytes::from(Telling::of(self, id, notice, now).to_bytes());
        let counts = self.spool.counts();
        let kind = notice.kind;
        for channel in self.channels().filter(|channel| channel.kinds.contains(&kind)) {
            let queue = queue_of(&channel.name);
            let waiting = counts
                .iter()
                .filter(|count| count.queue == queue)
                .map(|count| count.entries);
            if waiting.sum::<u64>() >= WAITING_MAX {
                tracing::error!(
                    channel = channel.name,
                    "too many notices wait: it is not told of this one"
                );
                continue;
            }
            let told = id_of(kind.as_str(), &notice.key, &channel.name);
            entries.push(self.entry(told, queue, kind.priority(), body.clone()));
        }
        entries
    }

    fn entry(&self, delivery: DeliveryId, queue: QueueName, priority: Priority, body: Bytes) -> NewEntry {
        let routing = Routing {
            delivery,
            payload: draw::payload(),
            source: self.site.clone(),
            destination: self.site.clone(),
            kind: Kind::Message,
            priority,
            sequence: Sequence(0),
            length: u64::try_from(body.len()).unwrap_or(u64::MAX),
            blake3: Digest::from_bytes(*blake3::hash(&body).as_bytes()),
        };
        NewEntry {
            routing,
            queue,
            body: Body::Inline(body),
            custody: Custody::UntilAcked,
            state: NewState::Ready,
        }
    }

    /// The channels of the configuration.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &Channel> {
        let config: &Config = &self.config;
        config.notices.channels.iter()
    }
}

#[cfg(test)]
mod tests;
