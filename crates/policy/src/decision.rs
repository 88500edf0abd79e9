//! What is decided, with its reasons.

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, ContextAnswer, PresentationContextId, Rejection};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid, TransferSyntaxUid};
use packhorse_ids::Priority;

use crate::rule::RuleName;

/// A caller that may send here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Name of its `[[source]]`.
    pub source: Box<str>,
    /// Its place among the sources, from 0.
    pub index: usize,
}

/// A caller that may not, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is answered.
    pub rejection: Rejection,
    /// For the log: which title, and what to add to the configuration.
    pub why: String,
}

/// What the destination is known to take. Empty: nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationKnowledge {
    /// (class, syntax) pairs that were accepted.
    pub takes: Vec<(AbstractSyntaxUid, TransferSyntaxUid)>,
}

/// A whole decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is answered on the wire.
    pub answer: Answer,
    /// By context, in the proposal's order, with the reasons.
    pub contexts: Vec<ContextDecision>,
}

/// One context's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextDecision {
    /// Which.
    pub id: PresentationContextId,
    /// What it was for.
    pub abstract_syntax: AbstractSyntaxUid,
    /// What is answered.
    pub answer: ContextAnswer,
    /// The rule that decided; `None` for Verification.
    pub rule: Option<RuleName>,
    /// Whether the class belongs to a study's account: other services and Verification do not.
    pub is_storage: bool,
}

/// What is known of an instance once its header is scanned.
#[derive(Clone, Copy, Debug)]
pub struct InstanceFacts<'a> {
    /// Who sends.
    pub calling: &'a AeTitle,
    /// The route.
    pub called: &'a AeTitle,
    /// The context's abstract syntax.
    pub context_class: &'a AbstractSyntaxUid,
    /// The command's Affected SOP Class UID.
    pub command_class: &'a SopClassUid,
    /// The data set's (0008,0016), if it could be read.
    pub dataset_class: Option<&'a SopClassUid>,
    /// How the data set is encoded.
    pub transfer_syntax: &'a TransferSyntaxUid,
}

/// What becomes of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceDecision {
    /// It is taken.
    Accept {
        /// With this priority.
        priority: Priority,
        /// By this rule.
        rule: RuleName,
    },
    /// It is not taken.
    Refuse {
        /// The status to answer.
        status: Status,
        /// The Error Comment, at most 64 characters.
        comment: String,
        /// By this rule.
        rule: RuleName,
    },
    /// It is taken, answered Success, and kept.
    Hold(Hold),
}

/// How an instance is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// By this rule.
    pub rule: RuleName,
    /// With this priority once it is released.
    pub priority: Priority,
}
