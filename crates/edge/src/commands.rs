//! What the command line does.

mod args;
mod custody;
mod doctor;
mod echo;
mod findings;
mod notices;
mod policy;
pub(crate) mod print;
mod routes;
mod send;
mod sheet;

use std::path::Path;
use std::sync::Arc;

use packhorse_daemon::admin::{self, AdminError, AskError};
use packhorse_daemon::exit::{Failure, chain};
use packhorse_daemon::logging::{self, LogFormat};
use packhorse_daemon::{FolderLock, output, process, shutdown_signal};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_identity::{IdentityError, InvalidToken, Joining, KeyError, SigningKey, Token};
use packhorse_ids::{Clock as _, SiteName, SystemClock};
use packhorse_transport::{ALPN_ENROLL, EndpointError};
use serde_json::{Value, json};

pub use args::{
    Cli, Command, Discard, Doctor, Notices, Notify, NotifyTest, Output, Policy, PolicyTest, Routes, Send, Studies,
    Which,
};
pub(crate) use sheet::sheet;

use crate::admin::Door;
use crate::config;
use crate::consent;
use crate::gateway::{self, Gateway, IDENTITY_FOLDER, StartError};
use crate::link;

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The gateway cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The join token.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The signing key.
    #[error("the signing key cannot be made")]
    Key(#[from] KeyError),
    /// The socket to the relay.
    #[error("no socket for the relay")]
    Link(#[from] EndpointError),
    /// The relay does not answer as it should.
    #[error("the relay could not be asked: {_0}")]
    Relay(String),
    /// The daemon said no, or does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What was asked for cannot be.
    #[error("{_0}")]
    No(String),
    /// A file cannot be read or written, or a signal not had.
    #[error("the system refuses")]
    Io(#[from] std::io::Error),
    /// The spool went out of order while serving.
    #[error("the spool is out of order since a write failed; nothing acknowledged is lost, start again")]
    Poisoned,
}

impl From<AdminError> for CommandError {
    fn from(error: AdminError) -> Self {
        Self::Ask(AskError::Refused(error))
    }
}

impl CommandError {
    /// For the exit code.
    #[must_use]
    pub const fn failure(&self) -> Failure {
        match self {
            Self::Start(StartError::Config(_)) => Failure::Config,
            Self::Token(_) => Failure::Usage,
            Self::Identity(_) | Self::No(_) | Self::Ask(AskError::Refused(_)) => Failure::No,
            Self::Relay(_)
            | Self::Link(_)
            | Self::Ask(_)
            | Self::Start(StartError::Lock(_) | StartError::Listen { .. } | StartError::Identity(_)) => {
                Failure::Unavailable
            }
            Self::Start(_) | Self::Key(_) | Self::Io(_) | Self::Poisoned => Failure::Disk,
        }
    }
}

/// An error as it is told on standard error.
#[must_use]
pub fn told(error: &CommandError) -> String {
    format!("edge-gateway: {}", chain(error))
}

/// Runs a command to its end.
///
/// # Errors
/// [`CommandError`].
pub async fn run(cli: Cli) -> Result<(), CommandError> {
    let dir = cli.dir.as_path();
    match cli.command {
        Command::Join { token } => join(dir, &token).await,
        Command::Run { log_json } => serve(dir, if log_json { LogFormat::Json } else { LogFormat::Text }).await,
        Command::Accept { site, destination } => accept(dir, &site, &destination).await,
        Command::Send(what) => send::run(dir, &what).await,
        Command::Studies(which) => {
            let args = json!({ "patient": which.patient, "accession": which.accession, "limit": which.limit });
            show(dir, "studies", args, which.output, print::studies).await
        }
        Command::Status(output) => show(dir, "status", Value::Null, output, print::status).await,
        Command::Routes(which) => {
            let args = json!({ "ae": which.ae_title.as_ref().map(AeTitle::as_str), "facts": which.facts });
            show(dir, "routes", args, which.output, routes::print).await
        }
        Command::Study { uid, output } => study(dir, &uid, output).await,
        Command::Failed(output) => show(dir, "failed", Value::Null, output, print::failed).await,
        Command::Retry(which) => custody::run(dir, "retry", &which, json!({})).await,
        Command::Doctor {
            at: Some(Doctor::Tls { address, trust, output }),
            ..
        } => doctor::tls(&address, trust.as_deref(), output).await,
        Command::Doctor { at: None, output } => findings::run(dir, output).await,
        Command::Notices(which) => {
            let args = json!({ "limit": which.limit });
            show(dir, "notices", args, which.output, notices::print).await
        }
        Command::Notify(Notify::Test(what)) => notices::test(dir, &what).await,
        Command::Conformance => {
            let answer = ask(dir, "conformance", Value::Null).await?;
            output::line(answer.get("statement").and_then(Value::as_str).unwrap_or_default());
            Ok(())
        }
        Command::Policy(what) => policy::run(dir, &what),
        Command::Sheet { route } => {
            let answer = ask(dir, "sheet", json!({ "route": route.as_str() })).await?;
            output::line(answer.get("sheet").and_then(Value::as_str).unwrap_or_default());
            Ok(())
        }
        Command::Echo { ae_title, output } => echo::run(dir, &ae_title, output).await,
        Command::Hold(which) => custody::run(dir, "hold", &which, json!({})).await,
        Command::Release(which) => custody::run(dir, "release", &which, json!({})).await,
        Command::Discard(what) => custody::discard(dir, &what).await,
        Command::Resend(which) => custody::run(dir, "resend", &which, json!({})).await,
    }
}

/// Asks the daemon; when none runs, opens the folder under its lock and answers from there.
async fn ask(dir: &Path, command: &str, args: Value) -> Result<Value, CommandError> {
    match admin::ask(dir, command, args.clone()).await {
        Err(AskError::NoDaemon(_)) => {
            let (shared, _, lock) = gateway::open(dir).await?;
            let answer = Door {
                shared: Arc::clone(&shared),
                is_daemon: false,
            }
            .answer(command, &args)
            .await;
            drop(lock);
            Ok(answer?)
        }
        answer => Ok(answer?),
    }
}

async fn show(
    dir: &Path,
    command: &str,
    args: Value,
    output: Output,
    print: impl Fn(&Value) -> String,
) -> Result<(), CommandError> {
    let answer = ask(dir, command, args).await?;
    output::line(&if output.json {
        answer.to_string()
    } else {
        print(&answer)
    });
    Ok(())
}

/// # Errors
/// [`CommandError::No`] when no such study is known; as JSON that is an empty list.
async fn study(dir: &Path, uid: &str, output: Output) -> Result<(), CommandError> {
    let answer = ask(dir, "study", json!({ "uid": uid })).await?;
    if output.json {
        output::line(&answer.to_string());
        return Ok(());
    }
    let lines = print::study(&answer).ok_or_else(|| CommandError::No(format!("no such study: {uid}")))?;
    output::line(&lines);
    Ok(())
}

async fn serve(dir: &Path, format: LogFormat) -> Result<(), CommandError> {
    logging::start(format);
    process::raise_open_files();
    let gateway = Gateway::build(dir).await?;
    let ready = gateway.ready();
    let running = gateway.spawn();
    output::line(&format!("ready {ready}"));
    let poisoned = tokio::select! {
        signal = shutdown_signal() => signal.map(|()| false)?,
        () = running.failed() => true,
    };
    if !running.finish().await {
        tracing::warn!("not everything had ended within the grace time; what was under way comes again");
    }
    if poisoned { Err(CommandError::Poisoned) } else { Ok(()) }
}

async fn join(dir: &Path, token: &str) -> Result<(), CommandError> {
    let token: Token = token.parse()?;
    let addresses = token.addresses.clone();
    let folder = dir.join(IDENTITY_FOLDER);
    let _lock = FolderLock::create(dir).map_err(StartError::Lock)?;
    let joining = Joining::begin(token, &folder, SystemClock.now())?;
    // Everything that a full disk could refuse comes before the relay is asked.
    let signing = SigningKey::open_or_create(&folder)?;
    let configuration = dir.join(config::FILE_NAME);
    if !configuration.exists() {
        std::fs::write(&configuration, config::EXAMPLE)?;
    }
    let is_example = std::fs::read(&configuration)? == config::EXAMPLE.as_bytes();
    let tls = joining.client_config(&[ALPN_ENROLL])?;
    let endpoint = gateway::client_endpoint()?;
    let mut asked = Err("the token names no address".to_owned());
    for address in &addresses {
        let name = link::host_of(address).to_owned();
        let request = |exporter: &[u8; 32]| joining.request(exporter, SystemClock.now());
        let answer = link::exchange(&endpoint, address, &name, Arc::clone(&tls), request).await;
        asked = answer.map_err(|why| format!("{address}: {why}"));
        if asked.is_ok() {
            break;
        }
    }
    let identity = joining.complete(&asked.map_err(CommandError::Relay)?)?;
    output::line(&format!(
        "{} has joined the relay at {}.",
        identity.site(),
        addresses.join(", ")
    ));
    output::line(&format!(
        "Fingerprint of its signing key: {}",
        signing.verifying_key().fingerprint()
    ));
    let edit = if is_example { "Now edit" } else { "Its configuration is" };
    output::line(&format!("{edit} {}, then:", configuration.display()));
    output::line(&format!("  edge-gateway run --dir {}", dir.display()));
    Ok(())
}

async fn accept(dir: &Path, site: &SiteName, destination: &AeTitle) -> Result<(), CommandError> {
    let args = json!({ "site": site.as_str(), "destination": destination.as_str() });
    let (changed, released) = match admin::ask(dir, "accept", args).await {
        Err(AskError::NoDaemon(_)) => {
            // Nobody else writes to the file meanwhile. What was held goes on when the gateway starts.
            let _lock = FolderLock::take(dir).map_err(StartError::Lock)?;
            let changed = consent::write_down(dir, site, destination).map_err(CommandError::No)?;
            (changed, 0)
        }
        answer => {
            let answer = answer?;
            let changed = answer.get("changed").and_then(Value::as_bool).unwrap_or(false);
            (changed, answer.get("released").and_then(Value::as_u64).unwrap_or(0))
        }
    };
    let word = if changed { "may send" } else { "could send already" };
    output::line(&format!("{site} {word} to {destination}"));
    if released > 0 {
        output::line(&format!("{released} that were held for lack of consent go on"));
    }
    Ok(())
}
