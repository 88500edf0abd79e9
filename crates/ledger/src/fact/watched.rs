//! What is seen of senders: what a refusal does to them, and what they send again.

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::uid::SopInstanceUid;
use packhorse_ids::{DeliveryId, Digest, WallTime};
use serde::{Deserialize, Serialize};

use crate::origin::{AssociationId, Origin};
use crate::{text, text::micros, text::option_micros};

/// See [`Fact::SenderStopped`](super::Fact::SenderStopped).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SenderStopped {
    /// The association that ended so.
    #[serde(with = "text")]
    pub association: AssociationId,
    /// Name of the source.
    pub source: String,
    /// Calling AE title, which rules go by.
    #[serde(with = "text")]
    pub calling: AeTitle,
    /// Called AE title of the route.
    #[serde(with = "text")]
    pub route: AeTitle,
    /// What it stopped at: one class when an instance of it was refused; when negotiation refused several, one of these.
    pub classes: Vec<StoppedAt>,
    /// The status that the instance was answered; `None`: it stopped at a refused presentation context.
    #[serde(default)]
    pub status: Option<u16>,
    /// Study Instance UID of the last instance that came; `None`: none came, or it has none.
    #[serde(default)]
    pub study: Option<String>,
    /// Instances that had been taken on the association.
    pub instances: u64,
    /// How it is known.
    pub evidence: Evidence,
    /// When the association ended.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// A class that a sender stopped at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedAt {
    /// SOP class UID, as it came; printable.
    pub class: String,
    /// The rule that refused it, for people.
    pub rule: String,
}

/// How it is known that a sender stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// It sent A-ABORT after the refusal.
    Aborted,
    /// Nothing came behind the refused instance on the association, and the sender is not known to go on.
    EndedBehindRefusal,
    /// It used the refused presentation context all the same, which ends an association.
    UsedRefusedContext,
    /// In a word of a later version.
    #[serde(other)]
    Unknown,
}

impl Evidence {
    /// The word on disk.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::EndedBehindRefusal => "ended-behind-refusal",
            Self::UsedRefusedContext => "used-refused-context",
            Self::Unknown => "unknown",
        }
    }

    /// What happened, for people.
    #[must_use]
    pub fn in_words(word: &str) -> &str {
        match word {
            "aborted" => "it aborted",
            "ended-behind-refusal" => "the association ended behind the refused instance",
            "used-refused-context" => "it used the refused context",
            other => other,
        }
    }
}

/// See [`Fact::ResendLoop`](super::Fact::ResendLoop).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResendLoop {
    /// Name of the source.
    pub source: String,
    /// Calling AE title, which rules go by.
    #[serde(with = "text")]
    pub calling: AeTitle,
    /// Called AE title of the route.
    #[serde(with = "text")]
    pub route: AeTitle,
    /// Study Instance UID; `None`: not known.
    #[serde(default)]
    pub study: Option<String>,
    /// The classes that were refused each time.
    pub classes: Vec<StoppedAt>,
    /// Associations that began the same again.
    pub times: u32,
    /// When the first of them began.
    #[serde(with = "micros")]
    pub since: WallTime,
    /// When it was seen.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::InstanceRepeated`](super::Fact::InstanceRepeated).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceRepeated {
    /// The delivery that it joined.
    #[serde(with = "text")]
    pub delivery: DeliveryId,
    /// How it came.
    #[serde(with = "text")]
    pub origin: Origin,
    /// SOP instance of the command.
    #[serde(with = "text")]
    pub sop_instance: SopInstanceUid,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// More of an [`InstanceReceived`](super::InstanceReceived).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReceivedDetails {
    /// BLAKE3 of the value of Pixel Data, from its beginning to the data set's end where it is encapsulated. `None`: it has
    /// none, or is deflated.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Digest>,
    /// How it differs from the one received before on this route from this source, in the same transfer syntax. `None`:
    /// there is none to compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// Move Originator of the source's C-MOVE, `AE title/message id`: not passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub move_originator: Option<String>,
    /// When a hold of `held_by` ends, and the instance is discarded; `None`: when somebody releases it.
    #[serde(with = "option_micros", skip_serializing_if = "Option::is_none")]
    pub held_until: Option<WallTime>,
}

/// How a repeat differs from what was received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compared {
    /// Not at all.
    Same,
    /// The pixels are the same: what is normal when a patient's data were corrected.
    HeaderChanged,
    /// The pixels are others: what is not.
    PixelsChanged,
    /// It does, and nothing is known of the pixels.
    #[serde(other)]
    Changed,
}

impl Compared {
    /// The word on disk and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::HeaderChanged => "header changed",
            Self::PixelsChanged => "pixels changed",
            Self::Changed => "changed",
        }
    }

    /// Compares SHA-256 and pixel digests of two data sets in one transfer syntax.
    #[must_use]
    pub fn of(before: (&Digest, Option<&Digest>), now: (&Digest, Option<&Digest>)) -> Self {
        match (before.1, now.1) {
            _ if before.0 == now.0 => Self::Same,
            (Some(before), Some(now)) if before == now => Self::HeaderChanged,
            (Some(_), Some(_)) => Self::PixelsChanged,
            // A report, or pixels that came or went.
            (None, None) => Self::Changed,
            (Some(_), None) | (None, Some(_)) => Self::PixelsChanged,
        }
    }
}
