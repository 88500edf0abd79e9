//! What has failed, is held, or cannot be opened, and how it gets on.

use super::*;

#[test]
fn failed_ones_are_listed_and_leave_the_list_when_tried_again() {
    let failed = Fact::Failed(Failed {
        delivery: id(1),
        reason: "A900".to_owned(),
        at: at(2),
    });
    let mut projection = projected(&[received(1, "1.1"), received(2, "1.2"), failed]);
    let list = projection.failed(10).unwrap();
    assert_eq!(
        list.iter().map(|view| view.reason.as_deref()).collect::<Vec<_>>(),
        [Some("A900")]
    );
    let reopened = Fact::Reopened(Reopened {
        delivery: id(1),
        by: "admin".to_owned(),
        at: at(3),
    });
    projection.apply([(4, reopened.to_bytes().unwrap())]).unwrap();
    assert_eq!(projection.failed(10).unwrap(), []);
}

#[test]
fn an_old_failure_told_again_does_not_undo_a_new_try() {
    let reopened = Fact::Reopened(Reopened {
        delivery: id(1),
        by: "admin".to_owned(),
        at: at(3),
    });
    let told = outcome(1, Some(0xA900), 2);
    let projection = projected(&[received(1, "1.1"), told.clone(), reopened, told]);
    assert_eq!(delivery(&projection, 1).state, State::InFlight);
}

#[test]
fn held_ones_are_held_until_released_or_discarded() {
    let held = InstanceReceived {
        held_by: Some("rule 2".to_owned()),
        details: ReceivedDetails::default(),
        ..instance(1, "1.1")
    };
    let released = Fact::Released(Released {
        delivery: id(1),
        by: "admin".to_owned(),
        at: at(5),
    });
    let discarded = Fact::Discarded(Discarded {
        delivery: id(1),
        by: "rule 2".to_owned(),
        at: at(6),
        reason: None,
    });
    let begin = Fact::InstanceReceived(Box::new(held));
    let state = |facts: &[Fact]| {
        let view = delivery(&projected(facts), 1);
        (view.state, view.reason.unwrap())
    };
    assert_eq!(
        state(std::slice::from_ref(&begin)),
        (State::Held, "held by rule 2".to_owned())
    );
    assert_eq!(
        state(&[begin.clone(), released]),
        (State::InFlight, "released by admin".to_owned())
    );
    assert_eq!(
        state(&[begin, discarded]),
        (State::Discarded, "discarded: rule 2".to_owned())
    );
}

#[test]
fn an_envelope_that_cannot_be_opened_is_on_the_failed_list_with_its_site_and_what_to_do() {
    let arrived = |number| {
        Fact::ArrivedUnread(ArrivedUnread {
            delivery: id(number),
            from_site: SiteName::try_from("clinic-a").unwrap(),
            length: 10,
            reason: "update this edge".to_owned(),
            at: at(1),
        })
    };
    let projection = projected(&[arrived(1), arrived(2)]);
    let failed = projection.failed(10).unwrap();
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0].source, "clinic-a");
    assert_eq!(failed[0].reason.as_deref(), Some("update this edge"));
    let study = only_study(&projection);
    assert_eq!((study.account.received, study.account.failed), (2, 2));
    assert!(study.account.is_exact());
}

#[test]
fn what_is_told_again_of_before_an_outcome_does_not_undo_it() {
    let held = |when| {
        let by = "st-mary: no consent".to_owned();
        Fact::Held(Held {
            delivery: id(1),
            by,
            at: at(when),
        })
    };
    let resumed = |when| {
        let by = "st-mary".to_owned();
        Fact::Reopened(Reopened {
            delivery: id(1),
            by,
            at: at(when),
        })
    };
    let first = [received(1, "1.2.1"), held(10), resumed(20), outcome(1, None, 30)];
    let projection = projected(&[&first[..], &first[1..]].concat());
    assert_eq!(delivery(&projection, 1).state, State::Failed);
    let projection = projected(&[&first[..], &[resumed(40)]].concat());
    assert_eq!(delivery(&projection, 1).state, State::InFlight);
    assert_eq!(projected(&first[..2]).held(10).unwrap().len(), 1);
}
