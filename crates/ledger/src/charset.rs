//! Text by Specific Character Set (0008,0005), ISO 2022 code extensions included (PS3.5 §6.1, PS3.3 §C.12.1.1.2).
//!
//! Never an error: bytes that the character set does not have come out escaped, `\` and three octal digits each, and an
//! absent or unknown character set is the default one, in which every byte above 7FH is escaped.

use dicom_encoding::text::{SpecificCharacterSet, TextCodec as _};

const ESCAPE: u8 = 0x1B;

/// What a value is, which decides where code extensions end (PS3.5 §6.1.2.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    /// VR PN: they end at `^`, `=` and `\`.
    Name,
    /// VR LO, SH and such: they end at `\`.
    Text,
}

/// How bytes are read at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    /// One byte set above 7FH, or a superset of ASCII; by its defined term. Empty: the default repertoire.
    right: &'static str,
    /// Two bytes for each character, as ISO-2022-JP writes them behind this escape sequence.
    double: Option<&'static [u8]>,
}

/// Escape sequences (PS3.3 Tables C.12-3 and C.12-4) and what they begin.
const SEQUENCES: [(&[u8], Mode); 19] = [
    (
        b"(B",
        Mode {
            right: "",
            double: None,
        },
    ),
    (
        b"(J",
        Mode {
            right: "ISO_IR 13",
            double: None,
        },
    ),
    (
        b")I",
        Mode {
            right: "ISO_IR 13",
            double: None,
        },
    ),
    (
        b"-A",
        Mode {
            right: "ISO_IR 100",
            double: None,
        },
    ),
    (
        b"-B",
        Mode {
            right: "ISO_IR 101",
            double: None,
        },
    ),
    (
        b"-C",
        Mode {
            right: "ISO_IR 109",
            double: None,
        },
    ),
    (
        b"-D",
        Mode {
            right: "ISO_IR 110",
            double: None,
        },
    ),
    (
        b"-F",
        Mode {
            right: "ISO_IR 126",
            double: None,
        },
    ),
    (
        b"-G",
        Mode {
            right: "ISO_IR 127",
            double: None,
        },
    ),
    (
        b"-H",
        Mode {
            right: "ISO_IR 138",
            double: None,
        },
    ),
    (
        b"-L",
        Mode {
            right: "ISO_IR 144",
            double: None,
        },
    ),
    (
        b"-M",
        Mode {
            right: "ISO_IR 148",
            double: None,
        },
    ),
    (
        b"-T",
        Mode {
            right: "ISO_IR 166",
            double: None,
        },
    ),
    (
        b"-b",
        Mode {
            right: "ISO_IR 203",
            double: None,
        },
    ),
    (
        b"$B",
        Mode {
            right: "",
            double: Some(b"\x1B$B"),
        },
    ),
    (
        b"$@",
        Mode {
            right: "",
            double: Some(b"\x1B$B"),
        },
    ),
    (
        b"$(D",
        Mode {
            right: "",
            double: Some(b"\x1B$(D"),
        },
    ),
    (
        b"$)C",
        Mode {
            right: "ISO_IR 149",
            double: None,
        },
    ),
    (
        b"$)A",
        Mode {
            right: "GBK",
            double: None,
        },
    ),
];

/// Decodes the raw bytes of a value: outer spaces and NULs removed, control characters too.
pub(crate) fn decode(character_set: Option<&[u8]>, value: &[u8], kind: ValueKind) -> String {
    let first = first_term(character_set.unwrap_or_default());
    let text = if value.contains(&ESCAPE) {
        extended(first, value, kind)
    } else {
        single(first, value)
    };
    let printable = |character: &char| !character.is_control();
    text.trim_matches([' ', '\0']).chars().filter(printable).collect()
}

/// The first of the values, as a term we know; empty: the default repertoire.
fn first_term(character_set: &[u8]) -> &str {
    let first = character_set.split(|byte| *byte == b'\\').next().unwrap_or_default();
    str::from_utf8(first).unwrap_or_default().trim_matches([' ', '\0'])
}

/// Text in one character set.
fn single(term: &str, bytes: &[u8]) -> String {
    // Its decoder stands on ISO 2022 sequences alone; without one the value is ASCII.
    let is_default = matches!(term, "" | "ISO_IR 6" | "ISO 2022 IR 6" | "ISO_IR 87" | "ISO 2022 IR 87");
    if bytes.is_ascii() && !bytes.contains(&ESCAPE) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if matches!(term, "ISO_IR 192" | "ISO 2022 IR 192") {
        return utf8(bytes);
    }
    let codec = if is_default {
        None
    } else {
        SpecificCharacterSet::from_code(term)
    };
    codec
        .and_then(|codec| codec.decode(bytes).ok())
        .unwrap_or_else(|| ascii(bytes))
}

fn utf8(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks();
    chunks.fold(String::new(), |text, chunk| {
        text + chunk.valid() + &ascii(chunk.invalid())
    })
}

fn ascii(bytes: &[u8]) -> String {
    let escaped = |byte: &u8| match byte {
        0..=0x7F => char::from(*byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    bytes.iter().map(escaped).collect()
}

/// Text with escape sequences: cut into runs, each in the character set that holds there.
fn extended(first: &str, value: &[u8], kind: ValueKind) -> String {
    let mut text = String::new();
    let mut mode = None;
    let mut rest = value;
    while let Some(&byte) = rest.first() {
        if let Some((length, begun)) = sequence(rest) {
            mode = Some(begun);
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        let run = run_length(rest, mode, kind);
        let (now, later) = rest.split_at(run.max(1).min(rest.len()));
        match mode {
            Some(Mode {
                double: Some(sequence), ..
            }) => text.push_str(&double(sequence, now)),
            Some(Mode { right, .. }) if !right.is_empty() => text.push_str(&single(right, now)),
            _ => text.push_str(&single(first, now)),
        }
        if ends_extension(byte, kind) && mode.is_none_or(|mode| mode.double.is_none()) {
            mode = None;
        }
        rest = later;
    }
    text
}

/// Length of the escape sequence at the beginning, and what it begins.
fn sequence(bytes: &[u8]) -> Option<(usize, Mode)> {
    let behind = bytes.strip_prefix(&[ESCAPE])?;
    let (sequence, mode) = SEQUENCES.iter().find(|(sequence, _)| behind.starts_with(sequence))?;
    Some((sequence.len() + 1, *mode))
}

/// Up to the next escape byte; a delimiter that ends an extension is a run of its own, and ends the one before it.
fn run_length(bytes: &[u8], mode: Option<Mode>, kind: ValueKind) -> usize {
    let is_double = mode.is_some_and(|mode| mode.double.is_some());
    let ends = |byte: &u8| *byte == ESCAPE || (!is_double && ends_extension(*byte, kind));
    bytes
        .iter()
        .skip(1)
        .position(ends)
        .map_or(bytes.len(), |at| at + 1)
        .min(
            if !is_double && bytes.first().is_some_and(|byte| ends_extension(*byte, kind)) {
                1
            } else {
                usize::MAX
            },
        )
}

const fn ends_extension(byte: u8, kind: ValueKind) -> bool {
    matches!(
        (byte, kind),
        (b'\\' | b'\r' | b'\n', _) | (b'^' | b'=', ValueKind::Name)
    )
}

fn double(sequence: &[u8], bytes: &[u8]) -> String {
    let whole = [sequence, bytes].concat();
    let decoded = SpecificCharacterSet::from_code("ISO 2022 IR 87").and_then(|codec| codec.decode(&whole).ok());
    decoded.unwrap_or_else(|| ascii(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(character_set: &str, value: &[u8]) -> String {
        decode(Some(character_set.as_bytes()), value, ValueKind::Name)
    }

    /// The examples of PS3.5 Annexes H, I, J and K.
    #[test]
    fn the_standards_own_examples_read_as_they_should() {
        let japanese = b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B";
        assert_eq!(
            name("\\ISO 2022 IR 87", japanese),
            "Yamada^Tarou=山田^太郎=やまだ^たろう"
        );
        let half_width =
            b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J=\x1B$B$d$^$@\x1B(J^\x1B$B$?$m$&\x1B(J";
        assert_eq!(
            name("ISO 2022 IR 13\\ISO 2022 IR 87", half_width),
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"
        );
        let korean = b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF";
        assert_eq!(name("\\ISO 2022 IR 149", korean), "Hong^Gildong=洪^吉洞=홍^길동");
        assert_eq!(
            name("ISO_IR 192", "Wang^XiaoDong=王^小東=".as_bytes()),
            "Wang^XiaoDong=王^小東="
        );
        let chinese = b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB=";
        assert_eq!(name("GB18030", chinese), "Wang^XiaoDong=王^小东=");
    }

    #[test]
    fn single_byte_sets_read_as_they_should() {
        assert_eq!(name("ISO_IR 100", b"Buc^J\xE9r\xF4me "), "Buc^Jérôme");
        assert_eq!(name("ISO_IR 144", b"\xBB\xEE\xDA"), "Люк");
        assert_eq!(name("ISO_IR 126", b"\xC4\xE9\xEF\xED"), "Διον");
    }

    #[test]
    fn what_the_character_set_does_not_have_is_escaped() {
        assert_eq!(decode(None, b"J\xE9r", ValueKind::Text), "J\\351r");
        assert_eq!(name("NO SUCH SET", b"J\xE9r"), "J\\351r");
        assert_eq!(name("ISO_IR 192", b"J\xE9r"), "J\\351r");
        assert_eq!(decode(Some(b"\xFF"), b"J\0 ", ValueKind::Text), "J");
        assert_eq!(name("", b"A\nB\x07"), "AB");
    }

    const TERMS: [&str; 12] = [
        "",
        "ISO_IR 13",
        "ISO 2022 IR 87",
        "ISO_IR 100",
        "ISO_IR 166",
        "ISO 2022 IR 149",
        "ISO 2022 IR 58",
        "GB18030",
        "GBK",
        "ISO_IR 192",
        "\\ISO 2022 IR 87",
        "ISO 2022 IR 159",
    ];

    proptest! {
        #[test]
        fn any_bytes_in_any_character_set_give_a_text(
            term in prop::sample::select(TERMS.to_vec()),
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..6),
                    prop::sample::select(SEQUENCES.map(|(sequence, _)| [b"\x1B", sequence].concat()).to_vec()),
                ],
                0..8,
            ),
            kind in prop::sample::select(vec![ValueKind::Name, ValueKind::Text]),
        ) {
            let text = decode(Some(term.as_bytes()), &pieces.concat(), kind);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
