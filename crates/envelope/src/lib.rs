//! The envelope an instance travels in, version 1: head, body in blocks, trailer. `FORMAT.md` beside this crate's sources
//! has it byte by byte.
//!
//! Written in one pass, without a seek: a C-STORE announces neither length nor hash, so they stand at the end. Read from
//! the end: the trailer says where the blocks are, and each can be read and checked alone.
//!
//! Limits: no I/O, no crypto; coding `stored` and sealing `none` in this version. Blocks have at most 1 MiB of original
//! bytes, so that any instance passes in constant memory.

mod error;
mod format;
pub mod fuzzing;
mod reader;
mod writer;

pub use error::FormatError;
pub use format::{
    BLOCK_LEN_MAX, BlockEntry, FOOT_LEN, Trailer, TrailerFields, read_block, read_trailer, trailer_range,
};
pub use reader::{RangeReader, ReadError, Reader};
pub use writer::{AssociatedData, Original, Sealed, Writer, seal};
