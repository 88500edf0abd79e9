//! The embedded store's payloads.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{PayloadId, SegmentSet};
use rusqlite::{Connection, OptionalExtension as _};

use super::shared::ask;
use super::slab::Place;
use super::spool::Spool;
use super::work::Work;
use super::writer::Writer;
use crate::error::StoreError;
use crate::store::{Body, Locator, PayloadWriter, Payloads};

#[async_trait]
impl Payloads for Spool {
    async fn begin(&self, payload: PayloadId, length: Option<u64>) -> Result<Box<dyn PayloadWriter>, StoreError> {
        self.shared.check_room_for_row()?;
        if !self.shared.writing().insert(payload) {
            return Err(StoreError::NotFound("this payload is being written already"));
        }
        let claimed = Claimed {
            spool: self,
            payload: Some(payload),
        };
        let begun = self.begin_alone(payload, length).await?;
        claimed.keep();
        Ok(begun)
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
                read.map_err(|_| StoreError::Closed)?
                    .map(Bytes::from)
                    .map_err(StoreError::Read)
            }
        }
    }
}

/// A payload id that is ours while its writer is made; a writer gives it up itself.
struct Claimed<'a> {
    spool: &'a Spool,
    payload: Option<PayloadId>,
}

impl Claimed<'_> {
    fn keep(mut self) {
        self.payload = None;
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if let Some(payload) = self.payload {
            self.spool.shared.writing().remove(&payload);
        }
    }
}

impl Spool {
    async fn begin_alone(&self, payload: PayloadId, length: Option<u64>) -> Result<Box<dyn PayloadWriter>, StoreError> {
        // Segments are saved of payloads of known length only.
        if let Some(length) = length
            && let Some((place, segments)) = self.query(move |db, _| partial(db, payload)).await?
        {
            if place.length() == length {
                return Ok(Box::new(Writer::resume(&self.shared, payload, place, segments)?));
            }
            // Other bytes under the same id: what was saved of the first is of no use.
            ask(&self.shared, None, Work::Forget { payload }).await?;
            self.shared.slabs.free(place);
        }
        Ok(Box::new(Writer::begin(&self.shared, payload, length)?))
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
