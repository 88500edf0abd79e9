//! Instances that the PACS cannot take without dropping the association.

use crate::support::{Edge, Hub, Target, eventually, receiver, send, sender};

const IN_DELIVERY: &str = "[delivery]\nretry_min = \"10ms\"\nretry_max = \"50ms\"\ntry_again = \"100ms\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_come_first_hold_up_none_behind_them() {
    let (hub, target) = (Hub::start().await, Target::start_dropping(2).await);
    let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
    let b = Edge::start(&b_dir, &format!("{}{IN_DELIVERY}", receiver(&target, &["clinic-a"]))).await;
    let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
    eventually("consent", async || a.standing().await == "accepted").await;
    send(a.dicom(), 8).await;
    eventually("those behind them", async || target.stored() == 6).await;
    // With nothing else to send, two that are dropped in turn look like a PACS that drops everything: they wait.
    let status = b.status().await;
    assert_eq!(
        (&status["in_flight"], &status["failed"]),
        (&2.into(), &0.into()),
        "{status}"
    );
    a.finish().await;
    b.finish().await;
    hub.finish().await;
}
