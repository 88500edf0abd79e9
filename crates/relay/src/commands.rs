//! What the command line does.

mod custody;

#[cfg(test)]
pub(crate) use custody::failed_lines;
use std::path::Path;
use std::time::Duration;

use packhorse_daemon::admin::{self, AdminError, AskError};
use packhorse_daemon::config::ConfigError;
use packhorse_daemon::exit::{Failure, chain};
use packhorse_daemon::logging::{self, LogFormat};
use packhorse_daemon::{FolderLock, LockError, output, process, shutdown_signal};
use packhorse_identity::{Authority, AuthorityError, Registry, RegistryError, SqliteRegistry, Token, TokenRecord};
use packhorse_ids::{Clock as _, SiteName, SystemClock, WallTime};
use serde_json::{Value, json};

use crate::args::{Cli, Command, Output};
use crate::config::{self, Config};
use crate::daemon::{Relay, StartError};

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The relay cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder belongs to another process that does not answer.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The CA.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The daemon said no, or does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What was asked for cannot be.
    #[error("{_0}")]
    Usage(String),
    /// Something was not done.
    #[error("{_0}")]
    No(String),
    /// A file cannot be written, or a signal not had.
    #[error("the system refuses")]
    Io(#[from] std::io::Error),
    /// The spool went out of order while serving.
    #[error("the spool is out of order since a write failed; nothing acknowledged is lost, start again")]
    Poisoned,
}

impl CommandError {
    /// For the exit code.
    #[must_use]
    pub const fn failure(&self) -> Failure {
        match self {
            Self::Config(_) | Self::Start(StartError::Config(_)) => Failure::Config,
            Self::Usage(_) => Failure::Usage,
            Self::No(_) | Self::Ask(AskError::Refused(_)) => Failure::No,
            Self::Ask(_) | Self::Lock(_) | Self::Start(StartError::Lock(_) | StartError::Listen { .. }) => {
                Failure::Unavailable
            }
            Self::Start(_) | Self::Authority(_) | Self::Registry(_) | Self::Io(_) | Self::Poisoned => Failure::Disk,
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// [`CommandError`].
pub async fn run(cli: Cli) -> Result<(), CommandError> {
    let dir = cli.dir.as_path();
    match cli.command {
        Command::Init { name } => init(dir, &name),
        Command::Run { log_json } => serve(dir, if log_json { LogFormat::Json } else { LogFormat::Text }).await,
        Command::Invite { site, expires } => invite_command(dir, site, expires.0).await,
        Command::Sites(output) => sites_command(dir, output).await,
        Command::Status(output) => status_command(dir, output).await,
        Command::Revoke { site } => revoke_command(dir, &site).await,
        Command::Failed(output) => custody::failed(dir, output).await,
        Command::Retry {
            deliveries,
            site,
            output,
        } => custody::retry(dir, &deliveries, site.as_ref(), output).await,
        Command::Discard { deliveries, output, .. } => custody::discard(dir, &deliveries, output).await,
    }
}

pub(crate) fn init(dir: &Path, name: &str) -> Result<(), CommandError> {
    config::split_name(name).map_err(CommandError::Usage)?;
    let _lock = FolderLock::create(dir)?;
    Authority::create(&dir.join("ca"), SystemClock.now())?;
    SqliteRegistry::open(&dir.join("registry.sqlite"))?;
    std::fs::write(dir.join(config::FILE_NAME), config::template(name))?;
    output::line(&format!("{} is a relay now, known as {name}. Next:", dir.display()));
    output::line(&format!("  relay run --dir {}", dir.display()));
    output::line(&format!("  relay invite SITE --dir {}", dir.display()));
    Ok(())
}

async fn serve(dir: &Path, format: LogFormat) -> Result<(), CommandError> {
    logging::start(format);
    process::raise_open_files();
    let relay = Relay::build(dir).await?;
    let ready = relay.ready();
    let running = relay.spawn();
    output::line(&format!("ready {ready}"));
    let poisoned = tokio::select! {
        signal = shutdown_signal() => signal.map(|()| false)?,
        () = running.failed() => true,
    };
    if !running.finish().await {
        tracing::warn!("not everything had ended within the grace time; leases run out by themselves");
    }
    if poisoned { Err(CommandError::Poisoned) } else { Ok(()) }
}

/// Makes a token and remembers it.
pub(crate) async fn invite(
    registry: &dyn Registry,
    authority: &Authority,
    host: &str,
    port: u16,
    site: SiteName,
    expires: WallTime,
) -> Result<Value, AdminError> {
    let failed = |error: &(dyn std::error::Error + 'static)| AdminError::failed(error);
    let mut random = [0; 40];
    getrandom::fill(&mut random).map_err(|_| AdminError::new("failed", "the system gives no random numbers"))?;
    let (id, secret) = (random.first_chunk().copied(), random.last_chunk().copied());
    let (id, secret): ([u8; 8], [u8; 32]) = (id.unwrap_or_default(), secret.unwrap_or_default());
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let pin = authority.pin().map_err(|error| failed(&error))?;
    let token = Token::new(vec![address], pin, id, site.clone(), expires, secret);
    let record = TokenRecord {
        id,
        mac_key: token.mac_key(),
        site,
        expires,
    };
    registry.create_token(record).await.map_err(|error| failed(&error))?;
    Ok(json!({ "token": token.reveal() }))
}

/// The sites as they stand in the registry.
pub(crate) async fn sites(registry: &dyn Registry) -> Result<Value, AdminError> {
    let records = registry.sites().await.map_err(|error| AdminError::failed(&error))?;
    let site = |record: &packhorse_identity::SiteRecord| {
        json!({
            "site": record.site.as_str(),
            "joined": record.joined.to_string(),
            "certificate_until": record.not_after.to_string(),
            "revoked": record.revoked.map(|at| at.to_string()),
        })
    };
    Ok(json!({ "sites": records.iter().map(site).collect::<Vec<_>>() }))
}

/// Asks the daemon; when none runs, takes the folder's lock and does it here.
async fn ask_or<F>(dir: &Path, command: &str, args: Value, here: impl FnOnce() -> F) -> Result<Value, CommandError>
where
    F: Future<Output = Result<Value, CommandError>>,
{
    match admin::ask(dir, command, args).await {
        Err(AskError::NoDaemon(_)) => {
            let _lock = FolderLock::take(dir)?;
            here().await
        }
        answer => Ok(answer?),
    }
}

async fn invite_command(dir: &Path, site: SiteName, expires: Duration) -> Result<(), CommandError> {
    let args = json!({ "site": site.as_str(), "expires_s": expires.as_secs() });
    let answer = ask_or(dir, "invite", args, || async {
        let config = Config::load(dir)?;
        let port = config
            .port
            .or_else(|| Some(config.quic.port()).filter(|port| *port != 0));
        let problem = "the relay listens on any free port and its name has none: start it with `relay run` first";
        let port = port.ok_or_else(|| CommandError::Usage(problem.to_owned()))?;
        let authority = Authority::open(&dir.join("ca"))?;
        let registry = SqliteRegistry::open(&dir.join("registry.sqlite"))?;
        let until = SystemClock.now().saturating_add(expires);
        let made = invite(&registry, &authority, &config.host, port, site, until).await;
        made.map_err(|error| CommandError::Ask(error.into()))
    });
    output::line(answer.await?.get("token").and_then(Value::as_str).unwrap_or_default());
    Ok(())
}

async fn sites_command(dir: &Path, output: Output) -> Result<(), CommandError> {
    let answer = ask_or(dir, "sites", Value::Null, || async {
        let registry = SqliteRegistry::open(&dir.join("registry.sqlite"))?;
        sites(&registry).await.map_err(|error| CommandError::Ask(error.into()))
    });
    let answer = answer.await?;
    if output.json {
        output::line(&answer.to_string());
        return Ok(());
    }
    let all = answer
        .get("sites")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if all.is_empty() {
        output::line("no site has joined yet; `relay invite SITE` prints a token for one");
    }
    for site in &all {
        let standing = match text(site, "revoked") {
            "" => format!("certificate until {}", text(site, "certificate_until")),
            revoked => format!("revoked {revoked}"),
        };
        output::line(&format!(
            "{:<24} joined {}  {standing}",
            text(site, "site"),
            text(site, "joined")
        ));
    }
    Ok(())
}

async fn status_command(dir: &Path, output: Output) -> Result<(), CommandError> {
    let answer = admin::ask(dir, "status", Value::Null).await?;
    if output.json {
        output::line(&answer.to_string());
        return Ok(());
    }
    output::line(&format!(
        "{} on {}, since {}",
        text(&answer, "build"),
        text(&answer, "quic"),
        text(&answer, "started")
    ));
    for site in answer.get("sites").and_then(Value::as_array).into_iter().flatten() {
        output::line(&site_line(site));
    }
    Ok(())
}

pub(crate) fn site_line(site: &Value) -> String {
    let link = site.get("link").unwrap_or(&Value::Null);
    let number = |key| site.get(key).and_then(Value::as_u64).unwrap_or(0);
    let since = match text(link, "since") {
        "" => "not seen since the relay started".to_owned(),
        since => format!("since {since}"),
    };
    let given_up = match (number("failed"), text(site, "failed_why")) {
        (0, _) => String::new(),
        (failed, why) => format!(", {failed} given up: {why}"),
    };
    format!(
        "{:<24} link {} {since}  {} waiting for it{given_up}",
        text(site, "site"),
        text(link, "state"),
        number("waiting")
    )
}

async fn revoke_command(dir: &Path, site: &SiteName) -> Result<(), CommandError> {
    ask_or(dir, "revoke", json!({ "site": site.as_str() }), || async {
        let registry = SqliteRegistry::open(&dir.join("registry.sqlite"))?;
        if registry.revoke(site, SystemClock.now()).await? {
            return Ok(Value::Null);
        }
        let error = AdminError::new("not-found", format!("no site {site} has joined this relay"));
        Err(CommandError::Ask(error.into()))
    })
    .await?;
    output::line(&format!("{site} is revoked"));
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// An error as it is told on standard error.
#[must_use]
pub fn told(error: &CommandError) -> String {
    format!("relay: {}", chain(error))
}
