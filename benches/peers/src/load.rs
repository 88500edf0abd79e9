//! What is sent, and the sender.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use packhorse_testkit::instances::{ImageSize, LargeInstance, Study};
use packhorse_testkit::peers::{Peer, find};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::scu;

/// Nagle's algorithm at DCMTK's end of a connection. Off is `TCP_NODELAY=1` in its environment; on is its default, and
/// costs 44 ms for each message that waits for a delayed acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nagle {
    On,
    Off,
}

impl Nagle {
    /// Sets the environment of a program that is linked with DCMTK.
    pub(crate) fn set(self, command: &mut Command) {
        match self {
            Self::On => command.env_remove("TCP_NODELAY"),
            Self::Off => command.env("TCP_NODELAY", "1"),
        };
    }
}

/// Files to send; gone when dropped.
#[derive(Debug)]
pub(crate) struct Load {
    folder: TempDir,
    pub(crate) files: Vec<PathBuf>,
    /// Bytes of all data sets.
    pub(crate) bytes: u64,
}

impl Load {
    /// CT slices. Another seed makes other UIDs.
    pub(crate) fn slices(parent: &Path, seed: &str, instances: u32, size: ImageSize) -> anyhow::Result<Self> {
        let folder = TempDir::new_in(parent)?;
        let (study, mut files, mut bytes) = (Study::new(seed), Vec::new(), 0);
        for number in 1..=instances {
            let instance = study.ct_slice(1, number, size);
            let file = folder.path().join(format!("{number:06}.dcm"));
            std::fs::write(&file, instance.to_part10())?;
            bytes += u64::try_from(instance.dataset.len())?;
            files.push(file);
        }
        Ok(Self { folder, files, bytes })
    }

    /// One instance with so many bytes of pixels.
    pub(crate) fn one(parent: &Path, seed: &str, pixels: u64) -> anyhow::Result<Self> {
        let folder = TempDir::new_in(parent)?;
        let path = folder.path().join("one.dcm");
        let mut instance = LargeInstance::new(&Study::new(seed), 1, pixels);
        let mut file = File::create_new(&path)?;
        file.write_all(&instance.file_meta())?;
        let bytes = io::copy(&mut instance, &mut file)?;
        let files = vec![path];
        Ok(Self { folder, files, bytes })
    }

    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }

    /// Sends all of it over one association, with DCMTK's default proposal.
    pub(crate) fn send(&self, port: u16, called: &str, nagle: Nagle) -> anyhow::Result<Sent> {
        let program = find(Peer::Storescu).context("storescu (Debian: dcmtk) is not installed: nothing can be sent")?;
        let mut command = Command::new(program);
        command.args(["-aet", "PACS_A", "-aec", called, "127.0.0.1", &port.to_string()]);
        command.args(&self.files);
        nagle.set(&mut command);
        self.run(command, &format!("storescu to {called}"))
    }

    /// Sends all of it over one association of our own SCU.
    pub(crate) fn send_with_ours(&self, port: u16, called: &str) -> anyhow::Result<Sent> {
        self.run(
            scu::command(port, called, &self.files)?,
            &format!("our SCU to {called}"),
        )
    }

    fn run(&self, mut command: Command, what: &str) -> anyhow::Result<Sent> {
        let begun = mark(self.folder.path())?;
        let clock = Instant::now();
        let done = command.output()?;
        let took = clock.elapsed();
        // Both senders end with another status than 0 at the first answer that is not Success.
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{what}: {} {said}", done.status);
        Ok(Sent { begun, took })
    }
}

/// One run of storescu.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// By the clock that stamps files.
    pub(crate) begun: SystemTime,
    /// The whole process, its start included.
    pub(crate) took: Duration,
}

/// Now, by the clock that stamps files, so that arrivals can be told by their files.
fn mark(folder: &Path) -> anyhow::Result<SystemTime> {
    let path = folder.join("begun");
    std::fs::write(&path, "begun")?;
    let begun = path.metadata()?.modified()?;
    std::fs::remove_file(&path)?;
    Ok(begun)
}
