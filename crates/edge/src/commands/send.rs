//! `edge-gateway send`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use packhorse_daemon::admin::{Ask, AskError, CHUNK_LEN_MAX};
use packhorse_daemon::output;
use serde_json::json;

use super::CommandError;
use super::args::Send;
use crate::gateway;
use crate::ingest::{FileBytes, FileResult, Sender};

/// Bytes read of a file at a time.
const CHUNK_LEN: usize = CHUNK_LEN_MAX as usize;

/// How a file gets in: through a running daemon, or straight into the folder.
enum Way {
    Daemon,
    Folder(Sender),
}

pub(super) async fn run(dir: &Path, what: &Send) -> Result<(), CommandError> {
    let mut files = Vec::new();
    for path in &what.paths {
        gather(path, &mut files)?;
    }
    files.sort();
    // Held open while we work on it.
    let mut lock = None;
    let way = match packhorse_daemon::admin::ask(dir, "routes", serde_json::Value::Null).await {
        Err(AskError::NoDaemon(_)) => {
            let (shared, _, held) = gateway::open(dir).await?;
            lock = Some(held);
            Way::Folder(Sender::new(Arc::clone(&shared), what.to.clone()))
        }
        answer => answer.map(|_| Way::Daemon)?,
    };
    let bar = progress(files.len(), what.quiet || what.output.json);
    let (mut sent, mut refused) = (0_u64, Vec::new());
    for file in &files {
        let result = match &way {
            Way::Daemon => through_daemon(dir, what, file).await,
            Way::Folder(sender) => sender.send(OpenFile(File::open(file)?)).await.map_err(Into::into),
        };
        match result? {
            FileResult { sent: true, .. } => sent += 1,
            result => refused.push((file, result)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    drop(lock);
    if what.output.json {
        let refused: Vec<_> = refused
            .iter()
            .map(|(file, result)| json!({ "file": file, "status": result.status, "why": result.why }))
            .collect();
        output::line(&json!({ "sent": sent, "refused": refused }).to_string());
    } else {
        for (file, result) in &refused {
            output::line(&format!(
                "{}: not sent: {} {}",
                file.display(),
                result.status,
                result.why
            ));
        }
        output::line(&format!("{sent} of {} in custody, for {}", files.len(), what.to));
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(CommandError::No(format!("{} files were not sent", refused.len())))
    }
}

/// Files of a folder, and of those in it.
pub(super) fn gather(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.into());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        gather(&entry?.path(), files)?;
    }
    Ok(())
}

fn progress(files: usize, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(files).unwrap_or(u64::MAX));
    if quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {per_sec}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

async fn through_daemon(dir: &Path, what: &Send, path: &Path) -> Result<FileResult, CommandError> {
    let mut file = OpenFile(File::open(path)?);
    let mut asking = Ask::begin(dir, "send", json!({ "to": what.to.as_str() })).await?;
    while let Some(chunk) = file.next().await? {
        asking.upload(&chunk).await?;
    }
    asking.upload(&[]).await?;
    let answer = asking.answer().await?;
    serde_json::from_value(answer)
        .map_err(|error| CommandError::No(format!("the daemon's answer makes no sense: {error}")))
}

/// A file, read where it is: this is a command, nobody else waits.
struct OpenFile(File);

impl FileBytes for OpenFile {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        let mut chunk = vec![0; CHUNK_LEN];
        let read = self.0.read(&mut chunk)?;
        chunk.truncate(read);
        Ok((read > 0).then(|| Bytes::from(chunk)))
    }
}
