//! A bounded scan of a data set's beginning: the few attributes the ledger and instance rules need.
//!
//! Bytes come in pieces of any size. Nothing is kept but the named attributes, each cut at [`VALUE_LEN_MAX`] bytes; other
//! values are skipped by their length, however long, and no length is ever allocated. Nesting is kept on a stack of at
//! most 256 levels, not recursed. The scan ends at the first element behind (0020,1208), or where the bytes make
//! no sense: a strange data set is carried all the same, only less is known of it.
//!
//! Real data sets are not always written as their transfer syntax says. An element without a VR among those with one is
//! read as Implicit VR, and a data set said to be implicit whose first element has a VR is read as explicit.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fmt;

use crate::transfer_syntax::Encoding;

/// Bytes kept of one value; longer ones are cut. A person name of three component groups has at most 194 characters.
pub const VALUE_LEN_MAX: usize = 256;
/// Sequences and items within each other, of undefined length; deeper ones end the scan. Real reports have some 20.
const DEPTH_MAX: usize = 256;
/// Longest header of a data element: tag, VR, reserved, 32-bit length.
const ELEMENT_HEADER_MAX: usize = 12;
const UNDEFINED: u32 = u32::MAX;
/// Number of Study Related Instances: nothing behind it is looked for.
const LAST_TAG: u32 = 0x0020_1208;
const ITEM: u32 = 0xFFFE_E000;
const ITEM_DELIMITATION: u32 = 0xFFFE_E00D;
const SEQUENCE_DELIMITATION: u32 = 0xFFFE_E0DD;

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
    /// At the end of the bytes, perhaps within an element; a value that is not whole is not reported.
    #[default]
    EndOfData,
    /// At bytes that make no sense.
    Malformed {
        /// Where the element begins that makes none, in bytes from the data set's beginning.
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

/// An open sequence or item of undefined length. One of defined length is passed over as a whole.
#[derive(Clone, Copy, Debug)]
struct Level {
    kind: LevelKind,
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LevelKind {
    Sequence,
    Item,
}

/// The scan. See the module's documentation.
pub struct HeaderScan {
    encoding: Encoding,
    expect: Expect,
    /// Bytes of an element header that is not whole yet, or of the value that is being kept.
    held: Vec<u8>,
    levels: Vec<Level>,
    /// Bytes taken so far.
    offset: u64,
    header: Header,
}

impl fmt::Debug for HeaderScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderScan")
            .field("offset", &self.offset)
            .field("depth", &self.levels.len())
            .finish_non_exhaustive()
    }
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
            levels: Vec::new(),
            offset: 0,
            header,
        }
    }

    /// Whether nothing more is looked for. Pushing more then does nothing.
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
    pub fn finish(self) -> Header {
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
        self.expect = if rest == 0 {
            self.value_is_whole(tag)
        } else {
            Expect::Value { tag, left: rest }
        };
        taken
    }

    fn value_is_whole(&mut self, tag: u32) -> Expect {
        self.header.keep(tag, &self.held);
        self.held.clear();
        if tag == LAST_TAG {
            self.end(ScanOutcome::Complete)
        } else {
            Expect::ElementHeader
        }
    }

    /// Gathers an element's header over the border of pieces, so that pieces of any size give one result.
    fn push_element_header(&mut self, bytes: &[u8]) -> usize {
        let before = self.held.len();
        let room = ELEMENT_HEADER_MAX.saturating_sub(before);
        self.held.extend(bytes.iter().take(room));
        self.adapt();
        let Some((element, header_len)) = Element::read(&self.held, self.current_encoding()) else {
            return bytes.len().min(room);
        };
        self.held.clear();
        let begin = self.offset.saturating_sub(u64::try_from(before).unwrap_or(u64::MAX));
        self.expect = match self.next(&element, begin) {
            Expect::Value { tag, left: 0 } => self.value_is_whole(tag),
            next => next,
        };
        header_len.saturating_sub(before)
    }

    /// Believes the first element rather than the transfer syntax: read as implicit, a VR would be a length of over 16 KiB,
    /// which none of the first elements of a data set has.
    fn adapt(&mut self) {
        let at_first_element = self.offset < 8;
        if at_first_element
            && self.encoding == Encoding::ImplicitLe
            && let Some(&[e, f]) = self.held.get(4..6)
            && (LONG_VRS.contains(&&[e, f]) || SHORT_VRS.contains(&&[e, f]))
        {
            self.encoding = Encoding::ExplicitLe;
        }
    }

    fn current_encoding(&self) -> Encoding {
        self.levels.last().map_or(self.encoding, |level| level.encoding)
    }

    fn end(&mut self, outcome: ScanOutcome) -> Expect {
        self.header.outcome = outcome;
        Expect::Nothing
    }

    fn next(&mut self, element: &Element, begin: u64) -> Expect {
        let malformed = ScanOutcome::Malformed { offset: begin };
        let inside = self.levels.last().map(|level| level.kind);
        match (element.tag, inside) {
            (ITEM, Some(LevelKind::Sequence)) if element.length == UNDEFINED => {
                self.open(LevelKind::Item, self.current_encoding(), malformed)
            }
            (ITEM, Some(LevelKind::Sequence)) => skip(element.length),
            // The length of a delimiter is zero (PS3.5 §7.5); where it is not, peers ignore it.
            (ITEM_DELIMITATION, Some(kind)) => {
                // Some writers delimit items of defined length too: no item is open then.
                if kind == LevelKind::Item {
                    self.levels.pop();
                }
                Expect::ElementHeader
            }
            (SEQUENCE_DELIMITATION, Some(kind)) => {
                if kind == LevelKind::Item {
                    self.levels.pop();
                }
                self.levels.pop();
                Expect::ElementHeader
            }
            (0xFFFE_0000..=0xFFFE_FFFF, _) | (_, Some(LevelKind::Sequence)) => self.end(malformed),
            (tag, None) if tag > LAST_TAG => self.end(ScanOutcome::Complete),
            _ if element.length == UNDEFINED => {
                // A sequence whose VR was unknown to its writer is in Implicit VR Little Endian (PS3.5 §6.2.2 note 2).
                let encoding = match element.vr {
                    Some([b'U', b'N']) => Encoding::ImplicitLe,
                    _ => self.current_encoding(),
                };
                self.open(LevelKind::Sequence, encoding, malformed)
            }
            (tag, None) if tag == LAST_TAG || self.header.place(tag).is_some() => Expect::Value {
                tag,
                left: element.length,
            },
            _ => skip(element.length),
        }
    }

    fn open(&mut self, kind: LevelKind, encoding: Encoding, too_deep: ScanOutcome) -> Expect {
        if self.levels.len() >= DEPTH_MAX {
            return self.end(too_deep);
        }
        self.levels.push(Level { kind, encoding });
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

struct Element {
    tag: u32,
    /// `None` where none is written.
    vr: Option<[u8; 2]>,
    length: u32,
}

impl Element {
    /// The element whose header begins here, and how long the header is; `None` when it is not whole.
    fn read(bytes: &[u8], encoding: Encoding) -> Option<(Self, usize)> {
        let big = encoding == Encoding::ExplicitBe;
        let two = if big { u16::from_be_bytes } else { u16::from_le_bytes };
        let four = if big { u32::from_be_bytes } else { u32::from_le_bytes };
        let &[a, b, c, d, e, f, g, h] = bytes.first_chunk()?;
        let tag = u32::from(two([a, b])) << 16 | u32::from(two([c, d]));
        let without_vr = encoding == Encoding::ImplicitLe || tag >> 16 == 0xFFFE;
        let length_field = if without_vr {
            LengthField::BesideNoVr
        } else {
            LengthField::of([e, f], [g, h])
        };
        let (vr, length, header_len) = match length_field {
            LengthField::BesideNoVr => (None, four([e, f, g, h]), 8),
            LengthField::SixteenBits => (Some([e, f]), u32::from(two([g, h])), 8),
            LengthField::ThirtyTwoBits => (Some([e, f]), four(*bytes.get(8..)?.first_chunk()?), 12),
        };
        Some((Self { tag, vr, length }, header_len))
    }
}

/// Where an element's length is.
enum LengthField {
    SixteenBits,
    /// Behind two reserved bytes.
    ThirtyTwoBits,
    /// 32 bits where the VR would be.
    BesideNoVr,
}

impl LengthField {
    /// By the VR and the two bytes behind it. VRs to come have 32 bits (PS3.5 §7.1.2), but writers have invented short
    /// ones: the reserved bytes decide.
    fn of(vr: [u8; 2], behind: [u8; 2]) -> Self {
        if LONG_VRS.contains(&&vr) {
            Self::ThirtyTwoBits
        } else if SHORT_VRS.contains(&&vr) || vr == *b"??" {
            Self::SixteenBits
        } else if !vr.iter().all(u8::is_ascii_uppercase) {
            Self::BesideNoVr
        } else if behind == [0, 0] {
            Self::ThirtyTwoBits
        } else {
            Self::SixteenBits
        }
    }
}

/// VRs with two reserved bytes and a 32-bit length (PS3.5 Table 7.1-1).
const LONG_VRS: [&[u8; 2]; 13] = [
    b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
];
/// VRs with a 16-bit length (PS3.5 Table 7.1-2).
const SHORT_VRS: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
];

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
