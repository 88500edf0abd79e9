//! Why there is no TLS connection, in the words of whoever has to put it right.

use std::fmt;
use std::io;
use std::time::Duration;

use super::hello::{self, Choice, Offer, Said};
use super::trust::Distrust;
use super::verify;

/// A TLS connection did not come about, or was ended by the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A requestor without TLS called a TLS port, or an acceptor without TLS was called with it.
    #[error("the peer speaks plain DICOM where TLS is configured: turn TLS on there, or use the plain port")]
    PeerSpeaksDicom,
    /// Neither TLS nor DICOM.
    #[error("the peer speaks no TLS; it begins with {begin}")]
    PeerSpeaksSomethingElse {
        /// Its first bytes, in hexadecimal digits.
        begin: String,
    },
    /// We do not believe the peer's certificate.
    #[error("the peer is not trusted: {_0}")]
    Distrusted(Distrust),
    /// Acceptor: the requestor offers nothing that is allowed today.
    #[error(
        "the peer offers only what is retired (RFC 8996, RFC 9325): {_0}; it needs TLS 1.2 with ECDHE and AES-GCM, or TLS 1.3"
    )]
    OffersRetired(Offer),
    /// Requestor: the acceptor chose what is not allowed today, as it has nothing else.
    #[error(
        "the peer has only what is retired (RFC 8996, RFC 9325): {_0}; it needs TLS 1.2 with ECDHE and AES-GCM, or TLS 1.3"
    )]
    ChoseRetired(Choice),
    /// Acceptor: there is a common version and a common suite, and still no way.
    #[error("there is nothing in common with the peer, which offers {offer}: {what}")]
    NothingInCommon {
        /// What it offers.
        offer: Offer,
        /// What is lacking.
        what: String,
    },
    /// The peer refuses us.
    #[error("the peer refuses the TLS connection: {_0}")]
    Refused(Alert),
    /// The peer closed the connection in the middle of the handshake, or before it.
    #[error("the peer closed the connection before TLS was established; a port without TLS may do that too")]
    Closed,
    /// The handshake took too long.
    #[error("the TLS handshake was not done within {waited:?}")]
    TimedOut {
        /// For how long it was waited.
        waited: Duration,
    },
    /// The peer broke the protocol.
    #[error("the peer broke the TLS protocol: {_0}")]
    PeerMisbehaved(String),
    /// The socket.
    #[error("the connection failed: {_0}")]
    Io(String),
}

/// An alert of the peer (RFC 8446 §6.2), as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(pub u8);

/// Its name, and what it means between DICOM peers.
impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.0 {
            40 | 71 => "no suite in common, for it has only retired ones; or it requires a certificate of ours",
            42 | 43 | 46 | 48 => {
                "it does not trust our certificate: its administrator has to enter ours, or the CA of ours"
            }
            44 => "it takes our certificate for revoked",
            45 => "our certificate has expired",
            49 => "our certificate is trusted and not allowed in",
            51 => "our signature does not fit our certificate: is the key the certificate's?",
            70 => "it knows no TLS version of ours, which are 1.2 and 1.3",
            112 => "it does not know the name it was called by: set `name`",
            116 => "it requires a certificate of ours: set `certificate` and `key`",
            _ => "no usual reason",
        };
        write!(f, "{meaning} (alert {} {})", self.0, self.name())
    }
}

/// What a failed handshake means: by what rustls says, and what the peer said first.
pub(super) fn of_handshake(error: &io::Error, said: &[u8]) -> TlsError {
    let said = hello::read(said);
    let begin = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    match (cause(error), said) {
        (_, Said::Dicom) => TlsError::PeerSpeaksDicom,
        (_, Said::Other(bytes)) => TlsError::PeerSpeaksSomethingElse { begin: begin(&bytes) },
        (Some(rustls::Error::AlertReceived(alert)), _) => TlsError::Refused(Alert(u8::from(*alert))),
        (Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(_))), _) => of_rustls(error),
        (Some(rustls::Error::NoCertificatesPresented), _) => of_rustls(error),
        (Some(_), Said::Offer(offer)) if offer.is_retired() => TlsError::OffersRetired(offer),
        (Some(_), Said::Choice(choice)) if choice.is_retired() => TlsError::ChoseRetired(choice),
        (Some(rustls::Error::PeerIncompatible(lack)), Said::Offer(offer)) => TlsError::NothingInCommon {
            offer,
            what: format!("{lack:?}"),
        },
        _ => of_rustls(error),
    }
}

fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn of_rustls(error: &io::Error) -> TlsError {
    match cause(error) {
        Some(rustls::Error::AlertReceived(alert)) => TlsError::Refused(Alert(u8::from(*alert))),
        Some(rustls::Error::NoCertificatesPresented) => TlsError::Distrusted(Distrust::NO_CERTIFICATE),
        Some(other) => match verify::distrust_in(other) {
            Some(distrust) => TlsError::Distrusted(distrust),
            None => TlsError::PeerMisbehaved(other.to_string()),
        },
        None if is_end(error) => TlsError::Closed,
        None => TlsError::Io(error.to_string()),
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// What an error of an established connection is, if it is one of TLS: in TLS 1.3 an acceptor tells a requestor that it
/// does not trust it only after the requestor's handshake is done.
pub(in crate::driver) fn of_io(error: &io::Error) -> Option<TlsError> {
    cause(error).map(|_| of_rustls(error))
}
