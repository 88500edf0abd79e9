//! The peers against each other: what they are trusted with in other tests is shown here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::instances::{Instance, demo_study};

const SOON: Duration = Duration::from_secs(60);
const RAW_DATA_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.66";

fn in_a_folder(instances: &[Instance]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, instance) in instances.iter().enumerate() {
        fs::write(folder.path().join(format!("{number}.dcm")), instance.to_part10()).unwrap();
    }
    folder
}

fn digests(instances: &[Instance]) -> Vec<String> {
    let mut digests: Vec<String> = instances.iter().map(|instance| sha256(&instance.dataset)).collect();
    digests.sort();
    digests
}

#[test]
fn the_byte_exact_pair_changes_nothing() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let study = demo_study();
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let report = Xscu::new(target.port(), "XSCP")
        .send(in_a_folder(&study).path(), SOON)
        .unwrap();
    assert_eq!(
        (report.sent, report.not_sent),
        (study.len(), 0),
        "{}",
        report.finished.said()
    );

    let log = target.wait_for(study.len(), SOON).unwrap();
    let mut arrived: Vec<String> = log.iter().map(|line| line.sha256.clone()).collect();
    arrived.sort();
    assert_eq!(arrived, digests(&study));
    assert!(
        log.iter()
            .all(|line| line.status == "0000" && line.calling_ae_title == "GWSCU")
    );
    assert_eq!(dataset_sha256(&target.file_of(&log[0])).unwrap(), log[0].sha256);
    assert_eq!(target.associations().len(), 1);
}

#[test]
fn a_target_with_faults_shows_them() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let study = demo_study();
    let classes = study.iter().map(|instance| instance.sop_class_uid.as_str().to_owned());
    let options = XscpOptions {
        only_sop_classes: classes.filter(|class| class != RAW_DATA_STORAGE).collect(),
        status_of: Some((study[0].sop_instance_uid.as_str().to_owned(), 0xA700)),
        ..XscpOptions::default()
    };
    let target = Xscp::start(options).unwrap();
    let sender = Xscu::new(target.port(), "XSCP");
    let report = sender.send(in_a_folder(&study).path(), SOON).unwrap();
    assert_eq!(report.rejected_contexts, ["Raw Data Storage"]);
    assert_eq!(report.not_sent, 2, "{}", report.finished.said());
    assert!(report.answers.contains(&("0.dcm".to_owned(), "a700".to_owned())));
}

#[test]
fn a_target_that_comes_back_goes_on_in_its_log() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let study = demo_study();
    let folder = tempfile::tempdir().unwrap();
    let sent = in_a_folder(&study);
    let mut options = XscpOptions {
        folder: Some(folder.path().to_path_buf()),
        ..XscpOptions::default()
    };
    for times in 1..=2 {
        let mut target = Xscp::start(options.clone()).unwrap();
        options.port = Some(target.port());
        Xscu::new(target.port(), "XSCP").send(sent.path(), SOON).unwrap();
        assert_eq!(
            target.wait_for(times * study.len(), SOON).unwrap().len(),
            times * study.len()
        );
        target.process().kill().unwrap();
    }
}

#[test]
fn too_few_instances_are_told_with_their_number() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let error = target.wait_for(1, Duration::ZERO).unwrap_err();
    assert!(matches!(error, PeerError::TooFew { came: 0, wanted: 1 }), "{error}");
}

#[test]
fn dcmtk_sends_to_dcmtk() {
    for peer in [Peer::Storescu, Peer::Dcmsend, Peer::Echoscu, Peer::Storescp] {
        let Some(_) = require(peer) else { return };
    }
    let study = demo_study();
    let sent = in_a_folder(&study);
    let mut target = Storescp::start(StorescpOptions::default()).unwrap();
    let none: [&Path; 0] = [];
    assert!(echoscu(target.port(), "ANY").run(&none, SOON).unwrap().status.success());
    for scu in [
        storescu(target.port(), "ANY").options(["+sd"]),
        dcmsend(target.port(), "ANY").options(["+sd"]),
    ] {
        let finished = scu.no_delay().run(&[sent.path()], SOON).unwrap();
        assert!(finished.status.success(), "{}", finished.said());
    }
    assert_eq!(target.files().unwrap().len(), study.len());
    let said = target.process().stderr();
    let stored = said.iter().filter(|line| line.contains("Received Store Request"));
    assert_eq!(stored.count(), 2 * study.len());
}

#[test]
fn orthanc_sends_to_the_byte_exact_target() {
    for peer in [Peer::Orthanc, Peer::Pynetdicom] {
        let Some(_) = require(peer) else { return };
    }
    let study = demo_study();
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let options = OrthancOptions {
        modalities: vec![Modality {
            name: "target".to_owned(),
            ae_title: "XSCP".to_owned(),
            port: target.port(),
        }],
        ..OrthancOptions::default()
    };
    let orthanc = Orthanc::start(&options).unwrap();
    orthanc.echo("target").unwrap();
    let folder = in_a_folder(&study);
    let ids: Vec<String> = files_in(folder.path())
        .unwrap()
        .iter()
        .map(|file| orthanc.upload(file).unwrap())
        .collect();
    assert_eq!(orthanc.instances().unwrap().len(), study.len());
    orthanc.store("target", &ids).unwrap();
    assert_eq!(target.wait_for(study.len(), SOON).unwrap().len(), study.len());
    let uid = orthanc.sop_instance_uid(&ids[0]).unwrap();
    assert_eq!(uid, study[0].sop_instance_uid.as_str());
    assert_eq!(orthanc.file(&ids[0]).unwrap().get(128..132), Some(&b"DICM"[..]));
}

#[test]
fn a_taken_port_is_tried_again() {
    let mut tries = std::cell::Cell::new(0);
    let started = start_on_port(None, |port| {
        tries.set(tries.get() + 1);
        if tries.get() == 1 {
            let mut exits = std::process::Command::new("/bin/false");
            crate::process::Process::spawn(&mut exits)?.listens(port, SOON)?;
        }
        Ok(port)
    });
    assert!(started.is_ok());
    assert_eq!(*tries.get_mut(), 2);
}

#[test]
fn an_unfinished_line_of_the_log_is_left_out() {
    let whole = "000001\t1.5\tA\tB\t1.2\t1.3\t1.4\tab\t0000\n";
    let log = log::read(&format!("{whole}000002\t1.6\tA")).unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].number, log[0].status.as_str()), (1, "0000"));
    assert!(matches!(log::read("no columns\n"), Err(PeerError::Log(_))));
}

#[test]
fn an_answer_shorter_than_it_says_is_none() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(http::read(&[&head[..], b"{}"].concat()), Some((200, &b"{}"[..])));
    assert_eq!(http::read(&[&head[..], b"{"].concat()), None);
    assert_eq!(http::read(b"SSH-2.0\r\n"), None);
}
