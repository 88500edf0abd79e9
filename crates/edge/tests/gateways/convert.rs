//! `on_refused_syntax = "convert"` with a PACS that takes less than what comes. With real instances it is tested in
//! `bins/edge-gateway/tests/sites`.

use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use serde_json::Value;

use crate::support::{Edge, Hub, Target, Wishes, eventually, receiver, send, sender};

/// Sends two images to a PACS that answers proposals so, with more of its configuration. What is left when all is done.
async fn sent(answer: fn(&Proposal) -> Answer, more: &str) -> (Value, Value, Target) {
    let (hub, target) = (Hub::start().await, Target::start().await);
    target.wish(Wishes {
        answer: Some(answer),
        ..Wishes::default()
    });
    let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
    let b = Edge::start(&b_dir, &format!("{}{more}", receiver(&target, &["clinic-a"]))).await;
    let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
    eventually("consent", async || a.standing().await == "accepted").await;
    send(a.dicom(), 2).await;
    eventually("the end", async || {
        let is_done = |account: &Value| account["summary"]["account"]["in_flight"] == 0;
        let study = a.ask("study", serde_json::json!({ "uid": study_uid(&a).await })).await;
        let accounts = study["accounts"].as_array().cloned().unwrap_or_default();
        accounts.len() == 1 && accounts.iter().all(is_done)
    })
    .await;
    let account = a.ask("study", serde_json::json!({ "uid": study_uid(&a).await })).await;
    let failed = b.ask("failed", Value::Null).await;
    a.finish().await;
    b.finish().await;
    hub.finish().await;
    (account["accounts"][0].clone(), failed["failed"].clone(), target)
}

async fn study_uid(edge: &Edge) -> String {
    let studies = edge.ask("studies", Value::Null).await;
    studies["studies"][0]["study"].as_str().unwrap_or_default().to_owned()
}

/// Answers each context by whether its class is Verification or its only syntax Implicit VR Little Endian.
fn only_implicit(proposal: &Proposal) -> Answer {
    proposal.answer_each(|context| {
        let is_implicit = context
            .transfer_syntaxes
            .iter()
            .all(|syntax| syntax.as_str() == IMPLICIT_VR_LE);
        if is_implicit {
            context.accept_first()
        } else {
            ContextAnswer::Rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED)
        }
    })
}

fn no_images(proposal: &Proposal) -> Answer {
    proposal.answer_each(|context| {
        if context.abstract_syntax.as_str() == VERIFICATION {
            context.accept_first()
        } else {
            ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED)
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_its_syntax_goes_converted_over_the_same_association() {
    let (account, failed, target) = sent(only_implicit, "on_refused_syntax = \"convert\"\n").await;
    assert_eq!((target.stored(), failed.as_array().unwrap().len()), (2, 0));
    assert_eq!(
        target.proposals().len(),
        1,
        "the syntaxes it could go in are proposed at once"
    );
    for instance in account["instances"].as_array().unwrap() {
        assert_eq!(
            (&instance["state"], &instance["identical"]),
            (&"delivered".into(), &false.into())
        );
        assert_eq!(instance["converted"]["syntax_name"], "Implicit VR Little Endian");
        assert_ne!(instance["converted"]["sha256"], instance["sha256"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_converted_unless_it_is_asked_for() {
    let (account, failed, target) = sent(only_implicit, "").await;
    assert_eq!((target.stored(), failed.as_array().unwrap().len()), (0, 2));
    for instance in account["instances"].as_array().unwrap() {
        let reason = instance["reason"].as_str().unwrap();
        assert!(reason.ends_with("transfer syntaxes not supported (4)"), "{reason}");
    }
    let proposed = target.proposals()[0].proposal.contexts.len();
    assert_eq!(proposed, 2, "Verification, and the instances' own syntax");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_is_refused_is_not_converted() {
    let (_, failed, target) = sent(no_images, "on_refused_syntax = \"convert\"\n").await;
    assert_eq!((target.stored(), failed.as_array().unwrap().len()), (0, 2));
    let reason = failed[0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("abstract syntax not supported (3)"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_take_too_much_memory_is_on_the_failed_list_and_says_so() {
    let more = "on_refused_syntax = \"convert\"\n[delivery]\nconvert_max = \"1KiB\"\n";
    let (_, failed, target) = sent(only_implicit, more).await;
    assert_eq!((target.stored(), failed.as_array().unwrap().len()), (0, 2));
    let reason = failed[0]["reason"].as_str().unwrap();
    let expected = "transfer syntaxes not supported (4); not converted: it would take more than 1024 bytes of memory";
    assert!(reason.ends_with(expected), "{reason}");
}
