//! Making an envelope in one pass.

use packhorse_ids::{Digest, Kind, PayloadId, SiteName};
use sha2::{Digest as _, Sha256};

use crate::format::{BLOCK_LEN_MAX, BlockEntry, CODING_STORED, Trailer, TrailerFields};
use crate::format::{write_block, write_head, write_trailer};

/// What a sealing binds an envelope to, besides its bytes. With sealing `none` nothing does; the parameter stands here so
/// that a caller cannot forget it when it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociatedData {
    /// The payload's id.
    pub payload: PayloadId,
    /// Where it comes from.
    pub source: SiteName,
    /// Where it goes.
    pub destination: SiteName,
    /// An instance or a message.
    pub kind: Kind,
}

/// The measures of a finished envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes of the envelope.
    pub length: u64,
    /// BLAKE3 of all of them.
    pub blake3: Digest,
    /// Bytes of the original.
    pub original_length: u64,
    /// SHA-256 of the original.
    pub sha256: Digest,
}

/// Makes an envelope out of original bytes as they come.
#[derive(Debug)]
pub struct Writer {
    sha256: Sha256,
    blake3: blake3::Hasher,
    /// Original bytes of the block that is not full yet.
    block: Vec<u8>,
    blocks: Vec<BlockEntry>,
    original_length: u64,
    length: u64,
}

impl Writer {
    /// Begins an envelope; its head is appended to `out`.
    #[must_use]
    pub fn new(_associated: &AssociatedData, out: &mut Vec<u8>) -> Self {
        let mut writer = Self {
            sha256: Sha256::new(),
            blake3: blake3::Hasher::new(),
            block: Vec::new(),
            blocks: Vec::new(),
            original_length: 0,
            length: 0,
        };
        let start = out.len();
        write_head(out);
        writer.account(out, start);
        writer
    }

    /// The next original bytes; what is ready of the envelope is appended to `out`.
    pub fn push(&mut self, mut original: &[u8], out: &mut Vec<u8>) {
        self.sha256.update(original);
        self.original_length += original.len() as u64;
        while !original.is_empty() {
            let room = BLOCK_LEN_MAX - self.block.len();
            let (taken, rest) = original.split_at(room.min(original.len()));
            self.block.extend_from_slice(taken);
            original = rest;
            if self.block.len() == BLOCK_LEN_MAX {
                self.end_block(out);
            }
        }
    }

    /// The end: last block and trailer are appended to `out`.
    pub fn finish(mut self, fields: TrailerFields, out: &mut Vec<u8>) -> Sealed {
        if !self.block.is_empty() {
            self.end_block(out);
        }
        let sha256 = Digest::from_bytes(std::mem::take(&mut self.sha256).finalize().into());
        let blocks = std::mem::take(&mut self.blocks);
        let start = out.len();
        write_trailer(
            out,
            &Trailer {
                fields,
                original_length: self.original_length,
                sha256,
                blocks,
            },
        );
        self.account(out, start);
        let blake3 = Digest::from_bytes(*self.blake3.finalize().as_bytes());
        Sealed {
            length: self.length,
            blake3,
            original_length: self.original_length,
            sha256,
        }
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.block.len()).unwrap_or(u32::MAX);
        self.blocks.push(BlockEntry {
            offset: self.length,
            coded_length: length,
            original_length: length,
            coding: CODING_STORED,
        });
        let start = out.len();
        write_block(out, &self.block);
        self.block.clear();
        self.account(out, start);
    }

    fn account(&mut self, out: &[u8], start: usize) {
        let new = out.get(start..).unwrap_or_default();
        self.blake3.update(new);
        self.length += new.len() as u64;
    }
}

/// A whole envelope around bytes in memory: a message.
#[must_use]
pub fn seal(associated: &AssociatedData, original: &[u8]) -> (Vec<u8>, Sealed) {
    let mut out = Vec::with_capacity(original.len() + 128);
    let mut writer = Writer::new(associated, &mut out);
    writer.push(original, &mut out);
    let sealed = writer.finish(TrailerFields::default(), &mut out);
    (out, sealed)
}
