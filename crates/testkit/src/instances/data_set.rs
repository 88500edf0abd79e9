//! Writes data sets: enough for test instances. Values are given ready for the wire in little endian, text in UTF-8.

use std::collections::BTreeMap;

use super::ImageSize;

/// Whether value representations are written, and the byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Explicit VR Little Endian.
    Explicit,
    /// Implicit VR Little Endian.
    Implicit,
    /// Explicit VR Big Endian.
    BigEndian,
}

/// Data elements in the order of their tags.
#[derive(Clone, Debug, Default)]
pub struct DataSet {
    elements: BTreeMap<u32, Element>,
}

#[derive(Clone, Debug)]
enum Element {
    Value([u8; 2], Vec<u8>),
    Sequence(Vec<DataSet>),
}

const ITEM: u32 = 0xFFFE_E000;
const ITEM_DELIMITATION: u32 = 0xFFFE_E00D;
const SEQUENCE_DELIMITATION: u32 = 0xFFFE_E0DD;

impl DataSet {
    /// With an element of text, padded to even length.
    #[must_use]
    pub fn text(self, tag: u32, vr: &[u8; 2], text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == b"UI" { 0 } else { b' ' });
        }
        self.bytes(tag, vr, value)
    }

    /// With an element of one unsigned short (US).
    #[must_use]
    pub fn short(self, tag: u32, value: u16) -> Self {
        self.bytes(tag, b"US", value.to_le_bytes().to_vec())
    }

    /// With an element of bytes, which are of even length already.
    #[must_use]
    pub fn bytes(mut self, tag: u32, vr: &[u8; 2], value: Vec<u8>) -> Self {
        self.elements.insert(tag, Element::Value(*vr, value));
        self
    }

    /// With a sequence; it is written with undefined length, as its items are.
    #[must_use]
    pub fn sequence(mut self, tag: u32, items: Vec<Self>) -> Self {
        self.elements.insert(tag, Element::Sequence(items));
        self
    }

    /// With all elements of another one, which win.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.elements.extend(other.elements);
        self
    }

    /// With an image of 12 bits in 16, another one for each number.
    #[must_use]
    pub fn image(self, size: ImageSize, number: u32) -> Self {
        self.image_attributes(size)
            .bytes(0x7FE0_0010, b"OW", smooth_image(size, number))
    }

    /// What describes the pixels of [`DataSet::image`], without them.
    #[must_use]
    pub fn image_attributes(self, size: ImageSize) -> Self {
        self.short(0x0028_0002, 1)
            .text(0x0028_0004, b"CS", "MONOCHROME2")
            .short(0x0028_0010, size.rows)
            .short(0x0028_0011, size.columns)
            .short(0x0028_0100, 16)
            .short(0x0028_0101, 12)
            .short(0x0028_0102, 11)
            .short(0x0028_0103, 0)
    }

    /// The data set's bytes.
    ///
    /// # Panics
    /// When a value is longer than the length field of its VR can say.
    #[must_use]
    pub fn encode(&self, writing: Writing) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(writing, &mut out);
        out
    }

    fn encode_into(&self, writing: Writing, out: &mut Vec<u8>) {
        for (tag, element) in &self.elements {
            match element {
                Element::Value(vr, value) => {
                    let len = u32::try_from(value.len()).expect("a value's length has 32 bits");
                    element_header(*tag, *vr, len, writing, out);
                    let begin = out.len();
                    out.extend_from_slice(value);
                    if writing == Writing::BigEndian {
                        swap_bytes(*vr, &mut out[begin..]);
                    }
                }
                Element::Sequence(items) => {
                    element_header(*tag, *b"SQ", u32::MAX, writing, out);
                    for item in items {
                        push_item_header(ITEM, u32::MAX, writing, out);
                        item.encode_into(writing, out);
                        push_item_header(ITEM_DELIMITATION, 0, writing, out);
                    }
                    push_item_header(SEQUENCE_DELIMITATION, 0, writing, out);
                }
            }
        }
    }
}

/// An element's tag, VR and length.
pub(super) fn element_header(tag: u32, vr: [u8; 2], len: u32, writing: Writing, out: &mut Vec<u8>) {
    push_tag(tag, writing, out);
    if writing != Writing::Implicit {
        out.extend_from_slice(&vr);
        if !matches!(&vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT" | b"UC" | b"UR") {
            let len = u16::try_from(len).expect("a short value's length has 16 bits");
            return out.extend_from_slice(&ordered(len.to_le_bytes(), writing));
        }
        out.extend_from_slice(&[0, 0]);
    }
    out.extend_from_slice(&ordered(len.to_le_bytes(), writing));
}

/// Of an item or a delimiter, which have no VR.
fn push_item_header(tag: u32, len: u32, writing: Writing, out: &mut Vec<u8>) {
    push_tag(tag, writing, out);
    out.extend_from_slice(&ordered(len.to_le_bytes(), writing));
}

fn push_tag(tag: u32, writing: Writing, out: &mut Vec<u8>) {
    let [g, h, e, f] = tag.to_be_bytes();
    out.extend_from_slice(&ordered([h, g], writing));
    out.extend_from_slice(&ordered([f, e], writing));
}

fn ordered<const N: usize>(mut little_endian: [u8; N], writing: Writing) -> [u8; N] {
    if writing == Writing::BigEndian {
        little_endian.reverse();
    }
    little_endian
}

/// The numbers of a value, in the other byte order. Of the VRs of numbers only these are written here.
pub(super) fn swap_bytes(vr: [u8; 2], value: &mut [u8]) {
    if matches!(&vr, b"US" | b"OW") {
        value.chunks_exact_mut(2).for_each(<[u8]>::reverse);
    }
}

/// Little-endian pixels of a round bright body on a dark ground, in whole numbers only so that every machine makes the
/// same. It compresses as a phantom does.
pub(super) fn smooth_image(size: ImageSize, number: u32) -> Vec<u8> {
    let (rows, columns) = (i64::from(size.rows), i64::from(size.columns));
    let radius = (rows.min(columns) / 2).max(1);
    let shift = i64::from(number % 64);
    let pixel = |row: i64, column: i64| {
        let (y, x) = (2 * row - rows, 2 * column - columns);
        let inside = (4 * radius * radius - (x * x + y * y)).max(0);
        let bright = 2000 * inside / (4 * radius * radius);
        u16::try_from((bright + 8 * shift + row / 8).clamp(0, 4095)).unwrap_or(0)
    };
    (0..rows)
        .flat_map(|row| (0..columns).flat_map(move |column| pixel(row, column).to_le_bytes()))
        .collect()
}
