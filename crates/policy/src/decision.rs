//! What is decided, with its reasons.

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, CommonExtended, ContextAnswer, PresentationContextId, Rejection};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid, TransferSyntaxUid};
use packhorse_ids::Priority;

use crate::attribute::HeaderValues;
use crate::knowledge::NotTaken;
use crate::rule::{HoldEnd, Outcome, RuleName};

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
    /// The rule that decided; `None` for Verification. Of a context that only rules with conditions keep open, the first of
    /// them.
    pub rule: Option<RuleName>,
    /// Whether the class belongs to a study's account: other services and Verification do not.
    pub is_storage: bool,
    /// The destination is known not to take this. With an accepted context a warning; with a rejected one why it is
    /// rejected, though its rule accepts it. `None`: nothing is known against it, or a rule has rejected it already.
    pub not_taken: Option<NotTaken>,
    /// Shadow rules that would have decided it.
    pub shadows: Vec<Shadow>,
}

/// A shadow rule that would have decided, were it none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Which.
    pub rule: RuleName,
    /// What it would have done.
    pub outcome: Outcome,
}

impl ContextDecision {
    /// What the destination is known to refuse, when the context was rejected because of that and not by its rule.
    #[must_use]
    pub const fn refused_for_destination(&self) -> Option<NotTaken> {
        match self.answer {
            ContextAnswer::Rejected(_) => self.not_taken,
            ContextAnswer::Accepted(_) => None,
        }
    }

    /// Who decided, for a log or a ledger: the rule, and whether the destination was why, such as `rule 5 (storage), but the
    /// destination is known not to take this class`. Empty for Verification.
    #[must_use]
    pub fn decided_by(&self) -> String {
        let rule = self.rule.as_ref().map(ToString::to_string).unwrap_or_default();
        match self.refused_for_destination() {
            None => rule,
            Some(NotTaken::Class) => format!("{rule}, but the destination is known not to take this class"),
            Some(NotTaken::Syntax) => format!("{rule}, but the destination is known not to take it in these syntaxes"),
        }
    }
}

/// What is known of an instance: by its command, and once its header is scanned.
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
    /// What the association's proposal said of its classes (PS3.7 §D.3.3.6). Without it a class of a vendor's own that was
    /// accepted as storage is refused as private.
    pub common_extended: &'a [CommonExtended],
    /// Values of [`Engine::attributes`](crate::Engine::attributes). `None`: the header is not scanned yet.
    pub header: Option<&'a HeaderValues>,
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

impl InstanceDecision {
    /// The rule that decided.
    #[must_use]
    pub const fn rule(&self) -> &RuleName {
        match self {
            Self::Accept { rule, .. } | Self::Refuse { rule, .. } => rule,
            Self::Hold(hold) => &hold.rule,
        }
    }
}

/// How an instance is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// By this rule.
    pub rule: RuleName,
    /// With this priority once it is released.
    pub priority: Priority,
    /// When it is held no longer.
    pub end: HoldEnd,
    /// Bytes that all instances held by this rule may have; over it A700 is answered. `None`: no quota of its own.
    pub quota: Option<u64>,
}
