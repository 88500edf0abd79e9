//! What an A-ASSOCIATE-RQ proposes and what is answered (PS3.8 §9.3.2 to §9.3.4, PS3.7 Annex D), without its bytes.
//!
//! Shared by association, which carries it, and policy, which decides it. The decision is over the whole proposal, since
//! several contexts may carry one class.

use std::fmt;
use std::net::IpAddr;

use crate::ae_title::AeTitle;
use crate::uid::{AbstractSyntaxUid, TransferSyntaxUid};

/// Presentation context id (PS3.8 §9.3.2.2): odd, 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PresentationContextId(u8);

impl PresentationContextId {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The id of the nth context (from 0) of a requestor; `None` past the 128th.
    #[must_use]
    pub fn nth(index: usize) -> Option<Self> {
        u8::try_from(index.checked_mul(2)?.checked_add(1)?).ok().map(Self)
    }
}

impl TryFrom<u8> for PresentationContextId {
    type Error = EvenContextId;

    fn try_from(id: u8) -> Result<Self, EvenContextId> {
        if id % 2 == 1 {
            Ok(Self(id))
        } else {
            Err(EvenContextId(id))
        }
    }
}

impl fmt::Display for PresentationContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A presentation context id was even (PS3.8 §9.3.2.2 wants odd ones).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("presentation context id {_0} is even")]
pub struct EvenContextId(pub u8);

/// One proposed presentation context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedContext {
    /// Unique within the proposal.
    pub id: PresentationContextId,
    /// What the context is for.
    pub abstract_syntax: AbstractSyntaxUid,
    /// At least one, in the requestor's order.
    pub transfer_syntaxes: Vec<TransferSyntaxUid>,
}

impl ProposedContext {
    /// Accepts it with the requestor's first transfer syntax; one without any is rejected (4).
    #[must_use]
    pub fn accept_first(&self) -> ContextAnswer {
        self.transfer_syntaxes.first().map_or(
            ContextAnswer::Rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED),
            |syntax| ContextAnswer::Accepted(syntax.clone()),
        )
    }
}

/// SOP class common extended negotiation (PS3.7 §D.3.3.6): what service a class belongs to, by the requestor's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonExtended {
    /// The SOP class it speaks of.
    pub abstract_syntax: AbstractSyntaxUid,
    /// Its service class; 1.2.840.10008.4.2 is storage.
    pub service_class: Box<str>,
    /// Standard classes of which it is a specialization.
    pub related_general: Vec<AbstractSyntaxUid>,
}

/// SOP class extended negotiation (PS3.7 §D.3.3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedNegotiation {
    /// The SOP class it speaks of.
    pub abstract_syntax: AbstractSyntaxUid,
    /// Service class application information, as the class's service defines it (for storage PS3.4 §B.3.1).
    pub application_information: Box<[u8]>,
}

/// SCP/SCU role selection (PS3.7 §D.3.3.4): in a proposal what the requestor offers to be, in an answer what of it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSelection {
    /// The class it speaks of.
    pub abstract_syntax: AbstractSyntaxUid,
    /// The requestor is SCU of it.
    pub scu: bool,
    /// The requestor is SCP of it.
    pub scp: bool,
}

/// Asynchronous operations window (PS3.7 §D.3.3.3): how many operations may await their answer at a time. 0: no limit. An
/// association without the item has 1 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncOperationsWindow {
    /// Operations that the requestor may invoke.
    pub invoked: u16,
    /// Operations that the requestor will perform.
    pub performed: u16,
}

impl AsyncOperationsWindow {
    /// What an association without the item has.
    pub const SYNCHRONOUS: Self = Self {
        invoked: 1,
        performed: 1,
    };

    /// The smaller of each number, 0 being the largest: an answer never exceeds what was proposed.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        let smaller = |a: u16, b: u16| match (a, b) {
            (0, limit) | (limit, 0) => limit,
            (a, b) => a.min(b),
        };
        Self {
            invoked: smaller(self.invoked, other.invoked),
            performed: smaller(self.performed, other.performed),
        }
    }
}

/// Kind of a user identity (PS3.7 Table D.3-14). Kept as it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserIdentityType(pub u8);

impl UserIdentityType {
    /// A user name.
    pub const USERNAME: Self = Self(1);
    /// A user name, and a passcode as secondary field.
    pub const USERNAME_AND_PASSCODE: Self = Self(2);
    /// A Kerberos service ticket.
    pub const KERBEROS: Self = Self(3);
    /// A SAML assertion.
    pub const SAML: Self = Self(4);
    /// A JSON Web Token.
    pub const JWT: Self = Self(5);
}

impl fmt::Debug for UserIdentityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            1 => "username",
            2 => "username and passcode",
            3 => "Kerberos",
            4 => "SAML",
            5 => "JWT",
            _ => "unknown",
        };
        write!(f, "{words} ({})", self.0)
    }
}

/// User identity (PS3.7 §D.3.3.7). `Debug` shows neither field: a name is a person's, the rest are secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// Its kind.
    pub kind: UserIdentityType,
    /// The requestor asks for an answer (59H) when it is accepted.
    pub positive_response_requested: bool,
    /// The name, ticket, assertion or token.
    pub primary_field: Box<[u8]>,
    /// The passcode; empty for every other kind.
    pub secondary_field: Box<[u8]>,
}

impl fmt::Debug for UserIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserIdentity")
            .field("kind", &self.kind)
            .field("positive_response_requested", &self.positive_response_requested)
            .finish_non_exhaustive()
    }
}

/// A whole A-ASSOCIATE-RQ, as a decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Address the request came from.
    pub peer: IpAddr,
    /// Name of the listener it came in on, for routes that are bound to one. Empty when there is only one.
    pub listener: Box<str>,
    /// Who asks.
    pub calling_ae_title: AeTitle,
    /// Whom it asks.
    pub called_ae_title: AeTitle,
    /// 1 to 128, in the requestor's order.
    pub contexts: Vec<ProposedContext>,
    /// SOP class extended negotiation items.
    pub extended: Vec<ExtendedNegotiation>,
    /// SOP class common extended negotiation items.
    pub common_extended: Vec<CommonExtended>,
    /// Role selection items; a class without one has the requestor as SCU.
    pub roles: Vec<RoleSelection>,
    /// Who the requestor's user is, by its word.
    pub user_identity: Option<UserIdentity>,
    /// How many operations the requestor would like to have under way. `None`: one.
    pub async_operations: Option<AsyncOperationsWindow>,
    /// The requestor's implementation class UID, as it came (PS3.7 §D.3.3.2).
    pub implementation_class_uid: Option<Box<str>>,
    /// The requestor's implementation version name, as it came.
    pub implementation_version_name: Option<Box<str>>,
}

impl Proposal {
    /// A request for these contexts that says nothing else: no further items, no user, no name of an implementation.
    #[must_use]
    pub fn of_contexts(
        (peer, listener): (IpAddr, &str),
        calling_ae_title: AeTitle,
        called_ae_title: AeTitle,
        contexts: Vec<ProposedContext>,
    ) -> Self {
        Self {
            peer,
            listener: listener.into(),
            calling_ae_title,
            called_ae_title,
            contexts,
            extended: Vec::new(),
            common_extended: Vec::new(),
            roles: Vec::new(),
            user_identity: None,
            async_operations: None,
            implementation_class_uid: None,
            implementation_version_name: None,
        }
    }

    /// Accepts the association, with an answer of `decide` for each context.
    #[must_use]
    pub fn answer_each(&self, decide: impl Fn(&ProposedContext) -> ContextAnswer) -> Answer {
        let answers = self.contexts.iter().map(|context| (context.id, decide(context)));
        Answer::Accept(answers.collect())
    }
}

/// Result/reason of one presentation context in an A-ASSOCIATE-AC (PS3.8 Table 9-18). Kept as it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContextResult(pub u8);

impl ContextResult {
    /// Acceptance.
    pub const ACCEPTANCE: Self = Self(0);
    /// User rejection: refused because of this caller or route.
    pub const USER_REJECTION: Self = Self(1);
    /// No reason (provider rejection): never sent, understood when received.
    pub const NO_REASON: Self = Self(2);
    /// Abstract syntax not supported: the class is refused to everybody, or unknown.
    pub const ABSTRACT_SYNTAX_NOT_SUPPORTED: Self = Self(3);
    /// Transfer syntaxes not supported: the class is accepted, no syntax is left.
    pub const TRANSFER_SYNTAXES_NOT_SUPPORTED: Self = Self(4);

    /// Whether the context may be used.
    #[must_use]
    pub const fn is_acceptance(self) -> bool {
        self.0 == 0
    }
}

/// The standard's words, with the number.
impl fmt::Display for ContextResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            0 => "accepted",
            1 => "user rejection",
            2 => "no reason",
            3 => "abstract syntax not supported",
            4 => "transfer syntaxes not supported",
            _ => "unknown result",
        };
        write!(f, "{words} ({})", self.0)
    }
}

impl fmt::Debug for ContextResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is answered to one proposed context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextAnswer {
    /// Accepted with this transfer syntax, one of those proposed.
    Accepted(TransferSyntaxUid),
    /// Rejected with this result; never [`ContextResult::ACCEPTANCE`].
    Rejected(ContextResult),
}

/// What is answered to a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A-ASSOCIATE-AC: one answer for each proposed context, in the proposal's order. All may be rejections, so that the
    /// reasons are visible.
    Accept(Vec<(PresentationContextId, ContextAnswer)>),
    /// A-ASSOCIATE-RJ.
    Reject(Rejection),
}

/// Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21). Kept as they came, so that unknown codes survive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// 1 permanent, 2 transient.
    pub result: u8,
    /// 1 service user, 2 service provider (ACSE), 3 service provider (presentation).
    pub source: u8,
    /// Read together with the source.
    pub reason: u8,
}

impl Rejection {
    /// Calling AE title (or address) not recognized.
    pub const CALLING_AE_TITLE_NOT_RECOGNIZED: Self = Self {
        result: 1,
        source: 1,
        reason: 3,
    };
    /// Called AE title not recognized.
    pub const CALLED_AE_TITLE_NOT_RECOGNIZED: Self = Self {
        result: 1,
        source: 1,
        reason: 7,
    };
    /// Application context name not supported.
    pub const APPLICATION_CONTEXT_NOT_SUPPORTED: Self = Self {
        result: 1,
        source: 1,
        reason: 2,
    };
    /// Protocol version not supported.
    pub const PROTOCOL_VERSION_NOT_SUPPORTED: Self = Self {
        result: 1,
        source: 2,
        reason: 2,
    };
    /// A limit of ours is reached: try again later.
    pub const LOCAL_LIMIT_EXCEEDED: Self = Self {
        result: 2,
        source: 3,
        reason: 2,
    };
    /// Temporary congestion: we are shutting down.
    pub const TEMPORARY_CONGESTION: Self = Self {
        result: 2,
        source: 3,
        reason: 1,
    };

    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        self.result == 2
    }
}

/// The standard's words, with the three numbers: `calling AE title not recognized (1/1/3)`.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match (self.source, self.reason) {
            (1 | 2, 1) => "no reason given",
            (1, 2) => "application context name not supported",
            (1, 3) => "calling AE title not recognized",
            (1, 7) => "called AE title not recognized",
            (2, 2) => "protocol version not supported",
            (3, 1) => "temporary congestion",
            (3, 2) => "local limit exceeded",
            _ => "unknown reason",
        };
        let lasting = match self.result {
            1 => "rejected permanently",
            2 => "rejected for now",
            _ => "rejected",
        };
        write!(
            f,
            "{lasting}: {words} ({}/{}/{})",
            self.result, self.source, self.reason
        )
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_ids_are_odd_and_128_at_most() {
        assert_eq!(PresentationContextId::try_from(4), Err(EvenContextId(4)));
        assert_eq!(PresentationContextId::nth(0).unwrap().get(), 1);
        assert_eq!(PresentationContextId::nth(127).unwrap().get(), 255);
        assert_eq!(PresentationContextId::nth(128), None);
    }

    #[test]
    fn a_window_is_answered_with_the_smaller_and_0_is_no_limit() {
        let window = |invoked, performed| AsyncOperationsWindow { invoked, performed };
        assert_eq!(window(8, 0).at_most(window(3, 5)), window(3, 5));
        assert_eq!(window(0, 1).at_most(window(0, 9)), window(0, 1));
    }

    #[test]
    fn secrets_of_a_user_identity_are_not_shown() {
        let identity = UserIdentity {
            kind: UserIdentityType::USERNAME_AND_PASSCODE,
            positive_response_requested: true,
            primary_field: b"alice".as_slice().into(),
            secondary_field: b"hunter2".as_slice().into(),
        };
        let shown = format!("{identity:?}");
        assert!(shown.contains("username and passcode (2)"), "{shown}");
        assert!(
            !shown.contains("alice") && !shown.contains("hunter2") && !shown.contains("97, 108"),
            "{shown}"
        );
    }

    #[test]
    fn a_rejection_says_its_codes() {
        assert_eq!(
            Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED.to_string(),
            "rejected permanently: calling AE title not recognized (1/1/3)"
        );
        assert_eq!(
            Rejection {
                result: 1,
                source: 1,
                reason: 56
            }
            .to_string(),
            "rejected permanently: unknown reason (1/1/56)"
        );
    }
}
