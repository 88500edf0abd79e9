//! The outside of an envelope.

use std::fmt;

use crate::{DeliveryId, Digest, PayloadId, Sequence, SiteName};

/// What a relay may know of a delivery, and all it may know: no AE title, UID, transfer syntax or name is in it.
/// Carried by transport's offer and by the spool's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// The obligation; de-duplication is by it.
    pub delivery: DeliveryId,
    /// The exact sealed bytes; resume is by it.
    pub payload: PayloadId,
    /// The site whose edge took the instance into custody.
    pub source: SiteName,
    /// The site whose edge delivers it.
    pub destination: SiteName,
    /// An instance, or a message between edges.
    pub kind: Kind,
    /// Which goes first.
    pub priority: Priority,
    /// Place in the order of (source, destination).
    pub sequence: Sequence,
    /// Length of the sealed bytes.
    pub length: u64,
    /// BLAKE3 of the sealed bytes.
    pub blake3: Digest,
}

/// What an envelope carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One DICOM instance on its way.
    Delivery,
    /// A small message between edges: receipts, announcements. Acknowledged hop by hop, has no receipts, loses nothing
    /// when repeated.
    Message,
}

impl Kind {
    /// The number on the wire and on disk: 0 delivery, 1 message.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Delivery => 0,
            Self::Message => 1,
        }
    }

    /// The kind with this number; `None` for an unknown one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Delivery),
            1 => Some(Self::Message),
            _ => None,
        }
    }
}

/// Priority of a delivery on a link and in a queue. Ordered: what is smaller goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all else; messages between edges go so too.
    Stat,
    /// The default.
    #[default]
    Routine,
    /// When nothing else waits.
    Bulk,
}

impl Priority {
    /// The number on the wire and on disk: 0 STAT, 1 routine, 2 bulk.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Stat => 0,
            Self::Routine => 1,
            Self::Bulk => 2,
        }
    }

    /// The priority with this number; `None` for an unknown one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Stat),
            1 => Some(Self::Routine),
            2 => Some(Self::Bulk),
            _ => None,
        }
    }
}

/// A word that is no priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPriority;

impl fmt::Display for UnknownPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("none of stat, routine, bulk")
    }
}

impl std::error::Error for UnknownPriority {}

impl std::str::FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        match text {
            "stat" => Ok(Self::Stat),
            "routine" => Ok(Self::Routine),
            "bulk" => Ok(Self::Bulk),
            _ => Err(UnknownPriority),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stat => "stat",
            Self::Routine => "routine",
            Self::Bulk => "bulk",
        })
    }
}
