//! A relay and edges, as processes and by their own commands, and the two ways of measuring one of them.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use packhorse_daemon::admin;
use packhorse_testkit::process::{Daemon, Process, READY_WITHIN, binary, free_port, poll, run, spawn_ready};
use serde_json::Value;

use crate::load::Nagle;
use crate::peers::Storescp;
use crate::receiver::{PATIENCE, Receiver, empty, last_of, peak};

/// The source's site.
const LINKED: &str = "clinic-a";
/// The source's site without a link.
const ALONE: &str = "clinic-b";
/// The target's site.
const TARGET: &str = "st-mary";
/// How long a command, or an orderly end, may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// Folders and programs of a relay and three sites.
pub(crate) struct Sites {
    runtime: tokio::runtime::Runtime,
    folder: PathBuf,
    relay: PathBuf,
    edge: PathBuf,
    storescp: PathBuf,
    target_port: u16,
}

/// The whole way, running.
struct Way {
    relay: Daemon,
    target: Process,
    b: Daemon,
    a: Daemon,
}

impl Sites {
    /// `relay init`, `relay invite` and `edge-gateway join` as an administrator would type them. Nothing runs afterwards.
    pub(crate) fn start(folder: &Path, storescp: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sites = Self {
            runtime,
            folder: folder.to_owned(),
            relay: binary("relay")?,
            edge: binary("edge-gateway")?,
            storescp: storescp.to_owned(),
            target_port: free_port()?,
        };
        let relay_dir = sites.dir("relay");
        command(&sites.relay, &["init", "--name", "127.0.0.1"], &relay_dir)?;
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let toml = format!("name = \"127.0.0.1\"\nquic = \"127.0.0.1:{port}\"\n");
        std::fs::write(relay_dir.join("relay.toml"), toml)?;
        let relay = daemon(&sites.relay, &relay_dir)?;
        for site in [LINKED, ALONE, TARGET] {
            let said = command(&sites.relay, &["invite", site], &relay_dir)?;
            let token = said.iter().find(|line| line.starts_with("ph1_"));
            let token = token.context("the relay gives a token")?.trim();
            command(&sites.edge, &["join", token], &sites.dir(site))?;
        }
        for (site, toml) in [(LINKED, A_TOML), (ALONE, A_TOML), (TARGET, &b_toml(sites.target_port))] {
            std::fs::write(sites.dir(site).join("edge.toml"), toml)?;
        }
        end(relay)?;
        Ok(sites)
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn target_folder(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Starts everything, and waits for the far site's consent and the link.
    fn up(&self) -> anyhow::Result<Way> {
        let (folder, port) = (self.target_folder(), self.target_port);
        empty(&folder)?;
        let mut storescp = Command::new(&self.storescp);
        Storescp::arguments(&mut storescp, &["+B"], &folder, port);
        Nagle::Off.set(&mut storescp);
        let mut target = Process::spawn(&mut storescp)?;
        target.listens(port, READY_WITHIN)?;
        let relay = daemon(&self.relay, &self.dir("relay"))?;
        let b = daemon(&self.edge, &self.dir(TARGET))?;
        let a = daemon(&self.edge, &self.dir(LINKED))?;
        self.wait_until("link up", || {
            let status = self.ask(LINKED, "status")?;
            Ok(status.pointer("/link/state").and_then(Value::as_str) == Some("up") && self.is_accepted(LINKED)?)
        })?;
        Ok(Way { relay, target, b, a })
    }

    fn ask(&self, site: &str, command: &str) -> anyhow::Result<Value> {
        let dir = self.dir(site);
        Ok(self.runtime.block_on(admin::ask(&dir, command, Value::Null))?)
    }

    fn number(&self, site: &str, key: &str) -> anyhow::Result<u64> {
        let status = self.ask(site, "status")?;
        let number = status.get(key).and_then(Value::as_u64);
        number.with_context(|| format!("no {key} in the status of {site}"))
    }

    fn is_accepted(&self, site: &str) -> anyhow::Result<bool> {
        let routes = self.ask(site, "routes")?;
        Ok(routes.pointer("/routes/0/standing").and_then(Value::as_str) == Some("accepted"))
    }

    fn wait_until(&self, what: &str, is_so: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let found = poll(PATIENCE, || match is_so() {
            Ok(false) => {
                std::thread::park_timeout(Duration::from_millis(50));
                None
            }
            settled => Some(settled.map(drop)),
        });
        found.with_context(|| format!("{what} did not come within {PATIENCE:?}"))?
    }
}

/// What a spool has when its turn begins. Nothing is in it either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spool {
    /// No slabs: they are written with zeros while instances come.
    New,
    /// The slabs of the turn before, as in a gateway that has been in use: slabs are recycled.
    InUse,
}

/// Edge A whose relay does not answer: it takes into custody, and nothing goes on.
pub(crate) struct Alone {
    sites: Rc<Sites>,
    spool: Spool,
    running: Option<Daemon>,
}

impl Alone {
    /// One on each kind of spool, with one folder, in the order of their turns. Waits for the far site's consent over a
    /// link, once, and cuts the link then.
    pub(crate) fn both(sites: &Rc<Sites>) -> anyhow::Result<[Self; 2]> {
        let way = sites.up()?;
        let edge = daemon(&sites.edge, &sites.dir(ALONE))?;
        sites.wait_until("consent", || sites.is_accepted(ALONE))?;
        end(edge)?;
        way.end()?;
        let nobody = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let toml = format!("{A_TOML}\n[link]\nrelay = \"{nobody}\"\n");
        std::fs::write(sites.dir(ALONE).join("edge.toml"), toml)?;
        Ok([Spool::New, Spool::InUse].map(|spool| Self {
            sites: Rc::clone(sites),
            spool,
            running: None,
        }))
    }

    /// Leaves nothing of the last turn but slabs, if this is a spool in use: no row points into them then.
    fn wipe(&self, dir: &Path) -> anyhow::Result<()> {
        let spool = dir.join("spool");
        if self.spool == Spool::New {
            empty(&spool)?;
        }
        ["spool/index.sqlite", "ledger.sqlite"]
            .iter()
            .try_for_each(|file| wipe(&dir.join(file)))
    }
}

/// Removes a SQLite database, if it is there.
pub(crate) fn wipe(database: &Path) -> anyhow::Result<()> {
    for end in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(end);
        if Path::new(&path).exists() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

impl Receiver for Alone {
    fn name(&self) -> &'static str {
        match self.spool {
            Spool::New => "edge A, no link, new spool",
            Spool::InUse => "edge A, no link",
        }
    }

    fn begin(&mut self, _nagle: Nagle) -> anyhow::Result<()> {
        let dir = self.sites.dir(ALONE);
        self.wipe(&dir)?;
        self.running = Some(daemon(&self.sites.edge, &dir)?);
        Ok(())
    }

    fn port(&self) -> anyhow::Result<u16> {
        dicom_port(self.running.as_ref())
    }

    fn settle(&mut self, instances: usize) -> anyhow::Result<Option<SystemTime>> {
        let has = self.sites.number(ALONE, "to_relay")?;
        // Its own messages wait too.
        ensure!(has >= u64::try_from(instances)?, "edge A has {has} of {instances}");
        Ok(None)
    }

    fn peaks(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        let running = self.running.as_ref().context("it is not its turn")?;
        Ok(vec![(self.name(), peak(running.process.id())?)])
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.running.take().map_or(Ok(()), end)
    }
}

/// Edge A with everything behind it: relay, edge B and a target. Spools stay from turn to turn, and are empty between them.
pub(crate) struct Linked {
    sites: Rc<Sites>,
    running: Option<Way>,
}

impl Linked {
    pub(crate) const fn new(sites: Rc<Sites>) -> Self {
        Self { sites, running: None }
    }
}

impl Receiver for Linked {
    fn name(&self) -> &'static str {
        "edge A, link running"
    }

    fn begin(&mut self, _nagle: Nagle) -> anyhow::Result<()> {
        self.running = Some(self.sites.up()?);
        Ok(())
    }

    fn port(&self) -> anyhow::Result<u16> {
        dicom_port(self.running.as_ref().map(|way| &way.a))
    }

    fn settle(&mut self, instances: usize) -> anyhow::Result<Option<SystemTime>> {
        let sites = &self.sites;
        let is_over = || Ok(sites.number(LINKED, "in_flight")? == 0 && sites.number(TARGET, "in_flight")? == 0);
        sites.wait_until("the outcome of every instance", is_over)?;
        last_of(&sites.target_folder(), instances).map(Some)
    }

    fn peaks(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        let way = self.running.as_ref().context("it is not its turn")?;
        Ok(vec![
            (self.name(), peak(way.a.process.id())?),
            ("relay", peak(way.relay.process.id())?),
            ("edge B", peak(way.b.process.id())?),
            ("storescp +B behind edge B", peak(way.target.id())?),
        ])
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.running.take().map_or(Ok(()), Way::end)
    }
}

impl Way {
    fn end(mut self) -> anyhow::Result<()> {
        end(self.a)?;
        end(self.b)?;
        end(self.relay)?;
        self.target.kill()?;
        Ok(())
    }
}

fn dicom_port(daemon: Option<&Daemon>) -> anyhow::Result<u16> {
    let daemon = daemon.context("it is not its turn")?;
    Ok(daemon.address("dicom").context("an edge says where it listens")?.port())
}

fn daemon(program: &Path, dir: &Path) -> anyhow::Result<Daemon> {
    Ok(spawn_ready(Command::new(program).arg("run").arg("--dir").arg(dir))?)
}

fn end(mut daemon: Daemon) -> anyhow::Result<()> {
    let status = daemon.process.terminate(COMMAND_WITHIN)?;
    let said = daemon.process.stderr().join("\n");
    ensure!(status.success(), "a daemon of ours ended with {status}: {said}");
    Ok(())
}

fn command(program: &Path, arguments: &[&str], dir: &Path) -> anyhow::Result<Vec<String>> {
    let done = run(
        Command::new(program).args(arguments).arg("--dir").arg(dir),
        COMMAND_WITHIN,
    )?;
    ensure!(done.status.success(), "{arguments:?}: {}", done.said());
    Ok(done.stdout)
}

const A_TOML: &str = r#"[limits]
associations_per_peer = 100

[[listener]]
name = "lan"
address = "127.0.0.1:0"

[[source]]
ae_titles = ["*"]
hosts = ["127.0.0.1"]

[[route]]
called_ae_title = "ST_MARY"
to = "st-mary/PACS_B"
"#;

fn b_toml(target_port: u16) -> String {
    format!(
        r#"[[destination]]
ae_title = "PACS_B"
address = "127.0.0.1:{target_port}"
calling_ae_title = "PACKHORSE"
accept_from = ["clinic-a", "clinic-b"]
"#
    )
}
