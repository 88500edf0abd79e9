//! What was received before of an instance that comes again.

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::uid::{SopInstanceUid, TransferSyntaxUid};
use packhorse_ids::{DeliveryId, Digest};
use rusqlite::{OptionalExtension as _, Row, params};

use super::read::Stored;
use super::{Projection, ProjectionError};
use crate::progress::State;

/// The newest delivery of an instance that a source sent on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Its id.
    pub delivery: DeliveryId,
    /// Where it stands.
    pub state: State,
    /// SHA-256 of the data set.
    pub sha256: Digest,
    /// Transfer syntax.
    pub transfer_syntax: TransferSyntaxUid,
    /// Digest of its pixels; `None`: it has none, or they were not found.
    pub pixels: Option<Digest>,
}

impl Projection {
    /// What was received last of this instance from this source on this route; `None`: nothing. Knows what was applied,
    /// no more: a repeat within a tenth of a second may not be seen as one.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn earlier(
        &self,
        route: &AeTitle,
        source: &str,
        sop_instance: &SopInstanceUid,
    ) -> Result<Option<Earlier>, ProjectionError> {
        let sql = "SELECT d.id, d.state, d.sha256, d.transfer_syntax, d.pixels FROM delivery d \
                   JOIN account a ON a.id = d.account WHERE d.sop_instance = ?1 AND a.direction = 0 AND a.route = ?2 \
                   AND a.source = ?3 ORDER BY d.number DESC LIMIT 1";
        let values = params![sop_instance.as_str(), route.as_str(), source];
        let row = |row: &Row<'_>| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, Stored>(1)?.0,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
                row.get::<_, Option<String>>(4)?,
            ))
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(values, row).optional()?;
        Ok(found.and_then(|(delivery, state, sha256, transfer_syntax, pixels)| {
            Some(Earlier {
                delivery: delivery.parse().ok()?,
                state,
                sha256: sha256.parse().ok()?,
                transfer_syntax: transfer_syntax.parse().ok()?,
                pixels: pixels.and_then(|pixels| pixels.parse().ok()),
            })
        }))
    }
}
