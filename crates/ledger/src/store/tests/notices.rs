//! Notices, and what they are made of.

use packhorse_ids::Priority;
use serde_json::Map;

use super::*;
use crate::fact::{Failed, NoticeTold, Noticed, Reopened};
use crate::store::{Group, LateFilter, Places};

fn received(delivery: u8, priority: Option<Priority>, micros: i64) -> Fact {
    Fact::InstanceReceived(Box::new(InstanceReceived {
        priority,
        at: at(micros),
        ..instance(delivery, &format!("1.{delivery}"))
    }))
}

fn late(projection: &Projection, priority: Priority, before: i64, places: Places) -> Vec<Group> {
    let filter = LateFilter {
        priority,
        before: at(before),
        places,
    };
    projection.late(&filter, 10).unwrap()
}

fn everywhere() -> Places {
    Places::AllBut(Vec::new())
}

#[test]
fn a_study_of_which_something_is_late_is_counted_whole_by_priority() {
    let facts = [
        received(1, None, 10),
        received(2, Some(Priority::Routine), 20),
        received(3, Some(Priority::Stat), 5),
        received(4, None, 30),
        Fact::CustodyReceived(CustodyReceived {
            delivery: id(1),
            by: "st-mary".parse().unwrap(),
            at: at(12),
        }),
    ];
    let projection = projected(&facts);
    let routine = late(&projection, Priority::Routine, 20, everywhere());
    assert_eq!(routine.len(), 1);
    assert_eq!(
        (
            routine[0].count,
            routine[0].in_far_custody,
            routine[0].oldest,
            routine[0].newest
        ),
        (3, 1, at(10), at(30))
    );
    let here = projection.in_flight_here(routine[0].account, Priority::Routine, 10);
    assert_eq!(here.unwrap(), [id(2), id(4)]);
    assert_eq!(late(&projection, Priority::Routine, 9, everywhere()), []);
    assert_eq!(late(&projection, Priority::Stat, 5, everywhere())[0].count, 1);
    assert_eq!(late(&projection, Priority::Stat, 4, everywhere()), []);
    assert_eq!(late(&projection, Priority::Bulk, 99, everywhere()), []);
}

#[test]
fn a_route_with_times_of_its_own_is_looked_at_apart() {
    let projection = projected(&[received(1, None, 10)]);
    let only = |route: &str| late(&projection, Priority::Routine, 99, Places::Only(route.to_owned())).len();
    let but = |route: &str| {
        late(
            &projection,
            Priority::Routine,
            99,
            Places::AllBut(vec![route.to_owned()]),
        )
        .len()
    };
    assert_eq!((only("ST_MARY"), only("OTHER")), (1, 0));
    assert_eq!((but("ST_MARY"), but("OTHER")), (0, 1));
}

#[test]
fn what_is_delivered_held_or_failed_is_not_late_and_what_is_tried_again_begins_anew() {
    let failed = |delivery: u8, micros: i64| {
        Fact::Failed(Failed {
            delivery: id(delivery),
            reason: "no".to_owned(),
            at: at(micros),
        })
    };
    let facts = [
        received(1, None, 10),
        received(2, None, 10),
        outcome(1, Some(0), 20),
        failed(2, 21),
    ];
    let mut projection = projected(&facts);
    assert_eq!(late(&projection, Priority::Routine, 99, everywhere()), []);
    let stuck = projection.stuck(10).unwrap();
    assert_eq!(stuck.len(), 1);
    assert_eq!(
        (stuck[0].state, stuck[0].reason.as_deref(), stuck[0].oldest),
        (State::Failed, Some("no"), at(21))
    );
    let reopened = Fact::Reopened(Reopened {
        delivery: id(2),
        by: "retry".to_owned(),
        at: at(50),
    });
    projection.apply([(5, reopened.to_bytes().unwrap())]).unwrap();
    assert_eq!(projection.stuck(10).unwrap(), []);
    assert_eq!(late(&projection, Priority::Routine, 49, everywhere()), []);
    assert_eq!(late(&projection, Priority::Routine, 50, everywhere())[0].oldest, at(50));
}

fn noticed(number: u8, key: &str, micros: i64) -> Fact {
    Fact::Noticed(Box::new(Noticed {
        notice: id(number),
        about: "late".to_owned(),
        key: key.to_owned(),
        what: format!("number {number}"),
        remedy: String::new(),
        fields: Map::new(),
        at: at(micros),
    }))
}

fn told(number: u8, failure: Option<&str>, micros: i64) -> Fact {
    Fact::NoticeTold(NoticeTold {
        notice: id(number),
        channel: "ops".to_owned(),
        failure: failure.map(str::to_owned),
        at: at(micros),
    })
}

#[test]
fn a_notice_is_listed_with_what_became_of_it_and_found_by_the_beginning_of_its_key() {
    let facts = [
        noticed(1, "a_b/1", 10),
        noticed(2, "a%b/2", 20),
        told(1, Some("answered 500"), 11),
        told(1, None, 12),
        told(1, Some("late word"), 13),
        told(2, Some("no such host"), 21),
    ];
    let projection = projected(&facts);
    let notices = projection.notices(10).unwrap();
    assert_eq!(
        notices.iter().map(|notice| &*notice.what).collect::<Vec<_>>(),
        ["number 2", "number 1"]
    );
    assert_eq!(notices[1].told[0].failure, None);
    let last = |key: &str| projection.last_notice("late", key).unwrap();
    assert_eq!(last("a_b/"), Some(at(10)));
    assert_eq!(last("a%b/"), Some(at(20)));
    assert_eq!((last("axb/"), last("a_b/1/")), (None, None));
    assert_eq!(projection.last_notice("failed", "a_b/").unwrap(), None);
    assert_eq!(projection.told_since("ops", at(0), 10).unwrap(), [at(12)]);
    assert_eq!(
        projection.given_up(at(0)).unwrap(),
        [("ops".to_owned(), 1, "no such host".to_owned())]
    );
}
