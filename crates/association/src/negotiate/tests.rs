use bytes::BytesMut;
use packhorse_dicom::negotiation::PresentationContextId;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};

use super::*;
use crate::codec::{self, RoleSelection};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

fn role(class: &str) -> RoleSelection {
    RoleSelection {
        abstract_syntax: AbstractSyntaxUid::try_from(class).unwrap(),
        scu: true,
        scp: true,
    }
}

/// Proposes CT in Implicit VR Little Endian.
fn request(roles: Vec<RoleSelection>) -> AssociateRq {
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from(CT).unwrap(),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from("1.2.840.10008.1.2").unwrap()],
    };
    let title = |text| AeTitle::try_from(text).unwrap();
    let mut rq = request_pdu(&title("A"), &title("B"), vec![context], MAX_PDU_LENGTH);
    rq.user.roles = roles;
    rq
}

fn answer(rq: &AssociateRq) -> Pdu {
    answer_pdu(rq, &Answer::Accept(Vec::new()), MAX_PDU_LENGTH)
}

#[test]
fn a_role_is_answered_once_for_a_proposed_class_and_never_as_scp() {
    let Pdu::AssociateAc(ac) = answer(&request(vec![role(CT), role("1.2.3"), role(CT)])) else {
        panic!()
    };
    let granted = RoleSelection { scp: false, ..role(CT) };
    assert_eq!(ac.user.roles, [granted]);
}

#[test]
fn a_request_full_of_role_items_has_an_answer() {
    // 7 000 items of 9 bytes: as many as a user information item holds.
    let rq = request(vec![role("1"); 7000]);
    let mut wire = BytesMut::new();
    codec::encode(&Pdu::AssociateRq(Box::new(rq)), &mut wire);
    let Ok(Some(Pdu::AssociateRq(read))) = codec::next_pdu(&mut wire, MAX_PDU_LENGTH) else {
        panic!()
    };
    assert_eq!(read.user.roles.len(), 7000);
    let mut out = BytesMut::new();
    codec::encode(&answer(&read), &mut out);
    assert!(out.len() < 1000);
}

#[test]
fn a_context_that_the_decision_forgot_or_answered_wrongly_is_rejected() {
    let rq = request(Vec::new());
    let id = rq.contexts[0].id;
    let unproposed = TransferSyntaxUid::try_from("1.2.840.10008.1.2.1").unwrap();
    for (answers, result) in [
        (vec![], ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED),
        (
            vec![(id, ContextAnswer::Accepted(unproposed))],
            ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED,
        ),
        (
            vec![(id, ContextAnswer::Rejected(ContextResult::ACCEPTANCE))],
            ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED,
        ),
    ] {
        let Pdu::AssociateAc(ac) = answer_pdu(&rq, &Answer::Accept(answers), MAX_PDU_LENGTH) else {
            panic!()
        };
        assert_eq!(ac.contexts[0].result, result);
    }
}

#[test]
fn our_own_maximum_is_never_zero_nor_without_bound() {
    assert_eq!(own_max_pdu_length(0), 1024 * 1024);
    assert_eq!(own_max_pdu_length(10), 4096);
    assert_eq!(own_max_pdu_length(MAX_PDU_LENGTH), MAX_PDU_LENGTH);
    assert_eq!(own_max_pdu_length(u32::MAX), 1024 * 1024);
}
