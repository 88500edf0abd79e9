//! A hop with real spools, and what a link does with it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod incoming;
mod outgoing;
