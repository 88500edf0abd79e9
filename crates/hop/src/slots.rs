//! Payloads on their way in, each behind its own lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use packhorse_ids::PayloadId;

use crate::hop::lock;
use crate::incoming::Incoming;

/// A payload whose link went away is kept in memory so long, in case it goes on.
const KEPT: Duration = Duration::from_secs(600);
/// Old ones are looked for so often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// `None` while nothing has begun.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Incoming>>>;

#[derive(Debug, Default)]
pub(crate) struct Slots {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: HashMap<PayloadId, Slot>,
    looked: Option<Instant>,
}

impl Slots {
    /// The slot of a payload. Now and then forgets those whose link went away long ago and that nobody holds; what was
    /// saved of them is still in the spool.
    pub(crate) fn of(&self, payload: PayloadId, now: Instant) -> Slot {
        let mut inner = lock(&self.inner);
        let is_due = inner
            .looked
            .is_none_or(|looked| now.duration_since(looked) >= LOOK_EVERY);
        if is_due {
            inner.looked = Some(now);
            let is_new = |incoming: &Incoming| now.duration_since(incoming.touched) < KEPT;
            inner
                .slots
                .retain(|_, slot| Arc::get_mut(slot).is_none_or(|slot| slot.get_mut().as_ref().is_some_and(is_new)));
        }
        Arc::clone(inner.slots.entry(payload).or_default())
    }

    /// Forgets a payload that has come, unless somebody else holds its slot.
    pub(crate) fn done(&self, payload: PayloadId, slot: Slot) {
        let mut inner = lock(&self.inner);
        drop(slot);
        if inner
            .slots
            .get_mut(&payload)
            .is_some_and(|slot| Arc::get_mut(slot).is_some())
        {
            inner.slots.remove(&payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PayloadId = PayloadId::from_bytes([1; 16]);
    const B: PayloadId = PayloadId::from_bytes([2; 16]);

    fn len(slots: &Slots) -> usize {
        lock(&slots.inner).slots.len()
    }

    #[test]
    fn a_slot_that_somebody_holds_is_not_forgotten() {
        let (slots, begin) = (Slots::default(), crate::hop::now());
        // Asked for and not yet locked: nothing has begun in it.
        let held = slots.of(A, begin);
        slots.of(B, begin + LOOK_EVERY * 2);
        assert!(Arc::ptr_eq(&held, &slots.of(A, begin + LOOK_EVERY * 4)));
        slots.done(A, Arc::clone(&held));
        assert!(Arc::ptr_eq(&held, &slots.of(A, begin + LOOK_EVERY * 4)));
    }

    #[test]
    fn old_slots_are_looked_for_at_most_each_minute() {
        let (slots, begin) = (Slots::default(), crate::hop::now());
        *slots.of(A, begin).try_lock().unwrap() = Some(Incoming::small(begin));
        slots.of(B, begin);
        slots.of(B, begin + LOOK_EVERY / 2);
        assert_eq!(len(&slots), 2);
        drop(slots.of(B, begin + KEPT - LOOK_EVERY / 2));
        assert_eq!(len(&slots), 2, "one has begun, not long ago");
        drop(slots.of(B, begin + KEPT));
        assert_eq!(len(&slots), 2, "looked half a minute ago");
        drop(slots.of(B, begin + KEPT + LOOK_EVERY));
        assert_eq!(len(&slots), 1);
    }
}
