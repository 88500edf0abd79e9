//! Transfer syntaxes (PS3.5 §10, PS3.6 Table A-1).

mod table;

use crate::uid::TransferSyntaxUid;

/// Implicit VR Little Endian: never refused for an accepted class (PS3.5 §10.1).
pub const IMPLICIT_VR_LE: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_VR_LE: &str = "1.2.840.10008.1.2.1";
/// Explicit VR Big Endian, retired.
pub const EXPLICIT_VR_BE: &str = "1.2.840.10008.1.2.2";

/// How the data elements of a data set are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Implicit VR Little Endian.
    ImplicitLe,
    /// Explicit VR Little Endian: every encapsulated syntax too (PS3.5 §A.4).
    ExplicitLe,
    /// Explicit VR Big Endian.
    ExplicitBe,
    /// Deflated as a whole (PS3.5 §A.5): opaque to a header scan.
    Deflated,
}

/// What a transfer syntax does with Pixel Data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pixel Data as words.
    Native,
    /// Pixel Data in fragments, compressed or not.
    Encapsulated,
    /// Cannot be stored and forwarded: JPIP and SMPTE ST 2110 only refer to pixels elsewhere; MIME and XML are no data
    /// sets.
    Refused,
}

/// A transfer syntax of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferSyntax {
    /// Its UID.
    pub uid: &'static str,
    /// Its keyword: `ExplicitVRLittleEndian`.
    pub keyword: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How data elements are written.
    pub encoding: Encoding,
    /// What it does with Pixel Data.
    pub kind: Kind,
    /// Whether the standard has retired it.
    pub retired: bool,
}

/// The standard's transfer syntaxes, sorted by UID.
#[must_use]
pub const fn all() -> &'static [TransferSyntax] {
    table::ALL
}

/// The syntax with this UID; `None` when it is none that this version knows.
#[must_use]
pub fn by_uid(uid: &str) -> Option<&'static TransferSyntax> {
    table::ALL.iter().find(|syntax| syntax.uid == uid)
}

/// The syntax with this keyword.
#[must_use]
pub fn by_keyword(keyword: &str) -> Option<&'static TransferSyntax> {
    table::ALL.iter().find(|syntax| syntax.keyword == keyword)
}

/// How data sets in this syntax are written. An unknown one is taken for Explicit VR Little Endian, which every syntax
/// of the standard uses but four.
#[must_use]
pub fn encoding_of(uid: &TransferSyntaxUid) -> Encoding {
    by_uid(uid.as_str()).map_or(Encoding::ExplicitLe, |syntax| syntax.encoding)
}

/// What to call a syntax where people read it: its name, or the UID itself.
#[must_use]
pub fn name_of(uid: &str) -> &str {
    by_uid(uid).map_or(uid, |syntax| syntax.name)
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;

    /// The dictionary has constants only, no look-up: one of each kind.
    #[test]
    fn rows_agree_with_the_standards_dictionary() {
        for (uid, keyword) in [
            (uids::IMPLICIT_VR_LITTLE_ENDIAN, "ImplicitVRLittleEndian"),
            (uids::EXPLICIT_VR_LITTLE_ENDIAN, "ExplicitVRLittleEndian"),
            (
                uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
                "DeflatedExplicitVRLittleEndian",
            ),
            (uids::JPEG_BASELINE8_BIT, "JPEGBaseline8Bit"),
            (uids::JPEGLS_LOSSLESS, "JPEGLSLossless"),
            (uids::JPEG2000_LOSSLESS, "JPEG2000Lossless"),
            (uids::RLE_LOSSLESS, "RLELossless"),
            (uids::HTJ2K_LOSSLESS, "HTJ2KLossless"),
        ] {
            assert_eq!(by_uid(uid).map(|syntax| syntax.keyword), Some(keyword));
        }
    }

    #[test]
    fn what_cannot_be_stored_and_forwarded_is_refused() {
        let refused: Vec<_> = all()
            .iter()
            .filter(|syntax| syntax.kind == Kind::Refused)
            .map(|s| s.keyword)
            .collect();
        let expected = [
            "JPIPHTJ2KReferenced",
            "JPIPHTJ2KReferencedDeflate",
            "JPIPReferenced",
            "JPIPReferencedDeflate",
            "RFC2557MIMEEncapsulation",
            "XMLEncoding",
            "SMPTEST211020UncompressedProgressiveActiveVideo",
            "SMPTEST211020UncompressedInterlacedActiveVideo",
            "SMPTEST211030PCMDigitalAudio",
        ];
        assert_eq!(refused, expected);
    }

    #[test]
    fn an_unknown_syntax_is_read_as_explicit_little_endian() {
        assert_eq!(
            encoding_of(&TransferSyntaxUid::try_from("1.2.3").unwrap()),
            Encoding::ExplicitLe
        );
        assert_eq!(
            encoding_of(&TransferSyntaxUid::try_from(IMPLICIT_VR_LE).unwrap()),
            Encoding::ImplicitLe
        );
    }
}
