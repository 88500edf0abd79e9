use packhorse_ids::WallTime;

use super::*;
use crate::fact::{ContextFact, InstanceRepeated, RefusedContextUsed};
use crate::origin::{AssociationId, Origin};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";

fn at() -> WallTime {
    WallTime::from_unix_micros(1)
}

fn association() -> AssociationId {
    AssociationId::from_bytes([1; 16])
}

fn opened(contexts: &[(&str, u8)]) -> Fact {
    let context = |(class, result): &(&str, u8)| ContextFact {
        class: class.parse().unwrap(),
        syntaxes: 1,
        result: *result,
        rule: "rule 1 (raw data)".to_owned(),
    };
    Fact::AssociationOpened(AssociationOpened {
        association: association(),
        source: "CT 1".to_owned(),
        calling: "PACS_A".parse().unwrap(),
        called: "ST_MARY".parse().unwrap(),
        peer: "10.0.0.5".to_owned(),
        at: at(),
        contexts: contexts.iter().map(context).collect(),
    })
}

/// An instance that joined a delivery: of it nothing but that it came is looked at.
fn taken() -> Fact {
    Fact::InstanceRepeated(InstanceRepeated {
        delivery: packhorse_ids::DeliveryId::from_bytes([1; 16]),
        origin: Origin::Association(association()),
        sop_instance: "1.2".parse().unwrap(),
        at: at(),
    })
}

fn refused(status: u16) -> Fact {
    Fact::InstanceRefused(InstanceRefused {
        origin: Origin::Association(association()),
        route: "ST_MARY".parse().unwrap(),
        source: "CT 1".to_owned(),
        sop_class: RAW.to_owned(),
        sop_instance: "1.2.3".to_owned(),
        study: Some("1.2".to_owned()),
        status,
        rule: "rule 1".to_owned(),
        at: at(),
    })
}

fn ended(how: AssociationEnd) -> Fact {
    Fact::AssociationEnded(AssociationEnded {
        association: association(),
        how,
        at: at(),
    })
}

fn judged(facts: &[Fact]) -> Option<SenderStopped> {
    let mut trace = Trace::default();
    let mut found: Vec<_> = facts.iter().filter_map(|fact| trace.see(fact)).collect();
    assert!(found.len() <= 1);
    found.pop()
}

#[test]
fn an_abort_behind_a_refused_class_is_a_stop() {
    let stop = judged(&[opened(&[(CT, 0), (RAW, 3)]), taken(), ended(AssociationEnd::Aborted)]).unwrap();
    assert_eq!(
        (stop.evidence, stop.instances, stop.status),
        (Evidence::Aborted, 1, None)
    );
    assert_eq!(stop.classes[0].class, RAW);
    assert_eq!((stop.source.as_str(), stop.calling.as_str()), ("CT 1", "PACS_A"));
}

#[test]
fn a_refused_class_and_a_release_prove_nothing() {
    assert_eq!(
        judged(&[opened(&[(CT, 0), (RAW, 3)]), taken(), ended(AssociationEnd::Released)]),
        None
    );
}

#[test]
fn an_abort_without_a_refusal_is_none_of_ours() {
    assert_eq!(
        judged(&[opened(&[(CT, 0)]), taken(), ended(AssociationEnd::Aborted)]),
        None
    );
}

#[test]
fn a_network_that_breaks_is_no_stop_though_a_class_was_refused() {
    for how in [
        AssociationEnd::Lost,
        AssociationEnd::TimedOut,
        AssociationEnd::AbortedHere,
    ] {
        assert_eq!(
            judged(&[opened(&[(CT, 0), (RAW, 3)]), taken(), ended(how)]),
            None,
            "{how:?}"
        );
    }
}

#[test]
fn a_release_right_behind_a_refused_instance_is_a_stop() {
    let stop = judged(&[
        opened(&[(CT, 0), (RAW, 0)]),
        taken(),
        refused(0x0122),
        ended(AssociationEnd::Released),
    ])
    .unwrap();
    assert_eq!(
        (stop.evidence, stop.status),
        (Evidence::EndedBehindRefusal, Some(0x0122))
    );
    assert_eq!(stop.study.as_deref(), Some("1.2"));
}

#[test]
fn a_sender_that_goes_on_did_not_stop_even_when_the_last_instance_is_refused() {
    let opened = || opened(&[(CT, 0), (RAW, 0)]);
    let on = [opened(), refused(0x0122), taken(), ended(AssociationEnd::Released)];
    assert_eq!(judged(&on), None);
    let twice = [
        opened(),
        refused(0x0122),
        taken(),
        refused(0x0122),
        ended(AssociationEnd::Released),
    ];
    assert_eq!(judged(&twice), None);
    let in_turn = [
        opened(),
        refused(0x0122),
        refused(0x0122),
        ended(AssociationEnd::Released),
    ];
    assert_eq!(judged(&in_turn), None);
}

#[test]
fn a_full_disk_stops_senders_too() {
    let stop = judged(&[
        opened(&[(CT, 0)]),
        taken(),
        refused(0xA700),
        ended(AssociationEnd::Aborted),
    ])
    .unwrap();
    assert_eq!((stop.evidence, stop.status), (Evidence::Aborted, Some(0xA700)));
}

#[test]
fn a_refused_context_that_is_used_is_a_stop() {
    let used = Fact::RefusedContextUsed(RefusedContextUsed {
        association: association(),
        class: RAW.to_owned(),
        at: at(),
    });
    let stop = judged(&[
        opened(&[(CT, 0), (RAW, 3)]),
        taken(),
        used,
        ended(AssociationEnd::AbortedHere),
    ])
    .unwrap();
    assert_eq!(stop.evidence, Evidence::UsedRefusedContext);
    assert_eq!(stop.classes[0].rule, "rule 1 (raw data)");
}

#[test]
fn storage_commitment_is_no_class_that_a_sender_stops_at() {
    let facts = [
        opened(&[(CT, 0), ("1.2.840.10008.1.20.1", 3)]),
        taken(),
        ended(AssociationEnd::Aborted),
    ];
    assert_eq!(judged(&facts), None);
}
