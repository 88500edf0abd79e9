//! What the fuzz targets call: every decoder of foreign bytes, which must not panic. Also run over the real instances.

use crate::header::{Header, HeaderScan};
use crate::part10;
use crate::transfer_syntax::Encoding;

/// Bytes as the beginning of a data set, in each encoding.
///
/// # Panics
/// When the bytes read differently cut in pieces.
pub fn header(data: &[u8]) {
    for encoding in [Encoding::ExplicitLe, Encoding::ImplicitLe, Encoding::ExplicitBe] {
        let whole = scan(encoding, data, data.len());
        // Byte by byte, but in longer pieces where the input is long.
        assert_eq!(
            whole,
            scan(encoding, data, 1 + data.len() / 4096),
            "pieces of any size read alike"
        );
    }
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

fn scan(encoding: Encoding, data: &[u8], piece_len: usize) -> Header {
    let mut scan = HeaderScan::new(encoding);
    data.chunks(piece_len.max(1)).for_each(|piece| scan.push(piece));
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
