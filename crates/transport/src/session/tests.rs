mod pair;

use std::time::{Duration, Instant};

use packhorse_ids::{Digest, Kind, Priority, SEGMENT_LEN, Sequence, SiteName};

use super::*;
use pair::{Pair, Side, a_moment};

const MIB: u64 = SEGMENT_LEN as u64;

pub(super) fn routing(number: u8, length: u64) -> Routing {
    Routing {
        delivery: DeliveryId::from_bytes([number; 16]),
        payload: PayloadId::from_bytes([number; 16]),
        source: SiteName::try_from("a").unwrap(),
        destination: SiteName::try_from("b").unwrap(),
        kind: Kind::Delivery,
        priority: Priority::from_code(number % 3).unwrap(),
        sequence: Sequence(number.into()),
        length,
        blake3: Digest::from_bytes([number; 32]),
    }
}

/// Deliveries from both sides: empty, small, and of several segments; 15 segments each way.
fn both_ways() -> (Vec<Routing>, Vec<Routing>) {
    let lengths = [0, 10, 3 * MIB, 5 * MIB + 1, MIB, 2 * MIB + 5];
    let from_a = (1..).zip(lengths).map(|(number, length)| routing(number, length));
    let from_b = (101..).zip(lengths).map(|(number, length)| routing(number, length));
    (from_a.collect(), from_b.collect())
}

const SEGMENTS_EACH_WAY: usize = 15;

fn sides() -> (Side, Side) {
    let (from_a, from_b) = both_ways();
    (Side::new(from_a), Side::new(from_b))
}

fn assert_all_arrived(a: &Side, b: &Side) {
    let (from_a, from_b) = both_ways();
    for (from, to, sent) in [(a, b, from_a), (b, a, from_b)] {
        let ids: Vec<DeliveryId> = sent.iter().map(|routing| routing.delivery).collect();
        assert!(ids.iter().all(|id| to.kept.contains(id)), "kept {:?}", to.kept);
        assert!(ids.iter().all(|id| from.acked.contains(id)), "acked {:?}", from.acked);
        assert_eq!(to.finished, ids.len(), "each is finished once");
    }
}

#[test]
fn everything_goes_both_ways_in_any_order_with_doubles() {
    for seed in 1..200 {
        let (a, b) = sides();
        let mut pair = Pair::new(a, b, seed);
        pair.doubles = true;
        pair.run();
        assert_all_arrived(&pair.a, &pair.b);
        assert!(pair.a.session.unacked().is_empty() && pair.b.session.unacked().is_empty());
    }
}

#[test]
fn a_link_lost_at_any_step_is_resumed_without_sending_anything_twice() {
    let (a, b) = sides();
    let mut whole = Pair::new(a, b, 7);
    let steps = whole.run();
    assert!(steps > 60, "{steps}");
    for cut in 0..steps {
        let (a, b) = sides();
        let mut first = Pair::new(a, b, 7);
        first.run_for(cut);
        let (a, b) = first.end();
        let (at_a, at_b) = (a.durable(), b.durable());
        let mut second = Pair::new(a, b, cut as u64 + 1);
        second.run();
        assert_all_arrived(&second.a, &second.b);
        assert_eq!(second.b.taken, SEGMENTS_EACH_WAY - at_b, "cut at {cut}");
        assert_eq!(second.a.sent_on_this_link, SEGMENTS_EACH_WAY - at_b, "cut at {cut}");
        assert_eq!(second.b.sent_on_this_link, SEGMENTS_EACH_WAY - at_a, "cut at {cut}");
    }
}

#[test]
fn a_receiver_that_restarts_gets_again_what_was_not_durable() {
    for cut in 0..90 {
        let (a, b) = sides();
        let mut first = Pair::new(a, b, 3);
        first.run_for(cut);
        let (a, mut b) = first.end();
        b.forget_every_other_part();
        let at_b = b.durable();
        let mut second = Pair::new(a, b, 5);
        second.run();
        assert_all_arrived(&second.a, &second.b);
        assert_eq!(second.a.sent_on_this_link, SEGMENTS_EACH_WAY - at_b, "cut at {cut}");
    }
}

#[test]
fn a_sender_that_restarts_offers_again_what_it_has_no_acknowledgement_for() {
    for cut in 0..90 {
        let (a, b) = sides();
        let mut first = Pair::new(a, b, 11);
        first.run_for(cut);
        let (mut a, b) = first.end();
        // Killed before it wrote its acknowledgements down.
        let all = both_ways().0;
        a.outbox = all;
        a.acked.clear();
        let at_b = b.durable();
        let mut second = Pair::new(a, b, 13);
        second.run();
        assert_all_arrived(&second.a, &second.b);
        assert_eq!(second.a.sent_on_this_link, SEGMENTS_EACH_WAY - at_b, "cut at {cut}");
    }
}

#[test]
fn what_finds_no_room_is_offered_again_later() {
    let (a, mut b) = sides();
    b.later_first = 4;
    let mut pair = Pair::new(a, b, 1);
    let begun = pair.now;
    pair.run();
    assert_all_arrived(&pair.a, &pair.b);
    assert!(pair.now - begun >= Duration::from_secs(2));
    assert!(pair.now - begun < Duration::from_secs(3));
}

#[test]
fn a_write_that_fails_is_repaired_by_a_later_offer() {
    let (a, mut b) = sides();
    b.fail_writes = 3;
    let mut pair = Pair::new(a, b, 1);
    pair.run();
    assert_all_arrived(&pair.a, &pair.b);
    assert_eq!(pair.b.taken - SEGMENTS_EACH_WAY, 3);
}

#[test]
fn a_payload_that_cannot_be_read_is_withdrawn_and_given_back() {
    let (mut a, b) = sides();
    let unreadable = DeliveryId::from_bytes([4; 16]);
    a.unreadable = Some(unreadable);
    let mut pair = Pair::new(a, b, 9);
    pair.run();
    assert_eq!(pair.a.lost, [unreadable]);
    assert!(!pair.b.kept.contains(&unreadable));
    assert_eq!(pair.b.kept.len(), 5);
    assert!(pair.a.session.unacked().is_empty());
}

#[test]
fn acknowledgements_are_gathered() {
    let now = a_moment();
    let mut session = established(now);
    for number in 1..=200 {
        let routing = routing(number, 10);
        let subject = Subject::of(&routing);
        session.handle_frame(now, Frame::Offer(vec![routing]));
        session.answer(subject, OfferAnswer::Want(SegmentSet::full(1)));
        session.handle_finished(subject, Ok(WallTime::default()));
    }
    let frames: Vec<Frame> = std::iter::from_fn(|| session.poll_transmit()).collect();
    let [Frame::Ack(acks)] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    assert_eq!(acks.len(), 200);
}

#[test]
fn nothing_is_acknowledged_before_it_is_finished() {
    let now = a_moment();
    let mut session = established(now);
    let routing = routing(1, 10);
    session.handle_frame(now, Frame::Offer(vec![routing.clone()]));
    session.answer(Subject::of(&routing), OfferAnswer::Want(SegmentSet::new()));
    assert!(matches!(session.poll_transmit(), Some(Frame::Want { .. })));
    let header = SegmentHeader {
        payload: routing.payload,
        delivery: routing.delivery,
        index: 0,
        length: 10,
    };
    assert!(matches!(session.handle_segment(&header), Arrival::Take(_)));
    session.handle_written(Subject::of(&routing), 0, Ok(()));
    assert_eq!(session.poll_transmit(), None);
    session.handle_finished(Subject::of(&routing), Ok(WallTime::default()));
    assert!(matches!(session.poll_transmit(), Some(Frame::Ack(_))));
}

#[test]
fn no_version_in_common_ends_with_words_for_the_administrator() {
    let now = a_moment();
    let mut edge = Session::new(now, "this edge", Versions { min: 1, max: 1 });
    let mut relay = Session::new(now, "relay", Versions { min: 2, max: 3 });
    let (from_edge, from_relay) = (edge.poll_transmit().unwrap(), relay.poll_transmit().unwrap());
    edge.handle_frame(now, from_relay);
    relay.handle_frame(now, from_edge);
    let sentence = "relay speaks 2 to 3, this edge 1: update this edge".to_owned();
    for session in [&mut edge, &mut relay] {
        let close = Frame::Close {
            code: CLOSE_VERSION,
            sentence: sentence.clone(),
        };
        assert_eq!(session.poll_transmit(), Some(close));
        let ending = Ending::VersionMismatch {
            sentence: sentence.clone(),
        };
        assert_eq!(session.poll_event(), Some(Event::Closed(ending)));
    }
}

#[test]
fn the_newest_common_version_is_spoken() {
    let now = a_moment();
    let mut session = Session::new(now, "new", Versions { min: 1, max: 4 });
    let hello = Frame::Hello {
        versions: Versions { min: 2, max: 3 },
        build: "old".to_owned(),
    };
    session.handle_frame(now, hello);
    let established = Event::Established {
        version: 3,
        peer_build: "old".to_owned(),
    };
    assert_eq!(session.poll_event(), Some(established));
}

#[test]
fn a_peer_that_breaks_the_protocol_is_told_so() {
    let now = a_moment();
    let later = Frame::Later {
        delivery: DeliveryId::from_bytes([0; 16]),
    };
    let mut early = Session::new(now, "x", VERSIONS);
    early.handle_frame(now, later);
    assert_eq!(violation(&mut early), Some(Violation::NoHello));

    let mut silent = Session::new(now, "x", VERSIONS);
    silent.handle_timeout(now + HELLO_TIMEOUT);
    assert_eq!(violation(&mut silent), Some(Violation::HelloTimedOut));

    let mut twice = established(now);
    let hello = Frame::Hello {
        versions: VERSIONS,
        build: String::new(),
    };
    twice.handle_frame(now, hello);
    assert_eq!(violation(&mut twice), Some(Violation::SecondHello));

    let mut long = established(now);
    let offered = routing(1, 10);
    long.handle_frame(now, Frame::Offer(vec![offered.clone()]));
    long.answer(Subject::of(&offered), OfferAnswer::Want(SegmentSet::new()));
    let header = SegmentHeader {
        payload: offered.payload,
        delivery: offered.delivery,
        index: 0,
        length: 11,
    };
    assert_eq!(long.handle_segment(&header), Arrival::Drop);
    let expected = Violation::SegmentLength { index: 0, length: 11 };
    assert_eq!(violation(&mut long), Some(expected));
}

#[test]
fn a_peer_that_offers_without_end_is_cut_off() {
    let now = a_moment();
    let mut session = established(now);
    for number in 0..=u32::try_from(TAKES_MAX).unwrap() {
        let mut routing = routing(0, 10);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        routing.delivery = DeliveryId::from_bytes(id);
        session.handle_frame(now, Frame::Offer(vec![routing]));
        while matches!(session.poll_event(), Some(Event::Offered(_))) {}
    }
    assert!(session.is_closed());
}

#[test]
fn a_peer_that_reads_no_answers_is_not_read_from() {
    let now = a_moment();
    let mut session = established(now);
    let offered = routing(1, 10);
    session.handle_frame(now, Frame::Offer(vec![offered.clone()]));
    session.answer(Subject::of(&offered), OfferAnswer::Want(SegmentSet::new()));
    for _ in 0..TRANSMITS_MAX {
        session.handle_frame(now, Frame::Offer(vec![offered.clone()]));
    }
    assert!(!session.wants_frames());
    while session.poll_transmit().is_some() {}
    assert!(session.wants_frames());
}

#[test]
fn acknowledgements_that_wait_go_before_the_close() {
    let now = a_moment();
    let mut session = established(now);
    let routing = routing(1, 10);
    session.handle_frame(now, Frame::Offer(vec![routing.clone()]));
    session.answer(Subject::of(&routing), OfferAnswer::Want(SegmentSet::full(1)));
    session.handle_finished(Subject::of(&routing), Ok(WallTime::default()));
    session.close(CLOSE_STOPPED, "bye");
    assert!(matches!(session.poll_transmit(), Some(Frame::Ack(_))));
    assert!(matches!(session.poll_transmit(), Some(Frame::Close { .. })));
    assert_eq!(session.poll_transmit(), None);
}

#[test]
fn a_few_large_deliveries_do_not_fill_the_window_of_offers() {
    let now = a_moment();
    let mut session = established(now);
    session.offer(vec![routing(1, 1 << 40)]);
    assert!(session.offer_room(0) > 0);
    session.offer((2..8).map(|number| routing(number, 1 << 40)).collect());
    assert_eq!(session.offer_room(0), 0);
    assert!(session.offer_room(20 << 20) > 0);
}

fn violation(session: &mut Session) -> Option<Violation> {
    std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
        Event::Closed(Ending::PeerMisbehaved(violation)) => Some(violation),
        _ => None,
    })
}

fn established(now: Instant) -> Session {
    let mut session = Session::new(now, "x", VERSIONS);
    let hello = Frame::Hello {
        versions: VERSIONS,
        build: "y".to_owned(),
    };
    session.handle_frame(now, hello);
    while session.poll_transmit().is_some() {}
    while session.poll_event().is_some() {}
    session
}
