//! Messages between edges: announcements of destinations, receipts, questions and their answers.

mod format;
mod introduce;
mod question;
mod quiet;
pub(crate) mod receipts;
mod receive;
mod send;

use std::sync::Arc;

use bytes::Bytes;
use packhorse_daemon::exit::chain;
use packhorse_envelope::{RangeReader, Reader};
use packhorse_spool::{Body, Entry, Payloads as _, Spool, StoreError};

pub(crate) use format::Message;
pub(crate) use introduce::{UnknownSites, introduce};
pub(crate) use question::{Answer, Question};
pub(crate) use quiet::tell_quiet_studies;
pub(crate) use receive::receive;

use crate::shared::Shared;

/// An entry's bytes, for an envelope's reader.
#[derive(Clone, Debug)]
pub(crate) struct EntryBytes {
    pub(crate) spool: Arc<Spool>,
    pub(crate) body: Body,
}

impl RangeReader for EntryBytes {
    type Error = StoreError;

    async fn read(&self, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.spool.read(&self.body, range).await
    }
}

/// The message in an entry.
pub(crate) async fn read(shared: &Shared, entry: &Entry) -> Result<Message, String> {
    if entry.routing.length > format::LEN_MAX {
        return Err("it is too long".to_owned());
    }
    let bytes = EntryBytes {
        spool: Arc::clone(&shared.spool),
        body: entry.body.clone(),
    };
    let mut reader = Reader::open(bytes, entry.routing.length)
        .await
        .map_err(|error| chain(&error))?;
    let mut original = Vec::new();
    while let Some(block) = reader.next_block().await.map_err(|error| chain(&error))? {
        original.extend_from_slice(&block);
    }
    reader.finish().map_err(|error| chain(&error))?;
    Message::from_bytes(&original).map_err(|error| chain(&error))
}
