//! The scan of a data set's elements, as they follow one another.

use std::fmt;

use super::element::{ELEMENT_HEADER_MAX, Element, is_vr};
use super::pixel_data::{PixelAttributes, PixelDataKind, PixelsPlace};
use super::{Header, NUMBER_OF_STUDY_RELATED_INSTANCES, ScanOutcome, VALUE_LEN_MAX};
use crate::transfer_syntax::Encoding;

/// Sequences and items within each other, of undefined length; deeper ones end the scan. Real reports have some 20.
const DEPTH_MAX: usize = 256;
const UNDEFINED: u32 = u32::MAX;
/// Pixel Data: nothing behind it is looked for.
const PIXEL_DATA: u32 = 0x7FE0_0010;
const ITEM: u32 = 0xFFFE_E000;
const ITEM_DELIMITATION: u32 = 0xFFFE_E00D;
const SEQUENCE_DELIMITATION: u32 = 0xFFFE_E0DD;

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

/// The scan of elements. Pieces of any size give one result.
pub(super) struct Elements {
    encoding: Encoding,
    expect: Expect,
    /// Bytes of an element header that is not whole yet, or of the value that is being kept.
    pub(super) held: Vec<u8>,
    levels: Vec<Level>,
    /// Bytes taken so far.
    offset: u64,
    /// A tag behind this one ends the scan.
    last_tag: u32,
    has_passed_identity: bool,
    pixel_attributes: PixelAttributes,
    pixels: Option<PixelsPlace>,
    header: Header,
}

impl fmt::Debug for Elements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elements")
            .field("offset", &self.offset)
            .field("depth", &self.levels.len())
            .finish_non_exhaustive()
    }
}

impl Elements {
    /// Of a data set in this encoding, or of what a deflated one inflates to: that is Explicit VR Little Endian (PS3.5
    /// §A.5), and its pixels are not looked for.
    pub(super) fn new(encoding: Encoding) -> Self {
        let (encoding, last_tag) = match encoding {
            Encoding::Deflated => (Encoding::ExplicitLe, NUMBER_OF_STUDY_RELATED_INSTANCES),
            other => (other, PIXEL_DATA),
        };
        Self {
            encoding,
            expect: Expect::ElementHeader,
            held: Vec::new(),
            levels: Vec::new(),
            offset: 0,
            last_tag,
            has_passed_identity: false,
            pixel_attributes: PixelAttributes::default(),
            pixels: None,
            header: Header::default(),
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.expect, Expect::Nothing)
    }

    pub(super) const fn pixels(&self) -> Option<PixelsPlace> {
        self.pixels
    }

    pub(super) const fn has_passed_identity(&self) -> bool {
        self.has_passed_identity || self.is_done()
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
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

    /// No bytes follow: the data set is whole when they ended between two elements.
    pub(super) fn end_of_data_set(&mut self) {
        let between_elements = matches!(self.expect, Expect::ElementHeader) && self.held.is_empty();
        if between_elements && self.levels.is_empty() {
            self.end(ScanOutcome::Complete);
        }
    }

    /// Ends the scan, unless it has ended.
    pub(super) fn end(&mut self, outcome: ScanOutcome) {
        if !self.is_done() {
            self.header.outcome = outcome;
            self.expect = Expect::Nothing;
        }
    }

    pub(super) fn into_header(self) -> Header {
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
        let big = self.encoding == Encoding::ExplicitBe;
        self.pixel_attributes.keep(tag, &self.held, big);
        self.held.clear();
        Expect::ElementHeader
    }

    fn push_element_header(&mut self, bytes: &[u8]) -> usize {
        if self.held.is_empty() && bytes.len() >= ELEMENT_HEADER_MAX {
            self.adapt(bytes);
            return self.read_element_header(bytes, 0).unwrap_or(bytes.len());
        }
        self.gather_element_header(bytes)
    }

    /// An element's header over the border of pieces.
    fn gather_element_header(&mut self, bytes: &[u8]) -> usize {
        let before = self.held.len();
        let room = ELEMENT_HEADER_MAX.saturating_sub(before);
        let mut gathered = std::mem::take(&mut self.held);
        gathered.extend(bytes.iter().take(room));
        self.adapt(&gathered);
        let read = self.read_element_header(&gathered, before);
        if read.is_some() {
            gathered.clear();
        }
        self.held = gathered;
        read.map_or_else(|| bytes.len().min(room), |header_len| header_len.saturating_sub(before))
    }

    /// How long the header is that begins with these bytes, `before` of which are taken already; `None` when it is not
    /// whole.
    fn read_element_header(&mut self, bytes: &[u8], before: usize) -> Option<usize> {
        let (element, header_len) = Element::read(bytes, self.current_encoding())?;
        let begin = self.offset.saturating_sub(u64::try_from(before).unwrap_or(u64::MAX));
        let value_begin = begin.saturating_add(u64::try_from(header_len).unwrap_or(u64::MAX));
        self.expect = match self.next(&element, begin, value_begin) {
            Expect::Value { tag, left: 0 } => self.value_is_whole(tag),
            next => next,
        };
        Some(header_len)
    }

    /// Believes the first element rather than the transfer syntax: read as implicit, a VR would be a length of over 16 KiB,
    /// which none of the first elements of a data set has.
    fn adapt(&mut self, header: &[u8]) {
        let at_first_element = self.offset < 8;
        if at_first_element
            && self.encoding == Encoding::ImplicitLe
            && let Some(&[e, f]) = header.get(4..6)
            && is_vr([e, f])
        {
            self.encoding = Encoding::ExplicitLe;
        }
    }

    fn current_encoding(&self) -> Encoding {
        self.levels.last().map_or(self.encoding, |level| level.encoding)
    }

    fn ended(&mut self, outcome: ScanOutcome) -> Expect {
        self.end(outcome);
        Expect::Nothing
    }

    fn next(&mut self, element: &Element, begin: u64, value_begin: u64) -> Expect {
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
            (0xFFFE_0000..=0xFFFE_FFFF, _) | (_, Some(LevelKind::Sequence)) => self.ended(malformed),
            (_, Some(LevelKind::Item)) => self.pass(element, malformed),
            (_, None) => self.next_of_data_set(element, malformed, value_begin),
        }
    }

    /// An element that no sequence encloses.
    fn next_of_data_set(&mut self, element: &Element, malformed: ScanOutcome, value_begin: u64) -> Expect {
        let tag = element.tag;
        self.has_passed_identity |= tag > NUMBER_OF_STUDY_RELATED_INSTANCES;
        if tag > self.last_tag {
            return self.ended(ScanOutcome::Complete);
        }
        if let Some(kind) = PixelDataKind::of(tag) {
            self.pixels = Some(PixelsPlace {
                offset: value_begin,
                len: (element.length != UNDEFINED).then_some(element.length),
            });
            if element.length != UNDEFINED {
                let attributes = &self.pixel_attributes;
                self.header.pixel_data = Some(attributes.place(kind, value_begin, element.length));
            }
            return self.ended(ScanOutcome::Complete);
        }
        let wanted = self.header.keeps(tag) || self.pixel_attributes.keeps(tag);
        if wanted && element.length != UNDEFINED {
            return Expect::Value {
                tag,
                left: element.length,
            };
        }
        self.pass(element, malformed)
    }

    /// Passes over a value as a whole, or enters it where its length is undefined.
    fn pass(&mut self, element: &Element, malformed: ScanOutcome) -> Expect {
        if element.length != UNDEFINED {
            return skip(element.length);
        }
        // A sequence whose VR was unknown to its writer is in Implicit VR Little Endian (PS3.5 §6.2.2 note 2).
        let encoding = match element.vr {
            Some([b'U', b'N']) => Encoding::ImplicitLe,
            _ => self.current_encoding(),
        };
        self.open(LevelKind::Sequence, encoding, malformed)
    }

    fn open(&mut self, kind: LevelKind, encoding: Encoding, too_deep: ScanOutcome) -> Expect {
        if self.levels.len() >= DEPTH_MAX {
            return self.ended(too_deep);
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
