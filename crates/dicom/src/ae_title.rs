//! Application Entity titles.

use std::fmt;
use std::str::FromStr;

/// AE title (PS3.5 §6.2, VR AE): 1 to 16 bytes of printable ASCII without `\`; outer spaces and trailing NULs are
/// removed. Compared case-sensitively.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AeTitle(Box<str>);

impl AeTitle {
    /// The longest title in bytes.
    pub const LEN_MAX: usize = 16;

    /// The title without its padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The title as a field of an A-ASSOCIATE PDU: 16 bytes, padded with spaces (PS3.8 §9.3.2).
    #[must_use]
    pub fn to_field(&self) -> [u8; Self::LEN_MAX] {
        let mut field = [b' '; Self::LEN_MAX];
        field
            .iter_mut()
            .zip(self.0.bytes())
            .for_each(|(place, byte)| *place = byte);
        field
    }

    /// Whether both titles are the same but for upper and lower case: worth a word in the log, never a match.
    #[must_use]
    pub fn differs_only_in_case(&self, other: &Self) -> bool {
        self != other && self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Why bytes are no AE title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAeTitle {
    /// Nothing but padding.
    #[error("an AE title is not empty")]
    Empty,
    /// More than [`AeTitle::LEN_MAX`] bytes.
    #[error("an AE title has at most {} characters, not {_0}", AeTitle::LEN_MAX)]
    Length(usize),
    /// A byte that is not printable ASCII, or a backslash.
    #[error("an AE title has only printable ASCII without a backslash")]
    Character,
}

impl TryFrom<&[u8]> for AeTitle {
    type Error = InvalidAeTitle;

    fn try_from(field: &[u8]) -> Result<Self, InvalidAeTitle> {
        let field = field.trim_suffix_nuls().trim_ascii();
        if field.is_empty() {
            return Err(InvalidAeTitle::Empty);
        }
        if field.len() > Self::LEN_MAX {
            return Err(InvalidAeTitle::Length(field.len()));
        }
        if !field.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\') {
            return Err(InvalidAeTitle::Character);
        }
        str::from_utf8(field)
            .map(|text| Self(text.into()))
            .map_err(|_| InvalidAeTitle::Character)
    }
}

impl TryFrom<&str> for AeTitle {
    type Error = InvalidAeTitle;

    fn try_from(text: &str) -> Result<Self, InvalidAeTitle> {
        Self::try_from(text.as_bytes())
    }
}

impl FromStr for AeTitle {
    type Err = InvalidAeTitle;

    fn from_str(text: &str) -> Result<Self, InvalidAeTitle> {
        Self::try_from(text)
    }
}

/// Trailing NULs are no part of a title, though real peers send them (PS3.8 says spaces).
trait TrimNuls {
    fn trim_suffix_nuls(&self) -> &[u8];
}

impl TrimNuls for [u8] {
    fn trim_suffix_nuls(&self) -> &[u8] {
        let end = self.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_no_part_of_a_title() {
        let title = AeTitle::try_from(b"  PACS_A\0\0".as_slice()).unwrap();
        assert_eq!(title.as_str(), "PACS_A");
        assert_eq!(&title.to_field(), b"PACS_A          ");
    }

    #[test]
    fn what_no_title_is() {
        assert_eq!(AeTitle::try_from("   "), Err(InvalidAeTitle::Empty));
        assert_eq!(AeTitle::try_from("A\\B"), Err(InvalidAeTitle::Character));
        assert_eq!(AeTitle::try_from(b"A\xff".as_slice()), Err(InvalidAeTitle::Character));
        assert_eq!(AeTitle::try_from("12345678901234567"), Err(InvalidAeTitle::Length(17)));
    }

    #[test]
    fn case_is_told_apart() {
        let (upper, lower) = (AeTitle::try_from("PACS").unwrap(), AeTitle::try_from("pacs").unwrap());
        assert_ne!(upper, lower);
        assert!(upper.differs_only_in_case(&lower));
        assert!(!upper.differs_only_in_case(&upper));
    }
}
