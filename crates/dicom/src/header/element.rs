//! The header of one data element: tag, VR and length (PS3.5 §7.1).

use crate::transfer_syntax::Encoding;

/// Longest header of a data element: tag, VR, reserved, 32-bit length.
pub(super) const ELEMENT_HEADER_MAX: usize = 12;

/// One data element's header.
pub(super) struct Element {
    pub(super) tag: u32,
    /// `None` where none is written.
    pub(super) vr: Option<[u8; 2]>,
    pub(super) length: u32,
}

impl Element {
    /// The element whose header begins here, and how long the header is; `None` when it is not whole.
    pub(super) fn read(bytes: &[u8], encoding: Encoding) -> Option<(Self, usize)> {
        let big = encoding == Encoding::ExplicitBe;
        // Closures, not function pointers: this runs for each of ten thousand elements of an enhanced image.
        let two = |bytes| {
            if big {
                u16::from_be_bytes(bytes)
            } else {
                u16::from_le_bytes(bytes)
            }
        };
        let four = |bytes| {
            if big {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
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
        if is_long(vr) {
            Self::ThirtyTwoBits
        } else if is_short(vr) || vr == *b"??" {
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

/// Whether these are the letters of a VR of the standard.
pub(super) const fn is_vr(vr: [u8; 2]) -> bool {
    is_long(vr) || is_short(vr)
}

/// VRs with two reserved bytes and a 32-bit length (PS3.5 Table 7.1-1).
pub(super) const fn is_long(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV"
    )
}

/// VRs with a 16-bit length (PS3.5 Table 7.1-2).
#[rustfmt::skip]
const fn is_short(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"AE" | b"AS" | b"AT" | b"CS" | b"DA" | b"DS" | b"DT" | b"FD" | b"FL" | b"IS" | b"LO" | b"LT" | b"PN" | b"SH"
            | b"SL" | b"SS" | b"ST" | b"TM" | b"UI" | b"UL" | b"US"
    )
}
