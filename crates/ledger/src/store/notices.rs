//! Notices: the last ones, and what became of them on their channels.

use packhorse_ids::WallTime;
use rusqlite::{Row, Transaction, params};
use serde_json::Value;

use super::query::rows;
use super::{Projection, ProjectionError, read};
use crate::fact::{NoticeTold, Noticed};
use crate::view::{NoticeView, ToldView};

/// Notices that are kept; older ones are forgotten here, and nowhere else.
const NOTICES_MAX: i64 = 10_000;
/// They are forgotten each time about so many facts have come.
const FORGET_EVERY: i64 = 64;

pub(super) fn noticed(transaction: &Transaction<'_>, number: i64, noticed: &Noticed) -> Result<(), rusqlite::Error> {
    let sql = "INSERT OR REPLACE INTO notice (id, number, about, key, what, remedy, fields, at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let fields = Value::Object(noticed.fields.clone()).to_string();
    let values = params![
        noticed.notice.to_string(),
        number,
        noticed.about,
        noticed.key,
        noticed.what,
        noticed.remedy,
        fields,
        noticed.at.unix_micros(),
    ];
    transaction.prepare_cached(sql)?.execute(values)?;
    if number % FORGET_EVERY == 0 {
        let sql = "DELETE FROM notice WHERE number < (SELECT min(number) FROM (SELECT number FROM notice \
                   ORDER BY number DESC LIMIT ?1))";
        transaction.prepare_cached(sql)?.execute([NOTICES_MAX])?;
        let sql = "DELETE FROM notice_told WHERE id NOT IN (SELECT id FROM notice)";
        transaction.prepare_cached(sql)?.execute([])?;
    }
    Ok(())
}

/// What was told is not untold by a failure that comes later.
pub(super) fn told(transaction: &Transaction<'_>, told: &NoticeTold) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO notice_told (id, channel, failure, at) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (id, channel) DO UPDATE SET failure = excluded.failure, at = excluded.at \
               WHERE failure IS NOT NULL";
    let values = params![
        told.notice.to_string(),
        told.channel,
        told.failure,
        told.at.unix_micros()
    ];
    transaction.prepare_cached(sql)?.execute(values).map(drop)
}

impl Projection {
    /// Notices, the newest first; at most `limit`, and [`LIMIT_MAX`](super::LIMIT_MAX).
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn notices(&self, limit: usize) -> Result<Vec<NoticeView>, ProjectionError> {
        let sql = "SELECT id, about, at, what, remedy, fields FROM notice ORDER BY number DESC LIMIT ?1";
        let one = |row: &Row<'_>| {
            let fields: String = row.get(5)?;
            Ok(NoticeView {
                id: row.get(0)?,
                kind: row.get(1)?,
                at: read::time(row.get(2)?),
                what: row.get(3)?,
                remedy: row.get(4)?,
                fields: serde_json::from_str(&fields).unwrap_or_default(),
                told: Vec::new(),
            })
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut notices: Vec<NoticeView> = statement.query_map([rows(limit)], one)?.collect::<Result<_, _>>()?;
        for notice in &mut notices {
            notice.told = self.tellings(&notice.id)?;
        }
        Ok(notices)
    }

    fn tellings(&self, id: &str) -> Result<Vec<ToldView>, ProjectionError> {
        let sql = "SELECT channel, at, failure FROM notice_told WHERE id = ?1 ORDER BY channel";
        let one = |row: &Row<'_>| {
            Ok(ToldView {
                channel: row.get(0)?,
                at: read::time(row.get(1)?),
                failure: row.get(2)?,
            })
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_map([id], one)?.collect::<Result<_, _>>()?)
    }

    /// When a notice about `about` whose key begins with `key` was made last; `None`: never, as far as is kept.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn last_notice(&self, about: &str, key: &str) -> Result<Option<WallTime>, ProjectionError> {
        // A range of the index, instead of a pattern.
        let sql = "SELECT max(at) FROM notice WHERE about = ?1 AND key >= ?2 AND key < ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let behind = format!("{key}\u{10ffff}");
        let at: Option<i64> = statement.query_row([about, key, &behind], |row| row.get(0))?;
        Ok(at.map(WallTime::from_unix_micros))
    }

    /// When `channel` told something, since `since`, the oldest first; at most `limit`, the newest of them.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn told_since(&self, channel: &str, since: WallTime, limit: usize) -> Result<Vec<WallTime>, ProjectionError> {
        let sql = "SELECT at FROM notice_told WHERE channel = ?1 AND at >= ?2 AND failure IS NULL \
                   ORDER BY at DESC LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let values = params![channel, since.unix_micros(), rows(limit)];
        let times = statement.query_map(values, |row| row.get(0).map(WallTime::from_unix_micros))?;
        let mut times: Vec<WallTime> = times.collect::<Result<_, _>>()?;
        times.reverse();
        Ok(times)
    }

    /// Notices that were given up on a channel since `since`: the channel, how many, the last reason.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn given_up(&self, since: WallTime) -> Result<Vec<(String, u64, String)>, ProjectionError> {
        // With `max`, SQLite takes the other columns from the row that has it.
        let sql = "SELECT channel, count(*), failure, max(at) FROM notice_told WHERE failure IS NOT NULL AND at >= ?1 \
                   GROUP BY channel";
        let mut statement = self.connection.prepare_cached(sql)?;
        let one = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs(), row.get(2)?));
        Ok(statement
            .query_map([since.unix_micros()], one)?
            .collect::<Result<_, _>>()?)
    }
}
