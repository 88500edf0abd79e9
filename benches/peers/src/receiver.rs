//! Everything that can be sent to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use packhorse_testkit::peers::{Peer, find};
use packhorse_testkit::process::poll;

use crate::bare::Durable;
use crate::load::Nagle;
use crate::ours::{Alone, Linked, Sites};
use crate::peers::{DicomRs, Orthanc, Storescp};
use crate::table::Table;

/// How long what was sent may take to arrive.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A receiver that has its turn.
pub(crate) trait Receiver {
    /// As the tables have it.
    fn name(&self) -> &'static str;

    /// Makes it ready, with nothing of the last turn left.
    fn begin(&mut self, nagle: Nagle) -> anyhow::Result<()>;

    fn port(&self) -> anyhow::Result<u16>;

    fn called_ae_title(&self) -> &'static str {
        "ST_MARY"
    }

    /// Waits until so many instances are where they belong. The last arrival, where that is the end of a longer way, or
    /// to be compared with one.
    fn settle(&mut self, instances: usize) -> anyhow::Result<Option<SystemTime>>;

    /// Peak memory in KiB of each of its processes, under the name it has in the table.
    fn peaks(&self) -> anyhow::Result<Vec<(&'static str, u64)>>;

    /// Ends its turn.
    fn end(&mut self) -> anyhow::Result<()>;
}

/// All receivers of this machine, in the order of their turns, and why others are missing.
pub(crate) struct Receivers {
    pub(crate) all: Vec<Box<dyn Receiver>>,
    pub(crate) skipped: Vec<String>,
    peaks: BTreeMap<&'static str, u64>,
}

impl Receivers {
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let (mut all, mut skipped): (Vec<Box<dyn Receiver>>, _) = (Vec::new(), Vec::new());
        let storescp =
            find(Peer::Storescp).context("storescp (Debian: dcmtk) is not installed: it is the target too")?;
        let sites = Rc::new(Sites::start(&folder.join("sites"), &storescp)?);
        for alone in Alone::both(&sites)? {
            all.push(Box::new(alone));
        }
        all.push(Box::new(Linked::new(sites)));
        all.push(Box::new(Durable::new(folder)));
        all.push(Box::new(Storescp::new(storescp.clone(), folder, &[])));
        all.push(Box::new(Storescp::new(storescp, folder, &["+B"])));
        match find(Peer::Orthanc) {
            Some(program) => all.push(Box::new(Orthanc::new(program, folder))),
            None => skipped.push("Orthanc (Debian: orthanc) is not installed".to_owned()),
        }
        match DicomRs::find() {
            Some(program) => all.push(Box::new(DicomRs::new(program, folder))),
            None => {
                skipped.push("dicom-rs: no dicom-storescp on PATH (cargo install dicom-storescp --locked)".to_owned())
            }
        }
        let peaks = BTreeMap::new();
        Ok(Self { all, skipped, peaks })
    }

    /// Keeps those whose name has one of `names` in it; all when there are none.
    pub(crate) fn keep(&mut self, names: &[String]) {
        let is_asked = |receiver: &dyn Receiver| names.iter().any(|name| receiver.name().contains(name.as_str()));
        self.all
            .retain(|receiver| names.is_empty() || is_asked(receiver.as_ref()));
    }

    /// Keeps the highest peak of each process.
    pub(crate) fn note(&mut self, peaks: Vec<(&'static str, u64)>) {
        for (name, peak) in peaks {
            let highest = self.peaks.entry(name).or_default();
            *highest = peak.max(*highest);
        }
    }

    /// Table of the highest peaks.
    pub(crate) fn memory_report(&self) -> String {
        let mut table = Table::new(&["process", "MiB"]);
        for (name, peak) in &self.peaks {
            table.row(&[(*name).to_owned(), (peak / 1024).to_string()]);
        }
        table.finish("Memory: peak RSS over all turns above")
    }
}

/// Peak RSS of a process (`VmHWM`), in KiB.
pub(crate) fn peak(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("the kernel says no VmHWM")?.parse()?)
}

/// Waits until so many files are in the folder; the newest one's time.
pub(crate) fn last_of(folder: &Path, instances: usize) -> anyhow::Result<SystemTime> {
    let come = poll(PATIENCE, || files(folder).ok().filter(|files| files.len() >= instances));
    let come = come.with_context(|| format!("fewer than {instances} instances came"))?;
    let times = come.iter().map(|file| Ok(file.metadata()?.modified()?));
    let times: Vec<SystemTime> = times.collect::<anyhow::Result<_>>()?;
    times.into_iter().max().context("nothing came")
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    folder
        .read_dir()?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

/// An empty folder of this name, whatever was in it.
pub(crate) fn empty(folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)
}
