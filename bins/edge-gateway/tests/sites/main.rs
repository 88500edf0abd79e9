//! Whole sites in real processes: a relay, an edge gateway at each site, real peers at both ends. Arrival is judged by the
//! target's own log, custody by the answers that the source got.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod convert;
mod delivery;
mod doctor;
mod durability;
mod echo;
mod field;
mod instances;
mod interop;
mod kills;
mod mirror;
mod odd;
mod operator;
mod outages;
mod policy;
mod repeats;
mod storm;
mod support;
mod told;
