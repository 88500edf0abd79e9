use packhorse_dicom::negotiation::Proposal;
use packhorse_dicom::status::Status;

use super::*;
use crate::ingest::{Sent, send_one};
use crate::testing::{Edge, eventually, proposal};

fn toml(hold: &str, limits: &str) -> String {
    format!(
        "[[route]]\ncalled_ae_title = \"ROUTE\"\nto = \"b/PACS\"\n\
         [[rule]]\nname = \"wait\"\noutcome = \"hold\"\n{hold}\n{limits}\n"
    )
}

fn sent<'a>(proposal: &'a Proposal, instance: &'a str) -> Sent<'a> {
    Sent {
        proposal,
        instance,
        patient: "4711",
        pixels: "pixl",
    }
}

async fn held(edge: &Edge) -> (u64, u64) {
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let held = edge
        .shared
        .ledger(|projection| projection.held_by_rules())
        .await
        .unwrap()
        .unwrap();
    held.first().map_or((0, 0), |held| (held.instances, held.bytes))
}

#[tokio::test]
async fn over_the_quota_of_a_rule_the_answer_is_a700_and_what_is_released_makes_room() {
    let edge = Edge::new("a", &toml("quota = \"150B\"", ""));
    let proposal = proposal("PACS_A", "ROUTE");
    let first = send_one(&edge.shared, &sent(&proposal, "1.1")).await;
    let (instances, bytes) = held(&edge).await;
    assert_eq!((first.status, instances), (Status::SUCCESS, 1));
    assert!(bytes * 2 <= 150 && bytes * 4 > 150, "{bytes}");
    for instance in ["1.2", "1.3", "1.4"] {
        send_one(&edge.shared, &sent(&proposal, instance)).await;
    }
    let over = send_one(&edge.shared, &sent(&proposal, "1.5")).await;
    assert_eq!(over.status, Status::OUT_OF_RESOURCES);
    assert_eq!(
        over.comment.as_deref(),
        Some("rule 1: quota of held instances is used up")
    );
    let (instances, bytes) = held(&edge).await;
    assert!(bytes <= 150, "{bytes}");
    let page = edge
        .shared
        .spool
        .page(0, packhorse_spool::Filter::default(), 10)
        .await
        .unwrap();
    let deliveries: Vec<_> = page.iter().map(|(_, entry)| entry.routing.delivery).collect();
    assert_eq!(deliveries.len() as u64, instances);
    let released = |delivery: &DeliveryId| {
        let (delivery, by, at) = (*delivery, "root".to_owned(), edge.shared.clock.now());
        fact_bytes(&Fact::Released(packhorse_ledger::fact::Released { delivery, by, at }))
    };
    let facts = deliveries.iter().filter_map(released).collect();
    edge.shared
        .spool
        .reopen(edge.shared.epoch, deliveries, facts)
        .await
        .unwrap();
    eventually("room", async || {
        send_one(&edge.shared, &sent(&proposal, "1.6")).await.status == Status::SUCCESS
    })
    .await;
}

#[tokio::test]
async fn the_ledger_is_not_asked_for_every_instance_over_a_quota() {
    let edge = Edge::new("a", &toml("quota = \"150B\"", ""));
    let asked = async || edge.shared.holds.renew_now_and_then(&edge.shared).await;
    assert_eq!((asked().await, asked().await), (true, false));
    eventually("the next time", async || asked().await).await;
}

#[tokio::test]
async fn over_the_limit_for_all_rules_the_answer_is_a700_too() {
    let edge = Edge::new("a", &toml("", "[limits]\nheld = \"100B\""));
    let proposal = proposal("PACS_A", "ROUTE");
    let mut answers = Vec::new();
    for instance in ["1.1", "1.2", "1.3", "1.4"] {
        answers.push(send_one(&edge.shared, &sent(&proposal, instance)).await.status);
    }
    assert_eq!(answers[0], Status::SUCCESS);
    assert_eq!(answers[3], Status::OUT_OF_RESOURCES);
}

#[tokio::test]
async fn a_hold_that_has_ended_is_discarded_by_its_rule_and_one_by_a_person_is_not() {
    let edge = Edge::new("a", &toml("hold = \"1s\"", ""));
    let proposal = proposal("PACS_A", "ROUTE");
    for instance in ["1.1", "1.2"] {
        assert_eq!(
            send_one(&edge.shared, &sent(&proposal, instance)).await.status,
            Status::SUCCESS
        );
    }
    let page = edge
        .shared
        .spool
        .page(0, packhorse_spool::Filter::default(), 10)
        .await
        .unwrap();
    let (by_rule, by_person) = (page[0].1.routing.delivery, page[1].1.routing.delivery);
    let operator = HeldBy::Operator("root".to_owned()).settlement();
    edge.shared
        .spool
        .settle(edge.shared.epoch, vec![(by_person, operator)], Vec::new())
        .await
        .unwrap();
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    eventually("an end", async || end(&edge.shared).await.unwrap() == 1).await;
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let view = edge
        .shared
        .ledger(move |projection| projection.delivery(by_rule))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(view.state, packhorse_ledger::State::Discarded);
    let reason = view.reason.unwrap();
    assert!(
        reason.starts_with("discarded: rule 1 (wait): held 1 second"),
        "{reason}"
    );
    let left = edge.shared.spool.entry(by_person).await.unwrap().unwrap();
    assert_eq!(left.state, EntryState::Held);
    assert_eq!(edge.shared.spool.entry(by_rule).await.unwrap(), None);
}

#[tokio::test]
async fn a_long_hold_is_told_a_day_before_its_end() {
    let edge = Edge::new("a", &toml("hold = \"30d\"", ""));
    let proposal = proposal("PACS_A", "ROUTE");
    send_one(&edge.shared, &sent(&proposal, "1.1")).await;
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let day = Duration::from_secs(86_400);
    let from = edge.shared.clock.now();
    let ending = |days: u32| {
        edge.shared.ledger(move |projection| {
            let from = from.saturating_add(day * days);
            projection
                .holds_ending(from, from.saturating_add(day), day)
                .unwrap()
                .len()
        })
    };
    assert_eq!(
        (ending(0).await, ending(28).await, ending(29).await),
        (Some(0), Some(0), Some(1))
    );
}

#[test]
fn spans_are_told_in_their_largest_unit() {
    let words = [1, 119, 7_200, 30 * 86_400].map(|seconds: i64| in_words(seconds * 1_000_000));
    assert_eq!(words, ["1 second", "1 minute", "2 hours", "30 days"]);
}
