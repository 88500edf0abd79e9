//! Which VR an element has that was written without one (PS3.5 §A.1, PS3.6).

use bytes::Bytes;
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use crate::error::ConvertError;
use crate::tree::{Element, Value, bytes_of, u16_of, unit};

/// Longest value of a VR whose length takes 16 bits. A longer one is written as UN (PS3.5 §6.2.2).
pub(crate) const SHORT_LEN_MAX: usize = 0xFFFE;

/// What the standard's dictionary says of a tag. `None`: private, or of a later standard.
pub(crate) fn known(tag: Tag) -> Option<VirtualVr> {
    StandardDataDictionary.by_tag(tag).map(|entry| entry.vr())
}

/// Whether it is a sequence by the dictionary.
pub(crate) fn is_sequence(tag: Tag) -> bool {
    known(tag) == Some(VirtualVr::Exact(VR::SQ))
}

/// Gives every element its VR that has none. `is_signed`: Pixel Representation (0028,0103) of the enclosing level.
pub(crate) fn resolve(elements: &mut [Element], is_signed: bool) {
    let is_signed =
        u16_of(elements, tags::PIXEL_REPRESENTATION).map_or(is_signed, |representation| representation == 1);
    let lut_entries = bytes_of(elements, tags::LUT_DESCRIPTOR).and_then(|bytes| bytes.first_chunk::<2>().copied());
    let is_one_entry = lut_entries.is_some_and(|entries| u16::from_le_bytes(entries) == 1);
    for element in elements {
        match &mut element.value {
            Value::Sequence { items, .. } => {
                for item in items {
                    resolve(&mut item.elements, is_signed);
                }
                element.vr.get_or_insert(VR::SQ);
            }
            Value::Bytes(bytes) => {
                let tag = element.tag;
                element
                    .vr
                    .get_or_insert_with(|| of_value(tag, bytes, is_signed, is_one_entry));
            }
            Value::Fragments(_) => {}
        }
    }
}

fn of_value(tag: Tag, bytes: &Bytes, is_signed: bool, is_one_entry: bool) -> VR {
    let vr = match known(tag) {
        None => VR::UN,
        Some(VirtualVr::Exact(vr)) => vr,
        Some(VirtualVr::Xs) if is_signed => VR::SS,
        Some(VirtualVr::Xs) => VR::US,
        Some(VirtualVr::Lt) if is_one_entry => VR::US,
        // Implicit VR Little Endian has Pixel, Overlay, Waveform and LUT Data as words (PS3.5 §A.1).
        Some(_) => VR::OW,
    };
    // What is no whole number of numbers cannot be this VR; UN keeps its bytes.
    if bytes.len().is_multiple_of(unit(vr)) {
        vr
    } else {
        VR::UN
    }
}

/// That an element says the same to a reader who has only the dictionary's VR.
///
/// # Errors
/// [`ConvertError::Element`]: its VR is another than the dictionary's, and the same bytes would be other values.
pub(crate) fn agrees(element: &Element) -> Result<(), ConvertError> {
    let (Some(vr), Some(known)) = (element.vr, known(element.tag)) else {
        return Ok(());
    };
    let failed = |what| Err(ConvertError::Element { tag: element.tag, what });
    let bytes = match &element.value {
        Value::Bytes(bytes) if bytes.is_empty() => return Ok(()),
        Value::Bytes(bytes) => bytes,
        Value::Sequence { .. } if is_sequence(element.tag) || vr == VR::UN => return Ok(()),
        Value::Sequence { .. } => return failed("is a sequence, which the dictionary does not know it as"),
        Value::Fragments(_) => return Ok(()),
    };
    let expected = match known {
        VirtualVr::Exact(VR::SQ) => return failed("is no sequence, which the dictionary knows it as"),
        VirtualVr::Exact(vr) => vr,
        // Their meaning is Pixel Representation's and others', not the VR's.
        _ if matches!(vr, VR::US | VR::SS | VR::OB | VR::OW | VR::UN) => return Ok(()),
        _ => VR::OW,
    };
    if is_same(vr, expected, bytes) {
        Ok(())
    } else {
        failed("has a VR that the dictionary does not know it with, and would read otherwise without it")
    }
}

/// Whether the bytes are the same values with either VR.
fn is_same(a: VR, b: VR, bytes: &Bytes) -> bool {
    let is_opaque = |vr| matches!(vr, VR::UN | VR::OB);
    let is_text = |vr| unit(vr) == 1 && !is_opaque(vr);
    let number = |vr| match vr {
        VR::OW => VR::US,
        VR::OL => VR::UL,
        VR::OV => VR::UV,
        VR::OF => VR::FL,
        VR::OD => VR::FD,
        other => other,
    };
    let (a, b) = (number(a), number(b));
    let is_other_sign = matches!(
        (a, b),
        (VR::US, VR::SS) | (VR::SS, VR::US) | (VR::UL, VR::SL) | (VR::SL, VR::UL) | (VR::UV, VR::SV) | (VR::SV, VR::UV)
    );
    let is_never_negative = || {
        let numbers = bytes.chunks_exact(unit(a));
        numbers
            .into_iter()
            .all(|number| number.last().is_some_and(|high| *high < 0x80))
    };
    a == b || is_opaque(a) || is_opaque(b) || (is_text(a) && is_text(b)) || (is_other_sign && is_never_negative())
}
