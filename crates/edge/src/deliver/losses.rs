//! Whose fault an unanswered C-STORE is: the instance's that was under way, or the destination's.

use std::collections::{HashMap, HashSet};

use packhorse_ids::DeliveryId;

/// Instances remembered so; a destination that is down adds one each time it is tried.
const SUSPECTS_MAX: usize = 10_000;

/// Instances that a destination did not answer: it dropped the association, or said nothing in time.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Answers so far.
    answers: u64,
    /// Instances that went unanswered since the last answer.
    row: HashSet<DeliveryId>,
    /// The first of the row, when nothing but its being alone spoke against it.
    only: Option<DeliveryId>,
    /// Instances that went unanswered; others go before them.
    suspects: HashMap<DeliveryId, Suspect>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// How often it was its own fault.
    times: u32,
    /// Answers when it went unanswered last.
    answers: u64,
}

/// What a loss is put down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The instance, so often.
    Instance(u32),
    /// The destination: it answered none of several in a row.
    Destination,
}

impl Losses {
    /// `delivery` went unanswered. That is its own fault when others were answered since it went so before, or when nothing
    /// else went unanswered since the last answer.
    pub(super) fn lost(&mut self, delivery: DeliveryId) -> Blame {
        let before = self.suspects.get(&delivery).copied();
        let is_answered_since = before.is_some_and(|before| self.answers > before.answers);
        self.row.insert(delivery);
        let is_alone = self.row.len() == 1;
        let is_blamed = is_answered_since || is_alone;
        if !is_alone && let Some(suspect) = self.only.take().and_then(|only| self.suspects.get_mut(&only)) {
            // What looked like the first one's fault may not have been.
            suspect.times = suspect.times.saturating_sub(1);
        }
        if is_alone && !is_answered_since {
            self.only = Some(delivery);
        }
        let times = before.map_or(0, |before| before.times) + u32::from(is_blamed);
        if before.is_some() || self.suspects.len() < SUSPECTS_MAX {
            let answers = self.answers;
            self.suspects.insert(delivery, Suspect { times, answers });
        }
        if is_blamed {
            Blame::Instance(times)
        } else {
            Blame::Destination
        }
    }

    /// Whether others are to go before it.
    pub(super) fn is_suspect(&self, delivery: DeliveryId) -> bool {
        self.suspects.contains_key(&delivery)
    }

    /// The destination answered, whatever it said.
    pub(super) fn answered(&mut self) {
        self.answers += 1;
        self.row.clear();
        self.only = None;
    }

    /// Nothing more is tried of `delivery`.
    pub(super) fn forget(&mut self, delivery: DeliveryId) {
        self.suspects.remove(&delivery);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> DeliveryId {
        DeliveryId::from_bytes([number; 16])
    }

    #[test]
    fn an_instance_that_is_dropped_while_others_are_answered_is_at_fault() {
        let mut losses = Losses::default();
        for count in 1..=3 {
            assert_eq!(losses.lost(id(1)), Blame::Instance(count));
            losses.answered();
        }
    }

    #[test]
    fn a_destination_that_drops_one_after_the_other_is_at_fault_and_they_are_not() {
        let mut losses = Losses::default();
        assert_eq!(losses.lost(id(1)), Blame::Instance(1));
        for _ in 0..5 {
            assert_eq!(losses.lost(id(2)), Blame::Destination);
            assert_eq!(losses.lost(id(1)), Blame::Destination);
        }
        losses.answered();
        assert_eq!(losses.lost(id(1)), Blame::Instance(1), "nothing was kept against it");
    }

    #[test]
    fn several_that_are_dropped_among_others_that_are_answered_are_all_at_fault() {
        let mut losses = Losses::default();
        assert_eq!(
            (losses.lost(id(1)), losses.lost(id(2))),
            (Blame::Instance(1), Blame::Destination)
        );
        for count in 1..=3 {
            losses.answered();
            assert_eq!(losses.lost(id(1)), Blame::Instance(count));
            assert_eq!(losses.lost(id(2)), Blame::Instance(count));
        }
    }

    #[test]
    fn others_go_before_those_that_went_unanswered() {
        let mut losses = Losses::default();
        losses.lost(id(1));
        losses.lost(id(2));
        assert!(losses.is_suspect(id(1)) && losses.is_suspect(id(2)) && !losses.is_suspect(id(3)));
        losses.forget(id(2));
        assert!(!losses.is_suspect(id(2)));
    }

    #[test]
    fn one_that_is_alone_is_lost_three_times_too() {
        let mut losses = Losses::default();
        let blamed: Vec<_> = (0..3).map(|_| losses.lost(id(1))).collect();
        assert_eq!(blamed, [1, 2, 3].map(Blame::Instance));
    }
}
