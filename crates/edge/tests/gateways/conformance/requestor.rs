//! What the statement says of destinations, with a PACS that answers what it is told.

use std::collections::HashMap;

use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal, ProposedContext, Rejection};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::status::Status;
use packhorse_testkit::instances::{ImageSize, Study};
use serde_json::Value;

use super::printed;
use super::statement::Statement;
use crate::support::{Edge, Hub, Target, Wishes, eventually, receiver, send, sender};

/// Two sites, of which the second delivers to a PACS, and what the second printed.
struct Pair {
    hub: Hub,
    target: Target,
    a: Edge,
    b: Edge,
    statement: Statement,
}

const QUICK: &str = "[delivery]\ntries = 2\ntry_again = \"50ms\"\nretry_min = \"50ms\"\nretry_max = \"100ms\"\n\
                     paused_again = \"100ms\"\nidle = \"10ms\"\n";

impl Pair {
    async fn start(wishes: Wishes) -> Self {
        let (hub, target) = (Hub::start().await, Target::start().await);
        target.wish(wishes);
        let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
        // Every association is a delivery's then.
        let without = format!("{}mirror = \"off\"\n{QUICK}", receiver(&target, &["clinic-a"]));
        let b = Edge::start(&b_dir, &without).await;
        let a = Edge::start(&a_dir, &sender("st-mary/PACS_B")).await;
        eventually("consent", async || a.standing().await == "accepted").await;
        let statement = printed(&b).await;
        Self {
            hub,
            target,
            a,
            b,
            statement,
        }
    }

    async fn finish(self) {
        self.a.finish().await;
        self.b.finish().await;
        self.hub.finish().await;
    }

    /// What was given up: reasons by SOP Instance UID.
    async fn failed(&self) -> HashMap<String, String> {
        let answer = self.b.ask("failed", Value::Null).await;
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = answer["failed"].as_array().unwrap();
        rows.iter()
            .map(|row| (text(row, "sop_instance"), text(row, "reason")))
            .collect()
    }

    async fn destination(&self) -> String {
        let status = self.b.status().await;
        status["destinations"][0]["health"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// What the statement says is done when this comes of an association.
    fn said(&self, what: &str) -> &str {
        self.statement.value("4.2.4 ", "What comes of an association", what)
    }
}

/// The instance that [`send`] sends under this number.
fn instance(number: u32) -> String {
    let slice = Study::new("a study").ct_slice(1, number, ImageSize::default());
    slice.sop_instance_uid.to_string()
}

/// First and last of every range that the statement names, with what it says is done.
fn statuses(statement: &Statement) -> Vec<(u16, String)> {
    let code = |text: &str| u16::from_str_radix(text, 16).unwrap();
    let mut all = Vec::new();
    for row in &statement.table("4.2.4 ", "C-STORE status").rows {
        for range in row[0].split(", ") {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            all.push((code(first), row[1].clone()));
            if first != last {
                all.push((code(last), row[1].clone()));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_status_of_a_destination_is_dealt_with_as_the_statement_says() {
    let pair = Pair::start(Wishes::default()).await;
    let said = statuses(&pair.statement);
    // What stops the destination comes apart, below.
    let (stopping, said): (Vec<_>, Vec<_>) = said.into_iter().partition(|(_, done)| done.contains("left alone"));
    let numbered: Vec<_> = (1..)
        .zip(&said)
        .map(|(number, (status, done))| (instance(number), *status, done))
        .collect();
    assert!(numbered.len() > 20 && stopping.len() == 2, "{said:?}");
    let statuses = numbered.iter().map(|(uid, status, _)| (uid.clone(), Status(*status)));
    pair.target.wish(Wishes {
        statuses: statuses.collect(),
        ..Wishes::default()
    });
    send(pair.a.dicom(), u32::try_from(numbered.len()).unwrap()).await;
    let delivered = numbered
        .iter()
        .filter(|(_, _, done)| done.starts_with("delivered"))
        .count();
    let refused = numbered.len() - delivered;
    eventually("outcomes", async || pair.failed().await.len() == refused).await;
    let failed = pair.failed().await;
    for (uid, status, done) in &numbered {
        let times = pair.target.stored_times(uid);
        let reason = failed.get(uid).map(String::as_str);
        match done.as_str() {
            "delivered" | "delivered with warning" => assert_eq!((reason, times), (None, 1), "{status:04X}"),
            "the failed list at once" => {
                assert!(reason.unwrap().contains(&format!("{status:04X}")), "{reason:?}");
                assert_eq!(times, 1, "{status:04X}");
            }
            "tried 2 times, 50ms apart, then the failed list" => {
                assert!(reason.unwrap().ends_with("(after 2 tries)"), "{reason:?}");
                assert_eq!(times, 2, "{status:04X}");
            }
            other => panic!("{status:04X}: {other}"),
        }
    }
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_out_of_resources_is_left_alone_as_the_statement_says() {
    for code in ["A700", "A7FF"] {
        let status = Status(u16::from_str_radix(code, 16).unwrap());
        let pair = Pair::start(Wishes {
            statuses: HashMap::from([(instance(1), status)]),
            ..Wishes::default()
        })
        .await;
        let said = statuses(&pair.statement);
        let (_, done) = said.iter().find(|(said, _)| *said == status.0).unwrap();
        assert_eq!(
            done,
            "the destination is left alone for 50ms, doubling up to 100ms; instances wait, uncounted"
        );
        send(pair.a.dicom(), 1).await;
        eventually("a destination that is down", async || {
            pair.destination().await == "down"
        })
        .await;
        eventually("more tries than are counted", async || {
            pair.target.stored_times(&instance(1)) > 3
        })
        .await;
        assert!(pair.failed().await.is_empty());
        pair.target.wish(Wishes::default());
        eventually("a good destination", async || pair.destination().await == "good").await;
        pair.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_destination_is_asked_for_is_what_the_statement_says() {
    let pair = Pair::start(Wishes::default()).await;
    send(pair.a.dicom(), 2).await;
    eventually("both instances", async || pair.target.stored() == 2).await;
    let seen = pair.target.proposals().remove(0);
    let proposal = &seen.proposal;
    let said = |name: &str| pair.statement.value("Destination PACS_B", "Property", name).to_owned();
    let proposed = |is_proposed: bool| if is_proposed { "proposed" } else { "not proposed" }.to_owned();
    for (name, value) in [
        ("Called AE title", proposal.called_ae_title.to_string()),
        ("Calling AE title", proposal.calling_ae_title.to_string()),
        ("Maximum length (51H)", seen.max_pdu_length.unwrap().to_string()),
        (
            "Implementation class UID (52H)",
            proposal.implementation_class_uid.clone().unwrap().into(),
        ),
        (
            "Implementation version name (55H)",
            proposal.implementation_version_name.clone().unwrap().into(),
        ),
        (
            "Asynchronous operations window (53H)",
            proposed(proposal.async_operations.is_some()),
        ),
        ("Role selection (54H)", proposed(!proposal.roles.is_empty())),
        (
            "SOP class extended negotiation (56H)",
            proposed(!proposal.extended.is_empty()),
        ),
        ("User identity (58H)", proposed(proposal.user_identity.is_some())),
        ("Sends what comes from", "clinic-a".to_owned()),
    ] {
        assert_eq!(said(name), value, "{name}");
    }
    let contexts = proposal.contexts.iter().map(|context| {
        let syntaxes: Vec<_> = context.transfer_syntaxes.iter().map(|syntax| syntax.as_str()).collect();
        (context.abstract_syntax.as_str(), syntaxes)
    });
    let expected = [
        (VERIFICATION, vec!["1.2.840.10008.1.2"]),
        ("1.2.840.10008.5.1.4.1.1.2", vec!["1.2.840.10008.1.2.1"]),
    ];
    assert_eq!(contexts.collect::<Vec<_>>(), expected);
    pair.finish().await;
}

fn rejects_for_now(_: &Proposal) -> Answer {
    Answer::Reject(Rejection::TEMPORARY_CONGESTION)
}

fn rejects_for_ever(_: &Proposal) -> Answer {
    Answer::Reject(Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED)
}

fn takes_nothing(proposal: &Proposal) -> Answer {
    takes(proposal, |_| false)
}

fn takes_verification(proposal: &Proposal) -> Answer {
    takes(proposal, |context| context.abstract_syntax.as_str() == VERIFICATION)
}

fn takes(proposal: &Proposal, is_taken: fn(&ProposedContext) -> bool) -> Answer {
    let answer = |context: &ProposedContext| match is_taken(context) {
        true => ContextAnswer::Accepted(context.transfer_syntaxes[0].clone()),
        false => ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED),
    };
    let contexts = proposal.contexts.iter();
    Answer::Accept(contexts.map(|context| (context.id, answer(context))).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_of_an_association_is_dealt_with_as_the_statement_says() {
    let pair = Pair::start(Wishes::default()).await;
    let answering = |answer: fn(&Proposal) -> Answer| Wishes {
        answer: Some(answer),
        ..Wishes::default()
    };
    let (left_alone, paused) = (
        "the destination is left alone for 50ms",
        "the destination is paused and tried every 100ms",
    );
    for (what, done, answer, state) in [
        (
            "rejected for now, A-ASSOCIATE-RQ not answered in time, no connection",
            left_alone,
            rejects_for_now as fn(&Proposal) -> Answer,
            "down",
        ),
        ("rejected permanently", paused, rejects_for_ever, "paused"),
        (
            "every presentation context rejected, Verification too",
            paused,
            takes_nothing,
            "paused",
        ),
    ] {
        assert!(pair.said(what).starts_with(done), "{what}: {}", pair.said(what));
        pair.target.wish(answering(answer));
        send(pair.a.dicom(), 1).await;
        let before = pair.target.proposals().len();
        eventually(what, async || pair.destination().await == state).await;
        eventually("another try", async || pair.target.proposals().len() > before + 2).await;
        assert!(pair.failed().await.is_empty(), "{what}");
        pair.target.wish(Wishes::default());
        eventually("a good destination", async || pair.destination().await == "good").await;
        // One that is kept would carry the next instance without asking.
        eventually("release", async || pair.target.open() == 0).await;
    }
    let what = "the instance's presentation context rejected, another accepted";
    assert_eq!(pair.said(what), "the failed list at once");
    pair.target.wish(answering(takes_verification));
    send(pair.a.dicom(), 1).await;
    eventually("a failed instance", async || pair.failed().await.len() == 1).await;
    assert_eq!(pair.destination().await, "good");
    pair.finish().await;
}
