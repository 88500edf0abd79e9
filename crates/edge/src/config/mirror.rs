//! `[mirror]`: how it is found out what PACS take.

use std::time::Duration;

use packhorse_daemon::Span;
use packhorse_policy::MirrorMode;
use serde::Deserialize;

use super::problems::Problems;
use crate::mirror::Patience;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawMirror {
    pub(super) pace: Option<Span>,
    pub(super) confirm: Option<Span>,
    pub(super) refresh: Option<Span>,
    pub(super) expire: Option<Span>,
}

/// How it is found out what PACS take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorTimes {
    /// At least so long between two associations that only ask. Default 1 min.
    pub pace: Duration,
    /// At least so long between the first no and the one that confirms it. Default 10 min.
    pub confirm: Duration,
    /// How often what is known is asked again. Default 24 h.
    pub refresh: Duration,
    /// How long a no is believed. Default 7 days.
    pub expire: Duration,
}

impl MirrorTimes {
    pub(crate) const fn patience(&self) -> Patience {
        Patience {
            confirm: self.confirm,
            refresh: self.refresh,
            expire: self.expire,
        }
    }
}

pub(super) fn times(raw: &RawMirror, problems: &mut Problems) -> MirrorTimes {
    let mut span =
        |key: &str, span: Option<Span>, default| problems.span("mirror", key, span, Duration::from_secs(default));
    let times = MirrorTimes {
        pace: span("pace", raw.pace, 60),
        confirm: span("confirm", raw.confirm, 600),
        refresh: span("refresh", raw.refresh, 86_400),
        expire: span("expire", raw.expire, 7 * 86_400),
    };
    if times.confirm >= times.expire {
        let problem = format!("{:?} is not shorter than expire, {:?}", times.confirm, times.expire);
        problems.add("mirror.confirm".to_owned(), problem);
    }
    times
}

/// `mirror` of a `[[destination]]`; `None`: off.
pub(super) fn mode(raw: Option<&str>, path: String, problems: &mut Problems) -> Option<MirrorMode> {
    match raw {
        None | Some("advise") => Some(MirrorMode::Advise),
        Some("strict") => Some(MirrorMode::Strict),
        Some("off") => None,
        Some(other) => {
            problems.add(path, format!("{other:?} is none of advise, strict, off"));
            None
        }
    }
}

/// The word in configuration.
pub(crate) const fn word(mode: Option<MirrorMode>) -> &'static str {
    match mode {
        Some(MirrorMode::Advise) => "advise",
        Some(MirrorMode::Strict) => "strict",
        None => "off",
    }
}
