//! The mirror: what the PACS at the far end of a route takes, known where the instances come in.
//!
//! The gateway in front of a PACS learns it: from associations that ask for nothing else (`probe`), paced and only while no
//! delivery has one, and from those of deliveries. It tells the sites that may send there, and they tell it which pairs of
//! class and transfer syntax their sources propose, so that no others are asked. What is known orders and marks
//! (`mirror = "advise"`) or refuses too (`"strict"`). All of it may be lost: it is found out again.

mod belief;
mod far;
mod keep;
mod known;
mod ours;
mod probe;
mod told;

pub(crate) use belief::{Patience, Source, Word};
pub(crate) use far::FarMirrors;
pub(crate) use keep::{Wanted, keep};
pub(crate) use known::Known;
pub(crate) use ours::{Ours, load};
pub(crate) use told::Told;
