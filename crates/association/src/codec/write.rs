//! PDUs to bytes.

use bytes::{BufMut as _, BytesMut};
use packhorse_dicom::negotiation::{
    CommonExtended, ContextResult, ExtendedNegotiation, ProposedContext, RoleSelection, UserIdentity,
};

use super::{AnsweredContext, Pdu, UserInformation};

/// Something is longer than its length field can say; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("item {kind:02X}H would have {length} bytes, its length field says 65535 at most")]
pub struct TooLong {
    /// The item's type (PS3.8 §9.3.2, PS3.7 Annex D), or the PDU's.
    pub kind: u8,
    /// Its length in bytes.
    pub length: usize,
}

type Written = Result<(), TooLong>;

/// Appends the PDU's bytes, header included, to `out`.
///
/// # Errors
/// [`TooLong`] when an item, most likely the user information with its user identity, does not fit into its length field.
pub fn encode(pdu: &Pdu, out: &mut BytesMut) -> Result<(), TooLong> {
    match pdu {
        Pdu::AssociateRq(rq) => framed(out, 1, |out| {
            opening(out, rq.protocol_version, &rq.called_ae_title, &rq.calling_ae_title);
            item(out, 0x10, |out| put(out, rq.application_context.as_bytes()))?;
            rq.contexts
                .iter()
                .try_for_each(|context| proposed_context(out, context))?;
            user_information(out, &rq.user)
        }),
        Pdu::AssociateAc(ac) => framed(out, 2, |out| {
            opening(out, ac.protocol_version, &ac.called_ae_title, &ac.calling_ae_title);
            item(out, 0x10, |out| put(out, ac.application_context.as_bytes()))?;
            ac.contexts
                .iter()
                .try_for_each(|context| answered_context(out, context))?;
            user_information(out, &ac.user)
        }),
        Pdu::AssociateRj(rejection) => framed(out, 3, |out| {
            put(out, &[0, rejection.result, rejection.source, rejection.reason])
        }),
        Pdu::PDataTf(body) => framed(out, 4, |out| put(out, body)),
        Pdu::ReleaseRq => framed(out, 5, |out| put(out, &[0; 4])),
        Pdu::ReleaseRp => framed(out, 6, |out| put(out, &[0; 4])),
        Pdu::Abort(abort) => framed(out, 7, |out| put(out, &[0, 0, abort.source, abort.reason])),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the last step of those that can fail")]
fn put(out: &mut BytesMut, bytes: &[u8]) -> Written {
    out.put_slice(bytes);
    Ok(())
}

fn framed(out: &mut BytesMut, pdu_type: u8, body: impl FnOnce(&mut BytesMut) -> Written) -> Written {
    let mut inner = BytesMut::new();
    body(&mut inner)?;
    let length = u32::try_from(inner.len()).map_err(|_| TooLong {
        kind: pdu_type,
        length: inner.len(),
    })?;
    out.put_slice(&[pdu_type, 0]);
    out.put_u32(length);
    put(out, &inner)
}

fn opening(out: &mut BytesMut, protocol_version: u16, called: &[u8; 16], calling: &[u8; 16]) {
    out.put_u16(protocol_version);
    out.put_u16(0);
    out.put_slice(called);
    out.put_slice(calling);
    out.put_bytes(0, 32);
}

/// Type, reserved byte, 16-bit length, value: all items and sub-items are of this form.
fn item(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut) -> Written) -> Written {
    let mut inner = BytesMut::new();
    body(&mut inner)?;
    let length = inner.len();
    let length = u16::try_from(length).map_err(|_| TooLong { kind, length })?;
    out.put_slice(&[kind, 0]);
    out.put_u16(length);
    put(out, &inner)
}

fn proposed_context(out: &mut BytesMut, context: &ProposedContext) -> Written {
    item(out, 0x20, |out| {
        out.put_slice(&[context.id.get(), 0, 0, 0]);
        item(out, 0x30, |out| put(out, context.abstract_syntax.as_str().as_bytes()))?;
        let mut syntaxes = context.transfer_syntaxes.iter();
        syntaxes.try_for_each(|syntax| item(out, 0x40, |out| put(out, syntax.as_str().as_bytes())))
    })
}

fn answered_context(out: &mut BytesMut, context: &AnsweredContext) -> Written {
    item(out, 0x21, |out| {
        let ContextResult(result) = context.result;
        out.put_slice(&[context.id.get(), 0, result, 0]);
        // In a rejected context not significant, but some requestors fail when it is absent.
        let syntax = context
            .transfer_syntax
            .as_ref()
            .map_or("1.2.840.10008.1.2", |syntax| syntax.as_str());
        item(out, 0x40, |out| put(out, syntax.as_bytes()))
    })
}

/// In the order of their types, as PS3.8 Annex D has them.
pub(super) fn user_information(out: &mut BytesMut, user: &UserInformation) -> Written {
    item(out, 0x50, |out| {
        if let Some(length) = user.max_pdu_length {
            item(out, 0x51, |out| put(out, &length.to_be_bytes()))?;
        }
        if let Some(uid) = &user.implementation_class_uid {
            item(out, 0x52, |out| put(out, uid.as_bytes()))?;
        }
        if let Some(window) = &user.async_operations {
            item(out, 0x53, |out| {
                out.put_u16(window.invoked);
                put(out, &window.performed.to_be_bytes())
            })?;
        }
        user.roles.iter().try_for_each(|role| role_selection(out, role))?;
        if let Some(name) = &user.implementation_version_name {
            item(out, 0x55, |out| put(out, name.as_bytes()))?;
        }
        user.extended.iter().try_for_each(|offer| extended(out, offer))?;
        user.common_extended
            .iter()
            .try_for_each(|said| common_extended(out, said))?;
        if let Some(identity) = &user.user_identity {
            user_identity(out, identity)?;
        }
        match &user.user_identity_response {
            Some(response) => item(out, 0x59, |out| counted(out, 0x59, response)),
            None => Ok(()),
        }
    })
}

/// A value behind its 16-bit length.
fn counted(out: &mut BytesMut, kind: u8, value: &[u8]) -> Written {
    let length = value.len();
    out.put_u16(u16::try_from(length).map_err(|_| TooLong { kind, length })?);
    put(out, value)
}

fn role_selection(out: &mut BytesMut, role: &RoleSelection) -> Written {
    item(out, 0x54, |out| {
        counted(out, 0x54, role.abstract_syntax.as_str().as_bytes())?;
        put(out, &[u8::from(role.scu), u8::from(role.scp)])
    })
}

fn extended(out: &mut BytesMut, offer: &ExtendedNegotiation) -> Written {
    item(out, 0x56, |out| {
        counted(out, 0x56, offer.abstract_syntax.as_str().as_bytes())?;
        put(out, &offer.application_information)
    })
}

fn common_extended(out: &mut BytesMut, said: &CommonExtended) -> Written {
    item(out, 0x57, |out| {
        counted(out, 0x57, said.abstract_syntax.as_str().as_bytes())?;
        counted(out, 0x57, said.service_class.as_bytes())?;
        let mut related = BytesMut::new();
        let mut classes = said.related_general.iter();
        classes.try_for_each(|class| counted(&mut related, 0x57, class.as_str().as_bytes()))?;
        counted(out, 0x57, &related)
    })
}

fn user_identity(out: &mut BytesMut, identity: &UserIdentity) -> Written {
    item(out, 0x58, |out| {
        out.put_slice(&[identity.kind.0, u8::from(identity.positive_response_requested)]);
        counted(out, 0x58, &identity.primary_field)?;
        counted(out, 0x58, &identity.secondary_field)
    })
}
