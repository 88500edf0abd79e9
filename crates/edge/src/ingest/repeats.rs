//! What becomes of an instance that comes again.
//!
//! While the first waits here, the same bytes join it and others replace it; once it has left for the relay a repeat is a
//! new delivery, and reaches the destination again: people resend because something was lost there. The ledger knows what
//! came before, a tenth of a second late: two that follow each other faster are two deliveries, of which none is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::uid::{SopInstanceUid, TransferSyntaxUid};
use packhorse_ids::{DeliveryId, Digest, Priority, Routing};
use packhorse_ledger::fact::Compared;
use packhorse_ledger::store::Earlier;
use packhorse_ledger::{Projection, State};
use packhorse_spool::{Entry, EntryState, Index as _};
use tokio::task::JoinHandle;

use crate::hold::HeldBy;
use crate::shared::{LINK_QUEUE, Shared};

/// How long nobody else may work on an entry that is joined or replaced: the commit takes milliseconds.
const LEASE: Duration = Duration::from_secs(30);

/// What was received before of an instance, being looked up while its bytes come.
pub(super) struct Lookup(JoinHandle<Option<Earlier>>);

/// Begins to look up what came before.
pub(super) fn look(shared: &Arc<Shared>, route: &AeTitle, source: &str, instance: &SopInstanceUid) -> Lookup {
    let (shared, route, source, instance) = (Arc::clone(shared), route.clone(), source.to_owned(), instance.clone());
    Lookup(tokio::task::spawn_blocking(move || {
        let reader = shared.reader()?;
        let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = reader.earlier(&route, &source, &instance);
        earlier.unwrap_or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what came before cannot be looked up now"
            );
            None
        })
    }))
}

impl Lookup {
    /// What came before; `None`: nothing, as far as is known.
    pub(super) async fn found(self) -> Option<Earlier> {
        self.0.await.ok().flatten()
    }
}

/// An instance that has come, as far as a repeat is compared by it.
pub(super) struct Come<'a> {
    pub(super) routing: &'a Routing,
    pub(super) transfer_syntax: &'a TransferSyntaxUid,
    pub(super) sha256: &'a Digest,
    pub(super) pixels: Option<&'a Digest>,
    /// The rule that holds it, in a fact's words.
    pub(super) held_by: Option<String>,
}

/// What becomes of it. An entry that is joined or replaced is leased, and is to be given back or settled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It has not come before.
    First,
    /// A delivery of its own.
    New(Option<Compared>),
    /// It is there already, and waits.
    Joins(DeliveryId),
    /// It goes instead of one that waits.
    Replaces(Option<Compared>, Box<Entry>),
}

impl Repeat {
    /// How it differs from the one before.
    pub(super) const fn compared(&self) -> Option<Compared> {
        match self {
            Self::First => None,
            Self::New(compared) | Self::Replaces(compared, _) => *compared,
            Self::Joins(_) => Some(Compared::Same),
        }
    }
}

/// What becomes of an instance of which `earlier` came before.
pub(super) async fn judge(shared: &Shared, earlier: Option<Earlier>, come: &Come<'_>) -> Repeat {
    let Some(earlier) = earlier else { return Repeat::First };
    let compared = (earlier.transfer_syntax == *come.transfer_syntax)
        .then(|| Compared::of((&earlier.sha256, earlier.pixels.as_ref()), (come.sha256, come.pixels)));
    if !matches!(earlier.state, State::InFlight | State::Held) {
        return Repeat::New(compared);
    }
    let leased = shared.spool.lease(shared.epoch, vec![earlier.delivery], LEASE).await;
    // What is not here, or is on its way right now, has left.
    let Some(entry) = leased.ok().and_then(|mut entries| entries.pop()) else {
        return Repeat::New(compared);
    };
    if !waits(&entry) || entry.routing.destination != come.routing.destination {
        give_back(shared, entry.routing.delivery).await;
        return Repeat::New(compared);
    }
    if compared == Some(Compared::Same) && goes_as_well(&entry, come.routing.priority, come.held_by.as_deref()) {
        Repeat::Joins(entry.routing.delivery)
    } else {
        Repeat::Replaces(compared, Box::new(entry))
    }
}

/// Not sent on yet. What was once acknowledged by the relay has left, though it may wait again.
fn waits(entry: &Entry) -> bool {
    matches!(entry.state, EntryState::Ready | EntryState::Held) && entry.queue.as_str() == LINK_QUEUE
}

/// Whether the entry that waits does for both: it is as urgent, and whoever holds it would hold the new one.
fn goes_as_well(entry: &Entry, priority: Priority, by_rule: Option<&str>) -> bool {
    let is_held_alike = match holder(entry) {
        Some(HeldBy::Operator(_)) => true,
        Some(HeldBy::Rule(rule)) => by_rule == Some(rule.as_str()),
        Some(HeldBy::Consent | HeldBy::Arrival | HeldBy::Stray) => false,
        None => by_rule.is_none(),
    };
    entry.routing.priority <= priority && is_held_alike
}

/// Who holds an entry; `None`: nobody.
fn holder(entry: &Entry) -> Option<HeldBy> {
    (entry.state == EntryState::Held).then(|| HeldBy::of(entry))
}

/// The person who holds an entry, and so holds what replaces it: a rule decides on each instance anew, as it is now.
pub(super) fn person(entry: &Entry) -> Option<String> {
    match holder(entry)? {
        HeldBy::Operator(who) => Some(who),
        HeldBy::Rule(_) | HeldBy::Consent | HeldBy::Arrival | HeldBy::Stray => None,
    }
}

/// Lets others work on an entry again.
pub(super) async fn give_back(shared: &Shared, delivery: DeliveryId) {
    if let Err(error) = shared.spool.unclaim(shared.epoch, vec![delivery]).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a lease is not given back: it ends by itself"
        );
    }
}

/// The ledger, opened beside the one that writes it: whoever asks does not wait for its sync.
pub(crate) type Reader = Option<Mutex<Projection>>;

/// Opens the ledger of a folder for questions.
pub(crate) fn open_reader(folder: &std::path::Path) -> Reader {
    let opened = Projection::open_read_only(&folder.join("ledger.sqlite"));
    opened
        .inspect_err(|error| tracing::error!(error = error as &dyn std::error::Error, "repeats cannot be told"))
        .ok()
        .map(Mutex::new)
}

#[cfg(test)]
mod tests;
