//! What both roles share: the socket, the machine, and the pump between them.

use std::io;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::AssociationError;
use crate::codec::{self, Abort, Violation};
use crate::dimse::{Assembler, Piece};
use crate::machine::{Event, Machine};
use crate::pdv::Pdvs;

/// Bytes asked of the socket at a time.
const READ_LEN: usize = 256 * 1024;

/// Our clock: tokio's, so that tests may pause it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One association's connection.
#[derive(Debug)]
pub(super) struct Core {
    stream: TcpStream,
    pub(super) machine: Machine,
    read: BytesMut,
    pdvs: Option<Pdvs>,
    assembler: Assembler,
    max_pdu_length: u32,
    /// How long one write may take.
    send: Duration,
}

impl Core {
    pub(super) fn new(stream: TcpStream, machine: Machine, max_pdu_length: u32, send: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (read, assembler) = (BytesMut::new(), Assembler::default());
        Ok(Self {
            stream,
            machine,
            read,
            pdvs: None,
            assembler,
            max_pdu_length,
            send,
        })
    }

    /// Sends what the machine has to send.
    pub(super) async fn flush(&mut self) -> Result<(), AssociationError> {
        let mut out = BytesMut::new();
        while let Some(pdu) = self.machine.poll_transmit() {
            codec::encode(&pdu, &mut out);
        }
        if out.is_empty() { Ok(()) } else { self.write(&out).await }
    }

    /// Writes bytes within the send deadline. After an error nothing more can be written.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), AssociationError> {
        let written = timeout(self.send, self.stream.write_all(bytes)).await;
        let failed = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => AssociationError::Io(error),
            Err(_) => AssociationError::TimedOut {
                what: "the peer's taking of what is sent",
                waited: self.send,
            },
        };
        self.machine.handle_closed();
        Err(failed)
    }

    /// The next event, waiting at most `wait` for it; the machine's own timer counts too.
    ///
    /// # Cancel safety
    /// Bytes read so far are kept.
    pub(super) async fn event(&mut self, what: &'static str, wait: Duration) -> Result<Event, AssociationError> {
        let deadline = now().checked_add(wait);
        loop {
            self.flush().await?;
            if let Some(event) = self.machine.poll_event() {
                return Ok(event);
            }
            match codec::next_pdu(&mut self.read, self.max_pdu_length) {
                Ok(Some(pdu)) => self.machine.handle_pdu(now(), pdu),
                Ok(None) if self.machine.is_over() => return Ok(Event::Lost),
                Ok(None) => {
                    let timer = [self.machine.poll_timeout(), deadline].into_iter().flatten().min();
                    self.read_more(timer).await?;
                    self.machine.handle_timeout(now());
                    if deadline.is_some_and(|deadline| deadline <= now()) && self.machine.poll_timeout().is_none() {
                        self.abort(Abort::PROVIDER).await;
                        return Err(AssociationError::TimedOut { what, waited: wait });
                    }
                }
                Err(violation) => self.machine.handle_violation(now(), violation),
            }
        }
    }

    async fn read_more(&mut self, deadline: Option<Instant>) -> Result<(), AssociationError> {
        self.read.reserve(READ_LEN);
        let mut limited = (&mut self.read).limit(READ_LEN);
        let read = self.stream.read_buf(&mut limited);
        let read = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), read).await,
            None => Ok(read.await),
        };
        match read {
            Err(_elapsed) => {}
            Ok(Ok(0)) => self.machine.handle_closed(),
            Ok(Ok(_)) => self.quickack(),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => self.machine.handle_closed(),
            Ok(Err(error)) => {
                self.machine.handle_closed();
                return Err(AssociationError::Io(error));
            }
        }
        Ok(())
    }

    /// Not kept by the kernel, so set after every read. A kernel that has it not is only slower.
    fn quickack(&self) {
        #[cfg(target_os = "linux")]
        drop(socket2::SockRef::from(&self.stream).set_tcp_quickack(true));
    }

    /// The next piece of a message; `None` when the association was released.
    pub(super) async fn piece(
        &mut self,
        what: &'static str,
        wait: Duration,
    ) -> Result<Option<Piece>, AssociationError> {
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
            match self.event(what, wait).await? {
                Event::Data(body) => self.pdvs = Some(Pdvs::new(body)),
                Event::ReleaseRequested => self.machine.answer_release(now()),
                Event::Released => {
                    self.flush().await?;
                    return Ok(None);
                }
                other => return Err(self.ended(other).await),
            }
        }
    }

    /// The error that an event which ends the association is.
    pub(super) async fn ended(&mut self, event: Event) -> AssociationError {
        // What is left to be sent is an A-ABORT at most, and the connection closes behind it.
        drop(self.flush().await);
        match event {
            Event::Aborted(abort) => AssociationError::Aborted(abort),
            Event::Violated(violation) => AssociationError::PeerMisbehaved(violation),
            Event::TimedOut => AssociationError::TimedOut {
                what: "the next PDU",
                waited: Duration::ZERO,
            },
            Event::Requested(_)
            | Event::Accepted(_)
            | Event::Rejected(_)
            | Event::Data(_)
            | Event::ReleaseRequested
            | Event::Released
            | Event::Lost => AssociationError::Lost,
        }
    }

    /// Answers a violation that the machine does not see itself with A-ABORT.
    pub(super) async fn violated(&mut self, violation: Violation) -> AssociationError {
        self.machine.handle_violation(now(), violation.clone());
        drop(self.flush().await);
        AssociationError::PeerMisbehaved(violation)
    }

    /// Aborts, best effort: the connection closes in any case.
    pub(super) async fn abort(&mut self, abort: Abort) {
        self.machine.abort(now(), abort);
        drop(self.flush().await);
    }

    /// After our last PDU (A-RELEASE-RP, A-ASSOCIATE-RJ, A-ABORT) the peer is to close; it is given `wait` for that, so
    /// that a reset does not overtake what we said (PS3.8 Sta13).
    pub(super) async fn await_close(&mut self, wait: Duration) {
        drop(self.stream.shutdown().await);
        let drained = async {
            let mut rest = [0; 4096];
            while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
        };
        drop(timeout(wait, drained).await);
    }
}
