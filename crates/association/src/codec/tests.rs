use packhorse_dicom::uid::AbstractSyntaxUid;
use proptest::prelude::*;

use super::*;
use crate::negotiate;

/// An item or sub-item.
fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind, 0], &length[..], value].concat()
}

/// An A-ASSOCIATE PDU of this type with these items.
fn associate(pdu_type: u8, items: &[Vec<u8>]) -> BytesMut {
    let fixed = [&[0, 1, 0, 0][..], b"CALLED          ", b"CALLING         ", &[0; 32]].concat();
    let body = [fixed, items.concat()].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let whole = [&[pdu_type, 0], &length[..], &body].concat();
    BytesMut::from(&*whole)
}

fn application_context() -> Vec<u8> {
    item(0x10, APPLICATION_CONTEXT.as_bytes())
}

fn context(id: u8, sub_items: &[Vec<u8>]) -> Vec<u8> {
    item(0x20, &[vec![id, 0, 0, 0], sub_items.concat()].concat())
}

fn verification(id: u8) -> Vec<u8> {
    context(
        id,
        &[item(0x30, b"1.2.840.10008.1.1"), item(0x40, b"1.2.840.10008.1.2")],
    )
}

fn read(mut pdu: BytesMut) -> Result<Pdu, Violation> {
    next_pdu(&mut pdu, 4096).map(|pdu| pdu.expect("a whole PDU"))
}

fn read_rq(items: &[Vec<u8>]) -> Result<AssociateRq, Violation> {
    read(associate(1, items)).map(|pdu| match pdu {
        Pdu::AssociateRq(rq) => *rq,
        other => panic!("{}", other.name()),
    })
}

fn read_ac(items: &[Vec<u8>]) -> AssociateAc {
    match read(associate(2, items)) {
        Ok(Pdu::AssociateAc(ac)) => *ac,
        other => panic!("{other:?}"),
    }
}

#[test]
fn items_and_sub_items_that_nobody_knows_are_passed_over() {
    let strange = item(0x77, b"strange");
    let plain = read_rq(&[application_context(), verification(1)]).unwrap();
    let context = context(
        1,
        &[
            strange.clone(),
            item(0x30, b"1.2.840.10008.1.1"),
            strange.clone(),
            item(0x40, b"1.2.840.10008.1.2"),
        ],
    );
    let user = item(0x50, &strange);
    let rq = read_rq(&[strange, application_context(), context, user]).unwrap();
    assert_eq!(rq, plain);
}

#[test]
fn padding_of_names_and_uids_goes() {
    let padded = [
        item(0x10, b"1.2.840.10008.3.1.1.1\0"),
        context(
            1,
            &[item(0x30, b"1.2.840.10008.1.1\0"), item(0x40, b"1.2.840.10008.1.2 ")],
        ),
        item(
            0x50,
            &[
                item(0x52, b"1.2.3\0"),
                item(0x54, b"\0\x061.2.3\0\x01\0"),
                item(0x55, b"NAME "),
            ]
            .concat(),
        ),
    ];
    let rq = read_rq(&padded).unwrap();
    assert_eq!(&*rq.application_context, APPLICATION_CONTEXT);
    let context = rq.contexts.first().unwrap();
    assert_eq!(context.abstract_syntax.as_str(), "1.2.840.10008.1.1");
    assert_eq!(context.transfer_syntaxes.first().unwrap().as_str(), "1.2.840.10008.1.2");
    assert_eq!(rq.user.implementation_class_uid.as_deref(), Some("1.2.3"));
    assert_eq!(rq.user.implementation_version_name.as_deref(), Some("NAME"));
    assert_eq!(rq.user.roles.first().unwrap().abstract_syntax.as_str(), "1.2.3");
}

#[test]
fn a_rejected_context_may_lack_its_transfer_syntax_and_have_any_code() {
    let ac = read_ac(&[
        application_context(),
        item(0x21, &[1, 0, 3, 0]),
        item(0x21, &[3, 0, 99, 0]),
    ]);
    let results: Vec<_> = ac
        .contexts
        .iter()
        .map(|context| (context.result.0, context.transfer_syntax.clone()))
        .collect();
    assert_eq!(results, [(3, None), (99, None)]);
}

#[test]
fn codes_that_nobody_knows_are_kept() {
    for pdu in [
        Pdu::Abort(Abort { source: 9, reason: 9 }),
        Pdu::AssociateRj(Rejection {
            result: 7,
            source: 8,
            reason: 56,
        }),
    ] {
        let mut bytes = BytesMut::new();
        encode(&pdu, &mut bytes).unwrap();
        assert_eq!(read(bytes), Ok(pdu));
    }
}

#[test]
fn even_doubled_and_missing_contexts_are_invalid() {
    for contexts in [
        vec![verification(2)],
        vec![verification(0)],
        vec![verification(1), verification(1)],
        vec![],
    ] {
        let violation = read_rq(&contexts).unwrap_err();
        assert_eq!(violation.abort(), Abort::INVALID_PARAMETER, "{violation}");
    }
}

#[test]
fn lengths_that_reach_too_far_are_told() {
    let cut = item(0x20, b"\x01\0\0\0\x30\0\xFF\xFF1.2");
    assert!(matches!(read_rq(&[cut]), Err(Violation::Truncated(_))));
    assert!(matches!(read_rq(&[vec![0x10, 0, 0xFF]]), Err(Violation::Truncated(_))));
    assert!(matches!(
        read(BytesMut::from(&b"\x01\0\0\0\0\x04abcd"[..])),
        Err(Violation::Truncated(_))
    ));
}

#[test]
fn a_pdu_longer_than_its_kind_is_refused_by_its_header_alone() {
    for (pdu_type, most) in [
        (1, ASSOCIATE_LEN_MAX),
        (2, ASSOCIATE_LEN_MAX),
        (4, 4096),
        (5, 4),
        (7, 4),
    ] {
        let header = |length: u32| {
            let [a, b, c, d] = length.to_be_bytes();
            BytesMut::from(&[pdu_type, 0, a, b, c, d][..])
        };
        assert_eq!(next_pdu(&mut header(most), 4096), Ok(None));
        let longer = next_pdu(&mut header(most + 1), 4096);
        assert!(matches!(longer, Err(Violation::TooLong { .. })), "{pdu_type}");
    }
}

/// As many syntaxes as 256 KiB hold: what is kept of them is bounded as a whole, and every context keeps its answer.
#[test]
fn a_proposal_full_of_syntaxes_costs_no_more_than_a_sensible_one() {
    let syntaxes: Vec<_> = (0..TRANSFER_SYNTAXES_MAX).map(|_| item(0x40, b"1.2")).collect();
    let contexts: Vec<_> = (0..CONTEXTS_MAX)
        .map(|index| {
            let id = PresentationContextId::nth(index).unwrap().get();
            context(id, &[vec![item(0x30, b"1.2.840.10008.1.1")], syntaxes.clone()].concat())
        })
        .collect();
    let rq = read_rq(&contexts).unwrap();
    assert_eq!(rq.contexts.len(), CONTEXTS_MAX);
    let kept: usize = rq.contexts.iter().map(|context| context.transfer_syntaxes.len()).sum();
    assert_eq!(kept, ALL_TRANSFER_SYNTAXES_MAX);
}

#[test]
fn the_largest_sensible_proposal_is_taken() {
    let syntax = |number| TransferSyntaxUid::try_from(&*format!("1.2.840.10008.1.2.4.{number}")).unwrap();
    let contexts = (0..CONTEXTS_MAX).map(|index| ProposedContext {
        id: PresentationContextId::nth(index).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from(&*format!("1.2.840.10008.5.1.4.1.1.{index}")).unwrap(),
        transfer_syntaxes: (100..163).map(syntax).collect(),
    });
    let title = |text| packhorse_dicom::ae_title::AeTitle::try_from(text).unwrap();
    let rq = negotiate::request_pdu(&title("A"), &title("B"), contexts.collect(), UserInformation::ours(0));
    let pdu = Pdu::AssociateRq(Box::new(rq));
    let mut bytes = BytesMut::new();
    encode(&pdu, &mut bytes).unwrap();
    assert_eq!(read(bytes), Ok(pdu));
}

proptest! {
    #[test]
    fn any_bytes_are_a_pdu_or_a_violation(
        pdu_type in 0u8..9,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        crate::fuzzing::pdu(&[&[pdu_type, 0], &length[..], &body].concat());
    }

    #[test]
    fn any_items_are_a_proposal_or_a_violation(
        items in prop::collection::vec(
            (prop::sample::select(vec![0x10, 0x20, 0x21, 0x30, 0x40, 0x50, 0x54, 0x56, 0x57, 0x99]),
             prop::collection::vec(any::<u8>(), 0..40)),
            0..8,
        ),
        pdu_type in 1u8..3,
    ) {
        let items: Vec<_> = items.iter().map(|(kind, value)| item(*kind, value)).collect();
        let user = item(0x50, &items.concat());
        crate::fuzzing::pdu(&associate(pdu_type, &[items.concat(), user]));
    }
}
