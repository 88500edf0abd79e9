//! Whose fault a lost association is: the instance's that was under way, or the destination's.

use std::collections::{HashMap, HashSet};

use packhorse_ids::DeliveryId;

/// Associations that were lost, since something was answered last and for each instance.
#[derive(Debug, Default)]
pub(super) struct Losses {
    row: Row,
    counts: HashMap<DeliveryId, u32>,
    /// Instances that went unanswered; others go before them.
    suspects: HashSet<DeliveryId>,
}

/// What associations were lost on, with no answer to any instance since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Row {
    #[default]
    None,
    One(DeliveryId),
    Several,
}

/// What a loss is put down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The instance, lost so often.
    Instance(u32),
    /// The destination: it dropped different instances in a row and answered none.
    Destination,
}

impl Losses {
    /// An association was lost while `delivery` was under way.
    pub(super) fn lost(&mut self, delivery: DeliveryId) -> Blame {
        self.suspect(delivery);
        match self.row {
            Row::One(other) if other != delivery => {
                // What looked like the first one's fault was not.
                self.counts.remove(&other);
                self.row = Row::Several;
                Blame::Destination
            }
            Row::Several => Blame::Destination,
            Row::None | Row::One(_) => {
                self.row = Row::One(delivery);
                let count = self.counts.entry(delivery).or_default();
                *count += 1;
                Blame::Instance(*count)
            }
        }
    }

    /// The destination was left alone because of what happened with `delivery`: others go first next time, in case it was
    /// the instance's fault.
    pub(super) fn suspect(&mut self, delivery: DeliveryId) {
        if self.suspects.len() < SUSPECTS_MAX {
            self.suspects.insert(delivery);
        }
    }

    /// Whether others are to go before it.
    pub(super) fn is_suspect(&self, delivery: DeliveryId) -> bool {
        self.suspects.contains(&delivery)
    }

    /// The destination answered, whatever it said.
    pub(super) const fn answered(&mut self) {
        self.row = Row::None;
    }

    /// Nothing more is tried of `delivery`.
    pub(super) fn forget(&mut self, delivery: DeliveryId) {
        self.counts.remove(&delivery);
        self.suspects.remove(&delivery);
    }
}

/// Instances remembered so; a destination that is down adds one each time it is tried.
const SUSPECTS_MAX: usize = 10_000;

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
        assert_eq!(losses.lost(id(1)), Blame::Instance(1));
    }

    #[test]
    fn two_that_the_destination_drops_let_others_go_first() {
        let mut losses = Losses::default();
        losses.lost(id(1));
        losses.lost(id(2));
        assert!(losses.is_suspect(id(1)) && losses.is_suspect(id(2)) && !losses.is_suspect(id(3)));
        // The third is answered: then the second counts against itself.
        losses.answered();
        assert_eq!(losses.lost(id(2)), Blame::Instance(1));
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
