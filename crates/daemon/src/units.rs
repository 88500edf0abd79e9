//! Values of configuration that carry their unit.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

/// A length of time as it stands in configuration: `"200ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Reads a number and its unit.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text).ok_or_else(|| wrong(text, "30s, 5m, 1h"))?;
        let duration = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.saturating_mul(60)),
            "h" => Duration::from_secs(number.saturating_mul(3600)),
            "d" => Duration::from_secs(number.saturating_mul(86_400)),
            _ => return Err(wrong(text, "30s, 5m, 1h; units are ms, s, m, h, d")),
        };
        Ok(Self(duration))
    }
}

/// A number of bytes as it stands in configuration: `"32KiB"`, `"64MiB"`, `"2GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Reads a number and its unit.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text).ok_or_else(|| wrong(text, "64MiB"))?;
        let shift = match unit {
            "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(wrong(text, "64MiB; units are B, KiB, MiB, GiB, TiB")),
        };
        number
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or_else(|| wrong(text, "something smaller"))
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

fn wrong(text: &str, right: &str) -> String {
    format!("{text:?} has no unit that fits here, write it like {right}")
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_units() {
        assert_eq!(Span::parse("200ms"), Ok(Span(Duration::from_millis(200))));
        assert_eq!(Span::parse("7d"), Ok(Span(Duration::from_secs(604_800))));
        assert_eq!(ByteSize::parse("64 MiB"), Ok(ByteSize(64 << 20)));
        for text in ["30", "", "s", "-1s", "5 fortnights", "99999999999999999999s"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
        assert!(ByteSize::parse("64MB").is_err());
        assert!(ByteSize::parse("18446744073709551615TiB").is_err());
    }
}
