//! What the fuzz targets call: every decoder of foreign bytes, which must not panic.

use bytes::Bytes;

use crate::format::{BlockEntry, FOOT_LEN, read_block, read_trailer, trailer_range};

/// Bytes as a whole envelope, up to its trailer.
pub fn trailer(data: &[u8]) {
    let length = data.len() as u64;
    let foot = data.len().saturating_sub(usize::try_from(FOOT_LEN).unwrap_or(0));
    let Ok(range) = trailer_range(length, data.get(foot..).unwrap_or_default()) else {
        return;
    };
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let bytes = Bytes::copy_from_slice(data.get(start..foot).unwrap_or_default());
    drop(read_trailer(
        data.get(..start.min(8)).unwrap_or_default(),
        bytes,
        range.start,
    ));
}

/// Bytes as a block of any entry.
pub fn block(data: &[u8]) {
    let coded_length = u32::try_from(data.len().saturating_sub(5)).unwrap_or(0);
    for coding in [0, 1] {
        let entry = BlockEntry {
            offset: 8,
            coded_length,
            original_length: coded_length,
            coding,
        };
        drop(read_block(&entry, Bytes::copy_from_slice(data)));
    }
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("trailer")
            .iter()
            .for_each(|input| super::trailer(input));
        corpus::fuzz_inputs("block")
            .iter()
            .for_each(|input| super::block(input));
    }
}
