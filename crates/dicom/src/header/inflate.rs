//! Inflates the beginning of a deflated data set (PS3.5 §A.5, RFC 1951) for the scan of its elements.

use std::fmt;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::ScanOutcome;
use super::elements::Elements;

/// Bytes that a deflated data set is inflated to at most. The ledger's attributes lie within the first few KiB of real ones;
/// a bomb of zeros costs 0.1 ms until here.
pub const INFLATED_LEN_MAX: u64 = 1024 * 1024;
/// Bytes of a deflated data set that are looked at at most: blocks that inflate to nothing could go on for ever, and the
/// dearest of them, of 11 bytes with code tables, cost 0.1 s until here.
pub const DEFLATED_LEN_MAX: u64 = 256 * 1024;
/// What the format looks back at most (RFC 1951 §2).
const WINDOW_LEN: usize = 32 * 1024;

/// Hands on what it inflates at once, whatever pieces it is given, so that pieces of any size give one result.
pub(super) struct Inflater {
    state: DecompressorOxide,
    /// The last bytes inflated: written from the beginning again when full.
    window: Box<[u8; WINDOW_LEN]>,
    /// Deflated bytes taken.
    taken: u64,
    /// Bytes inflated.
    inflated: u64,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("taken", &self.taken)
            .field("inflated", &self.inflated)
            .finish_non_exhaustive()
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            state: DecompressorOxide::new(),
            window: Box::new([0; WINDOW_LEN]),
            taken: 0,
            inflated: 0,
        }
    }
}

impl Inflater {
    pub(super) fn push(&mut self, bytes: &[u8], elements: &mut Elements) {
        let room = usize::try_from(DEFLATED_LEN_MAX.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        let mut bytes = bytes.get(..room).unwrap_or(bytes);
        while !elements.is_done() {
            let at = self.window_offset();
            let (status, taken, made) = decompress(
                &mut self.state,
                bytes,
                self.window.as_mut_slice(),
                at,
                TINFL_FLAG_HAS_MORE_INPUT,
            );
            self.taken = self.taken.saturating_add(len_of(taken));
            bytes = bytes.get(taken..).unwrap_or_default();
            self.hand_on(at, made, elements);
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => break,
                TINFLStatus::Done => {
                    elements.end_of_data_set();
                    return elements.end(ScanOutcome::EndOfData);
                }
                _ => {
                    let offset = self.inflated;
                    return elements.end(ScanOutcome::Malformed { offset });
                }
            }
        }
        if self.taken >= DEFLATED_LEN_MAX {
            elements.end(ScanOutcome::TooMuchDeflated);
        }
    }

    /// The `made` bytes at this place of the window.
    fn hand_on(&mut self, at: usize, made: usize, elements: &mut Elements) {
        let room = INFLATED_LEN_MAX.saturating_sub(self.inflated);
        let len = made.min(usize::try_from(room).unwrap_or(usize::MAX));
        self.inflated = self.inflated.saturating_add(len_of(len));
        let end = at.saturating_add(len);
        elements.push(self.window.get(at..end).unwrap_or_default());
        if self.inflated >= INFLATED_LEN_MAX {
            elements.end(ScanOutcome::TooMuchDeflated);
        }
    }

    fn window_offset(&self) -> usize {
        // Within the window, so it fits.
        usize::try_from(self.inflated & WINDOW_MASK).unwrap_or(0)
    }
}

const WINDOW_MASK: u64 = 32 * 1024 - 1;

fn len_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
