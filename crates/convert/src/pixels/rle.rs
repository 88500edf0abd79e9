//! RLE Lossless (PS3.5 Annex G).

use super::image::Image;
use crate::error::PixelError;

/// The header: number of segments and 15 offsets, 32 bits each (PS3.5 §G.5).
const HEADER_LEN: usize = 64;
const SEGMENTS_MAX: usize = 15;

/// One frame, in the Planar Configuration that the data set says.
///
/// # Errors
/// [`PixelError`].
pub(super) fn decode(frame: &[u8], image: &Image) -> Result<Vec<u8>, PixelError> {
    let bytes_each = image.bits_allocated.div_ceil(8) as usize;
    // Single bits are run-length coded eight to a byte.
    let len = if image.bits_allocated == 1 {
        image.stored_len()
    } else {
        image.pixels()
    };
    let segments = segments(frame)?;
    if segments.len() != bytes_each * image.samples {
        return Err(PixelError::Disagrees("the number of RLE segments"));
    }
    if segments.len() == 1 {
        return unpack(segments.first().copied().unwrap_or_default(), len);
    }
    let mut out = vec![0; len * segments.len()];
    for (index, segment) in segments.into_iter().enumerate() {
        // The most significant byte comes first (PS3.5 §G.2).
        let (sample, byte) = (index / bytes_each, bytes_each - 1 - index % bytes_each);
        let (first, step) = if image.is_by_plane {
            (sample * len * bytes_each + byte, bytes_each)
        } else {
            (sample * bytes_each + byte, bytes_each * image.samples)
        };
        let places = out.iter_mut().skip(first).step_by(step);
        unpack(segment, len)?
            .into_iter()
            .zip(places)
            .for_each(|(byte, place)| *place = byte);
    }
    Ok(out)
}

fn segments(frame: &[u8]) -> Result<Vec<&[u8]>, PixelError> {
    const BROKEN: PixelError = PixelError::Broken("the RLE header");
    let (header, _) = frame.split_at_checked(HEADER_LEN).ok_or(BROKEN)?;
    let mut words = header
        .chunks_exact(4)
        .filter_map(|word| Some(u32::from_le_bytes(*word.first_chunk()?) as usize));
    let count = words
        .next()
        .filter(|count| (1..=SEGMENTS_MAX).contains(count))
        .ok_or(BROKEN)?;
    let starts: Vec<usize> = words.take(count).collect();
    let ends = starts.iter().skip(1).copied().chain([frame.len()]);
    let ranges = starts.iter().zip(ends);
    ranges
        .map(|(start, end)| frame.get(*start..end).filter(|_| *start >= HEADER_LEN).ok_or(BROKEN))
        .collect()
}

/// PackBits (PS3.5 §G.3.2): exactly `len` bytes, and at most padding behind.
fn unpack(segment: &[u8], len: usize) -> Result<Vec<u8>, PixelError> {
    let mut out = Vec::with_capacity(len);
    let mut rest = segment;
    while out.len() < len {
        let (head, behind) = rest
            .split_first()
            .ok_or(PixelError::Broken("an RLE segment ends early"))?;
        let head = usize::from(*head);
        rest = match head {
            0..=127 => {
                let literal = behind.split_at_checked(head + 1);
                let (literal, behind) = literal.ok_or(PixelError::Broken("an RLE segment ends early"))?;
                out.extend_from_slice(literal);
                behind
            }
            128 => behind,
            _ => {
                let (byte, behind) = behind
                    .split_first()
                    .ok_or(PixelError::Broken("an RLE segment ends early"))?;
                out.resize(out.len() + 257 - head, *byte);
                behind
            }
        };
    }
    if out.len() > len {
        return Err(PixelError::Broken("an RLE segment has too many bytes"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_literals_are_unpacked_and_nothing_else_is_taken() {
        assert_eq!(unpack(&[1, 7, 8, 128, 254, 9, 0], 5).unwrap(), [7, 8, 9, 9, 9]);
        assert_eq!(unpack(&[1, 7], 2), Err(PixelError::Broken("an RLE segment ends early")));
        assert_eq!(
            unpack(&[254, 9], 2),
            Err(PixelError::Broken("an RLE segment has too many bytes"))
        );
    }
}
