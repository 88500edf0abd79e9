//! What can go wrong before a link is up, worded for an administrator.

use std::io;
use std::net::SocketAddr;

/// An endpoint could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The UDP socket could not be had.
    #[error("cannot listen on UDP {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A TLS configuration has something that a link must not have, such as 0-RTT or session tickets.
    #[error("TLS configuration unfit for a link: {0}")]
    Tls(&'static str),
}

/// What is wrong with a certificate. Each has another cure, so they are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// Its time is over.
    Expired,
    /// Its time has not begun: mostly a wrong clock.
    NotYetValid,
    /// Signed by an authority that the verifier does not trust.
    UnknownAuthority,
    /// It is for another name.
    WrongName,
    /// Its holder has been shut out.
    Revoked,
    /// None was shown where one is demanded.
    Missing,
    /// Anything else.
    Other,
}

impl CertificateProblem {
    /// The problem as the end of a sentence, with its cure.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Expired => "has expired: renew it, or is the clock right?",
            Self::NotYetValid => "is not yet valid: is the clock right?",
            Self::UnknownAuthority => "is from an unknown authority: did this site join another relay?",
            Self::WrongName => "is for another name",
            Self::Revoked => "has been revoked",
            Self::Missing => "is missing: has this site joined?",
            Self::Other => "was not accepted",
        }
    }
}

/// A peer could not be reached, or would not talk.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name could not be looked up.
    #[error("cannot find the address of {host}: {problem}")]
    NameLookup {
        /// The name, as configured.
        host: String,
        /// What the resolver said.
        problem: String,
    },
    /// Nothing came back.
    #[error("no answer over UDP from {address}: is the address right, and does a firewall let UDP through?")]
    NoAnswer {
        /// Where to.
        address: SocketAddr,
    },
    /// Somebody answered that nobody listens there, or that it takes nobody now.
    #[error("{address} refused the connection: {problem}")]
    Refused {
        /// Where to.
        address: SocketAddr,
        /// In which words.
        problem: String,
    },
    /// The peer's certificate did not convince us.
    #[error("the certificate of {address} {}", problem.words())]
    PeerCertificate {
        /// Whose.
        address: SocketAddr,
        /// Why.
        problem: CertificateProblem,
    },
    /// Our certificate did not convince the peer.
    #[error("{address} did not accept our certificate, which {}", problem.words())]
    OurCertificate {
        /// Who said so.
        address: SocketAddr,
        /// Why.
        problem: CertificateProblem,
    },
    /// The peer speaks something else on this port.
    #[error("{address} does not speak the link protocol")]
    NotALink {
        /// Where to.
        address: SocketAddr,
    },
    /// The peer closed the connection, and said why.
    #[error("{address} closed the connection: {sentence} (code {code})")]
    Closed {
        /// Who.
        address: SocketAddr,
        /// The peer's number.
        code: u64,
        /// The peer's sentence, safe to print.
        sentence: String,
    },
    /// The address or name given cannot be used.
    #[error("cannot connect to {address}: {problem}")]
    Unusable {
        /// Where to.
        address: SocketAddr,
        /// What is wrong with it.
        problem: String,
    },
    /// The TLS configuration given has something that a link must not have.
    #[error("TLS configuration unfit for a link: {0}")]
    Tls(&'static str),
    /// Anything else that QUIC may say.
    #[error("cannot connect to {address}: {problem}")]
    Other {
        /// Where to.
        address: SocketAddr,
        /// In QUIC's words.
        problem: String,
    },
}

/// A request got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// The peer could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Not within 10 s.
    #[error("{address} did not answer within 10 s")]
    TimedOut {
        /// Who.
        address: SocketAddr,
    },
    /// The request has more than 64 KiB.
    #[error("a request of {length} bytes is too long")]
    RequestTooLong {
        /// Its bytes.
        length: usize,
    },
    /// The answer has more than 64 KiB.
    #[error("{address} answered with more than 64 KiB")]
    AnswerTooLong {
        /// Who.
        address: SocketAddr,
    },
    /// The connection ended before the answer was complete.
    #[error("{address} ended the conversation: {problem}")]
    Ended {
        /// Who.
        address: SocketAddr,
        /// In which words.
        problem: String,
    },
}

/// The TLS alert in a QUIC error code (RFC 9001 §4.8), if it is one.
fn alert(code: u64) -> Option<u8> {
    code.checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok())
}

/// What the peer has against our certificate, if it closed with a code that says so.
pub(crate) fn rejected_certificate(code: quinn::TransportErrorCode) -> Option<CertificateProblem> {
    Some(match alert(code.into())? {
        44 => CertificateProblem::Revoked,
        45 => CertificateProblem::Expired,
        48 | 51 => CertificateProblem::UnknownAuthority,
        116 => CertificateProblem::Missing,
        42 | 43 | 46 => CertificateProblem::Other,
        _ => return None,
    })
}

const NO_APPLICATION_PROTOCOL: u8 = 120;

/// What the words of rustls say about the peer's certificate. quinn keeps only the words of a rustls error, and the alert
/// is the same for a certificate of the past and one of the future. A bad signature is how an authority of the same name
/// with another key shows itself: a relay that was set up anew.
fn peer_certificate(reason: &str) -> Option<CertificateProblem> {
    let problem = reason.strip_prefix("invalid peer certificate: ")?;
    let begins = |with: &[&str]| with.iter().any(|begin| problem.starts_with(begin));
    Some(if begins(&["certificate not valid yet", "NotValidYet"]) {
        CertificateProblem::NotYetValid
    } else if begins(&["certificate expired", "Expired"]) {
        CertificateProblem::Expired
    } else if begins(&["UnknownIssuer", "BadSignature"]) {
        CertificateProblem::UnknownAuthority
    } else if begins(&["certificate not valid for name", "NotValidForName"]) {
        CertificateProblem::WrongName
    } else if begins(&["Revoked"]) {
        CertificateProblem::Revoked
    } else {
        CertificateProblem::Other
    })
}

pub(crate) fn connect_error(address: SocketAddr, error: &quinn::ConnectionError) -> ConnectError {
    use quinn::ConnectionError as Quic;
    let problem = crate::frame::clean(&error.to_string(), crate::frame::TEXT_LEN_MAX);
    match error {
        Quic::TimedOut => ConnectError::NoAnswer { address },
        Quic::VersionMismatch => ConnectError::NotALink { address },
        Quic::TransportError(found) => match peer_certificate(&found.reason) {
            Some(problem) => ConnectError::PeerCertificate { address, problem },
            None => by_code(address, found.code, problem),
        },
        Quic::ConnectionClosed(close) => match rejected_certificate(close.error_code) {
            Some(problem) => ConnectError::OurCertificate { address, problem },
            None => by_code(address, close.error_code, problem),
        },
        Quic::ApplicationClosed(close) => ConnectError::Closed {
            address,
            code: close.error_code.into_inner(),
            sentence: crate::frame::clean(&String::from_utf8_lossy(&close.reason), crate::frame::TEXT_LEN_MAX),
        },
        Quic::Reset | Quic::LocallyClosed | Quic::CidsExhausted => ConnectError::Other { address, problem },
    }
}

fn by_code(address: SocketAddr, code: quinn::TransportErrorCode, problem: String) -> ConnectError {
    if code == quinn::TransportErrorCode::CONNECTION_REFUSED {
        return ConnectError::Refused { address, problem };
    }
    if alert(code.into()) == Some(NO_APPLICATION_PROTOCOL) {
        return ConnectError::NotALink { address };
    }
    ConnectError::Other { address, problem }
}
