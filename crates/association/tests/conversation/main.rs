//! Our two roles against a peer that sends exactly the bytes it is told to: whole, cut, late, wrong or not at all.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod acceptor;
mod cuts;
mod memory;
mod peer;
mod requestor;
mod scu;
mod secrets;
mod silence;
mod violations;
mod window;
