//! One check for all who ask at the moment, and its result for those who ask soon after.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A result that is not as young as asked for is still given for this part of that time after it came: the far edge may
/// have given us an old one, and would be asked again by everybody.
const SETTLED_PART: u32 = 10;

/// When to check. Pure: time comes in.
#[derive(Debug)]
struct Pace<T> {
    last: Option<Last<T>>,
    running: Option<Instant>,
}

#[derive(Debug)]
struct Last<T> {
    found: T,
    /// As of when it is so.
    at: Instant,
    /// When it came.
    came: Instant,
}

/// What is to be done for one who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn<T> {
    /// This is known, and so old.
    Known(T, Duration),
    /// A check runs since then.
    Wait(Instant),
    /// He begins one.
    Begin,
}

impl<T: Clone> Pace<T> {
    fn turn(&mut self, now: Instant, age_max: Duration) -> Turn<T> {
        if let Some(last) = &self.last {
            let age = now.saturating_duration_since(last.at);
            let settled = now.saturating_duration_since(last.came);
            if age < age_max || settled < age_max / SETTLED_PART {
                return Turn::Known(last.found.clone(), age);
            }
        }
        if let Some(since) = self.running {
            return Turn::Wait(since);
        }
        self.running = Some(now);
        Turn::Begin
    }

    fn learn(&mut self, found: T, at: Instant, came: Instant) {
        self.last = Some(Last { found, at, came });
    }
}

/// A check that many ask for.
#[derive(Debug)]
pub(crate) struct SharedCheck<T> {
    pace: Mutex<Pace<T>>,
    changed: watch::Sender<()>,
}

impl<T> Default for SharedCheck<T> {
    fn default() -> Self {
        let (last, running) = (None, None);
        Self {
            pace: Mutex::new(Pace { last, running }),
            changed: watch::Sender::new(()),
        }
    }
}

/// The check that runs; another may begin when it is dropped.
struct Run<T>(Arc<SharedCheck<T>>);

impl<T> Drop for Run<T> {
    fn drop(&mut self) {
        self.0.lock().running = None;
        self.0.changed.send_replace(());
    }
}

impl<T> SharedCheck<T> {
    fn lock(&self) -> MutexGuard<'_, Pace<T>> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Send + 'static> SharedCheck<T> {
    /// What was found at most `age_max` ago, with its age; else what `check` finds, which gives an age too: from its
    /// beginning, unless it is older. A check that is begun goes on also when nobody waits for it any more.
    ///
    /// `None`: a check has been running for `within`.
    pub(crate) async fn get<C>(
        self: &Arc<Self>,
        age_max: Duration,
        within: Duration,
        check: impl FnOnce() -> C,
    ) -> Option<(T, Duration)>
    where
        C: Future<Output = (T, Duration)> + Send + 'static,
    {
        let mut changed = self.changed.subscribe();
        let mut check = Some(check);
        let mut deadline = Instant::now() + within;
        loop {
            changed.borrow_and_update();
            let turn = self.lock().turn(Instant::now(), age_max);
            match turn {
                Turn::Known(found, age) => return Some((found, age)),
                Turn::Wait(since) => deadline = deadline.min(since + within),
                Turn::Begin => match check.take() {
                    Some(check) => {
                        let (run, checking) = (Run(Arc::clone(self)), check());
                        tokio::spawn(async move {
                            let begun = Instant::now();
                            let (found, age) = checking.await;
                            run.0.learn(found, age.max(begun.elapsed()));
                        });
                    }
                    // Ours ended without a result.
                    None => {
                        drop(Run(Arc::clone(self)));
                        return None;
                    }
                },
            }
            match tokio::time::timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    }

    /// Something was found, `age` ago, whoever looked for it.
    pub(crate) fn learn(&self, found: T, age: Duration) {
        let now = Instant::now();
        self.lock().learn(found, now.checked_sub(age).unwrap_or(now), now);
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    proptest! {
        #[test]
        fn checks_begin_at_least_the_pace_apart_whoever_asks(
            asks in prop::collection::vec((0_u64..20_000, 0_u64..8_000), 1..200),
        ) {
            let mut pace = Pace { last: None, running: None };
            let (mut now, mut begun, mut ends) = (Instant::now(), None::<Instant>, None::<Instant>);
            for (pause, takes) in asks {
                now += Duration::from_millis(pause);
                if let (Some(end), Some(at)) = (ends, begun) && end <= now {
                    pace.learn((), at, end);
                    pace.running = None;
                    ends = None;
                }
                if pace.turn(now, MINUTE) == Turn::Begin {
                    prop_assert!(begun.is_none_or(|last| now - last >= MINUTE));
                    prop_assert!(ends.is_none());
                    (begun, ends) = (Some(now), Some(now + Duration::from_millis(takes)));
                }
            }
        }

        #[test]
        fn nothing_older_than_asked_for_is_given_once_it_has_settled(
            age in 0_u64..200_000,
            later in 0_u64..200_000,
        ) {
            let came = Instant::now() + MINUTE * 10;
            let mut pace = Pace { last: None, running: None };
            pace.learn((), came - Duration::from_millis(age), came);
            let now = came + Duration::from_millis(later);
            let given = matches!(pace.turn(now, MINUTE), Turn::Known(..));
            prop_assert_eq!(given, age + later < 60_000 || later < 6_000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_who_ask_at_once_share_one_check_and_those_who_come_later_its_result() {
        let (shared, runs) = (Arc::new(SharedCheck::default()), Arc::new(AtomicUsize::new(0)));
        let ask = || async {
            let runs = Arc::clone(&runs);
            let check = move || async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                (runs.fetch_add(1, Ordering::SeqCst), Duration::ZERO)
            };
            shared.get(MINUTE, Duration::from_secs(5), check).await
        };
        for second in 0..59 {
            let mut asking = Vec::new();
            for _ in 0..20 {
                asking.push(ask());
            }
            for found in asking {
                let (run, age) = found.await.unwrap();
                assert_eq!(run, 0);
                assert!(age.as_secs() <= second + 1, "{age:?}");
            }
            tokio::time::advance(Duration::from_millis(900)).await;
        }
        tokio::time::advance(MINUTE).await;
        assert_eq!(ask().await.unwrap().0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_he_may_and_a_check_that_ends_later_counts() {
        let shared = Arc::new(SharedCheck::default());
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            ("late", Duration::ZERO)
        };
        let begun = Instant::now();
        assert_eq!(shared.get(MINUTE, Duration::from_secs(5), slow).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert_eq!(shared.get(MINUTE, Duration::from_secs(5), slow).await, None);
        assert_eq!(
            begun.elapsed(),
            Duration::from_secs(5),
            "it has run for so long already"
        );
        tokio::time::sleep(Duration::from_secs(26)).await;
        let (found, age) = shared.get(MINUTE, Duration::from_secs(5), slow).await.unwrap();
        assert_eq!((found, age.as_secs()), ("late", 31));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_is_lost_makes_room_for_another() {
        let shared = Arc::new(SharedCheck::<()>::default());
        let dies = || async { std::future::pending::<((), Duration)>().await };
        let asked = shared.get(MINUTE, Duration::from_secs(1), dies);
        assert_eq!(asked.await, None);
        shared.learn((), Duration::ZERO);
        assert!(shared.get(MINUTE, Duration::from_secs(1), dies).await.is_some());
    }
}
