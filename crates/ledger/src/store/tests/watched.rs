//! What is seen of senders.

use super::*;
use crate::fact::{Compared, Evidence, InstanceRepeated, SenderStopped, StoppedAt};
use crate::store::Noticed;
use crate::watch::Trace;

fn ended(number: u8, how: AssociationEnd) -> Fact {
    Fact::AssociationEnded(AssociationEnded {
        association: association(number),
        how,
        at: at(i64::from(number) + 50),
    })
}

/// An instance that came on this association.
fn on(number: u8, delivery: u8, sop_instance: &str) -> Fact {
    Fact::InstanceReceived(Box::new(InstanceReceived {
        origin: Origin::Association(association(number)),
        ..instance(delivery, sop_instance)
    }))
}

fn stopped(number: u8) -> Fact {
    Fact::SenderStopped(SenderStopped {
        association: association(number),
        source: "PACS_A".to_owned(),
        calling: "PACS_A".parse().unwrap(),
        route: "ST_MARY".parse().unwrap(),
        classes: vec![StoppedAt {
            class: RAW.to_owned(),
            rule: "rule 1".to_owned(),
        }],
        status: None,
        study: Some("1.2.3".to_owned()),
        instances: 1,
        evidence: Evidence::Aborted,
        at: at(60),
    })
}

/// What an edge writes of an association that brings one image and aborts at the refused class.
fn attempt(number: u8, delivery: u8, how: AssociationEnd) -> Vec<Fact> {
    let mut facts = vec![
        opened(number, &[(CT, 0), (RAW, 3)]),
        on(number, delivery, "1.1"),
        ended(number, how),
    ];
    let mut trace = Trace::default();
    let stops: Vec<_> = facts.iter().filter_map(|fact| trace.see(fact)).collect();
    facts.extend(stops.into_iter().map(Fact::SenderStopped));
    facts
}

fn noticed(projection: &Projection) -> Vec<Noticed> {
    projection
        .noticed(100)
        .unwrap()
        .into_iter()
        .map(|(_, what)| what)
        .collect()
}

#[test]
fn a_refused_class_is_noticed_once_and_counted_each_time() {
    let contexts = [(CT, 0), (RAW, 3), (RAW, 3)];
    let projection = projected(&[opened(1, &contexts), opened(2, &contexts)]);
    assert!(matches!(&noticed(&projection)[..], [Noticed::ClassRefused { class, .. }] if class == RAW));
    let sources = projection.sources().unwrap();
    let refused = &sources[0].refused;
    assert_eq!(
        (refused.len(), refused[0].associations, refused[0].instances),
        (1, 2, 0)
    );
    projection.told(projection.noticed(1).unwrap()[0].0).unwrap();
    assert_eq!(noticed(&projection), []);
}

#[test]
fn classes_refused_on_one_association_are_one_notice_and_those_of_the_destination_another() {
    let Fact::AssociationOpened(mut opened) = opened(1, &[(CT, 3), (SR, 3), (RAW, 3)]) else {
        panic!("another fact")
    };
    let of_destination = "rule 5 (storage), but the destination does not take it (probed 2026-11-25 10:02)";
    of_destination.clone_into(&mut opened.contexts[0].rule);
    let facts = [
        Fact::AssociationOpened(opened.clone()),
        Fact::AssociationOpened(AssociationOpened {
            association: association(2),
            ..opened
        }),
    ];
    let told = noticed(&projected(&facts));
    let told: Vec<_> = told
        .iter()
        .map(|what| match what {
            Noticed::ClassesRefused {
                classes,
                for_destination,
                ..
            } => (classes.len(), *for_destination),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(2, false), (1, true)]);
}

#[test]
fn storage_commitment_is_noticed_once_and_is_no_refused_class() {
    let projection = projected(&[opened(1, &[(COMMITMENT, 3)]), opened(2, &[(COMMITMENT, 3)])]);
    assert!(matches!(&noticed(&projection)[..], [Noticed::CommitmentAsked { .. }]));
    let sources = projection.sources().unwrap();
    assert_eq!(
        (sources[0].refused.len(), sources[0].commitment_asked.is_some()),
        (0, true)
    );
}

#[test]
fn an_instance_that_a_rule_refuses_is_counted_and_a_full_disk_is_no_refused_class() {
    let refused = |status| {
        Fact::InstanceRefused(InstanceRefused {
            origin: Origin::Association(association(1)),
            route: "ST_MARY".parse().unwrap(),
            source: "PACS_A".to_owned(),
            sop_class: RAW.to_owned(),
            sop_instance: "1.9".to_owned(),
            study: None,
            status,
            rule: "rule 1".to_owned(),
            at: at(2),
        })
    };
    let projection = projected(&[
        opened(1, &[(RAW, 0)]),
        refused(0xA700),
        refused(0x0124),
        refused(0x0124),
    ]);
    let sources = projection.sources().unwrap();
    assert_eq!(sources[0].refused[0].instances, 2);
    assert!(matches!(&noticed(&projection)[..], [Noticed::ClassRefused { calling, .. }] if calling == "PACS_A"));
}

#[test]
fn a_stop_is_shown_with_its_study_and_what_comes_later_for_the_first_time_is_counted() {
    let mut facts = attempt(1, 1, AssociationEnd::Aborted);
    let projection = projected(&facts);
    let words = "sender stopped at refused Raw Data Storage after 1 instance: it aborted";
    assert_eq!(only_study(&projection).watched, [words]);
    let sources = projection.sources().unwrap();
    assert_eq!(
        (sources[0].stopped, sources[0].last_stops[0].words.as_str()),
        (1, words)
    );
    // The first again, and then two that had not come.
    facts.extend([on(2, 2, "1.1"), on(2, 3, "1.2"), on(2, 4, "1.3")]);
    let projection = projected(&facts);
    assert_eq!(only_study(&projection).watched, [format!("{words}; 2 more came later")]);
}

#[test]
fn of_a_sender_that_is_known_to_go_on_one_refused_last_is_neither_counted_nor_told() {
    let refused = |number: u8| {
        Fact::InstanceRefused(InstanceRefused {
            origin: Origin::Association(association(number)),
            route: "ST_MARY".parse().unwrap(),
            source: "PACS_A".to_owned(),
            sop_class: RAW.to_owned(),
            sop_instance: "1.9".to_owned(),
            study: Some("1.2.3".to_owned()),
            status: 0x0122,
            rule: "rule 1".to_owned(),
            at: at(5),
        })
    };
    let last = |number: u8| {
        let mut facts = vec![
            opened(number, &[(CT, 0), (RAW, 0)]),
            on(number, number, "1.1"),
            refused(number),
        ];
        facts.push(ended(number, AssociationEnd::Released));
        let mut trace = Trace::default();
        let stops: Vec<_> = facts.iter().filter_map(|fact| trace.see(fact)).collect();
        facts.extend(stops.into_iter().map(Fact::SenderStopped));
        facts
    };
    let stopped = |facts: &[Fact]| projected(facts).sources().unwrap()[0].stopped;
    assert_eq!(stopped(&last(1)), 1, "nothing is known of it yet");
    let mut facts = vec![opened(2, &[(CT, 0), (RAW, 0)]), refused(2), on(2, 2, "1.2")];
    facts.extend([ended(2, AssociationEnd::Released)]);
    facts.extend(last(3));
    assert_eq!(stopped(&facts), 0);
    let projection = projected(&facts);
    assert!(
        !noticed(&projection)
            .iter()
            .any(|what| matches!(what, Noticed::Stopped(_)))
    );
    let words = only_study(&projection).watched.join("; ");
    assert!(
        words.contains("this sender goes on behind a refusal, so that may have been all"),
        "{words}"
    );
}

#[test]
fn of_a_sender_that_was_refused_a_class_and_released_nothing_is_claimed() {
    let projection = projected(&attempt(1, 1, AssociationEnd::Released));
    assert_eq!(
        only_study(&projection).watched,
        ["whether the sender stopped at Raw Data Storage is not known"]
    );
    assert_eq!(projection.sources().unwrap()[0].stopped, 0);
}

#[test]
fn a_stop_told_twice_counts_once() {
    let projection = projected(&[opened(1, &[(RAW, 3)]), stopped(1), stopped(1)]);
    assert_eq!(projection.sources().unwrap()[0].stopped, 1);
}

fn loop_at(facts: &[Fact], number: u8) -> Option<u32> {
    let association = association(number).to_string();
    let found = projected(facts).find_loop(&association, 3, at(0)).unwrap();
    found.map(|found| found.times)
}

#[test]
fn the_same_study_refused_the_same_class_three_times_is_a_loop() {
    for how in [AssociationEnd::Aborted, AssociationEnd::Released] {
        let mut facts = Vec::new();
        for number in 1..=3 {
            assert_eq!(loop_at(&facts, number), None);
            facts.extend(attempt(number, number, how));
        }
        assert_eq!(loop_at(&facts, 3), Some(3), "{how:?}");
    }
}

#[test]
fn attempts_that_joined_a_waiting_delivery_belong_to_the_loop() {
    let mut facts = attempt(1, 1, AssociationEnd::Released);
    for number in 2..=3 {
        let repeated = Fact::InstanceRepeated(InstanceRepeated {
            delivery: id(1),
            origin: Origin::Association(association(number)),
            sop_instance: "1.1".parse().unwrap(),
            at: at(number.into()),
        });
        facts.extend([
            opened(number, &[(CT, 0), (RAW, 3)]),
            repeated,
            ended(number, AssociationEnd::Released),
        ]);
    }
    assert_eq!(loop_at(&facts, 3), Some(3));
    let study = only_study(&projected(&facts));
    assert_eq!((study.account.received, study.repeats), (1, 2));
}

#[test]
fn other_ends_other_instances_and_nothing_refused_are_no_loop() {
    let mut other_ends = attempt(1, 1, AssociationEnd::Aborted);
    other_ends.extend(attempt(2, 2, AssociationEnd::Aborted));
    other_ends.extend(attempt(3, 3, AssociationEnd::Released));
    assert_eq!(loop_at(&other_ends, 3), None);
    let others = (1..=3).flat_map(|number| {
        let uid = format!("1.{number}");
        [
            opened(number, &[(CT, 0), (RAW, 3)]),
            on(number, number, &uid),
            ended(number, AssociationEnd::Released),
        ]
    });
    assert_eq!(loop_at(&others.collect::<Vec<_>>(), 3), None);
    let accepted = (1..=3).flat_map(|number| {
        [
            opened(number, &[(CT, 0)]),
            on(number, number, "1.1"),
            ended(number, AssociationEnd::Released),
        ]
    });
    assert_eq!(loop_at(&accepted.collect::<Vec<_>>(), 3), None);
}

#[test]
fn a_loop_that_is_on_record_is_not_found_again() {
    let mut facts: Vec<_> = (1..=3)
        .flat_map(|number| attempt(number, number, AssociationEnd::Released))
        .collect();
    let last = association(3).to_string();
    let found = projected(&facts).find_loop(&last, 3, at(0)).unwrap().unwrap();
    facts.push(Fact::ResendLoop(found));
    let projection = projected(&facts);
    assert_eq!(projection.find_loop(&last, 3, at(0)).unwrap(), None);
    assert!(only_study(&projection).watched[1].contains("a resend loop"));
    assert_eq!(projection.sources().unwrap()[0].loops.len(), 1);
}

fn of_patient(delivery: u8, patient: &str, source: &str) -> Fact {
    Fact::InstanceReceived(Box::new(InstanceReceived {
        identity: Identity {
            patient_id: patient.to_owned(),
            ..Identity::default()
        },
        source: source.to_owned(),
        ..instance(delivery, &format!("1.{delivery}"))
    }))
}

#[test]
fn two_patients_under_one_study_are_noticed_once() {
    let projection = projected(&[
        of_patient(1, "4711", "PACS_A"),
        of_patient(2, "", "PACS_A"),
        of_patient(3, "4711", "PACS_A"),
        of_patient(4, "0815", "PACS_A"),
        of_patient(5, "4711", "PACS_A"),
    ]);
    assert!(matches!(&noticed(&projection)[..], [Noticed::TwoPatients { study, .. }] if study == "1.2.3"));
    assert_eq!(
        only_study(&projection).watched,
        ["two Patient IDs came under this Study Instance UID"]
    );
}

#[test]
fn one_study_from_two_sources_is_noticed_once() {
    let projection = projected(&[
        of_patient(1, "4711", "PACS_A"),
        of_patient(2, "4711", "PACS_C"),
        of_patient(3, "4711", "PACS_C"),
    ]);
    let sources = ["PACS_A".to_owned(), "PACS_C".to_owned()];
    let expected = Noticed::TwoSources {
        study: "1.2.3".to_owned(),
        sources,
    };
    assert_eq!(noticed(&projection), [expected]);
}

#[test]
fn other_pixels_are_noticed_and_shown_and_another_header_is_only_shown() {
    let compared = |compared| {
        let mut again = instance(1, "1.1");
        (again.repeat, again.details.compared) = (true, Some(compared));
        projected(&[Fact::InstanceReceived(Box::new(again))])
    };
    let pixels = compared(Compared::PixelsChanged);
    assert!(matches!(&noticed(&pixels)[..], [Noticed::PixelsChanged { .. }]));
    assert_eq!(
        only_study(&pixels).watched,
        ["an instance came again with other pixels"]
    );
    let header = compared(Compared::HeaderChanged);
    assert_eq!(noticed(&header), []);
    assert_eq!(delivery(&header, 1).compared.as_deref(), Some("header changed"));
}
