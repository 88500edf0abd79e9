//! One request with one answer, without a session: enrolment.
//!
//! The dialling side opens a bidirectional stream, sends the request and ends its side; the answer comes back the same
//! way. 64 KiB each, 10 s for each side.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quinn::{ReadToEndError, VarInt};
use rustls::pki_types::CertificateDer;

use super::connection::peer_certificates;
use super::error::AskError;
use super::socket::canonical;
use crate::frame::{TEXT_LEN_MAX, clean};

/// How long either side has for its part.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// A request or an answer has at most so many bytes.
const LEN_MAX: usize = 64 << 10;
/// Label of the TLS exporter (RFC 5705).
const EXPORTER_LABEL: &[u8] = b"packhorse-enroll";
/// QUIC close code of an exchange that is over.
const DONE: VarInt = VarInt::from_u32(0);
/// QUIC close code for a request that is too long, too late or broken off.
const BAD_REQUEST: VarInt = VarInt::from_u32(2);

/// One request that waits for its answer. Dropped, the peer sees the connection closed.
#[derive(Debug)]
pub struct Exchange {
    /// The request: at most 64 KiB.
    pub request: Bytes,
    /// 32 bytes that only the two ends of this TLS connection know (RFC 5705, label `packhorse-enroll`).
    pub exporter: [u8; 32],
    /// What the peer showed of itself; usually empty.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// Who asks.
    pub remote_address: SocketAddr,
    connection: quinn::Connection,
    answer: quinn::SendStream,
}

impl Exchange {
    /// Answers, and waits until the peer has the answer.
    ///
    /// # Errors
    /// When the answer has more than 64 KiB, or the peer did not take it within 10 s.
    pub async fn respond(mut self, answer: Vec<u8>) -> Result<(), AskError> {
        let address = self.remote_address;
        if answer.len() > LEN_MAX {
            return Err(AskError::AnswerTooLong { address });
        }
        let sent = async {
            self.answer
                .write_all(&answer)
                .await
                .map_err(|error| ended(address, &error))?;
            self.answer.finish().map_err(|error| ended(address, &error))?;
            // The peer closes as soon as it has the answer, so that an error here is as good.
            self.answer.stopped().await.ok();
            Ok(())
        };
        let sent = tokio::time::timeout(DEADLINE, sent).await;
        sent.unwrap_or(Err(AskError::TimedOut { address }))
    }

    /// Closes without an answer, with a number and a sentence that the peer shows.
    pub fn close(self, code: u16, sentence: &str) {
        let reason = clean(sentence, TEXT_LEN_MAX);
        self.connection.close(VarInt::from_u32(code.into()), reason.as_bytes());
    }

    /// Reads the request of a connection; `None`, with the connection closed, when none came in time.
    pub(super) async fn read(connection: quinn::Connection) -> Option<Self> {
        let read = async {
            let (answer, mut stream) = connection.accept_bi().await.ok()?;
            let request = stream.read_to_end(LEN_MAX).await.ok()?;
            Some((answer, request, export(&connection)?))
        };
        let Ok(Some((answer, request, exporter))) = tokio::time::timeout(DEADLINE, read).await else {
            connection.close(BAD_REQUEST, b"no request of at most 64 KiB within 10 s");
            return None;
        };
        Some(Self {
            request: request.into(),
            exporter,
            peer_certificates: peer_certificates(&connection),
            remote_address: canonical(connection.remote_address()),
            connection,
            answer,
        })
    }
}

pub(crate) async fn ask(
    connection: &quinn::Connection,
    address: SocketAddr,
    request: impl FnOnce(&[u8; 32]) -> Vec<u8> + Send,
) -> Result<Vec<u8>, AskError> {
    let exporter = export(connection).ok_or_else(|| AskError::Ended {
        address,
        problem: "no exporter".to_owned(),
    })?;
    let request = request(&exporter);
    if request.len() > LEN_MAX {
        return Err(AskError::RequestTooLong { length: request.len() });
    }
    let (mut sender, mut receiver) = connection.open_bi().await.map_err(|error| ended(address, &error))?;
    sender
        .write_all(&request)
        .await
        .map_err(|error| ended(address, &error))?;
    sender.finish().map_err(|error| ended(address, &error))?;
    let answer = match receiver.read_to_end(LEN_MAX).await {
        Ok(answer) => answer,
        Err(ReadToEndError::TooLong) => return Err(AskError::AnswerTooLong { address }),
        Err(ReadToEndError::Read(error)) => return Err(closed(connection, address, &error)),
    };
    connection.close(DONE, b"");
    Ok(answer)
}

fn export(connection: &quinn::Connection) -> Option<[u8; 32]> {
    let mut exporter = [0; 32];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
        .ok()?;
    Some(exporter)
}

/// Why the connection closed, if it did, says more than that the stream ended.
fn closed(connection: &quinn::Connection, address: SocketAddr, error: &dyn std::fmt::Display) -> AskError {
    match connection.close_reason() {
        Some(reason) => AskError::Connect(super::error::connect_error(address, &reason)),
        None => ended(address, error),
    }
}

fn ended(address: SocketAddr, error: &dyn std::fmt::Display) -> AskError {
    AskError::Ended {
        address,
        problem: clean(&error.to_string(), TEXT_LEN_MAX),
    }
}
