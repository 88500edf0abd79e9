//! Commands that cannot be: what has crashed other implementations (CVE-2024-34508, CVE-2024-34509, CVE-2026-44628,
//! CVE-2022-2121) is a violation here, or read for what it is.

use super::samples::{Parts, commands, element, split, us};
use super::*;

fn violation(elements: &[Vec<u8>]) -> String {
    decode(elements.concat().into()).unwrap_err().to_string()
}

#[test]
fn no_command_field_is_no_command() {
    assert_eq!(violation(&[]), "a command set without Command Field (0000,0100)");
    for command in commands(&Parts::full()) {
        let mut elements = split(&command.to_bytes());
        elements.retain(|element| element[2..4] != [0x00, 0x01]);
        assert_eq!(violation(&elements), "a command set without Command Field (0000,0100)");
    }
    assert!(
        violation(&[element(0x0100, b"")]).contains("Command Field"),
        "an empty one"
    );
}

#[test]
fn without_its_message_id_no_message_can_be_answered() {
    for command in commands(&Parts::full()) {
        let mut elements = split(&command.to_bytes());
        elements.retain(|element| element[2..4] != [0x10, 0x01] && element[2..4] != [0x20, 0x01]);
        let violation = violation(&elements);
        assert!(violation.contains("Message ID"), "{command:?}: {violation}");
    }
}

#[test]
fn a_response_without_status_says_nothing() {
    for command in commands(&Parts::full()).iter().filter(|command| command.is_response()) {
        if let Command::Unknown(_) = command {
            continue;
        }
        let mut elements = split(&command.to_bytes());
        elements.retain(|element| element[2..4] != [0x00, 0x09]);
        assert_eq!(
            violation(&elements),
            "a command set without Status (0000,0900)",
            "{command:?}"
        );
    }
}

#[test]
fn an_event_or_action_without_its_type_is_none() {
    let event = [us(0x0100, 0x0100), us(0x0110, 1), us(0x0800, 1)];
    assert_eq!(violation(&event), "a command set without Event Type ID (0000,1002)");
    let action = [us(0x0100, 0x0130), us(0x0110, 1), us(0x0800, 1)];
    assert_eq!(violation(&action), "a command set without Action Type ID (0000,1008)");
}

#[test]
fn numbers_and_tags_of_lengths_that_they_cannot_have() {
    let rest = [us(0x0120, 1), us(0x0800, 0x0101)];
    let with = |bad: Vec<u8>| [rest.concat(), us(0x0100, 0x8110), us(0x0900, 0), bad].concat();
    for odd in [&[1][..], &[1, 2, 3]] {
        let bytes = with(element(0x0903, odd));
        assert_eq!(
            decode(bytes.into()),
            Err(Violation::Message(
                "a command set with a wrong length of Error ID (0000,0903)"
            ))
        );
    }
    for length in [1, 2, 3, 5, 6] {
        let bytes = with(element(0x1005, &[0; 8][..length]));
        let expected = "a command set with a wrong length of Attribute Identifier List (0000,1005)";
        assert_eq!(decode(bytes.into()), Err(Violation::Message(expected)), "{length}");
    }
    assert!(violation(&[element(0x0100, &[0x30])]).contains("wrong length of Command Field"));
}

#[test]
fn elements_of_the_wrong_vr_are_read_as_what_their_tag_says() {
    // Text where numbers belong, a number where a UID belongs: values, not types, are on the wire.
    let bytes = [
        element(0x0002, &[7, 0]),
        us(0x0100, 0x0001),
        element(0x0110, b"12"),
        element(0x0700, b"HIGH"),
        us(0x0800, 0),
        element(0x1000, &[0xFF; 200]),
    ];
    let Ok(Command::CStoreRq(rq)) = decode(bytes.concat().into()) else {
        panic!()
    };
    assert_eq!((rq.message_id, rq.priority), (0x3231, 0x4948));
    assert!(rq.sop_class_uid().is_err() && rq.sop_instance_uid().is_err());
    assert!(contains(
        &rq.answer(Status(0x0117), None).to_bytes(),
        &element(0x1000, &[0xFF; 200])
    ));
}

#[test]
fn a_length_that_reaches_past_the_end_is_cut_short() {
    let whole = store_rq().to_bytes();
    let ends: Vec<usize> = split(&whole).iter().fold(vec![0], |mut ends, element| {
        ends.push(ends.last().unwrap() + element.len());
        ends
    });
    for length in 0..whole.len() {
        let cut = decode(whole.slice(..length));
        let expected = Err(Violation::Truncated("a command element"));
        assert_eq!(cut == expected, !ends.contains(&length), "{length}: {cut:?}");
    }
    for lie in [0x7FFF_FFFF_u32, 0xFFFF_FFFE, u32::MAX] {
        let bytes = [&[0, 0, 0, 1], &lie.to_le_bytes()[..], b"x"].concat();
        assert_eq!(decode(bytes.into()), Err(Violation::Truncated("a command element")));
    }
}

#[test]
fn an_element_outside_group_0000_is_no_command_element() {
    let bytes = [us(0x0100, 0x0030), us(0x0110, 1), b"\x08\0\x18\0\0\0\0\0".to_vec()];
    assert_eq!(violation(&bytes), "a command set has an element outside group 0000");
}

#[test]
fn a_group_length_that_lies_is_not_believed() {
    for lie in [0_u32, 1, 10_000, u32::MAX] {
        let mut bytes = store_rq().to_bytes().to_vec();
        bytes[8..12].copy_from_slice(&lie.to_le_bytes());
        assert_eq!(decode(bytes.into()), Ok(Command::CStoreRq(store_rq())), "{lie}");
    }
}

#[test]
fn of_a_doubled_element_the_first_counts() {
    let twice = [
        store_rq().to_bytes().to_vec(),
        us(0x0110, 99),
        element(0x1000, b"9.9\0"),
        us(0x0100, 0x0030),
    ];
    assert_eq!(decode(twice.concat().into()), Ok(Command::CStoreRq(store_rq())));
}

#[test]
fn a_request_that_says_the_contrary_of_its_kind_about_its_data_set() {
    for command in commands(&Parts::full()).iter().chain(&commands(&Parts::least())) {
        let lie = if command.has_data_set() { 0x0101 } else { 1 };
        let mut elements = split(&command.to_bytes());
        elements.retain(|element| element[2..4] != [0x00, 0x08]);
        let forgotten = decode(elements.concat().into());
        elements.push(us(0x0800, lie));
        let told = decode(elements.concat().into());
        let fixed = matches!(
            command.command_field(),
            0x0001 | 0x8001 | 0x0010 | 0x0020 | 0x0021 | 0x0030 | 0x8030 | 0x0110 | 0x0150 | 0x8150 | 0x0FFF
        );
        if !fixed {
            // Where the kind leaves it open it has to be said, and is believed.
            let missing = "a command set without Command Data Set Type (0000,0800)";
            assert_eq!(forgotten, Err(Violation::Message(missing)), "{command:?}");
            assert_eq!(told.unwrap().has_data_set(), !command.has_data_set(), "{command:?}");
            continue;
        }
        assert_eq!(forgotten.as_ref(), Ok(command), "not said");
        if command.is_response() || command.command_field() == 0x0FFF {
            assert_eq!(told.as_ref(), Ok(command), "an answer counts all the same");
        } else {
            assert!(told.unwrap_err().to_string().contains("data set"), "{command:?}");
        }
    }
}
