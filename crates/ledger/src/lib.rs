//! The account of every study: facts of what happened, accounts made of them, receipts between sites, and the projection
//! that answers questions.
//!
//! Limits: no network, no spool. A fact is opaque bytes to the spool that keeps it; a [`Projection`] reads facts in order
//! into a database of its own and can be rebuilt from them. Absent on purpose: verdicts against the source (they need its
//! own evidence), and signing itself (the bytes to sign are in [`receipt`]).
//!
//! Invariant: at any moment `received = delivered + in flight + held + failed + discarded` for every account.
//!
//! - [`fact`]: what is written down, versioned JSON;
//! - [`identity`]: the attributes a study is found by, decoded by Specific Character Set;
//! - [`watch`]: what a refusal does to a sender;
//! - [`progress`]: how facts move one delivery;
//! - [`account`]: the sum over a study;
//! - [`receipt`]: what the far edge says, as bytes to sign;
//! - [`store`], [`view`]: the projection and its answers.

pub mod account;
mod charset;
pub mod fact;
pub mod fuzzing;
pub mod identity;
pub mod origin;
pub mod progress;
pub mod receipt;
pub mod store;
mod text;
pub mod view;
pub mod watch;

pub use account::{Account, is_for_destination, some_names};
pub use fact::Fact;
pub use identity::{Identity, IdentityLevel};
pub use origin::{AssociationId, Origin};
pub use progress::{Progress, State};
pub use receipt::{
    CustodyReceipt, DiscardedReceipt, HeldReceipt, OutcomeReceipt, Receipt, ReceiptBatch, ResentReceipt, ResumedReceipt,
};
pub use store::{Cursor, DeliveryFilter, Projection, StatusPattern, StudyFilter};
