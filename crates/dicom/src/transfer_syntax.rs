//! Transfer syntaxes (PS3.5 §10, PS3.6 Table A-1).

mod table;

use crate::uid::TransferSyntaxUid;

/// Implicit VR Little Endian: never refused for an accepted class (PS3.5 §10.1).
pub const IMPLICIT_VR_LE: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_VR_LE: &str = "1.2.840.10008.1.2.1";
/// Explicit VR Big Endian, retired.
pub const EXPLICIT_VR_BE: &str = "1.2.840.10008.1.2.2";
/// Deflated Explicit VR Little Endian.
pub const DEFLATED_EXPLICIT_VR_LE: &str = "1.2.840.10008.1.2.1.99";

/// How the data elements of a data set are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Implicit VR Little Endian.
    ImplicitLe,
    /// Explicit VR Little Endian: every encapsulated syntax too (PS3.5 §A.4).
    ExplicitLe,
    /// Explicit VR Big Endian.
    ExplicitBe,
    /// Explicit VR Little Endian, deflated as a whole (PS3.5 §A.5).
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
/// of the standard uses but six.
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

    /// All of the dictionary's; it has constants only, no look-up.
    #[expect(deprecated, reason = "retired syntaxes are in the table too")]
    const DICTIONARY: [&str; 63] = [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_BIG_ENDIAN,
        uids::MPEG2MPML,
        uids::MPEG2MPMLF,
        uids::MPEG2MPHL,
        uids::MPEG2MPHLF,
        uids::MPEG4HP41,
        uids::MPEG4HP41F,
        uids::MPEG4HP41BD,
        uids::MPEG4HP41BDF,
        uids::MPEG4HP422D,
        uids::MPEG4HP422DF,
        uids::MPEG4HP423D,
        uids::MPEG4HP423DF,
        uids::MPEG4HP42STEREO,
        uids::MPEG4HP42STEREOF,
        uids::HEVCMP51,
        uids::HEVCM10P51,
        uids::JPEGXL_LOSSLESS,
        uids::JPEGXLJPEG_RECOMPRESSION,
        uids::JPEGXL,
        uids::HTJ2K_LOSSLESS,
        uids::HTJ2K_LOSSLESS_RPCL,
        uids::HTJ2K,
        uids::JPIPHTJ2K_REFERENCED,
        uids::JPIPHTJ2K_REFERENCED_DEFLATE,
        uids::JPEG_BASELINE8_BIT,
        uids::JPEG_EXTENDED12_BIT,
        uids::JPEG_EXTENDED35,
        uids::JPEG_SPECTRAL_SELECTION_NON_HIERARCHICAL68,
        uids::JPEG_SPECTRAL_SELECTION_NON_HIERARCHICAL79,
        uids::JPEG_FULL_PROGRESSION_NON_HIERARCHICAL1012,
        uids::JPEG_FULL_PROGRESSION_NON_HIERARCHICAL1113,
        uids::JPEG_LOSSLESS,
        uids::JPEG_LOSSLESS_NON_HIERARCHICAL15,
        uids::JPEG_EXTENDED_HIERARCHICAL1618,
        uids::JPEG_EXTENDED_HIERARCHICAL1719,
        uids::JPEG_SPECTRAL_SELECTION_HIERARCHICAL2022,
        uids::JPEG_SPECTRAL_SELECTION_HIERARCHICAL2123,
        uids::JPEG_FULL_PROGRESSION_HIERARCHICAL2426,
        uids::JPEG_FULL_PROGRESSION_HIERARCHICAL2527,
        uids::JPEG_LOSSLESS_HIERARCHICAL28,
        uids::JPEG_LOSSLESS_HIERARCHICAL29,
        uids::JPEG_LOSSLESS_SV1,
        uids::JPEGLS_LOSSLESS,
        uids::JPEGLS_NEAR_LOSSLESS,
        uids::JPEG2000_LOSSLESS,
        uids::JPEG2000,
        uids::JPEG2000MC_LOSSLESS,
        uids::JPEG2000MC,
        uids::JPIP_REFERENCED,
        uids::JPIP_REFERENCED_DEFLATE,
        uids::RLE_LOSSLESS,
        uids::RFC2557MIME_ENCAPSULATION,
        uids::XML_ENCODING,
        uids::SMPTEST211020_UNCOMPRESSED_PROGRESSIVE_ACTIVE_VIDEO,
        uids::SMPTEST211020_UNCOMPRESSED_INTERLACED_ACTIVE_VIDEO,
        uids::SMPTEST211030PCM_DIGITAL_AUDIO,
        uids::DEFLATED_IMAGE_FRAME_COMPRESSION,
        uids::PAPYRUS3_IMPLICIT_VR_LITTLE_ENDIAN,
    ];

    #[test]
    fn the_table_is_the_standards_dictionary() {
        let ours: Vec<_> = all().iter().map(|syntax| syntax.uid).collect();
        let mut dictionary = DICTIONARY;
        dictionary.sort_unstable();
        assert_eq!(ours, dictionary, "and sorted");
    }

    #[test]
    fn keywords_are_unique_and_names_whole() {
        for syntax in all() {
            assert_eq!(by_keyword(syntax.keyword), Some(syntax));
            let brackets = |bracket| syntax.name.matches(bracket).count();
            assert_eq!(brackets('('), brackets(')'), "{}", syntax.name);
        }
    }

    /// By the letter of PS3.5: A.1, A.2 to A.4, A.5, A.3 (retired), A.6 and A.8.
    #[test]
    fn all_but_six_syntaxes_are_explicit_little_endian() {
        let others: Vec<_> = all()
            .iter()
            .filter(|syntax| syntax.encoding != Encoding::ExplicitLe)
            .collect();
        let expected = [
            ("ImplicitVRLittleEndian", Encoding::ImplicitLe),
            ("DeflatedExplicitVRLittleEndian", Encoding::Deflated),
            ("ExplicitVRBigEndian", Encoding::ExplicitBe),
            ("JPIPHTJ2KReferencedDeflate", Encoding::Deflated),
            ("JPIPReferencedDeflate", Encoding::Deflated),
            ("Papyrus3ImplicitVRLittleEndian", Encoding::ImplicitLe),
        ];
        assert_eq!(
            others
                .iter()
                .map(|syntax| (syntax.keyword, syntax.encoding))
                .collect::<Vec<_>>(),
            expected
        );
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
