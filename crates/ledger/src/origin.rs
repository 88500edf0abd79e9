//! How an instance came in.

use std::fmt;
use std::str::FromStr;

use packhorse_ids::DeliveryId;

/// Names one association at this edge: 16 random bytes, which the caller draws.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssociationId([u8; 16]);

impl AssociationId {
    /// From 16 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// 32 lower-case hexadecimal digits.
impl fmt::Display for AssociationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AssociationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is neither 32 hexadecimal digits nor, for an [`Origin`], `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits")]
pub struct InvalidAssociationId;

impl FromStr for AssociationId {
    type Err = InvalidAssociationId;

    fn from_str(text: &str) -> Result<Self, InvalidAssociationId> {
        let id = text.parse::<DeliveryId>().map_err(|_| InvalidAssociationId)?;
        Ok(Self(*id.as_bytes()))
    }
}

/// How an instance came in: on an association, or as a file by the edge's own `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// By C-STORE on this association.
    Association(AssociationId),
    /// As a file.
    Send,
}

const SEND: &str = "send";

/// The association's id, or `send`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Association(id) => id.fmt(f),
            Self::Send => f.write_str(SEND),
        }
    }
}

impl FromStr for Origin {
    type Err = InvalidAssociationId;

    fn from_str(text: &str) -> Result<Self, InvalidAssociationId> {
        match text {
            SEND => Ok(Self::Send),
            id => id.parse().map(Self::Association),
        }
    }
}
