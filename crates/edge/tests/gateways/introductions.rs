//! Routes to sites that are not there (yet).

use serde_json::Value;

use crate::support::{Edge, Hub, Target, eventually, receiver, sender};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_to_a_site_that_has_not_joined_says_so_and_leaves_nothing_on_the_failed_list() {
    let hub = Hub::start().await;
    let a = Edge::start(&hub.join("clinic-a").await, &sender("st-mary/PACS_B")).await;
    eventually("the relay's word", async || {
        a.standing().await == "no such site at the relay"
    })
    .await;
    eventually("an end of the question", async || a.status().await["to_relay"] == 0).await;
    let status = a.status().await;
    assert_eq!((&status["failed"], &status["in_flight"]), (&0.into(), &0.into()));
    let failed = a.ask("failed", Value::Null).await;
    assert_eq!(failed["failed"], Value::Array(Vec::new()));
    a.finish().await;
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_joins_later_is_known_when_it_has_a_route_of_its_own_or_asks() {
    let (hub, target) = (Hub::start().await, Target::start().await);
    let a = Edge::start(&hub.join("clinic-a").await, &sender("st-mary/PACS_B")).await;
    eventually("the relay's word", async || {
        a.standing().await == "no such site at the relay"
    })
    .await;
    let b = Edge::start(&hub.join("st-mary").await, &receiver(&target, &["clinic-a"])).await;
    // A asks again by itself, after a pause.
    eventually("the site", async || a.standing().await == "accepted").await;
    a.finish().await;
    b.finish().await;
    hub.finish().await;
}
