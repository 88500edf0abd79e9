use packhorse_ids::{DeliveryId, Digest, SiteName, WallTime};

mod failures;
mod handling;
mod notices;
mod properties;
mod watched;
mod whole;

use super::*;
use crate::fact::{
    Arrived, ArrivedUnread, AssociationEnd, AssociationEnded, AssociationOpened, ContextFact, Conversion,
    CustodyReceived, DeliveryAttempted, Discarded, Fact, Failed, Held, InstanceReceived, InstanceRefused, OutcomeKnown,
    ReceivedDetails, RefusedContextUsed, Released, Reopened, Resent,
};
use crate::identity::Identity;
use crate::origin::{AssociationId, Origin};
use crate::progress::State;
use crate::view::{DeliveryView, Direction, StudyView};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const SR: &str = "1.2.840.10008.5.1.4.1.1.88.67";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
const COMMITMENT: &str = "1.2.840.10008.1.20.1";

fn at(micros: i64) -> WallTime {
    WallTime::from_unix_micros(micros)
}

fn id(number: u8) -> DeliveryId {
    DeliveryId::from_bytes([number; 16])
}

fn association(number: u8) -> AssociationId {
    AssociationId::from_bytes([number; 16])
}

fn opened(number: u8, contexts: &[(&str, u8)]) -> Fact {
    let context = |(class, result): &(&str, u8)| ContextFact {
        class: class.parse().unwrap(),
        syntaxes: 1,
        result: *result,
        rule: "rule 1 (raw data)".to_owned(),
    };
    Fact::AssociationOpened(AssociationOpened {
        association: association(number),
        source: "PACS_A".to_owned(),
        calling: "PACS_A".parse().unwrap(),
        called: "ST_MARY".parse().unwrap(),
        peer: "10.0.0.5".to_owned(),
        at: at(number.into()),
        contexts: contexts.iter().map(context).collect(),
    })
}

fn instance(delivery: u8, sop_instance: &str) -> InstanceReceived {
    InstanceReceived {
        delivery: id(delivery),
        origin: Origin::Association(association(1)),
        route: "ST_MARY".parse().unwrap(),
        to_site: "st-mary".parse().unwrap(),
        to_ae_title: "PACS_B".parse().unwrap(),
        source: "PACS_A".to_owned(),
        sop_class: CT.parse().unwrap(),
        sop_instance: sop_instance.parse().unwrap(),
        study: Some("1.2.3".to_owned()),
        series: Some("1.2.3.1".to_owned()),
        modality: Some("CT".to_owned()),
        transfer_syntax: "1.2.840.10008.1.2.1".parse().unwrap(),
        length: 1_000,
        sha256: Digest::from_bytes([7; 32]),
        declared: None,
        identity: Identity::default(),
        at: at(i64::from(delivery)),
        repeat: false,
        replaces: None,
        held_by: None,
        details: ReceivedDetails::default(),
        priority: None,
    }
}

fn received(delivery: u8, sop_instance: &str) -> Fact {
    Fact::InstanceReceived(Box::new(instance(delivery, sop_instance)))
}

fn outcome(delivery: u8, status: Option<u16>, when: i64) -> Fact {
    let sha256 = Digest::from_bytes([7; 32]);
    Fact::OutcomeKnown(OutcomeKnown {
        delivery: id(delivery),
        status,
        reason: None,
        sha256,
        at: at(when),
        converted: None,
    })
}

fn numbered(facts: &[Fact]) -> Vec<(u64, Vec<u8>)> {
    (1..).zip(facts.iter().map(|fact| fact.to_bytes().unwrap())).collect()
}

fn projected(facts: &[Fact]) -> Projection {
    let mut projection = Projection::in_memory().unwrap();
    projection.apply(numbered(facts)).unwrap();
    projection
}

fn only_study(projection: &Projection) -> StudyView {
    let mut studies = projection.studies(&StudyFilter::default(), 10).unwrap();
    assert_eq!(studies.len(), 1);
    studies.remove(0)
}

fn delivery(projection: &Projection, number: u8) -> DeliveryView {
    projection.delivery(id(number)).unwrap().unwrap()
}

/// The study that the project began with: two images, raw data refused, a dose report; the instances say 4.
#[test]
fn the_account_says_what_was_declared_delivered_and_refused() {
    let declared = |delivery, sop_instance| {
        Fact::InstanceReceived(Box::new(InstanceReceived {
            declared: Some(4),
            ..instance(delivery, sop_instance)
        }))
    };
    let projection = projected(&[
        opened(1, &[(CT, 0), (RAW, 3), (SR, 0), (COMMITMENT, 3)]),
        declared(1, "1.1"),
        declared(2, "1.2"),
        declared(3, "1.3"),
        outcome(1, Some(0), 10),
        outcome(2, Some(0), 11),
        outcome(3, Some(0xB000), 12),
    ]);
    let study = only_study(&projection);
    assert_eq!(
        study.words,
        "the instances say 4; delivered 3; refused at negotiation on this association: Raw Data Storage"
    );
    assert_eq!(
        study.refused.iter().map(|class| class.uid.as_str()).collect::<Vec<_>>(),
        [RAW]
    );
    assert_eq!(
        (study.to.as_str(), study.direction),
        ("st-mary/PACS_B", Direction::Outgoing)
    );
}

#[test]
fn a_refused_class_belongs_only_to_studies_that_its_association_carried() {
    let on_other = InstanceReceived {
        origin: Origin::Association(association(2)),
        study: Some("9.9".to_owned()),
        ..instance(2, "2.1")
    };
    let projection = projected(&[
        opened(1, &[(CT, 0), (RAW, 3)]),
        opened(2, &[(CT, 0)]),
        received(1, "1.1"),
        Fact::InstanceReceived(Box::new(on_other)),
    ]);
    let refused = |study: &str| projection.study(study, 10).unwrap()[0].summary.refused.len();
    assert_eq!((refused("1.2.3"), refused("9.9")), (1, 0));
}

#[test]
fn a_delivery_has_its_times_its_answer_and_whether_it_was_identical() {
    let custody = CustodyReceived {
        delivery: id(1),
        by: "st-mary".parse().unwrap(),
        at: at(5_000_000),
    };
    let projection = projected(&[
        received(1, "1.1"),
        Fact::CustodyReceived(custody),
        outcome(1, Some(0xB000), 6_000_000),
    ]);
    let view = delivery(&projection, 1);
    assert_eq!(
        (view.state, view.warning, view.identical),
        (State::Delivered, true, Some(true))
    );
    assert_eq!(view.status.as_deref(), Some("B000"));
    assert_eq!(view.custody_at.as_deref(), Some("1970-01-01T00:00:05.000Z"));
    assert_eq!(view.custody_by.as_deref(), Some("st-mary"));
    assert_eq!(view.outcome_at.as_deref(), Some("1970-01-01T00:00:06.000Z"));
    assert_eq!(projection.delivery(id(77)).unwrap(), None);
}

#[test]
fn other_bytes_than_received_are_not_identical() {
    let sent = OutcomeKnown {
        delivery: id(1),
        status: Some(0),
        reason: None,
        sha256: Digest::from_bytes([8; 32]),
        at: at(2),
        converted: None,
    };
    let projection = projected(&[received(1, "1.1"), Fact::OutcomeKnown(sent)]);
    assert_eq!(delivery(&projection, 1).identical, Some(false));
}

#[test]
fn what_was_converted_is_delivered_in_another_syntax_and_not_identical() {
    let converted = Conversion {
        transfer_syntax: "1.2.840.10008.1.2".parse().unwrap(),
        sha256: Digest::from_bytes([8; 32]),
    };
    let sent = OutcomeKnown {
        delivery: id(1),
        status: Some(0),
        reason: None,
        sha256: Digest::from_bytes([7; 32]),
        at: at(2),
        converted: Some(converted.clone()),
    };
    let view = delivery(&projected(&[received(1, "1.1"), Fact::OutcomeKnown(sent)]), 1);
    assert_eq!((view.state, view.identical), (State::Delivered, Some(false)));
    let said = view.converted.unwrap();
    assert_eq!(said.syntax_name, "Implicit VR Little Endian");
    assert_eq!(said.sha256, converted.sha256.to_string());
    assert_eq!(view.sha256, Digest::from_bytes([7; 32]).to_string());
}

#[test]
fn attempts_are_counted_with_their_reason_until_the_end() {
    let attempted = Fact::DeliveryAttempted(DeliveryAttempted {
        delivery: id(1),
        status: Some(0xA700),
        reason: "out of resources".to_owned(),
        retry_at: Some(at(60_000_000)),
        at: at(2),
    });
    let facts = [received(1, "1.1"), attempted.clone(), attempted.clone()];
    let view = delivery(&projected(&facts), 1);
    assert_eq!((view.attempts, view.state), (2, State::InFlight));
    assert_eq!(view.retry_at.as_deref(), Some("1970-01-01T00:01:00.000Z"));
    assert_eq!(view.reason.as_deref(), Some("out of resources"));
    let ended = [received(1, "1.1"), attempted.clone(), outcome(1, Some(0), 3), attempted];
    let view = delivery(&projected(&ended), 1);
    assert_eq!(
        (view.attempts, view.retry_at, view.status.as_deref()),
        (1, None, Some("0000"))
    );
}

#[test]
fn a_repeat_is_one_instance_and_is_counted_apart() {
    let again = InstanceReceived {
        repeat: true,
        ..instance(2, "1.1")
    };
    let projection = projected(&[
        received(1, "1.1"),
        outcome(1, Some(0), 5),
        Fact::InstanceReceived(Box::new(again)),
    ]);
    let study = only_study(&projection);
    assert_eq!(
        (study.account.received, study.account.delivered, study.repeats),
        (1, 1, 1)
    );
}

#[test]
fn a_replaced_delivery_is_discarded_and_the_new_one_counts() {
    let new = InstanceReceived {
        repeat: true,
        replaces: Some(id(1)),
        ..instance(2, "1.1")
    };
    let discarded = Discarded {
        delivery: id(1),
        by: "replaced".to_owned(),
        at: at(2),
        reason: None,
    };
    let facts = [
        received(1, "1.1"),
        Fact::InstanceReceived(Box::new(new)),
        Fact::Discarded(discarded),
    ];
    let projection = projected(&facts);
    let account = only_study(&projection).account;
    assert_eq!((account.received, account.in_flight, account.discarded), (1, 1, 0));
    let route = "ST_MARY".parse().unwrap();
    let open = projection.find_open(&route, &"1.1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(open.delivery, id(2).to_string());
}

#[test]
fn only_open_deliveries_on_the_route_are_found_for_a_repeat() {
    let custody = CustodyReceived {
        delivery: id(1),
        by: "st-mary".parse().unwrap(),
        at: at(5),
    };
    let mut projection = projected(&[received(1, "1.1"), Fact::CustodyReceived(custody)]);
    let (route, other) = ("ST_MARY".parse().unwrap(), "ELSEWHERE".parse().unwrap());
    let uid = "1.1".parse().unwrap();
    assert!(projection.find_open(&route, &uid).unwrap().unwrap().in_far_custody);
    assert_eq!(projection.find_open(&other, &uid).unwrap(), None);
    projection
        .apply([(3, outcome(1, Some(0), 9).to_bytes().unwrap())])
        .unwrap();
    assert_eq!(projection.find_open(&route, &uid).unwrap(), None);
    assert!(projection.was_received(&route, &uid).unwrap());
    assert!(!projection.was_received(&other, &uid).unwrap());
}

#[test]
fn the_far_edge_has_its_own_view() {
    let arrived = Arrived {
        delivery: id(1),
        from_site: "clinic-a".parse().unwrap(),
        to_ae_title: "PACS_B".parse().unwrap(),
        sop_class: CT.parse().unwrap(),
        sop_instance: "1.1".parse().unwrap(),
        study: None,
        series: None,
        modality: None,
        transfer_syntax: "1.2.840.10008.1.2".parse().unwrap(),
        length: 3,
        sha256: Digest::from_bytes([7; 32]),
        declared: None,
        identity: Identity::default(),
        at: at(1),
        priority: None,
    };
    let projection = projected(&[Fact::Arrived(Box::new(arrived)), outcome(1, Some(0), 2)]);
    let study = only_study(&projection);
    assert_eq!(
        (study.direction, study.source.as_str(), study.study),
        (Direction::Incoming, "clinic-a", None)
    );
    assert_eq!(study.account.delivered, 1);
    assert_eq!(projection.study("", 10).unwrap()[0].instances.len(), 1);
}

#[test]
fn associations_have_their_contexts_their_end_and_what_came_on_them() {
    let used = RefusedContextUsed {
        association: association(1),
        class: RAW.to_owned(),
        at: at(2),
    };
    let ended = AssociationEnded {
        association: association(1),
        how: AssociationEnd::Aborted,
        at: at(3),
    };
    let projection = projected(&[
        opened(1, &[(CT, 0), (RAW, 3)]),
        received(1, "1.1"),
        Fact::RefusedContextUsed(used),
        Fact::AssociationEnded(ended),
        opened(2, &[(CT, 0)]),
    ]);
    let list = projection.associations(10).unwrap();
    assert_eq!(
        list.iter().map(|one| one.association.clone()).collect::<Vec<_>>(),
        [association(2).to_string(), association(1).to_string()]
    );
    let first = &list[1];
    assert_eq!(
        (
            first.contexts,
            first.accepted,
            first.instances,
            first.refused_context_used
        ),
        (2, 1, 1, 1)
    );
    assert_eq!(
        (first.ended.as_deref(), first.refused[0].name.as_str()),
        (Some("aborted"), "Raw Data Storage")
    );
    assert_eq!((list[0].ended.as_deref(), list[0].instances), (None, 0));
}

#[test]
fn refused_instances_are_listed_with_the_study() {
    let refused = InstanceRefused {
        origin: Origin::Association(association(1)),
        route: "ST_MARY".parse().unwrap(),
        source: "PACS_A".to_owned(),
        sop_class: RAW.to_owned(),
        sop_instance: "1.9".to_owned(),
        study: Some("1.2.3".to_owned()),
        status: 0x0122,
        rule: "rule 1".to_owned(),
        at: at(2),
    };
    let projection = projected(&[received(1, "1.1"), Fact::InstanceRefused(refused)]);
    let detail = projection.study("1.2.3", 10).unwrap().remove(0);
    assert_eq!(detail.summary.account.received, 1);
    assert_eq!(
        (
            detail.refused_instances[0].status.as_str(),
            detail.refused_instances.len()
        ),
        ("0122", 1)
    );
    assert_eq!(projection.refusals(10).unwrap(), detail.refused_instances);
}

#[test]
fn studies_are_found_by_what_people_know_of_them() {
    let identity = Identity {
        patient_id: "P_1%".to_owned(),
        patient_name: "Muller^Eva".to_owned(),
        accession_number: "A1".to_owned(),
        study_date: "20261124".to_owned(),
        ..Identity::default()
    };
    let other = InstanceReceived {
        study: Some("4.4".to_owned()),
        source: "OTHER".to_owned(),
        ..instance(2, "2.1")
    };
    let projection = projected(&[
        Fact::InstanceReceived(Box::new(InstanceReceived {
            identity,
            ..instance(1, "1.1")
        })),
        Fact::InstanceReceived(Box::new(other)),
        outcome(2, Some(0), 5),
    ]);
    let found = |change: fn(&mut StudyFilter)| {
        let mut filter = StudyFilter::default();
        change(&mut filter);
        let studies = projection.studies(&filter, 10).unwrap();
        studies
            .into_iter()
            .map(|study| study.study.unwrap())
            .collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found(|_| ()), ["4.4", "1.2.3"]);
    assert_eq!(found(|filter| filter.patient = Some("eva".to_owned())), ["1.2.3"]);
    assert_eq!(found(|filter| filter.patient = Some("P_1%".to_owned())), ["1.2.3"]);
    assert!(found(|filter| filter.patient = Some("P%".to_owned())).is_empty());
    assert_eq!(found(|filter| filter.accession = Some("a1".to_owned())), ["1.2.3"]);
    assert_eq!(found(|filter| filter.date = Some("202611".to_owned())), ["1.2.3"]);
    assert_eq!(found(|filter| filter.source = Some("OTHER".to_owned())), ["4.4"]);
    assert_eq!(found(|filter| filter.to = Some("PACS_B".to_owned())).len(), 2);
    assert_eq!(found(|filter| filter.to = Some("st-mary/PACS_B".to_owned())).len(), 2);
    assert!(found(|filter| filter.to = Some("PACS".to_owned())).is_empty());
    assert_eq!(found(|filter| filter.state = Some(State::Delivered)), ["4.4"]);
    assert_eq!(found(|filter| filter.class = Some(CT.to_owned())).len(), 2);
    assert!(found(|filter| filter.class = Some(RAW.to_owned())).is_empty());
    let limited = projection
        .studies(
            &StudyFilter {
                study: text("4.4"),
                ..StudyFilter::default()
            },
            0,
        )
        .unwrap();
    assert!(limited.is_empty());
}

#[test]
fn a_batch_given_twice_counts_once_and_a_restart_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let facts = numbered(&[received(1, "1.1"), received(2, "1.2")]);
    let mut projection = Projection::open(&path).unwrap();
    assert_eq!(projection.apply(facts.clone()).unwrap().new, 2);
    drop(projection);
    let mut projection = Projection::open(&path).unwrap();
    assert_eq!(projection.last().unwrap(), 2);
    assert_eq!(projection.apply(facts).unwrap(), Applied::default());
    assert_eq!(only_study(&projection).account.received, 2);
    let reader = Projection::open_read_only(&path).unwrap();
    assert_eq!(only_study(&reader), only_study(&projection));
}

#[test]
fn what_is_no_fact_is_counted_and_holds_up_nothing() {
    let mut projection = Projection::in_memory().unwrap();
    let later = br#"{"v":1,"kind":"of-later"}"#.to_vec();
    let batch = [
        (1, b"garbage".to_vec()),
        (2, later),
        (3, received(1, "1.1").to_bytes().unwrap()),
    ];
    let applied = projection.apply(batch).unwrap();
    assert_eq!(
        applied,
        Applied {
            new: 3,
            malformed: 1,
            unknown: 1
        }
    );
    assert_eq!(
        (projection.last().unwrap(), only_study(&projection).account.received),
        (3, 1)
    );
}

#[test]
fn tables_of_another_version_are_made_again_and_a_reader_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    drop(Projection::open(&path).unwrap());
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        Projection::open_read_only(&path),
        Err(ProjectionError::Version { found: 99, .. })
    ));
    assert_eq!(Projection::open(&path).unwrap().last().unwrap(), 0);
    Projection::open_read_only(&path).unwrap();
}

#[test]
fn a_delivery_went_to_its_routes_site_and_to_no_other() {
    let projection = projected(&[received(1, "1.2.1")]);
    let InstanceReceived { to_site, .. } = instance(1, "1.2.1");
    assert_eq!(projection.went_to(id(1), &to_site).unwrap(), Some(true));
    let mut prefix = to_site.to_string();
    prefix.pop();
    for other in [prefix.as_str(), "elsewhere"] {
        let other = SiteName::try_from(other).unwrap();
        assert_eq!(projection.went_to(id(1), &other).unwrap(), Some(false), "{other}");
    }
    assert_eq!(projection.went_to(id(2), &to_site).unwrap(), None);
}
