//! What the projection answers: plain structs, to be printed or written as JSON. Times are RFC 3339 in UTC; what is not
//! known is `null`.

use serde::Serialize;
use serde_json::Value;

use crate::account::{Account, RefusedClass};
use crate::fact::StoppedAt;
use crate::identity::Identity;
use crate::progress::State;

/// Which way a study goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Taken in here, to be delivered at another site.
    Outgoing,
    /// Come from another site, to be delivered here.
    Incoming,
}

/// One account: a study of one source on one route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyView {
    /// Which way it goes.
    pub direction: Direction,
    /// Called AE title (outgoing), or AE title of the destination (incoming).
    pub route: String,
    /// Name of the source (outgoing), or of the site it comes from (incoming).
    pub source: String,
    /// `site/AE` (outgoing), or the AE title of the destination (incoming).
    pub to: String,
    /// Study Instance UID; `None`: `no study`, the instances without one.
    pub study: Option<String>,
    /// Patient, accession, date, as the newest instance that says it has it.
    pub identity: Identity,
    /// Modalities, sorted.
    pub modalities: Vec<String>,
    /// When its first instance was received.
    pub first_at: String,
    /// When something last happened to it.
    pub last_at: String,
    /// The sum.
    pub account: Account,
    /// Receptions of instances that had been received before; counted apart from the sum.
    pub repeats: u64,
    /// Bytes of the data sets received, repeats included.
    pub bytes: u64,
    /// Largest Number of Study Related Instances (0020,1208) in the instances: a hint.
    pub declared: Option<u32>,
    /// Storage classes refused on the associations that carried the study.
    pub refused: Vec<RefusedClass>,
    /// The account in words.
    pub words: String,
    /// What is seen of its sender, and what is odd about it, in words.
    pub watched: Vec<String>,
    /// Times an instance was sent again after it had been delivered.
    pub resent: u64,
}

/// One study with its instances.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyDetail {
    /// The account.
    pub summary: StudyView,
    /// Its deliveries in order of reception, as many as were asked for.
    pub instances: Vec<DeliveryView>,
    /// Instances that were answered with a failure, as many as were asked for.
    pub refused_instances: Vec<RefusalView>,
    /// The associations that carried it, as many as were asked for.
    pub associations: Vec<AssociationView>,
}

/// One delivery: one instance on its way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeliveryView {
    /// Its id.
    pub delivery: String,
    /// Which way it goes.
    pub direction: Direction,
    /// As in [`StudyView::route`].
    pub route: String,
    /// As in [`StudyView::source`].
    pub source: String,
    /// As in [`StudyView::to`].
    pub to: String,
    /// The association it came on, or `send`; `None` when incoming.
    pub origin: Option<String>,
    /// Study Instance UID.
    pub study: Option<String>,
    /// Series Instance UID.
    pub series: Option<String>,
    /// Modality.
    pub modality: Option<String>,
    /// SOP class UID.
    pub sop_class: String,
    /// Its name, or the UID.
    pub class_name: String,
    /// SOP instance UID.
    pub sop_instance: String,
    /// Transfer syntax UID.
    pub transfer_syntax: String,
    /// Bytes of the data set.
    pub length: u64,
    /// SHA-256 of the data set.
    pub sha256: String,
    /// Where it stands.
    pub state: State,
    /// Whether the instance had been received before.
    pub repeat: bool,
    /// When it was in custody here.
    pub received_at: String,
    /// When the far edge had it on disk.
    pub custody_at: Option<String>,
    /// The far edge that said so.
    pub custody_by: Option<String>,
    /// Times the destination was tried without an end.
    pub attempts: u32,
    /// When it will be tried again.
    pub retry_at: Option<String>,
    /// The last status, four hexadecimal digits.
    pub status: Option<String>,
    /// When the destination answered at last.
    pub outcome_at: Option<String>,
    /// Whether that answer was a warning.
    pub warning: bool,
    /// Whether the SHA-256 of what was sent is that of what was received; `None`: no outcome yet.
    pub identical: Option<bool>,
    /// The last reason: why it is tried again, held, failed or discarded, and by whom.
    pub reason: Option<String>,
    /// How a repeat differs from what came before: `same`, `header changed`, `pixels changed`, `changed`.
    pub compared: Option<String>,
    /// The delivery that it replaces.
    pub replaces: Option<String>,
    /// Times it came again while it waited here, byte for byte.
    pub joined: u64,
    /// When its hold ends, and it is discarded; `None`: when somebody releases it.
    pub held_until: Option<String>,
    /// `stat`, `routine` or `bulk`.
    pub priority: String,
    /// Delivered and sent again: where that stands; `None`: it is not under way again.
    pub again: Option<State>,
    /// Times it was sent again after it had been delivered.
    pub resent: u32,
    /// Who held, released, retried, discarded or sent it again, the latest last and 16 at most; empty in lists.
    pub handled: Vec<HandlingView>,
    /// What was sent instead of the data set as it came; `None`: nothing else, or nothing yet.
    pub converted: Option<ConvertedView>,
}

/// Something that a person should hear of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoticeView {
    /// Its id.
    pub id: String,
    /// What it is about: `late`, `failed`, …
    pub kind: String,
    /// When.
    pub at: String,
    /// What happened.
    pub what: String,
    /// What to do about it; empty: nothing.
    pub remedy: String,
    /// The same for programs.
    pub fields: Value,
    /// What became of it on the channels that are done with it.
    pub told: Vec<ToldView>,
}

/// What became of a notice on one channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToldView {
    /// Name of the channel.
    pub channel: String,
    /// When.
    pub at: String,
    /// Why it was given up; `None`: it was told.
    pub failure: Option<String>,
}

/// What somebody did to a delivery.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HandlingView {
    /// `held`, `released`, `tried again`, `discarded`, `sent again`; `let go on`: released or tried again at another site.
    pub what: String,
    /// A person, a rule, consent, another site.
    pub by: String,
    /// Why, in a person's words.
    pub reason: Option<String>,
    /// When.
    pub at: String,
}

/// A data set that was sent in another transfer syntax.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConvertedView {
    /// UID of the syntax it was sent in.
    pub transfer_syntax: String,
    /// Its name, or the UID.
    pub syntax_name: String,
    /// SHA-256 of the data set that was sent.
    pub sha256: String,
}

/// An open delivery of an instance, for deciding what a repeat is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenDelivery {
    /// Its id.
    pub delivery: String,
    /// In flight or held.
    pub state: State,
    /// SHA-256 of the data set.
    pub sha256: String,
    /// Transfer syntax UID.
    pub transfer_syntax: String,
    /// Whether the far edge has it already.
    pub in_far_custody: bool,
}

/// An instance that was answered with a failure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusalView {
    /// The association, or `send`.
    pub origin: String,
    /// Called AE title.
    pub route: String,
    /// Name of the source.
    pub source: String,
    /// SOP class UID.
    pub sop_class: String,
    /// Its name, or the UID.
    pub class_name: String,
    /// SOP instance UID.
    pub sop_instance: String,
    /// Study Instance UID.
    pub study: Option<String>,
    /// The status, four hexadecimal digits.
    pub status: String,
    /// The rule, or other reason.
    pub rule: String,
    /// When.
    pub at: String,
}

/// One association.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AssociationView {
    /// Its id.
    pub association: String,
    /// Name of the source.
    pub source: String,
    /// Calling AE title.
    pub calling: String,
    /// Called AE title.
    pub called: String,
    /// Address.
    pub peer: String,
    /// When it was accepted.
    pub opened_at: String,
    /// When it ended; `None`: it is open, or was when this edge stopped.
    pub ended_at: Option<String>,
    /// How it ended.
    pub ended: Option<String>,
    /// Presentation contexts proposed.
    pub contexts: u32,
    /// Of these accepted.
    pub accepted: u32,
    /// Storage classes of which nothing was accepted.
    pub refused: Vec<RefusedClass>,
    /// Deliveries that came on it.
    pub instances: u64,
    /// Times it used a presentation context that was refused.
    pub refused_context_used: u32,
}

/// What is seen of one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceView {
    /// Its name.
    pub source: String,
    /// Classes that were refused to it, by when they were first.
    pub refused: Vec<RefusedBySource>,
    /// When it first asked for storage commitment, which is not given.
    pub commitment_asked: Option<String>,
    /// Times it stopped at a refusal.
    pub stopped: u64,
    /// The last of them.
    pub last_stops: Vec<StopView>,
    /// Studies that it sends again and again.
    pub loops: Vec<LoopView>,
}

/// A class that is refused to a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusedBySource {
    /// SOP class UID.
    pub uid: String,
    /// Its name, or the UID.
    pub name: String,
    /// The rule that refused it last.
    pub rule: String,
    /// Associations on which it was proposed and nothing of it accepted: no number of instances.
    pub associations: u64,
    /// Instances of it that a rule refused.
    pub instances: u64,
    /// When it was refused first.
    pub first_at: String,
    /// When it was refused last.
    pub last_at: String,
}

/// A sender that stopped at a refusal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StopView {
    /// The association.
    pub association: String,
    /// Name of the source.
    pub source: String,
    /// Calling AE title.
    pub calling: String,
    /// Called AE title.
    pub route: String,
    /// What it stopped at, or one of these.
    pub classes: Vec<StoppedAt>,
    /// Study Instance UID, when it is known.
    pub study: Option<String>,
    /// Instances that had come.
    pub instances: u64,
    /// `aborted`, `ended-behind-refusal`, `used-refused-context`.
    pub evidence: String,
    /// When.
    pub at: String,
    /// Instances of the study that came for the first time on later associations: there was more.
    pub later: u64,
    /// When the last of them did.
    pub later_at: Option<String>,
    /// This sender is known to go on behind a refused instance, so that it may have had no more. Not counted, and not told.
    pub doubtful: bool,
    /// All of it in words.
    pub words: String,
}

/// A study that comes again and again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoopView {
    /// Called AE title.
    pub route: String,
    /// Calling AE title.
    pub calling: String,
    /// Study Instance UID, when it is known.
    pub study: Option<String>,
    /// What was refused each time.
    pub classes: Vec<StoppedAt>,
    /// How often it had come.
    pub times: u32,
    /// Since when.
    pub since: String,
    /// When it was seen.
    pub at: String,
    /// All of it in words.
    pub words: String,
}

/// What a rule holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldView {
    /// The rule, as `rule 3 (raw data)`.
    pub rule: String,
    /// Instances that it holds.
    pub instances: u64,
    /// Bytes of their data sets.
    pub bytes: u64,
    /// When the oldest was received.
    pub oldest: String,
    /// When the first of them is discarded; `None`: when somebody says so.
    pub ends: Option<String>,
}
