//! What people do to deliveries, and how they name them.

use super::*;
use crate::store::{Cursor, DeliveryFilter};

const STUDY: &str = "1.2.3";

fn handled(what: fn(DeliveryId, String, WallTime) -> Fact, number: u8, when: i64) -> Fact {
    what(id(number), "root".to_owned(), at(when))
}

fn resent(delivery: DeliveryId, by: String, at: WallTime) -> Fact {
    Fact::Resent(Resent { delivery, by, at })
}

fn discarded(delivery: DeliveryId, by: String, at: WallTime) -> Fact {
    let reason = Some("wrong patient".to_owned());
    Fact::Discarded(Discarded {
        delivery,
        by,
        at,
        reason,
    })
}

#[test]
fn a_study_shows_who_did_what_to_an_instance_and_when_each_once() {
    let held = Fact::Held(Held {
        delivery: id(1),
        by: "root".to_owned(),
        at: at(2),
    });
    let released = Fact::Released(Released {
        delivery: id(1),
        by: "anna".to_owned(),
        at: at(3),
    });
    let facts = [
        received(1, "1.1"),
        held.clone(),
        held,
        released,
        handled(discarded, 1, 4),
        handled(discarded, 9, 4),
    ];
    let projection = projected(&facts);
    let detail = projection.study(STUDY, 10).unwrap().remove(0);
    let instance = &detail.instances[0];
    let said: Vec<_> = instance
        .handled
        .iter()
        .map(|handled| (&*handled.what, &*handled.by))
        .collect();
    assert_eq!(said, [("held", "root"), ("released", "anna"), ("discarded", "root")]);
    assert_eq!(instance.handled[2].reason.as_deref(), Some("wrong patient"));
    assert_eq!(instance.handled[2].at, at(4).to_string());
    assert_eq!(instance.reason.as_deref(), Some("discarded by root: wrong patient"));
    assert_eq!(
        (detail.summary.account.discarded, detail.summary.account.received),
        (1, 1)
    );
}

#[test]
fn what_goes_on_at_another_site_is_said_so_whether_released_or_tried_again_there() {
    let reopened = |by: &str, when| {
        Fact::Reopened(Reopened {
            delivery: id(1),
            by: by.to_owned(),
            at: at(when),
        })
    };
    let facts = [
        received(1, "1.1"),
        reopened("operator root at st-mary", 2),
        reopened("operator root", 3),
    ];
    let detail = projected(&facts).study(STUDY, 10).unwrap().remove(0);
    let said: Vec<_> = detail.instances[0]
        .handled
        .iter()
        .map(|handled| &*handled.what)
        .collect();
    assert_eq!(said, ["let go on", "tried again"]);
}

#[test]
fn what_is_sent_again_stays_delivered_and_is_listed_when_that_fails() {
    let begun = vec![received(1, "1.1"), outcome(1, Some(0), 5)];
    let state = |facts: &[Fact]| {
        let projection = projected(&[begun.clone(), facts.to_vec()].concat());
        let account = only_study(&projection).account;
        assert_eq!((account.received, account.delivered), (1, 1));
        let view = delivery(&projection, 1);
        (view.state, view.again, view.resent, projection.failed(9).unwrap().len())
    };
    let again = handled(resent, 1, 6);
    let (delivered, failed) = (State::Delivered, Some(State::Failed));
    assert_eq!(
        state(std::slice::from_ref(&again)),
        (delivered, Some(State::InFlight), 1, 0)
    );
    let refused = outcome(1, Some(0xA900), 7);
    assert_eq!(state(&[again.clone(), refused.clone()]), (delivered, failed, 1, 1));
    // The old outcome, told again, ends nothing.
    let old = outcome(1, Some(0), 5);
    assert_eq!(state(&[again.clone(), old]), (delivered, Some(State::InFlight), 1, 0));
    assert_eq!(state(&[again.clone(), outcome(1, Some(0), 8)]), (delivered, None, 1, 0));
    let given_up = handled(discarded, 1, 9);
    assert_eq!(state(&[again.clone(), refused, given_up]), (delivered, None, 1, 0));
    // Asked for before it was delivered, and told late.
    assert_eq!(state(&[handled(resent, 1, 4)]), (delivered, None, 1, 0));
    assert_eq!(state(&[again.clone(), again]), (delivered, Some(State::InFlight), 1, 0));
}

#[test]
fn the_words_of_an_account_say_how_often_something_was_sent_again() {
    let facts = [
        received(1, "1.1"),
        outcome(1, Some(0), 5),
        handled(resent, 1, 6),
        handled(resent, 1, 7),
    ];
    let study = only_study(&projected(&facts));
    assert_eq!(study.resent, 2);
    assert!(study.words.ends_with("; sent again 2"), "{}", study.words);
}

/// Ids of what a filter finds, in pages of two.
fn found(projection: &Projection, filter: DeliveryFilter) -> Vec<u8> {
    let states = if filter.states.is_empty() {
        State::ALL.to_vec()
    } else {
        filter.states.clone()
    };
    let filter = DeliveryFilter { states, ..filter };
    let (mut cursor, mut all) = (Cursor::default(), Vec::new());
    loop {
        let page = projection.select(&filter, &mut cursor, 2).unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            return all;
        }
        all.extend(
            page.iter()
                .map(|delivery| delivery.delivery.parse::<DeliveryId>().unwrap().as_bytes()[0]),
        );
    }
}

#[test]
fn deliveries_are_found_by_all_that_is_said_of_them() {
    let other = InstanceReceived {
        study: Some("9.9".to_owned()),
        sop_class: SR.parse().unwrap(),
        source: "PACS_X".to_owned(),
        ..instance(4, "1.4")
    };
    let words = Fact::Failed(Failed {
        delivery: id(3),
        reason: "answered C123 (error: cannot understand)".to_owned(),
        at: at(3),
    });
    let facts = [
        received(1, "1.1"),
        outcome(1, Some(0xA900), 5),
        received(2, "1.2"),
        outcome(2, Some(0xC000), 5),
        received(3, "1.3"),
        words,
        Fact::InstanceReceived(Box::new(other)),
        received(5, "1.5"),
        outcome(5, Some(0), 5),
        handled(resent, 5, 6),
        outcome(5, Some(0xA900), 7),
    ];
    let projection = projected(&facts);
    let find = |set: &dyn Fn(&mut DeliveryFilter)| {
        let mut filter = DeliveryFilter::default();
        set(&mut filter);
        found(&projection, filter)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(find(&|filter| filter.study = some("9.9")), [4]);
    assert_eq!(find(&|filter| filter.sop_instance = some("1.2")), [2]);
    assert_eq!(find(&|filter| filter.class = some(SR)), [4]);
    assert_eq!(find(&|filter| filter.from = some("PACS_X")), [4]);
    for to in ["ST_MARY", "st-mary/PACS_B", "PACS_B"] {
        assert_eq!(find(&|filter| filter.to = some(to)).len(), 6, "one stands twice");
    }
    assert!(find(&|filter| filter.to = some("ACS_B")).is_empty());
    let status = |text: &str| find(&|filter| filter.status = Some(text.parse().unwrap()));
    assert_eq!(status("A9xx"), [5, 1, 5]);
    assert_eq!(status("0xC000H"), [2]);
    assert_eq!(status("cXXX"), [2, 3]);
    let failed = |study: &str| {
        find(&|filter| {
            filter.study = some(study);
            filter.status = Some("A900".parse().unwrap());
            filter.states = vec![State::Failed];
        })
    };
    assert_eq!(failed(STUDY), [1, 5], "what was sent again and failed too");
    assert!(failed("9.9").is_empty());
    assert!(find(&|filter| filter.direction = Some(Direction::Incoming)).is_empty());
    for wrong in ["", "A90", "A9000", "G000", "0xA90"] {
        assert!(wrong.parse::<StatusPattern>().is_err(), "{wrong}");
    }
}
