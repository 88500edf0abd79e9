//! The mirror: what the far PACS takes is known here, and what it says while it is not itself changes nothing.

use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal, ProposedContext, Rejection};
use packhorse_dicom::sop_class::VERIFICATION;
use serde_json::{Value, json};

use crate::support::{Edge, Hub, Target, Wishes, eventually, offered, receiver, send, sender};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

const TIMES: &str = "[mirror]\npace = \"100ms\"\nconfirm = \"500ms\"\nrefresh = \"700ms\"\nexpire = \"1h\"\n";

/// One probe, and the next when the test is over.
const ONE_PROBE: &str = "[mirror]\npace = \"1h\"\n";

fn at_b(target: &Target, mode: &str, times: &str) -> String {
    let without = receiver(target, &["clinic-a"]);
    format!("{without}mirror = \"{mode}\"\n{times}")
}

struct Sites {
    hub: Hub,
    target: Target,
    a: Edge,
    b: Edge,
}

impl Sites {
    /// With a PACS that answers as it wishes from the beginning.
    async fn start(mode: &str, answer: Option<fn(&Proposal) -> Answer>) -> Self {
        Self::start_with(mode, TIMES, answer).await
    }

    async fn start_with(mode: &str, times: &str, answer: Option<fn(&Proposal) -> Answer>) -> Self {
        let (hub, target) = (Hub::start().await, Target::start().await);
        target.wish(Wishes {
            answer,
            ..Wishes::default()
        });
        let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
        let b = Edge::start(&b_dir, &at_b(&target, mode, times)).await;
        let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
        eventually("consent", async || a.standing().await == "accepted").await;
        Self { hub, target, a, b }
    }

    /// What A knows of the far PACS.
    async fn known(&self) -> Value {
        let routes = self.a.ask("routes", json!({ "facts": true })).await;
        routes["routes"][0]["mirror"].clone()
    }

    /// Result of one context at A's door.
    async fn result(&self, class: &str, syntaxes: &[&str]) -> Result<String, u8> {
        offered(self.a.dicom(), class, syntaxes).await
    }

    async fn finish(self) {
        self.a.finish().await;
        self.b.finish().await;
        self.hub.finish().await;
    }
}

fn takes_only_ct(proposal: &Proposal) -> Answer {
    proposal.answer_each(|context| match context.abstract_syntax.as_str() {
        CT | VERIFICATION => context.accept_first(),
        _ => ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED),
    })
}

fn takes_no_jpeg(proposal: &Proposal) -> Answer {
    proposal.answer_each(|context| {
        let mut context = context.clone();
        context.transfer_syntaxes.retain(|syntax| syntax.as_str() != JPEG);
        context.accept_first()
    })
}

fn rejects(_: &Proposal) -> Answer {
    Answer::Reject(Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED)
}

/// Only the first context is answered at all.
fn answers_one(proposal: &Proposal) -> Answer {
    let first = &proposal.contexts[0];
    let rest = proposal.contexts[1..].iter();
    let rest = rest.map(|context| (context.id, ContextAnswer::Rejected(ContextResult::NO_REASON)));
    Answer::Accept(std::iter::once((first.id, first.accept_first())).chain(rest).collect())
}

fn takes_nothing(proposal: &Proposal) -> Answer {
    proposal.answer_each(|_| ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED))
}

async fn until_known(sites: &Sites, refused: usize) {
    eventually("what the PACS takes", async || {
        let known = sites.known().await;
        known["classes_not_taken"]
            .as_array()
            .is_some_and(|names| names.len() >= refused)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_refuses_at_the_door_what_the_far_pacs_does_not_take_and_says_why() {
    let sites = Sites::start("strict", Some(takes_only_ct)).await;
    until_known(&sites, 100).await;
    assert_eq!(sites.result(MR, &[IMPLICIT]).await, Err(3));
    assert_eq!(sites.result(CT, &[EXPLICIT, IMPLICIT]).await, Ok(EXPLICIT.to_owned()));
    let known = sites.known().await;
    assert_eq!(known["mode"], "strict");
    assert_eq!(known["classes_taken"], 1, "{known}");
    let facts = known["facts"].as_array().unwrap();
    let mr = facts
        .iter()
        .find(|fact| fact["class"] == MR && fact["syntax"].is_null())
        .unwrap();
    assert_eq!((&mr["takes"], &mr["source"]), (&json!(false), &json!("probe")));
    let proposals = sites.target.proposals();
    assert!(
        proposals
            .iter()
            .all(|seen| seen.proposal.calling_ae_title.as_str() == "PACKHORSE")
    );
    sites.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advise_refuses_nothing_and_a_pacs_that_takes_more_again_is_believed_at_once() {
    let sites = Sites::start("advise", Some(takes_only_ct)).await;
    until_known(&sites, 100).await;
    assert_eq!(sites.result(MR, &[IMPLICIT]).await, Ok(IMPLICIT.to_owned()));
    sites.target.wish(Wishes::default());
    eventually("that it takes MR", async || {
        let known = sites.known().await;
        known["classes_not_taken"].as_array().unwrap().is_empty()
    })
    .await;
    sites.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_syntax_that_a_source_proposes_is_asked_about_and_refused_under_strict() {
    let sites = Sites::start("strict", Some(takes_no_jpeg)).await;
    eventually("its classes", async || {
        sites.known().await["classes_taken"].as_u64() > Some(100)
    })
    .await;
    let asked = |sites: &Sites| {
        let proposals = sites.target.proposals();
        let mut all = proposals.iter().flat_map(|seen| seen.proposal.contexts.clone());
        all.any(|context| context.transfer_syntaxes == [JPEG.parse().unwrap()])
    };
    assert!(!asked(&sites), "nobody has proposed it");
    assert_eq!(
        sites.result(CT, &[JPEG]).await,
        Ok(JPEG.to_owned()),
        "nothing is known of it yet"
    );
    eventually("the pair", async || sites.known().await["pairs_not_taken"] == 1).await;
    assert!(asked(&sites));
    assert_eq!(sites.result(CT, &[JPEG]).await, Err(4));
    assert_eq!(sites.result(CT, &[JPEG, IMPLICIT]).await, Ok(IMPLICIT.to_owned()));
    sites.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pacs_says_while_it_is_not_itself_changes_nothing() {
    let sites = Sites::start("strict", None).await;
    let classes = async || sites.known().await["classes_taken"].as_u64().unwrap_or(0);
    let before = u64::try_from(packhorse_dicom::sop_class::storage().len()).unwrap();
    eventually("all its classes", async || classes().await == before).await;
    for wrong in [rejects, answers_one, takes_nothing] {
        let seen = sites.target.proposals().len();
        sites.target.wish(Wishes {
            answer: Some(wrong),
            ..Wishes::default()
        });
        // Long enough for two answers that are far enough apart to be believed.
        eventually("three more probes", async || sites.target.proposals().len() >= seen + 3).await;
        assert_eq!(classes().await, before);
        assert_eq!(sites.result(MR, &[IMPLICIT]).await, Ok(IMPLICIT.to_owned()));
    }
    sites.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pacs_with_off_is_not_probed_and_deliveries_teach_where_it_is_on() {
    let sites = Sites::start("off", None).await;
    send(sites.a.dicom(), 2).await;
    eventually("the images", async || sites.target.stored() == 2).await;
    assert_eq!(sites.target.proposals().len(), 1, "the delivery's");
    assert_eq!(sites.known().await["facts_known"], 0);
    sites.finish().await;
    let sites = Sites::start_with("advise", ONE_PROBE, Some(rejects)).await;
    eventually("the probe", async || sites.target.proposals().len() == 1).await;
    sites.target.wish(Wishes::default());
    send(sites.a.dicom(), 1).await;
    eventually("what the delivery has taught", async || {
        sites.known().await["facts_known"] == 2
    })
    .await;
    let known = sites.known().await;
    let facts = known["facts"].as_array().unwrap();
    for fact in facts {
        assert_eq!(
            (&fact["source"], &fact["takes"]),
            (&json!("delivery"), &json!(true)),
            "{fact}"
        );
        assert_eq!(fact["class"], CT);
    }
    sites.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_waits_while_a_delivery_has_the_association() {
    let sites = Sites::start("advise", Some(accepts_each)).await;
    eventually("its classes", async || {
        sites.known().await["classes_taken"].as_u64() > Some(100)
    })
    .await;
    for _ in 0..3 {
        send(sites.a.dicom(), 5).await;
    }
    eventually("the images", async || sites.target.stored() == 15).await;
    assert!(sites.target.open_most() <= 1, "{} at a time", sites.target.open_most());
    sites.finish().await;
}

fn accepts_each(proposal: &Proposal) -> Answer {
    proposal.answer_each(ProposedContext::accept_first)
}
