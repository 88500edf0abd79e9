use packhorse_ids::{Digest, Kind, PayloadId, Sequence, SiteName};

use super::*;

const MIB: u64 = SEGMENT_LEN as u64;

fn routing(number: u8, priority: Priority, length: u64) -> Routing {
    Routing {
        delivery: DeliveryId::from_bytes([number; 16]),
        payload: PayloadId::from_bytes([number; 16]),
        source: SiteName::try_from("a").unwrap(),
        destination: SiteName::try_from("b").unwrap(),
        kind: Kind::Delivery,
        priority,
        sequence: Sequence(1),
        length,
        blake3: Digest::from_bytes([0; 32]),
    }
}

/// Opens and loads all that may be opened, writes all that may be written.
fn fill(schedule: &mut Schedule, window: u64) -> Vec<(Rank, u64)> {
    let mut writes = Vec::new();
    loop {
        while let Some((rank, _)) = schedule.open_next(window) {
            schedule.loaded(rank);
        }
        let Some((rank, bytes)) = schedule.next_write(window) else {
            return writes;
        };
        schedule.wrote(rank, bytes);
        writes.push((rank, bytes));
    }
}

#[test]
fn what_is_unacknowledged_stays_within_the_window_and_one_segment() {
    let mut schedule = Schedule::default();
    schedule.push(&routing(1, Priority::Routine, 50 * MIB), &SegmentSet::new());
    for window in [30_000, 3 * MIB, 20 * MIB] {
        let writes = fill(&mut schedule, window);
        assert_eq!(schedule.in_flight(), window + WRITE_AHEAD);
        assert!(writes.iter().all(|(_, bytes)| *bytes > 0));
    }
}

#[test]
fn an_acknowledged_segment_makes_room_for_as_much() {
    let mut schedule = Schedule::default();
    schedule.push(&routing(1, Priority::Routine, 50 * MIB), &SegmentSet::new());
    let first = fill(&mut schedule, MIB)[0];
    assert!(schedule.acked(first.0).is_some());
    let more: u64 = fill(&mut schedule, MIB).iter().map(|write| write.1).sum();
    assert_eq!(more, first.1);
}

#[test]
fn stat_is_written_at_once_however_much_is_under_way() {
    let mut schedule = Schedule::default();
    schedule.push(&routing(1, Priority::Bulk, 50 * MIB), &SegmentSet::new());
    schedule.push(&routing(2, Priority::Routine, 50 * MIB), &SegmentSet::new());
    let routine = fill(&mut schedule, MIB)[0].0;
    schedule.push(&routing(3, Priority::Stat, MIB), &SegmentSet::new());
    let stat = fill(&mut schedule, MIB);
    assert_eq!(stat.iter().map(|write| write.1).sum::<u64>(), MIB + 41);
    assert!(stat[0].0 < routine);
    assert!(stat[0].0.stream_priority() > routine.stream_priority());
}

#[test]
fn ranks_are_distinct_and_all_below_control() {
    let rank = |class, order| Rank { class, order }.stream_priority();
    let last = u64::from(ORDERS_PER_CLASS) - 1;
    let from_first_to_last = [
        CONTROL_PRIORITY,
        rank(Priority::Stat, 0),
        rank(Priority::Stat, 1),
        rank(Priority::Stat, last),
        rank(Priority::Routine, 0),
        rank(Priority::Routine, last),
        rank(Priority::Bulk, 0),
        rank(Priority::Bulk, last),
    ];
    assert!(from_first_to_last.is_sorted_by(|before, after| before > after));
}

#[test]
fn only_what_the_peer_lacks_is_opened() {
    let mut schedule = Schedule::default();
    let mut have = SegmentSet::new();
    have.insert_range(0..2);
    have.insert(4);
    schedule.push(&routing(1, Priority::Routine, 5 * MIB + 1), &have);
    let opened: Vec<_> = std::iter::from_fn(|| schedule.open_next(100 * MIB)).collect();
    let parts: Vec<_> = opened.iter().map(|(_, header)| (header.index, header.length)).collect();
    assert_eq!(parts, [(2, SEGMENT_LEN), (3, SEGMENT_LEN), (5, 1)]);
}

#[test]
fn a_peer_that_has_everything_is_sent_nothing() {
    let mut schedule = Schedule::default();
    schedule.push(&routing(1, Priority::Routine, 5), &SegmentSet::full(9));
    assert_eq!(schedule.open_next(MIB), None);
}

#[test]
fn an_empty_payload_is_one_segment_without_bytes() {
    let mut schedule = Schedule::default();
    schedule.push(&routing(1, Priority::Routine, 0), &SegmentSet::new());
    assert_eq!(fill(&mut schedule, MIB).len(), 1);
    assert_eq!(schedule.in_flight(), 41);
}

#[test]
fn small_segments_are_as_many_as_a_receiver_takes_and_some_are_kept_for_stat() {
    let mut schedule = Schedule::default();
    for number in 0..200 {
        schedule.push(&routing(number, Priority::Routine, 10), &SegmentSet::new());
    }
    assert_eq!(fill(&mut schedule, 100 * MIB).len(), SEGMENTS_MAX - SEGMENTS_FOR_STAT);
    for number in 0..20 {
        schedule.push(&routing(number, Priority::Stat, 10), &SegmentSet::new());
    }
    assert_eq!(fill(&mut schedule, 100 * MIB).len(), SEGMENTS_FOR_STAT);
}

#[test]
fn a_withdrawn_delivery_leaves_nothing_behind() {
    let mut schedule = Schedule::default();
    let one = routing(1, Priority::Routine, 50 * MIB);
    schedule.push(&one, &SegmentSet::new());
    let written = fill(&mut schedule, MIB);
    let given_up = schedule.withdraw(one.delivery);
    assert!(!given_up.is_empty());
    assert!(fill(&mut schedule, MIB).is_empty());
    // What was wholly written is on its way and counts until it has arrived.
    assert_eq!(schedule.in_flight(), MIB + 41);
    assert!(schedule.acked(written[0].0).is_some());
    assert_eq!(schedule.in_flight(), 0);
}

#[test]
fn a_segment_whose_lane_is_gone_goes_again_first() {
    let mut schedule = Schedule::default();
    schedule.push(&routing(1, Priority::Routine, 3 * MIB), &SegmentSet::new());
    let first = fill(&mut schedule, 1)[0].0;
    schedule.lost(first);
    assert_eq!(schedule.open_next(100 * MIB).map(|(_, header)| header.index), Some(0));
}
