//! Facts as they go from edge to edge and into files.

use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_ids::WallTime;
use serde::{Deserialize, Serialize};

use super::belief::{Source, Subject, Word};
use super::probe::Pair;

/// One thing that is believed of a PACS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// SOP class.
    pub(crate) class: String,
    /// `None`: in any transfer syntax.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) syntax: Option<String>,
    /// Whether it is taken.
    pub(crate) takes: bool,
    /// When it was said, by the clock of whoever heard it, in microseconds since 1970.
    pub(crate) at: i64,
    /// How it was found out.
    pub(crate) source: Source,
}

impl Told {
    pub(super) fn new(subject: &Subject, takes: bool, word: Word) -> Self {
        Self {
            class: subject.class.to_string(),
            syntax: subject.syntax.as_ref().map(ToString::to_string),
            takes,
            at: word.at.unix_micros(),
            source: word.source,
        }
    }

    /// `None`: it names something that is no UID.
    pub(super) fn read(&self) -> Option<(Subject, bool, Word)> {
        let subject = subject(&self.class, self.syntax.as_deref())?;
        let word = Word {
            at: WallTime::from_unix_micros(self.at),
            source: self.source,
        };
        Some((subject, self.takes, word))
    }
}

/// A subject by its UIDs; `None`: they are none.
pub(super) fn subject(class: &str, syntax: Option<&str>) -> Option<Subject> {
    let class = AbstractSyntaxUid::try_from(class).ok()?;
    let syntax = syntax.map(TransferSyntaxUid::try_from).transpose().ok()?;
    Some(Subject { class, syntax })
}

/// Pairs as texts.
pub(super) fn written<'a>(pairs: impl Iterator<Item = &'a Pair>) -> Vec<(String, String)> {
    pairs
        .map(|(class, syntax)| (class.to_string(), syntax.to_string()))
        .collect()
}

/// Pairs out of texts; what are no UIDs is left out.
pub(super) fn pairs(written: &[(String, String)]) -> impl Iterator<Item = Pair> {
    written.iter().filter_map(|(class, syntax)| {
        let syntax = TransferSyntaxUid::try_from(syntax.as_str()).ok()?;
        Some((AbstractSyntaxUid::try_from(class.as_str()).ok()?, syntax))
    })
}
