use bytes::{Bytes, BytesMut};
use packhorse_dicom::negotiation::{
    CommonExtended, ExtendedNegotiation, PresentationContextId, UserIdentity, UserIdentityType,
};
use packhorse_dicom::uid::TransferSyntaxUid;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::codec::{self, USER_ITEMS_MAX};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

fn class(uid: &str) -> AbstractSyntaxUid {
    AbstractSyntaxUid::try_from(uid).unwrap()
}

fn role(uid: &str, scu: bool, scp: bool) -> RoleSelection {
    RoleSelection {
        abstract_syntax: class(uid),
        scu,
        scp,
    }
}

fn ours() -> UserInformation {
    UserInformation::ours(MAX_PDU_LENGTH)
}

/// Proposes CT in Implicit VR Little Endian.
fn request(fill: impl FnOnce(&mut UserInformation)) -> AssociateRq {
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: class(CT),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from("1.2.840.10008.1.2").unwrap()],
    };
    let title = |text| AeTitle::try_from(text).unwrap();
    let mut rq = request_pdu(&title("A"), &title("B"), vec![context], ours());
    fill(&mut rq.user);
    rq
}

/// What is answered when the user information says `answer`.
fn answered_user(rq: &AssociateRq, answer: UserInformation) -> UserInformation {
    match answer_pdu(rq, &Answer::Accept(Vec::new()), answer) {
        Pdu::AssociateAc(ac) => ac.user,
        other => panic!("{}", other.name()),
    }
}

fn roles_answered(asked: Vec<RoleSelection>, ours_roles: Vec<RoleSelection>) -> Vec<RoleSelection> {
    let rq = request(|user| user.roles = asked);
    let answer = UserInformation {
        roles: ours_roles,
        ..ours()
    };
    answered_user(&rq, answer).roles
}

#[test]
fn a_role_is_answered_once_for_a_proposed_class_and_by_itself_never_as_scp() {
    let asked = vec![role(CT, true, true), role("1.2.3", true, true), role(CT, true, true)];
    assert_eq!(roles_answered(asked, vec![]), [role(CT, true, false)]);
}

#[test]
fn the_scp_role_is_granted_by_choice_and_only_when_it_was_asked_for() {
    let granted = || vec![role(CT, false, true), role(MR, true, true)];
    assert_eq!(
        roles_answered(vec![role(CT, true, true)], granted()),
        [role(CT, false, true)]
    );
    assert_eq!(
        roles_answered(vec![role(CT, true, false)], granted()),
        [role(CT, false, false)]
    );
    assert_eq!(roles_answered(vec![], granted()), []);
}

#[test]
fn a_request_full_of_role_items_has_an_answer() {
    // 7 000 items of 9 bytes: as many as a user information item holds.
    let rq = request(|user| user.roles = vec![role("1", true, true); 7000]);
    let mut wire = BytesMut::new();
    codec::encode(&Pdu::AssociateRq(Box::new(rq)), &mut wire).unwrap();
    let Ok(Some(Pdu::AssociateRq(read))) = codec::next_pdu(&mut wire, MAX_PDU_LENGTH) else {
        panic!()
    };
    assert_eq!(read.user.roles.len(), USER_ITEMS_MAX);
    assert_eq!(answered_user(&read, ours()).roles, []);
}

#[test]
fn extended_negotiation_is_answered_by_choice_for_what_was_offered() {
    let item = |uid, byte| ExtendedNegotiation {
        abstract_syntax: class(uid),
        application_information: vec![byte].into(),
    };
    let rq = request(|user| user.extended = vec![item(CT, 1), item(MR, 1)]);
    assert_eq!(answered_user(&rq, ours()).extended, []);
    let answer = UserInformation {
        extended: vec![item(CT, 2), item(MR, 2), item("1.2.3", 2)],
        ..ours()
    };
    // MR has no presentation context.
    assert_eq!(answered_user(&rq, answer).extended, [item(CT, 2)]);
}

#[test]
fn a_window_is_answered_by_choice_and_never_wider_than_asked() {
    let window = |invoked, performed| Some(AsyncOperationsWindow { invoked, performed });
    let answer = |asked, granted| {
        let rq = request(|user| user.async_operations = asked);
        let answer = UserInformation {
            async_operations: granted,
            ..ours()
        };
        answered_user(&rq, answer).async_operations
    };
    assert_eq!(answer(window(8, 1), None), None);
    assert_eq!(answer(None, window(8, 1)), None);
    assert_eq!(answer(window(8, 1), window(0, 1)), window(8, 1));
    assert_eq!(answer(window(0, 0), window(4, 1)), window(4, 1));
}

#[test]
fn the_window_of_an_association_is_what_both_sides_have() {
    let window = |invoked, performed| AsyncOperationsWindow { invoked, performed };
    let granted = |asked, answered| {
        let Pdu::AssociateAc(mut ac) = answer_pdu(&request(|_| ()), &Answer::Accept(vec![]), ours()) else {
            panic!()
        };
        ac.user.async_operations = answered;
        granted_window(asked, &ac)
    };
    assert_eq!(granted(Some(window(8, 1)), Some(window(3, 1))), window(3, 1));
    // Absurd answers: more than was asked for, or to nothing.
    assert_eq!(granted(Some(window(8, 1)), Some(window(99, 9))), window(8, 1));
    assert_eq!(granted(None, Some(window(99, 9))), window(1, 1));
    assert_eq!(granted(Some(window(8, 1)), None), window(1, 1));
}

#[test]
fn a_user_identity_is_answered_when_it_asks_for_it() {
    for kind in 1..=5 {
        for positive_response_requested in [false, true] {
            let rq = request(|user| {
                user.user_identity = Some(UserIdentity {
                    kind: UserIdentityType(kind),
                    positive_response_requested,
                    primary_field: b"primary".as_slice().into(),
                    secondary_field: (if kind == 2 { b"secret".as_slice() } else { b"" }).into(),
                });
            });
            let answer = UserInformation {
                user_identity_response: Some(Bytes::from_static(b"ticket")),
                ..ours()
            };
            let mut wire = BytesMut::new();
            codec::encode(&Pdu::AssociateRq(Box::new(rq.clone())), &mut wire).unwrap();
            assert_eq!(
                codec::next_pdu(&mut wire, 0),
                Ok(Some(Pdu::AssociateRq(Box::new(rq.clone()))))
            );
            let proposal = proposal(&rq, IpAddr::from([127, 0, 0, 1]), "").unwrap();
            assert_eq!(proposal.user_identity, rq.user.user_identity);
            let user = answered_user(&rq, answer);
            assert_eq!(user.user_identity_response.is_some(), positive_response_requested);
            assert_eq!(user.user_identity, None);
        }
    }
}

#[test]
fn a_user_identity_that_does_not_fit_is_an_error_and_not_a_torn_pdu() {
    let rq = request(|user| {
        user.user_identity = Some(UserIdentity {
            kind: UserIdentityType::JWT,
            positive_response_requested: false,
            primary_field: vec![0; 70_000].into(),
            secondary_field: [].into(),
        });
    });
    let mut wire = BytesMut::new();
    let error = codec::encode(&Pdu::AssociateRq(Box::new(rq)), &mut wire).unwrap_err();
    assert_eq!((error.kind, error.length, wire.len()), (0x58, 70_000, 0));
}

#[test]
fn an_abstract_syntax_that_is_none_costs_only_its_context() {
    let mut wire = BytesMut::new();
    codec::encode(&Pdu::AssociateRq(Box::new(request(|_| ()))), &mut wire).unwrap();
    for uid in [vec![], vec![b'1'; 65], vec![b'1'; 60_000]] {
        let mut item = vec![0x30, 0];
        item.extend(u16::try_from(uid.len()).unwrap().to_be_bytes());
        item.extend(&uid);
        let mut context = vec![0x20, 0];
        context.extend(u16::try_from(item.len() + 4).unwrap().to_be_bytes());
        context.extend([9, 0, 0, 0]);
        context.extend(item);
        let body = [&wire[6..], &context].concat();
        let Ok(Pdu::AssociateRq(rq)) = codec::decode(1, body.into()) else {
            panic!()
        };
        assert_eq!((rq.contexts.len(), rq.unusable.len()), (1, 1));
        let Pdu::AssociateAc(ac) = answer_pdu(&rq, &Answer::Accept(vec![]), ours()) else {
            panic!()
        };
        assert_eq!(ac.contexts[1].id.get(), 9);
        assert_eq!(ac.contexts[1].result, ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED);
    }
}

#[test]
fn a_context_that_the_decision_forgot_or_answered_wrongly_is_rejected() {
    let rq = request(|_| ());
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
        let Pdu::AssociateAc(ac) = answer_pdu(&rq, &Answer::Accept(answers), ours()) else {
            panic!()
        };
        assert_eq!(ac.contexts[0].result, result);
    }
}

#[test]
fn the_protocol_version_is_bit_0_and_the_context_name_may_be_padded() {
    let peer = IpAddr::from([127, 0, 0, 1]);
    let mut rq = request(|_| ());
    for (version, takes) in [(1, true), (3, true), (0xFFFF, true), (0, false), (2, false)] {
        rq.protocol_version = version;
        let refused = (!takes).then_some(Rejection::PROTOCOL_VERSION_NOT_SUPPORTED);
        assert_eq!(proposal(&rq, peer, "").err(), refused, "{version}");
    }
    rq.protocol_version = 1;
    for (padding, takes) in [("\0", true), (" ", true), ("\0\0", true), (".9", false)] {
        rq.application_context = format!("{APPLICATION_CONTEXT}{padding}").into();
        let mut wire = BytesMut::new();
        codec::encode(&Pdu::AssociateRq(Box::new(rq.clone())), &mut wire).unwrap();
        let Ok(Some(Pdu::AssociateRq(read))) = codec::next_pdu(&mut wire, 0) else {
            panic!()
        };
        let refused = (!takes).then_some(Rejection::APPLICATION_CONTEXT_NOT_SUPPORTED);
        assert_eq!(proposal(&read, peer, "").err(), refused, "{padding:?}");
    }
}

#[test]
fn our_own_maximum_is_never_zero_nor_without_bound() {
    assert_eq!(own_max_pdu_length(0), 1024 * 1024);
    assert_eq!(own_max_pdu_length(10), 4096);
    assert_eq!(own_max_pdu_length(MAX_PDU_LENGTH), MAX_PDU_LENGTH);
    assert_eq!(own_max_pdu_length(u32::MAX), 1024 * 1024);
}

/// A few classes and syntaxes, so that a proposal repeats them.
fn some_class() -> impl Strategy<Value = AbstractSyntaxUid> {
    (0..6u8).prop_map(|n| class(&format!("1.2.{n}")))
}

fn some_syntax() -> impl Strategy<Value = TransferSyntaxUid> {
    (0..4u8).prop_map(|n| TransferSyntaxUid::try_from(&*format!("1.2.840.{n}")).unwrap())
}

fn some_user() -> impl Strategy<Value = UserInformation> {
    let role = (some_class(), any::<bool>(), any::<bool>());
    let roles = vec(
        role.prop_map(|(abstract_syntax, scu, scp)| RoleSelection {
            abstract_syntax,
            scu,
            scp,
        }),
        0..9,
    );
    let extended = some_class().prop_map(|abstract_syntax| ExtendedNegotiation {
        abstract_syntax,
        application_information: [1].into(),
    });
    let said = some_class().prop_map(|abstract_syntax| CommonExtended {
        abstract_syntax,
        service_class: "1.2.840.10008.4.2".into(),
        related_general: Vec::new(),
    });
    let window = any::<(u16, u16)>().prop_map(|(invoked, performed)| AsyncOperationsWindow { invoked, performed });
    let identity = any::<(u8, bool)>().prop_map(|(kind, positive_response_requested)| UserIdentity {
        kind: UserIdentityType(kind),
        positive_response_requested,
        primary_field: [7].into(),
        secondary_field: [].into(),
    });
    let response = any::<bool>().prop_map(|says| says.then(|| Bytes::from_static(b"yes")));
    (
        roles,
        vec(extended, 0..9),
        vec(said, 0..4),
        option::of(window),
        option::of(identity),
        response,
    )
        .prop_map(
            |(roles, extended, common_extended, async_operations, user_identity, user_identity_response)| {
                UserInformation {
                    async_operations,
                    roles,
                    extended,
                    common_extended,
                    user_identity,
                    user_identity_response,
                    ..UserInformation::ours(0)
                }
            },
        )
}

fn some_request() -> impl Strategy<Value = AssociateRq> {
    let contexts = vec((some_class(), vec(some_syntax(), 0..5)), 1..=128);
    (contexts, some_user()).prop_map(|(contexts, user)| {
        let title = |text| AeTitle::try_from(text).unwrap();
        let contexts = contexts.into_iter().enumerate();
        let contexts = contexts.map(|(index, (abstract_syntax, transfer_syntaxes))| ProposedContext {
            id: PresentationContextId::nth(index).unwrap(),
            abstract_syntax,
            transfer_syntaxes,
        });
        request_pdu(&title("A"), &title("B"), contexts.collect(), user)
    })
}

/// Any decision, wrong ones too: for ids that were not proposed, with syntaxes that were not.
fn some_answer() -> impl Strategy<Value = Answer> {
    let one = prop_oneof![
        some_syntax().prop_map(ContextAnswer::Accepted),
        any::<u8>().prop_map(|code| ContextAnswer::Rejected(ContextResult(code))),
    ];
    vec(
        ((0..128usize).prop_map(|n| PresentationContextId::nth(n).unwrap()), one),
        0..140,
    )
    .prop_map(Answer::Accept)
}

proptest! {
    /// Whatever is decided, the answer is one that PS3.8 §9.3.3 and PS3.7 Annex D allow.
    #[test]
    fn an_answer_is_within_its_request(rq in some_request(), answer in some_answer(), user in some_user()) {
        let Pdu::AssociateAc(ac) = answer_pdu(&rq, &answer, user) else { panic!() };
        let ids = |ids: &mut dyn Iterator<Item = PresentationContextId>| ids.collect::<Vec<_>>();
        prop_assert_eq!(
            ids(&mut ac.contexts.iter().map(|context| context.id)),
            ids(&mut rq.contexts.iter().map(|context| context.id))
        );
        for (proposed, answered) in rq.contexts.iter().zip(&ac.contexts) {
            if answered.result.is_acceptance() {
                let syntax = answered.transfer_syntax.as_ref().unwrap();
                prop_assert!(proposed.transfer_syntaxes.contains(syntax));
                let Answer::Accept(decided) = &answer else { panic!() };
                prop_assert!(decided.contains(&(proposed.id, ContextAnswer::Accepted(syntax.clone()))));
            }
        }
        for (number, role) in ac.user.roles.iter().enumerate() {
            let asked = rq.user.roles.iter().find(|asked| asked.abstract_syntax == role.abstract_syntax).unwrap();
            prop_assert!(asked.scu >= role.scu && asked.scp >= role.scp);
            prop_assert!(ac.user.roles[..number].iter().all(|other| other.abstract_syntax != role.abstract_syntax));
        }
        let offered = |class| rq.user.extended.iter().any(|offer| offer.abstract_syntax == class);
        prop_assert!(ac.user.extended.iter().all(|answer| offered(answer.abstract_syntax.clone())));
        prop_assert_eq!(&ac.user.common_extended, &[]);
        prop_assert_eq!(&ac.user.user_identity, &None);
        if let Some(window) = ac.user.async_operations {
            prop_assert_eq!(rq.user.async_operations.unwrap().at_most(window), window);
        }
        // And it can be said.
        let mut wire = BytesMut::new();
        codec::encode(&Pdu::AssociateAc(ac), &mut wire).unwrap();
    }

    /// Both sides read the same of what was answered.
    #[test]
    fn the_requestor_sees_what_the_acceptor_answered(rq in some_request(), answer in some_answer()) {
        let mut wire = BytesMut::new();
        codec::encode(&answer_pdu(&rq, &answer, ours()), &mut wire).unwrap();
        let Ok(Some(Pdu::AssociateAc(ac))) = codec::next_pdu(&mut wire, 0) else { panic!() };
        let Answer::Accept(decided) = answer else { panic!() };
        for proposed in &rq.contexts {
            let decided = decided.iter().find(|(id, _)| *id == proposed.id).map(|(_, answer)| answer);
            match (context_answer(&ac, proposed), decided) {
                (ContextAnswer::Accepted(syntax), Some(ContextAnswer::Accepted(ours))) => prop_assert_eq!(&syntax, ours),
                (ContextAnswer::Rejected(result), Some(ContextAnswer::Rejected(ours))) if !ours.is_acceptance() => {
                    prop_assert_eq!(result, *ours);
                }
                (ContextAnswer::Rejected(_), _) => {}
                (accepted, decided) => prop_assert!(false, "{accepted:?}, decided {decided:?}"),
            }
        }
    }
}
