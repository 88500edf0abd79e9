use std::sync::Arc;

use packhorse_ids::Kind;
use packhorse_spool::{EntryState, Index as _};

use super::*;
use crate::hold::HeldBy;
use crate::messages::Message;
use crate::place::STRAY_HELP;
use crate::testing::{Edge, envelope, parcel, site};

fn door(edge: &Edge, is_daemon: bool) -> Door {
    Door {
        shared: Arc::clone(&edge.shared),
        is_daemon,
    }
}

#[tokio::test]
async fn without_a_daemon_status_says_so_and_nothing_of_links_and_health() {
    let edge = Edge::new(
        "b",
        "[[destination]]\nae_title = \"P\"\naddress = \"h:1\"\ncalling_ae_title = \"U\"\n",
    );
    let status = door(&edge, false).answer("status", &Value::Null).await.unwrap();
    assert_eq!(status["daemon"], false);
    assert!(status.get("link").is_none() && status.get("started").is_none());
    assert!(status["destinations"][0].get("health").is_none());
    let printed = crate::commands::print::status(&status);
    assert!(printed.starts_with("no daemon runs on "), "{printed}");
    let running = door(&edge, true).answer("status", &Value::Null).await.unwrap();
    assert_eq!(
        (&running["daemon"], &running["link"]["state"]),
        (&json!(true), &json!("connecting"))
    );
}

#[tokio::test]
async fn what_waits_for_a_destination_that_is_not_configured_is_listed() {
    let edge = Edge::new("b", "");
    edge.arrive(parcel(&site("a"), &edge.shared.site, "GONE")).await;
    let status = door(&edge, true).answer("status", &Value::Null).await.unwrap();
    assert_eq!(
        (&status["unclaimed"][0]["ae_title"], &status["unclaimed"][0]["held"]),
        (&json!("GONE"), &json!(1))
    );
    let printed = crate::commands::print::status(&status);
    assert!(printed.contains("edge.toml has no [[destination]] GONE"), "{printed}");
    assert_eq!(unclaimed(&edge.shared), ["GONE"]);
}

#[tokio::test]
async fn held_ones_are_listed_with_their_reason_and_retry_sends_on_what_does_not_lack_consent() {
    let edge = Edge::new("b", "");
    let delivery = edge.arrive(parcel(&site("a"), &edge.shared.site, "PACS_B")).await;
    let door = door(&edge, true);
    let listed = door.answer("failed", &Value::Null).await.unwrap();
    assert_eq!(listed["held"][0]["delivery"], delivery.to_string());
    assert!(
        listed["held"][0]["reason"].as_str().unwrap().contains("no consent"),
        "{listed}"
    );
    let all = door.answer("retry", &json!({ "deliveries": [] })).await.unwrap();
    assert_eq!(all["reopened"], 0, "all means all failed ones");
    let args = json!({ "deliveries": [delivery.to_string()] });
    let refused = door.answer("retry", &args).await.unwrap();
    assert_eq!(refused["reopened"], 0);
    assert!(
        refused["not"][0]["why"]
            .as_str()
            .unwrap()
            .contains("edge-gateway accept a --for PACS_B"),
        "{refused}"
    );
    let by_hand = vec![(delivery, HeldBy::Operator("root".to_owned()).settlement())];
    edge.shared
        .spool
        .settle(edge.shared.epoch, by_hand, Vec::new())
        .await
        .unwrap();
    assert_eq!(door.answer("retry", &args).await.unwrap()["reopened"], 1);
    let listed = door.answer("failed", &Value::Null).await.unwrap();
    assert_eq!(listed["held"], json!([]));
}

#[tokio::test]
async fn an_envelope_that_cannot_be_opened_is_not_tried_again_and_the_answer_says_what_to_do() {
    let edge = Edge::new("b", "");
    let delivery = edge
        .arrive(envelope(&site("a"), &edge.shared.site, Kind::Delivery, b"x"))
        .await;
    let door = door(&edge, true);
    let status = door.answer("status", &Value::Null).await.unwrap();
    assert_eq!((&status["stray"], &status["held"]), (&json!(1), &json!(0)));
    let args = json!({ "deliveries": [delivery.to_string()] });
    let answer = door.answer("retry", &args).await.unwrap();
    assert_eq!(
        (&answer["reopened"], &answer["not"][0]["why"]),
        (&json!(0), &json!(STRAY_HELP))
    );
    assert_eq!(
        edge.shared.spool.entry(delivery).await.unwrap().unwrap().state,
        EntryState::Held
    );
}

#[tokio::test]
async fn messages_are_no_deliveries_in_status() {
    let edge = Edge::new("a", "[[route]]\ncalled_ae_title = \"R\"\nto = \"b/P\"\n");
    for _ in 0..3 {
        edge.shared.send_message(&site("b"), &Message::Ask).await.unwrap();
    }
    edge.spool_message("b", &Message::Ask).await;
    edge.spool_outgoing("b").await;
    for is_daemon in [true, false] {
        let status = door(&edge, is_daemon).answer("status", &Value::Null).await.unwrap();
        assert_eq!(
            (&status["to_relay"], &status["in_flight"]),
            (&json!(1), &json!(1)),
            "{status}"
        );
    }
}
