//! What a person should hear of: by the log, and by what `[[notify]]` names.
//!
//! A notice is told once: its key says what makes it the same one.

use serde_json::{Map, Value};

use crate::shared::Shared;

/// Something that a person should hear of. No values of data sets: a study's UID is the most that it says of a patient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// What it is about.
    pub(crate) kind: NoticeKind,
    /// What makes it one and the same: a notice with the same kind and key is not told again for 30 days.
    pub(crate) key: String,
    /// What happened, in one line.
    pub(crate) what: String,
    /// What to do about it, in one line; empty: nothing.
    pub(crate) remedy: String,
    /// The same for programs: names of sources, routes, classes, ids, counts.
    pub(crate) fields: Map<String, Value>,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NoticeKind {
    /// In custody and not delivered within its time.
    Late,
    /// On the failed list.
    Failed,
    /// A destination rejects us; its instances stay queued.
    DestinationPaused,
    /// A class was refused to a source for the first time.
    ClassRefused,
    /// A sender stopped in the middle of a study at what was refused.
    SenderStopped,
    /// A study comes again and again with the same refused class.
    ResendLoop,
    /// A rule keeps instances here, or its quota is used up.
    Held,
    /// Another site's or person's word is needed, or an instance is not what was expected: pixels changed, two patients.
    Suspicious,
    /// A source asks for storage commitment, which this version does not give.
    CommitmentAsked,
    /// The link to the relay is down.
    LinkDown,
    /// The disk is nearly full.
    DiskLow,
}

impl NoticeKind {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Late,
        Self::Failed,
        Self::DestinationPaused,
        Self::ClassRefused,
        Self::SenderStopped,
        Self::ResendLoop,
        Self::Held,
        Self::Suspicious,
        Self::CommitmentAsked,
        Self::LinkDown,
        Self::DiskLow,
    ];

    /// The word in configuration and JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Failed => "failed",
            Self::DestinationPaused => "destination-paused",
            Self::ClassRefused => "class-refused",
            Self::SenderStopped => "sender-stopped",
            Self::ResendLoop => "resend-loop",
            Self::Held => "held",
            Self::Suspicious => "suspicious",
            Self::CommitmentAsked => "commitment-asked",
            Self::LinkDown => "link-down",
            Self::DiskLow => "disk-low",
        }
    }
}

impl Shared {
    /// Tells a notice, once.
    #[expect(clippy::unused_async, reason = "it will be written down before it is told")]
    pub(crate) async fn notify(&self, notice: Notice) {
        let Notice {
            kind,
            key,
            what,
            remedy,
            ..
        } = notice;
        tracing::warn!(notice = kind.as_str(), key, what, remedy, "notice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_their_words() {
        let words: std::collections::BTreeSet<_> = NoticeKind::ALL.into_iter().map(NoticeKind::as_str).collect();
        assert_eq!(words.len(), NoticeKind::ALL.len());
    }
}
