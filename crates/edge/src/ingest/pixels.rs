//! The digest of an instance's pixels, while its bytes come: so that a repeat with another header is told from one with
//! other pixels.

use packhorse_dicom::header::{HeaderScan, PixelsPlace};
use packhorse_ids::Digest;

/// Bytes of the pixels, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Pixels {
    /// Bytes of the data set that have been passed.
    passed: u64,
    found: Option<Found>,
}

#[derive(Debug)]
struct Found {
    hasher: Box<blake3::Hasher>,
    place: PixelsPlace,
}

impl Pixels {
    /// The next bytes of the data set, which the scan has had.
    pub(super) fn push(&mut self, scan: &HeaderScan, fragment: &[u8]) {
        let begin = self.passed;
        self.passed = begin.saturating_add(fragment.len() as u64);
        if self.found.is_none() {
            let Some(place) = scan.pixels() else { return };
            let hasher = Box::new(blake3::Hasher::new());
            self.found = Some(Found { hasher, place });
        }
        if let Some(Found { hasher, place }) = &mut self.found {
            hasher.update(within(fragment, begin, *place));
        }
    }

    /// The digest; `None`: there are no pixels, or they were not found.
    pub(super) fn finish(self) -> Option<Digest> {
        let found = self.found?;
        Some(Digest::from_bytes(*found.hasher.finalize().as_bytes()))
    }
}

/// The part of a fragment that belongs to the pixels; the fragment begins at `begin` in the data set.
fn within(fragment: &[u8], begin: u64, place: PixelsPlace) -> &[u8] {
    let index = |offset: u64| {
        usize::try_from(offset.saturating_sub(begin))
            .unwrap_or(usize::MAX)
            .min(fragment.len())
    };
    let end = place
        .len
        .map_or(u64::MAX, |len| place.offset.saturating_add(u64::from(len)));
    fragment.get(index(place.offset)..index(end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use packhorse_dicom::transfer_syntax::encoding_of;
    use packhorse_dicom::uid::TransferSyntaxUid;

    use super::*;

    fn digest(syntax: &str, data_set: &[u8], piece: usize) -> Option<Digest> {
        let mut scan = HeaderScan::new(encoding_of(&TransferSyntaxUid::try_from(syntax).unwrap()));
        let mut pixels = Pixels::default();
        for fragment in data_set.chunks(piece) {
            scan.push(fragment);
            pixels.push(&scan, fragment);
        }
        pixels.finish()
    }

    const NATIVE: &str = "1.2.840.10008.1.2.1";
    const JPEG: &str = "1.2.840.10008.1.2.4.50";

    fn native(patient: &[u8; 4], pixels: &[u8; 4], behind: &[u8]) -> Vec<u8> {
        let header = [b"\x10\0\x20\0LO\x04\0".as_slice(), patient].concat();
        [&header[..], b"\xe0\x7f\x10\0OW\0\0\x04\0\0\0", pixels, behind].concat()
    }

    fn encapsulated(patient: &[u8; 4], pixels: &[u8; 4]) -> Vec<u8> {
        let header = [b"\x10\0\x20\0LO\x04\0".as_slice(), patient].concat();
        let items = [b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\x04\0\0\0".as_slice(), pixels].concat();
        [
            &header[..],
            b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff",
            &items,
            b"\xfe\xff\xdd\xe0\0\0\0\0",
        ]
        .concat()
    }

    #[test]
    fn pieces_of_any_size_give_one_digest_and_the_header_is_no_part_of_it() {
        let expected = Some(Digest::from_bytes(*blake3::hash(b"pixl").as_bytes()));
        let data_set = native(b"4711", b"pixl", b"\xfc\xff\xfc\xffOB\0\0\0\0\0\0");
        for piece in 1..=data_set.len() {
            assert_eq!(digest(NATIVE, &data_set, piece), expected, "pieces of {piece}");
        }
        assert_eq!(digest(NATIVE, &native(b"0815", b"pixl", b""), 1000), expected);
        assert_ne!(digest(NATIVE, &native(b"4711", b"PIXL", b""), 1000), expected);
    }

    #[test]
    fn encapsulated_pixels_are_compared_to_the_end() {
        let one = digest(JPEG, &encapsulated(b"4711", b"pixl"), 7);
        assert!(one.is_some());
        assert_eq!(digest(JPEG, &encapsulated(b"0815", b"pixl"), 1000), one);
        assert_ne!(digest(JPEG, &encapsulated(b"4711", b"PIXL"), 1000), one);
    }

    #[test]
    fn what_has_no_pixels_has_no_digest() {
        assert_eq!(digest(NATIVE, b"\x10\0\x20\0LO\x04\x004711", 5), None);
    }
}
