//! What both roles share: the socket, the machine, and the pump between them.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::connection::{Connection, Stream};
use super::error::AssociationError;
use crate::codec::{self, Abort, Violation};
use crate::dimse::{Assembler, Piece};
use crate::machine::{Event, Machine, State};
use crate::pdv::{Hidden, Pdvs};

/// Bytes asked of the socket at a time.
const READ_LEN: usize = 256 * 1024;
/// Room in the buffer below which more is asked for. A fragment that is kept pins the whole block it came in: with a new
/// block for each read, small reads would pin 256 KiB each.
const READ_ROOM_MIN: usize = 16 * 1024;
/// How long a peer that was sent an A-ABORT may take to close. It is given time, for closing a socket with unread data
/// resets it, and the reset overtakes the A-ABORT; and not ARTIM, for somebody waits for the error.
const ABORT_LINGER: Duration = Duration::from_secs(2);

/// Our clock: tokio's, so that tests may pause it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Something awaited, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    pub(super) what: &'static str,
    pub(super) wait: Duration,
}

impl Awaited {
    fn timed_out(self) -> AssociationError {
        AssociationError::TimedOut {
            what: self.what,
            waited: self.wait,
        }
    }
}

/// One association's connection.
pub(super) struct Core {
    stream: Stream,
    pub(super) machine: Machine,
    read: BytesMut,
    /// What is still to be written: a write that was cancelled goes on with the next one, so that no PDU is left torn.
    out: BytesMut,
    /// A stream that buffers may hold back what it took.
    is_flushed: bool,
    pdvs: Option<Pdvs>,
    assembler: Assembler,
    max_pdu_length: u32,
    /// How long one write may take.
    send: Duration,
}

/// What is read and written is a patient's, or a secret.
impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("stream", &self.stream)
            .field("state", &self.machine.state())
            .field("read", &Hidden(self.read.len()))
            .field("out", &Hidden(self.out.len()))
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn new(
        connection: Connection,
        machine: Machine,
        max_pdu_length: u32,
        send: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            stream: connection.into_stream()?,
            machine,
            read: BytesMut::new(),
            out: BytesMut::new(),
            is_flushed: true,
            pdvs: None,
            assembler: Assembler::default(),
            max_pdu_length,
            send,
        })
    }

    /// Sends what the machine has to send.
    pub(super) async fn flush(&mut self) -> Result<(), AssociationError> {
        while let Some(pdu) = self.machine.poll_transmit() {
            codec::encode(&pdu, &mut self.out)?;
        }
        self.write_out().await
    }

    /// Sends whole P-DATA-TF PDUs, if the association still is one.
    ///
    /// # Cancel safety
    /// What was not written goes out before anything else does.
    pub(super) async fn send(&mut self, frames: BytesMut) -> Result<(), AssociationError> {
        if !self.machine.may_send() {
            return Err(AssociationError::Lost);
        }
        self.out.unsplit(frames);
        self.write_out().await
    }

    /// Writes within the send deadline. After an error nothing more can be written.
    async fn write_out(&mut self) -> Result<(), AssociationError> {
        if self.out.is_empty() && self.is_flushed {
            return Ok(());
        }
        self.is_flushed = false;
        let (stream, out) = (&mut self.stream, &mut self.out);
        let written = timeout(self.send, async {
            while out.has_remaining() {
                if stream.write_buf(out).await? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            stream.flush().await
        });
        let failed = match written.await {
            Ok(Ok(())) => {
                // Whoever made the frames may use the block again.
                self.out = BytesMut::new();
                self.is_flushed = true;
                return Ok(());
            }
            Ok(Err(error)) => self
                .last_words()
                .await
                .unwrap_or_else(|| AssociationError::of_io(error)),
            Err(_) => AssociationError::TimedOut {
                what: "the peer's taking of what is sent",
                waited: self.send,
            },
        };
        self.out.clear();
        self.is_flushed = true;
        self.machine.handle_closed();
        Err(failed)
    }

    /// A peer that aborts while we send closes behind its A-ABORT, and the write fails first. What it said is in the
    /// socket's buffer, and is the better reason.
    async fn last_words(&mut self) -> Option<AssociationError> {
        let read_on = async {
            loop {
                match codec::next_pdu(&mut self.read, self.max_pdu_length) {
                    Ok(Some(codec::Pdu::Abort(abort))) => return Some(AssociationError::Aborted(abort)),
                    Ok(Some(_)) => continue,
                    Ok(None) => {}
                    Err(_) => return None,
                }
                match self.stream.read_buf(&mut self.read).await {
                    Ok(1..) => {}
                    Ok(0) => return None,
                    Err(error) => {
                        let error = AssociationError::of_io(error);
                        return (!matches!(error, AssociationError::Io(_))).then_some(error);
                    }
                }
            }
        };
        timeout(ABORT_LINGER, read_on).await.ok().flatten()
    }

    /// The next event, waiting for it until `deadline`; the machine's own timer counts too. An association that is over
    /// is lost.
    ///
    /// # Cancel safety
    /// Bytes read so far are kept, and so is what is still to be written.
    async fn event_by(&mut self, awaited: Awaited, deadline: Option<Instant>) -> Result<Event, AssociationError> {
        loop {
            self.flush().await?;
            if let Some(event) = self.machine.poll_event() {
                return Ok(event);
            }
            if self.machine.is_over() {
                return Ok(Event::Lost);
            }
            match codec::next_pdu(&mut self.read, self.max_pdu_length) {
                Ok(Some(pdu)) => self.machine.handle_pdu(now(), pdu),
                Ok(None) => {
                    let timer = [self.machine.poll_timeout(), deadline].into_iter().flatten().min();
                    self.read_more(timer).await?;
                    self.machine.handle_timeout(now());
                    if deadline.is_some_and(|deadline| deadline <= now()) && self.machine.poll_timeout().is_none() {
                        self.abort(Abort::USER).await;
                        return Err(awaited.timed_out());
                    }
                }
                Err(violation) => self.machine.handle_violation(now(), violation),
            }
        }
    }

    /// Whether the association may go on being used: the peer has said nothing, as far as can be known without waiting. A
    /// release that it asked for is agreed to.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let awaited = Awaited {
            what: "nothing",
            wait: Duration::ZERO,
        };
        match timeout(Duration::ZERO, self.event_by(awaited, None)).await {
            Err(_elapsed) => true,
            Ok(event) => {
                if matches!(event, Ok(Event::ReleaseRequested)) {
                    self.machine.answer_release(now());
                    drop(self.flush().await);
                }
                false
            }
        }
    }

    /// The next event, within `awaited`'s time.
    pub(super) async fn event(&mut self, awaited: Awaited) -> Result<Event, AssociationError> {
        self.event_by(awaited, now().checked_add(awaited.wait)).await
    }

    async fn read_more(&mut self, deadline: Option<Instant>) -> Result<(), AssociationError> {
        if self.read.capacity().saturating_sub(self.read.len()) < READ_ROOM_MIN {
            self.read.reserve(READ_LEN);
        }
        let mut limited = (&mut self.read).limit(READ_LEN);
        let read = self.stream.read_buf(&mut limited);
        let read = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), read).await,
            None => Ok(read.await),
        };
        match read {
            Err(_elapsed) => {}
            Ok(Ok(0)) => self.machine.handle_closed(),
            Ok(Ok(_)) => self.stream.quickack(),
            // An end without TLS's close_notify is no better than a reset.
            Ok(Err(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
                ) =>
            {
                self.machine.handle_closed();
            }
            Ok(Err(error)) => {
                self.machine.handle_closed();
                return Err(AssociationError::of_io(error));
            }
        }
        Ok(())
    }

    /// The next piece of a message, which is to come within `awaited`'s time; `None` when the association was released.
    pub(super) async fn piece(&mut self, awaited: Awaited) -> Result<Option<Piece>, AssociationError> {
        let deadline = now().checked_add(awaited.wait);
        loop {
            if let Some(pdvs) = &mut self.pdvs {
                match pdvs
                    .next_pdv()
                    .and_then(|pdv| pdv.map(|pdv| self.assembler.push(pdv)).transpose())
                {
                    Ok(Some(Some(piece))) => return Ok(Some(piece)),
                    Ok(Some(None)) => continue,
                    Ok(None) => self.pdvs = None,
                    Err(violation) => return Err(self.violated(violation).await),
                }
            }
            match self.event_by(awaited, deadline).await? {
                Event::Data(body) => self.pdvs = Some(Pdvs::new(body)),
                Event::ReleaseRequested | Event::ReleaseConfirmed => self.machine.answer_release(now()),
                Event::Released => {
                    self.flush().await?;
                    return Ok(None);
                }
                other => return Err(self.ended(other, awaited).await),
            }
        }
    }

    /// The error that an event which ends the association is.
    pub(super) async fn ended(&mut self, event: Event, awaited: Awaited) -> AssociationError {
        match event {
            Event::Aborted(abort) => AssociationError::Aborted(abort),
            Event::Violated(violation) => {
                let is_tls = is_tls(&violation, &self.read);
                self.close_behind_abort().await;
                if is_tls {
                    AssociationError::PeerSpeaksTls
                } else {
                    AssociationError::PeerMisbehaved(violation)
                }
            }
            Event::TimedOut => {
                self.close_behind_abort().await;
                awaited.timed_out()
            }
            Event::Requested(_)
            | Event::Accepted(_)
            | Event::Rejected(_)
            | Event::Data(_)
            | Event::ReleaseRequested
            | Event::ReleaseConfirmed
            | Event::Released
            | Event::Lost => AssociationError::Lost,
        }
    }

    /// Answers a violation that the machine does not see itself with A-ABORT.
    pub(super) async fn violated(&mut self, violation: Violation) -> AssociationError {
        // Nothing of what is buffered is a message any more.
        self.pdvs = None;
        self.machine.handle_violation(now(), violation.clone());
        self.close_behind_abort().await;
        AssociationError::PeerMisbehaved(violation)
    }

    /// Aborts, best effort: the connection closes in any case.
    pub(super) async fn abort(&mut self, abort: Abort) {
        self.pdvs = None;
        if !self.machine.is_over() {
            self.machine.abort(now(), abort);
            self.close_behind_abort().await;
        }
    }

    async fn close_behind_abort(&mut self) {
        if self.flush().await.is_ok() && self.machine.state() == State::AwaitingClose {
            self.await_close(ABORT_LINGER).await;
        }
        self.machine.handle_closed();
    }

    /// After our last PDU (A-RELEASE-RP, A-ASSOCIATE-RJ, A-ABORT) the peer is to close; it is given `wait` for that, so
    /// that a reset does not overtake what we said (PS3.8 Sta13).
    pub(super) async fn await_close(&mut self, wait: Duration) {
        let drained = async {
            // Over TLS this writes, and waits for a peer that does not read.
            drop(self.stream.shutdown().await);
            let mut rest = [0; 4096];
            while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
        };
        drop(timeout(wait, drained).await);
    }
}

/// Whether what was read instead of a PDU begins as a record of TLS does: handshake or alert, version 3.x (RFC 8446 §5.1).
fn is_tls(violation: &Violation, read: &[u8]) -> bool {
    matches!(violation, Violation::UnknownPdu(0x15 | 0x16)) && read.get(1) == Some(&3)
}
