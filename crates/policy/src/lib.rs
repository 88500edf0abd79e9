//! Which presentation context is accepted, with which transfer syntax, and by which rule.
//!
//! Pure: no I/O, no clock, no state. The same proposal gives the same decision, so it is computed again wherever its
//! reasons are needed. Three moments: the proposal ([`Engine::admit`], [`Engine::decide`]), the header once scanned
//! ([`Engine::decide_header`]), and the end, when the length is known ([`Engine::decide_end`]).
//!
//! Rules are read from configuration ([`config`]), the first that matches decides, and the shipped ones
//! ([`DEFAULT_RULES`]) come last.

mod attribute;
mod class;
mod condition;
pub mod config;
mod decision;
mod engine;
pub mod fuzzing;
mod host;
mod knowledge;
mod names;
mod pattern;
mod route;
mod rule;
mod units;

pub use attribute::{Attribute, HeaderValues};
pub use class::ClassPattern;
pub use condition::Conditions;
pub use config::ConfigError;
pub use decision::{Admission, ContextDecision, Decision, Hold, InstanceDecision, InstanceFacts, Refused, Shadow};
pub use engine::{DEFAULT_RULES, Engine, Source};
pub use host::HostPattern;
pub use knowledge::{DestinationKnowledge, MirrorMode, NotTaken};
pub use route::{EchoMode, Route};
pub use rule::{HoldEnd, HoldTerms, Outcome, Rule, RuleName};
