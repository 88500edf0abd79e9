//! Differential tests: two codecs that were written apart read each other's bytes.

use dicom_ul::pdu::{read_pdu, write_pdu};
use packhorse_dicom::negotiation::{AsyncOperationsWindow, CommonExtended, ContextResult};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::codec::{ASSOCIATE_LEN_MAX, encode, next_pdu};

fn uid() -> impl Strategy<Value = String> {
    "[0-2]\\.[1-9][0-9]{0,5}(\\.[1-9][0-9]{0,9}){1,4}"
}

fn class() -> impl Strategy<Value = AbstractSyntaxUid> {
    uid().prop_map(|uid| AbstractSyntaxUid::try_from(uid.as_str()).unwrap())
}

fn syntax() -> impl Strategy<Value = TransferSyntaxUid> {
    uid().prop_map(|uid| TransferSyntaxUid::try_from(uid.as_str()).unwrap())
}

/// A title as a field, without a backslash or outer spaces.
fn title() -> impl Strategy<Value = [u8; 16]> {
    "[A-Z0-9_][A-Za-z0-9_. -]{0,14}[A-Z0-9_]".prop_map(|title| our_title(&title).unwrap())
}

fn id(index: usize) -> PresentationContextId {
    PresentationContextId::nth(index).unwrap()
}

fn identity() -> impl Strategy<Value = UserIdentity> {
    (1u8..=5, any::<bool>(), vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..20)).prop_map(
        |(kind, positive_response_requested, primary, secondary)| UserIdentity {
            kind: UserIdentityType(kind),
            positive_response_requested,
            primary_field: primary.into(),
            secondary_field: secondary.into(),
        },
    )
}

/// Everything that user information may hold.
fn user() -> impl Strategy<Value = UserInformation> {
    let role = (class(), any::<bool>(), any::<bool>());
    let role = role.prop_map(|(abstract_syntax, scu, scp)| RoleSelection {
        abstract_syntax,
        scu,
        scp,
    });
    let extended = (class(), vec(any::<u8>(), 0..9)).prop_map(|(abstract_syntax, information)| ExtendedNegotiation {
        abstract_syntax,
        application_information: information.into(),
    });
    let said = (class(), uid(), vec(class(), 0..3)).prop_map(|(abstract_syntax, service_class, related_general)| {
        CommonExtended {
            abstract_syntax,
            service_class: service_class.into(),
            related_general,
        }
    });
    let window = any::<(u16, u16)>().prop_map(|(invoked, performed)| AsyncOperationsWindow { invoked, performed });
    let names = (
        option::of(any::<u32>()),
        option::of(uid()),
        option::of("[A-Z0-9_]{1,16}"),
    );
    let response = option::of(vec(any::<u8>(), 0..20).prop_map(Bytes::from));
    let items = (
        option::of(window),
        vec(role, 0..4),
        vec(extended, 0..3),
        vec(said, 0..3),
    );
    (names, items, option::of(identity()), response).prop_map(|(names, items, user_identity, response)| {
        UserInformation {
            max_pdu_length: names.0,
            implementation_class_uid: names.1.map(Into::into),
            implementation_version_name: names.2.map(Into::into),
            async_operations: items.0,
            roles: items.1,
            extended: items.2,
            common_extended: items.3,
            user_identity,
            user_identity_response: response,
        }
    })
}

fn associate_rq() -> impl Strategy<Value = Pdu> {
    let contexts = vec((class(), vec(syntax(), 0..5)), 1..128);
    (any::<u16>(), title(), title(), uid(), contexts, user()).prop_map(
        |(protocol_version, called_ae_title, calling_ae_title, name, contexts, user)| {
            let contexts = contexts.into_iter().enumerate();
            let contexts = contexts.map(|(index, (abstract_syntax, transfer_syntaxes))| ProposedContext {
                id: id(index),
                abstract_syntax,
                transfer_syntaxes,
            });
            Pdu::AssociateRq(Box::new(AssociateRq {
                protocol_version,
                called_ae_title,
                calling_ae_title,
                application_context: name.into(),
                contexts: contexts.collect(),
                unusable: Vec::new(),
                user,
            }))
        },
    )
}

fn associate_ac() -> impl Strategy<Value = Pdu> {
    let contexts = vec((0u8..5, syntax()), 0..128);
    (any::<u16>(), title(), title(), uid(), contexts, user()).prop_map(
        |(protocol_version, called_ae_title, calling_ae_title, name, contexts, user)| {
            let contexts = contexts.into_iter().enumerate();
            let contexts = contexts.map(|(index, (result, syntax))| AnsweredContext {
                id: id(index),
                result: ContextResult(result),
                transfer_syntax: Some(syntax),
            });
            Pdu::AssociateAc(Box::new(AssociateAc {
                protocol_version,
                called_ae_title,
                calling_ae_title,
                application_context: name.into(),
                contexts: contexts.collect(),
                user,
            }))
        },
    )
}

fn associate_rj() -> impl Strategy<Value = Pdu> {
    let codes = prop_oneof![(Just(1u8), 1u8..=10), (Just(2u8), 1u8..=2), (Just(3u8), 0u8..=7),];
    (1u8..=2, codes).prop_map(|(result, (source, reason))| Pdu::AssociateRj(Rejection { result, source, reason }))
}

fn abort() -> impl Strategy<Value = Pdu> {
    prop_oneof![
        Just(Abort::USER),
        Just(Abort { source: 1, reason: 0 }),
        (0u8..=6).prop_map(|reason| Abort { source: 2, reason }),
    ]
    .prop_map(Pdu::Abort)
}

fn p_data_tf() -> impl Strategy<Value = Pdu> {
    let pdv = (0usize..128, any::<bool>(), any::<bool>(), vec(any::<u8>(), 0..300));
    vec(pdv, 0..5).prop_map(|pdvs| {
        let values = pdvs
            .into_iter()
            .map(|(index, is_command, is_last, data)| ul::PDataValue {
                presentation_context_id: id(index).get(),
                value_type: if is_command {
                    ul::PDataValueType::Command
                } else {
                    ul::PDataValueType::Data
                },
                is_last,
                data,
            });
        Pdu::PDataTf(our_body(&values.collect::<Vec<_>>()).unwrap())
    })
}

/// Every PDU that both can say.
fn pdu() -> impl Strategy<Value = Pdu> {
    prop_oneof![
        associate_rq(),
        associate_ac(),
        associate_rj(),
        p_data_tf(),
        Just(Pdu::ReleaseRq),
        Just(Pdu::ReleaseRp),
        abort(),
    ]
}

fn written(pdu: &Pdu) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(pdu, &mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Pdu {
    let mut buffer = BytesMut::from(bytes);
    let pdu = next_pdu(&mut buffer, ASSOCIATE_LEN_MAX).unwrap().unwrap();
    assert!(buffer.is_empty());
    pdu
}

fn read_by_ul(bytes: &[u8]) -> ul::Pdu {
    read_pdu(bytes, ASSOCIATE_LEN_MAX, true).unwrap().unwrap()
}

fn written_by_ul(pdu: &ul::Pdu) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, pdu).unwrap();
    bytes
}

proptest! {
    #[test]
    fn dicom_ul_reads_what_we_write(pdu in pdu()) {
        prop_assert_eq!(read_by_ul(&written(&pdu)), ul::Pdu::try_from(&pdu).unwrap());
    }

    #[test]
    fn we_read_what_dicom_ul_writes(pdu in pdu()) {
        let theirs = ul::Pdu::try_from(&pdu).unwrap();
        prop_assert_eq!(read(&written_by_ul(&theirs)), pdu);
    }

    #[test]
    fn a_conversion_there_and_back_changes_nothing(pdu in pdu()) {
        let theirs = ul::Pdu::try_from(&pdu).unwrap();
        prop_assert_eq!(Pdu::try_from(&theirs), Ok(pdu));
    }

    /// A-ASSOCIATE apart: dicom-ul takes spaces off both ends of a UID, we off the end that PS3.5 pads.
    #[test]
    fn what_both_read_of_a_damaged_pdu_is_the_same(
        pdu in prop_oneof![associate_rj(), abort(), p_data_tf()],
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = written(&pdu);
        let place = place.index(bytes.len());
        bytes.as_mut().get_mut(place).into_iter().for_each(|damaged| *damaged = byte);
        let theirs = read_pdu(&*bytes, ASSOCIATE_LEN_MAX, true);
        let ours = next_pdu(&mut bytes, ASSOCIATE_LEN_MAX);
        if let (Ok(Some(theirs)), Ok(Some(ours))) = (theirs, ours)
            && let Ok(ours) = ul::Pdu::try_from(&ours)
        {
            prop_assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn what_dicom_ul_cannot_say_is_no_error_of_ours() {
    let unknown = Rejection {
        result: 1,
        source: 1,
        reason: 56,
    };
    for pdu in [Pdu::AssociateRj(unknown), Pdu::Abort(Abort { source: 2, reason: 99 })] {
        let bytes = written(&pdu);
        assert!(ul::Pdu::try_from(&pdu).is_err());
        assert!(read_pdu(&*bytes, ASSOCIATE_LEN_MAX, true).is_err());
        assert_eq!(read(&bytes), pdu);
    }
}

#[test]
fn what_we_have_no_word_for_is_told() {
    let unknown = ul::Pdu::Unknown {
        pdu_type: 9,
        data: Vec::new(),
    };
    assert_eq!(Pdu::try_from(&unknown), Err(NoCounterpart("an unknown PDU")));
    let even = ul::Pdu::PData {
        data: vec![ul::PDataValue {
            presentation_context_id: 2,
            value_type: ul::PDataValueType::Data,
            is_last: true,
            data: Vec::new(),
        }],
    };
    assert_eq!(
        Pdu::try_from(&even),
        Err(NoCounterpart("an even presentation context id"))
    );
}
