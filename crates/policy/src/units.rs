//! Values of configuration that carry their unit, as rules have them.

use std::time::Duration;

/// A number of bytes: `"64MiB"`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let shift = |unit: &str| {
        BYTE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, shift)| *shift)
    };
    let value = split(text).and_then(|(number, unit)| number.checked_mul(1 << shift(unit)?));
    value.ok_or_else(|| format!("{text:?} is no size; write it like 64MiB, with B, KiB, MiB, GiB or TiB"))
}

/// A length of time: `"30d"`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let seconds = |unit: &str| {
        SPAN_UNITS
            .iter()
            .find(|(name, ..)| *name == unit)
            .map(|(_, seconds, _)| *seconds)
    };
    let value = split(text).and_then(|(number, unit)| number.checked_mul(seconds(unit)?));
    let value = value.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    value.ok_or_else(|| format!("{text:?} is no time; write it like 30d, with s, m, h or d"))
}

/// Bytes in the largest unit that leaves no rest: `64 MiB`.
pub(crate) fn bytes_in_words(bytes: u64) -> String {
    let whole = |shift: u32| bytes.trailing_zeros() >= shift && bytes > 0;
    let unit = BYTE_UNITS.iter().rev().find(|(_, shift)| whole(*shift));
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, shift)| format!("{} {name}", bytes >> shift),
    )
}

/// Time in the largest unit that leaves no rest: `30 days`.
pub(crate) fn span_in_words(span: Duration) -> String {
    let unit = SPAN_UNITS
        .iter()
        .rev()
        .find(|(_, seconds, _)| span.as_secs().is_multiple_of(*seconds));
    let (number, word) = unit.map_or((span.as_secs(), "second"), |(_, seconds, word)| {
        (span.as_secs() / seconds, word)
    });
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

const BYTE_UNITS: [(&str, u32); 5] = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
const SPAN_UNITS: [(&str, u64, &str); 4] = [
    ("s", 1, "second"),
    ("m", 60, "minute"),
    ("h", 3600, "hour"),
    ("d", 86_400, "day"),
];

fn split(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_and_said() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(span("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for text in ["64", "64MB", "", "MiB", "99999999999TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["30", "0d", "-1d", "99999999999999999999d", "9999999999999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert_eq!(
            (bytes_in_words(64 << 20), bytes_in_words(1500)),
            ("64 MiB".into(), "1500 B".into())
        );
        assert_eq!(
            (
                span_in_words(Duration::from_secs(86_400)),
                span_in_words(Duration::from_secs(90))
            ),
            ("1 day".into(), "90 seconds".into())
        );
    }
}
