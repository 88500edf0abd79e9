//! Our requestor, and receivers with the faults of real ones.

use packhorse_association::codec::Abort;
use packhorse_association::{AssociationError, RequestedAssociation};
use packhorse_dicom::negotiation::{ContextAnswer, ContextResult, Rejection};
use packhorse_dicom::sop_class::RAW_DATA_STORAGE;
use packhorse_dicom::status::Status;
use packhorse_testkit::instances::Instance;
use packhorse_testkit::peers::{
    LogLine, Peer, Storescp, StorescpOptions, Xscp, XscpOptions, dataset_sha256, require, sha256,
};
use tokio::task::spawn_blocking;

use crate::scp::Received;
use crate::scu::{SOON, associate, expected, store, study, without_raw_data};

async fn xscp(options: XscpOptions) -> Xscp {
    spawn_blocking(|| Xscp::start(options)).await.unwrap().unwrap()
}

async fn log(target: Xscp, instances: usize) -> Vec<LogLine> {
    spawn_blocking(move || target.wait_for(instances, SOON))
        .await
        .unwrap()
        .unwrap()
}

/// Echoes, stores everything and releases.
async fn deliver(port: u16, instances: &[Instance]) {
    let mut association = associate(port, instances).await.unwrap();
    assert_eq!(association.echo().await.unwrap(), Status::SUCCESS);
    for instance in instances {
        assert_eq!(store(&mut association, instance).await.unwrap().status, Status::SUCCESS);
    }
    assert_eq!(association.echo().await.unwrap(), Status::SUCCESS);
    association.release().await.unwrap();
}

#[tokio::test]
async fn storescp_keeps_every_byte_whatever_its_maximum() {
    let Some(_) = require(Peer::Storescp) else { return };
    let study = study();
    for max_pdu in ["4096", "131072"] {
        let options = StorescpOptions {
            options: vec!["--max-pdu".to_owned(), max_pdu.to_owned()],
            ..StorescpOptions::default()
        };
        let target = spawn_blocking(|| Storescp::start(options)).await.unwrap().unwrap();
        deliver(target.port(), &study).await;
        let files = target.files().unwrap();
        let mut stored: Vec<String> = files.iter().map(|file| dataset_sha256(file).unwrap()).collect();
        let mut sent: Vec<String> = study.iter().map(|instance| sha256(&instance.dataset)).collect();
        stored.sort();
        sent.sort();
        assert_eq!(stored, sent);
    }
}

#[tokio::test]
async fn the_byte_exact_target_gets_every_byte_whatever_its_maximum() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let study = study();
    for max_pdu_length in [Some(0), Some(1001), Some(4096), None] {
        let target = xscp(XscpOptions {
            max_pdu_length,
            ..XscpOptions::default()
        })
        .await;
        deliver(target.port(), &study).await;
        let log = log(target, study.len()).await;
        let mut received: Vec<Received> = log
            .iter()
            .map(|line| Received {
                sop_class_uid: line.sop_class_uid.clone(),
                sop_instance_uid: line.sop_instance_uid.clone(),
                transfer_syntax: line.transfer_syntax.clone(),
                sha256: line.sha256.clone(),
            })
            .collect();
        received.sort();
        assert_eq!(received, expected(&study), "{max_pdu_length:?}");
        assert_eq!(
            (log[0].calling_ae_title.as_str(), log[0].called_ae_title.as_str()),
            ("PACKHORSE", "XSCP")
        );
    }
}

#[tokio::test]
async fn a_refused_context_says_why_and_the_others_are_used() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let study = study();
    let taken = without_raw_data(study.clone());
    let classes = taken.iter().map(|instance| instance.sop_class_uid.to_string());
    let target = xscp(XscpOptions {
        only_sop_classes: classes.collect(),
        ..XscpOptions::default()
    })
    .await;
    let mut association = associate(target.port(), &study).await.unwrap();
    let refused: Vec<_> = association
        .contexts()
        .iter()
        .filter(|context| context.answer == ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED))
        .map(|context| context.proposed.abstract_syntax.as_str())
        .filter(|class| *class != packhorse_dicom::sop_class::VERIFICATION)
        .collect();
    assert_eq!(refused, [RAW_DATA_STORAGE]);
    for instance in &taken {
        assert_eq!(store(&mut association, instance).await.unwrap().status, Status::SUCCESS);
    }
    association.release().await.unwrap();
    assert_eq!(log(target, taken.len()).await.len(), taken.len());
}

#[tokio::test]
async fn an_instance_that_is_refused_is_told_and_the_association_goes_on() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let study = study();
    let target = xscp(XscpOptions {
        status_of: Some((study[1].sop_instance_uid.to_string(), 0xA700)),
        ..XscpOptions::default()
    })
    .await;
    let mut association = associate(target.port(), &study).await.unwrap();
    let mut answers = Vec::new();
    for instance in &study {
        answers.push(store(&mut association, instance).await.unwrap().status.0);
    }
    association.release().await.unwrap();
    assert_eq!(answers, [0, 0xA700, 0, 0, 0]);
}

#[tokio::test]
async fn a_target_that_aborts_is_heard() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let study = study();
    let target = xscp(XscpOptions {
        abort_of: Some(study[0].sop_instance_uid.to_string()),
        ..XscpOptions::default()
    })
    .await;
    let mut association = associate(target.port(), &study).await.unwrap();
    let stored = store(&mut association, &study[0]).await;
    assert!(
        matches!(stored, Err(AssociationError::Aborted(Abort { .. }))),
        "{stored:?}"
    );
}

#[tokio::test]
async fn a_target_that_does_not_know_us_says_so() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = xscp(XscpOptions {
        require_calling: vec!["SOMEBODY".to_owned()],
        ..XscpOptions::default()
    })
    .await;
    let refused = associate(target.port(), &study())
        .await
        .map(RequestedAssociation::abort);
    assert!(
        matches!(
            refused,
            Err(AssociationError::Rejected {
                rejection: Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED,
                ..
            })
        ),
        "not refused so"
    );
}
