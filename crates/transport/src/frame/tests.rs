use packhorse_ids::{Digest, Kind, Priority, Sequence, SiteName};
use proptest::prelude::*;

use super::*;

fn routing() -> impl Strategy<Value = Routing> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>());
    let sites = ("[a-z0-9]{1,63}", "[a-z]([a-z-]{0,61}[a-z0-9])?");
    let codes = (0u8..2, 0u8..3);
    let numbers = (any::<u64>(), 0u64..1 << 50, any::<[u8; 32]>());
    (ids, sites, codes, numbers).prop_map(|(ids, sites, codes, numbers)| Routing {
        delivery: DeliveryId::from_bytes(ids.0),
        payload: PayloadId::from_bytes(ids.1),
        source: SiteName::try_from(sites.0.as_str()).unwrap(),
        destination: SiteName::try_from(sites.1.as_str()).unwrap(),
        kind: Kind::from_code(codes.0).unwrap(),
        priority: Priority::from_code(codes.1).unwrap(),
        sequence: Sequence(numbers.0),
        length: numbers.1,
        blake3: Digest::from_bytes(numbers.2),
    })
}

fn delivery() -> impl Strategy<Value = DeliveryId> {
    any::<[u8; 16]>().prop_map(DeliveryId::from_bytes)
}

fn acked() -> impl Strategy<Value = Acked> {
    (delivery(), any::<i64>()).prop_map(|(delivery, micros)| Acked {
        delivery,
        at: WallTime::from_unix_micros(micros),
    })
}

fn segment_set() -> impl Strategy<Value = SegmentSet> {
    prop::collection::vec((0u32..9_000, 0u32..50), 0..40).prop_map(|ranges| {
        let mut set = SegmentSet::new();
        ranges
            .into_iter()
            .for_each(|(start, len)| set.insert_range(start..start + len));
        set
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (1u16..9, 0u16..9, "[ -~]{0,64}").prop_map(|(min, more, build)| Frame::Hello {
            versions: Versions { min, max: min + more },
            build,
        }),
        prop::collection::vec(routing(), 1..20).prop_map(Frame::Offer),
        (delivery(), segment_set()).prop_map(|(delivery, have)| Frame::Want { delivery, have }),
        acked().prop_map(Frame::Have),
        (delivery(), any::<u16>(), "[ -~åßé]{0,128}").prop_map(|(delivery, code, text)| Frame::Refuse {
            delivery,
            why: Refusal { code, text },
        }),
        delivery().prop_map(|delivery| Frame::Later { delivery }),
        prop::collection::vec(acked(), 1..40).prop_map(Frame::Ack),
        prop::collection::vec(delivery(), 1..40).prop_map(Frame::Withdraw),
        (any::<u16>(), "[ -~åßé]{0,128}").prop_map(|(code, sentence)| Frame::Close { code, sentence }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(frames in prop::collection::vec(frame(), 1..8), cut in 1usize..97) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let mut reader = FrameReader::default();
        let mut read = Vec::new();
        for chunk in bytes.chunks(cut) {
            reader.push(chunk);
            while let Some(frame) = reader.next_frame().unwrap() {
                read.push(frame);
            }
        }
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0u8..11) {
        decode(&bytes).ok();
        let mut framed = vec![kind];
        framed.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        framed.extend(&bytes);
        if let Ok(Decoded::Frame(frame, used)) = decode(&framed) {
            prop_assert_eq!(used, framed.len());
            let mut again = Vec::new();
            frame.encode(&mut again);
            prop_assert_eq!(decode(&again).unwrap(), Decoded::Frame(frame, again.len()));
        }
    }

    #[test]
    fn a_segment_header_reads_back(ids in any::<([u8; 16], [u8; 16])>(), index in any::<u32>(), length in 0..=SEGMENT_LEN) {
        let header = SegmentHeader {
            payload: PayloadId::from_bytes(ids.0),
            delivery: DeliveryId::from_bytes(ids.1),
            index,
            length,
        };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

#[test]
fn frames_of_an_unknown_type_are_skipped() {
    let mut reader = FrameReader::default();
    reader.push(&[200, 0, 0, 0, 3, 1, 2, 3]);
    let mut close = Vec::new();
    let frame = Frame::Close {
        code: 7,
        sentence: "why".into(),
    };
    frame.encode(&mut close);
    reader.push(&close);
    assert_eq!(reader.next_frame(), Ok(Some(frame)));
}

#[test]
fn a_longer_hello_of_a_later_version_is_read() {
    let bytes = [1, 0, 0, 0, 8, 0, 1, 0, 2, 1, b'x', 9, 9];
    let Ok(Decoded::Frame(Frame::Hello { versions, build }, 13)) = decode(&bytes) else {
        panic!("no hello");
    };
    assert_eq!((versions, build.as_str()), (Versions { min: 1, max: 2 }, "x"));
}

#[test]
fn a_frame_that_says_too_much_is_an_error_before_its_bytes_come() {
    let error = FrameError::TooLong {
        kind: OFFER,
        length: 65_537,
    };
    assert_eq!(decode(&[OFFER, 0, 1, 0, 1]), Err(error));
}

#[test]
fn the_longest_offer_fits_a_frame() {
    let site = SiteName::try_from("a".repeat(63).as_str()).unwrap();
    let routing = Routing {
        delivery: DeliveryId::from_bytes([1; 16]),
        payload: PayloadId::from_bytes([2; 16]),
        source: site.clone(),
        destination: site,
        kind: Kind::Delivery,
        priority: Priority::Stat,
        sequence: Sequence(1),
        length: 5,
        blake3: Digest::from_bytes([3; 32]),
    };
    let mut bytes = Vec::new();
    let offer = Frame::Offer(vec![routing; OFFERS_PER_FRAME]);
    offer.encode(&mut bytes);
    assert_eq!(decode(&bytes), Ok(Decoded::Frame(offer, bytes.len())));
}

#[test]
fn a_newline_in_a_sentence_does_not_arrive() {
    let mut bytes = Vec::new();
    let frame = Frame::Close {
        code: 1,
        sentence: "bad\nINFO forged".into(),
    };
    frame.encode(&mut bytes);
    let Ok(Decoded::Frame(Frame::Close { sentence, .. }, _)) = decode(&bytes) else {
        panic!("no close");
    };
    assert_eq!(sentence, "bad INFO forged");
}
