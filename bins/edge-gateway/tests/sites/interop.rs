//! Real senders and receivers at both ends, over the corpus where it lies.

use std::collections::BTreeSet;
use std::fs;

use packhorse_testkit::corpus;
use packhorse_testkit::peers::{
    LogLine, Modality, Orthanc, OrthancOptions, Peer, Propose, Scu, Storescp, StorescpOptions, Xscp, XscpOptions, Xscu,
    dataset_sha256, dcmsend, require, storescu,
};
use tempfile::TempDir;

use crate::instances::{Instance, RAW_DATA, mixed_folder, read_all};
use crate::support::{Host, PATIENCE, ROUTE, Setup, Sites, rows};

/// What is sent: `mix` and `synth` of the corpus, flat in one folder, or a made study.
fn folder() -> TempDir {
    let Some(corpus) = corpus::find() else {
        return mixed_folder(6);
    };
    let flat = tempfile::tempdir().unwrap();
    for part in ["mix", "synth"] {
        for (number, file) in corpus::files(&corpus.join(part)).unwrap().iter().enumerate() {
            let name = file.file_name().unwrap().to_string_lossy();
            fs::copy(file, flat.path().join(format!("{part}-{number:03}-{name}"))).unwrap();
        }
    }
    flat
}

fn is_refused(instance: &Instance) -> bool {
    instance.class == RAW_DATA
}

fn classes(instances: &[Instance]) -> Vec<String> {
    let classes: BTreeSet<_> = instances.iter().map(|instance| instance.class.clone()).collect();
    classes.into_iter().collect()
}

/// Data sets that came, sorted; one that came twice stands twice.
fn digests<'a>(log: impl IntoIterator<Item = &'a LogLine>) -> Vec<String> {
    let mut all: Vec<_> = log.into_iter().map(|line| line.sha256.clone()).collect();
    all.sort();
    all
}

fn accepted_digests(instances: &[Instance]) -> Vec<String> {
    let accepted = instances.iter().filter(|instance| !is_refused(instance));
    let mut all: Vec<_> = accepted.map(|instance| instance.sha256.clone()).collect();
    all.sort();
    all
}

/// One context carries one syntax: of a class that is proposed in one context with several, what is in another than the
/// chosen one (Explicit VR Little Endian, when it is among them) cannot be sent.
fn expected(instances: &[Instance], propose: Propose) -> Vec<String> {
    match propose {
        Propose::Needed | Propose::NeededAndNative => accepted_digests(instances),
        Propose::Grouped | Propose::All => {
            let is_chosen = |instance: &&Instance| instance.syntax == "1.2.840.10008.1.2.1";
            accepted_digests(&instances.iter().filter(is_chosen).cloned().collect::<Vec<_>>())
        }
    }
}

#[test]
fn what_pynetdicom_sends_arrives_identical_however_it_proposes() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let folder = folder();
    let instances = read_all(folder.path());
    // By default pynetdicom takes no class that is stored by another service (Color Palette Storage).
    let target = Xscp::start(XscpOptions {
        only_sop_classes: classes(&instances),
        ..XscpOptions::default()
    })
    .unwrap();
    // What a PACS is known to take would be chosen before Explicit VR Little Endian.
    let setup = Setup {
        in_destination: "mirror = \"off\"",
        ..Setup::default()
    };
    let sites = Sites::start(target.port(), &setup);
    let mut before = 0;
    for propose in Propose::EACH {
        let sender = Xscu {
            propose,
            ..Xscu::new(sites.dicom().port(), ROUTE)
        };
        let expected = expected(&instances, propose);
        let report = sender.send(folder.path(), PATIENCE).unwrap();
        let said = report.finished.said();
        assert_eq!(report.sent, expected.len(), "{propose:?}: {said}");
        assert_eq!(report.rejected_contexts, ["Raw Data Storage"], "{propose:?}");
        let log = target
            .wait_for(before + expected.len(), PATIENCE)
            .unwrap()
            .split_off(before);
        assert_eq!(digests(&log), expected, "{propose:?}");
        for line in &log {
            let sent = instances.iter().filter(|instance| instance.sha256 == line.sha256);
            let is_same =
                |instance: &Instance| instance.class == line.sop_class_uid && instance.syntax == line.transfer_syntax;
            assert!(sent.clone().any(is_same), "{propose:?}: {line:?}");
        }
        before += expected.len();
    }
    sites.wait_until_quiet();
    // What was refused is known.
    let studies = sites.json(Host::A, &["studies", "--limit", "1000"]);
    let refused: BTreeSet<_> = rows(&studies, "studies")
        .flat_map(|study| rows(study, "refused"))
        .map(|class| class["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(refused, BTreeSet::from(["Raw Data Storage".to_owned()]));
}

/// SHA-256 of what a host received and the target took, as its ledger has it.
fn ledger_digests(sites: &Sites, host: Host) -> Vec<String> {
    let mut all: Vec<_> = sites
        .deliveries(host)
        .iter()
        .filter(|delivery| delivery["state"] == "delivered")
        .map(|delivery| delivery["sha256"].as_str().unwrap().to_owned())
        .collect();
    all.sort();
    all
}

/// DCMTK encodes many data sets anew before it sends them, so the ledger at A says what came over the wire.
#[test]
fn what_dcmtk_sends_arrives_as_it_came_over_the_wire() {
    for peer in [Peer::Storescu, Peer::Dcmsend, Peer::Storescp] {
        let Some(_) = require(peer) else { return };
    }
    let folder = folder();
    let accepted = accepted_digests(&read_all(folder.path())).len();
    // By default `storescu` proposes native syntaxes only.
    for (sender, options, tenths) in [
        (storescu as fn(u16, &str) -> Scu, &["-nh", "+sd"][..], 4),
        (dcmsend, &["-nh", "-dn", "+sd"][..], 9),
    ] {
        // A receiver of its own for each sender, for it names files by instance.
        let target = Storescp::start(StorescpOptions::default()).unwrap();
        let sites = Sites::start(target.port(), &Setup::default());
        let scu = sender(sites.dicom().port(), ROUTE).options(options).no_delay();
        let finished = scu.run(&[folder.path()], PATIENCE).unwrap();
        assert!(finished.said().contains("Response (Success)"), "{}", finished.said());
        sites.wait_until_quiet();
        let came = ledger_digests(&sites, Host::A);
        assert!(
            came.len() * 10 >= accepted * tenths,
            "{} of {accepted} came",
            came.len()
        );
        let mut arrived: Vec<_> = target
            .files()
            .unwrap()
            .iter()
            .map(|file| dataset_sha256(file).unwrap())
            .collect();
        arrived.sort();
        assert_eq!(arrived, came);
        assert_eq!(ledger_digests(&sites, Host::B), came);
    }
}

#[test]
fn orthanc_as_source_and_as_target() {
    let Some(_) = require(Peer::Orthanc) else { return };
    let target = Orthanc::start(&OrthancOptions::default()).unwrap();
    let sites = Sites::start(target.port(), &Setup::default());
    let gateway = Modality {
        name: "gateway".to_owned(),
        ae_title: ROUTE.to_owned(),
        port: sites.dicom().port(),
    };
    let source = Orthanc::start(&OrthancOptions {
        modalities: vec![gateway],
        ..OrthancOptions::default()
    })
    .unwrap();
    source.echo("gateway").unwrap();
    let (mut sent, mut uploaded) = (BTreeSet::new(), 0);
    for file in corpus::files(folder().path()).unwrap() {
        if Instance::read(&file).is_none_or(|instance| is_refused(&instance)) {
            continue;
        }
        let Ok(id) = source.upload(&file) else { continue };
        uploaded += 1;
        if source.store("gateway", std::slice::from_ref(&id)).is_ok() {
            sent.insert(source.sop_instance_uid(&id).unwrap());
        }
    }
    // Orthanc cannot encode two of the corpus, and reads the class of one as `31`, which is a private one.
    assert!(uploaded - sent.len() <= 3, "{} of {uploaded} sent", sent.len());
    sites.wait_until_quiet();
    let uid = |id: &String| target.sop_instance_uid(id).unwrap();
    let arrived: BTreeSet<_> = target.instances().unwrap().iter().map(uid).collect();
    // Orthanc does not know the newest class, and its answer is on the list.
    let failed = sites.json(Host::B, &["failed"]);
    let known: BTreeSet<_> = rows(&failed, "failed")
        .map(|delivery| delivery["sop_instance"].as_str().unwrap().to_owned())
        .collect();
    assert!(known.len() <= 2, "{failed}");
    assert_eq!(arrived.union(&known).cloned().collect::<BTreeSet<_>>(), sent);
}

/// With `--reject-ts` and `--only-ts` at the target: everything else arrives, and what it does not take stands in the
/// failed list with its answer.
#[test]
fn what_the_target_does_not_take_is_on_the_failed_list_with_its_answer() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let (explicit, implicit) = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2");
    let folder = folder();
    let instances = read_all(folder.path());
    let rejects = XscpOptions {
        reject_transfer_syntaxes: vec![explicit.to_owned()],
        ..XscpOptions::default()
    };
    let only = XscpOptions {
        only_transfer_syntaxes: vec![implicit.to_owned()],
        ..XscpOptions::default()
    };
    for (options, is_taken) in [
        (rejects, (|syntax| syntax != "1.2.840.10008.1.2.1") as fn(&str) -> bool),
        (only, |syntax| syntax == "1.2.840.10008.1.2"),
    ] {
        let target = Xscp::start(options).unwrap();
        let sites = Sites::start(target.port(), &Setup::default());
        Xscu::new(sites.dicom().port(), ROUTE)
            .send(folder.path(), PATIENCE)
            .unwrap();
        sites.wait_until_quiet();
        let log = target.log().unwrap();
        let failed = sites.json(Host::B, &["failed"]);
        // Classes that pynetdicom does not know it takes in none of these modes, and says so too.
        let on_list: BTreeSet<_> = rows(&failed, "failed")
            .map(|delivery| delivery["sha256"].as_str().unwrap().to_owned())
            .collect();
        for delivery in rows(&failed, "failed") {
            let reason = delivery["reason"].as_str().unwrap();
            assert!(
                reason.contains("does not take") && reason.contains("not supported"),
                "{reason}"
            );
        }
        for instance in instances.iter().filter(|instance| !is_refused(instance)) {
            let came = log.iter().any(|line| line.sha256 == instance.sha256);
            assert_ne!(
                came,
                on_list.contains(&instance.sha256),
                "{}: there, or on the list",
                instance.name
            );
            assert!(!came || is_taken(&instance.syntax), "{}", instance.name);
        }
        assert!(!on_list.is_empty());
        // The far site's word has come back: the source's ledger says the same.
        let at_a = sites.json(Host::A, &["failed"]);
        assert_eq!(rows(&at_a, "failed").count(), on_list.len());
    }
}
