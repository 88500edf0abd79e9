use super::super::whole::SentStudy;
use super::*;

fn ended(number: u8) -> Fact {
    Fact::AssociationEnded(AssociationEnded {
        association: association(number),
        how: AssociationEnd::Released,
        at: at(100),
    })
}

fn held(delivery: u8) -> Fact {
    Fact::InstanceReceived(Box::new(InstanceReceived {
        held_by: Some("rule 1".to_owned()),
        ..instance(delivery, "1.9")
    }))
}

#[test]
fn a_study_that_was_sent_counts_what_goes_and_knows_whether_an_association_is_open() {
    let before = [
        opened(1, &[(CT, 0)]),
        received(1, "1.1"),
        received(2, "1.2"),
        received(3, "1.1"),
        held(4),
    ];
    let projection = projected(&before);
    let sent = |is_open| SentStudy {
        to: "st-mary/PACS_B".to_owned(),
        study: "1.2.3".to_owned(),
        last_received: at(4),
        deliveries: 3,
        is_open,
    };
    assert_eq!(projection.sent_studies(at(0), at(0)).unwrap(), [sent(true)]);
    // An association of an earlier life of this edge is over.
    assert_eq!(projection.sent_studies(at(0), at(50)).unwrap(), [sent(false)]);
    assert_eq!(projection.sent_studies(at(1_000), at(0)).unwrap(), []);
    let all = [before.as_slice(), &[ended(1)]].concat();
    assert_eq!(projected(&all).sent_studies(at(0), at(0)).unwrap(), [sent(false)]);
}

#[test]
fn what_has_come_of_a_study_is_counted_for_one_site_and_one_destination() {
    let arrived = |delivery: u8, site: &str, to: &str, study: &str| {
        let InstanceReceived {
            sop_class,
            sop_instance,
            transfer_syntax,
            sha256,
            ..
        } = instance(delivery, &format!("1.{delivery}"));
        Fact::Arrived(Box::new(Arrived {
            delivery: id(delivery),
            from_site: site.parse().unwrap(),
            to_ae_title: to.parse().unwrap(),
            sop_class,
            sop_instance,
            study: Some(study.to_owned()),
            series: None,
            modality: None,
            transfer_syntax,
            length: 1,
            sha256,
            declared: None,
            identity: Identity::default(),
            at: at(delivery.into()),
            priority: None,
        }))
    };
    let projection = projected(&[
        arrived(1, "clinic-a", "PACS_B", "1.2.3"),
        arrived(2, "clinic-a", "PACS_B", "1.2.3"),
        outcome(2, Some(0), 10),
        arrived(3, "clinic-a", "PACS_C", "1.2.3"),
        arrived(4, "clinic-b", "PACS_B", "1.2.3"),
        arrived(5, "clinic-a", "PACS_B", "1.2.4"),
    ]);
    let came = |site: &str, study| {
        let (site, to) = (site.parse::<SiteName>().unwrap(), "PACS_B".parse().unwrap());
        projection.arrived_of(&site, &to, study).unwrap()
    };
    assert_eq!(
        [
            came("clinic-a", "1.2.3"),
            came("clinic-b", "1.2.3"),
            came("clinic-c", "1.2.3")
        ],
        [2, 1, 0]
    );
}
