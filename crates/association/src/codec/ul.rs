//! Conversions between our PDUs and dicom-ul's, for whoever has code on its types.
//!
//! dicom-ul's types say less: codes it does not know, AE titles that are no text and an AC's context without a transfer
//! syntax cannot be put into them. The way through ours loses unknown sub-items.

use bytes::{BufMut as _, Bytes, BytesMut};
use dicom_ul::pdu as ul;
use dicom_ul::pdu::{
    AbortRQServiceProviderReason as AbortReason, AssociationRJServiceProviderASCEReason as AcseReason,
    AssociationRJServiceProviderPresentationReason as PresentationReason, AssociationRJServiceUserReason as UserReason,
    PresentationContextResultReason as ResultReason, UserVariableItem,
};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{
    ContextResult, ExtendedNegotiation, PresentationContextId, ProposedContext, Rejection, RoleSelection, UserIdentity,
    UserIdentityType,
};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};

use super::{Abort, AnsweredContext, AssociateAc, AssociateRq, Pdu, UserInformation};
use crate::pdv::{Pdvs, frame_header};

#[cfg(test)]
mod tests;

/// Why a PDU has no counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{_0} has no counterpart")]
pub struct NoCounterpart(pub &'static str);

type Converted<T> = Result<T, NoCounterpart>;

impl TryFrom<&Pdu> for ul::Pdu {
    type Error = NoCounterpart;

    fn try_from(pdu: &Pdu) -> Converted<Self> {
        Ok(match pdu {
            Pdu::AssociateRq(rq) => Self::AssociationRQ(ul_rq(rq)?),
            Pdu::AssociateAc(ac) => Self::AssociationAC(ul_ac(ac)?),
            Pdu::AssociateRj(rejection) => Self::AssociationRJ(ul_rj(*rejection)?),
            Pdu::PDataTf(body) => Self::PData { data: ul_values(body)? },
            Pdu::ReleaseRq => Self::ReleaseRQ,
            Pdu::ReleaseRp => Self::ReleaseRP,
            Pdu::Abort(abort) => Self::AbortRQ {
                source: ul_abort(*abort)?,
            },
        })
    }
}

impl TryFrom<&ul::Pdu> for Pdu {
    type Error = NoCounterpart;

    fn try_from(pdu: &ul::Pdu) -> Converted<Self> {
        Ok(match pdu {
            ul::Pdu::AssociationRQ(rq) => Self::AssociateRq(Box::new(our_rq(rq)?)),
            ul::Pdu::AssociationAC(ac) => Self::AssociateAc(Box::new(our_ac(ac)?)),
            ul::Pdu::AssociationRJ(rj) => Self::AssociateRj(our_rj(rj)),
            ul::Pdu::PData { data } => Self::PDataTf(our_body(data)?),
            ul::Pdu::ReleaseRQ => Self::ReleaseRq,
            ul::Pdu::ReleaseRP => Self::ReleaseRp,
            ul::Pdu::AbortRQ { source } => Self::Abort(our_abort(source)),
            ul::Pdu::Unknown { .. } => return Err(NoCounterpart("an unknown PDU")),
        })
    }
}

fn ul_rq(rq: &AssociateRq) -> Converted<ul::AssociationRQ> {
    let contexts = rq.contexts.iter().map(|context| ul::PresentationContextProposed {
        id: context.id.get(),
        abstract_syntax: context.abstract_syntax.to_string(),
        transfer_syntaxes: context.transfer_syntaxes.iter().map(ToString::to_string).collect(),
    });
    Ok(ul::AssociationRQ {
        protocol_version: rq.protocol_version,
        calling_ae_title: ul_title(&rq.calling_ae_title)?,
        called_ae_title: ul_title(&rq.called_ae_title)?,
        application_context_name: rq.application_context.to_string(),
        presentation_contexts: contexts.collect(),
        user_variables: ul_user(&rq.user)?,
    })
}

fn our_rq(rq: &ul::AssociationRQ) -> Converted<AssociateRq> {
    let contexts = rq.presentation_contexts.iter().map(|context| {
        let syntaxes = context.transfer_syntaxes.iter();
        Ok(ProposedContext {
            id: our_id(context.id)?,
            abstract_syntax: our_class(&context.abstract_syntax)?,
            transfer_syntaxes: syntaxes.map(|syntax| our_syntax(syntax)).collect::<Converted<_>>()?,
        })
    });
    Ok(AssociateRq {
        protocol_version: rq.protocol_version,
        called_ae_title: our_title(&rq.called_ae_title)?,
        calling_ae_title: our_title(&rq.calling_ae_title)?,
        application_context: rq.application_context_name.trim_matches(['\0', ' ']).into(),
        contexts: contexts.collect::<Converted<_>>()?,
        unusable: Vec::new(),
        user: our_user(&rq.user_variables)?,
    })
}

fn ul_ac(ac: &AssociateAc) -> Converted<ul::AssociationAC> {
    let contexts = ac.contexts.iter().map(|context| {
        let syntax = context.transfer_syntax.as_ref();
        Ok(ul::PresentationContextResult {
            id: context.id.get(),
            reason: ul_result(context.result)?,
            transfer_syntax: syntax.ok_or(NoCounterpart("a context without syntax"))?.to_string(),
        })
    });
    Ok(ul::AssociationAC {
        protocol_version: ac.protocol_version,
        calling_ae_title: ul_title(&ac.calling_ae_title)?,
        called_ae_title: ul_title(&ac.called_ae_title)?,
        application_context_name: ac.application_context.to_string(),
        presentation_contexts: contexts.collect::<Converted<_>>()?,
        user_variables: ul_user(&ac.user)?,
    })
}

fn our_ac(ac: &ul::AssociationAC) -> Converted<AssociateAc> {
    let contexts = ac.presentation_contexts.iter().map(|context| {
        Ok(AnsweredContext {
            id: our_id(context.id)?,
            result: our_result(&context.reason),
            transfer_syntax: Some(our_syntax(&context.transfer_syntax)?),
        })
    });
    Ok(AssociateAc {
        protocol_version: ac.protocol_version,
        called_ae_title: our_title(&ac.called_ae_title)?,
        calling_ae_title: our_title(&ac.calling_ae_title)?,
        application_context: ac.application_context_name.trim_matches(['\0', ' ']).into(),
        contexts: contexts.collect::<Converted<_>>()?,
        user: our_user(&ac.user_variables)?,
    })
}

/// In the order in which [`encode`](super::encode) writes them. Items without a variant of their own are `Unknown` ones,
/// which dicom-ul writes as they are.
fn ul_user(user: &UserInformation) -> Converted<Vec<UserVariableItem>> {
    let mut items: Vec<UserVariableItem> = user
        .max_pdu_length
        .map(UserVariableItem::MaxLength)
        .into_iter()
        .collect();
    let class = user.implementation_class_uid.as_deref();
    items.extend(class.map(|uid| UserVariableItem::ImplementationClassUID(uid.to_owned())));
    if user.async_operations.is_some() {
        items.push(unknown(|only| only.async_operations = user.async_operations)?);
    }
    items.extend(user.roles.iter().map(|role| {
        let RoleSelection { scu, scp, .. } = *role;
        let class = role.abstract_syntax.to_string();
        UserVariableItem::ScuScpRoleSelectionSubItem(class, ul::RequestorRoles { scu, scp })
    }));
    let version = user.implementation_version_name.as_deref();
    items.extend(version.map(|name| UserVariableItem::ImplementationVersionName(name.to_owned())));
    items.extend(user.extended.iter().map(|offer| {
        let class = offer.abstract_syntax.to_string();
        UserVariableItem::SopClassExtendedNegotiationSubItem(class, offer.application_information.to_vec())
    }));
    for said in &user.common_extended {
        items.push(unknown(|only| only.common_extended = vec![said.clone()])?);
    }
    if let Some(identity) = &user.user_identity {
        items.push(UserVariableItem::UserIdentityItem(ul_identity(identity)?));
    }
    if user.user_identity_response.is_some() {
        items.push(unknown(|only| {
            only.user_identity_response.clone_from(&user.user_identity_response)
        })?);
    }
    Ok(items)
}

/// The one sub-item that `fill` puts into user information.
fn unknown(fill: impl FnOnce(&mut UserInformation)) -> Converted<UserVariableItem> {
    let mut only = UserInformation::default();
    fill(&mut only);
    let mut written = BytesMut::new();
    super::write::user_information(&mut written, &only).map_err(|_| NoCounterpart("an item that is too long"))?;
    // Behind the user information item's header and the sub-item's own.
    match &*written {
        [_, _, _, _, kind, _, _, _, value @ ..] => Ok(UserVariableItem::Unknown(*kind, value.to_vec())),
        _ => Err(NoCounterpart("an item that is not there")),
    }
}

fn ul_identity(identity: &UserIdentity) -> Converted<ul::UserIdentity> {
    let kind = match identity.kind {
        UserIdentityType::USERNAME => ul::UserIdentityType::Username,
        UserIdentityType::USERNAME_AND_PASSCODE => ul::UserIdentityType::UsernamePassword,
        UserIdentityType::KERBEROS => ul::UserIdentityType::KerberosServiceTicket,
        UserIdentityType::SAML => ul::UserIdentityType::SamlAssertion,
        UserIdentityType::JWT => ul::UserIdentityType::Jwt,
        _ => return Err(NoCounterpart("an unknown kind of user identity")),
    };
    let (primary, secondary) = (identity.primary_field.to_vec(), identity.secondary_field.to_vec());
    Ok(ul::UserIdentity::new(
        identity.positive_response_requested,
        kind,
        primary,
        secondary,
    ))
}

fn our_identity(identity: &ul::UserIdentity) -> Converted<UserIdentity> {
    Ok(UserIdentity {
        kind: match identity.identity_type() {
            ul::UserIdentityType::Username => UserIdentityType::USERNAME,
            ul::UserIdentityType::UsernamePassword => UserIdentityType::USERNAME_AND_PASSCODE,
            ul::UserIdentityType::KerberosServiceTicket => UserIdentityType::KERBEROS,
            ul::UserIdentityType::SamlAssertion => UserIdentityType::SAML,
            ul::UserIdentityType::Jwt => UserIdentityType::JWT,
            _ => return Err(NoCounterpart("an unknown kind of user identity")),
        },
        positive_response_requested: identity.positive_response_requested(),
        primary_field: identity.primary_field().into(),
        secondary_field: identity.secondary_field().into(),
    })
}

fn our_user(items: &[UserVariableItem]) -> Converted<UserInformation> {
    let mut user = UserInformation::default();
    for item in items {
        match item {
            UserVariableItem::MaxLength(length) => user.max_pdu_length = Some(*length),
            UserVariableItem::ImplementationClassUID(uid) => {
                user.implementation_class_uid = Some(uid.trim_matches(['\0', ' ']).into());
            }
            UserVariableItem::ImplementationVersionName(name) => {
                user.implementation_version_name = Some(name.trim_matches(['\0', ' ']).into());
            }
            UserVariableItem::ScuScpRoleSelectionSubItem(class, ul::RequestorRoles { scu, scp }) => {
                user.roles.push(RoleSelection {
                    abstract_syntax: our_class(class)?,
                    scu: *scu,
                    scp: *scp,
                });
            }
            UserVariableItem::SopClassExtendedNegotiationSubItem(class, information) => {
                user.extended.push(ExtendedNegotiation {
                    abstract_syntax: our_class(class)?,
                    application_information: information.as_slice().into(),
                });
            }
            UserVariableItem::UserIdentityItem(identity) => user.user_identity = Some(our_identity(identity)?),
            UserVariableItem::Unknown(kind, value) => {
                super::read::user_item(&mut user, *kind, Bytes::copy_from_slice(value));
            }
        }
    }
    Ok(user)
}

fn ul_title(field: &[u8; 16]) -> Converted<String> {
    let title = AeTitle::try_from(field.as_slice()).map_err(|_| NoCounterpart("an AE title that is none"))?;
    Ok(title.as_str().to_owned())
}

fn our_title(title: &str) -> Converted<[u8; 16]> {
    let title = AeTitle::try_from(title).map_err(|_| NoCounterpart("an AE title that is none"))?;
    Ok(title.to_field())
}

fn our_id(id: u8) -> Converted<PresentationContextId> {
    PresentationContextId::try_from(id).map_err(|_| NoCounterpart("an even presentation context id"))
}

fn our_class(uid: &str) -> Converted<AbstractSyntaxUid> {
    AbstractSyntaxUid::try_from(uid).map_err(|_| NoCounterpart("an abstract syntax that is no UID"))
}

fn our_syntax(uid: &str) -> Converted<TransferSyntaxUid> {
    TransferSyntaxUid::try_from(uid).map_err(|_| NoCounterpart("a transfer syntax that is no UID"))
}

fn ul_result(result: ContextResult) -> Converted<ResultReason> {
    Ok(match result {
        ContextResult::ACCEPTANCE => ResultReason::Acceptance,
        ContextResult::USER_REJECTION => ResultReason::UserRejection,
        ContextResult::NO_REASON => ResultReason::NoReason,
        ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED => ResultReason::AbstractSyntaxNotSupported,
        ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED => ResultReason::TransferSyntaxesNotSupported,
        _ => return Err(NoCounterpart("an unknown context result")),
    })
}

const fn our_result(reason: &ResultReason) -> ContextResult {
    match reason {
        ResultReason::Acceptance => ContextResult::ACCEPTANCE,
        ResultReason::UserRejection => ContextResult::USER_REJECTION,
        ResultReason::NoReason => ContextResult::NO_REASON,
        ResultReason::AbstractSyntaxNotSupported => ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED,
        ResultReason::TransferSyntaxesNotSupported => ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED,
    }
}

fn ul_rj(rejection: Rejection) -> Converted<ul::AssociationRJ> {
    let result = match rejection.result {
        1 => ul::AssociationRJResult::Permanent,
        2 => ul::AssociationRJResult::Transient,
        _ => return Err(NoCounterpart("an unknown rejection result")),
    };
    let source = match (rejection.source, rejection.reason) {
        (1, 1) => ul::AssociationRJSource::ServiceUser(UserReason::NoReasonGiven),
        (1, 2) => ul::AssociationRJSource::ServiceUser(UserReason::ApplicationContextNameNotSupported),
        (1, 3) => ul::AssociationRJSource::ServiceUser(UserReason::CallingAETitleNotRecognized),
        (1, 7) => ul::AssociationRJSource::ServiceUser(UserReason::CalledAETitleNotRecognized),
        (1, code @ (4..=6 | 8..=10)) => ul::AssociationRJSource::ServiceUser(UserReason::Reserved(code)),
        (2, 1) => ul::AssociationRJSource::ServiceProviderASCE(AcseReason::NoReasonGiven),
        (2, 2) => ul::AssociationRJSource::ServiceProviderASCE(AcseReason::ProtocolVersionNotSupported),
        (3, 1) => ul::AssociationRJSource::ServiceProviderPresentation(PresentationReason::TemporaryCongestion),
        (3, 2) => ul::AssociationRJSource::ServiceProviderPresentation(PresentationReason::LocalLimitExceeded),
        (3, code @ (0 | 3..=7)) => {
            ul::AssociationRJSource::ServiceProviderPresentation(PresentationReason::Reserved(code))
        }
        _ => return Err(NoCounterpart("an unknown rejection source or reason")),
    };
    Ok(ul::AssociationRJ { result, source })
}

const fn our_rj(rj: &ul::AssociationRJ) -> Rejection {
    let result = match rj.result {
        ul::AssociationRJResult::Permanent => 1,
        ul::AssociationRJResult::Transient => 2,
    };
    let (source, reason) = match &rj.source {
        ul::AssociationRJSource::ServiceUser(reason) => (
            1,
            match reason {
                UserReason::NoReasonGiven => 1,
                UserReason::ApplicationContextNameNotSupported => 2,
                UserReason::CallingAETitleNotRecognized => 3,
                UserReason::CalledAETitleNotRecognized => 7,
                UserReason::Reserved(code) => *code,
            },
        ),
        ul::AssociationRJSource::ServiceProviderASCE(AcseReason::NoReasonGiven) => (2, 1),
        ul::AssociationRJSource::ServiceProviderASCE(AcseReason::ProtocolVersionNotSupported) => (2, 2),
        ul::AssociationRJSource::ServiceProviderPresentation(reason) => (
            3,
            match reason {
                PresentationReason::TemporaryCongestion => 1,
                PresentationReason::LocalLimitExceeded => 2,
                PresentationReason::Reserved(code) => *code,
            },
        ),
    };
    Rejection { result, source, reason }
}

/// A reason counts only when the source is the provider; the others' is dropped.
fn ul_abort(abort: Abort) -> Converted<ul::AbortRQSource> {
    let reason = match (abort.source, abort.reason) {
        (0, _) => return Ok(ul::AbortRQSource::ServiceUser),
        (1, _) => return Ok(ul::AbortRQSource::Reserved),
        (2, 0) => AbortReason::ReasonNotSpecified,
        (2, 1) => AbortReason::UnrecognizedPdu,
        (2, 2) => AbortReason::UnexpectedPdu,
        (2, 3) => AbortReason::Reserved,
        (2, 4) => AbortReason::UnrecognizedPduParameter,
        (2, 5) => AbortReason::UnexpectedPduParameter,
        (2, 6) => AbortReason::InvalidPduParameter,
        _ => return Err(NoCounterpart("an unknown abort source or reason")),
    };
    Ok(ul::AbortRQSource::ServiceProvider(reason))
}

const fn our_abort(source: &ul::AbortRQSource) -> Abort {
    let reason = match source {
        ul::AbortRQSource::ServiceUser => return Abort::USER,
        ul::AbortRQSource::Reserved => return Abort { source: 1, reason: 0 },
        ul::AbortRQSource::ServiceProvider(reason) => reason,
    };
    let reason = match reason {
        AbortReason::ReasonNotSpecified => 0,
        AbortReason::UnrecognizedPdu => 1,
        AbortReason::UnexpectedPdu => 2,
        AbortReason::Reserved => 3,
        AbortReason::UnrecognizedPduParameter => 4,
        AbortReason::UnexpectedPduParameter => 5,
        AbortReason::InvalidPduParameter => 6,
    };
    Abort { source: 2, reason }
}

fn ul_values(body: &Bytes) -> Converted<Vec<ul::PDataValue>> {
    let mut pdvs = Pdvs::new(body.clone());
    let mut values = Vec::new();
    while let Some(pdv) = pdvs.next_pdv().map_err(|_| NoCounterpart("a damaged PDV"))? {
        values.push(ul::PDataValue {
            presentation_context_id: pdv.context.get(),
            value_type: if pdv.is_command {
                ul::PDataValueType::Command
            } else {
                ul::PDataValueType::Data
            },
            is_last: pdv.is_last,
            data: pdv.data.to_vec(),
        });
    }
    Ok(values)
}

fn our_body(values: &[ul::PDataValue]) -> Converted<Bytes> {
    let mut body = BytesMut::new();
    for value in values {
        let is_command = value.value_type == ul::PDataValueType::Command;
        let context = our_id(value.presentation_context_id)?;
        // Behind the PDU's own header.
        let [_, _, _, _, _, _, pdv_header @ ..] = frame_header(context, is_command, value.is_last, value.data.len());
        body.put_slice(&pdv_header);
        body.put_slice(&value.data);
    }
    Ok(body.freeze())
}
