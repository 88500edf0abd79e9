use super::*;

fn id(byte: u8) -> DeliveryId {
    DeliveryId::from_bytes([byte; 16])
}

fn at(micros: i64) -> WallTime {
    WallTime::from_unix_micros(micros)
}

fn round(fact: &Fact) -> Fact {
    Fact::from_bytes(&fact.to_bytes().unwrap()).unwrap()
}

fn received() -> InstanceReceived {
    InstanceReceived {
        delivery: id(1),
        origin: Origin::Send,
        route: "ST_MARY".parse().unwrap(),
        to_site: "st-mary".parse().unwrap(),
        to_ae_title: "PACS_B".parse().unwrap(),
        source: "PACS_A".to_owned(),
        sop_class: "1.2.840.10008.5.1.4.1.1.2".parse().unwrap(),
        sop_instance: "1.2.3".parse().unwrap(),
        study: None,
        series: None,
        modality: Some("CT".to_owned()),
        transfer_syntax: "1.2.840.10008.1.2.1".parse().unwrap(),
        length: u64::MAX,
        sha256: Digest::from_bytes([2; 32]),
        declared: Some(4),
        identity: Identity::default(),
        at: at(-1),
        repeat: true,
        replaces: Some(id(9)),
        held_by: Some("rule 1".to_owned()),
        details: ReceivedDetails::default(),
        priority: Some(Priority::Stat),
    }
}

#[test]
fn version_1_is_written_as_it_was() {
    let custody = CustodyReceived {
        delivery: id(0xAB),
        by: "st-mary".parse().unwrap(),
        at: at(7),
    };
    let bytes = Fact::CustodyReceived(custody).to_bytes().unwrap();
    let expected = format!(
        r#"{{"v":1,"kind":"custody-received","delivery":"{}","by":"st-mary","at":7}}"#,
        "ab".repeat(16)
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

fn opened() -> AssociationOpened {
    AssociationOpened {
        association: AssociationId::from_bytes([3; 16]),
        source: "PACS_A".to_owned(),
        calling: "PACS_A".parse().unwrap(),
        called: "ST_MARY".parse().unwrap(),
        peer: "10.0.0.5".to_owned(),
        at: at(1),
        contexts: vec![ContextFact {
            class: "1.2.840.10008.5.1.4.1.1.66".parse().unwrap(),
            syntaxes: 2,
            result: 3,
            rule: "rule 1".to_owned(),
        }],
    }
}

fn refused() -> InstanceRefused {
    InstanceRefused {
        origin: Origin::Association(AssociationId::from_bytes([3; 16])),
        route: "ST_MARY".parse().unwrap(),
        source: "PACS_A".to_owned(),
        sop_class: "1.2".to_owned(),
        sop_instance: String::new(),
        study: None,
        status: 0x0122,
        rule: "rule 1".to_owned(),
        at: at(2),
    }
}

fn arrived() -> Arrived {
    Arrived {
        delivery: id(1),
        from_site: "clinic-a".parse().unwrap(),
        to_ae_title: "PACS_B".parse().unwrap(),
        sop_class: received().sop_class,
        sop_instance: received().sop_instance,
        study: Some("1.2".to_owned()),
        series: None,
        modality: None,
        transfer_syntax: received().transfer_syntax,
        length: 5,
        sha256: Digest::from_bytes([2; 32]),
        declared: None,
        identity: Identity {
            patient_name: "Müller^Eva".to_owned(),
            ..Identity::default()
        },
        at: at(3),
        priority: None,
    }
}

fn attempted() -> DeliveryAttempted {
    DeliveryAttempted {
        delivery: id(1),
        status: Some(0xA700),
        reason: "no room".to_owned(),
        retry_at: Some(at(9)),
        at: at(4),
    }
}

fn outcome() -> OutcomeKnown {
    OutcomeKnown {
        delivery: id(1),
        status: None,
        reason: Some("no answer".to_owned()),
        sha256: Digest::from_bytes([2; 32]),
        at: at(5),
        converted: Some(Conversion {
            transfer_syntax: "1.2.840.10008.1.2.1".parse().unwrap(),
            sha256: Digest::from_bytes([3; 32]),
        }),
    }
}

#[test]
fn every_kind_reads_back_as_it_was_written() {
    let association = AssociationId::from_bytes([3; 16]);
    let (delivery, by, at) = (id(1), "rule 1".to_owned(), at(1));
    let facts = [
        Fact::AssociationOpened(opened()),
        Fact::AssociationEnded(AssociationEnded {
            association,
            how: AssociationEnd::Lost,
            at,
        }),
        Fact::InstanceReceived(Box::new(received())),
        Fact::InstanceRefused(refused()),
        Fact::RefusedContextUsed(RefusedContextUsed {
            association,
            class: "1.2".to_owned(),
            at,
        }),
        Fact::CustodyReceived(CustodyReceived {
            delivery,
            by: "st-mary".parse().unwrap(),
            at,
        }),
        Fact::Arrived(Box::new(arrived())),
        Fact::ArrivedUnread(ArrivedUnread {
            delivery,
            from_site: "clinic-a".parse().unwrap(),
            length: 5,
            reason: by.clone(),
            at,
        }),
        Fact::DeliveryAttempted(attempted()),
        Fact::OutcomeKnown(outcome()),
        Fact::Failed(Failed {
            delivery,
            reason: by.clone(),
            at,
        }),
        Fact::Held(Held {
            delivery,
            by: by.clone(),
            at,
        }),
        Fact::Released(Released {
            delivery,
            by: by.clone(),
            at,
        }),
        Fact::Reopened(Reopened {
            delivery,
            by: by.clone(),
            at,
        }),
        Fact::Discarded(Discarded {
            delivery,
            by: by.clone(),
            at,
            reason: None,
        }),
        Fact::Resent(Resent { delivery, by, at }),
        Fact::Noticed(Box::new(Noticed {
            notice: delivery,
            about: "late".to_owned(),
            key: "1.2/stat".to_owned(),
            what: "3 of study 1.2 are late".to_owned(),
            remedy: String::new(),
            fields: serde_json::Map::from_iter([("count".to_owned(), 3.into())]),
            at,
        })),
        Fact::NoticeTold(NoticeTold {
            notice: delivery,
            channel: "ops".to_owned(),
            failure: Some("answered 500".to_owned()),
            at,
        }),
    ];
    for fact in facts {
        assert_eq!(round(&fact), fact);
    }
}

#[test]
fn a_kind_or_version_of_later_survives_byte_for_byte() {
    for text in [r#"{"v":1, "kind":"new-kind","x":[1]}"#, r#"{"v":2,"kind":"held"}"#] {
        let fact = Fact::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(fact, Fact::Unknown(text.as_bytes().into()));
        assert_eq!(fact.to_bytes().unwrap(), text.as_bytes());
    }
}

#[test]
fn a_field_of_later_is_passed_over_and_a_missing_optional_one_is_its_default() {
    let text = String::from_utf8(Fact::InstanceReceived(Box::new(received())).to_bytes().unwrap()).unwrap();
    let newer = text.replace(r#""repeat":true,"#, r#""of_later":{"a":1},"#);
    assert_ne!(newer, text);
    let Fact::InstanceReceived(read) = Fact::from_bytes(newer.as_bytes()).unwrap() else {
        panic!("another kind")
    };
    assert_eq!(
        *read,
        InstanceReceived {
            repeat: false,
            ..received()
        }
    );
}

#[test]
fn a_way_to_end_of_later_is_unknown_and_not_an_error() {
    let text = format!(
        r#"{{"v":1,"kind":"association-ended","association":"{}","how":"melted","at":1}}"#,
        "03".repeat(16)
    );
    let Fact::AssociationEnded(ended) = Fact::from_bytes(text.as_bytes()).unwrap() else {
        panic!("another kind")
    };
    assert_eq!(ended.how, AssociationEnd::Unknown);
}

#[test]
fn garbage_and_what_is_too_long_are_refused() {
    assert!(matches!(Fact::from_bytes(b"\xff"), Err(FactError::Malformed(_))));
    assert!(matches!(
        Fact::from_bytes(br#"{"v":1,"kind":"held"}"#),
        Err(FactError::Malformed(_))
    ));
    let long = vec![b' '; FACT_LEN_MAX + 1];
    assert!(matches!(Fact::from_bytes(&long), Err(FactError::TooLong { .. })));
}
