//! The requestor: storage SCU and Verification SCU.

use std::error::Error;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::core::{Core, now};
use super::error::AssociationError;
use crate::codec::{Abort, Violation};
use crate::dimse::{self, CStoreRq, CStoreRsp, Command, Piece};
use crate::machine::{Event, Machine};
use crate::negotiate::{self, MAX_PDU_LENGTH};
use crate::pdv;

/// Bytes gathered for one write.
const WRITE_LEN: usize = 256 * 1024;

/// Why a data source failed.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// How a requestor behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestorConfig {
    /// Who we are.
    pub calling: AeTitle,
    /// Whom we ask.
    pub called: AeTitle,
    /// Longest P-DATA-TF variable field taken, in bytes. Default 128 KiB.
    pub max_pdu_length: u32,
    /// How long opening the connection may take. Default 10 s.
    pub connect: Duration,
    /// How long the answer to an A-ASSOCIATE-RQ or an A-RELEASE-RQ may take. Default 30 s.
    pub artim: Duration,
    /// How long the answer to a request may take. Default 5 min: some PACS index while the sender waits.
    pub dimse: Duration,
    /// How long one write may take. Default 60 s.
    pub send: Duration,
}

impl RequestorConfig {
    /// The defaults, between these two titles.
    #[must_use]
    pub const fn new(calling: AeTitle, called: AeTitle) -> Self {
        Self {
            calling,
            called,
            max_pdu_length: MAX_PDU_LENGTH,
            connect: Duration::from_secs(10),
            artim: Duration::from_secs(30),
            dimse: Duration::from_secs(300),
            send: Duration::from_secs(60),
        }
    }
}

/// Where a data set's bytes come from.
pub trait DataSource: Send {
    /// The next bytes; `None` at the end. An error aborts the association: no part of a data set ever carries the
    /// last-fragment bit.
    fn next_chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, SourceError>> + Send;
}

/// A data set in memory.
impl DataSource for Option<Bytes> {
    async fn next_chunk(&mut self) -> Result<Self, SourceError> {
        Ok(self.take())
    }
}

/// A proposed context with what was answered to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedContext {
    /// What was proposed.
    pub proposed: ProposedContext,
    /// What was answered.
    pub answer: ContextAnswer,
}

/// An established association with an acceptor. Dropping it closes the connection without release.
#[derive(Debug)]
pub struct RequestedAssociation {
    core: Core,
    contexts: Vec<NegotiatedContext>,
    fragment_len: usize,
    message_id: u16,
    config: RequestorConfig,
}

impl RequestedAssociation {
    /// Connects to `address` (`host:port`) and proposes `contexts`, at most 128 with the ids of
    /// [`PresentationContextId::nth`].
    ///
    /// # Errors
    /// [`AssociationError::Connect`], [`Rejected`](AssociationError::Rejected), and whatever else it says.
    pub async fn request(
        address: &str,
        config: &RequestorConfig,
        contexts: Vec<ProposedContext>,
    ) -> Result<Self, AssociationError> {
        let failed = |error| AssociationError::Connect {
            address: address.to_owned(),
            error,
        };
        let stream = match timeout(config.connect, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => {
                return Err(AssociationError::TimedOut {
                    what: "a connection",
                    waited: config.connect,
                });
            }
        };
        let rq = negotiate::request_pdu(&config.calling, &config.called, contexts.clone(), config.max_pdu_length);
        let machine = Machine::associate(now(), config.artim, rq);
        let mut core = Core::new(stream, machine, config.max_pdu_length, config.send).map_err(AssociationError::Io)?;
        let ac = match core.event("an answer to the A-ASSOCIATE-RQ", config.artim).await? {
            Event::Accepted(ac) => ac,
            Event::Rejected(rejection) => {
                return Err(AssociationError::Rejected {
                    called: config.called.clone(),
                    rejection,
                });
            }
            Event::TimedOut => {
                let what = "an answer to the A-ASSOCIATE-RQ";
                return Err(AssociationError::TimedOut {
                    what,
                    waited: config.artim,
                });
            }
            other => return Err(core.ended(other).await),
        };
        let fragment_len = pdv::fragment_len(ac.user.max_pdu_length);
        let negotiated = contexts.into_iter().map(|proposed| {
            let answer = negotiate::context_answer(&ac, &proposed);
            NegotiatedContext { proposed, answer }
        });
        Ok(Self {
            core,
            contexts: negotiated.collect(),
            fragment_len,
            message_id: 0,
            config: config.clone(),
        })
    }

    /// The contexts with what was answered, rejected ones too: "why did the PACS refuse MG?" has an answer.
    #[must_use]
    pub fn contexts(&self) -> &[NegotiatedContext] {
        &self.contexts
    }

    /// The context that was accepted for this class with this syntax.
    #[must_use]
    pub fn accepted(&self, class: &AbstractSyntaxUid, syntax: &TransferSyntaxUid) -> Option<PresentationContextId> {
        self.contexts
            .iter()
            .find(|context| {
                context.proposed.abstract_syntax == *class
                    && matches!(&context.answer, ContextAnswer::Accepted(accepted) if accepted == syntax)
            })
            .map(|context| context.proposed.id)
    }

    /// C-ECHO, on the context that was accepted for Verification.
    ///
    /// # Errors
    /// [`AssociationError`]; a peer that did not accept Verification is answered for with 0122H, nothing is sent.
    pub async fn echo(&mut self) -> Result<Status, AssociationError> {
        let verification = self.contexts.iter().find(|context| {
            context.proposed.abstract_syntax.as_str() == VERIFICATION
                && matches!(context.answer, ContextAnswer::Accepted(_))
        });
        let Some(context) = verification.map(|context| context.proposed.id) else {
            return Ok(Status::SOP_CLASS_NOT_SUPPORTED);
        };
        let message_id = self.next_message_id();
        let frames = pdv::command_frames(context, &dimse::echo_rq(message_id), self.fragment_len);
        self.core.write(&frames).await?;
        Ok(self.response(message_id).await?.status)
    }

    /// C-STORE of `data` on `context`, with the command's UIDs as they are and a message id of this association.
    ///
    /// # Errors
    /// [`AssociationError::Source`] when `data` fails, after an A-ABORT; otherwise as it says. The association is over.
    ///
    /// # Cancel safety
    /// None: a dropped future leaves the association in the middle of a message; drop the association too.
    pub async fn store<S: DataSource>(
        &mut self,
        context: PresentationContextId,
        command: &CStoreRq,
        mut data: S,
    ) -> Result<CStoreRsp, AssociationError> {
        let message_id = self.next_message_id();
        // Command and first fragment leave in one write.
        let mut out = pdv::command_frames(context, &command.to_bytes(message_id), self.fragment_len);
        let mut carry = BytesMut::new();
        loop {
            match data.next_chunk().await {
                Ok(Some(chunk)) => carry.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => {
                    self.core.abort(Abort::USER).await;
                    return Err(AssociationError::Source(error));
                }
            }
            // Something is always kept back: whether it is the last is known only at the end.
            while carry.len() > self.fragment_len {
                let fragment = carry.split_to(self.fragment_len);
                out.put_slice(&pdv::frame_header(context, false, false, fragment.len()));
                out.put_slice(&fragment);
                if out.len() >= WRITE_LEN {
                    self.core.write(&out).await?;
                    out.clear();
                }
            }
        }
        out.put_slice(&pdv::frame_header(context, false, true, carry.len()));
        out.put_slice(&carry);
        self.core.write(&out).await?;
        self.response(message_id).await
    }

    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1).max(1);
        self.message_id
    }

    async fn response(&mut self, message_id: u16) -> Result<CStoreRsp, AssociationError> {
        match self.core.piece("the answer", self.config.dimse).await? {
            Some(Piece::Command {
                command: Command::Response(response),
                ..
            }) if response.message_id == message_id => Ok(response),
            Some(Piece::Command { .. } | Piece::Data { .. }) => Err(self
                .core
                .violated(Violation::Message("another message than the awaited answer"))
                .await),
            None => Err(AssociationError::ReleasedEarly),
        }
    }

    /// Releases the association (A-RELEASE-RQ) and waits for the peer's agreement.
    ///
    /// # Errors
    /// [`AssociationError`] when the peer does not agree in time; the connection is closed all the same.
    pub async fn release(mut self) -> Result<(), AssociationError> {
        self.core.machine.release(now());
        match self
            .core
            .piece("the answer to the A-RELEASE-RQ", self.config.artim)
            .await?
        {
            None => Ok(()),
            Some(_) => Err(self
                .core
                .violated(Violation::Message("a message after the release"))
                .await),
        }
    }

    /// Aborts (A-ABORT, service user).
    pub async fn abort(mut self) {
        self.core.abort(Abort::USER).await;
    }
}
