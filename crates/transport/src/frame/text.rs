//! Texts that cross the wire: cut and cleaned on both sides, so that they are safe to print.

/// Bytes of a sentence or reason, at most.
pub(crate) const TEXT_LEN_MAX: usize = 256;
/// Bytes of a build's name, at most.
pub(crate) const BUILD_LEN_MAX: usize = 64;

/// Appends a build's name with its length in one byte; what is not printable ASCII becomes `?`.
pub(super) fn put_build(out: &mut Vec<u8>, build: &str) {
    let clean = build.bytes().take(BUILD_LEN_MAX).map(printable);
    out.push(u8::try_from(build.len().min(BUILD_LEN_MAX)).unwrap_or(u8::MAX));
    out.extend(clean);
}

/// Appends a text with its length in two bytes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = clean(text, TEXT_LEN_MAX);
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A build's name out of a peer's bytes.
pub(super) fn build(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(BUILD_LEN_MAX)
        .map(|byte| char::from(printable(*byte)))
        .collect()
}

/// A text out of a peer's bytes.
pub(super) fn text(bytes: &[u8]) -> String {
    clean(&String::from_utf8_lossy(bytes), TEXT_LEN_MAX)
}

/// The text without control characters (a newline would forge a log line), cut after `len_max` bytes at most.
pub(crate) fn clean(text: &str, len_max: usize) -> String {
    let mut kept = String::new();
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        if kept.len().saturating_add(character.len_utf8()) > len_max {
            break;
        }
        kept.push(character);
    }
    kept
}

const fn printable(byte: u8) -> u8 {
    match byte {
        b' '..=b'~' => byte,
        _ => b'?',
    }
}
