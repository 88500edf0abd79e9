//! UIDs, one type for each use, so that a SOP class is never taken for an instance.

use std::fmt;
use std::str::FromStr;

/// The longest UID in bytes (PS3.5 §9.1).
pub const UID_LEN_MAX: usize = 64;

/// Why bytes are no UID that can be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUid {
    /// Nothing but padding.
    #[error("a UID is not empty")]
    Empty,
    /// More than [`UID_LEN_MAX`] bytes.
    #[error("a UID has at most {UID_LEN_MAX} characters, not {_0}")]
    Length(usize),
    /// A byte that is not printable ASCII.
    #[error("a UID has only printable ASCII characters")]
    Character,
}

/// The text of a UID without its trailing padding (one NUL by the standard; NULs and spaces from real peers).
fn text(bytes: &[u8]) -> Result<&str, InvalidUid> {
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, 0 | b' '))
        .map_or(0, |last| last + 1);
    let bytes = bytes.get(..end).unwrap_or_default();
    if bytes.is_empty() {
        return Err(InvalidUid::Empty);
    }
    if bytes.len() > UID_LEN_MAX {
        return Err(InvalidUid::Length(bytes.len()));
    }
    match str::from_utf8(bytes) {
        Ok(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Ok(text),
        _ => Err(InvalidUid::Character),
    }
}

/// Whether the text is a UID by the letter of PS3.5 §9.1: numeric components without leading zeros.
fn is_valid(text: &str) -> bool {
    let component = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    text.len() <= UID_LEN_MAX && text.split('.').all(component)
}

macro_rules! uid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The UID without trailing padding.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it is a UID by the letter of PS3.5 §9.1. For a warning, never for the door: real peers send others.
            #[must_use]
            pub fn is_valid(&self) -> bool {
                is_valid(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidUid;

            fn try_from(bytes: &[u8]) -> Result<Self, InvalidUid> {
                text(bytes).map(|text| Self(text.into()))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidUid;

            fn try_from(text: &str) -> Result<Self, InvalidUid> {
                Self::try_from(text.as_bytes())
            }
        }

        impl FromStr for $name {
            type Err = InvalidUid;

            fn from_str(text: &str) -> Result<Self, InvalidUid> {
                Self::try_from(text)
            }
        }
    };
}

uid! {
    /// Abstract syntax of a presentation context (PS3.8 §9.3.2.2.1): what is negotiated. For storage it is a SOP class.
    AbstractSyntaxUid
}
uid! {
    /// SOP class of an object (PS3.3 (0008,0016), or Affected SOP Class UID (0000,0002)).
    SopClassUid
}
uid! {
    /// SOP instance (PS3.3 (0008,0018), or Affected SOP Instance UID (0000,1000)). 1 to 64 printable bytes as they came.
    SopInstanceUid
}
uid! {
    /// Study Instance UID (0020,000D).
    StudyInstanceUid
}
uid! {
    /// Series Instance UID (0020,000E).
    SeriesInstanceUid
}
uid! {
    /// Transfer syntax (PS3.5 §10).
    TransferSyntaxUid
}

impl From<&AbstractSyntaxUid> for SopClassUid {
    fn from(syntax: &AbstractSyntaxUid) -> Self {
        Self(syntax.0.clone())
    }
}

impl From<&SopClassUid> for AbstractSyntaxUid {
    fn from(class: &SopClassUid) -> Self {
        Self(class.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_goes_and_nothing_else() {
        assert_eq!(
            SopInstanceUid::try_from(b"1.2.3\0".as_slice()).unwrap().as_str(),
            "1.2.3"
        );
        assert_eq!(SopInstanceUid::try_from(" 1.2.3 ").unwrap().as_str(), " 1.2.3");
    }

    #[test]
    fn the_door_is_wider_than_the_standard() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(!SopInstanceUid::try_from(hex).unwrap().is_valid());
        assert!(SopInstanceUid::try_from("1.2.840.0.1").unwrap().is_valid());
        assert!(!SopInstanceUid::try_from("1.02").unwrap().is_valid());
        assert_eq!(SopInstanceUid::try_from(""), Err(InvalidUid::Empty));
        assert_eq!(
            SopInstanceUid::try_from("1".repeat(65).as_str()),
            Err(InvalidUid::Length(65))
        );
        assert_eq!(
            SopInstanceUid::try_from(b"1\x07".as_slice()),
            Err(InvalidUid::Character)
        );
    }
}
