//! A storage SCU: instance after instance to one acceptor, over as few associations as they need.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, ContextResult, PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::{self, VERIFICATION};
use packhorse_dicom::transfer_syntax::{self, IMPLICIT_VR_LE};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use tokio::time::Instant;

use super::error::AssociationError;
use super::requestor::{DataSource, NegotiatedContext, RequestedAssociation, RequestorConfig};
#[cfg(feature = "tls")]
use super::tls::{PeerTls, TlsRequestor};
use crate::codec::CONTEXTS_MAX;
use crate::dimse::{CStoreRq, CStoreRsp};

/// An association that was idle for so long may have been closed by the acceptor meanwhile.
const IDLE_FOR: Duration = Duration::from_millis(100);

/// What an instance needs a presentation context for: its class, and the syntax in which it is encoded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceContext {
    /// The SOP class.
    pub sop_class: AbstractSyntaxUid,
    /// The transfer syntax that its bytes are in, the only one that is proposed for them: they are not changed here (a
    /// deviation from PS3.5 §10.1, which wants a native syntax proposed too; who can convert proposes that besides).
    pub transfer_syntax: TransferSyntaxUid,
}

/// The names, not the UIDs: `CT Image Storage with JPEG 2000 Image Compression`.
impl std::fmt::Display for InstanceContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let class = sop_class::name_of(self.sop_class.as_str());
        write!(
            f,
            "{class} with {}",
            transfer_syntax::name_of(self.transfer_syntax.as_str())
        )
    }
}

/// Why an instance got no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No association came about. Others will most likely fare alike.
    #[error("no association with {called}")]
    NoAssociation {
        /// Who was asked.
        called: AeTitle,
        /// What came of it.
        #[source]
        error: AssociationError,
    },
    /// The acceptor takes nothing, not even Verification: it does not know us, most likely.
    #[error(
        "called with our title \"{calling}\", it accepts no presentation context, not even Verification: {}",
        result.map_or_else(String::new, |result| result.to_string())
    )]
    NothingAccepted {
        /// Our title.
        calling: AeTitle,
        /// What it answered to the first context.
        result: Option<ContextResult>,
    },
    /// The acceptor takes others, but not this. The association is kept for them.
    #[error("the destination does not take {context}: {result}")]
    ContextRefused {
        /// What was asked for.
        context: InstanceContext,
        /// What was answered.
        result: ContextResult,
    },
    /// The association ended while the instance was under way. The acceptor may or may not have it.
    #[error("the association ended during the instance")]
    Interrupted(#[source] AssociationError),
}

/// Sends to one acceptor. An association is opened when an instance needs one, proposes exactly what the instance and those
/// behind it need, and is kept for the next one.
#[derive(Debug)]
pub struct StorageScu {
    address: String,
    config: RequestorConfig,
    #[cfg(feature = "tls")]
    tls: Option<TlsRequestor>,
    warm: Option<Warm>,
    opened: u64,
    negotiated: Vec<NegotiatedContext>,
}

/// An association that is kept.
#[derive(Debug)]
struct Warm {
    association: RequestedAssociation,
    used: Instant,
}

impl StorageScu {
    /// Towards `address` (`host:port`). Nothing is opened yet.
    #[must_use]
    pub const fn new(address: String, config: RequestorConfig) -> Self {
        Self {
            address,
            config,
            #[cfg(feature = "tls")]
            tls: None,
            warm: None,
            opened: 0,
            negotiated: Vec::new(),
        }
    }

    /// Over TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn over_tls(self, tls: TlsRequestor) -> Self {
        let tls = Some(tls);
        Self { tls, ..self }
    }

    /// What is known of the TLS below the association that is kept; `None`: none is kept, or it is without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&PeerTls> {
        self.warm.as_ref()?.association.tls()
    }

    /// One to the same acceptor, with no association yet.
    fn another(&self) -> Self {
        Self {
            address: self.address.clone(),
            config: self.config.clone(),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
            warm: None,
            opened: 0,
            negotiated: Vec::new(),
        }
    }

    /// The contexts of the newest association with what was answered, also when it is over: what the acceptor takes. Empty:
    /// none has been opened.
    #[must_use]
    pub fn negotiated(&self) -> &[NegotiatedContext] {
        &self.negotiated
    }

    /// Associations opened so far.
    #[must_use]
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// C-STORE of one instance. `ahead` is what later instances will need: if an association must be opened for this one,
    /// it proposes that too, as far as 128 contexts go; what does not fit gets an association of its own in its turn. `data`
    /// makes the data set's bytes, and is asked again if the acceptor had done with an association that was kept: it asks for
    /// release instead of answering, or was idle for 100 ms and is gone.
    ///
    /// # Errors
    /// [`StoreError`]. Every other instance may be tried all the same.
    ///
    /// # Cancel safety
    /// A dropped future drops the association, and with it the instance: no part of it passes for the whole.
    pub async fn store<S: DataSource>(
        &mut self,
        context: &InstanceContext,
        ahead: &[InstanceContext],
        command: &CStoreRq,
        mut data: impl FnMut() -> S,
    ) -> Result<CStoreRsp, StoreError> {
        match self.try_store(context, ahead, command, data()).await {
            Err((StoreError::Interrupted(error), kept)) if is_used_up(&error, kept) => {
                let tried = self.try_store(context, ahead, command, data()).await;
                tried.map_err(|(error, _)| error)
            }
            tried => tried.map_err(|(error, _)| error),
        }
    }

    /// One attempt; with an error, for how long the association had been idle if it was one that was kept.
    async fn try_store<S: DataSource>(
        &mut self,
        context: &InstanceContext,
        ahead: &[InstanceContext],
        command: &CStoreRq,
        data: S,
    ) -> Result<CStoreRsp, (StoreError, Option<Duration>)> {
        let opened = self.association(context, ahead).await;
        let (mut association, kept) = opened.map_err(|error| (error, None))?;
        let accepted = match accepted(&association, context) {
            Ok(accepted) => accepted,
            Err(result) => {
                self.keep(association);
                let context = context.clone();
                return Err((StoreError::ContextRefused { context, result }, None));
            }
        };
        let response = association.store(accepted, command, data).await;
        let response = response.map_err(|error| (StoreError::Interrupted(error), kept))?;
        self.keep(association);
        Ok(response)
    }

    fn keep(&mut self, association: RequestedAssociation) {
        let used = Instant::now();
        self.warm = Some(Warm { association, used });
    }

    /// The association that is kept if it proposed `context` and the acceptor has not ended it meanwhile, with the time for
    /// which it was idle; else a new one. Taken out, so that one which is left in the middle of a message is dropped.
    async fn association(
        &mut self,
        context: &InstanceContext,
        ahead: &[InstanceContext],
    ) -> Result<(RequestedAssociation, Option<Duration>), StoreError> {
        if let Some(Warm { mut association, used }) = self.warm.take() {
            if proposed(&association, context).is_none() {
                self.let_go(association).await;
            } else if association.is_quiet().await {
                return Ok((association, Some(used.elapsed())));
            }
        }
        let contexts = contexts(std::iter::once(context).chain(ahead));
        let asked = self.request(contexts).await;
        let association = asked.map_err(|error| StoreError::NoAssociation {
            called: self.config.called.clone(),
            error,
        })?;
        self.opened += 1;
        self.negotiated = association.contexts().to_vec();
        let mut answers = association.contexts().iter().map(|context| &context.answer);
        if answers.any(|answer| matches!(answer, ContextAnswer::Accepted(_))) {
            return Ok((association, None));
        }
        let result = association.contexts().iter().find_map(|context| match context.answer {
            ContextAnswer::Rejected(result) => Some(result),
            ContextAnswer::Accepted(_) => None,
        });
        self.let_go(association).await;
        let calling = self.config.calling.clone();
        Err(StoreError::NothingAccepted { calling, result })
    }

    async fn request(&self, contexts: Vec<ProposedContext>) -> Result<RequestedAssociation, AssociationError> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return RequestedAssociation::request_tls(&self.address, tls, &self.config, contexts).await;
        }
        RequestedAssociation::request(&self.address, &self.config, contexts).await
    }

    async fn let_go(&self, association: RequestedAssociation) {
        if let Err(error) = association.release().await {
            tracing::debug!(called = %self.config.called, %error, "not released in order");
        }
    }

    /// Whether the association that is kept has accepted this. `None`: none is kept, or it was not proposed.
    #[must_use]
    pub fn accepts(&self, context: &InstanceContext) -> Option<bool> {
        let association = &self.warm.as_ref()?.association;
        proposed(association, context)?;
        Some(accepted(association, context).is_ok())
    }

    /// For how long the association that is kept has been idle. `None`: there is none.
    #[must_use]
    pub fn idle(&self) -> Option<Duration> {
        self.warm.as_ref().map(|warm| warm.used.elapsed())
    }

    /// Releases the association that is kept. A later instance opens another.
    pub async fn release(&mut self) {
        if let Some(warm) = self.warm.take() {
            self.let_go(warm.association).await;
        }
    }
}

/// Whether the acceptor had done with an association that was `kept` for so long, rather than that the instance ended it: it
/// asks for release instead of answering, or an association that was idle is gone.
fn is_used_up(error: &AssociationError, kept: Option<Duration>) -> bool {
    match error {
        AssociationError::ReleasedEarly => kept.is_some(),
        AssociationError::Lost | AssociationError::Io(_) | AssociationError::Aborted(_) => {
            kept.is_some_and(|idle| idle >= IDLE_FOR)
        }
        _ => false,
    }
}

fn proposed<'a>(association: &'a RequestedAssociation, context: &InstanceContext) -> Option<&'a ContextAnswer> {
    let contexts = association.contexts().iter();
    let mut matching = contexts.filter(|negotiated| {
        let proposed = &negotiated.proposed;
        proposed.abstract_syntax == context.sop_class && proposed.transfer_syntaxes.contains(&context.transfer_syntax)
    });
    matching.next().map(|negotiated| &negotiated.answer)
}

fn accepted(
    association: &RequestedAssociation,
    context: &InstanceContext,
) -> Result<PresentationContextId, ContextResult> {
    if let Some(id) = association.accepted(&context.sop_class, &context.transfer_syntax) {
        return Ok(id);
    }
    match proposed(association, context) {
        Some(ContextAnswer::Rejected(result)) => Err(*result),
        _ => Err(ContextResult::NO_REASON),
    }
}

/// One context for each of `needed`, behind one for Verification: it tells an acceptor that refuses everything from one that
/// refuses these classes.
fn contexts<'a>(needed: impl Iterator<Item = &'a InstanceContext>) -> Vec<ProposedContext> {
    let verification = InstanceContext {
        sop_class: AbstractSyntaxUid::try_from(VERIFICATION).expect("a UID of the standard"),
        transfer_syntax: TransferSyntaxUid::try_from(IMPLICIT_VR_LE).expect("a UID of the standard"),
    };
    let mut different: Vec<&InstanceContext> = vec![&verification];
    for context in needed {
        if different.len() == CONTEXTS_MAX {
            break;
        }
        if !different.contains(&context) {
            different.push(context);
        }
    }
    let numbered = different.into_iter().enumerate();
    numbered
        .filter_map(|(index, context)| {
            Some(ProposedContext {
                id: PresentationContextId::nth(index)?,
                abstract_syntax: context.sop_class.clone(),
                transfer_syntaxes: vec![context.transfer_syntax.clone()],
            })
        })
        .collect()
}

/// Something to send.
pub trait Instance: Send + Sync {
    /// Where its bytes come from.
    type Data: DataSource;

    /// What it needs a presentation context for.
    fn context(&self) -> InstanceContext;

    /// Its command; the message id is the association's.
    fn command(&self) -> CStoreRq;

    /// Its data set, from the beginning.
    fn data(&self) -> Self::Data;
}

/// Sends `instances` over up to `associations` associations at a time, each taking the next that nobody has, and tells for
/// each what came of it. `scu` says to whom and how; an association that it keeps is not used. A refused one does not stop the others. `None`: not tried, for no association came about (the
/// error is another's).
pub async fn store_all<I: Instance>(
    scu: &StorageScu,
    instances: &[I],
    associations: NonZeroUsize,
) -> Vec<Option<Result<CStoreRsp, StoreError>>> {
    let contexts: Vec<_> = instances.iter().map(Instance::context).collect();
    let next = AtomicUsize::new(0);
    let workers = (0..associations.get().min(instances.len())).map(|_| async {
        let mut scu = scu.another();
        let mut came = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some(instance), Some([context, ahead @ ..])) = (instances.get(index), contexts.get(index..)) else {
                break;
            };
            let stored = scu.store(context, ahead, &instance.command(), || instance.data()).await;
            let is_lost = matches!(
                stored,
                Err(StoreError::NoAssociation { .. } | StoreError::NothingAccepted { .. })
            );
            came.push((index, stored));
            if is_lost {
                break;
            }
        }
        scu.release().await;
        came
    });
    let mut all: Vec<_> = instances.iter().map(|_| None).collect();
    for (index, stored) in join_all(workers).await.into_iter().flatten() {
        if let Some(place) = all.get_mut(index) {
            *place = Some(stored);
        }
    }
    all
}
