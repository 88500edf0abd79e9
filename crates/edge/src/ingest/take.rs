//! Taking one instance into custody.

use std::sync::Arc;

use bytes::Bytes;
use packhorse_association::CStoreRq;
use packhorse_daemon::exit::chain;
use packhorse_dicom::header::{Header, HeaderScan};
use packhorse_dicom::negotiation::Proposal;
use packhorse_dicom::status::Status;
use packhorse_dicom::transfer_syntax::encoding_of;
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use packhorse_envelope::{AssociatedData, Sealed, TrailerFields};
use packhorse_ids::{DeliveryId, Digest, Kind, PayloadId, Priority, Routing, Sequence};
use packhorse_ledger::Origin;
use packhorse_ledger::fact::{
    Compared, Discarded, Fact, InstanceReceived, InstanceRefused, InstanceRepeated, ReceivedDetails,
};
use packhorse_ledger::identity::{Identity, printable};
use packhorse_policy::{Hold, InstanceDecision, Route};
use packhorse_spool::{
    Body, Custody, Entry, INLINE_LEN_MAX, Index as _, NewEntry, NewState, PayloadWriter, Payloads as _, Settlement,
    StoreError,
};
use tokio::sync::mpsc;

use super::intake::{Measure, Sealing};
use super::journal::Journal;
use super::judge::{self, Told};
use super::repeats::{self, Come, Lookup, Repeat};
use crate::hold::HeldBy;
use crate::holds;
use crate::shared::{LINK_QUEUE, Shared, draw, fact_bytes, queue};

/// Fragments that may wait for the worker of a long data set: 16 of 128 KiB.
const FRAGMENTS_MAX: usize = 16;
/// HIGH in a command's Priority (0000,0700).
const PRIORITY_HIGH: u16 = 1;

/// Where a data set's fragments come from.
pub(crate) trait Data: Send {
    /// Why there are no more of them.
    type Error: Send;

    /// The next fragment; `None` when the data set is whole.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Self::Error>> + Send;

    /// Whether the data set is known to be whole with what has been given out.
    fn is_whole(&self) -> bool {
        false
    }
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
    /// Shadow rules that have been told of.
    pub(crate) told: Arc<Told>,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) status: Status,
    pub(crate) comment: Option<String>,
}

impl Taken {
    const SUCCESS: Self = Self {
        status: Status::SUCCESS,
        comment: None,
    };

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
    header: Header,
    pixels: Option<Digest>,
    sealed: Sealed,
    body: Body,
}

/// Takes an instance, or not. `journal` has facts that go with the commit; they stay pending when there is none.
///
/// # Errors
/// The data's own error: nothing of the instance is kept then.
pub(crate) async fn take<D: Data>(
    shared: &Arc<Shared>,
    offered: Offered<'_>,
    journal: &mut Journal,
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
            return Ok(custody.refuse(refused, "SOP Instance UID", None, journal).await);
        }
        (Err(error), _) => {
            let refused = Taken::refused(Status::SOP_CLASS_NOT_SUPPORTED, error.to_string());
            return Ok(custody.refuse(refused, "SOP Class UID", None, journal).await);
        }
    };
    // Before its bytes are taken: what the command alone decides. Which study it was of is read all the same.
    if let Some(InstanceDecision::Refuse { status, comment, rule }) = judge::by_command(shared, &offered, &class) {
        let header = skim(&offered.transfer_syntax, data).await?;
        let refused = Taken::refused(status, comment);
        return Ok(custody.refuse(refused, &rule.to_string(), Some(&header), journal).await);
    }
    let lookup = repeats::look(shared, &offered.proposal.called_ae_title, &offered.source, &instance);
    let payload = draw::payload();
    let associated = AssociatedData {
        payload,
        source: shared.site.clone(),
        destination: route.to_site.clone(),
        kind: Kind::Delivery,
    };
    let fields = custody.fields(route);
    let measure = Measure::new(&offered.transfer_syntax);
    let kept = match receive(shared, &associated, measure, fields, data).await? {
        Ok(kept) => kept,
        Err(error) => return Ok(custody.refuse(Taken::of_store(&error), "spool", None, journal).await),
    };
    let uids = (class, instance);
    Ok(custody.commit(route, &associated, kept, uids, lookup, journal).await)
}

struct Custodian<'a> {
    shared: &'a Arc<Shared>,
    offered: &'a Offered<'a>,
}

impl Custodian<'_> {
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
        lookup: Lookup,
        journal: &mut Journal,
    ) -> Taken {
        let length = kept.sealed.original_length;
        let decided = judge::at_end(self.shared, self.offered, &class, &kept.header, length);
        let (priority, hold) = match decided {
            InstanceDecision::Accept { priority, .. } => (priority, None),
            InstanceDecision::Hold(hold) => (hold.priority, Some(hold)),
            InstanceDecision::Refuse { status, comment, rule } => {
                let refused = Taken::refused(status, comment);
                return self
                    .refuse(refused, &rule.to_string(), Some(&kept.header), journal)
                    .await;
            }
        };
        let routing = routing(associated, self.urgency(priority), &kept.sealed);
        let come = Come {
            routing: &routing,
            transfer_syntax: &self.offered.transfer_syntax,
            sha256: &kept.sealed.sha256,
            pixels: kept.pixels.as_ref(),
            held_by: hold.as_ref().map(|hold| hold.rule.to_string()),
        };
        let repeat = repeats::judge(self.shared, lookup.found().await, &come).await;
        let received = self.received(
            route,
            &kept,
            (routing.delivery, routing.priority),
            (class, instance),
            hold.as_ref(),
            &repeat,
        );
        if let Repeat::Joins(delivery) = repeat {
            return self.join(delivery, &received, &kept.header, journal).await;
        }
        if let Some(hold) = &hold
            && let Err(comment) = holds::may_hold(self.shared, hold, length).await
        {
            if let Repeat::Replaces(_, old) = &repeat {
                repeats::give_back(self.shared, old.routing.delivery).await;
            }
            let refused = Taken::refused(Status::OUT_OF_RESOURCES, comment);
            return self
                .refuse(refused, &hold.rule.to_string(), Some(&kept.header), journal)
                .await;
        }
        let state = match (&hold, &repeat) {
            (Some(hold), _) => HeldBy::Rule(hold.rule.to_string()).new_state(),
            // A person who held the one that it replaces has not let it go.
            (None, Repeat::Replaces(_, old)) => {
                repeats::person(old).map_or(NewState::Ready, |who| HeldBy::Operator(who).new_state())
            }
            (None, _) => NewState::Ready,
        };
        let entry = NewEntry {
            routing,
            queue: queue(LINK_QUEUE),
            body: kept.body,
            custody: Custody::UntilReleased,
            state,
        };
        let taken = self.write(entry, received, &kept.header, journal).await;
        if let Repeat::Replaces(compared, old) = repeat {
            self.replaced(&taken, *old, compared).await;
        }
        if let Some(hold) = hold.filter(|_| taken.status == Status::SUCCESS) {
            self.shared.holds.add(&hold.rule, length);
        }
        taken
    }

    /// By rule; a source whose command may say so too makes it STAT by HIGH (PS3.7 §9.1.1.1).
    fn urgency(&self, by_rule: Priority) -> Priority {
        let sources = self.shared.config.engine.sources();
        let source = sources.iter().find(|source| source.name() == self.offered.source);
        let is_trusted = source.is_some_and(packhorse_policy::Source::trusts_dimse_priority);
        if is_trusted && self.offered.command.priority == PRIORITY_HIGH {
            Priority::Stat
        } else {
            by_rule
        }
    }

    fn received(
        &self,
        route: &Route,
        kept: &Kept,
        (delivery, priority): (DeliveryId, Priority),
        (class, instance): (SopClassUid, SopInstanceUid),
        hold: Option<&Hold>,
        repeat: &Repeat,
    ) -> InstanceReceived {
        let (header, at) = (&kept.header, self.shared.clock.now());
        let originator = self.offered.command.move_originator.as_ref();
        let (replaces, held_by) = match repeat {
            Repeat::Replaces(_, old) => (Some(old.routing.delivery), repeats::person(old)),
            _ => (None, None),
        };
        InstanceReceived {
            delivery,
            origin: self.offered.origin,
            route: self.offered.proposal.called_ae_title.clone(),
            to_site: route.to_site.clone(),
            to_ae_title: route.to_ae_title.clone(),
            source: self.offered.source.clone(),
            sop_class: class,
            sop_instance: instance,
            study: printable(header.study_instance_uid.as_deref()),
            series: printable(header.series_instance_uid.as_deref()),
            modality: printable(header.modality.as_deref()),
            transfer_syntax: self.offered.transfer_syntax.clone(),
            length: kept.sealed.original_length,
            sha256: kept.sealed.sha256,
            declared: header.number_of_study_related_instances,
            identity: Identity::from_header(header, self.shared.config.ledger_identity),
            at,
            repeat: *repeat != Repeat::First,
            replaces,
            held_by: hold.map(|hold| hold.rule.to_string()).or(held_by),
            details: ReceivedDetails {
                pixels: kept.pixels,
                compared: repeat.compared(),
                move_originator: originator.map(|from| {
                    let title = printable(Some(&from.ae_title)).unwrap_or_default();
                    format!("{}/{}", title.chars().take(16).collect::<String>(), from.message_id)
                }),
                held_until: hold
                    .and_then(|hold| hold.end.after())
                    .map(|span| at.saturating_add(span)),
            },
            priority: Some(priority),
        }
    }

    /// A repeat of what waits here, byte for byte: on record, and delivered once.
    async fn join(
        &self,
        delivery: DeliveryId,
        received: &InstanceReceived,
        header: &Header,
        journal: &mut Journal,
    ) -> Taken {
        let own = [Fact::InstanceRepeated(InstanceRepeated {
            delivery,
            origin: received.origin,
            sop_instance: received.sop_instance.clone(),
            at: received.at,
        })];
        let facts = journal.with(&own);
        let written = self.shared.spool.commit(self.shared.epoch, Vec::new(), facts).await;
        repeats::give_back(self.shared, delivery).await;
        match written {
            Ok(_) => {
                journal.written(&own);
                tracing::debug!(%delivery, "in custody already");
                Taken::SUCCESS
            }
            Err(error) => {
                self.refuse(Taken::of_store(&error), "spool", Some(header), journal)
                    .await
            }
        }
    }

    async fn write(
        &self,
        entry: NewEntry,
        received: InstanceReceived,
        header: &Header,
        journal: &mut Journal,
    ) -> Taken {
        let delivery = received.delivery;
        let own = [Fact::InstanceReceived(Box::new(received))];
        let facts = journal.with(&own);
        match self.shared.spool.commit(self.shared.epoch, vec![entry], facts).await {
            Ok(_) => {
                journal.written(&own);
                tracing::debug!(%delivery, "in custody");
                Taken::SUCCESS
            }
            Err(error) => {
                self.refuse(Taken::of_store(&error), "spool", Some(header), journal)
                    .await
            }
        }
    }

    /// Discards what a repeat replaces, once that is in custody. When it cannot be now, both are delivered.
    async fn replaced(&self, by: &Taken, old: Entry, compared: Option<Compared>) {
        let (shared, delivery) = (self.shared, old.routing.delivery);
        if by.status != Status::SUCCESS {
            return repeats::give_back(shared, delivery).await;
        }
        let how = compared.map_or("in another transfer syntax", Compared::as_str);
        let discarded = Fact::Discarded(Discarded {
            delivery,
            by: format!("replaced: resent, {how}"),
            at: shared.clock.now(),
            reason: None,
        });
        let facts = fact_bytes(&discarded).into_iter().collect();
        let settlements = vec![(delivery, Settlement::Discarded)];
        if let Err(error) = shared.spool.settle(shared.epoch, settlements, facts).await {
            tracing::warn!(%delivery, error = chain(&error), "what is replaced is delivered too");
            repeats::give_back(shared, delivery).await;
        }
    }

    /// Writes a refusal down; when that cannot be now, with the next instance or at the end of the association.
    async fn refuse(&self, refused: Taken, rule: &str, header: Option<&Header>, journal: &mut Journal) -> Taken {
        let shown = |bytes: &[u8]| {
            printable(Some(bytes))
                .unwrap_or_default()
                .chars()
                .take(64)
                .collect::<String>()
        };
        let status = refused.status;
        tracing::info!(%status, rule, comment = refused.comment, "instance refused");
        journal.add(&Fact::InstanceRefused(InstanceRefused {
            origin: self.offered.origin,
            route: self.offered.proposal.called_ae_title.clone(),
            source: self.offered.source.clone(),
            sop_class: shown(&self.offered.command.affected_sop_class_uid),
            sop_instance: shown(&self.offered.command.affected_sop_instance_uid),
            study: header.and_then(|header| printable(header.study_instance_uid.as_deref())),
            status: status.0,
            rule: rule.to_owned(),
            at: self.shared.clock.now(),
        }));
        let facts = journal.with(&[]);
        match self.shared.spool.commit(self.shared.epoch, Vec::new(), facts).await {
            Ok(_) => journal.written(&[]),
            Err(error) => {
                tracing::warn!(error = chain(&error), "a refusal is not written down yet");
                journal.not_written();
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

/// The header of a data set of which nothing is kept. The rest of it is left to the answer to pass over.
async fn skim<D: Data>(transfer_syntax: &TransferSyntaxUid, data: &mut D) -> Result<Header, D::Error> {
    let mut scan = HeaderScan::new(encoding_of(transfer_syntax));
    while !scan.has_passed_identity() {
        let Some(fragment) = data.next().await? else { break };
        scan.push(&fragment);
    }
    Ok(scan.finish())
}

/// Receives a data set. One that ends within [`INLINE_LEN_MAX`] never leaves memory; a longer one has one worker for its
/// whole life, unless it has ended already.
async fn receive<D: Data>(
    shared: &Arc<Shared>,
    associated: &AssociatedData,
    mut measure: Measure,
    fields: TrailerFields,
    data: &mut D,
) -> Result<Result<Kept, StoreError>, D::Error> {
    let (payload, mut sealing) = (associated.payload, Sealing::new(associated));
    let mut length = 0;
    while let Some(fragment) = data.next().await? {
        length += fragment.len();
        if length > INLINE_LEN_MAX && !data.is_whole() {
            return receive_long(shared, payload, (measure, sealing, fields), fragment, data).await;
        }
        measure.push(&fragment);
        sealing.push(fragment);
    }
    let measured = measure.finish();
    let (sealed, rest) = sealing.finish(measured.original, fields);
    let body = if sealed.length <= INLINE_LEN_MAX as u64 {
        Body::Inline(rest.concat().into())
    } else {
        let stored = async {
            let mut writer = shared.spool.begin(payload, None).await?;
            append(&mut *writer, rest).await?;
            writer.finish().await
        };
        match stored.await {
            Ok(locator) => Body::Stored(locator),
            Err(error) => return Ok(Err(error)),
        }
    };
    Ok(Ok(Kept {
        header: measured.scan.finish(),
        pixels: measured.pixels,
        sealed,
        body,
    }))
}

async fn append(writer: &mut dyn PayloadWriter, pieces: Vec<Bytes>) -> Result<(), StoreError> {
    for piece in pieces {
        writer.append(piece).await?;
    }
    Ok(())
}

/// What a worker is given.
enum Feed {
    Fragment(Bytes),
    /// The data set ends with it.
    Last(Bytes),
    /// The data set has ended.
    End,
}

/// A long data set is scanned and its SHA-256 taken here, while a worker seals and writes it: half of the work each.
async fn receive_long<D: Data>(
    shared: &Arc<Shared>,
    payload: PayloadId,
    (mut measure, sealing, fields): (Measure, Sealing, TrailerFields),
    first: Bytes,
    data: &mut D,
) -> Result<Result<Kept, StoreError>, D::Error> {
    let writer = match shared.spool.begin(payload, None).await {
        Ok(writer) => writer,
        Err(error) => return Ok(Err(error)),
    };
    let (feed, fed) = mpsc::channel(FRAGMENTS_MAX);
    let handle = tokio::runtime::Handle::current();
    let worker = tokio::task::spawn_blocking(move || work(sealing, fed, writer, &handle));
    let (mut next, mut is_told) = (Some(first), false);
    while let Some(fragment) = next {
        is_told = data.is_whole();
        let told = if is_told { Feed::Last } else { Feed::Fragment };
        // A worker that has ended has failed; its error is found below, and the rest is passed over by the answer.
        if feed.send(told(fragment.clone())).await.is_err() {
            break;
        }
        measure.push(&fragment);
        // An error here drops `feed`: the worker ends without a whole instance, and its space is free again.
        next = data.next().await?;
    }
    if !is_told {
        let _ended = feed.send(Feed::End).await;
    }
    let (sealing, mut writer) = match worker.await.unwrap_or(Err(StoreError::Closed)) {
        Ok(written) => written,
        Err(error) => return Ok(Err(error)),
    };
    let measured = measure.finish();
    let (sealed, rest) = sealing.finish(measured.original, fields);
    let stored = async {
        append(&mut *writer, rest).await?;
        writer.finish().await
    };
    let kept = |locator| Kept {
        header: measured.scan.finish(),
        pixels: measured.pixels,
        sealed,
        body: Body::Stored(locator),
    };
    Ok(stored.await.map(kept))
}

/// The worker of a long data set: envelope and writing, on a thread that may block. What is left to do, it gives back.
fn work(
    mut sealing: Sealing,
    mut fed: mpsc::Receiver<Feed>,
    mut writer: Box<dyn PayloadWriter>,
    handle: &tokio::runtime::Handle,
) -> Result<(Sealing, Box<dyn PayloadWriter>), StoreError> {
    loop {
        let (fragment, is_last) = match fed.blocking_recv() {
            Some(Feed::Fragment(fragment)) => (fragment, false),
            Some(Feed::Last(fragment)) => (fragment, true),
            Some(Feed::End) => return Ok((sealing, writer)),
            None => return Err(StoreError::Closed),
        };
        sealing.push(fragment);
        handle.block_on(append(&mut *writer, sealing.drain()))?;
        if is_last {
            return Ok((sealing, writer));
        }
    }
}

#[cfg(test)]
mod tests;
