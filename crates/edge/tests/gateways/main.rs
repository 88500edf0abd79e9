//! Whole gateways and a relay in one process, over real sockets.

mod consent;
mod introductions;
mod support;
