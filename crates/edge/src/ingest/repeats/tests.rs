use packhorse_dicom::negotiation::Proposal;
use packhorse_dicom::status::Status;
use packhorse_ledger::view::DeliveryView;
use packhorse_spool::{Filter, Settlement};

use super::*;
use crate::ingest::testing::{Sent, send_one, send_with};
use crate::testing::{Edge, proposal};

const TOML: &str = "[[route]]\ncalled_ae_title = \"ROUTE\"\nto = \"b/PACS\"\n";

async fn send(edge: &Edge, proposal: &Proposal, patient: &str, pixels: &str) {
    let sent = Sent {
        proposal,
        instance: "1.2.34",
        patient,
        pixels,
    };
    assert_eq!(send_one(&edge.shared, &sent).await.status, Status::SUCCESS);
    crate::ledger::catch_up(&edge.shared).await.unwrap();
}

async fn entries(edge: &Edge) -> Vec<Entry> {
    let page = edge.shared.spool.page(0, Filter::default(), 10).await.unwrap();
    page.into_iter().map(|(_, entry)| entry).collect()
}

async fn views(edge: &Edge) -> Vec<DeliveryView> {
    let accounts = edge.shared.ledger(|projection| projection.study("1.2.3", 10)).await;
    accounts.unwrap().unwrap().remove(0).instances
}

fn compared(view: &DeliveryView) -> Option<&str> {
    view.compared.as_deref()
}

#[tokio::test]
async fn a_repeat_of_what_waits_joins_it_and_is_delivered_once() {
    let (edge, proposal) = (Edge::new("a", TOML), proposal("PACS_A", "ROUTE"));
    for _ in 0..3 {
        send(&edge, &proposal, "4711", "pixl").await;
    }
    assert_eq!(entries(&edge).await.len(), 1);
    let views = views(&edge).await;
    assert_eq!((views.len(), views[0].joined), (1, 2));
    // It can be claimed: the leases are given back.
    let queue = crate::shared::queue(LINK_QUEUE);
    let claimed = edge
        .shared
        .spool
        .claim(edge.shared.epoch, &queue, 10, LEASE)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
}

#[tokio::test]
async fn other_bytes_replace_what_waits_and_both_hashes_are_kept() {
    let (edge, proposal) = (Edge::new("a", TOML), proposal("PACS_A", "ROUTE"));
    send(&edge, &proposal, "4711", "pixl").await;
    send(&edge, &proposal, "0815", "pixl").await;
    let (entries, views) = (entries(&edge).await, views(&edge).await);
    assert_eq!(entries.len(), 1);
    assert_eq!(views.len(), 2);
    assert_eq!(views[0].state, State::Discarded);
    assert_eq!(
        views[0].reason.as_deref(),
        Some("discarded: replaced: resent, header changed")
    );
    assert_eq!(
        (views[1].state, compared(&views[1])),
        (State::InFlight, Some("header changed"))
    );
    assert_eq!(views[1].replaces.as_deref(), Some(views[0].delivery.as_str()));
    assert_ne!(views[0].sha256, views[1].sha256);
    assert_eq!(views[1].delivery, entries[0].routing.delivery.to_string());
}

#[tokio::test]
async fn other_pixels_are_told_from_another_header() {
    let (edge, proposal) = (Edge::new("a", TOML), proposal("PACS_A", "ROUTE"));
    send(&edge, &proposal, "4711", "pixl").await;
    send(&edge, &proposal, "4711", "PIXL").await;
    assert_eq!(compared(&views(&edge).await[1]), Some("pixels changed"));
}

/// What the relay has acknowledged, or takes right now.
#[tokio::test]
async fn a_repeat_of_what_has_left_is_a_delivery_of_its_own() {
    for is_acked in [true, false] {
        let (edge, proposal) = (Edge::new("a", TOML), proposal("PACS_A", "ROUTE"));
        send(&edge, &proposal, "4711", "pixl").await;
        let queue = crate::shared::queue(LINK_QUEUE);
        let claimed = edge
            .shared
            .spool
            .claim(edge.shared.epoch, &queue, 1, LEASE)
            .await
            .unwrap();
        if is_acked {
            let again = edge.shared.clock.now().saturating_add(LEASE);
            let settlements = vec![(claimed[0].routing.delivery, Settlement::Acked { again })];
            edge.shared
                .spool
                .settle(edge.shared.epoch, settlements, Vec::new())
                .await
                .unwrap();
        }
        send(&edge, &proposal, "4711", "pixl").await;
        let views = views(&edge).await;
        assert_eq!((entries(&edge).await.len(), views.len()), (2, 2), "{is_acked}");
        assert_eq!((views[1].repeat, compared(&views[1])), (true, Some("same")));
    }
}

#[tokio::test]
async fn two_that_come_faster_than_the_ledger_are_both_kept() {
    let (edge, proposal) = (Edge::new("a", TOML), proposal("PACS_A", "ROUTE"));
    let sent = Sent {
        proposal: &proposal,
        instance: "1.2.34",
        patient: "4711",
        pixels: "pixl",
    };
    for _ in 0..2 {
        assert_eq!(send_one(&edge.shared, &sent).await.status, Status::SUCCESS);
    }
    assert_eq!(entries(&edge).await.len(), 2);
}

#[tokio::test]
async fn what_replaces_a_held_instance_is_held_as_well() {
    let rule = "[[rule]]\nname = \"wait\"\noutcome = \"hold\"\n";
    let (edge, proposal) = (Edge::new("a", &format!("{TOML}{rule}")), proposal("PACS_A", "ROUTE"));
    send(&edge, &proposal, "4711", "pixl").await;
    send(&edge, &proposal, "4711", "pixl").await;
    send(&edge, &proposal, "0815", "pixl").await;
    let entries = entries(&edge).await;
    assert_eq!(
        entries.iter().map(|entry| entry.state).collect::<Vec<_>>(),
        [EntryState::Held]
    );
    let views = views(&edge).await;
    assert_eq!((views[0].joined, views[1].state), (1, State::Held));
}

/// The rule that held it has been changed since, or is gone.
#[tokio::test]
async fn what_is_sent_again_is_held_by_the_rules_of_now_or_by_the_person_who_held_it() {
    let root = HeldBy::Operator("root".to_owned());
    let (old, now) = (
        HeldBy::Rule("rule 9 (gone)".to_owned()),
        HeldBy::Rule("rule 1 (wait)".to_owned()),
    );
    let rule = "[[rule]]\nname = \"wait\"\noutcome = \"hold\"\n";
    for (rule, held_by, patient, expected) in [
        ("", &old, "4711", None),
        ("", &old, "0815", None),
        ("", &root, "4711", Some(&root)),
        ("", &root, "0815", Some(&root)),
        (rule, &old, "4711", Some(&now)),
        (rule, &old, "0815", Some(&now)),
    ] {
        let (edge, proposal) = (Edge::new("a", &format!("{TOML}{rule}")), proposal("PACS_A", "ROUTE"));
        send(&edge, &proposal, "4711", "pixl").await;
        let settlements = vec![(entries(&edge).await[0].routing.delivery, held_by.settlement())];
        let settled = edge.shared.spool.settle(edge.shared.epoch, settlements, Vec::new());
        settled.await.unwrap();
        send(&edge, &proposal, patient, "pixl").await;
        let entries = entries(&edge).await;
        let holders: Vec<_> = entries.iter().map(holder).collect();
        assert_eq!(holders, [expected.cloned()], "{held_by:?}, {patient}, {rule}");
    }
}

#[tokio::test]
async fn high_is_stat_only_from_a_source_that_is_trusted_with_it() {
    for (trust, priority, expected) in [
        ("true", 1, Priority::Stat),
        ("true", 2, Priority::Routine),
        ("true", 0, Priority::Routine),
        ("false", 1, Priority::Routine),
    ] {
        let source = format!(
            "[[source]]\nname = \"PACS A\"\nae_titles = [\"PACS_A\"]\nhosts = [\"127.0.0.1\"]\ntrust_dimse_priority = {trust}\n"
        );
        let (edge, proposal) = (Edge::new("a", &format!("{source}{TOML}")), proposal("PACS_A", "ROUTE"));
        let sent = Sent {
            proposal: &proposal,
            instance: "1.2.34",
            patient: "4711",
            pixels: "pixl",
        };
        send_with(&edge.shared, &sent, priority).await;
        assert_eq!(
            entries(&edge).await[0].routing.priority,
            expected,
            "{trust}, {priority}"
        );
    }
}

#[tokio::test]
async fn a_more_urgent_repeat_replaces_what_waits() {
    let source = "[[source]]\nname = \"PACS A\"\nae_titles = [\"PACS_A\"]\nhosts = [\"127.0.0.1\"]\ntrust_dimse_priority = true\n";
    let (edge, proposal) = (Edge::new("a", &format!("{source}{TOML}")), proposal("PACS_A", "ROUTE"));
    send(&edge, &proposal, "4711", "pixl").await;
    let sent = Sent {
        proposal: &proposal,
        instance: "1.2.34",
        patient: "4711",
        pixels: "pixl",
    };
    send_with(&edge.shared, &sent, 1).await;
    let entries = entries(&edge).await;
    assert_eq!(
        entries.iter().map(|entry| entry.routing.priority).collect::<Vec<_>>(),
        [Priority::Stat]
    );
}
