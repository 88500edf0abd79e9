//! What becomes of an instance: by its command, once its header is scanned, and at its end.

use packhorse_dicom::sop_class;
use packhorse_dicom::status::Status;

use super::Engine;
use super::walk::Decided;
use crate::attribute::HeaderValues;
use crate::condition::Known;
use crate::decision::{Hold, InstanceDecision, InstanceFacts, Shadow};
use crate::rule::{Outcome, Query, Rule, RuleName};

/// Longest Error Comment (0000,0902).
const COMMENT_LEN_MAX: usize = 64;

impl Engine {
    /// What becomes of an instance, as far as its command, and its header once that is scanned, decide it. Asked again on
    /// each of the three classes that name it: the context's, the command's and the data set's.
    ///
    /// `None`: a rule comes first that asks for what is not known yet, the header or the length. A refusal is final: at the
    /// end it is the same. Anything else may still change with the data set's class, so [`decide_end`](Self::decide_end)
    /// has to be asked.
    #[must_use]
    pub fn decide_header(&self, facts: &InstanceFacts<'_>) -> Option<InstanceDecision> {
        self.decide_known(facts, None)
    }

    /// What becomes of an instance, as far as this decides it.
    pub(crate) fn decide_known(&self, facts: &InstanceFacts<'_>, length: Option<u64>) -> Option<InstanceDecision> {
        let known = Known {
            header: facts.header,
            length,
        };
        self.decide_instance(facts, known, None)
    }

    /// What becomes of an instance at its end, when `length` is known: bytes of its data set. Total: a header that is not
    /// known now is taken for one in which everything is absent.
    #[must_use]
    pub fn decide_end(&self, facts: &InstanceFacts<'_>, length: u64) -> InstanceDecision {
        let nothing = HeaderValues::default();
        self.decide_instance(facts, at_end(facts, &nothing, length), None)
            .unwrap_or_else(|| mismatch(facts, None))
    }

    /// The shadow rules that would have decided on an instance at its end, each as if it alone were none. Empty, and at no
    /// cost, where no rule is one.
    #[must_use]
    pub fn shadows(&self, facts: &InstanceFacts<'_>, length: u64) -> Vec<Shadow> {
        let nothing = HeaderValues::default();
        let known = at_end(facts, &nothing, length);
        let would_decide = |rule: &&Rule| {
            let decided = self.decide_instance(facts, known, Some(rule.name.number));
            decided.is_some_and(|decided| *decided.rule() == rule.name)
        };
        self.shadow_rules().filter(would_decide).map(Shadow::of).collect()
    }

    /// The rules that may decide on an instance, by its context's class, where its header or length is not known.
    pub(crate) fn may_decide(&self, facts: &InstanceFacts<'_>, length: Option<u64>) -> Vec<RuleName> {
        let known = Known {
            header: facts.header,
            length,
        };
        let rules = self.undecided(&query(facts, facts.context_class.as_str(), None), known);
        rules.into_iter().map(|rule| rule.name.clone()).collect()
    }

    pub(super) fn shadow_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.shadow)
    }

    fn decide_instance(
        &self,
        facts: &InstanceFacts<'_>,
        known: Known<'_>,
        shadow: Option<usize>,
    ) -> Option<InstanceDecision> {
        let names = [
            Some(facts.context_class.as_str()),
            Some(facts.command_class.as_str()),
            facts.dataset_class.map(packhorse_dicom::uid::SopClassUid::as_str),
        ];
        let (mut held, mut accepted) = (None, None);
        for uid in names.into_iter().flatten() {
            let rule = match self.decide_class(&query(facts, uid, shadow), known) {
                Decided::By(rule) => rule,
                Decided::NotYet => return None,
                Decided::Nobody => continue,
            };
            match rule.outcome {
                Outcome::RefuseContext | Outcome::RefuseInstance => return Some(refuse(rule, uid)),
                Outcome::Hold => held = held.or(Some(rule)),
                Outcome::Accept => accepted = accepted.or(Some(rule)),
            }
        }
        if facts.command_class.as_str() != facts.context_class.as_str() {
            return Some(mismatch(facts, accepted.or(held)));
        }
        Some(match (held, accepted) {
            (Some(rule), _) => InstanceDecision::Hold(Hold {
                rule: rule.name.clone(),
                priority: rule.priority,
                end: rule.hold.end,
                quota: rule.hold.quota,
            }),
            (None, Some(rule)) => InstanceDecision::Accept {
                priority: rule.priority,
                rule: rule.name.clone(),
            },
            (None, None) => mismatch(facts, None),
        })
    }
}

/// Everything is known at the end: what is not is absent.
const fn at_end<'a>(facts: &InstanceFacts<'a>, nothing: &'a HeaderValues, length: u64) -> Known<'a> {
    Known {
        header: match facts.header {
            Some(header) => Some(header),
            None => Some(nothing),
        },
        length: Some(length),
    }
}

fn query<'a>(facts: &InstanceFacts<'a>, uid: &'a str, shadow: Option<usize>) -> Query<'a> {
    Query {
        calling: facts.calling,
        called: facts.called,
        uid,
        class: sop_class::classify(uid, facts.common_extended),
        syntax: facts.transfer_syntax,
        shadow,
    }
}

impl Shadow {
    pub(super) fn of(rule: &Rule) -> Self {
        Self {
            rule: rule.name.clone(),
            outcome: rule.outcome,
        }
    }
}

fn refuse(rule: &Rule, uid: &str) -> InstanceDecision {
    // Refused to everybody: not supported. Because of this caller or route: not authorized.
    let status = if rule.is_particular() {
        Status::NOT_AUTHORIZED
    } else {
        Status::SOP_CLASS_NOT_SUPPORTED
    };
    let comment = comment(&format!(
        "rule {}: {} refused",
        rule.name.number,
        sop_class::name_of(uid)
    ));
    InstanceDecision::Refuse {
        status,
        comment,
        rule: rule.name.clone(),
    }
}

/// The command names another class than the context is for, or no rule speaks of it.
fn mismatch(facts: &InstanceFacts<'_>, rule: Option<&Rule>) -> InstanceDecision {
    let comment = comment(&format!(
        "not of the context's class {}",
        sop_class::name_of(facts.context_class.as_str())
    ));
    let rule = rule.map_or_else(
        || RuleName {
            number: 0,
            name: "context".into(),
        },
        |rule| rule.name.clone(),
    );
    InstanceDecision::Refuse {
        status: Status::SOP_CLASS_NOT_SUPPORTED,
        comment,
        rule,
    }
}

fn comment(text: &str) -> String {
    text.chars().take(COMMENT_LEN_MAX).collect()
}
