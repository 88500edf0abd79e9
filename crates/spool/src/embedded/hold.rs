//! The space of a payload that is finished and not committed yet.

use std::fmt;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use packhorse_ids::PayloadId;

use super::place::Place;
use super::shared::Shared;

/// Keeps a finished payload's space, and nobody else's hands off its id, until it is committed: once. Its bytes are free
/// again when the last copy of the locator is dropped without that, whatever the reason: a refused commit, a full disk, a
/// cancelled task.
pub(crate) struct Hold {
    /// Weak, so that a locator somebody keeps does not keep the folder locked.
    shared: Weak<Shared>,
    payload: PayloadId,
    place: Place,
    /// Open until it is synced: the kernel tells of a failed write-back to files that were open then.
    file: Arc<File>,
    /// A row remembers its segments, and keeps the space if it is not committed.
    is_saved: bool,
    is_taken: AtomicBool,
}

impl Hold {
    pub(super) fn new(
        shared: &Arc<Shared>,
        payload: PayloadId,
        place: Place,
        file: Arc<File>,
        is_saved: bool,
    ) -> Arc<Self> {
        let (shared, is_taken) = (Arc::downgrade(shared), AtomicBool::new(false));
        Arc::new(Self {
            shared,
            payload,
            place,
            file,
            is_saved,
            is_taken,
        })
    }

    pub(super) const fn payload(&self) -> PayloadId {
        self.payload
    }

    pub(super) const fn place(&self) -> Place {
        self.place
    }

    pub(super) const fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn belongs_to(&self, shared: &Shared) -> bool {
        std::ptr::eq(self.shared.as_ptr(), shared)
    }

    /// Takes the space over for a row. Whether it was there to be taken. Only the committer does so.
    pub(super) fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::SeqCst)
    }

    /// Undoes [`take`](Self::take): there was no commit.
    pub(super) fn give_back(&self) {
        self.is_taken.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("payload", &self.payload)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if *self.is_taken.get_mut() {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            if !self.is_saved {
                shared.slabs.free(self.place);
            }
            shared.writing().remove(&self.payload);
        }
    }
}
