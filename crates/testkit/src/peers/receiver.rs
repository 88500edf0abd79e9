//! What most peers have in common: a receiver that writes files into a folder, a sender that is given files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Folder, PeerError, files_in, io_error, start_on_port};
use crate::process::{Finished, Process, ProcessError, READY_WITHIN, run};

/// How a peer's programs are called. Each returns the command of one program, which may be missing.
pub trait Program {
    /// A C-ECHO to a port of 127.0.0.1.
    ///
    /// # Errors
    /// [`PeerError::Missing`].
    fn echo(&self, port: u16) -> Result<Command, PeerError>;

    /// C-STOREs of these files, in this order, to a port of 127.0.0.1.
    ///
    /// # Errors
    /// [`PeerError::Missing`].
    fn send(&self, port: u16, files: &[PathBuf]) -> Result<Command, PeerError>;

    /// A receiver on this port that writes into this folder; `max_pdu_length` in bytes, `None`: its default.
    ///
    /// # Errors
    /// [`PeerError::Missing`].
    fn receive(&self, port: u16, folder: &Path, max_pdu_length: Option<u32>) -> Result<Command, PeerError>;

    /// Waits until a receiver that was just started serves: until its port is open.
    ///
    /// # Errors
    /// When it does not come up.
    fn ready(&self, process: &mut Process, port: u16) -> Result<(), ProcessError> {
        process.listens(port, READY_WITHIN)
    }

    /// Runs the C-ECHO to its end.
    ///
    /// # Errors
    /// When it is missing, or does not end in time. A refusal is none: it stands in how it ended.
    fn run_echo(&self, port: u16, within: Duration) -> Result<Finished, PeerError> {
        Ok(run(&mut self.echo(port)?, within)?)
    }

    /// Runs the sender to its end.
    ///
    /// # Errors
    /// As for [`Self::run_echo`].
    fn run_send(&self, port: u16, files: &[PathBuf], within: Duration) -> Result<Finished, PeerError> {
        Ok(run(&mut self.send(port, files)?, within)?)
    }
}

/// A peer that is one script of ours over its library: a role, a port, and what the role needs.
pub(super) trait Script {
    /// The script in this role, about to be given the rest.
    fn script(&self, role: &str, port: u16) -> Result<Command, PeerError>;
}

impl<S: Script> Program for S {
    fn echo(&self, port: u16) -> Result<Command, PeerError> {
        self.script("echo", port)
    }

    fn send(&self, port: u16, files: &[PathBuf]) -> Result<Command, PeerError> {
        let mut command = self.script("send", port)?;
        command.args(files);
        Ok(command)
    }

    fn receive(&self, port: u16, folder: &Path, max_pdu_length: Option<u32>) -> Result<Command, PeerError> {
        let mut command = self.script("receive", port)?;
        command
            .arg(folder)
            .args(max_pdu_length.map(|length| length.to_string()));
        Ok(command)
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, PeerError> {
    let mut files = files_in(folder)?;
    for entry in folder.read_dir().map_err(|source| io_error(folder, source))? {
        let path = entry.map_err(|source| io_error(folder, source))?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        }
    }
    Ok(files)
}

/// A running receiver with its folder; killed when dropped.
#[derive(Debug)]
pub struct Receiver {
    process: Process,
    folder: Folder,
    port: u16,
}

impl Receiver {
    /// Starts it on a free port with a temporary folder, and waits until it listens.
    ///
    /// # Errors
    /// When it is missing, or does not come up; with what it said.
    pub fn start(program: &dyn Program, max_pdu_length: Option<u32>) -> Result<Self, PeerError> {
        let folder = Folder::new(None)?;
        let (process, port) = start_on_port(None, |port| {
            let mut process = Process::spawn(&mut program.receive(port, &folder.path, max_pdu_length)?)?;
            program.ready(&mut process, port)?;
            Ok((process, port))
        })?;
        Ok(Self { process, folder, port })
    }

    /// The port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The files it wrote until now, in folders of its own too.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, PeerError> {
        files_below(&self.folder.path)
    }

    /// Its process, to stop or kill it, or to read what it said.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
