//! What the tests of the other crates share. A dev-dependency only: nothing that ships links it.
//!
//! - [`instances`]: small valid SOP instances made from a seed, and large ones that are never held in memory.
//! - [`corpus`]: where the real instances lie, when they do.
//! - [`peers`]: DICOM peers to talk to.

pub mod corpus;
pub mod instances;
pub mod peers;
