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
        // A yes to any syntax outweighs the no to its class, also where policy is not told of that yes.
        let is_taken = |(subject, takes, _): &&(Subject, bool, Word)| *takes && subject.syntax.is_some();
        let taken: BTreeSet<_> = believed
            .iter()
            .filter(is_taken)
            .map(|(subject, ..)| subject.class.clone())
            .collect();
        for (subject, takes, word) in believed {
            let Subject { class, syntax } = subject.clone();
            match (syntax, takes) {
                // Chosen by the PACS out of both native syntaxes: that is no word against the better one.
                (Some(syntax), true) if is(&syntax, IMPLICIT_VR_LE) && !explicit_known.contains(&class) => {}
                (Some(syntax), true) => policy.takes(class, syntax),
                (Some(syntax), false) => policy.refuses(class, syntax),
                (None, false) if taken.contains(&class) => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::belief::Source;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

    #[test]
    fn implicit_vr_le_that_was_taken_outweighs_a_no_to_its_class() {
        let believed = |syntax: Option<&str>, takes| {
            let subject = Subject {
                class: CT.parse().unwrap(),
                syntax: syntax.map(|syntax| syntax.parse().unwrap()),
            };
            let (at, source) = (WallTime::default(), Source::Probe);
            (subject, takes, Word { at, source })
        };
        let (class, syntax) = (CT.parse().unwrap(), EXPLICIT_VR_LE.parse().unwrap());
        let no = believed(None, false);
        let yes = believed(Some(IMPLICIT_VR_LE), true);
        let known = |believed: Vec<_>| Known::new(MirrorMode::Strict, believed.into_iter()).policy;
        assert_eq!(
            known(vec![no.clone()]).not_taken(&class, &syntax),
            Some(NotTaken::Class)
        );
        assert_eq!(known(vec![no.clone(), yes.clone()]).not_taken(&class, &syntax), None);
        assert_eq!(known(vec![yes, no]).not_taken(&class, &syntax), None);
    }
}
