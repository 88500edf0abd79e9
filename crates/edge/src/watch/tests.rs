use packhorse_ledger::fact::{AssociationEnd, AssociationEnded, AssociationOpened, ContextFact};
use packhorse_policy::Engine;
use packhorse_policy::config::RawRule;
use serde::Deserialize;

use super::*;
use crate::shared::draw;
use crate::testing::{Edge, title};

const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";

#[derive(Deserialize)]
struct Rules {
    rule: Vec<RawRule>,
}

#[test]
fn the_rule_to_paste_is_a_rule_whatever_the_names() {
    let at = StoppedAt {
        class: RAW.to_owned(),
        rule: "rule 1".to_owned(),
    };
    let text = hold_rule("the \"new\" CT", "PACS\"A", "ST_MARY", &[at]);
    let rules: Rules = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(rules.rule[0].source, ["PACS\"A"]);
    assert_eq!(
        (rules.rule[0].class[0].as_str(), rules.rule[0].outcome.as_str()),
        (RAW, "hold")
    );
    let ends = (rules.rule[0].hold.as_deref(), rules.rule[0].quota.as_deref());
    assert_eq!(ends, (Some("30d"), Some("20GiB")));
    let route = packhorse_policy::config::RawRoute {
        called_ae_title: "ST_MARY".to_owned(),
        to: "b/PACS".to_owned(),
        ..Default::default()
    };
    assert!(Engine::new(&[], &[route], &rules.rule).is_ok());
}

async fn commit(edge: &Edge, facts: &[Fact]) {
    let facts = facts.iter().filter_map(fact_bytes).collect();
    edge.shared
        .spool
        .commit(edge.shared.epoch, Vec::new(), facts)
        .await
        .unwrap();
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    look(&edge.shared).await.unwrap();
}

/// An association on which nothing but a refused class was proposed, and how it ended.
fn refused_association(how: AssociationEnd) -> [Fact; 2] {
    let (association, at) = (draw::association(), WallTime::from_unix_micros(1));
    let context = ContextFact {
        class: RAW.parse().unwrap(),
        syntaxes: 1,
        result: 3,
        rule: "rule 1".to_owned(),
    };
    let opened = AssociationOpened {
        association,
        source: "CT 1".to_owned(),
        calling: title("PACS_A"),
        called: title("ROUTE"),
        peer: "10.0.0.5".to_owned(),
        at,
        contexts: vec![context],
    };
    let ended = AssociationEnded { association, how, at };
    [Fact::AssociationOpened(opened), Fact::AssociationEnded(ended)]
}

#[test]
fn many_refused_classes_are_one_notice_that_names_three() {
    let classes: Vec<StoppedAt> = ["1.9.1", "1.9.2", "1.9.3", "1.9.4", "1.9.5"]
        .map(|class| StoppedAt {
            class: class.to_owned(),
            rule: "rule 1".to_owned(),
        })
        .to_vec();
    let who = ("CT 1", "PACS_A", "ROUTE");
    let notice = classes_refused(who, "a1", &classes);
    assert_eq!(
        notice.what,
        "1.9.1, 1.9.2, 1.9.3 and 2 more are refused to CT 1 (PACS_A) on ROUTE, by rule 1"
    );
    assert_eq!(notice.fields["classes"].as_array().unwrap().len(), 5);
    let notice = not_taken(who, &classes);
    assert!(
        notice
            .what
            .starts_with("the destination does not take 5 classes that CT 1"),
        "{}",
        notice.what
    );
    assert_eq!(notice.key, not_taken(who, &classes[..1]).key, "once for a route");
}

#[tokio::test]
async fn what_is_noticed_is_told_once() {
    let edge = Edge::new("a", "");
    commit(&edge, &refused_association(AssociationEnd::Aborted)).await;
    let left = edge
        .shared
        .ledger(|projection| projection.noticed(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(left, []);
    let sources = edge
        .shared
        .ledger(|projection| projection.sources())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(sources[0].refused[0].uid, RAW);
}
