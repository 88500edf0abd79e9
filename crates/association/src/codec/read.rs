//! Bytes to PDUs.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use bytes::{Buf as _, Bytes};
use packhorse_dicom::negotiation::{
    AsyncOperationsWindow, CommonExtended, ContextResult, ExtendedNegotiation, PresentationContextId, ProposedContext,
    Rejection, RoleSelection, UserIdentity, UserIdentityType,
};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};

use super::{
    ALL_TRANSFER_SYNTAXES_MAX, Abort, AnsweredContext, AssociateAc, AssociateRq, CONTEXTS_MAX, Pdu,
    TRANSFER_SYNTAXES_MAX, USER_IDENTITY_LEN_MAX, USER_ITEMS_MAX, UserInformation, VERSION_NAME_LEN_MAX, Violation,
};

/// Reads the PDU of type `pdu_type` whose bytes behind the 6-byte header are `body`.
///
/// # Errors
/// [`Violation`] when the bytes are no such PDU.
pub fn decode(pdu_type: u8, body: Bytes) -> Result<Pdu, Violation> {
    Ok(match pdu_type {
        1 => Pdu::AssociateRq(Box::new(associate_rq(body)?)),
        2 => Pdu::AssociateAc(Box::new(associate_ac(body)?)),
        3 => {
            let [_, result, source, reason] = four(&body, "A-ASSOCIATE-RJ")?;
            Pdu::AssociateRj(Rejection { result, source, reason })
        }
        4 => Pdu::PDataTf(body),
        5 => Pdu::ReleaseRq,
        6 => Pdu::ReleaseRp,
        7 => {
            let [_, _, source, reason] = four(&body, "A-ABORT")?;
            Pdu::Abort(Abort { source, reason })
        }
        other => return Err(Violation::UnknownPdu(other)),
    })
}

fn four(body: &[u8], what: &'static str) -> Result<[u8; 4], Violation> {
    body.first_chunk().copied().ok_or(Violation::Truncated(what))
}

/// The fields both A-ASSOCIATE PDUs begin with.
struct Opening {
    protocol_version: u16,
    called: [u8; 16],
    calling: [u8; 16],
}

fn opening(body: &mut Bytes) -> Result<Opening, Violation> {
    if body.len() < 68 {
        return Err(Violation::Truncated("the fixed part of an A-ASSOCIATE PDU"));
    }
    let protocol_version = body.get_u16();
    body.advance(2);
    let (mut called, mut calling) = ([0; 16], [0; 16]);
    body.copy_to_slice(&mut called);
    body.copy_to_slice(&mut calling);
    body.advance(32);
    Ok(Opening {
        protocol_version,
        called,
        calling,
    })
}

fn associate_rq(mut body: Bytes) -> Result<AssociateRq, Violation> {
    let Opening {
        protocol_version,
        called,
        calling,
    } = opening(&mut body)?;
    let mut rq = AssociateRq {
        protocol_version,
        called_ae_title: called,
        calling_ae_title: calling,
        application_context: "".into(),
        contexts: Vec::new(),
        unusable: Vec::new(),
        user: UserInformation::default(),
    };
    let mut syntaxes = 0_usize;
    while let Some((kind, item)) = next_item(&mut body)? {
        match kind {
            0x10 => rq.application_context = text(&item),
            0x20 => {
                let (id, context) = proposed_context(item, ALL_TRANSFER_SYNTAXES_MAX.saturating_sub(syntaxes))?;
                syntaxes =
                    syntaxes.saturating_add(context.as_ref().map_or(0, |context| context.transfer_syntaxes.len()));
                // So there are 128 at most: there are no more odd ids.
                if rq.unusable.contains(&id) || rq.contexts.iter().any(|other| other.id == id) {
                    return Err(Violation::Invalid("two presentation contexts have one id"));
                }
                match context {
                    Some(context) => rq.contexts.push(context),
                    None => rq.unusable.push(id),
                }
            }
            0x50 => rq.user = user_information(item)?,
            _ => {}
        }
    }
    if rq.contexts.is_empty() && rq.unusable.is_empty() {
        return Err(Violation::Invalid("an A-ASSOCIATE-RQ without presentation contexts"));
    }
    Ok(rq)
}

fn associate_ac(mut body: Bytes) -> Result<AssociateAc, Violation> {
    let Opening {
        protocol_version,
        called,
        calling,
    } = opening(&mut body)?;
    let mut ac = AssociateAc {
        protocol_version,
        called_ae_title: called,
        calling_ae_title: calling,
        application_context: "".into(),
        contexts: Vec::new(),
        user: UserInformation::default(),
    };
    while let Some((kind, item)) = next_item(&mut body)? {
        match kind {
            0x10 => ac.application_context = text(&item),
            0x21 if ac.contexts.len() < CONTEXTS_MAX => ac.contexts.push(answered_context(item)?),
            0x50 => ac.user = user_information(item)?,
            _ => {}
        }
    }
    Ok(ac)
}

/// The next item: type, reserved byte, 16-bit length, value. `None` at the end.
fn next_item(bytes: &mut Bytes) -> Result<Option<(u8, Bytes)>, Violation> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() < 4 {
        return Err(Violation::Truncated("an item's header"));
    }
    let kind = bytes.get_u8();
    bytes.advance(1);
    let length = usize::from(bytes.get_u16());
    if length > bytes.len() {
        return Err(Violation::Truncated("an item"));
    }
    Ok(Some((kind, bytes.split_to(length))))
}

/// A name without its padding: trailing NULs and outer spaces. Bytes that are no ASCII become `?`.
fn text(bytes: &[u8]) -> Box<str> {
    let shown: String = bytes
        .iter()
        .map(|byte| {
            if matches!(byte, b' '..=b'~') {
                char::from(*byte)
            } else if *byte == 0 {
                '\0'
            } else {
                '?'
            }
        })
        .collect();
    shown.trim_matches(['\0', ' ']).into()
}

/// The context's id, and the context unless its abstract syntax is none; with `most` syntaxes.
fn proposed_context(
    mut item: Bytes,
    most: usize,
) -> Result<(PresentationContextId, Option<ProposedContext>), Violation> {
    let id = context_id(&mut item)?;
    let mut abstract_syntax = None;
    let mut transfer_syntaxes = Vec::new();
    while let Some((kind, value)) = next_item(&mut item)? {
        match kind {
            0x30 => abstract_syntax = AbstractSyntaxUid::try_from(&*value).ok(),
            0x40 if transfer_syntaxes.len() < TRANSFER_SYNTAXES_MAX.min(most) => {
                transfer_syntaxes.extend(TransferSyntaxUid::try_from(&*value));
            }
            _ => {}
        }
    }
    let context = abstract_syntax.map(|abstract_syntax| ProposedContext {
        id,
        abstract_syntax,
        transfer_syntaxes,
    });
    Ok((id, context))
}

/// The id and the three bytes behind it, of which the second is the result in an A-ASSOCIATE-AC.
fn context_id(item: &mut Bytes) -> Result<PresentationContextId, Violation> {
    if item.len() < 4 {
        return Err(Violation::Truncated("a presentation context"));
    }
    let id = PresentationContextId::try_from(item.get_u8());
    item.advance(3);
    id.map_err(|_| Violation::Invalid("a presentation context id is even"))
}

fn answered_context(mut item: Bytes) -> Result<AnsweredContext, Violation> {
    let result = ContextResult(
        item.get(2)
            .copied()
            .ok_or(Violation::Truncated("a presentation context"))?,
    );
    let id = context_id(&mut item)?;
    let mut transfer_syntax = None;
    while let Some((kind, value)) = next_item(&mut item)? {
        if kind == 0x40 {
            transfer_syntax = TransferSyntaxUid::try_from(&*value).ok();
        }
    }
    Ok(AnsweredContext {
        id,
        result,
        transfer_syntax,
    })
}

fn user_information(mut item: Bytes) -> Result<UserInformation, Violation> {
    let mut user = UserInformation::default();
    while let Some((kind, value)) = next_item(&mut item)? {
        user_item(&mut user, kind, value);
    }
    Ok(user)
}

/// One sub-item of the user information. What is cut short in one, or unknown, is passed over.
pub(super) fn user_item(user: &mut UserInformation, kind: u8, mut value: Bytes) {
    match kind {
        0x51 => user.max_pdu_length = value.try_get_u32().ok(),
        0x52 => user.implementation_class_uid = Some(text(value.get(..64).unwrap_or(&value))),
        0x53 => user.async_operations = async_operations(&value),
        0x54 if user.roles.len() < USER_ITEMS_MAX => user.roles.extend(role_selection(value)),
        0x55 => {
            let name = value.get(..VERSION_NAME_LEN_MAX).unwrap_or(&value);
            user.implementation_version_name = Some(text(name));
        }
        0x56 if user.extended.len() < USER_ITEMS_MAX => user.extended.extend(extended(value)),
        0x57 => {
            let items = user
                .common_extended
                .iter()
                .map(|said| said.related_general.len().saturating_add(1));
            let left = USER_ITEMS_MAX.saturating_sub(items.sum());
            if left > 0 {
                user.common_extended.extend(common_extended(value, left));
            }
        }
        0x58 => user.user_identity = user_identity(value),
        0x59 => user.user_identity_response = counted(&mut value),
        _ => {}
    }
}

fn async_operations(value: &[u8]) -> Option<AsyncOperationsWindow> {
    let [a, b, c, d] = value.first_chunk().copied()?;
    Some(AsyncOperationsWindow {
        invoked: u16::from_be_bytes([a, b]),
        performed: u16::from_be_bytes([c, d]),
    })
}

/// A value behind its 16-bit length; `None` when it is cut short, which costs only this sub-item.
fn counted(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn role_selection(mut value: Bytes) -> Option<RoleSelection> {
    let uid = counted(&mut value)?;
    let abstract_syntax = AbstractSyntaxUid::try_from(&*uid).ok()?;
    let [scu, scp] = value.first_chunk().copied()?;
    Some(RoleSelection {
        abstract_syntax,
        scu: scu != 0,
        scp: scp != 0,
    })
}

fn extended(mut value: Bytes) -> Option<ExtendedNegotiation> {
    let class = counted(&mut value)?;
    Some(ExtendedNegotiation {
        abstract_syntax: AbstractSyntaxUid::try_from(&*class).ok()?,
        application_information: value.as_ref().into(),
    })
}

/// The related general classes, of which `most` are read, may be absent: older writers knew none.
fn common_extended(mut value: Bytes, most: usize) -> Option<CommonExtended> {
    let class = counted(&mut value)?;
    let abstract_syntax = AbstractSyntaxUid::try_from(&*class).ok()?;
    let service_class = text(&counted(&mut value)?);
    let mut related = counted(&mut value).unwrap_or_default();
    let mut related_general = Vec::new();
    while let Some(uid) = counted(&mut related) {
        if related_general.len() < most {
            related_general.extend(AbstractSyntaxUid::try_from(&*uid));
        }
    }
    Some(CommonExtended {
        abstract_syntax,
        service_class,
        related_general,
    })
}

fn user_identity(mut value: Bytes) -> Option<UserIdentity> {
    let kind = UserIdentityType(value.try_get_u8().ok()?);
    let positive_response_requested = value.try_get_u8().ok()? != 0;
    let primary = counted(&mut value)?;
    // Absent where only the kind with a passcode has one.
    let secondary = counted(&mut value).unwrap_or_default();
    (primary.len() <= USER_IDENTITY_LEN_MAX && secondary.len() <= USER_IDENTITY_LEN_MAX).then(|| UserIdentity {
        kind,
        positive_response_requested,
        primary_field: primary.as_ref().into(),
        secondary_field: secondary.as_ref().into(),
    })
}
