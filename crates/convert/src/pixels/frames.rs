//! Fragments to frames (PS3.5 §A.4, Table A.4-1).

use std::borrow::Cow;

use bytes::Bytes;

use crate::error::PixelError;

/// Bytes of an item's header: tag and length.
const ITEM_HEADER: u64 = 8;

/// One frame's fragments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a>(&'a [Bytes]);

impl<'a> Frame<'a> {
    /// Its bytes in one piece.
    pub(super) fn contiguous(self) -> Cow<'a, [u8]> {
        match self.0 {
            [one] => Cow::Borrowed(one),
            several => Cow::Owned(several.concat()),
        }
    }
}

/// The fragments of each of `frames` frames. By the Basic Offset Table when it has entries, by the Extended Offset Table
/// (7FE0,0001) when there is one; else one frame is all fragments, and several have a fragment each.
///
/// # Errors
/// [`PixelError::Frames`]: a table points elsewhere than to fragments, or nothing says where a frame ends.
pub(super) fn of<'a>(
    fragments: &'a [Bytes],
    frames: usize,
    extended: Option<&Bytes>,
) -> Result<Vec<Frame<'a>>, PixelError> {
    let (table, fragments) = fragments.split_first().ok_or(PixelError::Frames { frames })?;
    let basic = || {
        table
            .chunks_exact(4)
            .filter_map(|offset| Some(u64::from(u32::from_le_bytes(*offset.first_chunk()?))))
    };
    let offsets: Vec<u64> = match extended {
        _ if fragments.len() == frames => return Ok(fragments.chunks(1).map(Frame).collect()),
        _ if frames == 1 && !fragments.is_empty() => return Ok(vec![Frame(fragments)]),
        _ if !table.is_empty() => basic().collect(),
        Some(extended) => {
            let offsets = extended.chunks_exact(8);
            offsets
                .filter_map(|offset| Some(u64::from_le_bytes(*offset.first_chunk()?)))
                .collect()
        }
        None => Vec::new(),
    };
    by_offsets(fragments, &offsets)
        .filter(|found| found.len() == frames)
        .ok_or(PixelError::Frames { frames })
}

fn by_offsets<'a>(fragments: &'a [Bytes], offsets: &[u64]) -> Option<Vec<Frame<'a>>> {
    let mut starts = Vec::with_capacity(offsets.len());
    let mut at = 0_u64;
    let mut wanted = offsets.iter().peekable();
    for (index, fragment) in fragments.iter().enumerate() {
        if wanted.next_if(|offset| **offset == at).is_some() {
            starts.push(index);
        }
        at += ITEM_HEADER + u64::try_from(fragment.len()).ok()?;
    }
    if wanted.peek().is_some() || starts.first() != Some(&0) {
        return None;
    }
    let ends = starts.iter().skip(1).copied().chain([fragments.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| fragments.get(*start..end).map(Frame))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(table: &[u32], lengths: &[usize]) -> Vec<Bytes> {
        let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        let filled = lengths.iter().zip(1_u8..).map(|(len, byte)| vec![byte; *len]);
        std::iter::once(table).chain(filled).map(Bytes::from).collect()
    }

    fn lengths(found: &[Frame<'_>]) -> Vec<usize> {
        found.iter().map(|frame| frame.contiguous().len()).collect()
    }

    #[test]
    fn the_offset_table_says_which_fragments_are_a_frame() {
        let all = fragments(&[0, 20], &[2, 2, 4]);
        assert_eq!(lengths(&of(&all, 2, None).unwrap()), [4, 4]);
    }

    #[test]
    fn the_extended_offset_table_does_so_too() {
        let all = fragments(&[], &[2, 2, 4]);
        let table: Vec<u8> = [0_u64, 10].iter().flat_map(|offset| offset.to_le_bytes()).collect();
        assert_eq!(lengths(&of(&all, 2, Some(&table.into())).unwrap()), [2, 6]);
    }

    #[test]
    fn without_a_table_one_frame_is_all_and_several_are_one_each() {
        let all = fragments(&[], &[2, 2, 4]);
        assert_eq!(lengths(&of(&all, 1, None).unwrap()), [8]);
        assert_eq!(lengths(&of(&all, 3, None).unwrap()), [2, 2, 4]);
        assert_eq!(of(&all, 2, None).unwrap_err(), PixelError::Frames { frames: 2 });
        assert_eq!(of(&all, 4, None).unwrap_err(), PixelError::Frames { frames: 4 });
    }

    #[test]
    fn a_table_that_points_into_a_fragment_is_refused() {
        let all = fragments(&[0, 12], &[2, 2, 4]);
        assert_eq!(of(&all, 2, None).unwrap_err(), PixelError::Frames { frames: 2 });
    }
}
