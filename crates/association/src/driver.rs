//! Associations over TCP, or any stream of bytes, with tokio: thin, all decisions are in the machine.
//!
//! `TCP_NODELAY` always. `TCP_QUICKACK` after every read on Linux: DCMTK-based senders leave Nagle's algorithm on, and
//! then a delayed acknowledgement costs 44 to 88 ms an instance.

mod acceptor;
mod connection;
mod core;
mod error;
mod requestor;
mod scu;
#[cfg(feature = "tls")]
pub mod tls;

pub use acceptor::{AcceptedAssociation, AcceptorConfig, EchoRequest, Request, StoreRequest, accept};
pub use connection::{Connection, Transport};
pub use error::AssociationError;
pub use requestor::{DataSource, NegotiatedContext, RequestedAssociation, RequestorConfig, SourceError};
pub use scu::{Instance, InstanceContext, StorageScu, StoreError, store_all};
