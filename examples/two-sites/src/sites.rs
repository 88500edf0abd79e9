//! A relay and two edges, as their own commands make them.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use packhorse_daemon::admin;
use packhorse_daemon::output::line;
use packhorse_edge::Gateway;
use packhorse_relay::Relay;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// Everything that runs, and the folder it lives in.
#[derive(Debug)]
pub(crate) struct Sites {
    pub(crate) folder: TempDir,
    relay: packhorse_relay::Running,
    a: packhorse_edge::Running,
    b: packhorse_edge::Running,
    ready_a: Value,
}

impl Sites {
    /// Starts everything: `relay init`, `relay invite` and `edge-gateway join` as an administrator would type them.
    pub(crate) async fn start(target_port: u16) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let [relay_dir, a_dir, b_dir] = ["relay", "clinic-a", "st-mary"].map(|name| folder.path().join(name));
        relay_command(&["init", "--name", "127.0.0.1"], &relay_dir).await?;
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        std::fs::write(
            relay_dir.join("relay.toml"),
            format!("name = \"127.0.0.1\"\nquic = \"127.0.0.1:{port}\"\n"),
        )?;
        let relay = Relay::build(&relay_dir).await?.spawn();
        for (site, dir) in [("clinic-a", &a_dir), ("st-mary", &b_dir)] {
            let invited = admin::ask(&relay_dir, "invite", json!({ "site": site })).await?;
            let token = invited
                .get("token")
                .and_then(Value::as_str)
                .context("the relay gives a token")?;
            edge_command(&["join", token], dir).await?;
        }
        std::fs::write(a_dir.join("edge.toml"), a_toml()?)?;
        std::fs::write(b_dir.join("edge.toml"), b_toml(target_port))?;
        let b = Gateway::build(&b_dir).await?.spawn();
        let a = Gateway::build(&a_dir).await?;
        let ready_a = a.ready();
        let sites = Self {
            a: a.spawn(),
            b,
            relay,
            ready_a,
            folder,
        };
        let is_accepted = async || {
            let routes = sites.ask_a("routes", Value::Null).await?;
            Ok(routes.pointer("/routes/0/standing") == Some(&json!("accepted")))
        };
        wait_for("the far site's consent", is_accepted).await?;
        Ok(sites)
    }

    /// Port of the source's edge on its LAN.
    pub(crate) fn dicom_port(&self) -> anyhow::Result<u16> {
        let address = self
            .ready_a
            .pointer("/dicom/0")
            .and_then(Value::as_str)
            .context("the edge listens")?;
        Ok(address.parse::<SocketAddr>()?.port())
    }

    /// Folder of the source's edge.
    pub(crate) fn a_dir(&self) -> PathBuf {
        self.folder.path().join("clinic-a")
    }

    /// Asks the source's edge.
    pub(crate) async fn ask_a(&self, command: &str, args: Value) -> anyhow::Result<Value> {
        Ok(admin::ask(&self.a_dir(), command, args).await?)
    }

    /// Asks the relay.
    pub(crate) async fn ask_relay(&self) -> anyhow::Result<Value> {
        Ok(admin::ask(&self.folder.path().join("relay"), "status", Value::Null).await?)
    }

    /// Waits until A knows the outcome of so many instances.
    pub(crate) async fn wait_until_delivered(&self, expected: usize) -> anyhow::Result<()> {
        let is_over = async || {
            let studies = self.ask_a("studies", Value::Null).await?;
            let sum = |key: &str| -> u64 {
                let all = studies
                    .pointer("/studies")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten();
                all.filter_map(|study| study.pointer(key).and_then(Value::as_u64)).sum()
            };
            let known = sum("/account/received") + sum("/repeats");
            Ok(sum("/account/in_flight") == 0 && usize::try_from(known)? >= expected)
        };
        wait_for("the outcome of every instance", is_over).await
    }

    /// Ends everything in order.
    pub(crate) async fn finish(self) {
        self.a.finish().await;
        self.b.finish().await;
        self.relay.finish().await;
    }
}

async fn wait_for(what: &str, is_so: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = tokio::time::Instant::now();
    while !is_so().await? {
        ensure!(begun.elapsed() < PATIENCE, "{what} did not come within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// What somebody at a terminal would have typed.
fn typed(program: &str, arguments: &[&str]) {
    let shown = arguments.iter().map(|argument| {
        let is_token = argument.starts_with("ph1_");
        if is_token { "ph1_…" } else { argument }
    });
    line(&format!("$ {program} {}", shown.collect::<Vec<_>>().join(" ")));
}

async fn relay_command(arguments: &[&str], dir: &Path) -> anyhow::Result<()> {
    typed("relay", arguments);
    let all = ["relay"]
        .iter()
        .chain(arguments)
        .chain(&["--dir"])
        .map(Into::into)
        .chain([dir.as_os_str().to_owned()]);
    Ok(packhorse_relay::run(packhorse_relay::Cli::try_parse_from(all)?).await?)
}

async fn edge_command(arguments: &[&str], dir: &Path) -> anyhow::Result<()> {
    typed("edge-gateway", arguments);
    let all = ["edge-gateway"]
        .iter()
        .chain(arguments)
        .chain(&["--dir"])
        .map(Into::into);
    let all = all.chain([dir.as_os_str().to_owned()]);
    Ok(packhorse_edge::run(packhorse_edge::Cli::try_parse_from(all)?).await?)
}

fn a_toml() -> anyhow::Result<String> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(format!(
        r#"[[listener]]
name = "lan"
address = "127.0.0.1:{port}"

[[source]]
name = "PACS A"
ae_titles = ["*"]
hosts = ["127.0.0.1"]

[[route]]
called_ae_title = "ST_MARY"
to = "st-mary/PACS_B"
"#
    ))
}

fn b_toml(target_port: u16) -> String {
    format!(
        r#"[[destination]]
ae_title = "PACS_B"
address = "127.0.0.1:{target_port}"
calling_ae_title = "PACKHORSE"
accept_from = ["clinic-a"]
"#
    )
}
