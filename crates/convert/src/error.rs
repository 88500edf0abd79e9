//! Why a data set is not converted.

use dicom_core::Tag;
use packhorse_dicom::transfer_syntax::name_of;
use packhorse_dicom::uid::TransferSyntaxUid;

/// Why a data set is not converted. It stays as it is; no part of another is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Its syntax is lossy, or may be. What is lossy is not decoded: the far side would take it for what was acquired.
    #[error("{} is or may be lossy, and is never converted", name_of(from.as_str()))]
    Lossy {
        /// Its syntax.
        from: TransferSyntaxUid,
    },
    /// Nothing here decodes its syntax.
    #[error("{} is not decoded by this version", name_of(from.as_str()))]
    Unsupported {
        /// Its syntax.
        from: TransferSyntaxUid,
    },
    /// Nothing is converted to that syntax.
    #[error("nothing is converted to {}", name_of(to.as_str()))]
    Target {
        /// The syntax that was asked for.
        to: TransferSyntaxUid,
    },
    /// It, or what it becomes, is longer than [`Limits`](crate::Limits) allow.
    #[error("it would take more than {max} bytes of memory")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// It cannot be read to its end.
    #[error("at byte {at} {what}")]
    Malformed {
        /// Offset into the data set (inflated, when it is deflated).
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// An element would not say the same in the other syntax.
    #[error("{tag} {what}")]
    Element {
        /// Which.
        tag: Tag,
        /// Why.
        what: &'static str,
    },
    /// Its pixels cannot be decoded for certain.
    #[error("its pixels are not decoded")]
    Pixels(#[from] PixelError),
    /// What was written does not read as what was meant: a fault in here. Nothing came of it.
    #[error("{tag} did not come out as it went in")]
    Unfaithful {
        /// The first element that differs.
        tag: Tag,
    },
}

/// Why pixels are not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PixelError {
    /// An attribute that tells how pixels are stored is absent or has no value that can be.
    #[error("{tag} is absent, or has no value that native pixels can have")]
    Attribute {
        /// Which.
        tag: Tag,
    },
    /// Fragments cannot be told apart into frames.
    #[error("the fragments do not make {frames} frames")]
    Frames {
        /// Number of Frames (0028,0008).
        frames: usize,
    },
    /// The stream is not lossless.
    #[error("the stream is lossy: {0}")]
    Lossy(&'static str),
    /// The stream uses what is not decoded here.
    #[error("the stream has {0}, which this version does not decode")]
    Unsupported(&'static str),
    /// The stream says otherwise than the data set.
    #[error("the stream and the data set do not agree: {0}")]
    Disagrees(&'static str),
    /// The stream is broken, or ends early.
    #[error("the stream is broken: {0}")]
    Broken(&'static str),
}
