//! How often a channel may speak.

use std::collections::VecDeque;
use std::time::Duration;

use packhorse_ids::WallTime;

/// The time that a ration is for.
const HOUR: Duration = Duration::from_secs(3600);

/// At most so many messages within an hour; the last of them sums up what else there is.
#[derive(Clone, Debug)]
pub(super) struct Ration {
    most: usize,
    told: VecDeque<WallTime>,
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
        Self {
            most,
            told: told.into(),
        }
    }

    pub(super) fn next(&mut self, now: WallTime) -> Next {
        // A clock that is set back makes nobody wait for longer than an hour.
        self.told
            .retain(|told| now.saturating_since(*told) < HOUR && *told <= now);
        match self.told.front() {
            _ if self.told.len() + 1 < self.most => Next::One,
            _ if self.told.len() < self.most => Next::Rest,
            Some(oldest) => Next::Nothing(HOUR.saturating_sub(now.saturating_since(*oldest))),
            None => Next::Rest,
        }
    }

    pub(super) fn told(&mut self, now: WallTime) {
        self.told.push_back(now);
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
