//! What is claimed, and what of it the link has.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use packhorse_ids::{DeliveryId, Digest, Priority, Routing, SegmentSet};
use packhorse_spool::{Body, Entry};

use crate::hop::lock;

/// Entries that are leased for a link.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Not yet given to the link.
    claimed: VecDeque<Entry>,
    on_link: HashMap<DeliveryId, OnLink>,
}

#[derive(Debug)]
struct OnLink {
    entry: Entry,
    /// Segments the link has asked for.
    read: SegmentSet,
    /// Its bytes were checked when a segment was asked for again.
    is_checked: bool,
}

/// A segment that the link asks for.
pub(crate) struct Reading {
    pub(crate) body: Body,
    /// Of the whole payload.
    pub(crate) length: u64,
    /// Of the whole payload.
    pub(crate) blake3: Digest,
    /// It was asked for before: the delivery was put off by the peer, and is offered again.
    pub(crate) is_repeated: bool,
    /// The first that was.
    pub(crate) is_first_repeated: bool,
}

impl Outgoing {
    pub(crate) fn add(&self, claimed: Vec<Entry>) {
        lock(&self.inner).claimed.extend(claimed);
    }

    /// Gives the link up to `max` of what is claimed, nothing less urgent than `least`. An entry whose lease ran out while
    /// the link still has it is passed over.
    pub(crate) fn take(&self, max: usize, least: Priority) -> Vec<Routing> {
        let mut inner = lock(&self.inner);
        let (mut routings, mut left) = (Vec::new(), VecDeque::new());
        while routings.len() < max
            && let Some(entry) = inner.claimed.pop_front()
        {
            if entry.routing.priority > least {
                left.push_back(entry);
                continue;
            }
            let routing = entry.routing.clone();
            let on_link = OnLink {
                entry,
                read: SegmentSet::new(),
                is_checked: false,
            };
            if inner.on_link.insert(routing.delivery, on_link).is_none() {
                routings.push(routing);
            }
        }
        left.append(&mut inner.claimed);
        inner.claimed = left;
        routings
    }

    /// `None` when the link does not have it (any more).
    pub(crate) fn read(&self, delivery: DeliveryId, segment: u32) -> Option<Reading> {
        let mut inner = lock(&self.inner);
        let on_link = inner.on_link.get_mut(&delivery)?;
        let is_repeated = on_link.read.contains(segment);
        on_link.read.insert(segment);
        let is_first_repeated = is_repeated && !on_link.is_checked;
        on_link.is_checked |= is_repeated;
        Some(Reading {
            body: on_link.entry.body.clone(),
            length: on_link.entry.routing.length,
            blake3: on_link.entry.routing.blake3,
            is_repeated,
            is_first_repeated,
        })
    }

    /// Takes a delivery back from the link: once, whoever asks first.
    pub(crate) fn remove(&self, delivery: DeliveryId) -> Option<Entry> {
        let on_link = lock(&self.inner).on_link.remove(&delivery);
        on_link.map(|on_link| on_link.entry)
    }
}
