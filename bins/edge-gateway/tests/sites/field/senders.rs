//! Senders as their users run them.

use std::fmt;
use std::path::{Path, PathBuf};

use packhorse_testkit::peers::{
    Modality, Orthanc, OrthancOptions, PeerError, PynetdicomApps, Scu, dcmsend, storescu, storescu_proposing_all,
};
use packhorse_testkit::process::Finished;

use super::OUTCOMES;
use crate::support::PATIENCE;

/// A sender with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Storescu { needed: bool, goes_on: bool },
    Dcmsend { goes_on: bool },
    Orthanc { permissive: bool },
    Pynetdicom { needed: bool },
}

impl Sender {
    /// Each with its defaults first.
    pub(super) const ALL: [Self; 9] = [
        Self::Storescu {
            needed: false,
            goes_on: false,
        },
        Self::Storescu {
            needed: true,
            goes_on: false,
        },
        Self::Storescu {
            needed: true,
            goes_on: true,
        },
        Self::Dcmsend { goes_on: false },
        Self::Dcmsend { goes_on: true },
        Self::Orthanc { permissive: false },
        Self::Orthanc { permissive: true },
        Self::Pynetdicom { needed: false },
        Self::Pynetdicom { needed: true },
    ];
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Storescu {
                needed: false,
                goes_on: false,
            } => "DCMTK `storescu`",
            Self::Storescu {
                needed: true,
                goes_on: false,
            } => "DCMTK `storescu -R`",
            Self::Storescu { goes_on: true, .. } => "DCMTK `storescu -R -nh`",
            Self::Dcmsend { goes_on: false } => "DCMTK `dcmsend`",
            Self::Dcmsend { goes_on: true } => "DCMTK `dcmsend -nh`",
            Self::Orthanc { permissive: false } => "Orthanc",
            Self::Orthanc { permissive: true } => "Orthanc, `Permissive`",
            Self::Pynetdicom { needed: false } => "pynetdicom `storescu`",
            Self::Pynetdicom { needed: true } => "pynetdicom `storescu -cx`",
        })
    }
}

/// What sends.
pub(super) struct Senders {
    /// Edge A.
    port: u16,
    orthanc: Orthanc,
}

impl Senders {
    pub(super) fn start(port: u16) -> Self {
        let modality = |outcome: &&str| Modality {
            name: (*outcome).to_owned(),
            ae_title: outcome.to_uppercase(),
            port,
        };
        let orthanc = Orthanc::start(&OrthancOptions {
            modalities: OUTCOMES.iter().map(modality).collect(),
            ..OrthancOptions::default()
        });
        Self {
            port,
            orthanc: orthanc.unwrap(),
        }
    }

    /// Sends the files in their order, by the route of this outcome. What the sender says of it.
    pub(super) fn send(&self, sender: Sender, outcome: &str, paths: &[PathBuf]) -> String {
        let called = outcome.to_uppercase();
        let going_on: &[&str] = &["-nh"];
        match sender {
            Sender::Storescu { needed, goes_on } => {
                let scu = if needed { storescu } else { storescu_proposing_all }(self.port, &called);
                run(scu, if goes_on { going_on } else { &[] }, paths)
            }
            Sender::Dcmsend { goes_on } => {
                run(dcmsend(self.port, &called), if goes_on { going_on } else { &[] }, paths)
            }
            Sender::Orthanc { permissive } => self.orthanc_says(permissive, outcome, paths),
            Sender::Pynetdicom { needed } => {
                let options: &[&str] = if needed { &["-cx"] } else { &[] };
                let folder = paths[0].parent().unwrap();
                let finished = PynetdicomApps.storescu(self.port, &called, options, folder, PATIENCE);
                said(&finished.unwrap())
            }
        }
    }

    fn orthanc_says(&self, permissive: bool, outcome: &str, paths: &[PathBuf]) -> String {
        let ids: Vec<String> = paths.iter().map(|path| self.orthanc.upload(path).unwrap()).collect();
        let answer = if permissive {
            self.orthanc.store_permissive(outcome, &ids)
        } else {
            self.orthanc.store(outcome, &ids)
        };
        match answer {
            Ok(answer) => format!("job done, {} failed", answer["FailedInstancesCount"]),
            Err(PeerError::Http(_)) => "job failed".to_owned(),
            Err(other) => panic!("{other}"),
        }
    }
}

fn run(scu: Scu, options: &[&str], paths: &[PathBuf]) -> String {
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let finished = scu.options(options).no_delay().run(&paths, PATIENCE);
    said(&finished.unwrap())
}

/// The exit status, and whether an error was printed.
fn said(finished: &Finished) -> String {
    let said = finished.said();
    let is_error = |line: &str| ["E:", "F:"].iter().any(|begin| line.starts_with(begin));
    let code = finished
        .status
        .code()
        .map_or_else(|| "killed".to_owned(), |code| code.to_string());
    if said.lines().any(is_error) {
        format!("exit {code}, prints an error")
    } else {
        format!("exit {code}")
    }
}
