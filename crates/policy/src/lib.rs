//! Which presentation context is accepted, with which transfer syntax, and by which rule; and what becomes of an instance.
//!
//! Pure: no I/O, no clock, no state. The same question gives the same answer, so it is asked again wherever its reasons
//! are needed. Rules are read from configuration ([`config`]), the first that matches decides, and the shipped ones
//! ([`DEFAULT_RULES`]) come last. The [`cookbook`] has policies that people want, each of them tested.
//!
//! # Three moments
//!
//! 1. **The proposal** (A-ASSOCIATE-RQ): [`Engine::admit`] says whether the caller may send here at all, [`Engine::decide`]
//!    answers every presentation context. A rule that asks for what only an instance shows keeps a context open if it may
//!    take what comes on it.
//! 2. **The command and the header**: [`Engine::decide_header`] says `None` as long as a rule comes first that asks for what
//!    is not known yet. What it refuses stays refused, so bytes need not be taken for it.
//! 3. **The end**: [`Engine::decide_end`], when the length is known, decides.
//!
//! An instance is asked about by each of the three names it has: its context's abstract syntax, its command's Affected SOP
//! Class UID and its data set's (0008,0016). A class that a rule refuses is refused whichever of them names it.
//!
//! # How to embed it
//!
//! ```
//! use packhorse_policy::config::{RawRoute, RawRule, RawSource};
//! use packhorse_policy::{DestinationKnowledge, Engine, Trial};
//!
//! #[derive(serde::Deserialize)]
//! struct File {
//!     source: Vec<RawSource>,
//!     route: Vec<RawRoute>,
//!     rule: Vec<RawRule>,
//! }
//!
//! let file: File = toml::from_str(
//!     r#"
//!     source = [{ ae_titles = ["PACS_A"], hosts = ["10.0.0.5"] }]
//!     route = [{ called_ae_title = "ST_MARY", to = "st-mary/PACS_B" }]
//!     rule = [{ name = "raw data stays", class = ["raw-data"], outcome = "hold", hold = "30d" }]
//!     "#,
//! )?;
//! // Everything that is wrong with it, each with its path; a rule that can never match, too.
//! let engine = Engine::new(&file.source, &file.route, &file.rule).map_err(|errors| format!("{errors:?}"))?;
//!
//! // A gateway asks `admit` and `decide` with the `Proposal` that its association gives it. Whoever only wants to know:
//! let tried = engine.try_out(
//!     &Trial {
//!         calling: &"PACS_A".parse()?,
//!         route: &engine.routes()[0],
//!         class: &"1.2.840.10008.5.1.4.1.1.66".parse()?,
//!         dataset_class: None,
//!         transfer_syntax: &"1.2.840.10008.1.2".parse()?,
//!         header: None,
//!         length: None,
//!     },
//!     &DestinationKnowledge::default(),
//! );
//! assert_eq!(tried.rule().unwrap().to_string(), "rule 1 (raw data stays)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/own-policy` is an SCP that asks the engine first and then a rule of its own in Rust.
//!
//! # What it leaves to others
//!
//! It resolves no names ([`Engine::admit`] is given a way to), decodes no text (header values come decoded, in
//! [`HeaderValues`]), counts no bytes against a quota, ends no hold, and keeps no time with what it is told of a destination
//! ([`DestinationKnowledge`]). It does not speak of storage commitment, query or print: a class of another service is
//! rejected, Verification is accepted.
//!
//! Limits: rules and routes are as many as the configuration has; a decision looks at each rule once for each context and
//! transfer syntax, and again for each shadow rule. A header value is matched in at most its length times the pattern's.

mod attribute;
mod class;
mod condition;
pub mod config;
pub mod cookbook {
    #![doc = include_str!("../COOKBOOK.md")]
}
mod decision;
mod engine;
pub mod fuzzing;
mod host;
mod knowledge;
mod names;
mod pattern;
mod route;
mod rule;
mod trial;
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
pub use trial::{Trial, Tried};
