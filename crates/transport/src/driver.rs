//! The driver: sessions over QUIC.

mod accept;
mod config;
mod connection;
mod custodian;
mod dial;
mod endpoint;
mod error;
mod exchange;
mod lane;
mod link;
mod memory;
mod quic;
mod socket;
mod tls;

pub use accept::Incoming;
pub use config::{ALPN_ENROLL, ALPN_LINK, DEFAULT_IDLE, DEFAULT_KEEP_ALIVE, DEFAULT_RECEIVE_MEMORY, TransportConfig};
pub use connection::{Connection, LinkEnd, LinkHandle, LinkStats};
pub use custodian::{Custodian, CustodianError};
pub use dial::{LinkStatus, Target, keep_link};
pub use endpoint::Endpoint;
pub use error::{AskError, CertificateProblem, ConnectError, EndpointError};
pub use exchange::Exchange;
pub use memory::MemoryBudget;
