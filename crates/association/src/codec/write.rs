//! PDUs to bytes.

use bytes::{BufMut as _, BytesMut};
use packhorse_dicom::negotiation::{ContextResult, ProposedContext};

use super::{AnsweredContext, Pdu, RoleSelection, UserInformation};

/// Appends the PDU's bytes, header included, to `out`.
pub fn encode(pdu: &Pdu, out: &mut BytesMut) {
    match pdu {
        Pdu::AssociateRq(rq) => framed(out, 1, |out| {
            opening(out, rq.protocol_version, &rq.called_ae_title, &rq.calling_ae_title);
            item(out, 0x10, |out| out.put_slice(rq.application_context.as_bytes()));
            rq.contexts.iter().for_each(|context| proposed_context(out, context));
            user_information(out, &rq.user);
        }),
        Pdu::AssociateAc(ac) => framed(out, 2, |out| {
            opening(out, ac.protocol_version, &ac.called_ae_title, &ac.calling_ae_title);
            item(out, 0x10, |out| out.put_slice(ac.application_context.as_bytes()));
            ac.contexts.iter().for_each(|context| answered_context(out, context));
            user_information(out, &ac.user);
        }),
        Pdu::AssociateRj(rejection) => {
            framed(out, 3, |out| {
                out.put_slice(&[0, rejection.result, rejection.source, rejection.reason])
            });
        }
        Pdu::PDataTf(body) => framed(out, 4, |out| out.put_slice(body)),
        Pdu::ReleaseRq => framed(out, 5, |out| out.put_u32(0)),
        Pdu::ReleaseRp => framed(out, 6, |out| out.put_u32(0)),
        Pdu::Abort(abort) => framed(out, 7, |out| out.put_slice(&[0, 0, abort.source, abort.reason])),
    }
}

fn framed(out: &mut BytesMut, pdu_type: u8, body: impl FnOnce(&mut BytesMut)) {
    let mut inner = BytesMut::new();
    body(&mut inner);
    out.put_slice(&[pdu_type, 0]);
    out.put_u32(u32::try_from(inner.len()).expect("bounded by what was asked to be written"));
    out.put_slice(&inner);
}

fn opening(out: &mut BytesMut, protocol_version: u16, called: &[u8; 16], calling: &[u8; 16]) {
    out.put_u16(protocol_version);
    out.put_u16(0);
    out.put_slice(called);
    out.put_slice(calling);
    out.put_bytes(0, 32);
}

fn item(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    let mut inner = BytesMut::new();
    body(&mut inner);
    out.put_slice(&[kind, 0]);
    out.put_u16(u16::try_from(inner.len()).expect("an item of ours is far below 64 KiB"));
    out.put_slice(&inner);
}

fn proposed_context(out: &mut BytesMut, context: &ProposedContext) {
    item(out, 0x20, |out| {
        out.put_slice(&[context.id.get(), 0, 0, 0]);
        item(out, 0x30, |out| {
            out.put_slice(context.abstract_syntax.as_str().as_bytes())
        });
        for syntax in &context.transfer_syntaxes {
            item(out, 0x40, |out| out.put_slice(syntax.as_str().as_bytes()));
        }
    });
}

fn answered_context(out: &mut BytesMut, context: &AnsweredContext) {
    item(out, 0x21, |out| {
        let ContextResult(result) = context.result;
        out.put_slice(&[context.id.get(), 0, result, 0]);
        // In a rejected context not significant, but some requestors fail when it is absent.
        let syntax = context
            .transfer_syntax
            .as_ref()
            .map_or("1.2.840.10008.1.2", |syntax| syntax.as_str());
        item(out, 0x40, |out| out.put_slice(syntax.as_bytes()));
    });
}

fn user_information(out: &mut BytesMut, user: &UserInformation) {
    item(out, 0x50, |out| {
        if let Some(length) = user.max_pdu_length {
            item(out, 0x51, |out| out.put_u32(length));
        }
        if let Some(uid) = &user.implementation_class_uid {
            item(out, 0x52, |out| out.put_slice(uid.as_bytes()));
        }
        user.roles.iter().for_each(|role| role_selection(out, role));
        if let Some(name) = &user.implementation_version_name {
            item(out, 0x55, |out| out.put_slice(name.as_bytes()));
        }
    });
}

fn role_selection(out: &mut BytesMut, role: &RoleSelection) {
    item(out, 0x54, |out| {
        let uid = role.abstract_syntax.as_str().as_bytes();
        out.put_u16(u16::try_from(uid.len()).expect("a UID has at most 64 bytes"));
        out.put_slice(uid);
        out.put_slice(&[u8::from(role.scu), u8::from(role.scp)]);
    });
}
