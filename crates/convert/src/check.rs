//! What was written, read again, against what was meant.

use dicom_core::VR;
use packhorse_dicom::transfer_syntax::Encoding;

use crate::dictionary::SHORT_LEN_MAX;
use crate::error::ConvertError;
use crate::tree::{Element, Value, is_long};
use crate::write::is_delimited_in;

/// That `written` is `meant`: the same elements in the same order with the same values, and the same VRs where the syntax
/// carries them.
///
/// # Errors
/// [`ConvertError::Unfaithful`] with the first element that differs.
pub(crate) fn check(meant: &[Element], written: &[Element], encoding: Encoding) -> Result<(), ConvertError> {
    let first = meant.iter().zip(written).find(|(a, b)| !is_same(a, b, encoding));
    let (longer, shorter) = if meant.len() > written.len() {
        (meant, written)
    } else {
        (written, meant)
    };
    let differing = match first {
        Some((element, _)) => Some(element),
        None => longer.get(shorter.len()),
    };
    match differing {
        Some(element) => Err(ConvertError::Unfaithful { tag: element.tag }),
        None => Ok(()),
    }
}

fn is_same(meant: &Element, written: &Element, encoding: Encoding) -> bool {
    let is_value_same = match (&meant.value, &written.value) {
        (Value::Bytes(a), Value::Bytes(b)) => a == b || (meant.is_group_length() && b.len() == 4),
        (
            Value::Sequence { items, is_delimited },
            Value::Sequence {
                items: others,
                is_delimited: other,
            },
        ) => {
            let mut pairs = items.iter().zip(others);
            let is_delimited = *is_delimited || is_delimited_in(meant.tag, encoding);
            is_delimited == *other
                && items.len() == others.len()
                && pairs
                    .all(|(a, b)| a.is_delimited == b.is_delimited && check(&a.elements, &b.elements, encoding).is_ok())
        }
        _ => false,
    };
    meant.tag == written.tag && is_value_same && is_vr_same(meant, written, encoding)
}

fn is_vr_same(meant: &Element, written: &Element, encoding: Encoding) -> bool {
    if encoding == Encoding::ImplicitLe {
        return written.vr.is_none();
    }
    let is_too_long = || match (&meant.value, meant.vr) {
        (Value::Bytes(bytes), Some(vr)) => bytes.len() > SHORT_LEN_MAX && !is_long(vr),
        _ => false,
    };
    meant.vr == written.vr || (written.vr == Some(VR::UN) && is_too_long())
}
