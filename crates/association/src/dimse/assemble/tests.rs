use bytes::BufMut as _;
use packhorse_dicom::status::Status;
use proptest::prelude::*;

use super::*;
use crate::dimse::{CEchoRq, CStoreRq};
use crate::pdv::{self, Pdvs};

fn context(id: u8) -> PresentationContextId {
    PresentationContextId::try_from(id).unwrap()
}

fn pdv(is_command: bool, is_last: bool, data: &[u8]) -> Pdv {
    Pdv {
        context: context(1),
        is_command,
        is_last,
        data: Bytes::copy_from_slice(data),
    }
}

fn store_rq() -> Bytes {
    let rq = CStoreRq {
        message_id: 7,
        affected_sop_class_uid: Bytes::from_static(b"1.2.840.10008.5.1.4.1.1.2\0"),
        affected_sop_instance_uid: Bytes::from_static(b"1.2.3.4\0"),
        priority: 2,
        move_originator: None,
    };
    rq.to_bytes()
}

fn violation(assembler: &mut Assembler, pdv: Pdv) -> String {
    assembler.push(pdv).unwrap_err().to_string()
}

/// One P-DATA-TF variable field with these PDVs: whether command, whether last, data.
fn body(pdvs: &[(bool, bool, &[u8])]) -> Bytes {
    let mut body = BytesMut::new();
    for (is_command, is_last, data) in pdvs {
        // Without the PDU header before it.
        body.put_slice(&pdv::frame_header(context(1), *is_command, *is_last, data.len())[6..]);
        body.put_slice(data);
    }
    body.freeze()
}

fn pieces(assembler: &mut Assembler, body: Bytes) -> Vec<Piece> {
    let mut pdvs = Pdvs::new(body);
    let mut pieces = Vec::new();
    while let Some(pdv) = pdvs.next_pdv().unwrap() {
        pieces.extend(assembler.push(pdv).unwrap());
    }
    pieces
}

fn data(bytes: &'static [u8], is_last: bool) -> Piece {
    Piece::Data {
        bytes: Bytes::from_static(bytes),
        is_last,
    }
}

#[test]
fn a_command_comes_whole_from_pdvs_of_one_byte() {
    let mut assembler = Assembler::default();
    let rq = store_rq();
    for (index, byte) in rq.iter().enumerate() {
        let last = index + 1 == rq.len();
        let piece = assembler.push(pdv(true, last, &[*byte])).unwrap();
        assert_eq!(piece.is_some(), last);
        if let Some(Piece::Command { bytes, command, .. }) = piece {
            assert_eq!((bytes, command.message_id()), (rq.clone(), 7));
        }
    }
}

#[test]
fn command_and_data_and_the_next_command_may_share_a_pdu() {
    let rq = store_rq();
    let echo = CEchoRq::new(9).to_bytes();
    let (first, second) = rq.split_at(20);
    let mut assembler = Assembler::default();
    let made = pieces(
        &mut assembler,
        body(&[
            (true, false, first),
            (true, true, second),
            (false, false, b"da"),
            (false, true, b"ta"),
            (true, true, &echo),
        ]),
    );
    let [
        Piece::Command { command, .. },
        first,
        last,
        Piece::Command { command: echo, .. },
    ] = &made[..]
    else {
        panic!("{made:?}")
    };
    assert_eq!((command.message_id(), echo.message_id()), (7, 9));
    assert_eq!((first, last), (&data(b"da", false), &data(b"ta", true)));
}

#[test]
fn command_and_data_may_come_in_pdus_of_their_own() {
    let mut assembler = Assembler::default();
    assert_eq!(pieces(&mut assembler, body(&[(true, true, &store_rq())])).len(), 1);
    let end = pieces(&mut assembler, body(&[(false, true, b"data")]));
    assert_eq!(end, [data(b"data", true)]);
}

#[test]
fn empty_pdvs_add_nothing_and_end_nothing_unless_they_say_so() {
    let mut assembler = Assembler::default();
    let rq = store_rq();
    let made = pieces(
        &mut assembler,
        body(&[
            (true, false, b""),
            (true, false, &rq),
            (true, false, b""),
            (true, true, b""),
        ]),
    );
    assert_eq!(made.len(), 1);
    let made = pieces(
        &mut assembler,
        body(&[(false, false, b""), (false, false, b"x"), (false, true, b"")]),
    );
    assert_eq!(made, [data(b"", false), data(b"x", false), data(b"", true)]);
    assert!(
        Assembler::default().push(pdv(true, true, b"")).is_err(),
        "an empty command"
    );
}

#[test]
fn data_before_a_command_is_a_violation() {
    let violation = violation(&mut Assembler::default(), pdv(false, true, b"x"));
    assert_eq!(violation, "a data fragment comes without a command");
}

#[test]
fn data_in_the_middle_of_a_command_is_a_violation() {
    let mut assembler = Assembler::default();
    assembler.push(pdv(true, false, &store_rq())).unwrap();
    let violation = violation(&mut assembler, pdv(false, true, b"x"));
    assert_eq!(violation, "a data fragment comes without a command");
}

#[test]
fn data_for_a_command_that_announced_none_is_a_violation() {
    let request = Command::from(CEchoRq::new(1));
    let answer = request.answer(Status::SUCCESS, None).unwrap();
    for command in [request, answer] {
        let mut assembler = Assembler::default();
        assembler.push(pdv(true, true, &command.to_bytes())).unwrap();
        let violation = violation(&mut assembler, pdv(false, true, b"x"));
        assert_eq!(violation, "a data fragment comes without a command", "{command:?}");
    }
}

#[test]
fn a_command_in_place_of_announced_data_is_a_violation() {
    let mut assembler = Assembler::default();
    assembler.push(pdv(true, true, &store_rq())).unwrap();
    let before = violation(&mut assembler, pdv(true, true, &store_rq()));
    assert_eq!(before, "a command fragment comes before the data set's last fragment");
    let mut assembler = Assembler::default();
    assembler.push(pdv(true, true, &store_rq())).unwrap();
    assembler.push(pdv(false, false, b"da")).unwrap();
    let inside = violation(&mut assembler, pdv(true, true, &store_rq()));
    assert_eq!(inside, "a command fragment comes before the data set's last fragment");
}

#[test]
fn the_context_may_change_between_messages_only() {
    let on = |id, pdv: Pdv| Pdv {
        context: context(id),
        ..pdv
    };
    let changes = "the presentation context changes within a message";
    let mut assembler = Assembler::default();
    let rq = store_rq();
    let (first, second) = rq.split_at(20);
    assembler.push(on(1, pdv(true, false, first))).unwrap();
    assert_eq!(violation(&mut assembler, on(3, pdv(true, true, second))), changes);

    let mut assembler = Assembler::default();
    assembler.push(on(1, pdv(true, true, &store_rq()))).unwrap();
    assert_eq!(violation(&mut assembler, on(3, pdv(false, true, b"x"))), changes);

    let mut assembler = Assembler::default();
    assembler.push(on(1, pdv(true, true, &store_rq()))).unwrap();
    assembler.push(on(1, pdv(false, true, b"x"))).unwrap();
    assembler
        .push(on(3, pdv(true, true, &CEchoRq::new(2).to_bytes())))
        .unwrap();
    assert!(assembler.push(on(5, pdv(true, true, &store_rq()))).is_ok());
}

#[test]
fn a_command_has_at_most_64_kib() {
    let mut assembler = Assembler::default();
    let piece = vec![0; 16 * 1024];
    let taken = (0..5)
        .map_while(|_| assembler.push(pdv(true, false, &piece)).ok())
        .count();
    assert_eq!(taken, 4);
    // An echo made as long as may be, and one byte longer.
    let echo = CEchoRq::new(1).to_bytes();
    for (more, is_taken) in [(0, true), (1, false)] {
        let filling = COMMAND_LEN_MAX - echo.len() - 8 + more;
        let mut long = BytesMut::from(&*echo);
        long.put_slice(&[0, 0, 0xF0, 0x0F]);
        long.put_u32_le(u32::try_from(filling).unwrap());
        long.put_bytes(0, filling);
        let taken = Assembler::default().push(pdv(true, true, &long));
        assert_eq!(taken.is_ok(), is_taken, "{more}");
    }
}

proptest! {
    #[test]
    fn any_cut_of_command_and_data_into_pdvs_and_pdus_gives_the_same(
        command_len in 1usize..80, data_len in 1usize..80, pdvs_in_pdu in 1usize..5, message in prop::collection::vec(any::<u8>(), 1..300),
    ) {
        let rq = store_rq();
        let mut parts: Vec<(bool, bool, &[u8])> = rq.chunks(command_len).map(|part| (true, false, part)).collect();
        parts.last_mut().unwrap().1 = true;
        parts.extend(message.chunks(data_len).map(|part| (false, false, part)));
        parts.last_mut().unwrap().1 = true;
        let mut assembler = Assembler::default();
        let made: Vec<Piece> = parts.chunks(pdvs_in_pdu).flat_map(|pdu| pieces(&mut assembler, body(pdu))).collect();
        let (first, rest) = made.split_first().unwrap();
        let is_whole = matches!(first, Piece::Command { bytes, .. } if *bytes == rq);
        prop_assert!(is_whole);
        let mut whole = Vec::new();
        for (index, piece) in rest.iter().enumerate() {
            let Piece::Data { bytes, is_last } = piece else { panic!("{piece:?}") };
            prop_assert_eq!(*is_last, index + 1 == rest.len());
            whole.extend_from_slice(bytes);
        }
        prop_assert_eq!(whole, message);
    }
}
