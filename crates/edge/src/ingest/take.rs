//! Taking one instance into custody.

use std::sync::Arc;

use bytes::Bytes;
use packhorse_association::CStoreRq;
use packhorse_daemon::exit::chain;
use packhorse_dicom::header::Header;
use packhorse_dicom::negotiation::Proposal;
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use packhorse_envelope::{AssociatedData, Sealed, TrailerFields};
use packhorse_ids::{Kind, PayloadId, Priority, Routing, Sequence};
use packhorse_ledger::Origin;
use packhorse_ledger::fact::{Fact, InstanceReceived, InstanceRefused};
use packhorse_ledger::identity::{Identity, printable};
use packhorse_policy::{InstanceDecision, InstanceFacts, Route};
use packhorse_spool::{
    Body, Custody, INLINE_LEN_MAX, Index as _, NewEntry, NewState, PayloadWriter, Payloads as _, StoreError,
};
use tokio::sync::mpsc;

use super::intake::{self, Intake};
use crate::shared::{LINK_QUEUE, Shared, draw, fact_bytes, queue};

/// Fragments that may wait for the worker of a long data set: 16 of 128 KiB.
const FRAGMENTS_MAX: usize = 16;
/// Facts of one association that wait for a spool which takes none.
const PENDING_MAX: usize = 1024;
/// Sealed bytes written at a time.
const WRITE_LEN: usize = 256 * 1024;

/// Where a data set's fragments come from.
pub(crate) trait Data: Send {
    /// Why there are no more of them.
    type Error: Send;

    /// The next fragment; `None` when the data set is whole.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Self::Error>> + Send;
}

/// An instance that is offered.
pub(crate) struct Offered<'a> {
    pub(crate) origin: Origin,
    pub(crate) source: String,
    pub(crate) proposal: &'a Proposal,
    pub(crate) context_class: AbstractSyntaxUid,
    pub(crate) transfer_syntax: TransferSyntaxUid,
    pub(crate) command: CStoreRq,
    pub(crate) command_set: Bytes,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) status: Status,
    pub(crate) comment: Option<String>,
}

impl Taken {
    fn refused(status: Status, comment: impl Into<String>) -> Self {
        Self {
            status,
            comment: Some(comment.into()),
        }
    }

    /// What a store's error means to a sender (PS3.4 §B.2.3): lost, not later, so it says why.
    fn of_store(error: &StoreError) -> Self {
        tracing::error!(error = chain(error), "an instance is not taken");
        match error {
            StoreError::Busy(_) => Self::refused(Status::OUT_OF_RESOURCES, "the gateway is short of open files"),
            StoreError::Full { .. } => Self::refused(Status::OUT_OF_RESOURCES, "the gateway's disk is full"),
            _ => Self::refused(Status::PROCESSING_FAILURE, "the gateway's spool is out of order"),
        }
    }
}

/// Sealed bytes, small in memory or large in the spool.
struct Kept {
    taken: intake::Taken,
    body: Body,
}

/// Takes an instance, or not. `pending` are facts that go with the commit; they stay pending when there is none.
///
/// # Errors
/// The data's own error: nothing of the instance is kept then.
pub(crate) async fn take<D: Data>(
    shared: &Arc<Shared>,
    offered: Offered<'_>,
    pending: &mut Vec<Bytes>,
    data: &mut D,
) -> Result<Taken, D::Error> {
    let custody = Custodian {
        shared,
        offered: &offered,
    };
    let Some(route) = shared
        .config
        .engine
        .route(&offered.proposal.called_ae_title, &offered.proposal.listener)
    else {
        return Ok(Taken::refused(Status::PROCESSING_FAILURE, "no such route any more"));
    };
    let (class, instance) = match (offered.command.sop_class_uid(), offered.command.sop_instance_uid()) {
        (Ok(class), Ok(instance)) => (class, instance),
        (Ok(_), Err(error)) => {
            let refused = Taken::refused(Status::INVALID_OBJECT_INSTANCE, error.to_string());
            return Ok(custody.refuse(refused, "SOP Instance UID", None, pending).await);
        }
        (Err(error), _) => {
            let refused = Taken::refused(Status::SOP_CLASS_NOT_SUPPORTED, error.to_string());
            return Ok(custody.refuse(refused, "SOP Class UID", None, pending).await);
        }
    };
    // Before its bytes are taken: what the command alone decides.
    if let InstanceDecision::Refuse { status, comment, rule } = custody.decide(&class, None) {
        return Ok(custody
            .refuse(Taken::refused(status, comment), &rule.to_string(), None, pending)
            .await);
    }
    let payload = draw::payload();
    let associated = AssociatedData {
        payload,
        source: shared.site.clone(),
        destination: route.to_site.clone(),
        kind: Kind::Delivery,
    };
    let fields = custody.fields(route);
    let intake = Intake::new(&associated, &offered.transfer_syntax);
    let kept = match receive(shared, payload, intake, fields, data).await? {
        Ok(kept) => kept,
        Err(error) => return Ok(custody.refuse(Taken::of_store(&error), "spool", None, pending).await),
    };
    Ok(custody
        .commit(route, &associated, kept, (class, instance), pending)
        .await)
}

struct Custodian<'a> {
    shared: &'a Arc<Shared>,
    offered: &'a Offered<'a>,
}

impl Custodian<'_> {
    fn decide(&self, class: &SopClassUid, header: Option<&Header>) -> InstanceDecision {
        let dataset_class = header
            .and_then(|header| header.sop_class_uid.as_deref())
            .and_then(|value| SopClassUid::try_from(value).ok());
        let facts = InstanceFacts {
            calling: &self.offered.proposal.calling_ae_title,
            called: &self.offered.proposal.called_ae_title,
            context_class: &self.offered.context_class,
            command_class: class,
            dataset_class: dataset_class.as_ref(),
            transfer_syntax: &self.offered.transfer_syntax,
        };
        self.shared
            .config
            .engine
            .decide_header_said(&facts, &self.offered.proposal.common_extended)
    }

    fn fields(&self, route: &Route) -> TrailerFields {
        TrailerFields {
            command_set: self.offered.command_set.clone(),
            calling_ae_title: self.offered.proposal.calling_ae_title.to_string(),
            called_ae_title: self.offered.proposal.called_ae_title.to_string(),
            destination_ae_title: route.to_ae_title.to_string(),
            transfer_syntax: self.offered.transfer_syntax.to_string(),
        }
    }

    async fn commit(
        &self,
        route: &Route,
        associated: &AssociatedData,
        kept: Kept,
        (class, instance): (SopClassUid, SopInstanceUid),
        pending: &mut Vec<Bytes>,
    ) -> Taken {
        let Kept { taken, body } = kept;
        let decided = self.decide(&class, Some(&taken.header));
        let (priority, held_by) = match self
            .shared
            .config
            .engine
            .decide_end(decided, taken.sealed.original_length)
        {
            InstanceDecision::Accept { priority, .. } => (priority, None),
            InstanceDecision::Hold(hold) => (hold.priority, Some(hold.rule.to_string())),
            InstanceDecision::Refuse { status, comment, rule } => {
                let refused = Taken::refused(status, comment);
                return self
                    .refuse(refused, &rule.to_string(), Some(&taken.header), pending)
                    .await;
            }
        };
        let routing = routing(associated, priority, &taken.sealed);
        let state = if held_by.is_some() {
            NewState::Held
        } else {
            NewState::Ready
        };
        let delivery = routing.delivery;
        let received = InstanceReceived {
            delivery,
            origin: self.offered.origin,
            route: self.offered.proposal.called_ae_title.clone(),
            to_site: route.to_site.clone(),
            to_ae_title: route.to_ae_title.clone(),
            source: self.offered.source.clone(),
            sop_class: class,
            sop_instance: instance,
            study: printable(taken.header.study_instance_uid.as_deref()),
            series: printable(taken.header.series_instance_uid.as_deref()),
            modality: printable(taken.header.modality.as_deref()),
            transfer_syntax: self.offered.transfer_syntax.clone(),
            length: taken.sealed.original_length,
            sha256: taken.sealed.sha256,
            declared: taken.header.number_of_study_related_instances,
            identity: Identity::from_header(&taken.header, self.shared.config.ledger_identity),
            at: self.shared.clock.now(),
            repeat: false,
            replaces: None,
            held_by,
        };
        let mut facts = pending.clone();
        facts.extend(fact_bytes(&Fact::InstanceReceived(Box::new(received))));
        let entry = NewEntry {
            routing,
            queue: queue(LINK_QUEUE),
            body,
            custody: Custody::UntilReleased,
            state,
        };
        match self.shared.spool.commit(self.shared.epoch, vec![entry], facts).await {
            Ok(_) => {
                pending.clear();
                tracing::debug!(%delivery, "in custody");
                Taken {
                    status: Status::SUCCESS,
                    comment: None,
                }
            }
            Err(error) => {
                let refused = Taken::of_store(&error);
                self.refuse(refused, "spool", Some(&taken.header), pending).await
            }
        }
    }

    /// Writes a refusal down; when that cannot be now, with the next instance or at the end of the association.
    async fn refuse(&self, refused: Taken, rule: &str, header: Option<&Header>, pending: &mut Vec<Bytes>) -> Taken {
        let shown = |bytes: &[u8]| {
            printable(Some(bytes))
                .unwrap_or_default()
                .chars()
                .take(64)
                .collect::<String>()
        };
        let status = refused.status;
        tracing::info!(%status, rule, comment = refused.comment, "instance refused");
        pending.extend(fact_bytes(&Fact::InstanceRefused(InstanceRefused {
            origin: self.offered.origin,
            route: self.offered.proposal.called_ae_title.clone(),
            source: self.offered.source.clone(),
            sop_class: shown(&self.offered.command.affected_sop_class_uid),
            sop_instance: shown(&self.offered.command.affected_sop_instance_uid),
            study: header.and_then(|header| printable(header.study_instance_uid.as_deref())),
            status: status.0,
            rule: rule.to_owned(),
            at: self.shared.clock.now(),
        })));
        let facts = pending.clone();
        match self.shared.spool.commit(self.shared.epoch, Vec::new(), facts).await {
            Ok(_) => pending.clear(),
            Err(error) => {
                tracing::warn!(error = chain(&error), "a refusal is not written down yet");
                pending.truncate(PENDING_MAX);
            }
        }
        refused
    }
}

fn routing(associated: &AssociatedData, priority: Priority, sealed: &Sealed) -> Routing {
    Routing {
        delivery: draw::delivery(),
        payload: associated.payload,
        source: associated.source.clone(),
        destination: associated.destination.clone(),
        kind: Kind::Delivery,
        priority,
        sequence: Sequence(0),
        length: sealed.length,
        blake3: sealed.blake3,
    }
}

/// Receives a data set. One that ends within [`INLINE_LEN_MAX`] never leaves memory; a longer one has one worker for its
/// whole life.
async fn receive<D: Data>(
    shared: &Arc<Shared>,
    payload: PayloadId,
    mut intake: Intake,
    fields: TrailerFields,
    data: &mut D,
) -> Result<Result<Kept, StoreError>, D::Error> {
    let mut length = 0;
    while let Some(fragment) = data.next().await? {
        length += fragment.len();
        if length > INLINE_LEN_MAX {
            return receive_long(shared, payload, (intake, fields), fragment, data).await;
        }
        intake.push(&fragment);
    }
    let mut taken = intake.finish(fields);
    let bytes = Bytes::from(std::mem::take(&mut taken.rest));
    if bytes.len() <= INLINE_LEN_MAX {
        return Ok(Ok(Kept {
            taken,
            body: Body::Inline(bytes),
        }));
    }
    let stored = async {
        let mut writer = shared.spool.begin(payload, None).await?;
        writer.append(bytes).await?;
        writer.finish().await
    };
    Ok(stored.await.map(|locator| Kept {
        taken,
        body: Body::Stored(locator),
    }))
}

/// What a worker is given.
enum Feed {
    Fragment(Bytes),
    End,
}

async fn receive_long<D: Data>(
    shared: &Arc<Shared>,
    payload: PayloadId,
    (intake, fields): (Intake, TrailerFields),
    first: Bytes,
    data: &mut D,
) -> Result<Result<Kept, StoreError>, D::Error> {
    let writer = match shared.spool.begin(payload, None).await {
        Ok(writer) => writer,
        Err(error) => return Ok(Err(error)),
    };
    let (feed, fed) = mpsc::channel(FRAGMENTS_MAX);
    let handle = tokio::runtime::Handle::current();
    let worker = tokio::task::spawn_blocking(move || work(intake, fields, fed, writer, &handle));
    let mut next = Some(first);
    while let Some(fragment) = next {
        // A worker that has ended has failed; its error is found below, and the rest is passed over by the answer.
        if feed.send(Feed::Fragment(fragment)).await.is_err() {
            break;
        }
        // An error here drops `feed`: the worker ends without a whole instance, and its space is free again.
        next = data.next().await?;
    }
    let _ended = feed.send(Feed::End).await;
    drop(feed);
    Ok(worker.await.unwrap_or(Err(StoreError::Closed)))
}

/// The worker of a long data set: scan, digest, envelope and writing, on a thread that may block.
fn work(
    mut intake: Intake,
    fields: TrailerFields,
    mut fed: mpsc::Receiver<Feed>,
    mut writer: Box<dyn PayloadWriter>,
    handle: &tokio::runtime::Handle,
) -> Result<Kept, StoreError> {
    loop {
        match fed.blocking_recv() {
            Some(Feed::Fragment(fragment)) => {
                intake.push(&fragment);
                if intake.sealed_len() >= WRITE_LEN {
                    handle.block_on(writer.append(intake.drain()))?;
                }
            }
            Some(Feed::End) => break,
            None => return Err(StoreError::Closed),
        }
    }
    let mut taken = intake.finish(fields);
    let rest = Bytes::from(std::mem::take(&mut taken.rest));
    handle.block_on(writer.append(rest))?;
    let locator = handle.block_on(writer.finish())?;
    Ok(Kept {
        taken,
        body: Body::Stored(locator),
    })
}

#[cfg(test)]
mod tests;
