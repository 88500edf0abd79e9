//! Which rule decides: the first that matches, of those whose conditions are met.

use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;

use super::Engine;
use crate::condition::Known;
use crate::rule::{Outcome, Query, Rule};

/// What the rules say of a context.
#[derive(Clone, Copy)]
pub(super) struct Judged<'a> {
    /// The rule that decides. Where it refuses the context, and one with conditions may take what comes, that one.
    pub(super) rule: &'a Rule,
    /// Whether something may come of it that is not to be narrowed to what the destination takes: it is held, or answered
    /// with a failure.
    pub(super) stays: bool,
}

/// What the rules say of an instance.
pub(super) enum Decided<'a> {
    By(&'a Rule),
    /// A rule that asks for what is not known yet comes before all others that match.
    NotYet,
    /// No rule matches.
    Nobody,
}

impl Engine {
    /// What the rules say of a context in this syntax; `None`: nothing.
    pub(super) fn judge(&self, query: &Query<'_>) -> Option<Judged<'_>> {
        let direct = judged(up_to_decisive(self.rules.iter().filter(|rule| rule.matches(query))));
        let is_closed = direct.is_none_or(|judged| !judged.rule.opens());
        if is_closed && is_implicit(query) {
            let other = judged(up_to_decisive(self.in_some_syntax(query)));
            return other.filter(|judged| judged.rule.opens()).or(direct);
        }
        direct
    }

    /// The rule that decides on an instance of which this is known.
    pub(super) fn decide_class(&self, query: &Query<'_>, known: Known<'_>) -> Decided<'_> {
        let direct = first_met(self.rules.iter().filter(|rule| rule.matches(query)), known);
        let is_closed = match &direct {
            Decided::By(rule) => !rule.opens(),
            Decided::Nobody => true,
            Decided::NotYet => false,
        };
        if is_closed && is_implicit(query) {
            match first_met(self.in_some_syntax(query), known) {
                Decided::By(rule) if !rule.opens() => {}
                Decided::Nobody => {}
                other => return other,
            }
        }
        direct
    }

    /// The rules that may decide on an instance of which this is known, in their order.
    pub(super) fn undecided(&self, query: &Query<'_>, known: Known<'_>) -> Vec<&Rule> {
        let direct = self.rules.iter().filter(|rule| rule.matches(query));
        let mut left = not_unmet(direct, known);
        if left.iter().all(|rule| !rule.opens()) && is_implicit(query) {
            left = not_unmet(self.in_some_syntax(query), known);
        }
        left
    }

    /// The rules for a class whatever its syntax, without those that refuse it in some syntaxes only. Implicit VR Little
    /// Endian is never refused for a class that is accepted in any other syntax (PS3.5 §10.1): there these are asked.
    fn in_some_syntax<'a>(&'a self, query: &Query<'_>) -> impl Iterator<Item = &'a Rule> {
        let matching = self.rules.iter().filter(|rule| rule.matches_in_some_syntax(query));
        matching.filter(|rule| rule.opens() || rule.syntaxes.is_empty())
    }
}

fn is_implicit(query: &Query<'_>) -> bool {
    query.syntax.as_str() == IMPLICIT_VR_LE
}

/// The rules that may decide: those with conditions, and the first without.
fn up_to_decisive<'a>(matching: impl Iterator<Item = &'a Rule>) -> impl Iterator<Item = &'a Rule> {
    let mut is_decided = false;
    matching.take_while(move |rule| {
        let was_decided = is_decided;
        is_decided |= rule.conditions.is_empty();
        !was_decided
    })
}

fn judged<'a>(candidates: impl Iterator<Item = &'a Rule>) -> Option<Judged<'a>> {
    let (mut taking, mut last, mut holds) = (None, None, false);
    for rule in candidates {
        holds |= rule.outcome == Outcome::Hold;
        // One that can only refuse opens nothing: the context would be for nothing.
        if matches!(rule.outcome, Outcome::Accept | Outcome::Hold) {
            taking = taking.or(Some(rule));
        }
        last = Some(rule);
    }
    let decisive = last?;
    let rule = if decisive.opens() && decisive.conditions.is_empty() {
        decisive
    } else {
        taking.unwrap_or(decisive)
    };
    let stays = holds || rule.outcome == Outcome::RefuseInstance;
    Some(Judged { rule, stays })
}

/// Those whose conditions may be met, as far as the first whose are.
fn not_unmet<'a>(matching: impl Iterator<Item = &'a Rule>, known: Known<'_>) -> Vec<&'a Rule> {
    let mut left = Vec::new();
    for rule in matching {
        match rule.conditions.are_met(known) {
            Some(false) => {}
            Some(true) => {
                left.push(rule);
                break;
            }
            None => left.push(rule),
        }
    }
    left
}

fn first_met<'a>(matching: impl Iterator<Item = &'a Rule>, known: Known<'_>) -> Decided<'a> {
    for rule in matching {
        match rule.conditions.are_met(known) {
            Some(true) => return Decided::By(rule),
            Some(false) => {}
            None => return Decided::NotYet,
        }
    }
    Decided::Nobody
}
