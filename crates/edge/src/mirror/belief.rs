//! What is believed of a PACS, from what it has answered. Pure: time comes in.
//!
//! A yes is believed at once. A no is believed when the same was answered again some time later: a PACS that starts, or is
//! half configured, answers no to what it takes a minute later. And a no is believed for some days only.

use std::collections::BTreeMap;
use std::time::Duration;

use packhorse_association::NegotiatedContext;
use packhorse_dicom::negotiation::{ContextAnswer, ContextResult};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_ids::WallTime;

/// Facts of one PACS: 160 classes, each in two dozen syntaxes. Beyond, the one that was heard longest ago is forgotten.
const FACTS_MAX: usize = 4096;

/// What a fact is about: a class, in whichever syntax or in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    pub(crate) class: AbstractSyntaxUid,
    /// `None`: whether the class is taken in any.
    pub(crate) syntax: Option<TransferSyntaxUid>,
}

/// How something was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// An association that asked for nothing else.
    Probe,
    /// The association of a delivery.
    Delivery,
}

impl Source {
    /// For people: `probed 2026-11-25 10:02`.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Probe => "probed",
            Self::Delivery => "a delivery was answered so",
        }
    }
}

/// When something was said, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) at: WallTime,
    pub(crate) source: Source,
}

/// How long what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Between the first no and the one that confirms it.
    pub(crate) confirm: Duration,
    /// After so long it is asked again.
    pub(crate) refresh: Duration,
    /// For so long a no is believed.
    pub(crate) expire: Duration,
}

/// What is known of one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// When it was last in an A-ASSOCIATE-AC, whatever was answered.
    pub(crate) asked: WallTime,
    /// Whether it is taken, as is believed.
    pub(crate) believed: Option<(bool, Word)>,
    /// A no that is not confirmed.
    pub(crate) doubt: Option<Word>,
}

impl Fact {
    const fn new(asked: WallTime) -> Self {
        Self {
            asked,
            believed: None,
            doubt: None,
        }
    }

    /// Hears an answer; `None` tells nothing of it. Whether anything is believed otherwise than before.
    fn hear(&mut self, takes: Option<bool>, word: Word, patience: &Patience) -> bool {
        self.asked = self.asked.max(word.at);
        let before = self.takes(word.at, patience);
        match takes {
            None => {}
            Some(true) => {
                self.believed = Some((true, word));
                self.doubt = None;
            }
            Some(false) if before == Some(false) => self.believed = Some((false, word)),
            Some(false) => match self.doubt {
                Some(first) if word.at.saturating_since(first.at) < patience.confirm => {}
                Some(first) if word.at.saturating_since(first.at) < patience.expire => {
                    self.believed = Some((false, word));
                    self.doubt = None;
                }
                Some(_) | None => self.doubt = Some(word),
            },
        }
        self.takes(word.at, patience) != before
    }

    /// Whether it is taken. `None`: nothing is known (any more).
    pub(crate) fn takes(&self, now: WallTime, patience: &Patience) -> Option<bool> {
        let (takes, word) = self.believed?;
        (takes || now.saturating_since(word.at) < patience.expire).then_some(takes)
    }

    /// Whether it is to be asked.
    fn is_due(&self, now: WallTime, patience: &Patience) -> bool {
        let confirms = self
            .doubt
            .is_some_and(|first| now.saturating_since(first.at) >= patience.confirm);
        confirms || now.saturating_since(self.asked) >= patience.refresh
    }
}

/// Everything that is known of one PACS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beliefs(BTreeMap<Subject, Fact>);

/// What an association has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It teaches nothing: nothing at all was accepted, so that the PACS speaks of us and not of classes.
    Nothing,
    /// It was heard, and everything is believed as before.
    Same,
    /// Something is believed otherwise.
    Changed,
}

impl Beliefs {
    pub(crate) fn insert(&mut self, subject: Subject, fact: Fact) {
        self.0.insert(subject, fact);
        if self.0.len() > FACTS_MAX {
            let oldest = self
                .0
                .iter()
                .min_by_key(|(_, fact)| fact.asked)
                .map(|(subject, _)| subject.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Subject, &Fact)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, subject: &Subject) -> Option<&Fact> {
        self.0.get(subject)
    }

    /// Hears the answers of an A-ASSOCIATE-AC. What it leaves out or gives no reason for (2) tells nothing.
    pub(crate) fn hear(&mut self, contexts: &[NegotiatedContext], word: Word, patience: &Patience) -> Heard {
        let is_accepted = |context: &&NegotiatedContext| matches!(context.answer, ContextAnswer::Accepted(_));
        if !contexts.iter().any(|context| is_accepted(&context)) {
            return Heard::Nothing;
        }
        let mut changed = false;
        // What is accepted comes last: it outweighs what another context of the same class was answered.
        let rejected = contexts.iter().filter(|context| !is_accepted(context));
        for context in rejected.chain(contexts.iter().filter(is_accepted)) {
            if context.proposed.abstract_syntax.as_str() != VERIFICATION {
                for (subject, takes) in said(context) {
                    changed |= self.hear_one(subject, takes, word, patience);
                }
            }
        }
        if changed { Heard::Changed } else { Heard::Same }
    }

    fn hear_one(&mut self, subject: Subject, takes: Option<bool>, word: Word, patience: &Patience) -> bool {
        if let Some(fact) = self.0.get_mut(&subject) {
            return fact.hear(takes, word, patience);
        }
        let mut fact = Fact::new(word.at);
        let changed = fact.hear(takes, word, patience);
        self.insert(subject, fact);
        changed
    }

    /// Whether a subject is to be asked: it never was, or it was long ago, or its no is to be confirmed.
    pub(crate) fn is_due(&self, subject: &Subject, now: WallTime, patience: &Patience) -> bool {
        self.get(subject).is_none_or(|fact| fact.is_due(now, patience))
    }

    /// Whether a subject is taken. `None`: nothing is known.
    pub(crate) fn takes(&self, subject: &Subject, now: WallTime, patience: &Patience) -> Option<bool> {
        self.get(subject)?.takes(now, patience)
    }
}

/// What one context's answer says, of the class and of each syntax that was proposed. Only Implicit VR LE, which everybody
/// must take (PS3.5, 10.1), tells a class that is not taken: some answer 3 where they mean 4, the syntaxes.
fn said(context: &NegotiatedContext) -> Vec<(Subject, Option<bool>)> {
    let mut syntaxes = context.proposed.transfer_syntaxes.iter();
    let is_telling = syntaxes.any(|syntax| syntax.as_str() == IMPLICIT_VR_LE);
    let (of_class, accepted, of_others) = match &context.answer {
        ContextAnswer::Accepted(syntax) => (Some(true), Some(syntax), None),
        ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED | ContextResult::USER_REJECTION) => {
            (is_telling.then_some(false), None, Some(false))
        }
        // The class may be taken in another syntax.
        ContextAnswer::Rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED) => (None, None, Some(false)),
        ContextAnswer::Rejected(_) => (None, None, None),
    };
    let class = &context.proposed.abstract_syntax;
    let subject = |syntax: Option<&TransferSyntaxUid>| Subject {
        class: class.clone(),
        syntax: syntax.cloned(),
    };
    let mut all = vec![(subject(None), of_class)];
    for syntax in &context.proposed.transfer_syntaxes {
        if accepted == Some(syntax) {
            all.push((subject(Some(syntax)), Some(true)));
        } else if of_others.is_some() || context.proposed.transfer_syntaxes.len() == 1 {
            // Of those that were not chosen nothing is known: they may be asked apart.
            all.push((subject(Some(syntax)), of_others));
        }
    }
    all
}

#[cfg(test)]
mod tests;
