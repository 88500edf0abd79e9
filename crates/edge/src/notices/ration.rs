//! How often a channel may speak.

use std::collections::VecDeque;
use std::time::Duration;

use packhorse_ids::WallTime;

/// The time that a ration is for.
const HOUR: Duration = Duration::from_secs(3600);

/// One part of so many is kept for what is urgent.
const URGENT_PART: usize = 4;

/// At most so many messages within an hour; the last of them sums up what else there is. A share of them is for urgent
/// notices alone, which wait behind no others.
#[derive(Clone, Debug)]
pub(super) struct Ration {
    most: usize,
    told: VecDeque<WallTime>,
    /// The share; of a small ration there is none.
    urgent_most: usize,
    urgent: VecDeque<WallTime>,
}

/// What may be told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// One notice.
    One,
    /// Everything that waits, in one: it is the hour's last.
    Rest,
    /// Nothing for so long.
    Nothing(Duration),
}

impl Ration {
    /// `told` are the times of the last hour that are known, the oldest first; a time that is there several times is of one
    /// message.
    pub(super) fn new(most: usize, told: Vec<WallTime>) -> Self {
        let mut told = told;
        told.dedup();
        let urgent_most = most / URGENT_PART;
        let most = most - urgent_most;
        // Which were of the share nobody remembers: what is more than the others may have been.
        let urgent = told.split_off(told.len().min(most));
        Self {
            most,
            told: told.into(),
            urgent_most,
            urgent: urgent.into(),
        }
    }

    /// What of the urgent may be told now out of their share.
    pub(super) fn next_urgent(&mut self, now: WallTime) -> Next {
        next(&mut self.urgent, self.urgent_most, now)
    }

    /// Whether there is a share for what is urgent.
    pub(super) const fn has_share(&self) -> bool {
        self.urgent_most > 0
    }

    pub(super) fn told_urgent(&mut self, now: WallTime) {
        self.urgent.push_back(now);
    }

    pub(super) fn next(&mut self, now: WallTime) -> Next {
        next(&mut self.told, self.most, now)
    }

    pub(super) fn told(&mut self, now: WallTime) {
        self.told.push_back(now);
    }
}

fn next(told: &mut VecDeque<WallTime>, most: usize, now: WallTime) -> Next {
    // A clock that is set back makes nobody wait for longer than an hour.
    told.retain(|told| now.saturating_since(*told) < HOUR && *told <= now);
    match told.front() {
        _ if told.len() + 1 < most => Next::One,
        _ if told.len() < most => Next::Rest,
        Some(oldest) => Next::Nothing(HOUR.saturating_sub(now.saturating_since(*oldest))),
        None if most == 0 => Next::Nothing(HOUR),
        None => Next::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime::default().saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn the_last_message_of_an_hour_is_for_the_rest() {
        let mut ration = Ration::new(3, Vec::new());
        for second in [0, 10] {
            assert_eq!(ration.next(at(second)), Next::One);
            ration.told(at(second));
        }
        assert_eq!(ration.next(at(20)), Next::Rest);
        ration.told(at(20));
        assert_eq!(ration.next(at(21)), Next::Nothing(Duration::from_secs(3579)));
        assert_eq!(ration.next(at(3600)), Next::Rest, "one is an hour ago");
        assert_eq!(ration.next(at(3611)), Next::One);
    }

    #[test]
    fn what_was_told_before_a_restart_counts_and_several_told_at_once_are_one() {
        let mut ration = Ration::new(3, vec![at(1), at(1), at(1)]);
        assert_eq!(ration.next(at(2)), Next::One);
        let mut ration = Ration::new(3, vec![at(1), at(2), at(3)]);
        assert!(matches!(ration.next(at(4)), Next::Nothing(_)));
    }

    #[test]
    fn a_quarter_is_for_what_is_urgent() {
        let mut ration = Ration::new(8, (1..=6).map(at).collect());
        assert!(matches!(ration.next(at(7)), Next::Nothing(_)));
        assert_eq!(ration.next_urgent(at(7)), Next::One);
        ration.told_urgent(at(7));
        assert_eq!(ration.next_urgent(at(8)), Next::Rest);
        ration.told_urgent(at(8));
        assert!(matches!(ration.next_urgent(at(9)), Next::Nothing(_)));
        let mut small = Ration::new(3, Vec::new());
        assert!(!small.has_share() && matches!(small.next_urgent(at(1)), Next::Nothing(_)));
    }

    #[test]
    fn a_ration_of_one_is_one_message_an_hour_whatever_it_says() {
        let mut ration = Ration::new(1, Vec::new());
        assert_eq!(ration.next(at(0)), Next::Rest);
        ration.told(at(0));
        assert!(matches!(ration.next(at(1)), Next::Nothing(_)));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait() {
        let mut ration = Ration::new(1, vec![at(7200)]);
        assert_eq!(ration.next(at(0)), Next::Rest);
    }
}
