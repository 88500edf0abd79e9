//! Where bytes are, how a row says so, and what can go wrong with the file that has them.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::store::Locator;

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// In a slab.
    Extent { slab: u32, offset: u64, length: u64 },
    /// In a file of their own.
    Own { number: u64, length: u64 },
}

impl Place {
    pub(super) const fn length(&self) -> u64 {
        match self {
            Self::Extent { length, .. } | Self::Own { length, .. } => *length,
        }
    }

    /// The slab it is in; `None` for a file of its own.
    pub(super) const fn slab(&self) -> Option<u32> {
        match self {
            Self::Extent { slab, .. } => Some(*slab),
            Self::Own { .. } => None,
        }
    }

    /// Version 1: a tag, then big-endian numbers.
    pub(super) fn to_locator(self) -> Locator {
        let mut bytes = Vec::with_capacity(21);
        match self {
            Self::Extent { slab, offset, length } => {
                bytes.push(1);
                bytes.extend_from_slice(&slab.to_be_bytes());
                bytes.extend_from_slice(&offset.to_be_bytes());
                bytes.extend_from_slice(&length.to_be_bytes());
            }
            Self::Own { number, length } => {
                bytes.push(2);
                bytes.extend_from_slice(&number.to_be_bytes());
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        Locator::new(bytes)
    }

    pub(super) fn from_locator(locator: &Locator) -> Option<Self> {
        let (tag, rest) = locator.bytes.split_first()?;
        match (tag, rest.len()) {
            (1, 20) => Some(Self::Extent {
                slab: u32::from_be_bytes(*rest.first_chunk()?),
                offset: u64::from_be_bytes(*rest.get(4..)?.first_chunk()?),
                length: u64::from_be_bytes(*rest.last_chunk()?),
            }),
            (2, 16) => Some(Self::Own {
                number: u64::from_be_bytes(*rest.first_chunk()?),
                length: u64::from_be_bytes(*rest.last_chunk()?),
            }),
            _ => None,
        }
    }

    /// What locators of places in `slab` begin with.
    pub(super) fn locators_of(slab: u32) -> [u8; 5] {
        let [a, b, c, d] = slab.to_be_bytes();
        [1, a, b, c, d]
    }
}

/// What went wrong with a file of payloads.
#[derive(Debug)]
pub(super) enum FileError {
    /// It cannot be opened or made, of room or of descriptors: nothing was written.
    Open(io::Error),
    Read(io::Error),
    /// A write or sync failed: what the file holds is not known.
    Write(io::Error),
}

impl FileError {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Open(error) | Self::Read(error) | Self::Write(error) => error,
        }
    }
}

/// Space for a payload, and the file that has it.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) place: Place,
    pub(super) file: Arc<File>,
    /// Where the place begins in its file.
    pub(super) base: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locators_read_back_and_garbage_does_not() {
        let own = Place::Own { number: 7, length: 5 };
        for place in [
            Place::Extent {
                slab: 3,
                offset: 4096,
                length: 99,
            },
            own,
        ] {
            assert_eq!(Place::from_locator(&place.to_locator()), Some(place));
        }
        assert_eq!(Place::from_locator(&Locator::new([9; 21])), None);
    }
}
