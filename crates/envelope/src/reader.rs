//! Reading an envelope: the trailer first, then block by block.

use std::error::Error;
use std::ops::Range;

use bytes::Bytes;
use packhorse_ids::Digest;
use sha2::{Digest as _, Sha256};

use crate::error::FormatError;
use crate::format::{BlockEntry, FOOT_LEN, HEAD_LEN, Trailer, read_block, read_trailer, trailer_range};

/// Blocks are read together up to so many bytes: the first ones of an envelope are short.
const READ_LEN: u64 = 1 << 20;

/// Where an envelope's bytes are.
pub trait RangeReader: Send + Sync {
    /// Why bytes could not be read.
    type Error: Error + Send + Sync + 'static;

    /// Exactly the bytes of `range`.
    fn read(&self, range: Range<u64>) -> impl Future<Output = Result<Bytes, Self::Error>> + Send;
}

/// An envelope in memory.
impl RangeReader for Bytes {
    type Error = FormatError;

    async fn read(&self, range: Range<u64>) -> Result<Self, FormatError> {
        let bound = |at: u64| usize::try_from(at).ok().filter(|at| *at <= self.len());
        match (bound(range.start), bound(range.end)) {
            (Some(start), Some(end)) if start <= end => Ok(self.slice(start..end)),
            _ => Err(FormatError::Truncated("body")),
        }
    }
}

/// Reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E: Error + 'static> {
    /// The bytes could not be read.
    #[error("the envelope cannot be read")]
    Read(#[source] E),
    /// They are no envelope, or not the one that was sealed.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// An envelope being read. Give out all blocks, then [`finish`](Self::finish): only then are the original bytes known to
/// be those that were sealed.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    trailer: Trailer,
    next: usize,
    /// Bytes read ahead, from the next block's beginning on.
    ahead: Bytes,
    sha256: Sha256,
}

impl<R: RangeReader> Reader<R> {
    /// Reads head and trailer of an envelope of `length` bytes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn open(source: R, length: u64) -> Result<Self, ReadError<R::Error>> {
        let foot_at = length.checked_sub(FOOT_LEN).ok_or(FormatError::Truncated("foot"))?;
        let foot = source.read(foot_at..length).await.map_err(ReadError::Read)?;
        let range = trailer_range(length, &foot)?;
        let head_end = range.start.min(HEAD_LEN as u64);
        let head = source.read(0..head_end).await.map_err(ReadError::Read)?;
        let body_end = range.start;
        let bytes = source.read(range).await.map_err(ReadError::Read)?;
        let trailer = read_trailer(&head, bytes, body_end)?;
        Ok(Self {
            source,
            trailer,
            next: 0,
            ahead: Bytes::new(),
            sha256: Sha256::new(),
        })
    }

    /// The trailer.
    #[must_use]
    pub const fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// The next original bytes; `None` behind the last block.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next_block(&mut self) -> Result<Option<Bytes>, ReadError<R::Error>> {
        let Some(entry) = self.trailer.blocks.get(self.next) else {
            return Ok(None);
        };
        let length = entry.range().end.saturating_sub(entry.offset);
        if self.ahead.is_empty() {
            let range = self.next_range(entry);
            self.ahead = self.source.read(range).await.map_err(ReadError::Read)?;
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.ahead.len());
        let original = read_block(entry, self.ahead.split_to(length))?;
        self.sha256.update(&original);
        self.next += 1;
        Ok(Some(original))
    }

    /// `first` and the blocks behind it, as far as they are read together.
    fn next_range(&self, first: &BlockEntry) -> Range<u64> {
        let behind = self.trailer.blocks.get(self.next..).unwrap_or_default();
        let ends = behind.iter().map(|entry| entry.range().end);
        let end = ends
            .take_while(|end| end.saturating_sub(first.offset) <= READ_LEN)
            .last();
        first.offset..end.unwrap_or_else(|| first.range().end)
    }

    /// Whether what was given out is the whole original, by its SHA-256.
    ///
    /// # Errors
    /// [`FormatError::Digest`] when it is not; [`FormatError::Truncated`] when blocks were left.
    pub fn finish(self) -> Result<Digest, FormatError> {
        if self.next < self.trailer.blocks.len() {
            return Err(FormatError::Truncated("body"));
        }
        let digest = Digest::from_bytes(self.sha256.finalize().into());
        if digest == self.trailer.sha256 {
            Ok(digest)
        } else {
            Err(FormatError::Digest)
        }
    }
}
