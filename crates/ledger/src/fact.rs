//! Facts: what happened, each once, in the order of the spool that keeps them. Versioned JSON:
//!
//! ```json
//! {"v":1,"kind":"custody-received","delivery":"000102…0f","by":"st-mary","at":1795525500123456}
//! ```
//! Times are microseconds since 1970, ids and digests hexadecimal. A fact is never changed; a new field is optional when
//! read. A kind this version does not know, or a later version, is kept as [`Fact::Unknown`] with its bytes.

mod notices;
mod watched;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use packhorse_ids::{DeliveryId, Digest, Priority, SiteName, WallTime};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::origin::{AssociationId, Origin};
use crate::{text, text::micros, text::option_micros};

pub use notices::{NoticeTold, Noticed};
pub use watched::{Compared, Evidence, InstanceRepeated, ReceivedDetails, ResendLoop, SenderStopped, StoppedAt};

/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// Longest fact in bytes that is read: an association with 128 contexts has some 40 KiB.
pub const FACT_LEN_MAX: usize = 1 << 20;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// An association was accepted, with these answers.
    AssociationOpened(AssociationOpened),
    /// It is over.
    AssociationEnded(AssociationEnded),
    /// An instance is in custody here: it was, or is about to be, answered 0000.
    InstanceReceived(Box<InstanceReceived>),
    /// An instance was answered with a failure.
    InstanceRefused(InstanceRefused),
    /// A sender used a presentation context that was refused.
    RefusedContextUsed(RefusedContextUsed),
    /// The far edge has said that it has the instance on disk.
    CustodyReceived(CustodyReceived),
    /// An instance from another site is on disk here, and will be delivered.
    Arrived(Box<Arrived>),
    /// An envelope from another site is on disk here, and this edge cannot open it: it is on the failed list.
    ArrivedUnread(ArrivedUnread),
    /// The destination was tried, and it was not the end.
    DeliveryAttempted(DeliveryAttempted),
    /// What the destination answered at last.
    OutcomeKnown(OutcomeKnown),
    /// It is on the failed list.
    Failed(Failed),
    /// It is kept back.
    Held(Held),
    /// It is no longer kept back.
    Released(Released),
    /// It is off the failed list, and tried again.
    Reopened(Reopened),
    /// It will not be delivered, by somebody's word or by a rule's.
    Discarded(Discarded),
    /// A person should hear of something.
    Noticed(Box<Noticed>),
    /// What became of a notice on one channel.
    NoticeTold(NoticeTold),
    /// It was delivered, and goes to its destination again.
    Resent(Resent),
    /// Of a kind or version that this program does not know: the bytes as they were.
    Unknown(Box<[u8]>),
    /// A sender stopped in the middle of what it had, at a refusal.
    SenderStopped(SenderStopped),
    /// A study comes again and again, and a class of it is refused each time.
    ResendLoop(ResendLoop),
    /// An instance came again while its delivery waited here, byte for byte: it was answered 0000, and is delivered once.
    InstanceRepeated(InstanceRepeated),
}

/// See [`Fact::AssociationOpened`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssociationOpened {
    /// Its id here.
    #[serde(with = "text")]
    pub association: AssociationId,
    /// Name of the source in the configuration.
    pub source: String,
    /// Calling AE title.
    #[serde(with = "text")]
    pub calling: AeTitle,
    /// Called AE title: the route.
    #[serde(with = "text")]
    pub called: AeTitle,
    /// Address it came from.
    pub peer: String,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
    /// What was proposed and answered, in the proposal's order.
    pub contexts: Vec<ContextFact>,
}

/// One presentation context of an association.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContextFact {
    /// Abstract syntax.
    #[serde(with = "text")]
    pub class: AbstractSyntaxUid,
    /// How many transfer syntaxes were offered.
    pub syntaxes: u32,
    /// Result (PS3.8 Table 9-18); 0 is acceptance.
    pub result: u8,
    /// The rule that decided, for people.
    pub rule: String,
}

/// See [`Fact::AssociationEnded`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssociationEnded {
    /// Which.
    #[serde(with = "text")]
    pub association: AssociationId,
    /// How.
    pub how: AssociationEnd,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// How an association ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssociationEnd {
    /// A-RELEASE.
    Released,
    /// The sender sent A-ABORT.
    Aborted,
    /// This edge sent A-ABORT: the sender broke the protocol, or the edge stops.
    AbortedHere,
    /// Nothing came for too long.
    TimedOut,
    /// The TCP connection broke.
    Lost,
    /// In a word of a later version.
    #[serde(other)]
    Unknown,
}

impl AssociationEnd {
    /// The word in facts and views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Aborted => "aborted",
            Self::AbortedHere => "aborted-here",
            Self::TimedOut => "timed-out",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// See [`Fact::InstanceReceived`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceReceived {
    /// The obligation.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// How it came.
    #[serde(with = "text")]
    pub origin: Origin,
    /// Called AE title of the route.
    #[serde(with = "text")]
    pub route: AeTitle,
    /// Site it goes to.
    #[serde(with = "text")]
    pub to_site: SiteName,
    /// Destination there.
    #[serde(with = "text")]
    pub to_ae_title: AeTitle,
    /// Name of the source in the configuration.
    pub source: String,
    /// SOP class of the command.
    #[serde(with = "text")]
    pub sop_class: SopClassUid,
    /// SOP instance of the command.
    #[serde(with = "text")]
    pub sop_instance: SopInstanceUid,
    /// Study Instance UID; `None`: the data set has none, or it could not be read.
    pub study: Option<String>,
    /// Series Instance UID.
    pub series: Option<String>,
    /// Modality.
    pub modality: Option<String>,
    /// Transfer syntax.
    #[serde(with = "text")]
    pub transfer_syntax: TransferSyntaxUid,
    /// Bytes of the data set.
    pub length: u64,
    /// SHA-256 of the data set.
    #[serde(with = "text")]
    pub sha256: Digest,
    /// Number of Study Related Instances (0020,1208), when the instance says it.
    pub declared: Option<u32>,
    /// What people look for.
    #[serde(default)]
    pub identity: Identity,
    /// When it was in custody.
    #[serde(with = "micros")]
    pub at: WallTime,
    /// Whether this instance had been received on this route before.
    #[serde(default)]
    pub repeat: bool,
    /// The delivery that this one replaces; a [`Discarded`] of that one goes with it.
    #[serde(default, with = "text::option")]
    pub replaces: Option<DeliveryId>,
    /// Kept back from the beginning, by this rule; `None`: on its way.
    #[serde(default)]
    pub held_by: Option<String>,
    /// More of it.
    #[serde(default)]
    pub details: ReceivedDetails,
    /// How urgent it is; `None`: not said, so routine.
    #[serde(default, with = "text::option")]
    pub priority: Option<Priority>,
}

/// See [`Fact::InstanceRefused`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceRefused {
    /// How it came.
    #[serde(with = "text")]
    pub origin: Origin,
    /// Called AE title of the route.
    #[serde(with = "text")]
    pub route: AeTitle,
    /// Name of the source.
    pub source: String,
    /// SOP class of the command, as it came; printable.
    pub sop_class: String,
    /// SOP instance of the command, as it came; printable.
    pub sop_instance: String,
    /// Study Instance UID, when it was read.
    pub study: Option<String>,
    /// The status that was answered.
    pub status: u16,
    /// The rule, or other reason, for people.
    pub rule: String,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::RefusedContextUsed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedContextUsed {
    /// Which.
    #[serde(with = "text")]
    pub association: AssociationId,
    /// Abstract syntax of the context; printable.
    pub class: String,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::CustodyReceived`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustodyReceived {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// The site that said so.
    #[serde(with = "text")]
    pub by: SiteName,
    /// When it had it, by its clock.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::Arrived`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrived {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// The site it comes from.
    #[serde(with = "text")]
    pub from_site: SiteName,
    /// The destination here.
    #[serde(with = "text")]
    pub to_ae_title: AeTitle,
    /// SOP class of the command.
    #[serde(with = "text")]
    pub sop_class: SopClassUid,
    /// SOP instance of the command.
    #[serde(with = "text")]
    pub sop_instance: SopInstanceUid,
    /// Study Instance UID, when it was read.
    pub study: Option<String>,
    /// Series Instance UID, when it was read.
    pub series: Option<String>,
    /// Modality, when it was read.
    pub modality: Option<String>,
    /// Transfer syntax.
    #[serde(with = "text")]
    pub transfer_syntax: TransferSyntaxUid,
    /// Bytes of the data set.
    pub length: u64,
    /// SHA-256 of the data set, by the envelope's word.
    #[serde(with = "text")]
    pub sha256: Digest,
    /// Number of Study Related Instances (0020,1208), when it was read.
    pub declared: Option<u32>,
    /// What people look for.
    #[serde(default)]
    pub identity: Identity,
    /// When it was in custody here.
    #[serde(with = "micros")]
    pub at: WallTime,
    /// How urgent it is; `None`: not said, so routine.
    #[serde(default, with = "text::option")]
    pub priority: Option<Priority>,
}

/// See [`Fact::ArrivedUnread`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrivedUnread {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// The site it comes from.
    #[serde(with = "text")]
    pub from_site: SiteName,
    /// Bytes of the envelope.
    pub length: u64,
    /// Why it cannot be opened, and what to do, for people.
    pub reason: String,
    /// When it was in custody here.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::DeliveryAttempted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryAttempted {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// The status that was answered; `None`: there was no answer.
    pub status: Option<u16>,
    /// Why it was not the end, for people.
    pub reason: String,
    /// When it will be tried again; `None`: when somebody asks for it.
    #[serde(default, with = "option_micros")]
    pub retry_at: Option<WallTime>,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::OutcomeKnown`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeKnown {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// The status that the destination answered; `None`: it never answered, or never took it.
    pub status: Option<u16>,
    /// Error Comment, or why it failed, for people.
    pub reason: Option<String>,
    /// SHA-256 of the data set as it came from the source, which is what was sent unless it was `converted`.
    #[serde(with = "text")]
    pub sha256: Digest,
    /// When, by the far edge's clock. Of two outcomes the later counts.
    #[serde(with = "micros")]
    pub at: WallTime,
    /// What was sent instead; `None`: the data set as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted: Option<Conversion>,
}

/// A data set that was sent in another transfer syntax than it came in, without loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// The syntax it was sent in.
    #[serde(with = "text")]
    pub transfer_syntax: TransferSyntaxUid,
    /// SHA-256 of the data set that was sent.
    #[serde(with = "text")]
    pub sha256: Digest,
}

/// See [`Fact::Failed`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// Why, for people.
    pub reason: String,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::Held`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// The rule or person, for people.
    pub by: String,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::Released`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Released {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// Who.
    pub by: String,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::Reopened`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reopened {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// Who.
    pub by: String,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::Discarded`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discarded {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// Who, or which rule, and why: `rule 2`, `replaced by 0001…`.
    pub by: String,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
    /// Why, in a person's words; `None`: it was no person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// See [`Fact::Resent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resent {
    /// Which.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// Who.
    pub by: String,
    /// When, by the far edge's clock.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// Bytes that are no fact.
#[derive(Debug, thiserror::Error)]
pub enum FactError {
    /// Not JSON with a version and a kind, or a known kind with impossible values.
    #[error("not a fact of this ledger")]
    Malformed(#[source] serde_json::Error),
    /// Longer than [`FACT_LEN_MAX`].
    #[error("a fact of {length} bytes is longer than {FACT_LEN_MAX}")]
    TooLong {
        /// Its length.
        length: usize,
    },
}

#[derive(Deserialize)]
struct Head<'a> {
    v: u32,
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    kind: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

macro_rules! kinds {
    ($($variant:ident = $kind:literal,)*) => {
        impl Fact {
            /// The fact as bytes.
            ///
            /// # Errors
            /// [`FactError::TooLong`]: with more than a few thousand contexts.
            pub fn to_bytes(&self) -> Result<Vec<u8>, FactError> {
                let bytes = match self {
                    $(Self::$variant(body) => serde_json::to_vec(&Written { v: VERSION, kind: $kind, body }),)*
                    Self::Unknown(bytes) => Ok(bytes.to_vec()),
                };
                let bytes = bytes.map_err(FactError::Malformed)?;
                if bytes.len() > FACT_LEN_MAX {
                    return Err(FactError::TooLong { length: bytes.len() });
                }
                Ok(bytes)
            }

            /// Reads a fact. An unknown kind and a later version are [`Fact::Unknown`].
            ///
            /// # Errors
            /// [`FactError`].
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, FactError> {
                if bytes.len() > FACT_LEN_MAX {
                    return Err(FactError::TooLong { length: bytes.len() });
                }
                let head: Head<'_> = serde_json::from_slice(bytes).map_err(FactError::Malformed)?;
                if head.v != VERSION {
                    return Ok(Self::Unknown(bytes.into()));
                }
                match &*head.kind {
                    $($kind => serde_json::from_slice(bytes).map(Self::$variant).map_err(FactError::Malformed),)*
                    _ => Ok(Self::Unknown(bytes.into())),
                }
            }
        }
    };
}

kinds! {
    AssociationOpened = "association-opened",
    AssociationEnded = "association-ended",
    InstanceReceived = "instance-received",
    InstanceRefused = "instance-refused",
    RefusedContextUsed = "refused-context-used",
    CustodyReceived = "custody-received",
    Arrived = "arrived",
    ArrivedUnread = "arrived-unread",
    DeliveryAttempted = "delivery-attempted",
    OutcomeKnown = "outcome-known",
    Failed = "failed",
    Held = "held",
    Released = "released",
    Reopened = "reopened",
    Discarded = "discarded",
    SenderStopped = "sender-stopped",
    ResendLoop = "resend-loop",
    InstanceRepeated = "instance-repeated",
    Noticed = "noticed",
    NoticeTold = "notice-told",
    Resent = "resent",
}

#[cfg(test)]
mod tests;
