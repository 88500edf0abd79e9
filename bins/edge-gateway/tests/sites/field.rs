//! The field's case: images before and behind a Raw Data object, from real senders as their users run them.

use std::fs;
use std::path::{Path, PathBuf};

use packhorse_testkit::instances::{ImageSize, Study};
use packhorse_testkit::peers::{
    Modality, Orthanc, OrthancOptions, Peer, PynetdicomApps, Xscp, XscpOptions, dcmsend, require, storescu,
    storescu_proposing_all,
};
use tempfile::TempDir;

use crate::support::{Host, PATIENCE, Setup, Sites};

const OUTCOMES: [&str; 4] = ["accept", "refuse-context", "refuse-instance", "hold"];
const SENDERS: [&str; 9] = [
    "storescu",
    "storescu -R",
    "storescu -R -nh",
    "dcmsend",
    "dcmsend -nh",
    "Orthanc",
    "Orthanc Permissive",
    "pynetdicom storescu",
    "pynetdicom storescu -cx",
];

const AT_A: &str = r#"
[[route]]
called_ae_title = "ACCEPT"
to = "st-mary/PACS_B"
[[route]]
called_ae_title = "REFUSE-CONTEXT"
to = "st-mary/PACS_B"
[[route]]
called_ae_title = "REFUSE-INSTANCE"
to = "st-mary/PACS_B"
[[route]]
called_ae_title = "HOLD"
to = "st-mary/PACS_B"
[[rule]]
route = ["ACCEPT"]
class = ["raw-data"]
outcome = "accept"
[[rule]]
route = ["REFUSE-INSTANCE"]
class = ["raw-data"]
outcome = "refuse-instance"
[[rule]]
route = ["HOLD"]
class = ["raw-data"]
outcome = "hold"
"#;

fn files(seed: &str) -> (TempDir, Vec<PathBuf>, String) {
    let folder = tempfile::tempdir().unwrap();
    let study = Study::new(seed);
    let size = ImageSize::square(32);
    let made = [
        study.ct_slice(1, 1, size),
        study.raw_data(2, 1, 5_000),
        study.ct_slice(1, 2, size),
    ];
    let mut paths = Vec::new();
    for (number, instance) in made.iter().enumerate() {
        let path = folder.path().join(format!("{number:04}.dcm"));
        fs::write(&path, instance.to_part10()).unwrap();
        paths.push(path);
    }
    (folder, paths, study.study_instance_uid().to_string())
}

fn send(sender: &str, orthanc: &Orthanc, port: u16, outcome: &str, folder: &Path, paths: &[PathBuf]) -> String {
    let called = outcome.to_uppercase();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let scu = |scu: packhorse_testkit::peers::Scu, options: &[&str]| {
        let finished = scu.options(options).no_delay().run(&paths, PATIENCE).unwrap();
        format!("rc {:?}\n{}", finished.status.code(), finished.said())
    };
    match sender {
        "storescu" => scu(storescu_proposing_all(port, &called), &[]),
        "storescu -R" => scu(storescu(port, &called), &[]),
        "storescu -R -nh" => scu(storescu(port, &called), &["-nh"]),
        "dcmsend" => scu(dcmsend(port, &called), &[]),
        "dcmsend -nh" => scu(dcmsend(port, &called), &["-nh"]),
        "Orthanc" | "Orthanc Permissive" => {
            let ids: Vec<_> = paths.iter().map(|path| orthanc.upload(path).unwrap()).collect();
            let answer = if sender == "Orthanc" {
                orthanc.store(outcome, &ids)
            } else {
                orthanc.store_permissive(outcome, &ids)
            };
            format!("{answer:?}")
        }
        other => {
            let options: &[&str] = if other.ends_with("-cx") { &["-cx"] } else { &[] };
            let finished = PynetdicomApps
                .storescu(port, &called, options, folder, PATIENCE)
                .unwrap();
            format!("rc {:?}\n{}", finished.status.code(), finished.said())
        }
    }
}

#[test]
fn explore() {
    for peer in [Peer::Pynetdicom, Peer::Storescu, Peer::Dcmsend, Peer::Orthanc] {
        let Some(_) = require(peer) else { return };
    }
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let mut sites = Sites::start(
        target.port(),
        &Setup {
            at_a: AT_A,
            ..Setup::default()
        },
    );
    let port = sites.dicom().port();
    let modality = |outcome: &&str| Modality {
        name: (*outcome).to_owned(),
        ae_title: outcome.to_uppercase(),
        port,
    };
    let orthanc = Orthanc::start(&OrthancOptions {
        modalities: OUTCOMES.iter().map(modality).collect(),
        ..OrthancOptions::default()
    })
    .unwrap();
    let mut out = String::new();
    let begun = std::time::Instant::now();
    for outcome in OUTCOMES {
        for sender in SENDERS {
            let (folder, paths, study) = files(&format!("field {outcome} {sender}"));
            let said = send(sender, &orthanc, port, outcome, folder.path(), &paths);
            let accounts = sites.json(Host::A, &["study", &study]);
            out.push_str(&format!("##### {outcome} | {sender}\n{said}\n"));
            out.push_str(&format!("words {}\n", accounts["accounts"][0]["summary"]["words"]));
            out.push_str(&format!("associations {}\n", accounts["accounts"][0]["associations"]));
            out.push_str(&format!("refused {}\n\n", accounts["accounts"][0]["refused_instances"]));
        }
    }
    out.push_str(&format!("{:?}\n", begun.elapsed()));
    out.push_str(&sites.daemon(Host::A).process.stderr().join("\n"));
    std::process::Command::new("cp")
        .arg("-r")
        .arg(sites.folder(Host::A))
        .arg("/tmp/w-clinic")
        .status()
        .unwrap();
    fs::write("/tmp/w-field.txt", out).unwrap();
}
