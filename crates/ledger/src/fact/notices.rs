//! What a person should hear of, and what became of telling it.

use packhorse_ids::{DeliveryId, WallTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{text, text::micros};

/// See [`Fact::Noticed`](super::Fact::Noticed).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noticed {
    /// Its id: the same for the same kind and key.
    #[serde(with = "text")]
    pub notice: DeliveryId,
    /// What it is about: `late`, `failed`, …
    pub about: String,
    /// What makes it one and the same.
    pub key: String,
    /// What happened, for people.
    pub what: String,
    /// What to do about it, for people; empty: nothing.
    pub remedy: String,
    /// The same for programs.
    #[serde(default)]
    pub fields: Map<String, Value>,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}

/// See [`Fact::NoticeTold`](super::Fact::NoticeTold).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeTold {
    /// Which.
    #[serde(with = "text")]
    pub notice: DeliveryId,
    /// Name of the channel.
    pub channel: String,
    /// Why it was given up; `None`: it was told.
    #[serde(default)]
    pub failure: Option<String>,
    /// When.
    #[serde(with = "micros")]
    pub at: WallTime,
}
