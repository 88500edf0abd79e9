//! Data sets from one transfer syntax to another without loss: among the uncompressed syntaxes, and from lossless ones to
//! uncompressed. Never to or from a lossy one.
//!
//! A conversion is faithful or it is an error. The data set is read into a tree whose values are pieces of the input, written
//! anew, and what was written is read again and compared with the tree, element by element. Decoded pixels are taken only
//! from a stream that is whole and says the size, the samples and the precision that the data set says; a stream that ends
//! early is an error and no picture with a grey rest.
//!
//! What a syntax cannot carry is lost as the standard says: Implicit VR carries no VR (PS3.5 §A.1), so that a private
//! element's is gone, and comes back as UN. Values are never lost. Group lengths (gggg,0000) are computed anew, other values
//! stand as they were, odd lengths and order included.
//!
//! Limits: the data set is in memory, twice, and [`Limits`] bounds it. No encoding to a compressed syntax. JPEG 2000 is
//! decoded by `hayro-jpeg2000`; JPEG Lossless, JPEG-LS and RLE by decoders here, for those that exist give back a truncated
//! stream as a picture. No High-Throughput JPEG 2000, no JPEG XL, no video.
//!
//! - [`convert`], [`targets`]: the whole of it.
//! - [`fuzzing`]: it as a fuzz target calls it.

mod check;
mod convert;
mod dictionary;
mod error;
pub mod fuzzing;
mod pixels;
mod read;
mod tree;
mod write;

pub use convert::{Converted, Limits, convert, targets};
pub use error::{ConvertError, PixelError};
