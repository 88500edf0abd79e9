use packhorse_ids::Kind;
use packhorse_spool::{EntryState, Filter};
use serde_json::json;

use super::*;
use crate::admin::Door;
use crate::testing::Edge;

/// Two channels, one for everything and one for what is late; nobody is told anything here.
const CHANNELS: &str = "[[notify]]\nname = \"all\"\nwebhook = \"http://127.0.0.1:9/\"\n\
                        [[notify]]\nname = \"late\"\nkinds = [\"late\"]\nwebhook = \"http://127.0.0.1:9/\"\n";

pub(super) fn notice(kind: NoticeKind, key: &str) -> Notice {
    Notice {
        kind,
        key: key.to_owned(),
        what: format!("what of\n{key}"),
        remedy: "do".to_owned(),
        fields: Map::from_iter([("study".to_owned(), json!("1.2.3"))]),
    }
}

/// What waits, by queue, with what it says.
async fn waiting(edge: &Edge) -> Vec<(String, Telling)> {
    let all = edge.shared.spool.page(0, Filter::default(), 100).await.unwrap();
    let said = all.into_iter().map(|(_, entry)| {
        let Body::Inline(bytes) = &entry.body else {
            panic!("a notice is small")
        };
        (entry.queue.as_str().to_owned(), Telling::from_bytes(bytes).unwrap())
    });
    said.collect()
}

#[test]
fn kinds_are_told_apart_by_their_words() {
    let words: std::collections::BTreeSet<_> = NoticeKind::ALL.into_iter().map(NoticeKind::as_str).collect();
    assert_eq!(words.len(), NoticeKind::ALL.len());
}

#[test]
fn what_a_pacs_adds_to_a_status_is_left_out() {
    let said = "answered A900 (error: data set does not match SOP class): DOE^JOHN is unknown";
    assert_eq!(
        without_comment(said),
        "answered A900 (error: data set does not match SOP class)"
    );
    for whole in ["connection refused (os error 111): no", "answered A900", "answered (ä"] {
        assert_eq!(without_comment(whole), whole);
    }
}

#[tokio::test]
async fn a_notice_waits_once_for_each_channel_that_is_told_of_its_kind() {
    let edge = Edge::new("a", CHANNELS);
    for _ in 0..2 {
        edge.shared.notify(notice(NoticeKind::Late, "1")).await;
        edge.shared.notify(notice(NoticeKind::Failed, "1")).await;
    }
    let waiting = waiting(&edge).await;
    let queues: Vec<_> = waiting
        .iter()
        .map(|(queue, told)| (queue.as_str(), told.kind.as_str()))
        .collect();
    assert_eq!(
        queues,
        [
            ("notify/all", "late"),
            ("notify/late", "late"),
            ("notify/all", "failed")
        ]
    );
    assert_eq!(waiting[0].1.id, waiting[1].1.id, "one notice has one id");
    assert_ne!(waiting[0].1.id, waiting[2].1.id);
    assert_eq!(waiting[0].1.what, "what of 1", "one line");
    assert_eq!(waiting[0].1.patient, None);
}

#[tokio::test]
async fn a_notice_that_was_told_is_not_told_again_and_another_time_is_another_notice() {
    let edge = Edge::new("a", CHANNELS);
    let shared = &edge.shared;
    shared.notify(notice(NoticeKind::Failed, "since 1")).await;
    let ids: Vec<_> = shared.spool.page(0, Filter::default(), 100).await.unwrap();
    let released = ids
        .iter()
        .map(|(_, entry)| (entry.routing.delivery, Settlement::Released));
    shared
        .spool
        .settle(shared.epoch, released.collect(), Vec::new())
        .await
        .unwrap();
    // As after a restart: only the spool remembers.
    shared.notices.known.lock().await.clear();
    shared.notify(notice(NoticeKind::Failed, "since 1")).await;
    assert_eq!(waiting(&edge).await, []);
    shared.notify(notice(NoticeKind::Failed, "since 2")).await;
    assert_eq!(waiting(&edge).await.len(), 1);
}

#[tokio::test]
async fn a_notice_is_kept_for_people_also_without_a_channel() {
    let edge = Edge::new("a", "");
    edge.shared.notify(notice(NoticeKind::Held, "1")).await;
    assert_eq!(waiting(&edge).await, []);
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let kept = edge
        .shared
        .ledger(|projection| projection.notices(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (kept.len(), kept[0].kind.as_str(), kept[0].remedy.as_str()),
        (1, "held", "do")
    );
}

#[tokio::test]
async fn notices_that_wait_are_no_deliveries() {
    let edge = Edge::new("a", CHANNELS);
    edge.shared.notify(notice(NoticeKind::Late, "1")).await;
    let door = Door {
        shared: std::sync::Arc::clone(&edge.shared),
        is_daemon: true,
    };
    let status = door.answer("status", &Value::Null).await.unwrap();
    for key in ["in_flight", "held", "failed", "stray", "to_relay", "spool_bytes"] {
        assert_eq!(status[key], 0, "{key}");
    }
    assert_eq!(status["unclaimed"], json!([]));
    assert_eq!(door.answer("retry", &Value::Null).await.unwrap()["reopened"], 0);
    let failed = door.answer("failed", &Value::Null).await.unwrap();
    assert_eq!((&failed["failed"], &failed["held"]), (&json!([]), &json!([])));
    let counts = edge.shared.spool.counts();
    assert!(
        counts
            .iter()
            .all(|count| count.kind == Kind::Message && count.state == EntryState::Ready)
    );
}

#[tokio::test]
async fn fields_that_are_too_long_are_left_out() {
    let edge = Edge::new("a", CHANNELS);
    let mut long = notice(NoticeKind::Failed, "1");
    long.fields.insert("list".to_owned(), "x".repeat(FIELDS_LEN_MAX).into());
    edge.shared.notify(long).await;
    assert_eq!(
        Value::Object(waiting(&edge).await[0].1.fields.clone()),
        json!({ "too_long": true })
    );
}
