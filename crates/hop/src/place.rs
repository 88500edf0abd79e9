//! Where an arriving delivery belongs: the owner's decision.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{Routing, WallTime};
use packhorse_spool::{Body, Custody, Entry, NewState, QueueName, Store};
use packhorse_transport::{CustodianError, Refusal};

/// Where and how an arrived delivery is committed.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The queue it waits in.
    pub queue: QueueName,
    /// Whose word ends our custody of it.
    pub custody: Custody,
    /// Ready, or held.
    pub state: NewState,
    /// Facts that are committed with it.
    pub facts: Vec<Bytes>,
}

/// What a hop asks its owner.
#[async_trait]
pub trait Place: Send + Sync + 'static {
    /// Whether a delivery may come at all, by its routing.
    ///
    /// # Errors
    /// The refusal, for good.
    fn admit(&self, routing: &Routing) -> Result<(), Refusal>;

    /// Where an arrived delivery belongs. Its bytes can be read from `store`; they are not committed yet.
    ///
    /// # Errors
    /// The refusal, for good; or that it cannot be told now, and must be offered again.
    async fn place(&self, routing: &Routing, body: &Body, store: &dyn Store) -> Result<Placement, CustodianError>;

    /// An arrived delivery is committed where [`place`](Self::place) said.
    fn placed(&self, _routing: &Routing) {}

    /// How long an id that is gone from here is still "have" when it is offered again.
    fn remembers(&self) -> Duration;

    /// A delivery that was here before is offered again: receipts may have been lost.
    async fn repeated(&self, routing: &Routing);

    /// Whether what cannot be read here has a copy at its source, which offers it again once this place has forgotten it: then
    /// it is dropped here, else it is kept for somebody to look at.
    fn is_only_a_stop(&self) -> bool;

    /// Facts to commit when the peer has acknowledged `entry`.
    fn acked(&self, entry: &Entry, at: WallTime) -> Vec<Bytes>;

    /// Facts to commit when `entry` does not go on: the peer has refused it for good, or its bytes cannot be read here. Why
    /// says which.
    fn refused(&self, entry: &Entry, why: &Refusal) -> Vec<Bytes>;
}
