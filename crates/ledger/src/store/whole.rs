//! How much of a study was sent, and how much has come: for delivering it as a whole.

use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{SiteName, WallTime};
use rusqlite::{Row, params};

use super::{LIMIT_MAX, Projection, ProjectionError};

/// A study on its way to another site, over all routes and sources that lead to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentStudy {
    /// `site/AE`.
    pub to: String,
    /// Study Instance UID.
    pub study: String,
    /// When its last instance was received.
    pub last_received: WallTime,
    /// Deliveries that are on their way or done; repeats count, what is held or discarded does not.
    pub deliveries: u64,
    /// Whether an association that carried it is open.
    pub is_open: bool,
}

impl Projection {
    /// How many deliveries of a study have come from `site` for `to`, whatever became of them.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn arrived_of(&self, site: &SiteName, to: &AeTitle, study: &str) -> Result<u64, ProjectionError> {
        let sql = "SELECT count(*) FROM account a JOIN delivery d ON d.account = a.id \
                   WHERE a.direction = 1 AND a.route = ? AND a.source = ? AND a.study = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let count: i64 = statement.query_row([to.as_str(), site.as_str(), study], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// The studies on their way to other sites to which something happened `since` then, newest last. Associations that were
    /// opened before `started` are over: nobody was left to write down their end.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn sent_studies(&self, since: WallTime, started: WallTime) -> Result<Vec<SentStudy>, ProjectionError> {
        let sql = "SELECT a.target, a.study, max(d.received_at) AS last, sum(d.state NOT IN (2, 4)), \
                   max(EXISTS (SELECT 1 FROM association x \
                               WHERE x.id = d.origin AND x.ended_at IS NULL AND x.opened_at >= ?2)) \
                   FROM account a JOIN delivery d ON d.account = a.id \
                   WHERE a.direction = 0 AND a.study <> '' AND a.last_at >= ?1 \
                   GROUP BY a.target, a.study ORDER BY last LIMIT ?3";
        let read = |row: &Row<'_>| {
            Ok(SentStudy {
                to: row.get(0)?,
                study: row.get(1)?,
                last_received: WallTime::from_unix_micros(row.get(2)?),
                deliveries: row.get::<_, i64>(3)?.cast_unsigned(),
                is_open: row.get(4)?,
            })
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let limit = i64::try_from(LIMIT_MAX).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![since.unix_micros(), started.unix_micros(), limit], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
