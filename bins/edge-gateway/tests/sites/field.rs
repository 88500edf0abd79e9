//! The field's case: images before and behind a Raw Data object, from real senders as their users run them, for each outcome
//! that a rule can have. `crates/edge/FIELD-CASE.md` is the table in print.

mod senders;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use packhorse_testkit::instances::{ImageSize, Study};
use packhorse_testkit::peers::{LogLine, Peer, Xscp, XscpOptions, require};
use packhorse_testkit::raw_scu::RawScu;
use serde_json::Value;
use tempfile::TempDir;

use crate::instances::RAW_DATA;
use crate::support::{Host, PATIENCE, Setup, Sites, rows};
use senders::{Sender, Senders};

/// Each has a route of its own, named so in capitals.
const OUTCOMES: [&str; 4] = ["refuse-context", "refuse-instance", "hold", "accept"];
const COMMITMENT: &str = "1.2.840.10008.1.20.1";
const HEAD: &str = include_str!("field/head.md");

const AT_A: &str = r#"
[[route]]
called_ae_title = "REFUSE-CONTEXT"
to = "st-mary/PACS_B"

[[route]]
called_ae_title = "REFUSE-INSTANCE"
to = "st-mary/PACS_B"

[[route]]
called_ae_title = "HOLD"
to = "st-mary/PACS_B"

[[route]]
called_ae_title = "ACCEPT"
to = "st-mary/PACS_B"

[[rule]]
route = ["REFUSE-INSTANCE"]
class = ["raw-data"]
outcome = "refuse-instance"

[[rule]]
route = ["HOLD"]
class = ["raw-data"]
outcome = "hold"

[[rule]]
route = ["ACCEPT"]
class = ["raw-data"]
outcome = "accept"
"#;

/// One study on its way from one sender by one route.
struct Case {
    outcome: &'static str,
    sender: Sender,
    study: String,
    images: Vec<String>,
    raw_data: String,
    said: String,
    folder: TempDir,
}

impl Case {
    /// Images before and behind the Raw Data object.
    fn new(outcome: &'static str, sender: Sender) -> Self {
        let study = Study::new(&format!("field's case, {outcome}, {sender}"));
        let size = ImageSize::square(32);
        let made = [
            study.ct_slice(1, 1, size),
            study.raw_data(2, 1, 5_000),
            study.ct_slice(1, 2, size),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (number, instance) in made.iter().enumerate() {
            fs::write(folder.path().join(format!("{number}.dcm")), instance.to_part10()).unwrap();
        }
        let [first, raw_data, last] = made.map(|instance| instance.sop_instance_uid.to_string());
        Self {
            outcome,
            sender,
            study: study.study_instance_uid().to_string(),
            images: vec![first, last],
            raw_data,
            said: String::new(),
            folder,
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        (0..3)
            .map(|number| self.folder.path().join(format!("{number}.dcm")))
            .collect()
    }

    /// What arrived, and what we say: the row of the table, and whether all is well.
    fn row(&self, log: &[LogLine], studies: &Value) -> (String, bool) {
        let arrived = |uid: &String| log.iter().filter(|line| line.sop_instance_uid == *uid).count();
        let images: usize = self.images.iter().map(&arrived).sum();
        let raw_data = arrived(&self.raw_data);
        let study = rows(studies, "studies").find(|study| study["study"] == self.study.as_str());
        let study = study.unwrap_or_else(|| panic!("{} knows nothing of it", self.said));
        let mut words = vec![study["words"].as_str().unwrap()];
        words.extend(rows(study, "watched").filter_map(Value::as_str));
        let we_say = words.join("; ");
        let is_named = we_say.contains("sender stopped at refused Raw Data Storage")
            || we_say.contains("whether the sender stopped at Raw Data Storage is not known");
        let is_well = match self.outcome {
            "hold" => images == 2 && raw_data == 0 && we_say.contains("held 1"),
            "accept" => images == 2 && raw_data == 1,
            "refuse-instance" => {
                raw_data == 0 && (images == 2 || is_named) && we_say.contains("refused 1 Raw Data Storage")
            }
            _ => raw_data == 0 && (images == 2 || is_named),
        };
        let row = format!(
            "| {} | {images} of 2 | {raw_data} of 1 | {} | {we_say} |",
            self.sender, self.said
        );
        (row, is_well)
    }
}

#[test]
fn with_each_sender_and_outcome_what_is_lost_is_named() {
    for peer in [Peer::Pynetdicom, Peer::Storescu, Peer::Dcmsend, Peer::Orthanc] {
        let Some(_) = require(peer) else { return };
    }
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let setup = Setup {
        at_a: AT_A,
        ..Setup::default()
    };
    let mut sites = Sites::start(target.port(), &setup);
    let senders = Senders::start(sites.dicom().port());
    let mut cases = Vec::new();
    for outcome in OUTCOMES {
        for sender in Sender::ALL {
            let mut case = Case::new(outcome, sender);
            case.said = senders.send(sender, outcome, &case.files());
            cases.push(case);
        }
    }
    sites.wait_until_quiet();
    compare(&cases, &target.log().unwrap(), &sites.json(Host::A, &["studies"]));
    each_stop_is_counted_and_told_once(&mut sites, &cases);
    what_is_held_arrives_when_it_is_released(&sites, &target, &cases);
    a_study_sent_three_times_is_a_resend_loop(&mut sites, &senders, &cases);
    storage_commitment_is_told(&mut sites);
}

/// With the document.
fn compare(cases: &[Case], log: &[LogLine], studies: &Value) {
    let (mut printed, mut wrong) = (HEAD.to_owned(), Vec::new());
    for outcome in OUTCOMES {
        let columns = "| sender | images | Raw Data | the sender says | we say |\n|---|---|---|---|---|";
        writeln!(printed, "\n## `{outcome}`\n\n{columns}").unwrap();
        for case in cases.iter().filter(|case| case.outcome == outcome) {
            let (row, is_well) = case.row(log, studies);
            writeln!(printed, "{row}").unwrap();
            if !is_well {
                wrong.push(format!("{outcome}: {row}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/edge/FIELD-CASE.md");
    if env::var_os("PACKHORSE_WRITE_FIELD_CASE").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, printed, "PACKHORSE_WRITE_FIELD_CASE=1 writes it again");
}

fn source(sites: &Sites) -> Value {
    let status = sites.json(Host::A, &["status"]);
    rows(&status, "sources").next().cloned().unwrap()
}

fn each_stop_is_counted_and_told_once(sites: &mut Sites, cases: &[Case]) {
    let studies = sites.json(Host::A, &["studies"]);
    let is_stop = |study: &&Value| {
        let words = rows(study, "watched").filter_map(Value::as_str);
        words.filter(|words| words.starts_with("sender stopped")).count() > 0
    };
    let stops = rows(&studies, "studies").filter(is_stop).count();
    let source = source(sites);
    assert_eq!(
        (source["stopped"].as_u64(), source["source"].as_str()),
        (Some(stops as u64), Some("PACS A"))
    );
    assert!(stops >= 6, "{source}");
    let said = sites.said(Host::A, &["status"]);
    assert!(said.contains("outcome = \"hold\"") && said.contains(RAW_DATA), "{said}");
    let log = sites.daemon(Host::A).process.stderr();
    let told = |kind: &str| {
        log.iter()
            .filter(|line| line.contains(&format!("notice=\"{kind}\"")))
            .count()
    };
    assert_eq!(told("class-refused"), 1, "one source, one class");
    assert!(told("sender-stopped") >= 1);
    assert_eq!(told("resend-loop"), 0);
    assert!(!cases.is_empty());
}

fn what_is_held_arrives_when_it_is_released(sites: &Sites, target: &Xscp, cases: &[Case]) {
    let held: BTreeSet<&str> = cases
        .iter()
        .filter(|case| case.outcome == "hold")
        .map(|case| case.raw_data.as_str())
        .collect();
    let waiting = sites.json(Host::A, &["failed"]);
    let ids: Vec<&str> = rows(&waiting, "held")
        .filter_map(|held| held["delivery"].as_str())
        .collect();
    assert_eq!(ids.len(), held.len());
    sites.said(Host::A, &[&["retry"], &ids[..]].concat());
    sites.wait_until_quiet();
    let log = target.log().unwrap();
    let came: BTreeSet<&str> = log
        .iter()
        .map(|line| line.sop_instance_uid.as_str())
        .filter(|uid| held.contains(uid))
        .collect();
    assert_eq!(came, held);
}

/// Orthanc's job, which fails without a trace on its association, is pressed again and again.
fn a_study_sent_three_times_is_a_resend_loop(sites: &mut Sites, senders: &Senders, cases: &[Case]) {
    let orthanc = Sender::Orthanc { permissive: false };
    let case = cases
        .iter()
        .find(|case| case.outcome == "refuse-context" && case.sender == orthanc)
        .unwrap();
    for _ in 0..2 {
        assert_eq!(senders.send(orthanc, case.outcome, &case.files()), "job failed");
    }
    sites.wait_until("a resend loop", |sites| rows(&source(sites), "loops").count() == 1);
    let loops = source(sites)["loops"].clone();
    assert_eq!(
        (&loops[0]["study"], &loops[0]["times"]),
        (&case.study.as_str().into(), &3.into())
    );
    let process = &mut sites.daemon(Host::A).process;
    process.stderr_line("notice=\"resend-loop\"", PATIENCE).unwrap();
}

fn storage_commitment_is_told(sites: &mut Sites) {
    let pair = (COMMITMENT.to_owned(), "1.2.840.10008.1.2".to_owned());
    let scu = RawScu::associate(sites.dicom(), "HOLD", "PACS_A", &[pair]).unwrap();
    assert_eq!(scu.results(), [3]);
    scu.release().unwrap();
    let process = &mut sites.daemon(Host::A).process;
    process.stderr_line("notice=\"commitment-asked\"", PATIENCE).unwrap();
    assert!(source(sites)["commitment_asked"].is_string());
}
