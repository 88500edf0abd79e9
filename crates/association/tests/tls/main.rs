//! DICOM TLS in both roles: certificates as PACS have them, peers that speak something else, and real peers.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod certificates;
mod ends;
mod inspecting;
mod interop;
mod mutual;
mod other_tongues;
mod sslyze;
mod support;
