//! One instance ready to be sent.

use std::sync::Arc;

use bytes::Bytes;
use packhorse_association::dimse::{self, Command};
use packhorse_association::{CStoreRq, DataSource, InstanceContext};
use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::header::Header;
use packhorse_dicom::uid::{AbstractSyntaxUid, InvalidUid, TransferSyntaxUid};
use packhorse_envelope::{ReadError, Reader, Trailer};
use packhorse_ids::DeliveryId;
use packhorse_ledger::fact::Conversion;
use packhorse_spool::{Entry, StoreError};
use tokio::time::Instant;

use crate::messages::EntryBytes;
use crate::place::read_header;
use crate::shared::Shared;

/// An entry cannot be made ready.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Its bytes cannot be read now.
    Unreadable(String),
    /// They are no envelope of an instance.
    Malformed(String),
}

impl From<ReadError<StoreError>> for OpenError {
    fn from(error: ReadError<StoreError>) -> Self {
        let said = chain(&error);
        match error {
            ReadError::Read(_) => Self::Unreadable(said),
            ReadError::Format(_) => Self::Malformed(said),
        }
    }
}

/// An entry with what its trailer says.
pub(crate) struct Parcel {
    pub(crate) entry: Entry,
    pub(crate) trailer: Trailer,
    pub(crate) command: CStoreRq,
    context: InstanceContext,
    /// The calling AE title that the source used.
    pub(crate) original: Option<AeTitle>,
    /// Whose it is; empty when that makes no difference.
    pub(crate) owners: Vec<Owner>,
    pub(crate) opened_at: Instant,
    /// What it was sent as instead of its own bytes, or why it was not; `None`: its own bytes will do.
    pub(crate) conversion: Option<Result<Conversion, String>>,
}

/// Whom or what an instance belongs to: nothing with one owner is ever sent over two associations at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// Patient ID and Issuer of Patient ID, without padding.
    Patient(Box<[u8]>, Box<[u8]>),
    /// Study Instance UID.
    Study(Box<[u8]>),
    /// Neither is in the data set.
    Nobody,
}

impl Owner {
    fn all_of(header: &Header) -> Vec<Self> {
        let issuer = trimmed(header.issuer_of_patient_id.as_deref()).unwrap_or_default();
        let patient = trimmed(header.patient_id.as_deref()).map(|id| Self::Patient(id.into(), issuer.into()));
        let study = trimmed(header.study_instance_uid.as_deref()).map(|uid| Self::Study(uid.into()));
        let owners: Vec<_> = patient.into_iter().chain(study).collect();
        if owners.is_empty() { vec![Self::Nobody] } else { owners }
    }
}

/// A value without the padding that PS3.5 §6.2 lets stand around it; `None`: nothing is left.
fn trimmed(value: Option<&[u8]>) -> Option<&[u8]> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let value = value?;
    let (first, last) = (
        value.iter().position(|byte| !is_padding(byte))?,
        value.iter().rposition(|byte| !is_padding(byte))?,
    );
    value.get(first..=last)
}

impl Parcel {
    /// Opens an entry's envelope.
    ///
    /// # Errors
    /// [`OpenError`]; the entry is the caller's to settle.
    pub(crate) async fn open(shared: &Shared, entry: &Entry) -> Result<Self, OpenError> {
        let bytes = EntryBytes {
            spool: Arc::clone(&shared.spool),
            body: entry.body.clone(),
        };
        let reader = Reader::open(bytes, entry.routing.length).await?;
        let trailer = reader.trailer().clone();
        let Ok(Command::CStoreRq(mut command)) = dimse::decode(trailer.fields.command_set.clone()) else {
            return Err(OpenError::Malformed("its command set is no C-STORE-RQ".to_owned()));
        };
        // Ours is part of no C-MOVE: at the destination the title and the id of the source's would name another's request.
        command.move_originator = None;
        let malformed = |error: InvalidUid| OpenError::Malformed(error.to_string());
        let sop_class = AbstractSyntaxUid::from(&command.sop_class_uid().map_err(malformed)?);
        let transfer_syntax =
            TransferSyntaxUid::try_from(trailer.fields.transfer_syntax.as_str()).map_err(malformed)?;
        Ok(Self {
            entry: entry.clone(),
            command,
            context: InstanceContext {
                sop_class,
                transfer_syntax,
            },
            original: AeTitle::try_from(trailer.fields.calling_ae_title.as_str()).ok(),
            owners: Vec::new(),
            opened_at: Instant::now(),
            conversion: None,
            trailer,
        })
    }

    /// Reads whose it is. What cannot be read is nobody's.
    pub(crate) async fn read_owners(&mut self, shared: &Shared) {
        self.owners = match self.header(shared).await {
            Some(header) => Owner::all_of(&header),
            None => vec![Owner::Nobody],
        };
    }

    async fn header(&self, shared: &Shared) -> Option<Header> {
        let bytes = EntryBytes {
            spool: Arc::clone(&shared.spool),
            body: self.entry.body.clone(),
        };
        read_header(&bytes, &self.trailer, &self.context.transfer_syntax)
            .await
            .ok()
    }

    /// What it was sent as; `None`: its own bytes.
    pub(crate) fn converted(&self) -> Option<Conversion> {
        self.conversion.clone()?.ok()
    }

    /// Why it was not converted, when it should have been.
    pub(crate) fn not_converted(&self) -> Option<&str> {
        self.conversion.as_ref()?.as_ref().err().map(String::as_str)
    }

    pub(crate) const fn delivery(&self) -> DeliveryId {
        self.entry.routing.delivery
    }

    /// What it needs a presentation context for.
    pub(crate) const fn context(&self) -> &InstanceContext {
        &self.context
    }

    /// Its data set. The hash is checked before the last bytes are given out.
    pub(crate) fn data(&self, shared: &Shared) -> DataSet {
        let bytes = EntryBytes {
            spool: Arc::clone(&shared.spool),
            body: self.entry.body.clone(),
        };
        DataSet {
            state: State::Closed(bytes, self.entry.routing.length),
            held: None,
        }
    }
}

/// A data set out of its envelope. One block is held back until the next is read, and the last until the whole is known
/// to be what was sealed: a damaged instance never carries the last-fragment bit.
#[derive(Debug)]
pub(crate) struct DataSet {
    state: State,
    held: Option<Bytes>,
}

#[derive(Debug)]
enum State {
    Closed(EntryBytes, u64),
    Open(Box<Reader<EntryBytes>>),
    Done,
}

impl DataSource for DataSet {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Closed(bytes, length) => {
                    self.state = State::Open(Box::new(Reader::open(bytes, length).await?));
                }
                State::Open(mut reader) => match reader.next_block().await? {
                    Some(block) => {
                        self.state = State::Open(reader);
                        if let Some(before) = self.held.replace(block) {
                            return Ok(Some(before));
                        }
                    }
                    None => {
                        reader.finish()?;
                        return Ok(self.held.take());
                    }
                },
                State::Done => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use packhorse_spool::{Custody, Index as _, NewEntry, NewState};

    use super::*;
    use crate::shared::{LINK_QUEUE, queue};
    use crate::testing::{Edge, parcel, site};

    #[test]
    fn one_patient_is_one_owner_however_the_id_is_padded_and_another_issuers_is_another() {
        let header = |id: &str, issuer: &str, study: &str| Header {
            patient_id: Some(id.as_bytes().into()),
            issuer_of_patient_id: Some(issuer.as_bytes().into()),
            study_instance_uid: Some(study.as_bytes().into()),
            ..Header::default()
        };
        let owners = |id, issuer, study| Owner::all_of(&header(id, issuer, study));
        assert_eq!(owners("4711 ", "H", "1.2\0"), owners(" 4711", "H ", "1.2"));
        assert_ne!(owners("4711", "H", "1.2")[0], owners("4711", "K", "1.2")[0]);
        assert_eq!(owners(" ", "H", "1.2"), [Owner::Study(b"1.2".as_slice().into())]);
        assert_eq!(owners("", "", ""), [Owner::Nobody]);
    }

    #[tokio::test]
    async fn the_move_originator_of_the_source_stays_in_the_envelope() {
        let edge = Edge::new("b", "");
        let (routing, body) = parcel(&site("a"), &edge.shared.site, "PACS_B");
        let delivery = routing.delivery;
        let entry = NewEntry {
            routing,
            queue: queue(LINK_QUEUE),
            body,
            custody: Custody::UntilReleased,
            state: NewState::Ready,
        };
        let spool = &edge.shared.spool;
        spool.commit(edge.shared.epoch, vec![entry], Vec::new()).await.unwrap();
        let entry = spool.entry(delivery).await.unwrap().unwrap();
        let opened = Parcel::open(&edge.shared, &entry)
            .await
            .map_err(|_| "no parcel")
            .unwrap();
        let kept = dimse::decode(opened.trailer.fields.command_set.clone()).unwrap();
        let Command::CStoreRq(kept) = kept else { panic!() };
        assert!(kept.move_originator.is_some());
        assert_eq!(opened.command.move_originator, None);
        let others = (&opened.command.affected_sop_instance_uid, opened.command.priority);
        assert_eq!(others, (&kept.affected_sop_instance_uid, kept.priority));
    }
}
