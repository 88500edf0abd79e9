//! A data set as a tree. Values are little endian, whatever they were read from.

use bytes::Bytes;
use dicom_core::{Tag, VR};

/// One data element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) tag: Tag,
    /// `None`: it was read from an implicit VR, and the dictionary has not been asked.
    pub(crate) vr: Option<VR>,
    pub(crate) value: Value,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Bytes of any VR but SQ.
    Bytes(Bytes),
    /// Items.
    Sequence {
        items: Vec<Item>,
        /// Ends by a delimiter, and not by a length.
        is_delimited: bool,
    },
    /// Pixel Data as fragments; the first is the Basic Offset Table (PS3.5 §A.4).
    Fragments(Vec<Bytes>),
}

/// One item of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) elements: Vec<Element>,
    /// Ends by a delimiter, and not by a length.
    pub(crate) is_delimited: bool,
}

impl Element {
    /// Whether it is the length of its group: computed anew where it is written.
    pub(crate) fn is_group_length(&self) -> bool {
        self.tag.element() == 0
            && self.vr.is_none_or(|vr| vr == VR::UL)
            && matches!(&self.value, Value::Bytes(bytes) if bytes.len() == 4)
    }
}

/// The element with this tag, the first of several.
pub(crate) fn find(elements: &[Element], tag: Tag) -> Option<&Element> {
    elements.iter().find(|element| element.tag == tag)
}

/// The bytes of the element with this tag.
pub(crate) fn bytes_of(elements: &[Element], tag: Tag) -> Option<&Bytes> {
    match &find(elements, tag)?.value {
        Value::Bytes(bytes) => Some(bytes),
        Value::Sequence { .. } | Value::Fragments(_) => None,
    }
}

/// The first value of VR US or SS, as unsigned.
pub(crate) fn u16_of(elements: &[Element], tag: Tag) -> Option<u16> {
    let bytes = bytes_of(elements, tag)?;
    Some(u16::from_le_bytes([*bytes.first()?, *bytes.get(1)?]))
}

/// A text value without its padding.
pub(crate) fn text_of(elements: &[Element], tag: Tag) -> Option<&str> {
    let text = std::str::from_utf8(bytes_of(elements, tag)?).ok()?;
    Some(text.trim_matches([' ', '\0']))
}

/// Puts an element in the place of the one with its tag, or where the order of tags wants it.
pub(crate) fn put(elements: &mut Vec<Element>, element: Element) {
    if let Some(old) = elements.iter_mut().find(|old| old.tag == element.tag) {
        *old = element;
        return;
    }
    let place = elements.iter().position(|other| other.tag > element.tag);
    elements.insert(place.unwrap_or(elements.len()), element);
}

/// Bytes of one number of this VR, whose order an endianness changes; 1: none does.
///
/// UN is little endian in every syntax (PS3.5 §6.2.2).
pub(crate) const fn unit(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

/// Whether a VR's length takes 32 bits in explicit syntaxes (PS3.5 §7.1.2).
pub(crate) const fn is_long(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}

/// The bytes with each number's order turned. `None`: they are no whole number of numbers.
pub(crate) fn swapped(vr: VR, bytes: &Bytes) -> Option<Bytes> {
    let unit = unit(vr);
    if unit == 1 {
        return Some(bytes.clone());
    }
    if !bytes.len().is_multiple_of(unit) {
        return None;
    }
    let mut turned = bytes.to_vec();
    turned.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    Some(turned.into())
}
