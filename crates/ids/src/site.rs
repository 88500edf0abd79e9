//! The name of a site.

use std::fmt;
use std::str::FromStr;

/// Name of a site: 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit (an RFC 1123
/// label in lower case, so that it can stand in a certificate's name, in a path and in a metric label).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(Box<str>);

impl SiteName {
    /// The longest name in bytes (RFC 1123 label).
    pub const LEN_MAX: usize = 63;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no site name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSiteName {
    /// Empty, or more than [`SiteName::LEN_MAX`] bytes.
    Length(usize),
    /// Holds something else than `a-z`, `0-9` and `-`, or has `-` at an end.
    Character,
}

impl fmt::Display for InvalidSiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a site name has 1 to {} characters, not {length}", SiteName::LEN_MAX),
            Self::Character => {
                f.write_str("a site name has only a-z, 0-9 and '-', and begins and ends with a letter or digit")
            }
        }
    }
}

impl std::error::Error for InvalidSiteName {}

impl TryFrom<&str> for SiteName {
    type Error = InvalidSiteName;

    fn try_from(text: &str) -> Result<Self, InvalidSiteName> {
        if text.is_empty() || text.len() > Self::LEN_MAX {
            return Err(InvalidSiteName::Length(text.len()));
        }
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidSiteName::Character);
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for SiteName {
    type Err = InvalidSiteName;

    fn from_str(text: &str) -> Result<Self, InvalidSiteName> {
        Self::try_from(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_labels() {
        assert_eq!(SiteName::try_from("st-mary").unwrap().as_str(), "st-mary");
        for text in ["St-Mary", "a/b", "..", "-a", "a-", "a b", "å"] {
            assert_eq!(SiteName::try_from(text), Err(InvalidSiteName::Character), "{text}");
        }
        assert_eq!(SiteName::try_from(""), Err(InvalidSiteName::Length(0)));
        assert_eq!(
            SiteName::try_from("a".repeat(64).as_str()),
            Err(InvalidSiteName::Length(64))
        );
    }
}
