//! DCMTK's programs, with the defaults its users run them with.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Folder, Peer, PeerError, files_in, find, start_on_port};
use crate::process::{Finished, Process, READY_WITHIN, run};

/// One of DCMTK's SCUs, about to call 127.0.0.1. It stops at the first refusal, as by default.
#[derive(Clone, Debug)]
pub struct Scu {
    peer: Peer,
    port: u16,
    called_ae_title: String,
    calling_ae_title: String,
    options: Vec<OsString>,
    no_delay: bool,
}

/// `storescu -R`: proposes the contexts it needs, and sends the files.
#[must_use]
pub fn storescu(port: u16, called_ae_title: &str) -> Scu {
    Scu::new(Peer::Storescu, port, called_ae_title).options(["-v", "-R"])
}

/// `storescu` without `-R`: proposes 128 contexts, whatever it has.
#[must_use]
pub fn storescu_proposing_all(port: u16, called_ae_title: &str) -> Scu {
    Scu::new(Peer::Storescu, port, called_ae_title).options(["-v"])
}

/// `dcmsend`: groups and sorts the files itself.
#[must_use]
pub fn dcmsend(port: u16, called_ae_title: &str) -> Scu {
    Scu::new(Peer::Dcmsend, port, called_ae_title).options(["-v"])
}

/// `echoscu`: one C-ECHO.
#[must_use]
pub fn echoscu(port: u16, called_ae_title: &str) -> Scu {
    Scu::new(Peer::Echoscu, port, called_ae_title).options(["-v"])
}

impl Scu {
    fn new(peer: Peer, port: u16, called_ae_title: &str) -> Self {
        Self {
            peer,
            port,
            called_ae_title: called_ae_title.to_owned(),
            calling_ae_title: "PACS_A".to_owned(),
            options: Vec::new(),
            no_delay: false,
        }
    }

    /// The title it calls itself by; `PACS_A` when none is given.
    #[must_use]
    pub fn calling(mut self, calling_ae_title: &str) -> Self {
        calling_ae_title.clone_into(&mut self.calling_ae_title);
        self
    }

    /// More options of the program: `+sd` for folders, `-nh` to go on after a refusal, `-xs` and the like for syntaxes.
    #[must_use]
    pub fn options(mut self, options: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// Turns Nagle's algorithm off (`TCP_NODELAY=1`), which DCMTK leaves on.
    #[must_use]
    pub const fn no_delay(mut self) -> Self {
        self.no_delay = true;
        self
    }

    /// Runs it to its end over these files or folders (none for a C-ECHO).
    ///
    /// # Errors
    /// When it is missing, or does not end in time. A refusal is none: it stands in the exit status and the output.
    pub fn run<P: AsRef<Path>>(&self, paths: &[P], within: Duration) -> Result<Finished, PeerError> {
        let program = find(self.peer).ok_or(PeerError::Missing(self.peer))?;
        let mut command = Command::new(program);
        command.args(["-aet", &self.calling_ae_title, "-aec", &self.called_ae_title]);
        command.args(&self.options).args(["127.0.0.1", &self.port.to_string()]);
        command.args(paths.iter().map(AsRef::as_ref));
        if self.no_delay {
            command.env("TCP_NODELAY", "1");
        }
        Ok(run(&mut command, within)?)
    }
}

/// How `storescp` behaves.
#[derive(Clone, Debug, Default)]
pub struct StorescpOptions {
    /// Port to listen on; `None`: a free one.
    pub port: Option<u16>,
    /// Folder for what it receives; `None`: a temporary one.
    pub folder: Option<PathBuf>,
    /// More options of the program.
    pub options: Vec<String>,
    /// Without the options that keep it from changing or refusing anything: as a user runs it who gives none.
    pub by_default: bool,
}

/// DCMTK's receiver on every interface, bit-preserving (`+B`); killed when dropped. It takes one association at a time, and
/// names files by SOP Instance UID (3.6.7 does so with `+B -uf` too): a repeat overwrites, and shows in what it said.
#[derive(Debug)]
pub struct Storescp {
    process: Process,
    folder: Folder,
    port: u16,
}

impl Storescp {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it is missing, or does not come up; with what it said.
    pub fn start(options: StorescpOptions) -> Result<Self, PeerError> {
        let program = find(Peer::Storescp).ok_or(PeerError::Missing(Peer::Storescp))?;
        let folder = Folder::new(options.folder.clone())?;
        let (process, port) = start_on_port(options.port, |port| {
            let mut command = Command::new(&program);
            if !options.by_default {
                // +xa: every transfer syntax; -pm: every SOP class.
                command.args(["+B", "+xa", "-pm"]);
            }
            command.args(["-v", "-od"]).arg(&folder.path);
            command.args(&options.options).arg(port.to_string());
            let mut process = Process::spawn(&mut command)?;
            process.listens(port, READY_WITHIN)?;
            Ok((process, port))
        })?;
        Ok(Self { process, folder, port })
    }

    /// The port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The files it wrote until now; the last may be unfinished while an association is open.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, PeerError> {
        files_in(&self.folder.path)
    }

    /// Its process, to stop or kill it, or to read what it said.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
