//! A bounded scan of a data set's beginning: the few attributes the ledger and instance rules need.
//!
//! Bytes come in pieces of any size. Nothing is kept but the named attributes, each cut at [`VALUE_LEN_MAX`] bytes; other
//! values are skipped by their length, however long, and no length is ever allocated. Nesting is counted, not recursed.
//! The scan ends at the first element behind (0020,1208), or where the bytes make no sense: a strange data set is
//! carried all the same, only less is known of it.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fmt;

use crate::transfer_syntax::Encoding;

/// Bytes kept of one value; longer ones are cut. A person name of three component groups has at most 194 characters.
pub const VALUE_LEN_MAX: usize = 256;
/// Sequences within sequences; deeper ones end the scan.
const DEPTH_MAX: usize = 64;
/// Longest header of a data element: tag, VR, reserved, 32-bit length.
const ELEMENT_HEADER_MAX: usize = 12;
const UNDEFINED: u32 = u32::MAX;
const LAST_TAG: u32 = 0x0020_1208;

/// What the scan found. Values are raw bytes with their padding; `None` when absent (or empty).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// (0008,0016)
    pub sop_class_uid: Option<Box<[u8]>>,
    /// (0008,0018)
    pub sop_instance_uid: Option<Box<[u8]>>,
    /// (0020,000D)
    pub study_instance_uid: Option<Box<[u8]>>,
    /// (0020,000E)
    pub series_instance_uid: Option<Box<[u8]>>,
    /// (0008,0005)
    pub specific_character_set: Option<Box<[u8]>>,
    /// (0008,0020)
    pub study_date: Option<Box<[u8]>>,
    /// (0008,0030)
    pub study_time: Option<Box<[u8]>>,
    /// (0008,0050)
    pub accession_number: Option<Box<[u8]>>,
    /// (0008,0060)
    pub modality: Option<Box<[u8]>>,
    /// (0008,0080)
    pub institution_name: Option<Box<[u8]>>,
    /// (0008,1030)
    pub study_description: Option<Box<[u8]>>,
    /// (0010,0010)
    pub patient_name: Option<Box<[u8]>>,
    /// (0010,0020)
    pub patient_id: Option<Box<[u8]>>,
    /// (0010,0021)
    pub issuer_of_patient_id: Option<Box<[u8]>>,
    /// (0020,1208), the number its text says.
    pub number_of_study_related_instances: Option<u32>,
    /// How the scan ended.
    pub outcome: ScanOutcome,
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScanOutcome {
    /// At an element behind the last that is looked for.
    Complete,
    /// At the end of the data set.
    #[default]
    EndOfData,
    /// At bytes that make no sense.
    Malformed {
        /// Where, in bytes from the data set's beginning.
        offset: u64,
    },
    /// Nothing was read: the data set is deflated.
    Opaque,
}

/// No values: they are a patient's.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl Header {
    fn place(&mut self, tag: u32) -> Option<&mut Option<Box<[u8]>>> {
        Some(match tag {
            0x0008_0005 => &mut self.specific_character_set,
            0x0008_0016 => &mut self.sop_class_uid,
            0x0008_0018 => &mut self.sop_instance_uid,
            0x0008_0020 => &mut self.study_date,
            0x0008_0030 => &mut self.study_time,
            0x0008_0050 => &mut self.accession_number,
            0x0008_0060 => &mut self.modality,
            0x0008_0080 => &mut self.institution_name,
            0x0008_1030 => &mut self.study_description,
            0x0010_0010 => &mut self.patient_name,
            0x0010_0020 => &mut self.patient_id,
            0x0010_0021 => &mut self.issuer_of_patient_id,
            0x0020_000D => &mut self.study_instance_uid,
            0x0020_000E => &mut self.series_instance_uid,
            _ => return None,
        })
    }

    fn keep(&mut self, tag: u32, value: &[u8]) {
        if tag == LAST_TAG {
            let text = str::from_utf8(value).unwrap_or_default();
            self.number_of_study_related_instances = text.trim_matches([' ', '\0']).parse().ok();
        } else if let Some(place) = self.place(tag)
            && !value.is_empty()
        {
            *place = Some(value.into());
        }
    }
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
enum Expect {
    ElementHeader,
    /// So many bytes to pass over.
    Skip(u64),
    /// The value of a wanted element: so many bytes left, of which some are kept.
    Value {
        tag: u32,
        left: u32,
    },
    Nothing,
}

/// The scan. See the module's documentation.
pub struct HeaderScan {
    encoding: Encoding,
    expect: Expect,
    /// Bytes of an element header that is not whole yet, or of the value that is being kept.
    held: Vec<u8>,
    /// Open sequences and items of undefined length.
    depth: usize,
    offset: u64,
    header: Header,
}

impl fmt::Debug for HeaderScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderScan")
            .field("offset", &self.offset)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

struct Element {
    tag: u32,
    is_sequence: bool,
    length: u32,
}

impl HeaderScan {
    /// A scan of a data set in this encoding.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        let mut header = Header::default();
        let mut expect = Expect::ElementHeader;
        if encoding == Encoding::Deflated {
            header.outcome = ScanOutcome::Opaque;
            expect = Expect::Nothing;
        }
        Self {
            encoding,
            expect,
            held: Vec::new(),
            depth: 0,
            offset: 0,
            header,
        }
    }

    /// Whether nothing more is looked for.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.expect, Expect::Nothing)
    }

    /// The next bytes of the data set.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_done() {
            let taken = match self.expect {
                Expect::ElementHeader => self.push_element_header(bytes),
                Expect::Skip(left) => self.push_skip(left, bytes.len()),
                Expect::Value { tag, left } => self.push_value(tag, left, bytes),
                Expect::Nothing => return,
            };
            self.offset = self.offset.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Header {
        if let Expect::Value { tag, .. } = self.expect {
            let held = std::mem::take(&mut self.held);
            self.header.keep(tag, &held);
        }
        self.header
    }

    fn push_skip(&mut self, left: u64, available: usize) -> usize {
        let taken = left.min(u64::try_from(available).unwrap_or(u64::MAX));
        let rest = left.saturating_sub(taken);
        self.expect = if rest == 0 {
            Expect::ElementHeader
        } else {
            Expect::Skip(rest)
        };
        usize::try_from(taken).unwrap_or(available)
    }

    fn push_value(&mut self, tag: u32, left: u32, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let room = VALUE_LEN_MAX.saturating_sub(self.held.len());
        self.held.extend(bytes.iter().take(taken.min(room)));
        let rest = left.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        self.expect = Expect::Value { tag, left: rest };
        if rest == 0 {
            let held = std::mem::take(&mut self.held);
            self.header.keep(tag, &held);
            self.expect = if tag == LAST_TAG {
                self.end(ScanOutcome::Complete)
            } else {
                Expect::ElementHeader
            };
        }
        taken
    }

    /// Gathers an element's header byte by byte at its border, so that pieces of any size give one result.
    fn push_element_header(&mut self, bytes: &[u8]) -> usize {
        let before = self.held.len();
        let room = ELEMENT_HEADER_MAX.saturating_sub(before);
        self.held.extend(bytes.iter().take(room));
        match self.element() {
            None if self.held.len() >= ELEMENT_HEADER_MAX => {
                self.expect = self.malformed();
                bytes.len()
            }
            None => bytes.len().min(room),
            Some((element, header_len)) => {
                self.held.clear();
                self.expect = self.next(&element);
                if let Expect::Value { tag, left: 0 } = self.expect {
                    self.header.keep(tag, &[]);
                    self.expect = Expect::ElementHeader;
                }
                header_len.saturating_sub(before)
            }
        }
    }

    fn malformed(&mut self) -> Expect {
        self.end(ScanOutcome::Malformed { offset: self.offset })
    }

    fn end(&mut self, outcome: ScanOutcome) -> Expect {
        self.header.outcome = outcome;
        Expect::Nothing
    }

    /// The element whose header is held, and how long the header is; `None` when it is not whole.
    fn element(&self) -> Option<(Element, usize)> {
        let &[a, b, c, d, ..] = self.held.as_slice() else {
            return None;
        };
        let big = self.encoding == Encoding::ExplicitBe;
        let two = |x: u8, y: u8| {
            if big {
                u16::from_be_bytes([x, y])
            } else {
                u16::from_le_bytes([x, y])
            }
        };
        let four = |bytes: [u8; 4]| {
            if big {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
        let tag = u32::from(two(a, b)) << 16 | u32::from(two(c, d));
        let &[e, f, g, h] = self.held.get(4..8)? else {
            return None;
        };
        if self.encoding == Encoding::ImplicitLe || tag >> 16 == 0xFFFE {
            let length = four([e, f, g, h]);
            return Some((
                Element {
                    tag,
                    is_sequence: length == UNDEFINED,
                    length,
                },
                8,
            ));
        }
        let vr = [e, f];
        if has_long_length(vr) {
            let length = four(*self.held.get(8..12)?.first_chunk()?);
            return Some((
                Element {
                    tag,
                    is_sequence: vr == *b"SQ" || length == UNDEFINED,
                    length,
                },
                12,
            ));
        }
        Some((
            Element {
                tag,
                is_sequence: false,
                length: u32::from(two(g, h)),
            },
            8,
        ))
    }

    fn next(&mut self, element: &Element) -> Expect {
        match element.tag {
            // Item, item delimitation, sequence delimitation (PS3.5 §7.5).
            0xFFFE_E000 if element.length == UNDEFINED => self.open(),
            // An item of defined length inside a sequence of undefined length: passed over as a whole.
            0xFFFE_E000 if self.depth > 0 => skip(element.length),
            0xFFFE_E00D | 0xFFFE_E0DD if self.depth > 0 => {
                self.depth = self.depth.saturating_sub(1);
                skip(element.length)
            }
            0xFFFE_0000..=0xFFFE_FFFF => self.malformed(),
            _ if element.is_sequence && element.length == UNDEFINED => self.open(),
            _ if element.length == UNDEFINED => self.malformed(),
            _ if self.depth > 0 => skip(element.length),
            tag if tag > LAST_TAG => self.end(ScanOutcome::Complete),
            tag if tag == LAST_TAG || self.header.place(tag).is_some() => Expect::Value {
                tag,
                left: element.length,
            },
            _ => skip(element.length),
        }
    }

    fn open(&mut self) -> Expect {
        if self.depth >= DEPTH_MAX {
            return self.malformed();
        }
        self.depth = self.depth.saturating_add(1);
        Expect::ElementHeader
    }
}

fn skip(length: u32) -> Expect {
    if length == 0 {
        Expect::ElementHeader
    } else {
        Expect::Skip(u64::from(length))
    }
}

/// VRs with two reserved bytes and a 32-bit length (PS3.5 Table 7.1-1); all others, unknown ones too, have a 16-bit one.
fn has_long_length(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV"
    )
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
