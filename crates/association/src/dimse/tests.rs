use proptest::prelude::*;

use super::*;

fn request() -> CStoreRq {
    CStoreRq {
        message_id: 7,
        affected_sop_class_uid: Bytes::from_static(b"1.2.840.10008.5.1.4.1.1.2\0"),
        affected_sop_instance_uid: Bytes::from_static(b"1.2.3.4\0"),
        priority: 2,
        move_originator: Some((Bytes::from_static(b"MOVER "), 9)),
    }
}

fn context() -> PresentationContextId {
    PresentationContextId::try_from(1).unwrap()
}

fn pdv(is_command: bool, is_last: bool, data: &[u8]) -> Pdv {
    Pdv {
        context: context(),
        is_command,
        is_last,
        data: Bytes::copy_from_slice(data),
    }
}

#[test]
fn a_store_request_reads_back_with_its_uids_byte_for_byte() {
    assert_eq!(decode(request().to_bytes(7)), Ok(Command::StoreRq(request())));
}

#[test]
fn a_store_answer_repeats_the_uids_as_they_came_and_carries_the_comment() {
    let bytes = store_rsp(&request(), Status(0x0122), Some("rule 3: Raw Data Storage refused"));
    assert!(bytes.windows(26).any(|window| window == b"1.2.840.10008.5.1.4.1.1.2\0"));
    assert!(bytes.windows(8).any(|window| window == b"1.2.3.4\0"));
    let Ok(Command::Response(response)) = decode(bytes) else {
        panic!()
    };
    assert_eq!((response.message_id, response.status), (7, Status(0x0122)));
    assert_eq!(
        response.error_comment.as_deref(),
        Some("rule 3: Raw Data Storage refused")
    );
}

#[test]
fn an_error_comment_is_one_printable_value_of_64_characters() {
    let said = format!("rule \"a\\b\"\nZürich {}", "x".repeat(80));
    let Ok(Command::Response(response)) = decode(store_rsp(&request(), Status(0x0110), Some(&said))) else {
        panic!()
    };
    let comment = response.error_comment.unwrap();
    assert!(comment.starts_with("rule \"a/b\"Zrich xxx"), "{comment}");
    assert_eq!(comment.len(), 64);
}

#[test]
fn an_echo_request_may_forget_to_say_that_it_has_no_data_set() {
    let mut elements = Elements::default();
    elements.us(0x0100, 0x0030);
    elements.us(0x0110, 5);
    assert_eq!(
        decode(elements.finish()),
        Ok(Command::EchoRq(CEchoRq { message_id: 5 }))
    );
}

#[test]
fn an_echo_answer_names_the_verification_class() {
    let bytes = echo_rsp(3, Status::SUCCESS, None);
    assert!(bytes.windows(17).any(|window| window == b"1.2.840.10008.1.1"));
    assert!(matches!(
        decode(bytes),
        Ok(Command::Response(CStoreRsp {
            message_id: 3,
            status: Status::SUCCESS,
            ..
        }))
    ));
}

#[test]
fn what_we_have_no_service_for_is_told_apart() {
    let mut elements = Elements::default();
    elements.us(0x0100, 0x0020);
    elements.us(0x0110, 5);
    elements.us(0x0800, 1);
    let command = decode(elements.finish()).unwrap();
    assert!(matches!(
        command,
        Command::Unknown {
            field: 0x0020,
            message_id: 5,
            has_data_set: true,
            ..
        }
    ));
}

#[test]
fn commands_that_cannot_be() {
    for bytes in [
        &b"\0\0\0\x01\xff\xff\xff\xff"[..],
        b"\0\0\0",
        b"\x08\0\x18\0\0\0\0\0",
        b"",
    ] {
        assert!(decode(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
    }
}

#[test]
fn data_before_a_command_and_a_command_inside_data_are_violations() {
    assert!(Assembler::default().push(pdv(false, true, b"x")).is_err());
    let mut assembler = Assembler::default();
    assembler.push(pdv(true, true, &request().to_bytes(1))).unwrap();
    assert!(assembler.push(pdv(true, true, &request().to_bytes(2))).is_err());
}

#[test]
fn an_endless_command_is_cut_off() {
    let mut assembler = Assembler::default();
    let piece = vec![0; 16 * 1024];
    let taken = (0..5)
        .map_while(|_| assembler.push(pdv(true, false, &piece)).ok())
        .count();
    assert_eq!(taken, 4);
}

proptest! {
    #[test]
    fn a_command_may_come_in_fragments_of_any_length(length in 1usize..80) {
        let bytes = request().to_bytes(7);
        let mut assembler = Assembler::default();
        let fragments: Vec<_> = bytes.chunks(length).collect();
        for (index, fragment) in fragments.iter().enumerate() {
            let last = index + 1 == fragments.len();
            let piece = assembler.push(pdv(true, last, fragment)).unwrap();
            prop_assert_eq!(piece.is_some(), last);
        }
        let end = assembler.push(pdv(false, true, b"data")).unwrap();
        prop_assert!(matches!(end, Some(Piece::Data { is_last: true, .. })), "expected data, got {:?}", end);
    }

    #[test]
    fn any_bytes_are_a_command_or_a_violation(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either = decode(Bytes::from(bytes));
    }
}
