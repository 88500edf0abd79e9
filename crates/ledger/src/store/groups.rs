//! What hangs together: deliveries of one study that are late, held or failed for one reason.

use packhorse_ids::{DeliveryId, Priority, WallTime};
use rusqlite::{Row, params};

use super::query::rows;
use super::read::{self, Stored};
use super::{LIMIT_MAX, Projection, ProjectionError};
use crate::progress::State;
use crate::view::Direction;

/// What is late: in flight for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateFilter {
    /// Of this priority.
    pub priority: Priority,
    /// In flight since then or before.
    pub before: WallTime,
    /// Which routes are looked at: by called AE title, and only outgoing.
    pub places: Places,
}

/// Which routes are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// One route.
    Only(String),
    /// All others, and everything that comes in.
    AllBut(Vec<String>),
}

/// Deliveries of one account that stand in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The account, for further questions.
    pub account: i64,
    /// Which way it goes.
    pub direction: Direction,
    /// As in [`StudyView::route`](crate::view::StudyView::route).
    pub route: String,
    /// As in [`StudyView::source`](crate::view::StudyView::source).
    pub source: String,
    /// As in [`StudyView::to`](crate::view::StudyView::to).
    pub to: String,
    /// Study Instance UID.
    pub study: Option<String>,
    /// Where they stand.
    pub state: State,
    /// The last reason.
    pub reason: Option<String>,
    /// How many.
    pub count: u64,
    /// Of these the far edge has on disk.
    pub in_far_custody: u64,
    /// Since when the first stands so.
    pub oldest: WallTime,
    /// Since when the last does.
    pub newest: WallTime,
}

/// [`group`] takes the columns in this order.
const COLUMNS: &str = "a.id, a.direction, a.route, a.source, a.target, a.study, d.state, count(*), \
     count(d.custody_at), min(d.state_at), max(d.state_at)";

fn group(row: &Row<'_>) -> Result<Group, rusqlite::Error> {
    Ok(Group {
        account: row.get(0)?,
        direction: read::direction(row.get(1)?),
        route: row.get(2)?,
        source: row.get(3)?,
        to: row.get(4)?,
        study: read::study(row.get(5)?),
        state: row.get::<_, Stored>(6)?.0,
        count: row.get::<_, i64>(7)?.unsigned_abs(),
        in_far_custody: row.get::<_, i64>(8)?.unsigned_abs(),
        oldest: WallTime::from_unix_micros(row.get(9)?),
        newest: WallTime::from_unix_micros(row.get(10)?),
        reason: row.get(11)?,
    })
}

impl Projection {
    /// Studies of which something is late, with everything of them that is in flight with that priority, the longest
    /// waiting first; at most `limit`, and [`LIMIT_MAX`].
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn late(&self, filter: &LateFilter, limit: usize) -> Result<Vec<Group>, ProjectionError> {
        let (only, but) = match &filter.places {
            Places::Only(route) => (Some(route.as_str()), Vec::new()),
            Places::AllBut(routes) => (None, routes.clone()),
        };
        // Mostly nothing is late, and the index of what is in flight says so at once.
        let sql = "SELECT EXISTS (SELECT 1 FROM delivery WHERE state = 1 AND priority = ?1 AND state_at <= ?2)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let is_any: bool = statement
            .query_row(params![filter.priority.code(), filter.before.unix_micros()], |row| {
                row.get(0)
            })?;
        if !is_any {
            return Ok(Vec::new());
        }
        // What is in flight is less than what an account has seen.
        let sql = format!(
            "SELECT {COLUMNS}, NULL FROM delivery d INDEXED BY delivery_open JOIN account a ON a.id = d.account \
             WHERE d.account IN (SELECT account FROM delivery WHERE state = 1 AND priority = ?1 AND state_at <= ?2) \
             AND d.state = 1 AND d.priority = ?1 AND (?3 IS NULL OR (a.direction = 0 AND a.route = ?3)) \
             AND (a.direction = 1 OR a.route NOT IN (SELECT value FROM json_each(?4))) \
             GROUP BY a.id ORDER BY min(d.state_at) LIMIT ?5"
        );
        let but = serde_json::Value::from(but).to_string();
        let values = params![
            filter.priority.code(),
            filter.before.unix_micros(),
            only,
            but,
            rows(limit)
        ];
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_map(values, group)?.collect::<Result<_, _>>()?)
    }

    /// The first of an account's deliveries in flight that the far edge does not have.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn in_flight_here(
        &self,
        account: i64,
        priority: Priority,
        limit: usize,
    ) -> Result<Vec<DeliveryId>, ProjectionError> {
        let sql = "SELECT id FROM delivery WHERE account = ?1 AND state = 1 AND priority = ?2 AND custody_at IS NULL \
                   ORDER BY state_at LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let values = params![account, priority.code(), rows(limit)];
        let ids: Vec<String> = statement
            .query_map(values, |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// What is held or has failed, by study and reason, the oldest first; at most `limit`, and
    /// [`LIMIT_MAX`].
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn stuck(&self, limit: usize) -> Result<Vec<Group>, ProjectionError> {
        let sql = format!(
            "SELECT {COLUMNS}, d.reason FROM delivery d JOIN account a ON a.id = d.account \
             WHERE d.state IN (2, 3) GROUP BY a.id, d.state, d.reason ORDER BY min(d.state_at) LIMIT ?1"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_map([rows(limit)], group)?.collect::<Result<_, _>>()?)
    }

    /// When something was delivered last on each way: direction, route, when.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn last_delivered(&self) -> Result<Vec<(Direction, String, String)>, ProjectionError> {
        let sql = "SELECT a.direction, a.route, max(d.outcome_at) FROM delivery d JOIN account a ON a.id = d.account \
                   WHERE d.state = 0 AND d.outcome_at IS NOT NULL GROUP BY a.direction, a.route";
        let mut statement = self.connection.prepare_cached(sql)?;
        let one = |row: &Row<'_>| {
            let at: i64 = row.get(2)?;
            Ok((read::direction(row.get(0)?), row.get(1)?, read::time(at)))
        };
        Ok(statement.query_map([], one)?.collect::<Result<_, _>>()?)
    }

    /// When each source opened its last association: its name in the configuration, when.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn last_seen(&self) -> Result<Vec<(String, String)>, ProjectionError> {
        let sql = "SELECT source, max(opened_at) FROM association GROUP BY source";
        let mut statement = self.connection.prepare_cached(sql)?;
        let one = |row: &Row<'_>| Ok((row.get(0)?, read::time(row.get(1)?)));
        Ok(statement.query_map([], one)?.collect::<Result<_, _>>()?)
    }

    /// Instances that were answered with a failure since `since`: source, rule or other reason, how many, when last.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn refused_since(&self, since: WallTime) -> Result<Vec<(String, String, u64, String)>, ProjectionError> {
        let sql = "SELECT source, rule, count(*), max(at) FROM refusal WHERE at >= ?1 GROUP BY source, rule \
                   ORDER BY max(at) DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let one = |row: &Row<'_>| {
            let (count, at): (i64, i64) = (row.get(2)?, row.get(3)?);
            Ok((row.get(0)?, row.get(1)?, count.unsigned_abs(), read::time(at)))
        };
        let values = params![since.unix_micros(), rows(LIMIT_MAX)];
        Ok(statement.query_map(values, one)?.collect::<Result<_, _>>()?)
    }

    /// How far the clock of each site that deliveries went to lies behind ours at least, in microseconds: it had them on
    /// disk, by its clock, before we did by ours. Of the last 1,000 deliveries; only what is behind.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn clocks_behind(&self) -> Result<Vec<(String, i64)>, ProjectionError> {
        let sql = "SELECT custody_by, max(received_at - custody_at) AS behind FROM (SELECT custody_by, received_at, \
                   custody_at FROM delivery WHERE custody_at IS NOT NULL ORDER BY custody_at DESC LIMIT 1000) \
                   GROUP BY custody_by HAVING behind > 0";
        let mut statement = self.connection.prepare_cached(sql)?;
        let one = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(statement.query_map([], one)?.collect::<Result<_, _>>()?)
    }
}
