//! A PACS that takes little: what becomes of the rest of a study, and what its sender is told.

use std::fs;
use std::path::Path;

use packhorse_testkit::instances::{CT_IMAGE_STORAGE, ImageSize, Study, XRAY_RADIATION_DOSE_SR_STORAGE};
use packhorse_testkit::peers::{Peer, Xscp, XscpOptions, Xscu, require};
use serde_json::Value;
use tempfile::TempDir;

use crate::instances::{Instance, assert_arrived, mixed_folder, read_all};
use crate::support::{Host, PATIENCE, ROUTE, Setup, Sites, rows};

const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const QUICK: &str = "[mirror]\npace = \"100ms\"\nconfirm = \"500ms\"\nrefresh = \"1s\"\n";

fn with_mirror(in_destination: &'static str) -> Setup {
    Setup {
        in_destination,
        in_delivery: QUICK,
        ..Setup::default()
    }
}

fn only_ct() -> XscpOptions {
    XscpOptions {
        only_sop_classes: vec![CT_IMAGE_STORAGE.to_owned()],
        ..XscpOptions::default()
    }
}

/// What edge A knows of the far PACS.
fn known(sites: &Sites) -> Value {
    sites.json(Host::A, &["routes", ROUTE])["routes"][0]["mirror"].clone()
}

fn not_taken(known: &Value) -> usize {
    known["classes_not_taken"].as_array().map_or(0, Vec::len)
}

/// Reasons on the failed list of edge B.
fn failed(sites: &Sites) -> Vec<String> {
    let failed = sites.json(Host::B, &["failed"]);
    let reasons = rows(&failed, "failed").map(|row| row["reason"].as_str().unwrap_or_default().to_owned());
    reasons.collect()
}

fn send(sites: &Sites, folder: &Path) -> (usize, usize) {
    let report = Xscu::new(sites.dicom().port(), ROUTE).send(folder, PATIENCE).unwrap();
    (report.sent, report.not_sent)
}

/// Two slices in Explicit VR Little Endian, one in Big Endian, two more, of one study.
fn with_big_endian() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=5 {
        let study = Study::new("big and little");
        let study = if number == 3 { study.big_endian() } else { study };
        let slice = study.ct_slice(1, number, ImageSize::square(32));
        fs::write(folder.path().join(format!("{number}.dcm")), slice.to_part10()).unwrap();
    }
    folder
}

#[test]
fn under_advise_every_other_image_arrives_and_the_failed_list_has_the_answer_of_the_pacs() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let rejecting = XscpOptions {
        reject_transfer_syntaxes: vec![BIG_ENDIAN.to_owned()],
        ..XscpOptions::default()
    };
    let only_syntax = XscpOptions {
        only_transfer_syntaxes: vec!["1.2.840.10008.1.2.1".to_owned()],
        ..XscpOptions::default()
    };
    let cases = [
        (
            only_ct(),
            mixed_folder(4),
            4,
            "Dose SR",
            "abstract syntax not supported (3)",
        ),
        (
            rejecting,
            with_big_endian(),
            4,
            "Big Endian",
            "transfer syntaxes not supported (4)",
        ),
        (
            only_syntax,
            with_big_endian(),
            4,
            "Big Endian",
            "transfer syntaxes not supported (4)",
        ),
    ];
    for (options, folder, arrives, what, answer) in cases {
        let target = Xscp::start(options).unwrap();
        let sites = Sites::start(target.port(), &with_mirror("mirror = \"advise\""));
        let (sent, _) = send(&sites, folder.path());
        assert_eq!(sent, arrives + 1, "advise refuses nothing");
        sites.wait_until_quiet();
        let log = target.log().unwrap();
        assert_eq!(log.len(), arrives);
        let arrived: Vec<Instance> = read_all(folder.path())
            .into_iter()
            .filter(|instance| log.iter().any(|line| line.sop_instance_uid == instance.uid))
            .collect();
        assert_eq!(arrived.len(), arrives);
        assert_arrived(&arrived, &log);
        let failed = failed(&sites);
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains(what) && failed[0].contains(answer), "{failed:?}");
    }
}

#[test]
fn under_strict_the_source_is_refused_what_is_known_and_the_log_and_routes_say_why() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(only_ct()).unwrap();
    let mut sites = Sites::start(target.port(), &with_mirror("mirror = \"strict\""));
    // More than fit into one of the two associations.
    sites.wait_until("what the PACS takes", |sites| not_taken(&known(sites)) > 200);
    let folder = mixed_folder(4);
    assert_eq!(
        send(&sites, folder.path()),
        (4, 2),
        "Raw Data by a rule, the report for the PACS's sake"
    );
    sites.wait_until_quiet();
    assert_eq!(target.log().unwrap().len(), 4);
    assert_eq!(failed(&sites), Vec::<String>::new());
    let line = sites
        .daemon(Host::A)
        .process
        .stderr_line("known of the destination", PATIENCE)
        .unwrap();
    assert!(
        line.contains("Dose SR") && line.contains("the destination does not take it (probed 20"),
        "{line}"
    );
    let told = sites.said(Host::A, &["routes"]);
    assert!(
        told.contains("mirror strict, probed 20") && told.contains("1 classes taken"),
        "{told}"
    );
    let facts = sites.said(Host::A, &["routes", "--facts"]);
    assert!(
        facts.contains("taken     CT Image Storage") && facts.contains("(probe, 20"),
        "{facts}"
    );
    let ours = sites.json(Host::B, &["routes"]);
    assert!(not_taken(&ours["destinations"][0]["mirror"]) > 100);
    let sent = sites
        .run(Host::A, &["send", folder.path().to_str().unwrap(), "--to", ROUTE])
        .said();
    assert!(
        sent.contains("but the destination does not take it (probed 20"),
        "{sent}"
    );
}

#[test]
fn a_pacs_that_is_started_again_with_fewer_classes_is_not_believed_at_once() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let setup = Setup {
        in_delivery: "[mirror]\npace = \"100ms\"\nconfirm = \"1h\"\nrefresh = \"500ms\"\n",
        ..with_mirror("mirror = \"strict\"")
    };
    let sites = Sites::start(target.port(), &setup);
    let takes_reports = |sites: &Sites| {
        let known = known(sites);
        let mut facts = rows(&known, "facts");
        facts.any(|fact| {
            fact["class"] == XRAY_RADIATION_DOSE_SR_STORAGE && fact["syntax"].is_null() && fact["takes"] == true
        })
    };
    sites.wait_until("that it takes reports", takes_reports);
    let port = target.port();
    drop(target);
    let target = Xscp::start(XscpOptions {
        port: Some(port),
        ..only_ct()
    });
    let target = target.unwrap();
    sites.wait_until("three more probes", |_| target.associations().len() >= 3);
    assert!(takes_reports(&sites));
    assert_eq!(
        send(&sites, mixed_folder(2).path()),
        (3, 1),
        "the report is taken here as before"
    );
}
