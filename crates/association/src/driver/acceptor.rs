//! The acceptor: storage SCP and Verification SCP.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use packhorse_dicom::negotiation::{
    Answer, ContextAnswer, PresentationContextId, Proposal, ProposedContext, Rejection,
};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};

use super::connection::Connection;
use super::core::{Awaited, Core, now};
use super::error::AssociationError;
use crate::codec::{Abort, Pdu, UserInformation, Violation};
use crate::dimse::{CEchoRq, CStoreRq, Command, Piece};
use crate::machine::{Event, Machine};
use crate::negotiate::{self, Decide, MAX_PDU_LENGTH};
use crate::pdv;

/// How an acceptor behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptorConfig {
    /// Longest P-DATA-TF variable field taken, in bytes. Default 128 KiB ([`MAX_PDU_LENGTH`]); brought into
    /// [`OWN_MAX_RANGE`](negotiate::OWN_MAX_RANGE), 0 included.
    pub max_pdu_length: u32,
    /// ARTIM (PS3.8 §9.1.5): how long a connection may be open without an A-ASSOCIATE-RQ, or after our last PDU.
    /// Default 30 s.
    pub artim: Duration,
    /// How long an association may be without a request. Default 10 min: PACS keep associations open between images.
    pub idle: Duration,
    /// How long the next fragment of a message may take. Default 60 s.
    pub dimse: Duration,
    /// Bytes a second that a data set has to bring on average, once it was waited for as long as [`dimse`](Self::dimse): a
    /// peer that drips holds a place no longer. Time between two calls of [`StoreRequest::data`] is not the peer's. Default 1024; 0: as slow as it likes.
    pub slowest: u32,
    /// How long one write may take. Default 30 s.
    pub send: Duration,
}

impl Default for AcceptorConfig {
    fn default() -> Self {
        Self {
            max_pdu_length: MAX_PDU_LENGTH,
            artim: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            dimse: Duration::from_secs(60),
            slowest: 1024,
            send: Duration::from_secs(30),
        }
    }
}

/// Serves one connection up to the established association: reads the A-ASSOCIATE-RQ, asks `decide`, answers.
/// `connection` is a [`TcpStream`](tokio::net::TcpStream), or any [`Connection`]; `listener` is the name that the proposal
/// carries.
///
/// # Errors
/// [`AssociationError::Refused`] when the answer was A-ASSOCIATE-RJ; every other variant but `Source` as it says.
pub async fn accept(
    connection: impl Into<Connection>,
    listener: &str,
    config: &AcceptorConfig,
    decide: &dyn Decide,
) -> Result<AcceptedAssociation, AssociationError> {
    accept_over(connection.into(), listener, config, decide).await
}

async fn accept_over(
    connection: Connection,
    listener: &str,
    config: &AcceptorConfig,
    decide: &dyn Decide,
) -> Result<AcceptedAssociation, AssociationError> {
    let peer = connection.peer().map_err(AssociationError::Io)?;
    #[cfg(feature = "tls")]
    let tls = connection.tls().cloned();
    let machine = Machine::acceptor(now(), config.artim);
    let max_pdu_length = negotiate::own_max_pdu_length(config.max_pdu_length);
    let mut core = Core::new(connection, machine, max_pdu_length, config.send).map_err(AssociationError::Io)?;
    let awaited = Awaited {
        what: "an A-ASSOCIATE-RQ",
        wait: config.artim,
    };
    let rq = match core.event(awaited).await? {
        Event::Requested(rq) => rq,
        other => return Err(core.ended(other, awaited).await),
    };
    let decided = negotiate::proposal(&rq, peer, listener).and_then(|proposal| match decide.decide(&proposal) {
        Answer::Reject(rejection) => Err(rejection),
        answer => Ok((proposal, answer)),
    });
    let (proposal, answer) = match decided {
        Ok(decided) => decided,
        Err(rejection) => {
            // A request may be megabytes, read; who was rejected may stay for a while.
            drop(rq);
            return Err(refuse(core, rejection, config).await);
        }
    };
    let user = decide.user_information(&proposal, UserInformation::ours(max_pdu_length));
    let pdu = negotiate::answer_pdu(&rq, &answer, user);
    let answers = answers_of(&pdu, &proposal.contexts);
    core.machine.answer(now(), pdu);
    core.flush().await?;
    let fragment_len = pdv::fragment_len(rq.user.max_pdu_length);
    Ok(AcceptedAssociation {
        core,
        proposal,
        answers,
        fragment_len,
        #[cfg(feature = "tls")]
        tls,
        config: config.clone(),
        unanswered: false,
        misused: None,
    })
}

async fn refuse(mut core: Core, rejection: Rejection, config: &AcceptorConfig) -> AssociationError {
    let pdu = Pdu::AssociateRj(rejection);
    core.machine.answer(now(), pdu);
    drop(core.flush().await);
    core.await_close(config.artim).await;
    AssociationError::Refused(rejection)
}

/// What really went out, by context.
fn answers_of(pdu: &Pdu, proposed: &[ProposedContext]) -> Vec<(PresentationContextId, ContextAnswer)> {
    match pdu {
        Pdu::AssociateAc(ac) => proposed
            .iter()
            .map(|context| (context.id, negotiate::context_answer(ac, context)))
            .collect(),
        Pdu::AssociateRq(_)
        | Pdu::AssociateRj(_)
        | Pdu::PDataTf(_)
        | Pdu::ReleaseRq
        | Pdu::ReleaseRp
        | Pdu::Abort(_) => Vec::new(),
    }
}

/// An established association with a requestor. Dropping it closes the connection without release.
#[derive(Debug)]
pub struct AcceptedAssociation {
    core: Core,
    proposal: Proposal,
    answers: Vec<(PresentationContextId, ContextAnswer)>,
    fragment_len: usize,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::PeerTls>,
    config: AcceptorConfig,
    unanswered: bool,
    /// The refused context that the peer used.
    misused: Option<AbstractSyntaxUid>,
}

impl AcceptedAssociation {
    /// What was proposed.
    #[must_use]
    pub const fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// What was answered, by context, in the proposal's order.
    #[must_use]
    pub fn answers(&self) -> &[(PresentationContextId, ContextAnswer)] {
        &self.answers
    }

    /// Version, suite and the requestor's certificates; `None` when the association is without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub const fn tls(&self) -> Option<&super::tls::PeerTls> {
        self.tls.as_ref()
    }

    /// The next request; `None` when the association was released.
    ///
    /// # Errors
    /// As [`AssociationError`] says; [`Unanswered`](AssociationError::Unanswered) when the last request was dropped
    /// without an answer.
    pub async fn next(&mut self) -> Result<Option<Request<'_>>, AssociationError> {
        if self.unanswered {
            self.core.abort(Abort::USER).await;
            return Err(AssociationError::Unanswered);
        }
        loop {
            let awaited = Awaited {
                what: "a request",
                wait: self.config.idle,
            };
            match self.core.piece(awaited).await? {
                None => {
                    self.core.await_close(self.config.artim).await;
                    return Ok(None);
                }
                // Data of a request that was answered 0211H.
                Some(Piece::Data { .. }) => {}
                Some(Piece::Command {
                    context,
                    command,
                    bytes,
                }) => {
                    let Some(syntaxes) = self.accepted(context) else {
                        let refused = self.proposal.contexts.iter().find(|proposed| proposed.id == context);
                        self.misused = refused.map(|refused| refused.abstract_syntax.clone());
                        let what = "a message on a presentation context that was not accepted";
                        return Err(self.core.violated(Violation::Message(what)).await);
                    };
                    match command {
                        Command::CEchoRq(command) => {
                            self.unanswered = true;
                            return Ok(Some(Request::Echo(EchoRequest {
                                association: self,
                                context,
                                command,
                            })));
                        }
                        Command::CStoreRq(command) => {
                            return Ok(Some(self.store_request(context, command, bytes, syntaxes)));
                        }
                        // Nothing here can be cancelled.
                        Command::CCancelRq(_) => {}
                        other => {
                            let Some(answer) = other.answer(Status::UNRECOGNIZED_OPERATION, None) else {
                                let what = "a response without a request";
                                return Err(self.core.violated(Violation::Message(what)).await);
                            };
                            self.answer(context, &answer.to_bytes()).await?;
                        }
                    }
                }
            }
        }
    }

    /// The abstract syntax of the refused presentation context that the peer used all the same, which ended the
    /// association; `None`: it did not.
    #[must_use]
    pub const fn refused_context_used(&self) -> Option<&AbstractSyntaxUid> {
        self.misused.as_ref()
    }

    /// The abstract and the transfer syntax of a context, if it was accepted.
    fn accepted(&self, context: PresentationContextId) -> Option<(AbstractSyntaxUid, TransferSyntaxUid)> {
        let proposed = self.proposal.contexts.iter().find(|proposed| proposed.id == context)?;
        let (_, answer) = self.answers.iter().find(|(id, _)| *id == context)?;
        match answer {
            ContextAnswer::Accepted(syntax) => Some((proposed.abstract_syntax.clone(), syntax.clone())),
            ContextAnswer::Rejected(_) => None,
        }
    }

    fn store_request(
        &mut self,
        context: PresentationContextId,
        command: CStoreRq,
        bytes: Bytes,
        (abstract_syntax, transfer_syntax): (AbstractSyntaxUid, TransferSyntaxUid),
    ) -> Request<'_> {
        self.unanswered = true;
        Request::Store(StoreRequest {
            association: self,
            context,
            command,
            bytes,
            abstract_syntax,
            transfer_syntax,
            is_whole: false,
            waited: Duration::ZERO,
            received: 0,
        })
    }

    async fn answer(&mut self, context: PresentationContextId, command: &[u8]) -> Result<(), AssociationError> {
        let frames = pdv::command_frames(context, command, self.fragment_len);
        self.core.send(frames).await
    }

    /// Aborts (A-ABORT, service user).
    pub async fn abort(mut self) {
        self.core.abort(Abort::USER).await;
    }
}

/// What a requestor asks. Dropped without an answer, the association is aborted.
#[derive(Debug)]
pub enum Request<'a> {
    /// C-ECHO.
    Echo(EchoRequest<'a>),
    /// C-STORE.
    Store(StoreRequest<'a>),
}

/// A C-ECHO that awaits its answer.
#[derive(Debug)]
pub struct EchoRequest<'a> {
    association: &'a mut AcceptedAssociation,
    context: PresentationContextId,
    command: CEchoRq,
}

impl EchoRequest<'_> {
    /// Answers. `comment` is cut to 64 characters; a failure without one carries the status's meaning.
    ///
    /// # Errors
    /// [`AssociationError`] when the answer cannot be sent.
    pub async fn respond(self, status: Status, comment: Option<&str>) -> Result<(), AssociationError> {
        let answer = self.command.answer(status, comment);
        self.association.answer(self.context, &answer.to_bytes()).await?;
        self.association.unanswered = false;
        Ok(())
    }
}

/// A C-STORE that awaits its answer. Its data set comes by [`data`](Self::data), fragment by fragment.
pub struct StoreRequest<'a> {
    association: &'a mut AcceptedAssociation,
    context: PresentationContextId,
    command: CStoreRq,
    bytes: Bytes,
    abstract_syntax: AbstractSyntaxUid,
    transfer_syntax: TransferSyntaxUid,
    is_whole: bool,
    /// For how long its fragments were waited for.
    waited: Duration,
    received: u64,
}

/// No bytes: the command set has UIDs.
impl fmt::Debug for StoreRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRequest")
            .field("context", &self.context)
            .field("command", &self.command)
            .field("is_whole", &self.is_whole)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl StoreRequest<'_> {
    /// The command.
    #[must_use]
    pub const fn command(&self) -> &CStoreRq {
        &self.command
    }

    /// The command set as it came.
    #[must_use]
    pub const fn command_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The context's abstract syntax.
    #[must_use]
    pub const fn abstract_syntax(&self) -> &AbstractSyntaxUid {
        &self.abstract_syntax
    }

    /// The context's transfer syntax: how the data set is encoded.
    #[must_use]
    pub const fn transfer_syntax(&self) -> &TransferSyntaxUid {
        &self.transfer_syntax
    }

    /// The next fragment of the data set, as it came; `None` once the last has been given out.
    ///
    /// # Errors
    /// [`AssociationError`] when the data set will not become whole: nothing of it may be kept then.
    pub async fn data(&mut self) -> Result<Option<Bytes>, AssociationError> {
        while !self.is_whole {
            let association = &mut *self.association;
            let awaited = Awaited {
                what: "the next fragment",
                wait: association.config.dimse,
            };
            let asked = now();
            let piece = association.core.piece(awaited).await?;
            self.waited = self.waited.saturating_add(now().saturating_duration_since(asked));
            match piece {
                Some(Piece::Data { bytes, is_last }) => {
                    self.is_whole = is_last;
                    self.received = self
                        .received
                        .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    if let Some(dripping) = self.dripping() {
                        self.association.core.abort(Abort::USER).await;
                        return Err(dripping);
                    }
                    if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Piece::Command { .. }) => {
                    let violation = Violation::Message("a command inside a data set");
                    return Err(association.core.violated(violation).await);
                }
                None => return Err(AssociationError::ReleasedEarly),
            }
        }
        Ok(None)
    }

    /// Whether the last fragment has been given out: [`data`](Self::data) has no more.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The error that a data set which is not whole and comes too slowly is.
    fn dripping(&self) -> Option<AssociationError> {
        let config = &self.association.config;
        let due = u64::from(config.slowest).saturating_mul(self.waited.as_secs());
        let drips = !self.is_whole && self.waited >= config.dimse && self.received < due;
        drips.then_some(AssociationError::Dripping {
            received: self.received,
            waited: self.waited,
        })
    }

    /// Answers, after passing over what is left of the data set. `comment` is cut to 64 characters; a
    /// failure without one carries the status's meaning.
    ///
    /// # Errors
    /// [`AssociationError`] when the data set does not end or the answer cannot be sent.
    pub async fn respond(mut self, status: Status, comment: Option<&str>) -> Result<(), AssociationError> {
        while self.data().await?.is_some() {}
        let answer = self.command.answer(status, comment);
        self.association.answer(self.context, &answer.to_bytes()).await?;
        self.association.unanswered = false;
        Ok(())
    }
}
