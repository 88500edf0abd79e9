//! What a fuzzer calls with any bytes: nothing of it may panic, and nothing may grow without bound.

use crate::frame::{self, FrameReader, SEGMENT_HEADER_LEN, SegmentHeader};

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

fn check_round_trip(frame: &frame::Frame) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    assert_eq!(
        frame::decode(&bytes),
        Ok(frame::Decoded::Frame(frame.clone(), bytes.len())),
        "a frame reads back"
    );
}
