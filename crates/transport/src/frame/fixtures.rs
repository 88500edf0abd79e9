//! The bytes of version 1, so that the wire's form cannot change without a test that says so. Never edit an entry.

use packhorse_ids::{Digest, Kind, Priority, Sequence, SiteName};

use super::*;

const HELLO_1: &str = "01 0000000f 0001 0003 0a 65646765 20 302e312e30";
const OFFER_1: &str = "02 00000062 11111111111111111111111111111111 22222222222222222222222222222222 \
    07 73742d6d617279 07 636c696e696331 00 01 0000000000000005 0000000000300001 \
    3333333333333333333333333333333333333333333333333333333333333333";
const WANT_1: &str = "03 00000020 11111111111111111111111111111111 00000000 00000002 00000005 00000009";
const HAVE_1: &str = "04 00000018 11111111111111111111111111111111 000661112f9d5e40";
const REFUSE_1: &str = "05 0000001a 11111111111111111111111111111111 0007 0006 6e6f 20 757365";
const LATER_1: &str = "06 00000010 11111111111111111111111111111111";
const ACK_1: &str = "07 00000030 11111111111111111111111111111111 000661112f9d5e40 \
    44444444444444444444444444444444 ffffffffffffffff";
const WITHDRAW_1: &str = "08 00000020 11111111111111111111111111111111 44444444444444444444444444444444";
const CLOSE_1: &str = "09 00000007 0010 0003 627965";
const SEGMENT_1: &str = "01 22222222222222222222222222222222 11111111111111111111111111111111 00000003 00100000";

#[test]
fn version_1_frames_keep_their_bytes() {
    let delivery = DeliveryId::from_bytes([0x11; 16]);
    let other = DeliveryId::from_bytes([0x44; 16]);
    let at = WallTime::from_unix_micros(0x0006_6111_2f9d_5e40);
    let mut have = SegmentSet::new();
    have.insert_range(0..2);
    have.insert_range(5..9);
    let cases = [
        (
            HELLO_1,
            Frame::Hello {
                versions: Versions { min: 1, max: 3 },
                build: "edge 0.1.0".to_owned(),
            },
        ),
        (OFFER_1, Frame::Offer(vec![routing()])),
        (WANT_1, Frame::Want { delivery, have }),
        (HAVE_1, Frame::Have(Acked { delivery, at })),
        (
            REFUSE_1,
            Frame::Refuse {
                delivery,
                why: Refusal {
                    code: 7,
                    text: "no use".to_owned(),
                },
            },
        ),
        (LATER_1, Frame::Later { delivery }),
        (
            ACK_1,
            Frame::Ack(vec![
                Acked { delivery, at },
                Acked {
                    delivery: other,
                    at: WallTime::from_unix_micros(-1),
                },
            ]),
        ),
        (WITHDRAW_1, Frame::Withdraw(vec![delivery, other])),
        (
            CLOSE_1,
            Frame::Close {
                code: 16,
                sentence: "bye".to_owned(),
            },
        ),
    ];
    for (hex, frame) in cases {
        let bytes = bytes_of(hex);
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        assert_eq!(encoded, bytes, "{frame:?}");
        assert_eq!(decode(&bytes), Ok(Decoded::Frame(frame, bytes.len())));
    }
}

#[test]
fn version_1_segment_headers_keep_their_bytes() {
    let header = SegmentHeader {
        payload: PayloadId::from_bytes([0x22; 16]),
        delivery: DeliveryId::from_bytes([0x11; 16]),
        index: 3,
        length: SEGMENT_LEN,
    };
    let bytes: [u8; SEGMENT_HEADER_LEN] = bytes_of(SEGMENT_1).try_into().unwrap();
    assert_eq!(header.encode(), bytes);
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
}

fn routing() -> Routing {
    Routing {
        delivery: DeliveryId::from_bytes([0x11; 16]),
        payload: PayloadId::from_bytes([0x22; 16]),
        source: SiteName::try_from("st-mary").unwrap(),
        destination: SiteName::try_from("clinic1").unwrap(),
        kind: Kind::Delivery,
        priority: Priority::Routine,
        sequence: Sequence(5),
        length: 0x0030_0001,
        blake3: Digest::from_bytes([0x33; 32]),
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(char::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
    pairs.map(|pair| u8::from_str_radix(&pair, 16).unwrap()).collect()
}
