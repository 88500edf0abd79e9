//! Consent that was there when the instances were taken in, and was not when they arrived.

use serde_json::{Value, json};

use crate::support::{Edge, Hub, Target, eventually, receiver, send, sender};

async fn account(edge: &Edge) -> Value {
    let studies = edge.ask("studies", Value::Null).await;
    studies["studies"][0]["account"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_for_lack_of_consent_is_told_to_the_sender_and_delivered_once_consent_is_given() {
    let (hub, target) = (Hub::start().await, Target::start().await);
    let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
    let b = Edge::start(&b_dir, &receiver(&target, &["clinic-a"])).await;
    let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
    eventually("consent", async || a.standing().await == "accepted").await;
    b.finish().await;
    send(a.dicom(), 3).await;
    let b = Edge::start(&b_dir, &receiver(&target, &[])).await;
    eventually("three held instances", async || b.status().await["held"] == 3).await;
    eventually("the sender's account", async || account(&a).await["held"] == 3).await;
    let held = a.ask("failed", Value::Null).await;
    let reason = held["held"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("held by st-mary: no consent"), "{reason}");
    assert_eq!(target.stored(), 0);
    let given = b
        .ask("accept", json!({ "site": "clinic-a", "destination": "PACS_B" }))
        .await;
    assert_eq!(given["released"], 3);
    eventually("the instances at the PACS", async || target.stored() == 3).await;
    eventually("the sender's account", async || account(&a).await["delivered"] == 3).await;
    eventually("consent again", async || a.standing().await == "accepted").await;
    a.finish().await;
    b.finish().await;
    hub.finish().await;
}
