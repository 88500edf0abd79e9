//! One association at a time with a destination.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packhorse_association::driver::tls::{Certificate, PeerTls};
use packhorse_association::{CStoreRsp, DataSource, InstanceContext, StorageScu, StoreError};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::DeliveryId;
use packhorse_spool::{EntryState, Index as _};
use rustls::pki_types::UnixTime;

use super::parcel::Parcel;
use super::verdict::Verdict;
use super::whole::StudyKey;
use super::{convert, requestor_config, settle};
use crate::config::Destination;
use crate::mirror::{Source, Word};
use crate::pacs::{DeliveryTurn, Sending};
use crate::shared::Shared;

/// What was claimed so long ago may have been held or discarded by somebody meanwhile.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// A place for one association. It is kept for the next instance that is sent under the same title.
pub(super) struct Lane {
    /// Tells it from the destination's others.
    pub(super) number: usize,
    caller: Option<Caller>,
    /// The study that its association is for alone.
    study: Option<StudyKey>,
    /// Held while its association is open: no check and no probe calls this PACS then.
    turn: Option<Arc<DeliveryTurn>>,
}

/// Who calls by one title.
struct Caller {
    title: AeTitle,
    scu: StorageScu,
    /// Associations of it that were told of.
    told: u64,
}

/// One instance on its way over a lane.
pub(super) struct Errand {
    pub(super) shared: Arc<Shared>,
    pub(super) destination: Arc<Destination>,
    pub(super) lane: Lane,
    pub(super) parcel: Parcel,
    pub(super) calling: AeTitle,
    /// What later instances will need contexts for.
    pub(super) ahead: Vec<InstanceContext>,
    /// The study that it is delivered with as a whole; `None`: as it comes.
    pub(super) study: Option<StudyKey>,
}

/// A lane that has come back.
pub(super) enum Done {
    /// Its association is released.
    Released(Lane),
    /// The instance was not sent: it is not to be delivered any more, or not now.
    Withdrawn(Lane, DeliveryId),
    /// The instance was sent, or not. What was delivered is written down.
    Sent(Box<Sent>),
}

/// What came of an instance.
pub(super) struct Sent {
    pub(super) lane: Lane,
    pub(super) parcel: Parcel,
    pub(super) calling: AeTitle,
    pub(super) stored: Result<CStoreRsp, StoreError>,
}

impl Lane {
    pub(super) const fn new(number: usize) -> Self {
        Self {
            number,
            caller: None,
            study: None,
            turn: None,
        }
    }

    /// For how long its association has been idle; `None`: it has none.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.caller.as_ref()?.scu.idle()
    }

    pub(super) async fn release(&mut self) {
        if let Some(caller) = &mut self.caller {
            caller.scu.release().await;
        }
        self.turn = None;
    }

    pub(super) async fn released(mut self) -> Done {
        self.release().await;
        Done::Released(self)
    }

    /// Who calls by this title: an association has one. Another title's association is released.
    async fn caller(&mut self, shared: &Shared, destination: &Destination, title: &AeTitle) -> &mut Caller {
        if self.caller.as_ref().is_some_and(|caller| caller.title != *title) {
            self.release().await;
            self.caller = None;
        }
        self.caller.get_or_insert_with(|| {
            let config = requestor_config(shared, destination, title.clone());
            let scu = StorageScu::new(destination.address.clone(), config);
            Caller {
                title: title.clone(),
                scu: match &destination.tls {
                    Some(tls) => scu.over_tls(tls.clone()),
                    None => scu,
                },
                told: 0,
            }
        })
    }

    /// Who sends by this title, in its turn.
    pub(super) async fn scu(&mut self, shared: &Shared, destination: &Destination, title: &AeTitle) -> &mut StorageScu {
        self.take_turn(shared, destination).await;
        &mut self.caller(shared, destination, title).await.scu
    }

    async fn store(
        &mut self,
        shared: &Arc<Shared>,
        destination: &Destination,
        parcel: &Parcel,
        (calling, ahead): (&AeTitle, &[InstanceContext]),
    ) -> Result<CStoreRsp, StoreError> {
        // Another title's association is released first, and its turn with it.
        self.caller(shared, destination, calling).await;
        self.take_turn(shared, destination).await;
        let (turn, _sending) = (self.turn.clone(), self.sending());
        let Caller { scu, told, .. } = self.caller(shared, destination, calling).await;
        let data = || Accepted {
            data: parcel.data(shared),
            turn: turn.clone(),
        };
        let stored = scu.store(parcel.context(), ahead, &parcel.command, data).await;
        let is_answered = stored.is_ok() || *told != scu.opened();
        if let Some(turn) = turn.as_ref().filter(|_| is_answered) {
            turn.answered();
        }
        if *told != scu.opened() {
            learn(shared, destination, calling, scu);
            scu.tls().into_iter().for_each(|tls| tell_tls(destination, tls));
        }
        *told = scu.opened();
        self.end_turn();
        stored
    }

    async fn take_turn(&mut self, shared: &Shared, destination: &Destination) {
        if let (None, Some(pacs)) = (&self.turn, shared.pacs.get(&destination.ae_title)) {
            self.turn = Some(Arc::new(pacs.delivery_turn().await));
        }
    }

    /// Ends its turn if it has no association any more.
    fn end_turn(&mut self) {
        if self.idle().is_none() {
            self.turn = None;
        }
    }

    fn sending(&self) -> Option<Sending> {
        self.turn.clone().map(Sending::new)
    }
}

/// A data set that is asked for only when the PACS has accepted an association for it.
struct Accepted<S> {
    data: S,
    turn: Option<Arc<DeliveryTurn>>,
}

impl<S: DataSource> DataSource for Accepted<S> {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(turn) = self.turn.take() {
            turn.answered();
        }
        self.data.next_chunk().await
    }
}

impl Errand {
    pub(super) async fn run(self) -> Done {
        let Self {
            shared,
            destination,
            mut lane,
            mut parcel,
            calling,
            ahead,
            study,
        } = self;
        if parcel.opened_at.elapsed() > ASKED_AGAIN && !is_still_to_go(&shared, parcel.delivery()).await {
            return Done::Withdrawn(lane, parcel.delivery());
        }
        if lane.study != study {
            lane.release().await;
            lane.study = study;
        }
        let ahead = convert::proposed(&destination, parcel.context(), ahead);
        let mut stored = lane.store(&shared, &destination, &parcel, (&calling, &ahead)).await;
        // A conversion takes its time, and is at work too.
        let _sending = lane.sending();
        if let Err(refused) = stored {
            stored = if convert::is_asked_for(&destination, &refused) {
                convert::store(
                    (&shared, &destination),
                    &mut lane,
                    &mut parcel,
                    (&calling, &ahead),
                    refused,
                )
                .await
            } else {
                Err(refused)
            };
            lane.end_turn();
        }
        if let Ok(response) = &stored
            && let Verdict::Delivered(status) = Verdict::of_status(response.status, None)
        {
            settle::delivered(&shared, &parcel, status, response.error_comment.as_deref()).await;
        }
        Done::Sent(Box::new(Sent {
            lane,
            parcel,
            calling,
            stored,
        }))
    }
}

async fn is_still_to_go(shared: &Shared, delivery: DeliveryId) -> bool {
    let entry = shared.spool.entry(delivery).await;
    // What cannot be read now is found out about by whoever reads its bytes.
    entry.map_or(true, |entry| {
        entry.is_some_and(|entry| entry.state == EntryState::Ready)
    })
}

/// What the PACS takes, by its answer to what was just proposed. Of other titles than that of probes it may take other things:
/// what these are answered is not mixed in.
fn learn(shared: &Shared, destination: &Destination, calling: &AeTitle, scu: &StorageScu) {
    let pacs = shared.pacs.get(&destination.ae_title);
    let is_probes = *calling == destination.calling_ae_title_for(&shared.site, None);
    if let Some(pacs) = pacs.filter(|_| destination.mirror.is_some() && is_probes) {
        let (at, source) = (shared.clock.now(), Source::Delivery);
        let patience = shared.config.mirror.patience();
        pacs.mirror.hear(scu.negotiated(), Word { at, source }, &patience);
    }
}

/// What was agreed on; and that a pinned certificate has expired, which is no reason to refuse it.
fn tell_tls(destination: &Destination, tls: &PeerTls) {
    let Some(certificate) = tls.certificate() else { return };
    let (title, fingerprint) = (&destination.ae_title, certificate.fingerprint);
    tracing::info!(destination = %title, %tls, certificate = %fingerprint, "association over TLS");
    if certificate.is_expired(UnixTime::now()) {
        let ended = Certificate::date(certificate.not_after);
        tracing::warn!(destination = %title, ended, "its certificate has expired; it is pinned, so it is taken");
    }
}
