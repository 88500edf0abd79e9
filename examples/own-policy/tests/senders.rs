//! The example as a process, and DCMTK's `storescu` as its sender.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use packhorse_testkit::instances::{ImageSize, Study};
use packhorse_testkit::peers::{Peer, require, storescu};
use packhorse_testkit::process::Process;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const POLICY: &str = r#"
source = [{ ae_titles = ["CT_*", "MR_1"], hosts = ["127.0.0.1"] }]
route = [{ called_ae_title = "ARCHIVE", to = "here/ARCHIVE" }]
rule = [
    { class = ["raw-data"], outcome = "hold" },
    { class = ["images"], larger_than = "20KiB", outcome = "refuse-instance" },
]
"#;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "dcm"))
        .collect()
}

struct Scp {
    folder: TempDir,
    _process: Process,
    port: u16,
}

impl Scp {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_own-policy"));
        let mut process = Process::spawn(command.arg(folder.path()).arg("0")).unwrap();
        let line = process.stdout_line("listening on ", PATIENCE).unwrap();
        Self {
            folder,
            _process: process,
            port: line.rsplit_once(':').unwrap().1.parse().unwrap(),
        }
    }

    /// Sends one instance; whether that succeeded.
    fn send(&self, calling: &str, file: &[u8]) -> bool {
        let sent = tempfile::NamedTempFile::new().unwrap();
        fs::write(sent.path(), file).unwrap();
        let scu = storescu(self.port, "ARCHIVE").calling(calling);
        scu.run(&[sent.path()], PATIENCE).unwrap().status.success()
    }

    /// Files that were taken and that are held.
    fn kept(&self) -> (usize, usize) {
        (
            files(self.folder.path()).len(),
            files(&self.folder.path().join("held")).len(),
        )
    }
}

#[test]
fn the_rules_decide_first_and_then_the_rule_in_rust() {
    let Some(_) = require(Peer::Storescu) else { return };
    let (scp, study) = (Scp::start(), Study::new("own policy"));
    let small = study.ct_slice(1, 1, ImageSize::default()).to_part10();
    let large = study.ct_slice(1, 2, ImageSize::square(128)).to_part10();
    let (raw, report) = (study.raw_data(2, 1, 100).to_part10(), study.dose_sr(3, 1).to_part10());
    assert!(!scp.send("STRANGER", &small));
    assert!(scp.send("CT_1", &small) && scp.send("CT_1", &raw));
    assert!(!scp.send("CT_1", &large), "refused by its size");
    assert_eq!(scp.kept(), (1, 1));
    fs::write(scp.folder.path().join("paused.txt"), "MR_1\nCT_1\n").unwrap();
    assert!(!scp.send("CT_1", &small), "paused");
    assert!(scp.send("CT_1", &report), "no image");
    assert!(scp.send("CT_2", &small));
    assert_eq!(scp.kept(), (3, 1));
}
