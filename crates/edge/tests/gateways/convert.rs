//! `on_refused_syntax = "convert"` with a PACS that takes less than what comes. With real instances it is tested in
//! `bins/edge-gateway/tests/sites`.

use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use serde_json::Value;

use crate::support::{Edge, Hub, Target, Wishes, eventually, receiver, send, sender};

/// What is left when all is done.
struct Left {
    target: Target,
    /// At A.
    account: Value,
    /// At B.
    failed: Vec<Value>,
    statement: String,
}

/// Sends two images to a PACS that answers proposals so, with more of its configuration.
async fn sent(answer: fn(&Proposal) -> Answer, more: &str) -> Left {
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
    let statement = b.ask("conformance", Value::Null).await;
    a.finish().await;
    b.finish().await;
    hub.finish().await;
    Left {
        target,
        account: account["accounts"][0].clone(),
        failed: failed["failed"].as_array().unwrap().clone(),
        statement: statement["statement"].as_str().unwrap().to_owned(),
    }
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
    let left = sent(only_implicit, "on_refused_syntax = \"convert\"\n").await;
    assert_eq!((left.target.stored(), left.failed.len()), (2, 0));
    assert_eq!(
        left.target.proposals().len(),
        1,
        "the syntaxes it could go in are proposed at once"
    );
    for instance in left.account["instances"].as_array().unwrap() {
        assert_eq!(
            (&instance["state"], &instance["identical"]),
            (&"delivered".into(), &false.into())
        );
        assert_eq!(instance["converted"]["syntax_name"], "Implicit VR Little Endian");
        assert_ne!(instance["converted"]["sha256"], instance["sha256"]);
    }
    let said = &left.statement;
    assert!(
        said.contains("RLE Lossless (1.2.840.10008.1.2.5)") && said.contains("never from or to a lossy one"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_converted_unless_it_is_asked_for() {
    let left = sent(only_implicit, "").await;
    assert_eq!((left.target.stored(), left.failed.len()), (0, 2));
    for instance in left.account["instances"].as_array().unwrap() {
        let reason = instance["reason"].as_str().unwrap();
        assert!(reason.ends_with("transfer syntaxes not supported (4)"), "{reason}");
    }
    assert!(!left.statement.contains("never from or to a lossy one"));
    let proposed = left.target.proposals()[0].proposal.contexts.len();
    assert_eq!(proposed, 2, "Verification, and the instances' own syntax");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_is_refused_is_not_converted() {
    let left = sent(no_images, "on_refused_syntax = \"convert\"\n").await;
    assert_eq!((left.target.stored(), left.failed.len()), (0, 2));
    let reason = left.failed[0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("abstract syntax not supported (3)"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_take_too_much_memory_is_on_the_failed_list_and_says_so() {
    let more = "on_refused_syntax = \"convert\"\n[delivery]\nconvert_max = \"1KiB\"\n";
    let left = sent(only_implicit, more).await;
    assert_eq!((left.target.stored(), left.failed.len()), (0, 2));
    let reason = left.failed[0]["reason"].as_str().unwrap();
    let expected = "transfer syntaxes not supported (4); not converted: it would take more than 1024 bytes of memory";
    assert!(reason.ends_with(expected), "{reason}");
}
