//! The requestor: storage SCU and Verification SCU.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::Connection;
use super::core::{Awaited, Core, now};
use super::error::AssociationError;
use crate::codec::{Abort, UserInformation, Violation};
use crate::dimse::{CEchoRq, CStoreRq, CStoreRsp, Command, Piece};
use crate::machine::{Event, Machine};
use crate::negotiate::{self, MAX_PDU_LENGTH};
use crate::pdv::{self, DataFrames};

/// Bytes gathered for one write.
const WRITE_LEN: usize = 256 * 1024;

/// Requests that may await their answer where the peer sets no limit.
const WINDOW_MAX: usize = 64;

/// A window's number of operations; 0 is no limit.
fn operations(granted: u16) -> usize {
    match usize::from(granted) {
        0 => WINDOW_MAX,
        granted => granted.min(WINDOW_MAX),
    }
}

/// Why a data source failed.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// How a requestor behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestorConfig {
    /// Who we are.
    pub calling: AeTitle,
    /// Whom we ask.
    pub called: AeTitle,
    /// Longest P-DATA-TF variable field taken, in bytes. Default 128 KiB; brought into
    /// [`OWN_MAX_RANGE`](negotiate::OWN_MAX_RANGE), 0 included.
    pub max_pdu_length: u32,
    /// The rest of what we say of ourselves: implementation, user identity, roles, extended negotiation, asynchronous
    /// operations window. Default: [`UserInformation::ours`]. Its maximum length is the one above.
    pub user: UserInformation,
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
    pub fn new(calling: AeTitle, called: AeTitle) -> Self {
        Self {
            calling,
            called,
            max_pdu_length: MAX_PDU_LENGTH,
            user: UserInformation::ours(MAX_PDU_LENGTH),
            connect: Duration::from_secs(10),
            artim: Duration::from_secs(30),
            dimse: Duration::from_secs(300),
            send: Duration::from_secs(60),
        }
    }
}

/// Opens a connection to `address`.
pub(super) async fn connect(address: &str, within: Duration) -> Result<TcpStream, AssociationError> {
    match timeout(within, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| AssociationError::Connect {
            address: address.to_owned(),
            error,
        }),
        Err(_) => Err(AssociationError::TimedOut {
            what: "a connection",
            waited: within,
        }),
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
    #[cfg(feature = "tls")]
    tls: Option<super::tls::PeerTls>,
    message_id: u16,
    /// A request has been begun and is not sent whole.
    in_message: bool,
    /// Requests that await their answer, in the order in which they were sent.
    unanswered: VecDeque<u16>,
    /// The user information of the A-ASSOCIATE-AC.
    peer: UserInformation,
    /// Requests that may await their answer at a time.
    window: usize,
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
        let socket = connect(address, config.connect).await?;
        Self::request_over(socket, config, contexts).await
    }

    /// [`request`](Self::request) over TLS.
    ///
    /// # Errors
    /// [`AssociationError::Tls`] besides.
    #[cfg(feature = "tls")]
    pub async fn request_tls(
        address: &str,
        tls: &super::tls::TlsRequestor,
        config: &RequestorConfig,
        contexts: Vec<ProposedContext>,
    ) -> Result<Self, AssociationError> {
        let socket = connect(address, config.connect).await?;
        let connection = tls.secure(socket, address).await?;
        Self::request_over(connection, config, contexts).await
    }

    /// Proposes `contexts` over an open connection, as [`request`](Self::request) does. `config.connect` is not used.
    ///
    /// # Errors
    /// [`Rejected`](AssociationError::Rejected), and whatever else it says.
    pub async fn request_over(
        connection: impl Into<Connection>,
        config: &RequestorConfig,
        contexts: Vec<ProposedContext>,
    ) -> Result<Self, AssociationError> {
        let connection = connection.into();
        #[cfg(feature = "tls")]
        let tls = connection.tls().cloned();
        let max_pdu_length = negotiate::own_max_pdu_length(config.max_pdu_length);
        let user = UserInformation {
            max_pdu_length: Some(max_pdu_length),
            ..config.user.clone()
        };
        let rq = negotiate::request_pdu(&config.calling, &config.called, contexts.clone(), user);
        let mut machine = Machine::associate(now(), config.artim, rq);
        machine.handle_connected(now());
        let mut core = Core::new(connection, machine, max_pdu_length, config.send).map_err(AssociationError::Io)?;
        let awaited = Awaited {
            what: "an answer to the A-ASSOCIATE-RQ",
            wait: config.artim,
        };
        let ac = match core.event(awaited).await? {
            Event::Accepted(ac) => ac,
            Event::Rejected(rejection) => {
                return Err(AssociationError::Rejected {
                    called: config.called.clone(),
                    rejection,
                });
            }
            other => return Err(core.ended(other, awaited).await),
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
            #[cfg(feature = "tls")]
            tls,
            message_id: 0,
            in_message: false,
            unanswered: VecDeque::new(),
            window: operations(negotiate::granted_window(config.user.async_operations, &ac).invoked),
            peer: ac.user,
            config: config.clone(),
        })
    }

    /// What the acceptor said of itself: maximum length, implementation, roles, extended negotiation, the response to a
    /// user identity. What was not asked for means nothing.
    #[must_use]
    pub const fn peer(&self) -> &UserInformation {
        &self.peer
    }

    /// How many requests may await their answer at a time: 1 unless an asynchronous operations window was asked for and
    /// granted (PS3.7 §D.3.3.3); 64 where there is no limit.
    #[must_use]
    pub const fn window(&self) -> usize {
        self.window
    }

    /// Requests that await their answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// The contexts with what was answered, rejected ones too: "why did the PACS refuse MG?" has an answer.
    #[must_use]
    pub fn contexts(&self) -> &[NegotiatedContext] {
        &self.contexts
    }

    /// Version, suite and the acceptor's certificates; `None` when the association is without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub const fn tls(&self) -> Option<&super::tls::PeerTls> {
        self.tls.as_ref()
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

    /// Whether the acceptor has neither closed nor said anything, as far as can be known without waiting: an association
    /// that was kept is looked at before it is used again.
    pub async fn is_quiet(&mut self) -> bool {
        self.core.is_quiet().await
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
        let message_id = self.begin(1).await?;
        let frames = pdv::command_frames(context, &CEchoRq::new(message_id).to_bytes(), self.fragment_len);
        self.core.send(frames).await?;
        self.sent(message_id);
        let response = self.response(|command| match command {
            Command::CEchoRsp(response) => Some((response.message_id_being_responded_to, response)),
            _ => None,
        });
        Ok(response.await?.status)
    }

    /// C-STORE of `data` on `context`, with the command's UIDs as they are and a message id of this association.
    ///
    /// # Errors
    /// [`AssociationError::Source`] when `data` fails, after an A-ABORT; otherwise as it says. The association is over.
    ///
    /// # Cancel safety
    /// A dropped future leaves the association in the middle of a message: it can only be dropped or aborted then, and
    /// whatever else is asked of it aborts it. The last-fragment bit has gone out only if `data` was read to its end.
    pub async fn store<S: DataSource>(
        &mut self,
        context: PresentationContextId,
        command: &CStoreRq,
        data: S,
    ) -> Result<CStoreRsp, AssociationError> {
        self.send_store(context, command, data, 1).await?;
        self.store_response().await
    }

    /// Sends a C-STORE as [`store`](Self::store) does, and does not await its answer: [`answer`](Self::answer) gives it.
    /// Gives the message id. At most [`window`](Self::window) may be [`unanswered`](Self::unanswered).
    ///
    /// # Errors
    /// As [`store`](Self::store); [`Unanswered`](AssociationError::Unanswered) when the window is full.
    ///
    /// # Cancel safety
    /// As [`store`](Self::store).
    pub async fn send<S: DataSource>(
        &mut self,
        context: PresentationContextId,
        command: &CStoreRq,
        data: S,
    ) -> Result<u16, AssociationError> {
        self.send_store(context, command, data, self.window).await
    }

    /// The next answer to what was [sent](Self::send); the peer may answer in any order. `None` when nothing is
    /// unanswered.
    ///
    /// # Errors
    /// [`AssociationError`]: what is unanswered then may or may not have been stored.
    pub async fn answer(&mut self) -> Result<Option<CStoreRsp>, AssociationError> {
        if self.unanswered.is_empty() {
            return Ok(None);
        }
        self.store_response().await.map(Some)
    }

    async fn send_store<S: DataSource>(
        &mut self,
        context: PresentationContextId,
        command: &CStoreRq,
        mut data: S,
        window: usize,
    ) -> Result<u16, AssociationError> {
        let message_id = self.begin(window).await?;
        // Command and first fragment leave in one write.
        let mut command = command.clone();
        command.message_id = message_id;
        let mut out = pdv::command_frames(context, &command.to_bytes(), self.fragment_len);
        let mut frames = DataFrames::new(context, self.fragment_len);
        loop {
            let mut chunk = match data.next_chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    self.core.abort(Abort::USER).await;
                    return Err(AssociationError::Source(error));
                }
            };
            while frames.take_from(&mut chunk, &mut out) {
                if out.len() >= WRITE_LEN {
                    self.core.send(out.split()).await?;
                }
            }
        }
        frames.finish(&mut out);
        self.core.send(out).await?;
        self.sent(message_id);
        Ok(message_id)
    }

    fn sent(&mut self, message_id: u16) {
        self.in_message = false;
        self.unanswered.push_back(message_id);
    }

    /// The next message's id. A message that was begun and not sent whole ends the association: its rest would be taken
    /// for part of the next one. So does one that would be more than `window` allows.
    async fn begin(&mut self, window: usize) -> Result<u16, AssociationError> {
        if self.in_message || self.unanswered.len() >= window {
            self.core.abort(Abort::USER).await;
            return Err(AssociationError::Unanswered);
        }
        self.in_message = true;
        Ok(self.next_message_id())
    }

    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1).max(1);
        self.message_id
    }

    async fn store_response(&mut self) -> Result<CStoreRsp, AssociationError> {
        let response = self.response(|command| match command {
            Command::CStoreRsp(response) => Some((response.message_id_being_responded_to, response)),
            _ => None,
        });
        response.await
    }

    /// The next message, which is to be an answer to one of the unanswered: what `expected` takes out of it, with the
    /// message id that it answers.
    async fn response<R>(&mut self, expected: impl FnOnce(Command) -> Option<(u16, R)>) -> Result<R, AssociationError> {
        let awaited = Awaited {
            what: "the answer",
            wait: self.config.dimse,
        };
        let command = match self.core.piece(awaited).await? {
            Some(Piece::Command { command, .. }) => expected(command),
            Some(Piece::Data { .. }) => None,
            None => return Err(AssociationError::ReleasedEarly),
        };
        if let Some((answered, response)) = command
            && self.unanswered.contains(&answered)
        {
            self.unanswered.retain(|id| *id != answered);
            return Ok(response);
        }
        let violation = Violation::Message("another message than the awaited answer");
        Err(self.core.violated(violation).await)
    }

    /// Releases the association (A-RELEASE-RQ) and waits for the peer's agreement.
    ///
    /// # Errors
    /// [`AssociationError`] when the peer does not agree in time; the connection is closed all the same.
    pub async fn release(mut self) -> Result<(), AssociationError> {
        if self.in_message || !self.unanswered.is_empty() {
            self.core.abort(Abort::USER).await;
            return Err(AssociationError::Unanswered);
        }
        self.core.machine.release(now());
        let awaited = Awaited {
            what: "the answer to the A-RELEASE-RQ",
            wait: self.config.artim,
        };
        match self.core.piece(awaited).await? {
            None => Ok(()),
            Some(_) => {
                let violation = Violation::Message("a message after the release");
                Err(self.core.violated(violation).await)
            }
        }
    }

    /// Aborts (A-ABORT, service user).
    pub async fn abort(mut self) {
        self.core.abort(Abort::USER).await;
    }
}
