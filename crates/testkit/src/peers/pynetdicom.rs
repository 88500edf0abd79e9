//! The byte-exact pair: an SCP and an SCU on pynetdicom that leave every data set as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::log::{self, LogLine};
use super::{Folder, Peer, PeerError, Program, SCRIPTS, find, io_error, start_on_port};
use crate::certs::CertFiles;
use crate::process::{Finished, Process, READY_WITHIN, poll, run};

/// Longest life of an SCP that nobody ended: a test that was killed leaves none behind for ever.
const LIFE: &str = "3600";

/// How the target behaves. By default it takes every storage class and syntax and answers 0000.
#[derive(Clone, Debug, Default)]
pub struct XscpOptions {
    /// Port to listen on; `None`: a free one. A target that comes back is given its old one.
    pub port: Option<u16>,
    /// Folder for its log and what it receives; `None`: a temporary one. A target that comes back goes on in its log.
    pub folder: Option<PathBuf>,
    /// Largest P-DATA-TF it takes, in bytes; `None`: 16382.
    pub max_pdu_length: Option<u32>,
    /// Associations at a time; `None`: 100.
    pub associations_max: Option<u32>,
    /// Transfer syntaxes it does not take.
    pub reject_transfer_syntaxes: Vec<String>,
    /// The only transfer syntaxes it takes; empty: all.
    pub only_transfer_syntaxes: Vec<String>,
    /// The only SOP classes it takes; empty: all.
    pub only_sop_classes: Vec<String>,
    /// Calling AE titles it takes; empty: all.
    pub require_calling: Vec<String>,
    /// Called AE title it insists on; `None`: any.
    pub require_called: Option<String>,
    /// Time it spends on each instance.
    pub slow: Duration,
    /// The status it answers; `None`: 0000.
    pub status: Option<u16>,
    /// Another status for every Nth.
    pub status_every: Option<(u32, u16)>,
    /// Another status for one SOP instance, each time.
    pub status_of: Option<(String, u16)>,
    /// A-ABORT instead of an answer to one SOP instance, each time.
    pub abort_of: Option<String>,
    /// A-ABORT instead of an answer to every Nth.
    pub abort_every: Option<u32>,
    /// Answers 0000 and keeps nothing for every Nth.
    pub forget_every: Option<u32>,
    /// TLS; `None`: plain.
    pub tls: Option<PeerTls>,
}

/// Certificate, key and trust of a peer that speaks TLS.
#[derive(Clone, Debug)]
pub struct PeerTls {
    /// Its own.
    pub own: CertFiles,
    /// PEM of whom it trusts. An SCP requires a certificate then; an SCU compares no names. `None`: anybody.
    pub trusts: Option<PathBuf>,
    /// The only version it speaks, `1.2` or `1.3`; `None`: any.
    pub version: Option<&'static str>,
}

impl PeerTls {
    fn arguments(&self) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut arguments = vec!["--tls".to_owned(), text(&self.own.certificate), text(&self.own.key)];
        if let Some(trusts) = &self.trusts {
            arguments.extend(["--tls-trust".to_owned(), text(trusts)]);
        }
        if let Some(version) = self.version {
            arguments.extend(["--tls-version".to_owned(), version.to_owned()]);
        }
        arguments
    }
}

/// A byte-exact storage SCP on 127.0.0.1; killed when dropped.
#[derive(Debug)]
pub struct Xscp {
    process: Process,
    folder: Folder,
    port: u16,
}

impl Xscp {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When pynetdicom is missing, or it does not come up; with what it said.
    pub fn start(options: XscpOptions) -> Result<Self, PeerError> {
        let python = find(Peer::Pynetdicom).ok_or(PeerError::Missing(Peer::Pynetdicom))?;
        let folder = Folder::new(options.folder.clone())?;
        let (process, port) = start_on_port(options.port, |port| {
            let mut command = script(&python, "xscp.py");
            command.arg(port.to_string()).arg(&folder.path).arg(LIFE);
            command.args(options.arguments());
            let mut process = Process::spawn(&mut command)?;
            process.stdout_line("listening ", READY_WITHIN)?;
            Ok((process, port))
        })?;
        Ok(Self { process, folder, port })
    }

    /// The port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What it received until now, oldest first.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<Vec<LogLine>, PeerError> {
        let path = self.folder.path.join("log.tsv");
        let text = fs::read_to_string(&path).map_err(|source| io_error(&path, source))?;
        log::read(&text)
    }

    /// Waits until it received at least so many, whatever it answered; all of its log.
    ///
    /// # Errors
    /// [`PeerError::TooFew`], or when its log cannot be read.
    pub fn wait_for(&self, instances: usize, within: Duration) -> Result<Vec<LogLine>, PeerError> {
        let enough = || match self.log() {
            Ok(log) if log.len() < instances => None,
            settled => Some(settled),
        };
        match poll(within, enough) {
            Some(settled) => settled,
            None => Err(PeerError::TooFew {
                came: self.log()?.len(),
                wanted: instances,
            }),
        }
    }

    /// The file it keeps for a line of its log: the data set as it came, behind a file meta group.
    #[must_use]
    pub fn file_of(&self, line: &LogLine) -> PathBuf {
        self.folder.path.join(format!("{:06}.dcm", line.number))
    }

    /// One line for each association that was requested: calling and called title, number of contexts, maximum PDU length.
    #[must_use]
    pub fn associations(&self) -> Vec<String> {
        let mut lines = self.process.stdout();
        lines.retain(|line| line.starts_with("association: "));
        lines
    }

    /// Its process, to stop or kill it.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl XscpOptions {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, values: &[String]| {
            if !values.is_empty() {
                arguments.push(name.to_owned());
                arguments.extend_from_slice(values);
            }
        };
        let number = |value: Option<u32>| value.map_or_else(Vec::new, |value| vec![value.to_string()]);
        let status = |code: u16| format!("{code:04x}");
        add("--max-pdu", &number(self.max_pdu_length));
        add("--max-assoc", &number(self.associations_max));
        add("--reject-ts", &self.reject_transfer_syntaxes);
        add("--only-ts", &self.only_transfer_syntaxes);
        add("--only-sop", &self.only_sop_classes);
        add("--require-calling", &self.require_calling);
        add("--require-called", self.require_called.as_slice());
        add("--slow", &[self.slow.as_millis().to_string()]);
        add("--status", &self.status.map(status).into_iter().collect::<Vec<_>>());
        if let Some((n, code)) = self.status_every {
            add("--status-every", &[n.to_string(), status(code)]);
        }
        if let Some((uid, code)) = &self.status_of {
            add("--status-uid", &[uid.clone(), status(*code)]);
        }
        add("--abort-uid", self.abort_of.as_slice());
        add("--abort-every", &number(self.abort_every));
        add("--forget-every", &number(self.forget_every));
        arguments.extend(self.tls.iter().flat_map(PeerTls::arguments));
        arguments
    }
}

/// The programs that come with pynetdicom: `echoscu`, `storescu` and `storescp`, with their defaults.
#[derive(Clone, Copy, Debug)]
pub struct PynetdicomApps;

impl PynetdicomApps {
    fn app(name: &str) -> Result<Command, PeerError> {
        let mut command = Command::new(find(Peer::Pynetdicom).ok_or(PeerError::Missing(Peer::Pynetdicom))?);
        command.args(["-u", "-m", "pynetdicom", name]);
        Ok(command)
    }

    /// Runs `storescu` with these options over a folder, to its end: `-cx` proposes only the contexts it needs.
    ///
    /// # Errors
    /// When it is missing, or does not end in time. A refusal is none: it stands in its output.
    pub fn storescu(
        self,
        port: u16,
        called_ae_title: &str,
        options: &[&str],
        folder: &Path,
        within: Duration,
    ) -> Result<Finished, PeerError> {
        let mut command = Self::app("storescu")?;
        command.args(["127.0.0.1", &port.to_string()]).arg(folder);
        command.args(["-aec", called_ae_title, "-aet", "PACS_A"]).args(options);
        Ok(run(&mut command, within)?)
    }
}

impl Program for PynetdicomApps {
    fn echo(&self, port: u16) -> Result<Command, PeerError> {
        let mut command = Self::app("echoscu")?;
        command.args(["127.0.0.1", &port.to_string()]);
        Ok(command)
    }

    fn send(&self, port: u16, files: &[PathBuf]) -> Result<Command, PeerError> {
        let mut command = Self::app("storescu")?;
        command.args(["127.0.0.1", &port.to_string()]);
        // One file, or the folder of all.
        match files {
            [file] => command.arg(file),
            _ => command.args(files.first().and_then(|file| file.parent())),
        };
        Ok(command)
    }

    fn receive(&self, port: u16, folder: &Path, max_pdu_length: Option<u32>) -> Result<Command, PeerError> {
        let mut command = Self::app("storescp")?;
        command.arg(port.to_string()).arg("-od").arg(folder);
        if let Some(length) = max_pdu_length {
            command.args(["--max-pdu", &length.to_string()]);
        }
        Ok(command)
    }
}

/// How the sender groups its presentation contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propose {
    /// One for each (SOP class, transfer syntax) it has.
    #[default]
    Needed,
    /// The same, and one with the native syntaxes for each class.
    NeededAndNative,
    /// One for each class, with all its syntaxes.
    Grouped,
    /// The same, and one for every other storage class.
    All,
}

impl Propose {
    /// Each of them.
    pub const EACH: [Self; 4] = [Self::Needed, Self::NeededAndNative, Self::Grouped, Self::All];

    const fn word(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::NeededAndNative => "needed+native",
            Self::Grouped => "grouped",
            Self::All => "all",
        }
    }
}

/// A byte-exact storage SCU to 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Xscu {
    /// Port it calls.
    pub port: u16,
    /// Title it calls.
    pub called_ae_title: String,
    /// Title it calls itself by.
    pub calling_ae_title: String,
    /// Largest P-DATA-TF it takes, in bytes.
    pub max_pdu_length: u32,
    /// How it groups its contexts.
    pub propose: Propose,
    /// Like most senders: aborts at the first instance that is refused.
    pub stop_on_failure: bool,
    /// Priority of the C-STORE-RQ: 0 medium, 1 high, 2 low.
    pub priority: u8,
    /// TLS; `None`: plain.
    pub tls: Option<PeerTls>,
}

impl Xscu {
    /// A sender `GWSCU` with pynetdicom's own maximum PDU length that goes on after a refusal.
    #[must_use]
    pub fn new(port: u16, called_ae_title: &str) -> Self {
        Self {
            port,
            called_ae_title: called_ae_title.to_owned(),
            calling_ae_title: "GWSCU".to_owned(),
            max_pdu_length: 16382,
            propose: Propose::Needed,
            stop_on_failure: false,
            priority: 2,
            tls: None,
        }
    }

    /// Sends every instance below a folder, without its lists and notes (`.tsv`, `.md`), on one association, or on more when
    /// they need more than 128 contexts.
    ///
    /// # Errors
    /// When pynetdicom is missing, or it does not end in time. A refusal is none: it stands in the report.
    pub fn send(&self, folder: &Path, within: Duration) -> Result<XscuReport, PeerError> {
        let python = find(Peer::Pynetdicom).ok_or(PeerError::Missing(Peer::Pynetdicom))?;
        let mut command = script(&python, "xscu.py");
        command
            .arg(self.port.to_string())
            .arg(&self.called_ae_title)
            .arg(folder);
        command.args(["--calling", &self.calling_ae_title, "--propose", self.propose.word()]);
        command.args(["--max-pdu", &self.max_pdu_length.to_string()]);
        command.args(["--priority", &self.priority.to_string()]);
        if self.stop_on_failure {
            command.arg("--stop-on-failure");
        }
        command.args(self.tls.iter().flat_map(PeerTls::arguments));
        Ok(XscuReport::read(run(&mut command, within)?))
    }
}

/// What the sender said.
#[derive(Clone, Debug)]
pub struct XscuReport {
    /// Instances answered 0000.
    pub sent: usize,
    /// Instances answered something else, or nothing, or refused at negotiation.
    pub not_sent: usize,
    /// File name and answer (a status, or why there is none) of each instance that was not answered 0000.
    pub answers: Vec<(String, String)>,
    /// Names of the SOP classes with a rejected context.
    pub rejected_contexts: Vec<String>,
    /// All it printed, and how it ended; a failure when there was no association.
    pub finished: Finished,
}

impl XscuReport {
    fn read(finished: Finished) -> Self {
        let mut report = Self {
            sent: 0,
            not_sent: 0,
            answers: Vec::new(),
            rejected_contexts: Vec::new(),
            finished,
        };
        for line in report.finished.stdout.clone() {
            if let Some((sent, not_sent, rejected)) = sums(&line) {
                (report.sent, report.not_sent) = (sent, not_sent);
                report.rejected_contexts = rejected;
            } else if let Some((file, answer)) = line.split_once(' ') {
                report.answers.push((file.to_owned(), answer.to_owned()));
            }
        }
        report
    }
}

/// Reads the last line: `sent 3, not sent 1, rejected contexts: Raw Data Storage`.
fn sums(line: &str) -> Option<(usize, usize, Vec<String>)> {
    let rest = line.strip_prefix("sent ")?;
    let (sent, rest) = rest.split_once(", not sent ")?;
    let (not_sent, names) = rest.split_once(", rejected contexts: ")?;
    let mut names: Vec<String> = names.split(", ").map(str::to_owned).collect();
    names.retain(|name| name != "none");
    Some((sent.parse().ok()?, not_sent.parse().ok()?, names))
}

fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    // -u: a line that is printed is to be read at once. -B: no bytecode beside the sources.
    command.args(["-u", "-B"]).arg(Path::new(SCRIPTS).join(name));
    command
}
