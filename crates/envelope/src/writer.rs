//! Making an envelope in one pass.

use bytes::{Buf as _, Bytes, BytesMut};
use packhorse_ids::{Digest, Kind, PayloadId, SiteName};
use sha2::{Digest as _, Sha256};

use crate::format::{BlockEntry, CODING_STORED, Trailer, TrailerFields};
use crate::format::{block_header, block_len, write_head, write_trailer};

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

/// SHA-256 and length of the original bytes. Apart from [`Writer`], so that another thread may do it: it is most of the
/// work.
#[derive(Clone, Debug, Default)]
pub struct Original {
    sha256: Sha256,
    length: u64,
}

impl Original {
    /// The next original bytes.
    pub fn push(&mut self, original: &[u8]) {
        self.sha256.update(original);
        self.length += original.len() as u64;
    }
}

/// Shorter pieces are copied together: each piece that is kept has its cost, and a peer may send a byte at a time.
const PIECE_LEN_MIN: usize = 4096;

/// Makes an envelope out of original bytes as they come. But for short ones nothing is copied: the pieces that it gives
/// out are those that were put in, and what stands between them.
#[derive(Debug)]
pub struct Writer {
    blake3: blake3::Hasher,
    /// The block that is not full yet.
    block: Vec<Bytes>,
    /// Short pieces, the last of that block.
    short: BytesMut,
    block_length: usize,
    blocks: Vec<BlockEntry>,
    /// Original bytes in whole blocks.
    in_blocks: u64,
    length: u64,
}

impl Writer {
    /// Begins an envelope; its head is appended to `out`.
    #[must_use]
    pub fn new(_associated: &AssociatedData, out: &mut Vec<Bytes>) -> Self {
        let mut writer = Self {
            blake3: blake3::Hasher::new(),
            block: Vec::new(),
            short: BytesMut::new(),
            block_length: 0,
            blocks: Vec::new(),
            in_blocks: 0,
            length: 0,
        };
        let mut head = Vec::new();
        write_head(&mut head);
        writer.put(head.into(), out);
        writer
    }

    /// The next original bytes; what is ready of the envelope is appended to `out`.
    pub fn push(&mut self, mut original: Bytes, out: &mut Vec<Bytes>) {
        while original.has_remaining() {
            let whole = block_len(self.in_blocks);
            let piece = original.split_to(original.len().min(whole - self.block_length));
            self.block_length += piece.len();
            self.keep(piece);
            if self.block_length == whole {
                self.end_block(out);
            }
        }
    }

    fn keep(&mut self, piece: Bytes) {
        if piece.len() < PIECE_LEN_MIN {
            self.short.extend_from_slice(&piece);
        }
        if self.short.len() >= PIECE_LEN_MIN || piece.len() >= PIECE_LEN_MIN {
            self.keep_short();
        }
        if piece.len() >= PIECE_LEN_MIN {
            self.block.push(piece);
        }
    }

    fn keep_short(&mut self) {
        if !self.short.is_empty() {
            self.block.push(self.short.split().freeze());
        }
    }

    /// The end: last block and trailer are appended to `out`. `original` has had the same bytes as this.
    pub fn finish(mut self, original: Original, fields: TrailerFields, out: &mut Vec<Bytes>) -> Sealed {
        if self.block_length > 0 {
            self.end_block(out);
        }
        let sha256 = Digest::from_bytes(original.sha256.finalize().into());
        let original_length = original.length;
        let mut trailer = Vec::new();
        write_trailer(
            &mut trailer,
            &Trailer {
                fields,
                original_length,
                sha256,
                blocks: std::mem::take(&mut self.blocks),
            },
        );
        self.put(trailer.into(), out);
        Sealed {
            length: self.length,
            blake3: Digest::from_bytes(*self.blake3.finalize().as_bytes()),
            original_length,
            sha256,
        }
    }

    fn end_block(&mut self, out: &mut Vec<Bytes>) {
        let length = u32::try_from(self.block_length).unwrap_or(u32::MAX);
        self.blocks.push(BlockEntry {
            offset: self.length,
            coded_length: length,
            original_length: length,
            coding: CODING_STORED,
        });
        self.keep_short();
        self.in_blocks += u64::from(length);
        self.block_length = 0;
        self.put(Bytes::copy_from_slice(&block_header(length)), out);
        for piece in std::mem::take(&mut self.block) {
            self.put(piece, out);
        }
    }

    fn put(&mut self, piece: Bytes, out: &mut Vec<Bytes>) {
        self.blake3.update(&piece);
        self.length += piece.len() as u64;
        out.push(piece);
    }
}

/// A whole envelope around bytes in memory: a message.
#[must_use]
pub fn seal(associated: &AssociatedData, original: Bytes) -> (Vec<u8>, Sealed) {
    let (mut out, mut measured) = (Vec::new(), Original::default());
    measured.push(&original);
    let mut writer = Writer::new(associated, &mut out);
    writer.push(original, &mut out);
    let sealed = writer.finish(measured, TrailerFields::default(), &mut out);
    (out.concat(), sealed)
}
