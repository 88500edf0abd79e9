//! From an A-ASSOCIATE-RQ to a proposal, and from an answer to an A-ASSOCIATE-AC or -RJ.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{
    Answer, AsyncOperationsWindow, ContextAnswer, ContextResult, Proposal, ProposedContext, Rejection, RoleSelection,
};
use packhorse_dicom::uid::AbstractSyntaxUid;

use crate::codec::{
    APPLICATION_CONTEXT, AnsweredContext, AssociateAc, AssociateRq, CONTEXTS_MAX, Pdu, UserInformation,
};

/// What we say we take in one P-DATA-TF: 128 KiB. With 16 KiB, as DCMTK has it, an instance of 0.5 MB costs 32 reads.
pub const MAX_PDU_LENGTH: u32 = 128 * 1024;

/// Bounds of what we say we take: a shorter maximum slows every sender down, a longer one (0 says "no limit") is memory
/// for each association.
pub const OWN_MAX_RANGE: RangeInclusive<u32> = 4096..=1024 * 1024;

/// What is said for a configured maximum: within [`OWN_MAX_RANGE`]. 0, "no limit", becomes the most.
#[must_use]
pub fn own_max_pdu_length(configured: u32) -> u32 {
    let configured = if configured == 0 { u32::MAX } else { configured };
    configured.clamp(*OWN_MAX_RANGE.start(), *OWN_MAX_RANGE.end())
}

/// Decides what is answered to a proposal. An embedder brings a policy of its own.
///
/// Both are called once an association, on the task that serves it: no I/O, no waiting.
pub trait Decide: Send + Sync {
    /// The answer to `proposal`.
    fn decide(&self, proposal: &Proposal) -> Answer;

    /// What the user information of an acceptance says; `ours` is the maximum length and who we are. Roles, extended
    /// negotiation, the asynchronous operations window and the response to a user identity go here; what was not proposed,
    /// or exceeds it, is left out of the answer. Default: `ours`, so one operation at a time, no extended negotiation, the
    /// user identity unanswered; the requestor is SCU of what it asks to be SCU of, and SCP of nothing.
    ///
    /// A user identity that is not accepted is a rejection by [`decide`](Self::decide).
    fn user_information(&self, proposal: &Proposal, ours: UserInformation) -> UserInformation {
        let _ = proposal;
        ours
    }
}

impl<F: Fn(&Proposal) -> Answer + Send + Sync> Decide for F {
    fn decide(&self, proposal: &Proposal) -> Answer {
        self(proposal)
    }
}

/// The proposal in `rq`, or the rejection that its fixed fields call for: protocol version (bit 0 only), application
/// context, titles that are none.
///
/// # Errors
/// The [`Rejection`] to answer.
pub fn proposal(rq: &AssociateRq, peer: IpAddr, listener: &str) -> Result<Proposal, Rejection> {
    if rq.protocol_version & 1 == 0 {
        return Err(Rejection::PROTOCOL_VERSION_NOT_SUPPORTED);
    }
    if &*rq.application_context != APPLICATION_CONTEXT {
        return Err(Rejection::APPLICATION_CONTEXT_NOT_SUPPORTED);
    }
    let title = |field: &[u8; 16], rejection| AeTitle::try_from(field.as_slice()).map_err(|_| rejection);
    Ok(Proposal {
        peer,
        listener: listener.into(),
        calling_ae_title: title(&rq.calling_ae_title, Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED)?,
        called_ae_title: title(&rq.called_ae_title, Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED)?,
        contexts: rq.contexts.clone(),
        extended: rq.user.extended.clone(),
        common_extended: rq.user.common_extended.clone(),
        roles: rq.user.roles.clone(),
        user_identity: rq.user.user_identity.clone(),
        async_operations: rq.user.async_operations,
        implementation_class_uid: rq.user.implementation_class_uid.clone(),
        implementation_version_name: rq.user.implementation_version_name.clone(),
    })
}

/// The PDU that says `answer` to `rq`, with `user` as user information. A context the answer forgot, or accepted with a
/// syntax that was not proposed, is rejected, and what `user` says beyond the proposal is left out: the decision is
/// somebody else's code, the wire is ours.
#[must_use]
pub fn answer_pdu(rq: &AssociateRq, answer: &Answer, user: UserInformation) -> Pdu {
    let answers = match answer {
        Answer::Reject(rejection) => return Pdu::AssociateRj(*rejection),
        Answer::Accept(answers) => answers,
    };
    let contexts = rq.contexts.iter().map(|proposed| {
        let answer = answers
            .iter()
            .find(|(id, _)| *id == proposed.id)
            .map(|(_, answer)| answer);
        answered(proposed, answer)
    });
    let unusable = rq.unusable.iter().map(|id| AnsweredContext {
        id: *id,
        result: ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED,
        transfer_syntax: None,
    });
    Pdu::AssociateAc(Box::new(AssociateAc {
        protocol_version: 1,
        called_ae_title: rq.called_ae_title,
        calling_ae_title: rq.calling_ae_title,
        application_context: APPLICATION_CONTEXT.into(),
        contexts: contexts.chain(unusable).collect(),
        user: within(&rq.user, user, |class| {
            rq.contexts.iter().any(|context| context.abstract_syntax == *class)
        }),
    }))
}

/// `ours` without what was not `asked`; `is_proposed` tells whether a class was.
fn within(
    asked: &UserInformation,
    ours: UserInformation,
    is_proposed: impl Fn(&AbstractSyntaxUid) -> bool,
) -> UserInformation {
    let offers = |class: &AbstractSyntaxUid| asked.extended.iter().any(|offer| offer.abstract_syntax == *class);
    let mut extended = ours.extended;
    extended.retain(|answer| is_proposed(&answer.abstract_syntax) && offers(&answer.abstract_syntax));
    extended.truncate(CONTEXTS_MAX);
    let wants_response = asked
        .user_identity
        .as_ref()
        .is_some_and(|identity| identity.positive_response_requested);
    let window = asked.async_operations.zip(ours.async_operations);
    UserInformation {
        roles: roles(&asked.roles, &ours.roles, is_proposed),
        extended,
        common_extended: Vec::new(),
        user_identity: None,
        user_identity_response: ours.user_identity_response.filter(|_| wants_response),
        async_operations: window.map(|(asked, ours)| asked.at_most(ours)),
        ..ours
    }
}

fn answered(proposed: &ProposedContext, answer: Option<&ContextAnswer>) -> AnsweredContext {
    let (result, transfer_syntax) = match answer {
        Some(ContextAnswer::Accepted(syntax)) if proposed.transfer_syntaxes.contains(syntax) => {
            (ContextResult::ACCEPTANCE, Some(syntax.clone()))
        }
        Some(ContextAnswer::Accepted(_)) => (ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED, None),
        Some(ContextAnswer::Rejected(result)) if !result.is_acceptance() => (*result, None),
        Some(ContextAnswer::Rejected(_)) | None => (ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED, None),
    };
    AnsweredContext {
        id: proposed.id,
        result,
        transfer_syntax,
    }
}

/// Answered once for each proposed class and no other: a request may hold hundreds of role items. Of a class that `ours`
/// does not name the requestor is SCU if it wants to be, never SCP.
fn roles(
    asked: &[RoleSelection],
    ours: &[RoleSelection],
    is_proposed: impl Fn(&AbstractSyntaxUid) -> bool,
) -> Vec<RoleSelection> {
    let mut roles: Vec<RoleSelection> = Vec::new();
    for asked in asked {
        let class = &asked.abstract_syntax;
        if is_proposed(class) && !roles.iter().any(|answered| answered.abstract_syntax == *class) {
            let ours = ours.iter().find(|ours| ours.abstract_syntax == *class);
            roles.push(RoleSelection {
                abstract_syntax: class.clone(),
                scu: asked.scu && ours.is_none_or(|ours| ours.scu),
                scp: asked.scp && ours.is_some_and(|ours| ours.scp),
            });
        }
    }
    roles
}

/// The A-ASSOCIATE-RQ that proposes `contexts`, with `user` as user information.
#[must_use]
pub fn request_pdu(
    calling: &AeTitle,
    called: &AeTitle,
    contexts: Vec<ProposedContext>,
    user: UserInformation,
) -> AssociateRq {
    AssociateRq {
        protocol_version: 1,
        called_ae_title: called.to_field(),
        calling_ae_title: calling.to_field(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts,
        unusable: Vec::new(),
        user,
    }
}

/// The window that `ac` grants to a requestor that asked for `asked`: what both have. Without an item in both it is
/// synchronous.
#[must_use]
pub fn granted_window(asked: Option<AsyncOperationsWindow>, ac: &AssociateAc) -> AsyncOperationsWindow {
    let both = asked.zip(ac.user.async_operations);
    both.map_or(AsyncOperationsWindow::SYNCHRONOUS, |(asked, granted)| {
        asked.at_most(granted)
    })
}

/// What `ac` answers to one proposed context. A context it does not mention, or accepts with a syntax that was not
/// proposed, cannot be used: no reason (2).
#[must_use]
pub fn context_answer(ac: &AssociateAc, proposed: &ProposedContext) -> ContextAnswer {
    let Some(answered) = ac.contexts.iter().find(|context| context.id == proposed.id) else {
        return ContextAnswer::Rejected(ContextResult::NO_REASON);
    };
    match &answered.transfer_syntax {
        Some(syntax) if answered.result.is_acceptance() && proposed.transfer_syntaxes.contains(syntax) => {
            ContextAnswer::Accepted(syntax.clone())
        }
        _ if answered.result.is_acceptance() => ContextAnswer::Rejected(ContextResult::NO_REASON),
        _ => ContextAnswer::Rejected(answered.result),
    }
}

#[cfg(test)]
mod tests;
