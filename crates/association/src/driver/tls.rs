//! DICOM TLS for both roles: the BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 §B.12), with the
//! certificates that PACS really have.
//!
//! - [`TlsAcceptor`] and [`TlsRequestor`] make a [`Connection`](super::Connection) of a socket; an association over it is
//!   like any other.
//! - [`Trust`] says which certificates of a peer are believed: pins, private CAs, or the certificate itself.
//! - [`inspect`] shows what a peer presents, without believing anything and without sending any data.
//!
//! PS3.15 reserves port 2762 (`dicom-tls`). Certificates are asked for from a requestor or not, by choice
//! ([`ClientAuthentication`]); a requestor that has one shows it when asked.
//!
//! What is absent: TLS 1.1 and older, every suite without forward secrecy or AEAD, session resumption, early data,
//! renegotiation, revocation lists, the public web's CAs unless their file is given, and any way to turn verification off.

mod certificate;
mod error;
mod handshake;
mod hello;
mod inspect;
mod names;
mod profile;
mod recorder;
mod trust;
mod verify;

pub use certificate::{Certificate, Fingerprint, InvalidFingerprint};
pub use error::{Alert, TlsError};
pub use handshake::{
    ClientAuthentication, DEFAULT_HANDSHAKE, PeerTls, TlsAcceptor, TlsConfigError, TlsIdentity, TlsRequestor,
};
pub use hello::{Choice, Offer};
pub use inspect::{Inspection, inspect};
pub use profile::{suites, versions};
pub use trust::{Distrust, Reason, Trust, TrustError};

pub(super) use error::of_io;
pub(super) use handshake::TlsStream;
