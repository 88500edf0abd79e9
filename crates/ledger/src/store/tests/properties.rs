//! Random histories, in any order and with repeats.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::account::Account;
use crate::progress::Progress;

/// Facts about four instances of two studies in six deliveries.
fn any_fact() -> impl Strategy<Value = Fact> {
    let statuses = prop::sample::select(vec![Some(0), Some(0xB000), Some(0xA900), None]);
    (0_u8..6, 0_u8..9, statuses, 0_i64..20).prop_map(|(number, kind, status, when)| {
        let (delivery, by, reason, at) = (id(number), "x".to_owned(), "y".to_owned(), at(when));
        match kind {
            0 => Fact::Failed(Failed { delivery, reason, at }),
            1 => Fact::Held(Held { delivery, by, at }),
            2 => Fact::Released(Released { delivery, by, at }),
            3 => Fact::Reopened(Reopened { delivery, by, at }),
            4 => Fact::Discarded(Discarded {
                delivery,
                by,
                at,
                reason: (when % 2 == 0).then_some(reason),
            }),
            5 => outcome(number, status, when),
            8 => Fact::Resent(Resent { delivery, by, at }),
            _ => {
                let study = Some(format!("1.{}", number % 2));
                let held_by = (kind == 7).then_some(by);
                let mut received = instance(number, &format!("1.{}.{}", number % 2, number % 4));
                (received.study, received.held_by) = (study, held_by);
                Fact::InstanceReceived(Box::new(received))
            }
        }
    })
}

/// The same sums, by the pure rules alone.
fn model(facts: &[Fact]) -> BTreeMap<String, Account> {
    let mut deliveries: BTreeMap<DeliveryId, (String, String, Progress)> = BTreeMap::new();
    for fact in facts {
        let delivery = match fact {
            Fact::InstanceReceived(new) => {
                let study = new.study.clone().unwrap();
                let begun = Progress::begun(new.held_by.is_some());
                deliveries
                    .entry(new.delivery)
                    .or_insert_with(|| (study, new.sop_instance.to_string(), begun));
                continue;
            }
            Fact::Failed(fact) => fact.delivery,
            Fact::Held(fact) => fact.delivery,
            Fact::Released(fact) => fact.delivery,
            Fact::Reopened(fact) => fact.delivery,
            Fact::Discarded(fact) => fact.delivery,
            Fact::Resent(fact) => fact.delivery,
            Fact::OutcomeKnown(fact) => fact.delivery,
            _ => unreachable!("not made here"),
        };
        if let Some((_, _, progress)) = deliveries.get_mut(&delivery) {
            *progress = progress.after(fact);
        }
    }
    let mut best: BTreeMap<(String, String), State> = BTreeMap::new();
    for (study, instance, progress) in deliveries.into_values() {
        let state = best.entry((study, instance)).or_insert(progress.state);
        *state = (*state).min(progress.state);
    }
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    for ((study, _), state) in best {
        accounts.entry(study).or_default().add(state, 1);
    }
    accounts
}

fn accounts(projection: &Projection) -> BTreeMap<String, Account> {
    let studies = projection.studies(&StudyFilter::default(), 10).unwrap();
    studies
        .into_iter()
        .map(|study| (study.study.unwrap(), study.account))
        .collect()
}

proptest! {
    #[test]
    fn the_account_is_exact_after_every_fact_in_any_order_with_repeats(
        facts in prop::collection::vec(any_fact(), 0..40),
    ) {
        let mut projection = Projection::in_memory().unwrap();
        for (number, bytes) in numbered(&facts) {
            projection.apply([(number, bytes)]).unwrap();
            for account in accounts(&projection).values() {
                prop_assert!(account.is_exact(), "{account:?}");
            }
        }
        prop_assert_eq!(accounts(&projection), model(&facts));
    }

    #[test]
    fn what_is_made_again_from_the_facts_is_the_same_in_batches_of_any_size(
        facts in prop::collection::vec(any_fact(), 1..40),
        size in 1_usize..10,
    ) {
        let mut projection = projected(&facts);
        let before = projection.studies(&StudyFilter::default(), 10).unwrap();
        projection.rebuild().unwrap();
        prop_assert_eq!(projection.last().unwrap(), 0);
        for batch in numbered(&facts).chunks(size) {
            projection.apply(batch.to_vec()).unwrap();
        }
        prop_assert_eq!(projection.studies(&StudyFilter::default(), 10).unwrap(), before);
    }

    #[test]
    fn delivered_is_for_good(facts in prop::collection::vec(any_fact(), 0..40)) {
        let mut all = vec![received(3, "1.1.3"), outcome(3, Some(0), 5)];
        all.extend(facts);
        prop_assert_eq!(delivery(&projected(&all), 3).state, State::Delivered);
    }
}
