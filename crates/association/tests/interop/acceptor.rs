//! Our acceptor, and senders as their users run them.

use std::path::Path;

use packhorse_association::AcceptorConfig;
use packhorse_testkit::peers::{Peer, Propose, Scu, Xscu, XscuReport, dcmsend, echoscu, require, storescu};
use packhorse_testkit::process::Finished;
use tokio::task::spawn_blocking;

use crate::scp::{Received, Scp};
use crate::scu::{SOON, expected, in_a_folder, study, without_raw_data};

async fn run(scu: Scu, folder: Option<&Path>) -> Finished {
    let paths: Vec<_> = folder.into_iter().map(Path::to_path_buf).collect();
    spawn_blocking(move || scu.run(&paths, SOON)).await.unwrap().unwrap()
}

async fn send(scu: Xscu, folder: &Path) -> XscuReport {
    let folder = folder.to_path_buf();
    spawn_blocking(move || scu.send(&folder, SOON)).await.unwrap().unwrap()
}

fn uids(received: &[Received]) -> Vec<(String, String)> {
    let mut uids: Vec<_> = received
        .iter()
        .map(|one| (one.sop_class_uid.clone(), one.sop_instance_uid.clone()))
        .collect();
    uids.sort();
    uids
}

#[tokio::test]
async fn echoscu_is_answered() {
    let Some(_) = require(Peer::Echoscu) else { return };
    let mut scp = Scp::start().await;
    let finished = run(echoscu(scp.port, "OURS"), None).await;
    assert!(finished.status.success(), "{}", finished.said());
    let association = scp.association().await;
    assert_eq!(association.echoes, 1);
    assert_eq!(
        (association.calling.as_str(), association.called.as_str()),
        ("PACS_A", "OURS")
    );
    assert!(matches!(association.ended, Some(Ok(()))));
}

#[tokio::test]
async fn storescu_and_dcmsend_store_what_they_have() {
    for peer in [Peer::Storescu, Peer::Dcmsend] {
        let Some(_) = require(peer) else { return };
    }
    let study = without_raw_data(study());
    let folder = in_a_folder(&study);
    for sender in [storescu, dcmsend] {
        // A maximum of ours that is not a divisor of anything, and Nagle's algorithm left on.
        let mut scp = Scp::with(AcceptorConfig {
            max_pdu_length: 5001,
            ..AcceptorConfig::default()
        })
        .await;
        let finished = run(sender(scp.port, "OURS").options(["+sd"]), Some(folder.path())).await;
        assert!(finished.status.success(), "{}", finished.said());
        let association = scp.association().await;
        assert!(scp.is_done(), "{}", finished.said());
        assert_eq!(uids(&association.received), uids(&expected(&study)));
        assert!(matches!(association.ended, Some(Ok(()))));
    }
}

#[tokio::test]
async fn storescu_goes_on_behind_a_refused_class_when_it_is_told_to() {
    let Some(_) = require(Peer::Storescu) else { return };
    let folder = in_a_folder(&study());
    let mut scp = Scp::start().await;
    let sender = storescu(scp.port, "OURS").options(["+sd", "-nh"]);
    let finished = run(sender, Some(folder.path())).await;
    assert_eq!(
        uids(&scp.association().await.received),
        uids(&expected(&without_raw_data(study()))),
        "{}",
        finished.said()
    );
}

#[tokio::test]
async fn the_byte_exact_sender_arrives_byte_for_byte_however_it_proposes() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let folder = in_a_folder(&study());
    for propose in Propose::EACH {
        let mut scp = Scp::start().await;
        let mut sender = Xscu::new(scp.port, "OURS");
        (sender.propose, sender.priority) = (propose, 1);
        let report = send(sender, folder.path()).await;
        let said = report.finished.said();
        assert_eq!((report.sent, report.not_sent), (4, 1), "{propose:?}: {said}");
        assert_eq!(report.rejected_contexts, ["Raw Data Storage"], "{propose:?}");
        let association = scp.association().await;
        assert!(scp.is_done());
        assert_eq!(association.contexts > 100, propose == Propose::All);
        assert_eq!(association.priorities, [1; 4]);
        let mut received = association.received;
        received.sort();
        assert_eq!(received, expected(&without_raw_data(study())), "{propose:?}");
        assert!(matches!(association.ended, Some(Ok(()))), "{:?}", association.ended);
    }
}

#[tokio::test]
async fn a_sender_that_takes_any_or_little_is_answered() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let study = without_raw_data(study());
    let folder = in_a_folder(&study);
    for max_pdu_length in [0, 128, 4096] {
        let mut scp = Scp::start().await;
        let mut sender = Xscu::new(scp.port, "OURS");
        sender.max_pdu_length = max_pdu_length;
        let report = send(sender, folder.path()).await;
        let said = report.finished.said();
        assert_eq!((report.sent, report.not_sent), (4, 0), "{max_pdu_length}: {said}");
        let mut received = scp.association().await.received;
        received.sort();
        assert_eq!(received, expected(&study));
    }
}
