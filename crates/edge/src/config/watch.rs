//! `[watch]`: what senders do at a refusal.

use std::time::Duration;

use packhorse_daemon::Span;
use serde::Deserialize;

use super::problems::Problems;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawWatch {
    pub(super) resend_times: Option<u32>,
    pub(super) resend_within: Option<Span>,
    pub(super) held_look: Option<Span>,
}

/// What is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// So many times the same study with the same refused class are a resend loop. Default 3, at least 2.
    pub resend_times: u32,
    /// Within this time. Default 1 h.
    pub resend_within: Duration,
    /// How often it is looked whether holds have ended. Default 1 min.
    pub held_look: Duration,
}

pub(super) fn watch(raw: &RawWatch, problems: &mut Problems) -> WatchConfig {
    let resend_times = raw.resend_times.unwrap_or(3);
    if resend_times < 2 {
        problems.add(
            "watch.resend_times".to_owned(),
            "what comes once is no loop: 2 at least".to_owned(),
        );
    }
    let hour = Duration::from_secs(3600);
    WatchConfig {
        resend_times,
        resend_within: problems.span("watch", "resend_within", raw.resend_within, hour),
        held_look: problems.span("watch", "held_look", raw.held_look, Duration::from_secs(60)),
    }
}
