//! What the fuzz targets call: every decoder of foreign bytes, which must not panic.

use crate::header::HeaderScan;
use crate::part10;
use crate::transfer_syntax::Encoding;

/// Bytes as the beginning of a data set, in each encoding, cut in the middle.
pub fn header(data: &[u8]) {
    for encoding in [Encoding::ExplicitLe, Encoding::ImplicitLe, Encoding::ExplicitBe] {
        let (first, second) = data.split_at(data.len() / 2);
        let mut scan = HeaderScan::new(encoding);
        scan.push(first);
        scan.push(second);
        drop(scan.finish());
    }
}

/// Bytes as the beginning of a file.
pub fn part10(data: &[u8]) {
    drop(part10::read_file_meta(data));
}
