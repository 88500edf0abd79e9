//! Envelope parts and their bytes.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::ops::Range;

use bytes::{Buf as _, BufMut as _, Bytes};
use packhorse_ids::Digest;

use crate::error::FormatError;

pub(crate) const HEAD_MAGIC: &[u8; 4] = b"PHE1";
pub(crate) const FOOT_MAGIC: &[u8; 4] = b"PHT1";
pub(crate) const VERSION: u8 = 1;
pub(crate) const SEALING_NONE: u8 = 0;
pub(crate) const CODING_STORED: u8 = 0;
/// Bytes of a head without its key section.
pub(crate) const HEAD_LEN: usize = 8;
/// Bytes before a block's coded bytes.
pub(crate) const BLOCK_HEADER_LEN: usize = 5;
/// Bytes of the foot: trailer length and magic.
pub const FOOT_LEN: u64 = 8;
/// Original bytes of one block: 1 MiB at most, so that an instance passes in constant memory.
pub const BLOCK_LEN_MAX: usize = 1 << 20;
/// A writer makes blocks of 64 KiB to begin with: a block's length stands before its bytes, so nothing of it can be stored
/// before it ends.
const BLOCK_LEN_FIRST: usize = 64 * 1024;
/// Original bytes in short blocks. Past them a long table would cost more than an early end of each block brings.
const SHORT_BLOCKS_LEN: u64 = 4 << 20;
/// A trailer with the block table of a 1 TiB instance has about 18 MiB.
const TRAILER_LEN_MAX: u32 = 32 << 20;
/// One field at most: a command set has up to 64 KiB.
const FIELD_LEN_MAX: u32 = 64 * 1024;

/// What only the end knows, as its writer gives it. Empty fields are not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailerFields {
    /// The command set as it was received.
    pub command_set: Bytes,
    /// Calling AE title.
    pub calling_ae_title: String,
    /// Called AE title.
    pub called_ae_title: String,
    /// AE title of the destination at the far site.
    pub destination_ae_title: String,
    /// Transfer syntax UID of the original bytes.
    pub transfer_syntax: String,
}

/// A trailer as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// What its writer gave.
    pub fields: TrailerFields,
    /// Bytes of the original.
    pub original_length: u64,
    /// SHA-256 of the original.
    pub sha256: Digest,
    /// The blocks, in order.
    pub blocks: Vec<BlockEntry>,
}

/// Where a block is, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Of its coding byte, from the envelope's beginning.
    pub offset: u64,
    /// Bytes as coded.
    pub coded_length: u32,
    /// Original bytes, 1 to [`BLOCK_LEN_MAX`].
    pub original_length: u32,
    /// How it is coded.
    pub coding: u8,
}

impl BlockEntry {
    /// Where the block is in the envelope, its header included.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let header = u64::try_from(BLOCK_HEADER_LEN).unwrap_or(0);
        self.offset
            ..self
                .offset
                .saturating_add(header)
                .saturating_add(u64::from(self.coded_length))
    }
}

pub(crate) fn write_head(out: &mut Vec<u8>) {
    out.put_slice(HEAD_MAGIC);
    out.put_slice(&[VERSION, SEALING_NONE, 0, 0]);
}

/// Checks a head. `head` is the envelope's first [`HEAD_LEN`] bytes.
fn read_head(mut head: &[u8]) -> Result<(), FormatError> {
    const CUT: FormatError = FormatError::Truncated("head");
    if head.len() < HEAD_LEN {
        return Err(CUT);
    }
    if !head.starts_with(HEAD_MAGIC) {
        return Err(FormatError::Damaged("head"));
    }
    head.advance(HEAD_MAGIC.len());
    match (head.get_u8(), head.get_u8(), head.get_u16()) {
        (VERSION, SEALING_NONE, 0) => Ok(()),
        (VERSION, SEALING_NONE, _) => Err(FormatError::Damaged("head")),
        (VERSION, sealing, _) => Err(FormatError::Sealing(sealing)),
        (version, _, _) => Err(FormatError::Version(version)),
    }
}

/// How long a writer makes the block that begins behind `original_length` bytes.
pub(crate) const fn block_len(original_length: u64) -> usize {
    if original_length < SHORT_BLOCKS_LEN {
        BLOCK_LEN_FIRST
    } else {
        BLOCK_LEN_MAX
    }
}

/// What stands before the bytes of a block that is stored as it is.
pub(crate) fn block_header(length: u32) -> [u8; BLOCK_HEADER_LEN] {
    let [a, b, c, d] = length.to_be_bytes();
    [CODING_STORED, a, b, c, d]
}

/// The original bytes of a block. `bytes` are those of its [`range`](BlockEntry::range).
///
/// # Errors
/// [`FormatError`] when the bytes are not the block that the entry says.
pub fn read_block(entry: &BlockEntry, mut bytes: Bytes) -> Result<Bytes, FormatError> {
    const DAMAGED: FormatError = FormatError::Damaged("block");
    if bytes.len() < BLOCK_HEADER_LEN {
        return Err(FormatError::Truncated("block"));
    }
    let (coding, length) = (bytes.get_u8(), bytes.get_u32());
    if coding != entry.coding || length != entry.coded_length || usize::try_from(length) != Ok(bytes.len()) {
        return Err(DAMAGED);
    }
    match coding {
        CODING_STORED if entry.original_length == length => Ok(bytes),
        CODING_STORED => Err(DAMAGED),
        coding => Err(FormatError::Coding(coding)),
    }
}

pub(crate) fn write_trailer(out: &mut Vec<u8>, trailer: &Trailer) {
    let start = out.len();
    out.put_u64(trailer.original_length);
    out.put_slice(trailer.sha256.as_bytes());
    let fields = &trailer.fields;
    let all: [(u8, &[u8]); 5] = [
        (1, &fields.command_set),
        (2, fields.calling_ae_title.as_bytes()),
        (3, fields.called_ae_title.as_bytes()),
        (4, fields.destination_ae_title.as_bytes()),
        (5, fields.transfer_syntax.as_bytes()),
    ];
    let some: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    out.put_u8(u8::try_from(some.len()).unwrap_or(u8::MAX));
    for (id, value) in some {
        out.put_u8(id);
        out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        out.put_slice(value);
    }
    out.put_u32(u32::try_from(trailer.blocks.len()).unwrap_or(u32::MAX));
    for block in &trailer.blocks {
        out.put_u64(block.offset);
        out.put_u32(block.coded_length);
        out.put_u32(block.original_length);
        out.put_u8(block.coding);
    }
    let length = out.len().saturating_sub(start);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_slice(FOOT_MAGIC);
}

/// Where the trailer is (foot not included) in an envelope of `length` bytes, whose last [`FOOT_LEN`] bytes are `foot`.
///
/// # Errors
/// [`FormatError`] when these are no envelope's last bytes.
pub fn trailer_range(length: u64, foot: &[u8]) -> Result<Range<u64>, FormatError> {
    let Some((&[a, b, c, d], magic)) = foot.split_first_chunk::<4>() else {
        return Err(FormatError::Truncated("foot"));
    };
    if magic != FOOT_MAGIC {
        return Err(FormatError::Damaged("foot"));
    }
    let trailer_len = u32::from_be_bytes([a, b, c, d]);
    let end = length.checked_sub(FOOT_LEN).ok_or(FormatError::Truncated("foot"))?;
    let start = end
        .checked_sub(u64::from(trailer_len))
        .filter(|_| trailer_len <= TRAILER_LEN_MAX);
    start.map(|start| start..end).ok_or(FormatError::Damaged("foot"))
}

/// Reads the trailer in `bytes`, the bytes of [`trailer_range`], of an envelope that begins with `head` (8 bytes).
/// `body_end` is where the trailer begins.
///
/// # Errors
/// [`FormatError`] when head or trailer are not what they must be; what the trailer says of blocks is checked against the
/// envelope's measures.
pub fn read_trailer(head: &[u8], mut bytes: Bytes, body_end: u64) -> Result<Trailer, FormatError> {
    const CUT: FormatError = FormatError::Truncated("trailer");
    read_head(head)?;
    let original_length = bytes.try_get_u64().map_err(|_| CUT)?;
    let mut sha256 = [0; 32];
    bytes.try_copy_to_slice(&mut sha256).map_err(|_| CUT)?;
    let fields = read_fields(&mut bytes)?;
    let count = bytes.try_get_u32().map_err(|_| CUT)?;
    let mut blocks = Vec::new();
    let mut at = u64::try_from(HEAD_LEN).unwrap_or(0);
    let mut sum: u64 = 0;
    for _ in 0..count {
        if bytes.len() < 17 {
            return Err(CUT);
        }
        let block = BlockEntry {
            offset: bytes.get_u64(),
            coded_length: bytes.get_u32(),
            original_length: bytes.get_u32(),
            coding: bytes.get_u8(),
        };
        let original = usize::try_from(block.original_length).unwrap_or(usize::MAX);
        if block.offset != at || original == 0 || original > BLOCK_LEN_MAX {
            return Err(FormatError::Damaged("block table"));
        }
        at = block.range().end;
        sum = sum.saturating_add(u64::from(block.original_length));
        blocks.push(block);
    }
    if at != body_end || sum != original_length {
        return Err(FormatError::Damaged("block table"));
    }
    Ok(Trailer {
        fields,
        original_length,
        sha256: Digest::from_bytes(sha256),
        blocks,
    })
}

fn read_fields(bytes: &mut Bytes) -> Result<TrailerFields, FormatError> {
    const CUT: FormatError = FormatError::Truncated("trailer");
    let mut fields = TrailerFields::default();
    for _ in 0..bytes.try_get_u8().map_err(|_| CUT)? {
        let (id, length) = (
            bytes.try_get_u8().map_err(|_| CUT)?,
            bytes.try_get_u32().map_err(|_| CUT)?,
        );
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        if length > FIELD_LEN_MAX || whole > bytes.len() {
            return Err(CUT);
        }
        let value = bytes.split_to(whole);
        let text = || {
            str::from_utf8(&value)
                .map(str::to_owned)
                .map_err(|_| FormatError::Damaged("trailer"))
        };
        match id {
            1 => fields.command_set = value,
            2 => fields.calling_ae_title = text()?,
            3 => fields.called_ae_title = text()?,
            4 => fields.destination_ae_title = text()?,
            5 => fields.transfer_syntax = text()?,
            _ => {}
        }
    }
    Ok(fields)
}
