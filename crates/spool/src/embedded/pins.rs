//! Bytes that somebody who claimed an entry may still read.
//!
//! An entry can be released while it is under way on a link: its row goes at once, its bytes stay where they are until the
//! last copy of the claimed entry's locator is dropped. A lease would not do: it may run out before.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use super::place::Place;
use super::shared::{Shared, lock};

/// Pinned places.
#[derive(Debug, Default)]
pub(super) struct Pins {
    places: Mutex<HashMap<Place, Pinned>>,
}

#[derive(Debug, Default)]
struct Pinned {
    holders: usize,
    /// To be freed when nobody holds it.
    is_free: bool,
}

impl Pins {
    /// Leaves the freeing of `place` to whoever holds it. False when nobody does.
    pub(super) fn leave(&self, place: Place) -> bool {
        let mut places = lock(&self.places);
        let pinned = places.get_mut(&place);
        pinned.map(|pinned| pinned.is_free = true).is_some()
    }

    fn hold(&self, place: Place) {
        lock(&self.places).entry(place).or_default().holders += 1;
    }

    /// Whether that was the last holder of a place that is to be freed.
    fn let_go(&self, place: Place) -> bool {
        let mut places = lock(&self.places);
        let Some(pinned) = places.get_mut(&place) else {
            return false;
        };
        pinned.holders = pinned.holders.saturating_sub(1);
        let (is_last, is_free) = (pinned.holders == 0, pinned.is_free);
        if is_last {
            places.remove(&place);
        }
        is_last && is_free
    }
}

/// A place whose bytes stay.
pub(crate) struct Pin {
    /// Weak, so that an entry somebody keeps does not keep the folder locked.
    shared: Weak<Shared>,
    place: Place,
}

impl Pin {
    pub(super) fn new(shared: &Arc<Shared>, place: Place) -> Arc<Self> {
        shared.pins.hold(place);
        let shared = Arc::downgrade(shared);
        Arc::new(Self { shared, place })
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pin").field(&self.place).finish()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade()
            && shared.pins.let_go(self.place)
        {
            shared.slabs.free(self.place);
        }
    }
}
