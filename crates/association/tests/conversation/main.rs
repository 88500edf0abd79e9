//! Our two roles against a peer that sends exactly the bytes it is told to: whole, cut, late, wrong or not at all.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests may panic"
)]

mod acceptor;
mod cuts;
mod peer;
mod requestor;
mod silence;
mod violations;
