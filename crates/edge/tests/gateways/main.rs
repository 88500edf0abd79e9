//! Whole gateways and a relay in one process, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test")]

mod conformance;
mod consent;
mod convert;
mod custody;
mod echo;
mod introductions;
mod mirror;
mod poison;
mod support;
mod tls;
