//! What a fuzzer calls with any bytes: nothing of it may panic, and nothing may grow without bound.

use std::time::{Duration, Instant};

use packhorse_ids::{SegmentSet, WallTime};

use crate::frame::{self, Frame, FrameReader, SEGMENT_HEADER_LEN, SegmentHeader, Versions};
use crate::session::{
    Arrival, Event, OFFERS_MAX, OfferAnswer, Refusal, Session, Subject, TAKES_MAX, TRANSMITS_MAX, Trouble, VERSIONS,
};

/// A control stream of these bytes.
pub fn control_frame(bytes: &[u8]) {
    let mut reader = FrameReader::default();
    for chunk in bytes.chunks(7) {
        reader.push(chunk);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => check_round_trip(&frame),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// A segment's stream that begins with these bytes.
pub fn segment_header(bytes: &[u8]) {
    if let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_LEN>()
        && let Ok(header) = SegmentHeader::decode(bytes)
    {
        assert_eq!(header.encode(), *bytes, "a header has one form");
    }
}

/// A session whose peer sends these bytes as control frames, and whose custodian answers as they say: before each chunk of
/// 64 bytes, one byte chooses.
pub fn session(bytes: &[u8]) {
    let mut now = beginning();
    let mut session = Session::new(now, "fuzzed", VERSIONS);
    let hello = Frame::Hello {
        versions: Versions { min: 1, max: 9 },
        build: String::new(),
    };
    session.handle_frame(now, hello);
    let mut reader = FrameReader::default();
    for chunk in bytes.chunks(65) {
        let Some((choice, chunk)) = chunk.split_first() else {
            return;
        };
        reader.push(chunk);
        while session.wants_frames() {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    own_offers(&mut session, &frame);
                    session.handle_frame(now, frame);
                }
                Ok(None) => break,
                Err(error) => {
                    session.handle_frame_error(error);
                    break;
                }
            }
            answer(&mut session, *choice);
        }
        now = now
            .checked_add(Duration::from_secs(u64::from(*choice & 3)))
            .unwrap_or(now);
        session.handle_timeout(now);
        send(&mut session, *choice);
        if session.is_closed() {
            return;
        }
    }
}

/// Half of what the peer offers we offer back, so that its answers can be about something.
fn own_offers(session: &mut Session, frame: &Frame) {
    if let Frame::Offer(batch) = frame {
        let room = session.offer_room(1 << 20);
        session.offer(batch.iter().take(room.min(batch.len() / 2)).cloned().collect());
    }
    assert!(session.unacked().len() <= OFFERS_MAX, "offers are bounded");
}

fn answer(session: &mut Session, choice: u8) {
    let mut answered = 0usize;
    while let Some(event) = session.poll_event() {
        answered = answered.saturating_add(1);
        match event {
            Event::Offered(routing) => {
                let subject = Subject::of(&routing);
                session.answer(subject, offer_answer(choice));
                let length = u32::try_from(routing.length.min(1 << 20)).unwrap_or(0);
                let header = SegmentHeader {
                    payload: routing.payload,
                    delivery: routing.delivery,
                    index: 0,
                    length,
                };
                if let Arrival::Take(_) = session.handle_segment(&header) {
                    session.handle_written(subject, 0, result(choice));
                }
            }
            Event::Complete(routing) => {
                session.handle_finished(Subject::of(&routing), result(choice).map(|()| WallTime::default()));
            }
            Event::Established { .. }
            | Event::Acked(_)
            | Event::Refused(..)
            | Event::Lost(_)
            | Event::Abandon(_)
            | Event::Closed(_) => {}
        }
    }
    assert!(answered <= TAKES_MAX.saturating_mul(4), "events are bounded");
}

fn offer_answer(choice: u8) -> OfferAnswer {
    match choice & 0b11_00 {
        0b00_00 => OfferAnswer::Want(SegmentSet::new()),
        0b01_00 => OfferAnswer::Have(WallTime::default()),
        0b10_00 => OfferAnswer::Later,
        _ => OfferAnswer::Want(SegmentSet::full(u32::from(choice))),
    }
}

fn result(choice: u8) -> Result<(), Trouble> {
    match choice >> 4 {
        0 => Err(Trouble::Later),
        1 => Err(Trouble::Refused(Refusal {
            code: 16,
            text: String::new(),
        })),
        _ => Ok(()),
    }
}

fn send(session: &mut Session, choice: u8) {
    let window = u64::from(choice) << 16;
    while let Some((rank, _)) = session.poll_segment(window) {
        match choice & 0b1000_0000 {
            0 => {
                session.handle_loaded(rank);
            }
            _ => session.handle_read_failed(rank, Trouble::Later),
        }
    }
    while let Some((rank, bytes)) = session.poll_write(window) {
        if session.handle_wrote(rank, bytes) && choice & 1 == 0 {
            session.handle_segment_sent(rank);
        }
    }
    let mut sent = 0usize;
    while session.poll_transmit().is_some() {
        sent = sent.saturating_add(1);
    }
    assert!(sent <= TRANSMITS_MAX.saturating_mul(2), "frames are bounded");
}

fn beginning() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any moment will do, sessions only compare")]
    Instant::now()
}

fn check_round_trip(frame: &Frame) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    assert_eq!(
        frame::decode(&bytes),
        Ok(frame::Decoded::Frame(frame.clone(), bytes.len())),
        "a frame reads back"
    );
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            control_frame(&bytes);
            segment_header(&bytes);
            session(&bytes);
        }

        #[test]
        fn frames_with_any_contents_are_survived(
            frames in prop::collection::vec((1u8..11, prop::collection::vec(0u8..3, 0..180), any::<u8>()), 0..30),
        ) {
            let mut control = Vec::new();
            for (kind, body, _) in &frames {
                control.push(*kind);
                control.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
                control.extend(body);
            }
            control_frame(&control);
            let choices = frames.iter().map(|frame| frame.2).chain(std::iter::repeat(0x20));
            let chunks = control.chunks(64).zip(choices);
            let bytes: Vec<u8> = chunks.flat_map(|(chunk, choice)| [&[choice], chunk].concat()).collect();
            session(&bytes);
        }
    }

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("control_frame")
            .iter()
            .for_each(|input| control_frame(input));
        corpus::fuzz_inputs("segment_header")
            .iter()
            .for_each(|input| segment_header(input));
        corpus::fuzz_inputs("session").iter().for_each(|input| session(input));
    }
}
