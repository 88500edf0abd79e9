//! From an A-ASSOCIATE-RQ to a proposal, and from an answer to an A-ASSOCIATE-AC or -RJ.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal, ProposedContext, Rejection};

use crate::codec::{
    APPLICATION_CONTEXT, AnsweredContext, AssociateAc, AssociateRq, Pdu, RoleSelection, UserInformation,
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
pub trait Decide: Send + Sync {
    /// The answer to `proposal`. Called once an association, on the task that serves it: no I/O, no waiting.
    fn decide(&self, proposal: &Proposal) -> Answer;
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
        implementation_class_uid: rq.user.implementation_class_uid.clone(),
        implementation_version_name: rq.user.implementation_version_name.clone(),
    })
}

/// The PDU that says `answer` to `rq`. A context the answer forgot, or accepted with a syntax that was not proposed, is
/// rejected: the decision is somebody else's code, the wire is ours.
#[must_use]
pub fn answer_pdu(rq: &AssociateRq, answer: &Answer, max_pdu_length: u32) -> Pdu {
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
    Pdu::AssociateAc(Box::new(AssociateAc {
        protocol_version: 1,
        called_ae_title: rq.called_ae_title,
        calling_ae_title: rq.calling_ae_title,
        application_context: APPLICATION_CONTEXT.into(),
        contexts: contexts.collect(),
        user: UserInformation {
            roles: scu_roles(rq),
            ..ours(max_pdu_length)
        },
    }))
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

/// A requestor may be SCU of what it asked for, never SCP: there is no C-GET here. Answered once for each proposed class
/// and no other: a request may hold thousands of role items, more than fit into an answer.
fn scu_roles(rq: &AssociateRq) -> Vec<RoleSelection> {
    let mut roles: Vec<RoleSelection> = Vec::new();
    for role in &rq.user.roles {
        let class = &role.abstract_syntax;
        let is_proposed = rq.contexts.iter().any(|context| context.abstract_syntax == *class);
        if is_proposed && !roles.iter().any(|answered| answered.abstract_syntax == *class) {
            roles.push(RoleSelection {
                scp: false,
                ..role.clone()
            });
        }
    }
    roles
}

/// What we say of ourselves.
fn ours(max_pdu_length: u32) -> UserInformation {
    UserInformation {
        max_pdu_length: Some(max_pdu_length),
        implementation_class_uid: Some(IMPLEMENTATION_CLASS_UID.into()),
        implementation_version_name: Some(IMPLEMENTATION_VERSION_NAME.into()),
        ..UserInformation::default()
    }
}

/// The A-ASSOCIATE-RQ that proposes `contexts`.
#[must_use]
pub fn request_pdu(
    calling: &AeTitle,
    called: &AeTitle,
    contexts: Vec<ProposedContext>,
    max_pdu_length: u32,
) -> AssociateRq {
    AssociateRq {
        protocol_version: 1,
        called_ae_title: called.to_field(),
        calling_ae_title: calling.to_field(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts,
        user: ours(max_pdu_length),
    }
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
