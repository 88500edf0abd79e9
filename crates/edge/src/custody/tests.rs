use packhorse_daemon::admin::{AdminError, Caller};
use packhorse_ids::{Digest, Kind, SiteName};
use packhorse_ledger::Receipt;
use packhorse_ledger::fact::{DeliveryAttempted, OutcomeKnown};
use serde_json::{Value, json};

use super::*;
use crate::admin::Door;
use crate::messages::Message;
use crate::messages::receipts::Receipts;
use crate::testing::{Edge, Sent, envelope, parcel, parcel_of, site, title};

const B: &str = "[[destination]]\nae_title = \"PACS_B\"\naddress = \"h:1\"\ncalling_ae_title = \"US\"\n\
                 accept_from = [\"a\"]\n";
const A: &str = "[[route]]\ncalled_ae_title = \"ROUTE\"\nto = \"b/PACS\"\n";
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
const HELD: Option<EntryState> = Some(EntryState::Held);
const READY: Option<EntryState> = Some(EntryState::Ready);
const FAILED: Option<EntryState> = Some(EntryState::Failed);

async fn tried(edge: &Edge, command: &str, args: Value) -> Result<Value, AdminError> {
    let door = Door {
        shared: std::sync::Arc::clone(&edge.shared),
        is_daemon: true,
    };
    door.answer(command, &args).await
}

async fn told(edge: &Edge, command: &str, args: Value) -> Value {
    tried(edge, command, args).await.unwrap()
}

async fn states<const N: usize>(edge: &Edge, deliveries: [DeliveryId; N]) -> [Option<EntryState>; N] {
    let mut states = [None; N];
    for (state, delivery) in states.iter_mut().zip(deliveries) {
        *state = edge
            .shared
            .spool
            .entry(delivery)
            .await
            .unwrap()
            .map(|entry| entry.state);
    }
    states
}

async fn settle(edge: &Edge, delivery: DeliveryId, settlement: Settlement, fact: Option<Fact>) {
    let facts = fact.iter().filter_map(fact_bytes).collect();
    let shared = &edge.shared;
    shared
        .spool
        .settle(shared.epoch, vec![(delivery, settlement)], facts)
        .await
        .unwrap();
}

fn outcome(edge: &Edge, delivery: DeliveryId, status: u16) -> Fact {
    Fact::OutcomeKnown(OutcomeKnown {
        delivery,
        status: Some(status),
        reason: None,
        sha256: Digest::from_bytes([1; 32]),
        at: edge.shared.clock.now(),
        converted: None,
    })
}

async fn arrived(edge: &Edge, from: &str, class: &'static str, study: &str) -> DeliveryId {
    let sent = Sent {
        class,
        ..Sent::of(&format!("1.2.{}", rand::random::<u32>()), "", study)
    };
    edge.arrive(parcel_of(&site(from), &edge.shared.site, "PACS_B", &sent))
        .await
}

/// An instance that the PACS has refused with `status`.
async fn failed(edge: &Edge, from: &str, class: &'static str, study: &str, status: u16) -> DeliveryId {
    let delivery = arrived(edge, from, class, study).await;
    let note = "refused".to_owned();
    settle(
        edge,
        delivery,
        Settlement::Failed { note },
        Some(outcome(edge, delivery, status)),
    )
    .await;
    delivery
}

async fn delivered(edge: &Edge, from: &str, study: &str) -> DeliveryId {
    let delivery = arrived(edge, from, CT, study).await;
    settle(edge, delivery, Settlement::Kept, Some(outcome(edge, delivery, 0))).await;
    delivery
}

async fn account(edge: &Edge, study: &str) -> Value {
    let accounts = told(edge, "study", json!({ "uid": study })).await;
    accounts["accounts"][0].clone()
}

/// The receipts that are owed for everything so far.
async fn receipts(edge: &Edge) -> Vec<Receipt> {
    let mut receipts = Receipts::default();
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    receipts.keep_up(&edge.shared).await.unwrap();
    receipts.send(&edge.shared).await.unwrap();
    let batches = edge.sent().await.into_iter().filter_map(|(_, message)| match message {
        Message::Receipts { batch, .. } => Some(batch.receipts),
        _ => None,
    });
    batches.flatten().collect()
}

fn me() -> String {
    format!("operator {}", Caller::own().name())
}

#[tokio::test]
async fn retry_takes_what_every_selector_says_and_nothing_else() {
    let edge = Edge::new("b", B);
    let ct = failed(&edge, "a", CT, "1.1", 0xA900).await;
    let raw = failed(&edge, "a", RAW, "1.1", 0xC000).await;
    let other = failed(&edge, "x", CT, "1.2", 0xA900).await;
    let listed = told(&edge, "failed", Value::Null).await;
    let rows = listed["failed"].as_array().unwrap();
    let row = rows.iter().find(|row| row["delivery"] == ct.to_string()).unwrap();
    let dry = async |args: Value| {
        let mut args = args;
        args["dry_run"] = json!(true);
        told(&edge, "retry", args).await["done"].as_u64().unwrap()
    };
    assert_eq!(dry(json!({})).await, 3);
    assert_eq!(dry(json!({ "study": "1.1" })).await, 2);
    assert_eq!(dry(json!({ "instance": row["sop_instance"] })).await, 1);
    assert_eq!(dry(json!({ "class": RAW })).await, 1);
    assert_eq!(dry(json!({ "class": "RawDataStorage" })).await, 1);
    assert_eq!(dry(json!({ "class": "images" })).await, 2);
    assert_eq!(dry(json!({ "status": "A9xx" })).await, 2);
    assert_eq!(dry(json!({ "to": "PACS_B" })).await, 3);
    assert_eq!(dry(json!({ "from": "x" })).await, 1);
    assert_eq!(dry(json!({ "from": "a", "status": "A900", "study": "1.1" })).await, 1);
    assert_eq!(dry(json!({ "from": "a", "status": "A900", "study": "1.2" })).await, 0);
    assert_eq!(dry(json!({ "deliveries": [other.to_string()] })).await, 1);
    assert_eq!(
        states(&edge, [ct, raw, other]).await,
        [FAILED; 3],
        "nothing is done yet"
    );
    let answer = told(&edge, "retry", json!({ "study": "1.1", "class": "images" })).await;
    let study = json!([{ "study": "1.1", "from": "a", "to": "PACS_B", "instances": 1 }]);
    assert_eq!((&answer["done"], &answer["studies"]), (&json!(1), &study), "{answer}");
    assert_eq!(states(&edge, [ct, raw, other]).await, [READY, FAILED, FAILED]);
    let retried = account(&edge, "1.1").await;
    assert_eq!(retried["summary"]["account"]["in_flight"], 1);
    assert_eq!(
        retried["instances"][0]["handled"][0]["what"], "tried again",
        "{retried}"
    );
}

#[tokio::test]
async fn one_that_waits_for_its_next_try_is_tried_now_and_what_is_under_way_is_left_alone() {
    let edge = Edge::new("b", B);
    let now = edge.shared.clock.now();
    let waiting = arrived(&edge, "a", CT, "1.1").await;
    let under_way = arrived(&edge, "a", CT, "1.1").await;
    let at = now.saturating_add(Duration::from_secs(1000));
    let attempted = DeliveryAttempted {
        delivery: waiting,
        status: Some(0xC001),
        reason: "answered C001".to_owned(),
        retry_at: Some(at),
        at: now,
    };
    let note = "answered C001".to_owned();
    settle(
        &edge,
        waiting,
        Settlement::Retry { at, note },
        Some(Fact::DeliveryAttempted(attempted)),
    )
    .await;
    let answer = told(&edge, "retry", json!({ "study": "1.1" })).await;
    assert_eq!((&answer["done"], &answer["not"]), (&json!(1), &json!([])), "{answer}");
    assert!(edge.shared.spool.entry(waiting).await.unwrap().unwrap().due <= now);
    let named = told(&edge, "retry", json!({ "deliveries": [under_way.to_string()] })).await;
    assert_eq!(named["not"][0]["why"], "it is under way");
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_said_and_nothing_is_done() {
    let edge = Edge::new("b", B);
    failed(&edge, "a", CT, "1.1", 0xA900).await;
    let long = "x".repeat(201);
    for (command, args, said) in [
        ("hold", json!({}), "say which"),
        ("release", json!({}), "say which"),
        ("discard", json!({ "reason": "x", "yes": true }), "say which"),
        ("resend", json!({}), "say which"),
        ("retry", json!({ "class": "raw-dta" }), "did you mean \"raw-data\"?"),
        ("retry", json!({ "study": "1.2\u{7}" }), "study"),
        ("retry", json!({ "status": "900" }), "C000, A9xx"),
        ("discard", json!({ "study": "1.1", "yes": true }), "--reason"),
        (
            "discard",
            json!({ "study": "1.1", "yes": true, "reason": "a\nb" }),
            "--reason",
        ),
        (
            "discard",
            json!({ "study": "1.1", "yes": true, "reason": long }),
            "--reason",
        ),
        (
            "discard",
            json!({ "study": "1.1", "reason": "x" }),
            "1 would be discarded, for good: add --yes",
        ),
        (
            "discard",
            json!({ "study": "1.1", "reason": "x", "expect": 2 }),
            "it would be 1, not 2",
        ),
    ] {
        let refused = tried(&edge, command, args).await.unwrap_err();
        assert!(refused.message.contains(said), "{command}: {}", refused.message);
    }
    let nothing = async |command, args| told(&edge, command, args).await["nothing"].clone();
    assert_eq!(nothing("retry", json!({ "study": "1.7" })).await, "no delivery matches");
    let said = nothing("release", json!({ "study": "1.1" })).await;
    assert_eq!(said, "nothing to release matches: it is failed");
    assert_eq!(account(&edge, "1.1").await["summary"]["account"]["failed"], 1);
}

#[tokio::test]
async fn release_lets_go_all_but_what_lacks_consent_and_says_whose_word_that_needs() {
    let edge = Edge::new("b", B);
    let held = arrived(&edge, "a", CT, "1.1").await;
    let unconsented = arrived(&edge, "x", CT, "1.1").await;
    let answer = told(&edge, "hold", json!({ "study": "1.1" })).await;
    assert_eq!(answer["done"], 1, "{answer}");
    assert_eq!(states(&edge, [held, unconsented]).await, [HELD, HELD]);
    // Consent lets go what lacks it, and not what a person holds.
    assert_eq!(crate::consent::release(&edge.shared).await.unwrap(), 0);
    let answer = told(&edge, "release", json!({ "study": "1.1" })).await;
    assert_eq!(
        (&answer["done"], &answer["not_done"]),
        (&json!(1), &json!(1)),
        "{answer}"
    );
    let why = answer["not"][0]["why"].as_str().unwrap();
    assert!(why.ends_with("edge-gateway accept x --for PACS_B"), "{why}");
    assert_eq!(states(&edge, [held, unconsented]).await, [READY, HELD]);
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let view = edge.shared.ledger(move |projection| projection.delivery(held)).await;
    let handled = view.unwrap().unwrap().unwrap().handled;
    let handled: Vec<_> = handled.iter().map(|handled| (&*handled.what, &*handled.by)).collect();
    assert_eq!(handled, [("held", &*me()), ("released", &*me())]);
}

#[tokio::test]
async fn what_a_rule_holds_is_released_by_the_rules_name_or_number() {
    let edge = Edge::new("a", A);
    let (first, second) = (edge.spool_outgoing("b").await, edge.spool_outgoing("b").await);
    for (delivery, rule) in [(first, "rule 1 (raw data)"), (second, "rule 2 (night)")] {
        let (by, at) = (rule.to_owned(), edge.shared.clock.now());
        let held = Fact::Held(Held { delivery, by, at });
        settle(&edge, delivery, HeldBy::Rule(rule.to_owned()).settlement(), Some(held)).await;
    }
    let released = async |rule: &str, dry_run: bool| {
        told(&edge, "release", json!({ "rule": rule, "dry_run": dry_run })).await["done"].clone()
    };
    assert_eq!(released("3", true).await, 0);
    assert_eq!(released("night", true).await, 1);
    assert_eq!(released("1", false).await, 1);
    assert_eq!(states(&edge, [first, second]).await, [READY, HELD]);
}

#[tokio::test]
async fn what_is_being_sent_is_neither_held_nor_discarded() {
    let edge = Edge::new("b", B);
    let shared = &edge.shared;
    let delivery = arrived(&edge, "a", CT, "1.1").await;
    let queue = crate::shared::queue_to(&title("PACS_B"));
    let claimed = shared.spool.claim(shared.epoch, &queue, 1, LEASE).await.unwrap();
    assert_eq!(claimed.len(), 1);
    for (command, args) in [
        ("hold", json!({ "study": "1.1" })),
        ("discard", json!({ "study": "1.1", "reason": "x", "yes": true })),
    ] {
        let answer = told(&edge, command, args).await;
        let expected = (&json!(0), &json!("it is being sent now"));
        assert_eq!((&answer["done"], &answer["not"][0]["why"]), expected);
    }
    shared.spool.unclaim(shared.epoch, vec![delivery]).await.unwrap();
    assert_eq!(told(&edge, "hold", json!({ "study": "1.1" })).await["done"], 1);
}

#[tokio::test]
async fn what_was_handed_to_the_relay_is_discarded_there_or_by_force_and_the_far_sites_word_wins() {
    let edge = Edge::new("a", A);
    let (queued, handed) = (edge.spool_outgoing("b").await, edge.spool_outgoing("b").await);
    let again = edge.shared.clock.now().saturating_add(Duration::from_secs(3600));
    settle(&edge, handed, Settlement::Acked { again }, None).await;
    let args = json!({ "study": "1.2.3", "reason": "wrong patient", "yes": true });
    let answer = told(&edge, "discard", args).await;
    assert_eq!(answer["done"], 1);
    let why = answer["not"][0]["why"].as_str().unwrap();
    assert!(why.contains("discard it at b, or with --force"), "{why}");
    assert_eq!(states(&edge, [queued, handed]).await, [None, Some(EntryState::Acked)]);
    let held = told(&edge, "hold", json!({ "study": "1.2.3" })).await;
    let why = held["not"].as_array().unwrap()[0]["why"].as_str().unwrap();
    assert!(why.contains("run `edge-gateway hold` at b"), "{why}");
    let args = json!({ "study": "1.2.3", "reason": "wrong patient", "expect": 1, "force": true });
    assert_eq!(told(&edge, "discard", args).await["done"], 1);
    assert_eq!(states(&edge, [handed]).await, [None]);
    assert_eq!(account(&edge, "1.2.3").await["summary"]["account"]["discarded"], 2);
    let facts = fact_bytes(&outcome(&edge, handed, 0)).into_iter().collect();
    let shared = &edge.shared;
    shared.spool.settle(shared.epoch, Vec::new(), facts).await.unwrap();
    let sum = account(&edge, "1.2.3").await["summary"]["account"].clone();
    assert_eq!((&sum["discarded"], &sum["delivered"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_discard_tells_the_source_who_did_it_and_why_also_of_what_could_not_be_opened() {
    let edge = Edge::new("b", B);
    let delivery = failed(&edge, "a", CT, "1.1", 0xA900).await;
    let stray = edge
        .arrive(envelope(&site("a"), &edge.shared.site, Kind::Delivery, b"x"))
        .await;
    let args = json!({ "from": "a", "reason": "wrong patient", "expect": 2 });
    assert_eq!(told(&edge, "discard", args).await["done"], 2);
    assert_eq!(states(&edge, [delivery, stray]).await, [None, None]);
    let receipts = receipts(&edge).await;
    let discarded = |receipt: &Receipt| match receipt {
        Receipt::Discarded(receipt) => Some((receipt.delivery, receipt.by.clone(), receipt.reason.clone())),
        _ => None,
    };
    let discarded: Vec<_> = receipts.iter().filter_map(discarded).collect();
    for id in [delivery, stray] {
        assert!(
            discarded.contains(&(id, me(), Some("wrong patient".to_owned()))),
            "{receipts:?}"
        );
    }
    // Told again when it is offered again.
    crate::messages::receipts::again(&edge.shared, &site("a"), delivery).await;
    let sent = edge.sent().await;
    let last = sent
        .last()
        .map(|(_, message)| format!("{message:?}"))
        .unwrap_or_default();
    assert!(
        last.contains("Custody") && last.contains("Discarded") && last.contains("wrong patient"),
        "{last}"
    );
    let studies = told(&edge, "studies", Value::Null).await;
    for study in studies["studies"].as_array().unwrap() {
        let sum = &study["account"];
        assert_eq!((&sum["discarded"], &sum["received"]), (&json!(1), &json!(1)));
    }
}

#[tokio::test]
async fn a_delivered_study_is_sent_again_from_what_is_kept_and_the_rest_is_said_to_be_gone() {
    let edge = Edge::new("b", B);
    let (kept, gone) = (delivered(&edge, "a", "1.1").await, delivered(&edge, "a", "1.1").await);
    settle(&edge, gone, Settlement::Released, None).await;
    let status = told(&edge, "status", Value::Null).await;
    assert_eq!(
        (&status["kept"], &status["in_flight"]),
        (&json!(1), &json!(0)),
        "{status}"
    );
    let retried = told(&edge, "retry", json!({ "deliveries": [kept.to_string()] })).await;
    assert!(
        retried["not"][0]["why"]
            .as_str()
            .unwrap()
            .contains("`edge-gateway resend`"),
        "{retried}"
    );
    let answer = told(&edge, "resend", json!({ "study": "1.1" })).await;
    assert_eq!((&answer["done"], &answer["asked"]), (&json!(1), &json!([])));
    assert_eq!(
        answer["not"][0]["why"],
        "its bytes are gone: ask the source to send it again"
    );
    assert_eq!(states(&edge, [kept]).await, [READY]);
    let said = account(&edge, "1.1").await;
    let summary = &said["summary"];
    assert_eq!(
        (&summary["account"]["delivered"], &summary["resent"]),
        (&json!(2), &json!(1))
    );
    let twice = told(&edge, "resend", json!({ "deliveries": [kept.to_string()] })).await;
    assert_eq!(twice["not"][0]["why"], "it is under way");
    let is_told = |receipt: &Receipt| matches!(receipt, Receipt::Resent(resent) if resent.delivery == kept);
    assert!(receipts(&edge).await.iter().any(is_told));
}

#[tokio::test]
async fn a_site_has_its_own_studies_sent_again_and_nobody_elses() {
    let edge = Edge::new("b", B);
    let (theirs, others) = (delivered(&edge, "a", "1.1").await, delivered(&edge, "c", "1.1").await);
    let kept = Some(EntryState::Kept);
    for to_ae_title in [Some("OTHER"), Some("bad\ntitle")] {
        resend::asked_by(&edge.shared, &site("a"), "1.1", to_ae_title)
            .await
            .unwrap();
    }
    assert_eq!(states(&edge, [theirs, others]).await, [kept, kept]);
    let message = Message::Resend {
        study: "1.1".to_owned(),
        to_ae_title: Some("PACS_B".to_owned()),
    };
    edge.spool_message("a", &message).await;
    edge.receive().await;
    assert_eq!(states(&edge, [theirs, others]).await, [READY, kept]);
    // Delivered when it was allowed to.
    resend::asked_by(&edge.shared, &site("c"), "1.1", None).await.unwrap();
    assert_eq!(states(&edge, [others]).await, [kept]);
    let answer = told(&edge, "resend", json!({ "deliveries": [others.to_string()] })).await;
    assert!(
        answer["not"][0]["why"]
            .as_str()
            .unwrap()
            .ends_with("accept c --for PACS_B"),
        "{answer}"
    );
}

#[tokio::test]
async fn where_a_study_came_from_resend_asks_the_site_that_has_it() {
    let edge = Edge::new("a", A);
    let delivery = edge.spool_outgoing("b").await;
    settle(&edge, delivery, Settlement::Released, Some(outcome(&edge, delivery, 0))).await;
    let dry = told(&edge, "resend", json!({ "study": "1.2.3", "dry_run": true })).await;
    assert_eq!(dry["asked"], json!(["b/PACS"]));
    assert!(edge.sent().await.is_empty());
    for to in [Value::Null, json!("PACS"), json!("ROUTE")] {
        let answer = told(&edge, "resend", json!({ "study": "1.2.3", "to": to })).await;
        assert_eq!(answer["asked"], json!(["b/PACS"]), "{answer}");
    }
    let sent = edge.sent().await;
    let expected = Message::Resend {
        study: "1.2.3".to_owned(),
        to_ae_title: Some("PACS".to_owned()),
    };
    let to = SiteName::try_from("b").unwrap();
    assert_eq!((sent.len(), &sent[0]), (3, &(to, expected)));
    let unknown = told(&edge, "resend", json!({ "study": "1.9" })).await;
    assert_eq!(unknown["nothing"], "no delivery matches");
    let other = told(&edge, "resend", json!({ "from": "send" })).await;
    assert!(other["nothing"].as_str().unwrap().contains("--study UID"), "{other}");
}

/// More than a page, and not more than was counted.
#[tokio::test]
async fn an_order_goes_on_over_pages_and_stops_where_it_was_told_to() {
    let edge = Edge::new("b", B);
    for _ in 0..PAGE + 20 {
        edge.arrive(parcel(&site("a"), &site("b"), "PACS_B")).await;
    }
    let mut order = Order {
        action: Action::Hold,
        which: Selector::read(&json!({ "all": true })).unwrap(),
        by: me(),
        dry_run: false,
        at_most: PAGE as u64 + 5,
    };
    assert_eq!(carry_out(&edge.shared, &order).await.unwrap().count(), PAGE as u64 + 5);
    order.at_most = u64::MAX;
    assert_eq!(carry_out(&edge.shared, &order).await.unwrap().count(), 15);
    order.action = Action::Release;
    assert_eq!(carry_out(&edge.shared, &order).await.unwrap().count(), PAGE as u64 + 20);
}
