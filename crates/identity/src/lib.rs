//! Who a site is: the relay's CA, one-use join tokens, enrolment, renewal, revocation, and a site's keys.
//!
//! - At the relay: [`Authority`] (the CA and the relay's own certificate), [`Registry`] (tokens, certificates,
//!   revocations) and [`Enroller`], which answers join and renew requests.
//! - At an edge: [`Token`], [`Joining`], [`SiteIdentity`] and the long-lived [`SigningKey`].
//!
//! No sockets here: requests and answers are bytes that transport's exchange carries, bound to its TLS channel by 32
//! exported bytes. rustls configurations are built by hand: TLS 1.3 only, X25519MLKEM768 first, no early data, no
//! tickets, no resumption, for a ticket would outlive a revocation.

mod authority;
mod enroll;
mod files;
pub mod fuzzing;
mod join;
mod keys;
mod pending;
mod registry;
mod tls;
mod token;

pub use authority::{Authority, AuthorityError, Issued};
pub use enroll::{AttemptLimiter, EnrollError, Enroller};
pub use join::{IdentityError, Joining, Renewal, SiteIdentity};
pub use keys::{KeyError, SigningKey, VerifyingKey};
pub use registry::{
    CertificateRecord, Consumed, Registry, RegistryError, RenewalRecord, Renewed, SiteRecord, SqliteRegistry,
    TokenRecord,
};
pub use tls::{CertificateFacts, InvalidCertificate, Revocations, certificate_facts};
pub use token::{InvalidToken, Token};
