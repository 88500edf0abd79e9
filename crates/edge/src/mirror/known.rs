//! What is known of the end of a route, as policy uses it: one for the whole life of an association, so that the answer,
//! the record and the log say the same.

use std::collections::{BTreeMap, BTreeSet};

use packhorse_dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_ids::WallTime;
use packhorse_policy::{ContextDecision, DestinationKnowledge, MirrorMode, NotTaken};

use super::belief::{Subject, Word};

/// See the module. Default: nothing.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) policy: DestinationKnowledge,
    refused: BTreeMap<Subject, Word>,
}

impl Known {
    /// What is believed, with what is done with it.
    pub(super) fn new(mode: MirrorMode, believed: impl Iterator<Item = (Subject, bool, Word)>) -> Self {
        let (mut policy, mut refused) = (DestinationKnowledge::new(mode), BTreeMap::new());
        let believed: Vec<_> = believed.collect();
        let is = |syntax: &TransferSyntaxUid, uid: &str| syntax.as_str() == uid;
        let explicit = |subject: &Subject| subject.syntax.as_ref().is_some_and(|syntax| is(syntax, EXPLICIT_VR_LE));
        let explicit_known: BTreeSet<_> = believed
            .iter()
            .filter(|(subject, ..)| explicit(subject))
            .map(|(subject, ..)| subject.class.clone())
            .collect();
        for (subject, takes, word) in believed {
            let Subject { class, syntax } = subject.clone();
            match (syntax, takes) {
                // Chosen by the PACS out of both native syntaxes: that is no word against the better one.
                (Some(syntax), true) if is(&syntax, IMPLICIT_VR_LE) && !explicit_known.contains(&class) => {}
                (Some(syntax), true) => policy.takes(class, syntax),
                (Some(syntax), false) => policy.refuses(class, syntax),
                (None, false) => policy.refuses_class(class),
                // A class that is taken in a syntax of which nothing else is known.
                (None, true) => {}
            }
            if !takes {
                refused.insert(subject, word);
            }
        }
        Self { policy, refused }
    }

    /// What is known against a context, in words: `the destination does not take it (probed 2026-11-25 10:02)`.
    pub(crate) fn against(&self, context: &ContextDecision, proposed: &[TransferSyntaxUid]) -> Option<String> {
        let not_taken = context.not_taken?;
        let subject = |syntax: Option<&TransferSyntaxUid>| Subject {
            class: context.abstract_syntax.clone(),
            syntax: syntax.cloned(),
        };
        let (what, word) = match not_taken {
            NotTaken::Class => ("it", self.refused.get(&subject(None))),
            NotTaken::Syntax => {
                let words = proposed
                    .iter()
                    .filter_map(|syntax| self.refused.get(&subject(Some(syntax))));
                ("it in these transfer syntaxes", words.max_by_key(|word| word.at))
            }
        };
        let when = word.map_or_else(String::new, |word| {
            format!(" ({} {})", word.source.words(), minute(word.at))
        });
        Some(format!("the destination does not take {what}{when}"))
    }

    /// Who decided a context, for the log and the ledger.
    pub(crate) fn decided_by(&self, context: &ContextDecision, proposed: &[TransferSyntaxUid]) -> String {
        let rule = context.rule.as_ref().map(ToString::to_string).unwrap_or_default();
        match self.against(context, proposed) {
            None => rule,
            Some(against) if context.refused_for_destination().is_some() => format!("{rule}, but {against}"),
            Some(against) => format!("{rule}; marked: {against}"),
        }
    }
}

/// `2026-11-25 10:02`.
fn minute(at: WallTime) -> String {
    let text = at.to_string();
    text.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}
