//! A relay and two edge gateways, as an administrator would set them up by hand.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use packhorse_testkit::process::{Daemon, Finished, ProcessError, binary, poll, run, spawn_ready};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The title that PACS A calls.
pub(crate) const ROUTE: &str = "ST_MARY";
/// The title that PACS B knows us by.
pub(crate) const CALLING: &str = "PACKHORSE";

/// One of the three processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Relay,
    A,
    B,
}

impl Host {
    pub(crate) const ALL: [Self; 3] = [Self::Relay, Self::A, Self::B];

    const fn folder(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::A => "clinic-a",
            Self::B => "st-mary",
        }
    }
}

/// What differs from test to test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// More of edge A's configuration.
    pub(crate) at_a: &'static str,
    /// More of edge B's `[delivery]`.
    pub(crate) in_delivery: &'static str,
    /// More of edge A's configuration, as only the test knows it.
    pub(crate) also_at_a: String,
    /// More of edge B's.
    pub(crate) also_at_b: String,
    /// More of edge B's `[[destination]]`.
    pub(crate) in_destination: &'static str,
}

/// Everything that runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Sites {
    folder: TempDir,
    daemons: [Option<Daemon>; 3],
    dicom: SocketAddr,
}

impl Sites {
    /// Starts all three, with PACS B at `target_port`, and waits for the far site's consent.
    pub(crate) fn start(target_port: u16, setup: &Setup) -> Self {
        let mut sites = Self {
            folder: tempfile::tempdir().unwrap(),
            daemons: [None, None, None],
            dicom: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        sites.start_relay();
        for host in [Host::A, Host::B] {
            let token = sites.said(Host::Relay, &["invite", host.folder()]);
            sites.said(host, &["join", &token]);
        }
        sites.write(Host::B, "edge.toml", &at_b(target_port, setup));
        sites.restart(Host::B);
        sites.write(Host::A, "edge.toml", &at_a(sites.dicom.port(), setup));
        sites.restart(Host::A);
        sites.dicom = sites.daemon(Host::A).address("dicom").unwrap();
        // The port stays when the edge is started again.
        sites.write(Host::A, "edge.toml", &at_a(sites.dicom.port(), setup));
        sites.wait_until("the far site's consent", |sites| {
            // One announcement speaks of all destinations; some tests have routes that lead nowhere.
            let routes = sites.json(Host::A, &["routes"]);
            rows(&routes, "routes").any(|route| route["called_ae_title"] == ROUTE && route["standing"] == "accepted")
        });
        sites
    }

    fn start_relay(&mut self) {
        self.said(Host::Relay, &["init", "--name", "127.0.0.1"]);
        self.write(
            Host::Relay,
            "relay.toml",
            "name = \"127.0.0.1\"\nquic = \"127.0.0.1:0\"\n",
        );
        self.restart(Host::Relay);
        let address = self.daemon(Host::Relay).address("quic").unwrap();
        let fixed = format!("name = \"127.0.0.1\"\nquic = \"{address}\"\n");
        self.write(Host::Relay, "relay.toml", &fixed);
    }

    /// Where PACS A sends to.
    pub(crate) const fn dicom(&self) -> SocketAddr {
        self.dicom
    }

    pub(crate) fn folder(&self, host: Host) -> PathBuf {
        self.folder.path().join(host.folder())
    }

    pub(crate) fn write(&self, host: Host, name: &str, text: &str) {
        fs::create_dir_all(self.folder(host)).unwrap();
        fs::write(self.folder(host).join(name), text).unwrap();
    }

    /// The command of a host, about to be run on its folder.
    pub(crate) fn command(&self, host: Host, arguments: &[&str]) -> Command {
        let mut command = Command::new(program(host));
        command.args(arguments).arg("--dir").arg(self.folder(host));
        command
    }

    /// Runs a command to its end, well or not.
    pub(crate) fn run(&self, host: Host, arguments: &[&str]) -> Finished {
        run(&mut self.command(host, arguments), PATIENCE).unwrap()
    }

    /// Runs a command that must succeed; what it printed.
    pub(crate) fn said(&self, host: Host, arguments: &[&str]) -> String {
        let finished = self.run(host, arguments);
        assert!(finished.status.success(), "{arguments:?}: {}", finished.said());
        finished.stdout.join("\n")
    }

    /// Runs a command with `--json`.
    pub(crate) fn json(&self, host: Host, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(host, &[arguments, &["--json"]].concat())).unwrap()
    }

    /// Starts a host, again if it ran, and waits until it is ready.
    pub(crate) fn restart(&mut self, host: Host) {
        self.restart_with(host, None);
    }

    /// Starts a host that aborts at a stopping point: `after_commit:20`.
    pub(crate) fn restart_with(&mut self, host: Host, abort_at: Option<&str>) {
        self.daemons[host as usize] = None;
        let mut command = self.command(host, &["run"]);
        if let Some(point) = abort_at {
            command.env("PACKHORSE_ABORT_AT", point);
        }
        self.daemons[host as usize] = Some(spawn_ready(&mut command).unwrap());
    }

    /// Starts a host through another program, which is given the host's command line.
    pub(crate) fn restart_under(&mut self, host: Host, wrapper: &mut Command) -> Result<(), ProcessError> {
        self.daemons[host as usize] = None;
        wrapper.arg(program(host)).args(["run", "--dir"]).arg(self.folder(host));
        self.daemons[host as usize] = Some(spawn_ready(wrapper)?);
        Ok(())
    }

    pub(crate) fn daemon(&mut self, host: Host) -> &mut Daemon {
        self.daemons[host as usize].as_mut().unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, host: Host) {
        self.daemon(host).process.kill().unwrap();
    }

    /// SIGTERM, and its end in good order.
    pub(crate) fn stop(&mut self, host: Host) {
        let ended = self.daemon(host).process.terminate(PATIENCE).unwrap();
        assert!(ended.success(), "{host:?} ended with {ended}");
    }

    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let came = poll(PATIENCE, || is_so(self).then_some(()));
        assert!(
            came.is_some(),
            "{what} did not come; A: {}",
            self.said(Host::A, &["status"])
        );
    }

    /// Waits until nothing is under way any more at either edge, and both ledgers know what became of everything.
    pub(crate) fn wait_until_quiet(&self) {
        self.wait_until("an end of all deliveries", |sites| {
            [Host::A, Host::B]
                .iter()
                .all(|host| sites.json(*host, &["status"])["in_flight"] == 0 && sites.is_settled(*host))
        });
    }

    /// Whether no account has anything in flight. What the far site has in custody is so until its word on the outcome comes.
    fn is_settled(&self, host: Host) -> bool {
        let studies = self.json(host, &["studies", "--limit", "1000"]);
        rows(&studies, "studies").all(|study| study["account"]["in_flight"] == 0)
    }

    /// The instances of all accounts at a host, as `study --json` has them.
    pub(crate) fn deliveries(&self, host: Host) -> Vec<Value> {
        let studies = self.json(host, &["studies", "--limit", "1000"]);
        let mut all = Vec::new();
        let mut asked = Vec::new();
        for study in rows(&studies, "studies") {
            let uid = study["study"].as_str().unwrap_or_default().to_owned();
            if asked.contains(&uid) {
                continue;
            }
            let accounts = self.json(host, &["study", &uid]);
            for account in rows(&accounts, "accounts") {
                all.extend(rows(account, "instances").cloned());
            }
            asked.push(uid);
        }
        all
    }
}

pub(crate) fn rows<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn program(host: Host) -> PathBuf {
    match host {
        Host::Relay => binary("relay").unwrap(),
        Host::A | Host::B => Path::new(env!("CARGO_BIN_EXE_edge-gateway")).to_path_buf(),
    }
}

fn at_a(port: u16, setup: &Setup) -> String {
    let (more, also) = (setup.at_a, &setup.also_at_a);
    format!(
        r#"[[listener]]
name = "lan"
address = "127.0.0.1:{port}"

[[source]]
name = "PACS A"
ae_titles = ["*"]
hosts = ["127.0.0.1"]

[[route]]
called_ae_title = "{ROUTE}"
to = "st-mary/PACS_B"

{more}
{also}
"#
    )
}

fn at_b(target_port: u16, setup: &Setup) -> String {
    let Setup {
        in_delivery,
        in_destination,
        also_at_b: also,
        ..
    } = setup;
    format!(
        r#"[[destination]]
ae_title = "PACS_B"
address = "127.0.0.1:{target_port}"
calling_ae_title = "{CALLING}"
accept_from = ["clinic-a"]
{in_destination}

[delivery]
retry_max = "1s"
try_again = "1s"
paused_again = "1s"
{in_delivery}

{also}
"#
    )
}
