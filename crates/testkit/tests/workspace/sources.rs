//! Words in our sources. A word of this file itself is written in two halves.

use std::fs;
use std::path::Path;

/// A file, by its path from the root with `/`.
pub(crate) struct Source {
    path: String,
    text: String,
}

/// A word, and the beginnings of the paths it may stand in.
struct Confined {
    word: &'static str,
    places: &'static [&'static str],
}

const CONFINED: [Confined; 4] = [
    Confined {
        word: concat!("quinn", "::"),
        places: &["crates/transport/"],
    },
    Confined {
        word: concat!("quinn", "_proto::"),
        places: &["crates/transport/"],
    },
    Confined {
        word: concat!("quinn", "_udp::"),
        places: &["crates/transport/"],
    },
    Confined {
        word: concat!("dicom", "_ul::"),
        places: &[
            "crates/association/src/codec.rs",
            "crates/association/src/codec/",
            "crates/association/tests/",
        ],
    },
];
const UNSAFE: &str = concat!("un", "safe");
const EXPECTED: &str = concat!("#[expect(", "unsafe_code");
const ALLOWED: &str = concat!("allow(", "unsafe_code");

/// The Rust files below these folders, those that exist.
pub(crate) fn below(root: &Path, folders: &[&str]) -> Vec<Source> {
    let mut folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources
}

pub(crate) fn complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let may = |confined: &&Confined| confined.places.iter().any(|place| source.path.starts_with(place));
        let bad = CONFINED
            .iter()
            .filter(|confined| says(&source.text, confined.word) && !may(confined));
        complaints.extend(bad.map(|confined| format!("{} says {}", source.path, confined.word)));
        let is_unexpected = says(&source.text, UNSAFE) && !source.text.contains(EXPECTED);
        if is_unexpected || says(&source.text, ALLOWED) {
            complaints.push(format!("{} is {UNSAFE} and does not say why", source.path));
        }
    }
    complaints
}

/// Whether the word stands in a line that is no comment, and not within a longer name.
fn says(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let in_line = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let (before, after) = (line.get(..at), line.get(at + word.len()..));
            let goes_on = !word.ends_with(':') && after.is_some_and(|after| after.starts_with(is_name));
            !goes_on && !before.is_some_and(|before| before.ends_with(is_name))
        })
    };
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.any(in_line)
}

fn complaints_about(path: &str, text: &str) -> Vec<String> {
    complaints(&[Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }])
}

#[test]
fn a_confined_word_elsewhere_is_a_complaint() {
    for confined in &CONFINED {
        let text = format!("use {}Thing;", confined.word);
        assert_eq!(complaints_about(&format!("{}x.rs", confined.places[0]), &text), [""; 0]);
        for path in [
            "crates/edge/src/lib.rs",
            "crates/association/src/pdu.rs",
            "bins/relay/src/main.rs",
        ] {
            assert_eq!(
                complaints_about(path, &text),
                [format!("{path} says {}", confined.word)]
            );
        }
    }
}

#[test]
fn a_comment_and_a_longer_name_are_no_words() {
    let word = CONFINED[0].word;
    for text in [
        format!("  //! [`{word}Endpoint`]"),
        format!("use my_{word}x;"),
        format!("{UNSAFE}_code"),
    ] {
        assert_eq!(complaints_about("crates/edge/src/lib.rs", &text), [""; 0], "{text}");
    }
}

#[test]
fn what_is_not_safe_must_say_why() {
    let block = format!("let x = {UNSAFE} {{ f() }};");
    let path = "crates/dicom/src/lib.rs";
    let complaint = format!("{path} is {UNSAFE} and does not say why");
    assert_eq!(complaints_about(path, &block), [complaint.as_str()]);
    assert_eq!(complaints_about(path, &format!("#![{ALLOWED})]\n{block}")), [complaint]);
    let expected = format!("{EXPECTED}, reason = \"SIMD\")]\n{block}");
    assert_eq!(complaints_about(path, &expected), [""; 0]);
}
