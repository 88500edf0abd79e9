//! The embedded store's payloads.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{PayloadId, SegmentSet};
use rusqlite::{Connection, OptionalExtension as _};

use super::place::Place;
use super::shared::{Shared, ask};
use super::spool::Spool;
use super::work::Work;
use super::writer::Writer;
use crate::error::StoreError;
use crate::store::{Body, Locator, PayloadWriter, Payloads};

#[async_trait]
impl Payloads for Spool {
    async fn begin(&self, payload: PayloadId, length: Option<u64>) -> Result<Box<dyn PayloadWriter>, StoreError> {
        loop {
            self.shared.make_room(Shared::check_room_for_row).await?;
            let claimed = Claimed::new(&self.shared, payload);
            let claimed = claimed.ok_or(StoreError::NotFound("this payload is being written already"))?;
            match self.begin_alone(claimed, length).await {
                Err(StoreError::Full { .. }) if self.shared.give_way().await => {}
                begun => return Ok(Box::new(begun?)),
            }
        }
    }

    async fn have(&self, payload: PayloadId) -> Result<SegmentSet, StoreError> {
        let found = self.query(move |db, _| partial(db, payload)).await?;
        Ok(found.map(|(_, segments)| segments).unwrap_or_default())
    }

    async fn read(&self, body: &Body, range: Range<u64>) -> Result<Bytes, StoreError> {
        const BEHIND: StoreError = StoreError::NotFound("a range behind the payload's end");
        let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| BEHIND)?;
        match body {
            Body::Inline(bytes) => {
                let start = usize::try_from(range.start).map_err(|_| BEHIND)?;
                let end = start
                    .checked_add(length)
                    .filter(|end| *end <= bytes.len())
                    .ok_or(BEHIND)?;
                Ok(bytes.slice(start..end))
            }
            Body::Stored(locator) => {
                let place = Place::from_locator(locator).ok_or(StoreError::NotFound("an unknown locator"))?;
                if range.end > place.length() {
                    return Err(BEHIND);
                }
                let shared = Arc::clone(&self.shared);
                let read = tokio::task::spawn_blocking(move || shared.slabs.read(place, range.start, length)).await;
                let read = read.map_err(|_| StoreError::Closed)?;
                read.map(Bytes::from).map_err(|error| self.shared.file_error(error))
            }
        }
    }
}

/// A payload id that is ours as long as it is being written.
#[derive(Debug)]
pub(super) struct Claimed {
    shared: Arc<Shared>,
    payload: PayloadId,
    is_passed_on: bool,
}

impl Claimed {
    /// `None` when somebody has it.
    fn new(shared: &Arc<Shared>, payload: PayloadId) -> Option<Self> {
        let is_new = shared.writing().insert(payload);
        is_new.then(|| Self {
            shared: Arc::clone(shared),
            payload,
            is_passed_on: false,
        })
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) const fn payload(&self) -> PayloadId {
        self.payload
    }

    /// The id is given up by whoever it was passed on to.
    pub(super) fn pass_on(mut self) {
        self.is_passed_on = true;
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.is_passed_on {
            self.shared.writing().remove(&self.payload);
        }
    }
}

impl Spool {
    async fn begin_alone(&self, claimed: Claimed, length: Option<u64>) -> Result<Writer, StoreError> {
        let payload = claimed.payload();
        // Segments are saved of payloads of known length only.
        if let Some(length) = length
            && let Some((place, segments)) = self.query(move |db, _| partial(db, payload)).await?
        {
            if place.length() == length {
                return Writer::resume(claimed, place, segments);
            }
            // Other bytes under the same id: what was saved of the first is of no use.
            ask(&self.shared, None, Work::Forget { payload }).await?;
            self.shared.slabs.free(place);
        }
        match Writer::begin_at_once(claimed, length) {
            Ok(begun) => Ok(begun),
            // Making a slab takes its time. Given up meanwhile, the writer frees what it was given.
            Err(claimed) => {
                let begun = tokio::task::spawn_blocking(move || Writer::begin(claimed, length)).await;
                begun.map_err(|_| StoreError::Closed)?
            }
        }
    }
}

fn partial(db: &Connection, payload: PayloadId) -> rusqlite::Result<Option<(Place, SegmentSet)>> {
    let mut statement = db.prepare_cached("SELECT locator, segments FROM partial WHERE payload = ?")?;
    let row = statement.query_row([payload.as_bytes()], |row| {
        let (locator, segments): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        Ok(Place::from_locator(&Locator::new(locator)).zip(SegmentSet::from_bytes(&segments).ok()))
    });
    row.optional().map(Option::flatten)
}
