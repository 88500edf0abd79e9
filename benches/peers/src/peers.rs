//! The receivers that are not ours: started for each turn over an empty folder, ended after it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use packhorse_testkit::process::{Process, READY_WITHIN, free_port};
use serde_json::{Value, json};

use crate::load::Nagle;
use crate::receiver::{Receiver, empty, last_of, peak};

/// A running peer.
struct Running {
    process: Process,
    port: u16,
}

/// What is the same for all of them.
struct Common {
    name: &'static str,
    program: PathBuf,
    folder: PathBuf,
    running: Option<Running>,
}

impl Common {
    fn new(name: &'static str, program: PathBuf, parent: &Path) -> Self {
        let (folder, running) = (parent.join(name.replace(' ', "-")), None);
        Self {
            name,
            program,
            folder,
            running,
        }
    }

    fn start(&mut self, nagle: Nagle, arguments: impl Fn(&mut Command, &Path, u16)) -> anyhow::Result<()> {
        empty(&self.folder)?;
        let port = free_port()?;
        let mut command = Command::new(&self.program);
        arguments(&mut command, &self.folder, port);
        nagle.set(&mut command);
        let mut process = Process::spawn(&mut command)?;
        process.listens(port, READY_WITHIN)?;
        self.running = Some(Running { process, port });
        Ok(())
    }

    fn running(&self) -> anyhow::Result<&Running> {
        self.running.as_ref().context("it is not its turn")
    }

    fn peaks(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        Ok(vec![(self.name, peak(self.running()?.process.id())?)])
    }

    fn end(&mut self) -> std::io::Result<()> {
        self.running = None;
        empty(&self.folder)
    }
}

/// DCMTK's receiver: normal, or bit-preserving with `+B`.
pub(crate) struct Storescp {
    common: Common,
    options: &'static [&'static str],
}

impl Storescp {
    pub(crate) fn new(program: PathBuf, parent: &Path, options: &'static [&'static str]) -> Self {
        let name = if options.is_empty() { "storescp" } else { "storescp +B" };
        let common = Common::new(name, program, parent);
        Self { common, options }
    }

    /// Its command over a folder.
    pub(crate) fn arguments(command: &mut Command, options: &[&str], folder: &Path, port: u16) {
        command.args(options).arg("-od").arg(folder).arg(port.to_string());
    }
}

impl Receiver for Storescp {
    fn name(&self) -> &'static str {
        self.common.name
    }

    fn begin(&mut self, nagle: Nagle) -> anyhow::Result<()> {
        let options = self.options;
        self.common.start(nagle, |command, folder, port| {
            Self::arguments(command, options, folder, port);
        })
    }

    fn port(&self) -> anyhow::Result<u16> {
        Ok(self.common.running()?.port)
    }

    fn settle(&mut self, instances: usize) -> anyhow::Result<Option<SystemTime>> {
        last_of(&self.common.folder, instances).map(Some)
    }

    fn peaks(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        self.common.peaks()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.common.end()?)
    }
}

/// Orthanc, with the configuration that Debian ships as far as receiving goes.
pub(crate) struct Orthanc {
    common: Common,
    http_port: u16,
}

impl Orthanc {
    pub(crate) fn new(program: PathBuf, parent: &Path) -> Self {
        let (common, http_port) = (Common::new("Orthanc", program, parent), 0);
        Self { common, http_port }
    }

    fn configuration(folder: &Path, port: u16, http_port: u16) -> Value {
        json!({
            "StorageDirectory": folder.join("storage"),
            "IndexDirectory": folder.join("storage"),
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "HttpPort": http_port,
            "DicomPort": port,
            "DicomCheckCalledAet": false,
            "DicomAlwaysAllowStore": true,
        })
    }

    fn instances(&self) -> anyhow::Result<u64> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.http_port))?;
        stream.write_all(b"GET /statistics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer of Orthanc")?;
        let statistics: Value = serde_json::from_str(body)?;
        statistics["CountInstances"].as_u64().context("no count of Orthanc")
    }
}

impl Receiver for Orthanc {
    fn name(&self) -> &'static str {
        self.common.name
    }

    fn begin(&mut self, nagle: Nagle) -> anyhow::Result<()> {
        let http_port = free_port()?;
        self.http_port = http_port;
        empty(&self.common.folder)?;
        let file = self.common.folder.with_extension("json");
        self.common.start(nagle, |command, folder, port| {
            let written = std::fs::write(&file, Self::configuration(folder, port, http_port).to_string());
            // Without it Orthanc ends, and says why.
            drop(written);
            command.arg(&file);
        })?;
        let running = self.common.running.as_mut().context("it runs")?;
        Ok(running.process.listens(http_port, READY_WITHIN)?)
    }

    fn port(&self) -> anyhow::Result<u16> {
        Ok(self.common.running()?.port)
    }

    fn settle(&mut self, instances: usize) -> anyhow::Result<Option<SystemTime>> {
        let has = self.instances()?;
        ensure!(has == u64::try_from(instances)?, "Orthanc has {has} of {instances}");
        Ok(None)
    }

    fn peaks(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        self.common.peaks()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.common.end()?)
    }
}

/// The receiver of dicom-rs.
pub(crate) struct DicomRs(Common);

impl DicomRs {
    pub(crate) fn new(program: PathBuf, parent: &Path) -> Self {
        Self(Common::new("dicom-storescp (dicom-rs)", program, parent))
    }

    /// On `PATH`, or where cargo installs programs.
    pub(crate) fn find() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        if let Some(home) = std::env::var_os("HOME").map(PathBuf::from) {
            folders.push(home.join(".cargo/bin"));
            folders.push(home.join(".cache/packhorse/dicom-rs/bin"));
        }
        let places = folders.iter().map(|folder| folder.join("dicom-storescp"));
        places.into_iter().find(|place| place.is_file())
    }
}

impl Receiver for DicomRs {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn begin(&mut self, nagle: Nagle) -> anyhow::Result<()> {
        self.0.start(nagle, |command, folder, port| {
            command
                .args(["--promiscuous", "-p", &port.to_string(), "-o"])
                .arg(folder);
        })
    }

    fn port(&self) -> anyhow::Result<u16> {
        Ok(self.0.running()?.port)
    }

    fn settle(&mut self, instances: usize) -> anyhow::Result<Option<SystemTime>> {
        last_of(&self.0.folder, instances).map(Some)
    }

    fn peaks(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        self.0.peaks()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.0.end()?)
    }
}
