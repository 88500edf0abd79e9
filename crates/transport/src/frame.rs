//! Control frames and the header of a segment: bytes to values and back. `FRAMES.md` is the specification.
//!
//! Limits: a frame's body is at most 64 KiB. Frames of an unknown type are skipped, so that a later minor change can add
//! some; whatever else is unknown is an error.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod fields;
mod text;

use packhorse_ids::{DeliveryId, PayloadId, Routing, SEGMENT_LEN, SegmentSet, WallTime, segment_count};

use crate::session::{Acked, Refusal};
use fields::Fields;
pub(crate) use text::{BUILD_LEN_MAX, TEXT_LEN_MAX, clean};

/// The largest body of a control frame, in bytes: an offer of 256 deliveries with the longest names is 54 KB.
pub const BODY_LEN_MAX: usize = 64 << 10;
/// Bytes before a frame's body: type (1) and length of the body (4).
pub const FRAME_HEADER_LEN: usize = 5;
/// Bytes before a segment's own: kind of stream (1), payload (16), delivery (16), index (4), length (4).
pub const SEGMENT_HEADER_LEN: usize = 41;
/// Deliveries in one offer, at most.
pub const OFFERS_PER_FRAME: usize = 256;
/// Deliveries in one acknowledgement or withdrawal, at most.
pub const ACKS_PER_FRAME: usize = 1_024;
/// Ranges of a segment set that are said, at most. What is not said is sent again, which is harmless.
pub const RANGES_PER_FRAME: usize = 4_096;

const STREAM_KIND_SEGMENT: u8 = 1;

const HELLO: u8 = 1;
const OFFER: u8 = 2;
const WANT: u8 = 3;
const HAVE: u8 = 4;
const REFUSE: u8 = 5;
const LATER: u8 = 6;
const ACK: u8 = 7;
const WITHDRAW: u8 = 8;
const CLOSE: u8 = 9;

/// Protocol versions from `min` to `max`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest that is spoken.
    pub min: u16,
    /// The newest that is spoken.
    pub max: u16,
}

/// One control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of each side.
    Hello {
        /// What is spoken.
        versions: Versions,
        /// What the sender calls itself: printable ASCII, at most 64 bytes.
        build: String,
    },
    /// Deliveries that the sender has for the receiver: 1 to 256.
    Offer(Vec<Routing>),
    /// Send this delivery, but for the segments that are durable here.
    Want {
        /// Which.
        delivery: DeliveryId,
        /// What is durable here.
        have: SegmentSet,
    },
    /// This delivery is here already.
    Have(Acked),
    /// This delivery will never be taken.
    Refuse {
        /// Which.
        delivery: DeliveryId,
        /// Why.
        why: Refusal,
    },
    /// No room now for this delivery; offer it again in a while. Also revokes an earlier Want.
    Later {
        /// Which.
        delivery: DeliveryId,
    },
    /// These deliveries are durable here: 1 to 1,024.
    Ack(Vec<Acked>),
    /// These deliveries, offered before, will not be sent: 1 to 1,024.
    Withdraw(Vec<DeliveryId>),
    /// The sender closes the link.
    Close {
        /// 0 to 15 are transport's own, the rest the owner's.
        code: u16,
        /// For the peer's administrator: at most 256 bytes.
        sentence: String,
    },
}

/// What stands before a segment's bytes on its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The bytes that the segment is of.
    pub payload: PayloadId,
    /// The delivery that it is sent for.
    pub delivery: DeliveryId,
    /// Which segment, from 0.
    pub index: u32,
    /// Its length in bytes: at most [`SEGMENT_LEN`].
    pub length: u32,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The body is longer than any may be.
    #[error("a frame of type {kind} says {length} bytes, and {BODY_LEN_MAX} are allowed")]
    TooLong {
        /// Its type.
        kind: u8,
        /// The length it says.
        length: u32,
    },
    /// The body ends too early, or too late.
    #[error("a frame of type {kind} has the wrong length")]
    WrongLength {
        /// Its type.
        kind: u8,
    },
    /// A field has a value that it must not have.
    #[error("{field} in a frame of type {kind} is not valid")]
    InvalidField {
        /// The frame's type.
        kind: u8,
        /// Which field.
        field: &'static str,
    },
    /// A unidirectional stream begins with an unknown kind.
    #[error("unknown kind of stream {0}")]
    UnknownStream(u8),
    /// A segment's header says more than a segment may have.
    #[error("segment {index} says {length} bytes, and {SEGMENT_LEN} are allowed")]
    SegmentTooLong {
        /// The segment's number.
        index: u32,
        /// The length it says.
        length: u32,
    },
}

/// What the first bytes of a buffer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Not yet a whole frame.
    Incomplete,
    /// A frame of this many bytes.
    Frame(Frame, usize),
    /// A frame of an unknown type and of this many bytes.
    Unknown(usize),
}

impl Frame {
    /// Appends the frame's bytes. Lists and texts longer than a frame takes are cut, which only a caller that ignores the
    /// limits of the fields will see.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(self.kind());
        out.extend_from_slice(&[0; 4]);
        self.encode_body(out);
        let body_len = out.len().saturating_sub(start).saturating_sub(FRAME_HEADER_LEN);
        let length = u32::try_from(body_len).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(header) = out
            .get_mut(start..)
            .and_then(|frame| frame.get_mut(1..FRAME_HEADER_LEN))
        {
            header.copy_from_slice(&length);
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => HELLO,
            Self::Offer(_) => OFFER,
            Self::Want { .. } => WANT,
            Self::Have(_) => HAVE,
            Self::Refuse { .. } => REFUSE,
            Self::Later { .. } => LATER,
            Self::Ack(_) => ACK,
            Self::Withdraw(_) => WITHDRAW,
            Self::Close { .. } => CLOSE,
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { versions, build } => {
                out.extend_from_slice(&versions.min.to_be_bytes());
                out.extend_from_slice(&versions.max.to_be_bytes());
                text::put_build(out, build);
            }
            Self::Offer(batch) => batch
                .iter()
                .take(OFFERS_PER_FRAME)
                .for_each(|routing| fields::put_routing(out, routing)),
            Self::Want { delivery, have } => {
                out.extend_from_slice(delivery.as_bytes());
                for range in have.ranges().iter().take(RANGES_PER_FRAME) {
                    out.extend_from_slice(&range.start.to_be_bytes());
                    out.extend_from_slice(&range.end.to_be_bytes());
                }
            }
            Self::Have(acked) => fields::put_acked(out, acked),
            Self::Refuse { delivery, why } => {
                out.extend_from_slice(delivery.as_bytes());
                out.extend_from_slice(&why.code.to_be_bytes());
                text::put_text(out, &why.text);
            }
            Self::Later { delivery } => out.extend_from_slice(delivery.as_bytes()),
            Self::Ack(batch) => batch
                .iter()
                .take(ACKS_PER_FRAME)
                .for_each(|acked| fields::put_acked(out, acked)),
            Self::Withdraw(batch) => batch
                .iter()
                .take(ACKS_PER_FRAME)
                .for_each(|delivery| out.extend_from_slice(delivery.as_bytes())),
            Self::Close { code, sentence } => {
                out.extend_from_slice(&code.to_be_bytes());
                text::put_text(out, sentence);
            }
        }
    }

    fn decode_body(kind: u8, body: &[u8]) -> Result<Option<Self>, FrameError> {
        let mut fields = Fields::new(kind, body);
        let frame = match kind {
            HELLO => {
                let frame = fields.hello()?;
                fields.ignore_rest();
                frame
            }
            OFFER => Self::Offer(fields.list(OFFERS_PER_FRAME, Fields::routing)?),
            WANT => Self::Want {
                delivery: fields.delivery()?,
                have: fields.segment_set()?,
            },
            HAVE => Self::Have(fields.acked()?),
            REFUSE => Self::Refuse {
                delivery: fields.delivery()?,
                why: Refusal {
                    code: fields.u16()?,
                    text: fields.text()?,
                },
            },
            LATER => Self::Later {
                delivery: fields.delivery()?,
            },
            ACK => Self::Ack(fields.list(ACKS_PER_FRAME, Fields::acked)?),
            WITHDRAW => Self::Withdraw(fields.list(ACKS_PER_FRAME, Fields::delivery)?),
            CLOSE => Self::Close {
                code: fields.u16()?,
                sentence: fields.text()?,
            },
            _ => return Ok(None),
        };
        fields.end()?;
        Ok(Some(frame))
    }
}

/// Reads the frame at the beginning of `bytes`.
///
/// # Errors
/// [`FrameError`]; the bytes after it cannot be trusted then.
pub fn decode(bytes: &[u8]) -> Result<Decoded, FrameError> {
    let Some(([kind, a, b, c, d], rest)) = bytes.split_first_chunk::<FRAME_HEADER_LEN>() else {
        return Ok(Decoded::Incomplete);
    };
    let length = u32::from_be_bytes([*a, *b, *c, *d]);
    let body_len = usize::try_from(length).unwrap_or(usize::MAX);
    if body_len > BODY_LEN_MAX {
        return Err(FrameError::TooLong { kind: *kind, length });
    }
    let Some(body) = rest.get(..body_len) else {
        return Ok(Decoded::Incomplete);
    };
    let used = FRAME_HEADER_LEN.saturating_add(body_len);
    Ok(match Frame::decode_body(*kind, body)? {
        Some(frame) => Decoded::Frame(frame, used),
        None => Decoded::Unknown(used),
    })
}

impl SegmentHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        let index = self.index.to_be_bytes();
        let length = self.length.to_be_bytes();
        let parts = [STREAM_KIND_SEGMENT]
            .into_iter()
            .chain(*self.payload.as_bytes())
            .chain(*self.delivery.as_bytes())
            .chain(index)
            .chain(length);
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`FrameError`] for another kind of stream or a length that no segment has.
    pub fn decode(bytes: &[u8; SEGMENT_HEADER_LEN]) -> Result<Self, FrameError> {
        let [kind, fields @ ..] = bytes;
        if *kind != STREAM_KIND_SEGMENT {
            return Err(FrameError::UnknownStream(*kind));
        }
        let mut fields = Fields::new(0, fields);
        let header = Self {
            payload: fields.payload()?,
            delivery: fields.delivery()?,
            index: fields.u32()?,
            length: fields.u32()?,
        };
        if header.length > SEGMENT_LEN {
            return Err(FrameError::SegmentTooLong {
                index: header.index,
                length: header.length,
            });
        }
        Ok(header)
    }
}

/// Collects the bytes of a control stream and gives its frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
}

impl FrameReader {
    /// Takes the next bytes. Between two calls, [`next_frame`](Self::next_frame) must have said `None`: then at most one
    /// incomplete frame (64 KiB) is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame of a known type; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]; the stream is of no use afterwards.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            match decode(&self.buffer)? {
                Decoded::Incomplete => return Ok(None),
                Decoded::Unknown(used) => self.discard(used),
                Decoded::Frame(frame, used) => {
                    self.discard(used);
                    return Ok(Some(frame));
                }
            }
        }
    }

    fn discard(&mut self, used: usize) {
        self.buffer.drain(..used.min(self.buffer.len()));
    }
}

/// Whether a payload of this many bytes can be sent: at most `u32::MAX` segments.
fn is_sendable(length: u64) -> bool {
    segment_count(length).is_some()
}

/// A wall-clock time from its eight bytes.
const fn wall_time(bytes: [u8; 8]) -> WallTime {
    WallTime::from_unix_micros(i64::from_be_bytes(bytes))
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
