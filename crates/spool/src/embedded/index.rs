//! The embedded store's index.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{DeliveryId, Epoch, Kind, Priority, WallTime};
use rusqlite::{OptionalExtension as _, params};
use tokio::sync::watch;

use super::claim::{self, Asked};
use super::rows;
use super::shared::{Counted, RoomCheck, Shared, ask};
use super::spool::Spool;
use super::work::Work;
use crate::error::StoreError;
use crate::store::{
    Body, Committed, Entry, EntryState, Filter, Index, NewEntry, QueueCount, QueueName, Seen, Settlement,
};

/// Entries in one claim.
const CLAIM_MAX: usize = 256;

#[async_trait]
impl Index for Spool {
    async fn commit(
        &self,
        epoch: Epoch,
        entries: Vec<NewEntry>,
        facts: Vec<Bytes>,
    ) -> Result<Vec<Committed>, StoreError> {
        if !entries.is_empty() {
            self.shared.make_room(check_for(&entries)).await?;
        }
        let done = ask(&self.shared, Some(epoch), Work::Commit { entries, facts }).await?;
        Ok(done.committed)
    }

    async fn claim(
        &self,
        epoch: Epoch,
        queue: &QueueName,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Entry>, StoreError> {
        self.claim_from(epoch, queue, Priority::Bulk, max, lease).await
    }

    async fn claim_urgent(
        &self,
        epoch: Epoch,
        queue: &QueueName,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Entry>, StoreError> {
        self.claim_from(epoch, queue, Priority::Stat, max, lease).await
    }

    async fn settle(
        &self,
        epoch: Epoch,
        settlements: Vec<(DeliveryId, Settlement)>,
        facts: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        ask(&self.shared, Some(epoch), Work::Settle { settlements, facts }).await?;
        Ok(())
    }

    async fn unclaim(&self, epoch: Epoch, deliveries: Vec<DeliveryId>) -> Result<(), StoreError> {
        if epoch != self.shared.epoch {
            return Err(StoreError::Stale);
        }
        {
            let mut leases = self.shared.leases();
            for delivery in &deliveries {
                leases.give_back(*delivery);
            }
        }
        self.shared.wake_all();
        Ok(())
    }

    async fn lease(
        &self,
        epoch: Epoch,
        deliveries: Vec<DeliveryId>,
        lease: Duration,
    ) -> Result<Vec<Entry>, StoreError> {
        if epoch != self.shared.epoch {
            return Err(StoreError::Stale);
        }
        self.query(move |db, shared| claim::claim_these(db, shared, deliveries, lease))
            .await
    }

    async fn reopen(&self, epoch: Epoch, deliveries: Vec<DeliveryId>, facts: Vec<Bytes>) -> Result<u64, StoreError> {
        let work = Work::Reopen { deliveries, facts };
        let done = ask(&self.shared, Some(epoch), work).await?;
        Ok(done.reopened)
    }

    async fn seen(&self, deliveries: &[DeliveryId]) -> Result<Vec<Option<Seen>>, StoreError> {
        let deliveries = deliveries.to_vec();
        self.query(move |db, _| {
            let mut present = db.prepare_cached("SELECT committed_at FROM entry WHERE delivery = ?")?;
            let mut gone = db.prepare_cached("SELECT at FROM seen WHERE delivery = ?")?;
            let look = |delivery: &DeliveryId| {
                let id = [delivery.as_bytes()];
                let time = |row: &rusqlite::Row<'_>| row.get(0).map(WallTime::from_unix_micros);
                Ok(match present.query_row(id, time).optional()? {
                    Some(at) => Some(Seen::Present(at)),
                    None => gone.query_row(id, time).optional()?.map(Seen::Gone),
                })
            };
            deliveries.iter().map(look).collect()
        })
        .await
    }

    async fn entry(&self, delivery: DeliveryId) -> Result<Option<Entry>, StoreError> {
        self.query(move |db, _| rows::find(db, delivery)).await
    }

    async fn page(&self, cursor: u64, filter: Filter, max: usize) -> Result<Vec<(u64, Entry)>, StoreError> {
        self.query(move |db, _| {
            let sql = format!(
                "SELECT {} FROM entry WHERE n > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR state = ?3)
                 ORDER BY n LIMIT ?4",
                rows::COLUMNS
            );
            let queue = filter.queue.as_ref().map(QueueName::as_str);
            let state = filter.state.map(EntryState::code);
            let mut statement = db.prepare_cached(&sql)?;
            let limit = i64::try_from(max).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![cursor.cast_signed(), queue, state, limit], rows::entry)?;
            rows.collect()
        })
        .await
    }

    fn counts(&self) -> Vec<QueueCount> {
        let counts = self.shared.counts();
        let some = counts.iter().filter(|(_, (entries, _))| *entries > 0);
        let count = |((queue, kind, state), (entries, bytes)): (&Counted, &(u64, u64))| QueueCount {
            queue: queue.clone(),
            kind: *kind,
            state: *state,
            entries: *entries,
            bytes: *bytes,
        };
        let mut all: Vec<_> = some.map(count).collect();
        all.sort_by(|a, b| (&a.queue, a.kind, a.state).cmp(&(&b.queue, b.kind, b.state)));
        all
    }

    async fn facts_after(&self, after: u64, max: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
        self.query(move |db, _| {
            let mut statement = db.prepare_cached("SELECT seq, bytes FROM fact WHERE seq > ? ORDER BY seq LIMIT ?")?;
            let limit = i64::try_from(max).unwrap_or(i64::MAX);
            let rows = statement.query_map([after.cast_signed(), limit], |row| {
                Ok((
                    row.get::<_, i64>(0)?.cast_unsigned(),
                    Bytes::from(row.get::<_, Vec<u8>>(1)?),
                ))
            })?;
            rows.collect()
        })
        .await
    }

    async fn trim_facts(&self, epoch: Epoch, through: u64) -> Result<(), StoreError> {
        ask(&self.shared, Some(epoch), Work::Trim { through }).await?;
        Ok(())
    }

    fn wakeups(&self) -> watch::Receiver<u64> {
        self.shared.wake.subscribe()
    }
}

impl Spool {
    async fn claim_from(
        &self,
        epoch: Epoch,
        queue: &QueueName,
        least: Priority,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Entry>, StoreError> {
        if epoch != self.shared.epoch {
            return Err(StoreError::Stale);
        }
        // Every commit wakes whoever waits: most look at a queue that has nothing for them.
        if !self.shared.has_claimable(queue) {
            return Ok(Vec::new());
        }
        let asked = Asked {
            queue: queue.clone(),
            least,
            max: max.min(CLAIM_MAX),
            lease,
        };
        self.query(move |db, shared| claim::claim(db, shared, &asked)).await
    }
}

/// What has to be free for these entries.
fn check_for(entries: &[NewEntry]) -> RoomCheck {
    let is_inline = |entry: &&NewEntry| matches!(entry.body, Body::Inline(_));
    let is_delivery = |entry: &NewEntry| entry.routing.kind == Kind::Delivery;
    if entries.iter().filter(is_inline).any(is_delivery) {
        Shared::check_room
    } else if entries.iter().all(|entry| is_inline(&entry)) {
        Shared::check_room_for_message
    } else {
        Shared::check_room_for_row
    }
}
