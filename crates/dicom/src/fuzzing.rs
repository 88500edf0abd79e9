//! What the fuzz targets call: every decoder of foreign bytes, which must not panic. Also run over the real instances.

use crate::header::{DEFLATED_LEN_MAX, Header, HeaderScan, ScanOutcome};
use crate::part10;
use crate::transfer_syntax::Encoding;

/// Bytes as the beginning of a data set, in each encoding; and deflated, as they are and as what is inflated.
///
/// # Panics
/// When the bytes read differently cut in pieces, make less sense deflated than as they are, or give Pixel Data a place
/// before its own header.
pub fn header(data: &[u8]) {
    for encoding in [
        Encoding::ExplicitLe,
        Encoding::ImplicitLe,
        Encoding::ExplicitBe,
        Encoding::Deflated,
    ] {
        drop(split_invariant(encoding, data));
    }
    let plain = split_invariant(Encoding::ExplicitLe, data);
    let inflated = split_invariant(Encoding::Deflated, &stored(data));
    // Deflated, the scan ends earlier: behind the study's attributes.
    if plain.outcome == ScanOutcome::Complete && u64_of(data.len()) < DEFLATED_LEN_MAX / 2 {
        assert_eq!(inflated.outcome, ScanOutcome::Complete, "deflated reads no less");
    }
}

/// The header in one piece, byte by byte, and in pieces whose lengths the bytes themselves give.
fn split_invariant(encoding: Encoding, data: &[u8]) -> Header {
    let whole = scan(encoding, std::iter::once(data));
    // Byte by byte, but in longer pieces where the input is long.
    let bytewise = scan(encoding, data.chunks(1 + data.len() / 4096));
    assert_eq!(whole, bytewise, "pieces of one byte read alike");
    let mut rest = data;
    let uneven = scan(
        encoding,
        std::iter::from_fn(|| {
            let (piece, behind) = rest.split_at(rest.len().min(1 + usize::from(*rest.first()?) % 31));
            rest = behind;
            Some(piece)
        }),
    );
    assert_eq!(whole, uneven, "pieces of any size read alike");
    if let Some(pixel_data) = whole.pixel_data {
        assert!(
            (8..=u64_of(data.len())).contains(&pixel_data.offset),
            "behind its header"
        );
    }
    whole
}

/// The bytes in one stored block for each 64 KiB (RFC 1951 §3.2.4).
fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut blocks = data.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let len = u16::try_from(block.len()).expect("a chunk is no longer");
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    if out.is_empty() {
        out.extend([1, 0, 0, 0xFF, 0xFF]);
    }
    out
}

fn u64_of(len: usize) -> u64 {
    u64::try_from(len).expect("a slice's length")
}

/// Bytes as the beginning of a file, and what follows as its data set.
///
/// # Panics
/// When the data set is said to begin behind the end.
pub fn part10(data: &[u8]) {
    let beginning = data.get(..part10::BEGINNING_LEN).unwrap_or(data);
    let Ok(meta) = part10::read_file_meta(beginning) else {
        return;
    };
    let offset = usize::try_from(meta.data_set_offset).expect("within the beginning");
    let mut scan = meta.header_scan();
    scan.push(data.get(offset..).expect("the data set begins in the file"));
    drop(meta.corrected_by_data_set(&scan.finish()));
}

fn scan<'a>(encoding: Encoding, pieces: impl Iterator<Item = &'a [u8]>) -> Header {
    let mut scan = HeaderScan::new(encoding);
    pieces.for_each(|piece| scan.push(piece));
    scan.finish()
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("header")
            .iter()
            .for_each(|input| super::header(input));
        corpus::fuzz_inputs("part10")
            .iter()
            .for_each(|input| super::part10(input));
    }
}
