mod hostile;
mod pynetdicom;
mod samples;

use proptest::prelude::*;

use super::*;
use samples::{Parts, commands, element, parts, us};

fn store_rq() -> CStoreRq {
    CStoreRq {
        message_id: 7,
        affected_sop_class_uid: Bytes::from_static(b"1.2.840.10008.5.1.4.1.1.2\0"),
        affected_sop_instance_uid: Bytes::from_static(b"1.2.3.4\0"),
        priority: 2,
        move_originator: Some(MoveOriginator {
            ae_title: Bytes::from_static(b"MOVER "),
            message_id: 9,
        }),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn every_kind_of_message_has_the_standards_command_field() {
    let fields: Vec<u16> = commands(&Parts::full()).iter().map(Command::command_field).collect();
    // PS3.7 Table E.1-1, Command Field.
    let c = [
        0x0001, 0x8001, 0x0020, 0x8020, 0x0010, 0x8010, 0x0021, 0x8021, 0x0030, 0x8030,
    ];
    let n = [
        0x0100, 0x8100, 0x0110, 0x8110, 0x0120, 0x8120, 0x0130, 0x8130, 0x0140, 0x8140, 0x0150, 0x8150,
    ];
    let expected: Vec<u16> = c.into_iter().chain(n).chain([0x0FFF, 0x0777, 0x8777]).collect();
    assert_eq!(fields, expected);
}

#[test]
fn what_is_written_has_ascending_tags_even_lengths_and_a_true_group_length() {
    for command in commands(&Parts::full()).iter().chain(&commands(&Parts::least())) {
        let bytes = command.to_bytes();
        let (mut rest, mut before) = (&*bytes, None);
        while !rest.is_empty() {
            let tag = u16::from_le_bytes([rest[2], rest[3]]);
            let length = usize::from(u16::from_le_bytes([rest[4], rest[5]]));
            assert_eq!((rest[0], rest[1], length % 2), (0, 0, 0), "{command:?}");
            assert!(before < Some(tag), "{command:?}");
            (before, rest) = (Some(tag), &rest[8 + length..]);
        }
        let group_length = u32::try_from(bytes.len() - 12).unwrap().to_le_bytes();
        assert_eq!(&bytes[..8], [0, 0, 0, 0, 4, 0, 0, 0], "{command:?}");
        assert_eq!(&bytes[8..12], group_length, "{command:?}");
    }
}

#[test]
fn command_data_set_type_is_0101_exactly_where_no_data_set_follows() {
    for command in commands(&Parts::full()).iter().chain(&commands(&Parts::least())) {
        let none = contains(&command.to_bytes(), &us(0x0800, 0x0101));
        let some = contains(&command.to_bytes(), &us(0x0800, 0x0001));
        assert_eq!(
            (none, some),
            (!command.has_data_set(), command.has_data_set()),
            "{command:?}"
        );
    }
}

#[test]
fn odd_uids_are_padded_with_nul_and_odd_text_with_a_space() {
    let mut rq = store_rq();
    rq.affected_sop_instance_uid = Bytes::from_static(b"1.2.3");
    rq.move_originator = Some(MoveOriginator {
        ae_title: Bytes::from_static(b"MOVER"),
        message_id: 1,
    });
    assert!(contains(&rq.to_bytes(), &element(0x1000, b"1.2.3\0")));
    assert!(contains(&rq.to_bytes(), &element(0x1030, b"MOVER ")));
    let answer = rq.answer(Status(0x0110), Some("why"));
    assert!(contains(&answer.to_bytes(), &element(0x0902, b"why ")));
}

#[test]
fn a_store_answer_repeats_the_uids_as_they_came_and_carries_the_comment() {
    let mut rq = store_rq();
    rq.affected_sop_instance_uid = Bytes::from_static(b" 1.2.03.x\0");
    let bytes = rq
        .answer(Status(0x0122), Some("rule 3: Raw Data Storage refused"))
        .to_bytes();
    assert!(contains(&bytes, &element(0x0002, b"1.2.840.10008.5.1.4.1.1.2\0")));
    assert!(contains(&bytes, &element(0x1000, b" 1.2.03.x\0")));
    let Ok(Command::CStoreRsp(response)) = decode(bytes) else {
        panic!()
    };
    assert_eq!(
        (response.message_id_being_responded_to, response.status),
        (7, Status(0x0122))
    );
    assert_eq!(
        response.error_comment.as_deref(),
        Some("rule 3: Raw Data Storage refused")
    );
}

#[test]
fn every_request_has_an_answer_of_its_kind_that_names_its_instance() {
    let full = Parts::full();
    for request in commands(&full).iter().filter(|command| !command.is_response()) {
        let answer = request.answer(Status(0x0211), Some("not here"));
        if let Command::CCancelRq(_) = request {
            assert_eq!(answer, None);
            continue;
        }
        let answer = answer.unwrap();
        assert!(answer.is_response_to(request), "{answer:?}");
        let bytes = answer.to_bytes();
        assert!(contains(&bytes, &element(0x0002, &full.class)), "{answer:?}");
        assert!(contains(&bytes, &us(0x0120, full.id)), "{answer:?}");
        assert!(contains(&bytes, &us(0x0900, 0x0211)), "{answer:?}");
        assert!(contains(&bytes, &element(0x0902, b"not here")), "{answer:?}");
        let names_instance = contains(&bytes, &element(0x1000, &full.instance));
        let about_no_instance = matches!(request.command_field(), 0x0020 | 0x0010 | 0x0021 | 0x0030);
        assert_eq!(names_instance, !about_no_instance, "{answer:?}");
    }
}

#[test]
fn a_failure_without_words_carries_the_statuss_meaning() {
    for request in commands(&Parts::full()) {
        let Some(answer) = request.answer(Status::PROCESSING_FAILURE, None) else {
            continue;
        };
        assert!(
            contains(&answer.to_bytes(), &element(0x0902, b"processing failure")),
            "{answer:?}"
        );
        let success = request.answer(Status::SUCCESS, None).unwrap();
        assert!(!contains(&success.to_bytes(), &[0, 0, 2, 9]), "{success:?}");
    }
}

#[test]
fn a_response_belongs_to_one_request() {
    let of = |id, field: u16| {
        let all = commands(&Parts { id, ..Parts::full() });
        all.into_iter()
            .find(|command| command.command_field() == field)
            .unwrap()
    };
    assert!(of(7, 0x8001).is_response_to(&of(7, 0x0001)));
    assert!(!of(7, 0x8001).is_response_to(&of(8, 0x0001)), "another message");
    assert!(!of(7, 0x8030).is_response_to(&of(7, 0x0001)), "another service");
    assert!(!of(7, 0x0001).is_response_to(&of(7, 0x0001)), "a request");
    assert!(
        !of(7, 0x8001).is_response_to(&of(7, 0x8001)),
        "a response to a response"
    );
}

#[test]
fn responses_have_a_status_and_requests_have_none() {
    for command in commands(&Parts::full()) {
        let expected = command.is_response().then_some(Parts::full().status);
        assert_eq!(command.status(), expected, "{command:?}");
        assert_eq!(command.message_id(), Parts::full().id);
    }
}

#[test]
fn debug_shows_no_uids() {
    let full = Parts::full();
    for command in commands(&full) {
        let shown = format!("{command:?} {command:#?}");
        for uid in [&full.class, &full.instance] {
            let uid = str::from_utf8(uid).unwrap().trim_end_matches('\0');
            assert!(!shown.contains(uid), "{shown}");
        }
        assert!(!shown.contains("uid"), "{shown}");
    }
}

#[test]
fn an_error_comment_is_one_printable_value_of_64_characters() {
    let said = format!("  rule \"a\\b\"\nZürich {}", "x".repeat(80));
    let Ok(Command::CStoreRsp(response)) = decode(store_rq().answer(Status(0x0110), Some(&said)).to_bytes()) else {
        panic!()
    };
    let comment = response.error_comment.unwrap();
    assert!(comment.starts_with("rule \"a/b\"Zrich xxx"), "{comment}");
    assert_eq!(comment.len(), 64);
}

#[test]
fn a_peers_comment_is_shown_without_what_is_not_printable() {
    let mut bytes = us(0x0100, 0x8001);
    bytes.extend(us(0x0120, 1));
    bytes.extend(us(0x0900, 0xC000));
    bytes.extend(element(0x0902, b" Z\xFCrich\x1B[31m \0"));
    let Ok(Command::CStoreRsp(response)) = decode(bytes.into()) else {
        panic!()
    };
    assert_eq!(response.error_comment.as_deref(), Some("Z rich [31m"));
}

#[test]
fn an_echo_request_may_forget_class_and_data_set_type() {
    let bytes = [us(0x0100, 0x0030), us(0x0110, 5)].concat();
    let Ok(Command::CEchoRq(echo)) = decode(bytes.into()) else {
        panic!()
    };
    assert_eq!(echo.message_id, 5);
    let answer = echo.answer(Status::SUCCESS, None).to_bytes();
    assert!(
        contains(&answer, &element(0x0002, b"1.2.840.10008.1.1\0")),
        "what some SCUs want in it"
    );
}

#[test]
fn our_echo_is_of_the_verification_class() {
    let uid = packhorse_dicom::sop_class::VERIFICATION;
    assert!(contains(
        &CEchoRq::new(1).to_bytes(),
        &element(0x0002, format!("{uid}\0").as_bytes())
    ));
}

#[test]
fn elements_come_in_any_order_without_group_length_and_among_unknown_ones() {
    for command in commands(&Parts::full()) {
        let bytes = command.to_bytes();
        let mut elements = samples::split(&bytes);
        // The group length goes, a retired element (Command Length to End) and a vendor's come.
        elements.remove(0);
        elements.push(element(0x0001, &[1, 2, 3, 4]));
        elements.push(element(0x0FF1, b""));
        elements.reverse();
        assert_eq!(decode(elements.concat().into()), Ok(command));
    }
}

#[test]
fn of_several_numbers_the_first_counts_and_none_is_not_said() {
    let bytes = [
        us(0x0100, 0x8021),
        us(0x0120, 5),
        us(0x0800, 0x0101),
        us(0x0900, 0xFF00),
        element(0x1020, &[3, 0, 9, 0]),
        element(0x1021, b""),
    ];
    let Ok(Command::CMoveRsp(response)) = decode(bytes.concat().into()) else {
        panic!()
    };
    assert_eq!(
        (response.remaining_sub_operations, response.completed_sub_operations),
        (Some(3), None)
    );
}

#[test]
fn a_priority_that_is_not_said_is_medium() {
    let rq = store_rq().to_bytes();
    let elements: Vec<_> = samples::split(&rq).into_iter().filter(|e| e[2..4] != [0, 7]).collect();
    let Ok(Command::CStoreRq(read)) = decode(elements.concat().into()) else {
        panic!()
    };
    assert_eq!((store_rq().priority, read.priority), (2, 0));
}

#[test]
fn a_command_field_that_the_standard_does_not_have_is_kept_and_can_be_answered() {
    let bytes = [
        element(0x0003, b"1.2\0"),
        us(0x0100, 0x0777),
        us(0x0110, 5),
        us(0x0800, 1),
        element(0x1001, b"1.3\0"),
    ];
    let command = decode(bytes.concat().into()).unwrap();
    assert_eq!((command.command_field(), command.has_data_set()), (0x0777, true));
    let answer = command.answer(Status::UNRECOGNIZED_OPERATION, None).unwrap();
    assert_eq!((answer.command_field(), answer.has_data_set()), (0x8777, false));
    assert!(answer.is_response_to(&command));
    assert!(contains(&answer.to_bytes(), &element(0x0002, b"1.2\0")));
    assert!(contains(&answer.to_bytes(), &element(0x1000, b"1.3\0")));
    assert_eq!(answer.answer(Status::SUCCESS, None), None, "a response has no answer");
}

#[test]
fn an_attribute_tag_is_shown_as_the_standard_has_it() {
    let pixel_data = AttributeTag {
        group: 0x7FE0,
        element: 0x0010,
    };
    assert_eq!(pixel_data.to_string(), "(7FE0,0010)");
}

proptest! {
    #[test]
    fn every_written_message_reads_back_equal(parts in parts()) {
        for command in commands(&parts) {
            prop_assert_eq!(decode(command.to_bytes()), Ok(command));
        }
    }

    #[test]
    fn every_answer_carries_the_comment_given_cut_to_64(
        parts in parts(), status in any::<u16>(), comment in "[ -\\[\\]-~]{0,100}",
    ) {
        for request in commands(&parts) {
            let Some(answer) = request.answer(Status(status), Some(&comment)) else { continue };
            prop_assert!(answer.is_response_to(&request));
            prop_assert_eq!(answer.status(), Some(Status(status)));
            let cut: String = comment.trim_start().chars().take(64).collect();
            let cut = cut.trim_end();
            let mut padded = cut.as_bytes().to_vec();
            padded.resize(padded.len().next_multiple_of(2), b' ');
            prop_assert!(cut.is_empty() || contains(&answer.to_bytes(), &element(0x0902, &padded)));
            prop_assert_eq!(decode(answer.to_bytes()), Ok(answer));
        }
    }

    #[test]
    fn any_bytes_are_a_command_or_a_violation(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzzing::command(&bytes);
    }

    #[test]
    fn a_message_with_any_byte_changed_is_a_command_or_a_violation(
        parts in parts(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        for command in commands(&parts) {
            let mut bytes = command.to_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            crate::fuzzing::command(&bytes);
        }
    }
}
