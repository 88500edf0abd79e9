//! DICOM associations (PS3.8) and the storage service's messages (PS3.7): an acceptor and a requestor that pass data
//! sets on exactly as they came.
//!
//! ```text
//!   bytes ── codec, pdv ──▶ Pdu ── machine ──▶ Event ── dimse ──▶ C-STORE-RQ, C-ECHO-RQ
//!     ▲                                                                   │
//!     └──────────────── driver (tokio, feature `driver`) ◀── answers ─────┘
//! ```
//!
//! - [`codec`], [`pdv`], [`dimse`], [`machine`], [`negotiate`]: no I/O, no clock, no tokio. Time is an input.
//! - [`driver`] (feature `driver`, default): [`accept`] and [`RequestedAssociation`] over TCP, or over any other
//!   stream of bytes ([`Connection`]).
//!
//! What is absent: any reading of data sets, any re-encoding, C-FIND, C-MOVE, C-GET and the N-services (answered 0211H).
//! An acceptor asks a [`Decide`] what to answer to a proposal, so that an embedder brings a policy of its own.

pub mod codec;
pub mod dimse;
pub mod fuzzing;
pub mod machine;
pub mod negotiate;
pub mod pdv;

#[cfg(feature = "driver")]
pub mod driver;

pub use codec::{Abort, Pdu, Violation};
pub use dimse::{CEchoRq, CStoreRq, CStoreRsp};
#[cfg(feature = "driver")]
pub use driver::{
    AcceptedAssociation, AcceptorConfig, AssociationError, Connection, DataSource, EchoRequest, Instance,
    InstanceContext, NegotiatedContext, Request, RequestedAssociation, RequestorConfig, StorageScu, StoreError,
    StoreRequest, Transport, accept, store_all,
};
pub use negotiate::Decide;
