//! What rules hold.

use std::time::Duration;

use packhorse_ids::{DeliveryId, WallTime};
use rusqlite::{Row, params};

use super::query::rows;
use super::{LIMIT_MAX, Projection, ProjectionError, read};
use crate::view::HeldView;

impl Projection {
    /// What each rule holds now.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn held_by_rules(&self) -> Result<Vec<HeldView>, ProjectionError> {
        let sql = "SELECT held_by, count(*), sum(length), min(received_at), min(held_until) FROM delivery WHERE state = 2 \
                   AND held_by IS NOT NULL GROUP BY held_by LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_map([rows(LIMIT_MAX)], held)?
            .collect::<Result<_, _>>()?)
    }

    /// What of rules' holds ends between `from` and `to`, of holds longer than `longer_than`.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn holds_ending(
        &self,
        from: WallTime,
        to: WallTime,
        longer_than: Duration,
    ) -> Result<Vec<HeldView>, ProjectionError> {
        let sql = "SELECT held_by, count(*), sum(length), min(received_at), min(held_until) FROM delivery WHERE state = 2 \
                   AND held_by IS NOT NULL AND held_until > ?1 AND held_until <= ?2 \
                   AND held_until - received_at > ?3 GROUP BY held_by LIMIT ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let longer = i64::try_from(longer_than.as_micros()).unwrap_or(i64::MAX);
        let values = params![from.unix_micros(), to.unix_micros(), longer, rows(LIMIT_MAX)];
        Ok(statement.query_map(values, held)?.collect::<Result<_, _>>()?)
    }

    /// Deliveries that a rule holds and whose hold has ended, behind `after` (0 at first) in order of reception, each with
    /// its number.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn holds_ended(
        &self,
        now: WallTime,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DeliveryId)>, ProjectionError> {
        let sql = "SELECT number, id FROM delivery WHERE state = 2 AND number > ?1 AND held_until <= ?2 ORDER BY number \
                   LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let values = params![super::integer(after), now.unix_micros(), rows(limit)];
        let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, String>(1)?));
        let found: Vec<_> = statement.query_map(values, row)?.collect::<Result<_, _>>()?;
        let parsed = found
            .into_iter()
            .filter_map(|(number, id)| Some((number, id.parse().ok()?)));
        Ok(parsed.collect())
    }
}

fn held(row: &Row<'_>) -> Result<HeldView, rusqlite::Error> {
    Ok(HeldView {
        rule: row.get(0)?,
        instances: row.get::<_, i64>(1)?.unsigned_abs(),
        bytes: row.get::<_, i64>(2)?.unsigned_abs(),
        oldest: read::time(row.get(3)?),
        ends: row.get::<_, Option<i64>>(4)?.map(read::time),
    })
}
