//! What can go wrong with an association.

use std::io;
use std::time::Duration;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::Rejection;

use super::requestor::SourceError;
use crate::codec::{Abort, TooLong, Violation};

/// An association ended, or did not come about. Whatever the variant, the connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum AssociationError {
    /// The peer broke PS3.8 or PS3.7; we answered A-ABORT (PS3.8 §9.3.8).
    #[error("the peer broke the protocol, A-ABORT sent")]
    PeerMisbehaved(#[source] Violation),
    /// The peer said no (PS3.8 §9.3.4).
    #[error("{called} {rejection}")]
    Rejected {
        /// Whom we asked.
        called: AeTitle,
        /// What it answered.
        rejection: Rejection,
    },
    /// We said no: what the [`Decide`](crate::Decide) answered, or a fixed field called for.
    #[error("refused, {_0}")]
    Refused(Rejection),
    /// The peer aborted (PS3.8 §9.3.8).
    #[error("aborted by the peer, {_0}")]
    Aborted(Abort),
    /// The peer closed the connection without release or abort.
    #[error("the peer closed the connection without release")]
    Lost,
    /// The peer asked for release while its answer was awaited.
    #[error("the peer released the association instead of answering")]
    ReleasedEarly,
    /// Nothing came in time; we aborted.
    #[error("{what} did not come within {waited:?}")]
    TimedOut {
        /// What was awaited.
        what: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// A data set came so slowly that it was not waited for; we aborted.
    #[error("the data set came too slowly, {received} bytes in {waited:?}")]
    Dripping {
        /// Bytes of it.
        received: u64,
        /// For how long they were waited for.
        waited: Duration,
    },
    /// The connection could not be opened.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The peer begins a TLS connection where none is configured (an acceptor), or answers with TLS (a requestor).
    #[error("the peer speaks TLS on a plain connection: turn TLS off there, or on here, or use the other port")]
    PeerSpeaksTls,
    /// The TLS connection did not come about, or the peer ended it.
    #[cfg(feature = "tls")]
    #[error("no TLS connection")]
    Tls(#[from] super::tls::TlsError),
    /// Reading or writing failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// Our own data source failed; the association was aborted, so that no part of the data set passes for the whole.
    #[error("the data set could not be read to its end, the association was aborted")]
    Source(#[source] SourceError),
    /// What we say of ourselves does not fit into the PDU; nothing was sent.
    #[error("the association cannot be negotiated")]
    TooLong(#[from] TooLong),
    /// A request was dropped without an answer; the association was aborted.
    #[error("a request was left without an answer, the association was aborted")]
    Unanswered,
}

impl AssociationError {
    pub(super) fn of_io(error: io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(error) = super::tls::of_io(&error) {
            return Self::Tls(error);
        }
        Self::Io(error)
    }
}
