//! The sum over a study: distinct SOP Instance UIDs per (route, source, study).

use packhorse_dicom::sop_class::{self, Group};
use serde::Serialize;

use crate::progress::State;

/// Custody of one study, always exact: [`received`](Self::received) is the sum of the five others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Distinct instances that were taken into custody.
    pub received: u64,
    /// Of these: the destination answered success or a warning.
    pub delivered: u64,
    /// On their way.
    pub in_flight: u64,
    /// Kept back.
    pub held: u64,
    /// On the failed list.
    pub failed: u64,
    /// Will not be delivered; by whom is on record.
    pub discarded: u64,
}

impl Account {
    /// Counts `instances` more that stand so.
    pub fn add(&mut self, state: State, instances: u64) {
        self.received += instances;
        *match state {
            State::Delivered => &mut self.delivered,
            State::InFlight => &mut self.in_flight,
            State::Held => &mut self.held,
            State::Failed => &mut self.failed,
            State::Discarded => &mut self.discarded,
        } += instances;
    }

    /// How many stand so.
    #[must_use]
    pub const fn count(&self, state: State) -> u64 {
        match state {
            State::Delivered => self.delivered,
            State::InFlight => self.in_flight,
            State::Held => self.held,
            State::Failed => self.failed,
            State::Discarded => self.discarded,
        }
    }

    /// Whether received equals delivered + in flight + held + failed + discarded: always.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        State::ALL.iter().map(|state| self.count(*state)).sum::<u64>() == self.received
    }
}

/// A class that was refused on an association that carried instances of the study. A fact about the association, never a
/// number of instances: many senders propose Raw Data Storage always.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RefusedClass {
    /// Its UID.
    pub uid: String,
    /// Its name, or the UID.
    pub name: String,
    /// Result (PS3.8 Table 9-18): 1, 3 or 4.
    pub result: u8,
    /// The rule that decided, for people.
    pub rule: String,
}

/// The storage classes that nothing was accepted of, from an association's contexts as (class, result, rule). Classes of
/// other services are no part of a study's account.
pub(crate) fn refused_classes(contexts: &[(String, u8, String)]) -> Vec<RefusedClass> {
    let is_accepted = |uid: &str| contexts.iter().any(|(class, result, _)| class == uid && *result == 0);
    let mut refused: Vec<RefusedClass> = contexts
        .iter()
        .filter(|(uid, result, _)| *result != 0 && !is_accepted(uid))
        .filter(|(uid, ..)| sop_class::classify(uid, &[]).group != Group::Service)
        .map(|(uid, result, rule)| RefusedClass {
            uid: uid.clone(),
            name: sop_class::name_of(uid).to_owned(),
            result: *result,
            rule: rule.clone(),
        })
        .collect();
    refused.sort();
    refused.dedup_by(|a, b| a.uid == b.uid);
    refused
}

/// Names that are written out of many.
const NAMES_MAX: usize = 3;

/// The first three of `names`, with `between` in between, and how many more there are: `A, B, C and 2 more`.
#[must_use]
pub fn some_names(names: &[&str], between: &str) -> String {
    let some: Vec<&str> = names.iter().take(NAMES_MAX).copied().collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => some.join(between),
        more => format!("{} and {more} more", some.join(between)),
    }
}

/// Whether a class was refused because the destination is known not to take it, by the words that are on record for who
/// decided: `rule 5 (storage), but the destination does not take it (probed 2026-11-25 10:02)`.
#[must_use]
pub fn is_for_destination(rule: &str) -> bool {
    rule.contains(", but the destination ")
}

/// The account in words: `the instances say 4; delivered 3; refused at negotiation on this association: Raw Data Storage`.
///
/// `declared` is the largest (0020,1208) in the instances: a hint, never evidence. `associations` carried the study.
#[must_use]
pub fn words(account: &Account, declared: Option<u32>, refused: &[RefusedClass], associations: usize) -> String {
    let mut parts = vec![match declared {
        Some(declared) => format!("the instances say {declared}"),
        None => format!("received {}", account.received),
    }];
    parts.push(format!("delivered {}", account.delivered));
    for (state, name) in [
        (State::InFlight, "in flight"),
        (State::Held, "held"),
        (State::Failed, "failed"),
        (State::Discarded, "discarded"),
    ] {
        if account.count(state) > 0 {
            parts.push(format!("{name} {}", account.count(state)));
        }
    }
    if !refused.is_empty() {
        let names: Vec<&str> = refused.iter().map(|class| class.name.as_str()).collect();
        let on = if associations == 1 {
            "this association"
        } else {
            "its associations"
        };
        parts.push(format!("refused at negotiation on {on}: {}", some_names(&names, ", ")));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

    fn context(class: &str, result: u8) -> (String, u8, String) {
        (class.to_owned(), result, "rule 1".to_owned())
    }

    #[test]
    fn the_words_say_what_was_declared_delivered_and_refused() {
        let mut account = Account::default();
        account.add(State::Delivered, 3);
        let refused = refused_classes(&[context(RAW, 3), context(CT, 0)]);
        let said = words(&account, Some(4), &refused, 1);
        assert_eq!(
            said,
            "the instances say 4; delivered 3; refused at negotiation on this association: Raw Data Storage"
        );
    }

    #[test]
    fn of_many_refused_classes_three_are_named() {
        assert_eq!(some_names(&["A", "B", "C"], " or "), "A or B or C");
        assert_eq!(some_names(&["A", "B", "C", "D", "E"], ", "), "A, B, C and 2 more");
    }

    #[test]
    fn what_is_not_delivered_is_said() {
        let mut account = Account::default();
        account.add(State::Delivered, 1);
        account.add(State::Failed, 2);
        account.add(State::InFlight, 1);
        assert_eq!(
            words(&account, None, &[], 1),
            "received 4; delivered 1; in flight 1; failed 2"
        );
    }

    #[test]
    fn a_class_accepted_in_another_context_is_not_refused() {
        assert_eq!(refused_classes(&[context(CT, 4), context(CT, 0)]), []);
    }

    #[test]
    fn classes_of_other_services_are_no_part_of_a_study() {
        assert_eq!(refused_classes(&[context("1.2.840.10008.1.20.1", 3)]), []);
    }

    #[test]
    fn a_class_refused_in_several_contexts_is_named_once() {
        assert_eq!(refused_classes(&[context(RAW, 3), context(RAW, 3)]).len(), 1);
    }
}
