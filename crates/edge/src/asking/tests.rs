use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use super::*;
use crate::testing::{Edge, eventually, site, title};

const TO_B: &str = "[[route]]\ncalled_ae_title = \"R\"\nto = \"b/P\"\n";
const SOON: Duration = Duration::from_millis(50);

fn echo(to: &str) -> Question {
    let to_ae_title = to.to_owned();
    Question::Echo {
        to_ae_title,
        fresh: false,
    }
}

fn no(why: &str) -> Answer {
    let (why, remedy) = (why.to_owned(), String::new());
    Answer::No { why, remedy }
}

async fn asked(edge: &Edge) -> (Asked, u64) {
    let asked = ask(&edge.shared, &site("b"), echo("P"), SOON).await.unwrap();
    let sent = edge.sent().await;
    let Some((to, Message::Question { id, .. })) = sent.last() else {
        panic!("{sent:?}")
    };
    assert_eq!(*to, site("b"));
    (asked, *id)
}

#[tokio::test]
async fn an_answer_reaches_who_asked_and_only_from_whom_he_asked() {
    let edge = Edge::new("a", TO_B);
    let (mut waiting, id) = asked(&edge).await;
    for (from, id, why) in [("c", id, "not asked"), ("b", id ^ 1, "another"), ("b", id, "yes")] {
        let answer = no(why);
        edge.shared.asking.answered(&site(from), id, answer);
    }
    let progress = waiting.wait(Instant::now() + SOON).await;
    assert_eq!(progress.answer.unwrap().1, no("yes"));
    assert!(progress.acked.is_some());
}

#[tokio::test]
async fn nobody_waits_beyond_his_deadline_and_a_late_answer_still_comes() {
    let edge = Edge::new("a", TO_B);
    let (mut waiting, id) = asked(&edge).await;
    let begun = Instant::now();
    let progress = waiting.wait(begun + SOON).await;
    assert!(progress.answer.is_none() && progress.acked.is_none());
    edge.shared.asking.answered(&site("b"), id, no("late"));
    let progress = waiting.wait(Instant::now() + SOON).await;
    assert_eq!(progress.answer.unwrap().1, no("late"));
}

#[tokio::test]
async fn what_the_relay_says_of_the_question_is_known() {
    let edge = Edge::new("a", TO_B);
    let (mut first, _) = asked(&edge).await;
    let message = edge.shared.asking.lock().values().next().unwrap().message.unwrap();
    edge.shared.asking.acked(message);
    let progress = first.wait(Instant::now() + SOON).await;
    assert!(progress.acked.is_some() && progress.refused.is_none());
    edge.shared.asking.refused(message, "no such site");
    let progress = first.wait(Instant::now() + SOON).await;
    assert_eq!(progress.refused.as_deref(), Some("no such site"));
    assert!(edge.shared.asking.lock().is_empty());
}

#[tokio::test]
async fn a_site_that_does_not_answer_is_asked_no_more_until_it_does() {
    let edge = Edge::new("a", TO_B);
    let mut last = 0;
    for _ in 0..OUTSTANDING_MAX {
        last = asked(&edge).await.1;
    }
    let refused = ask(&edge.shared, &site("b"), echo("P"), SOON).await;
    assert!(matches!(refused, Err(NotAsked::Outstanding { .. })), "{refused:?}");
    assert!(ask(&edge.shared, &site("c"), echo("P"), SOON).await.is_ok());
    edge.shared.asking.answered(&site("b"), last, Answer::TooLate);
    asked(&edge).await;
}

/// What `edge` answers to a question of `site`.
async fn answered(edge: &Edge, from: &str, expires_at: i64, question: Question) -> Answer {
    let settled: Vec<_> = edge.sent().await;
    answer(&edge.shared, &site(from), 7, expires_at, question);
    eventually("an answer", async || edge.sent().await.len() > settled.len()).await;
    let (to, message) = edge.sent().await.pop().unwrap();
    assert_eq!(to, site(from));
    let Message::Answer { id: 7, answer } = message else {
        panic!("{message:?}")
    };
    answer
}

fn with_destination(port: u16) -> Edge {
    let toml = format!(
        "[[destination]]\nae_title = \"P\"\naddress = \"127.0.0.1:{port}\"\ncalling_ae_title = \"US\"\n\
         accept_from = [\"a\"]\n[echo]\nanswer = \"500ms\"\n"
    );
    Edge::new("b", &toml)
}

#[tokio::test]
async fn only_who_may_send_is_told_of_a_pacs_and_nobody_elses_question_reaches_it() {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .unwrap();
    let edge = with_destination(listener.local_addr().unwrap().port());
    let for_ever = i64::MAX;
    for (from, to, words) in [("c", "P", "does not accept from c"), ("a", "Q", "no such destination")] {
        let Answer::No { why, .. } = answered(&edge, from, for_ever, echo(to)).await else {
            panic!()
        };
        assert!(why.contains(words), "{why}");
    }
    assert_eq!(answered(&edge, "a", 0, echo("P")).await, Answer::TooLate);
    let knocked = tokio::time::timeout(SOON, listener.accept()).await;
    assert!(knocked.is_err(), "nothing reached the PACS");
    assert!(matches!(
        answered(&edge, "a", for_ever, echo("P")).await,
        Answer::Echo { .. }
    ));
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn a_pacs_that_does_not_answer_costs_the_asker_no_more_than_the_checks_time() {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .unwrap();
    let edge = with_destination(listener.local_addr().unwrap().port());
    let begun = Instant::now();
    let Answer::Echo { check, took } = answered(&edge, "a", i64::MAX, echo("P")).await else {
        panic!()
    };
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(took >= 300_000, "{took}");
    let stop = check.stopped.unwrap();
    assert!(stop.why.contains("called as US"), "{stop:?}");
    assert_eq!(check.legs.len(), 1, "it connected");
    assert_eq!(edge.shared.pacs[&title("P")].delivering(), None);
}

#[tokio::test]
async fn too_many_questions_at_a_time_are_passed_over() {
    let edge = with_destination(9);
    let all = Arc::clone(&edge.shared.asking.answering);
    let taken = all
        .acquire_many_owned(u32::try_from(ANSWERING_MAX).unwrap())
        .await
        .unwrap();
    answer(&edge.shared, &site("a"), 1, i64::MAX, echo("P"));
    drop(taken);
    answer(&edge.shared, &site("a"), 2, i64::MAX, echo("Q"));
    eventually("an answer", async || !edge.sent().await.is_empty()).await;
    let sent = edge.sent().await;
    assert!(matches!(sent[..], [(_, Message::Answer { id: 2, .. })]), "{sent:?}");
}
