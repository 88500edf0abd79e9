//! Why bytes are no envelope.

/// Bytes that are no envelope, or one that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A part is missing or reaches past its container.
    #[error("the envelope's {_0} is cut short")]
    Truncated(&'static str),
    /// A part is not what it must be.
    #[error("the envelope's {_0} is damaged")]
    Damaged(&'static str),
    /// Written by a later version.
    #[error("an envelope of version {_0}, this program reads version 1: update it")]
    Version(u8),
    /// A sealing this version does not have.
    #[error("an envelope with sealing {_0}, which this program does not have: update it")]
    Sealing(u8),
    /// A coding this version does not have.
    #[error("a block with coding {_0}, which this program does not have: update it")]
    Coding(u8),
    /// The original bytes are not those that were sealed.
    #[error("the original bytes do not have the SHA-256 that the trailer says")]
    Digest,
}
