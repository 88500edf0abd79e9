//! C-ECHO on a route: about here, or about the PACS at its far end; and `echo`, which walks the whole way.

use std::net::SocketAddr;
use std::time::Duration;

use packhorse_association::{RequestedAssociation, RequestorConfig};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, PresentationContextId, Proposal, ProposedContext, Rejection};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::status::Status;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Edge, Hub, Target, Wishes, eventually, receiver, send, sender};

/// Both directions' times, short.
const TIMES: &str =
    "[echo]\npace = \"1s\"\nanswer = \"2s\"\nfresh = \"10ms\"\nwait = \"2s\"\n[mirror]\npace = \"1h\"\n";

/// An association of one source that is kept open.
async fn source(to: SocketAddr, number: usize) -> RequestedAssociation {
    let title = |text: &str| AeTitle::try_from(text).unwrap();
    let config = RequestorConfig::new(title(&format!("PACS_{number}")), title("ST_MARY"));
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: VERIFICATION.parse().unwrap(),
        transfer_syntaxes: vec![IMPLICIT_VR_LE.parse().unwrap()],
    };
    RequestedAssociation::request(&to.to_string(), &config, vec![context])
        .await
        .unwrap()
}

async fn echoed(to: SocketAddr) -> Status {
    source(to, 0).await.echo().await.unwrap()
}

fn end_to_end(to: &str) -> String {
    format!("{}echo = \"end-to-end\"\n{TIMES}", sender(to))
}

fn mirrorless(target: &Target) -> String {
    let without = receiver(target, &["clinic-a"]).replace("accept_from", "mirror = \"off\"\naccept_from");
    format!("{without}{TIMES}")
}

async fn whole(edge: &Edge) -> Value {
    edge.ask("echo", json!({ "ae": "ST_MARY" })).await
}

fn rejecting(_: &Proposal) -> Answer {
    Answer::Reject(Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_sources_that_echo_all_the_time_are_one_association_in_the_pace_at_the_far_pacs() {
    let (hub, target) = (Hub::start().await, Target::start().await);
    let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
    let b = Edge::start(&b_dir, &mirrorless(&target)).await;
    let a = Edge::start(&a_dir, &end_to_end("st-mary/PACS_B")).await;
    eventually("consent", async || a.standing().await == "accepted").await;
    let begun = Instant::now();
    let mut sources = Vec::new();
    for number in 0..20 {
        let mut source = source(a.dicom(), number).await;
        sources.push(tokio::spawn(async move {
            let (mut echoes, mut beat) = (0, tokio::time::interval(Duration::from_millis(50)));
            while begun.elapsed() < Duration::from_secs(4) {
                assert_eq!(source.echo().await.unwrap(), Status::SUCCESS);
                echoes += 1;
                beat.tick().await;
            }
            echoes
        }));
    }
    let mut echoes = 0;
    for source in sources {
        echoes += source.await.unwrap();
    }
    // The pace is a second: no more than have begun.
    let most = begun.elapsed().as_secs() + 1;
    let came = u64::try_from(target.proposals().len()).unwrap();
    assert!(echoes > 400, "{echoes}");
    assert!((3..=most).contains(&came), "{came} associations for {echoes} echoes");
    for finished in [a, b] {
        finished.finish().await;
    }
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_leg_that_stops_is_named_and_a_dead_pacs_keeps_nothing_from_being_taken() {
    let (hub, target) = (Hub::start().await, Target::start().await);
    let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
    let b = Edge::start(&b_dir, &mirrorless(&target)).await;
    let a = Edge::start(&a_dir, &end_to_end("st-mary/PACS_B")).await;
    eventually("consent", async || a.standing().await == "accepted").await;

    let well = whole(&a).await;
    assert_eq!(well["ok"], true, "{well}");
    let legs: Vec<_> = well["legs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|leg| leg["leg"].as_str().unwrap())
        .collect();
    let expected = [
        "this gateway -> relay",
        "relay -> st-mary",
        "st-mary -> PACS_B, connect",
        "st-mary -> PACS_B, associate",
        "st-mary -> PACS_B, C-ECHO",
    ];
    assert_eq!(legs, expected);
    assert!(
        well["legs"]
            .as_array()
            .unwrap()
            .iter()
            .all(|leg| leg["ms"].as_f64().unwrap() >= 0.0)
    );
    assert!(
        well["legs"][3]["said"].as_str().unwrap().contains("as PACKHORSE"),
        "{well}"
    );
    let here = b.ask("echo", json!({ "ae": "PACS_B" })).await;
    assert_eq!(
        (here["ok"].clone(), here["legs"].as_array().unwrap().len()),
        (json!(true), 3),
        "{here}"
    );

    target.wish(Wishes {
        answer: Some(rejecting),
        ..Wishes::default()
    });
    eventually("a failure", async || {
        echoed(a.dicom()).await == Status::PROCESSING_FAILURE
    })
    .await;
    let rejected = whole(&a).await;
    assert_eq!(rejected["stopped"]["at"], "PACS_B, associate", "{rejected}");
    let why = rejected["stopped"]["why"].as_str().unwrap();
    assert!(
        why.contains("PACKHORSE") && why.contains("calling AE title not recognized (1/1/3)"),
        "{why}"
    );
    let remedy = rejected["stopped"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("let the AE title PACKHORSE in"), "{remedy}");
    send(a.dicom(), 1).await;

    b.finish().await;
    let begun = Instant::now();
    let off = whole(&a).await;
    assert!(begun.elapsed() < Duration::from_secs(6));
    assert_eq!(off["stopped"]["at"], "st-mary", "{off}");
    assert!(
        off["stopped"]["why"].as_str().unwrap().starts_with("no answer within"),
        "{off}"
    );
    assert!(off["legs"][0]["ms"].as_f64().is_some(), "the relay has it: {off}");
    send(a.dicom(), 1).await;
    a.finish().await;
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_is_about_custody_here_and_nobody_asks_the_far_pacs() {
    let (hub, target) = (Hub::start().await, Target::start().await);
    let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
    let b = Edge::start(&b_dir, &mirrorless(&target)).await;
    let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
    eventually("consent", async || a.standing().await == "accepted").await;
    b.finish().await;
    assert_eq!(echoed(a.dicom()).await, Status::SUCCESS);
    send(a.dicom(), 1).await;
    assert_eq!(target.proposals().len(), 0);
    a.finish().await;
    hub.finish().await;
}
