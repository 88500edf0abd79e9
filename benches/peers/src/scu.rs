//! Our SCU, in a process of its own: files over some associations at once, and how long each answer took.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use packhorse_association::{CStoreRq, RequestedAssociation, RequestorConfig};
use packhorse_daemon::output;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{PresentationContextId, ProposedContext};
use packhorse_dicom::part10::{BEGINNING_LEN, FileMeta, read_file_meta};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::AbstractSyntaxUid;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::Load;

/// Sends files. All of one class and syntax: the first one's are proposed.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Of the receiver.
    #[arg(long)]
    port: u16,
    #[arg(long)]
    called: String,
    /// Associations at once; each has an equal part of the files.
    #[arg(long, default_value_t = 1)]
    associations: usize,
    /// Have all files in memory and all associations established before the first C-STORE.
    #[arg(long)]
    loaded: bool,
    files: Vec<PathBuf>,
}

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// From the first C-STORE to the last answer.
    pub(crate) took: Duration,
    /// From a C-STORE-RQ's first byte to its answer.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Runs this program as the SCU of `load`.
pub(crate) fn run(port: u16, called: &str, associations: usize, load: &Load) -> anyhow::Result<Report> {
    let done = command(port, called, &load.files)?
        .args(["--loaded", "--associations", &associations.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "our SCU to {called}: {} {said}", done.status);
    let report: Value = serde_json::from_slice(&done.stdout)?;
    let micros = |key: &str| {
        let micros = report.get(key).and_then(Value::as_u64);
        Ok::<_, anyhow::Error>(Duration::from_micros(micros.context("a figure of our SCU")?))
    };
    Ok(Report {
        took: micros("took")?,
        p50: micros("p50")?,
        p99: micros("p99")?,
    })
}

/// This program as an SCU, over one association and file after file as storescu does.
pub(crate) fn command(port: u16, called: &str, files: &[PathBuf]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["send", "--port", &port.to_string(), "--called", called]);
    command.args(files);
    Ok(command)
}

impl Send {
    /// The process's whole work.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let associations = self.associations.max(1);
        let part_len = self.files.len().div_ceil(associations).max(1);
        let parts: Vec<Vec<PathBuf>> = self.files.chunks(part_len).map(<[PathBuf]>::to_vec).collect();
        let (send, begin) = (Arc::new(self), Arc::new(Barrier::new(parts.len() + 1)));
        let mut senders = JoinSet::new();
        for part in parts {
            let (send, begin) = (Arc::clone(&send), Arc::clone(&begin));
            senders.spawn(async move { send.part(&part, &begin).await });
        }
        tokio::select! {
            // A short part may have ended by the time we are woken.
            biased;
            _all = begin.wait() => {}
            Some(ended) = senders.join_next() => {
                ended??;
                bail!("an association ended before the others began");
            }
        }
        let clock = Instant::now();
        let mut latencies = Vec::new();
        while let Some(part) = senders.join_next().await {
            latencies.extend(part??);
        }
        let took = clock.elapsed();
        latencies.sort();
        let at = |hundredth: usize| {
            let index = (latencies.len() * hundredth / 100).min(latencies.len().saturating_sub(1));
            latencies.get(index).map_or(0, Duration::as_micros)
        };
        let report = json!({"took": took.as_micros(), "p50": at(50), "p99": at(99)});
        output::line(&report.to_string());
        Ok(())
    }

    async fn part(&self, files: &[PathBuf], begin: &Barrier) -> anyhow::Result<Vec<Duration>> {
        let loaded: Vec<_> = if self.loaded {
            files
                .iter()
                .map(|file| Instance::read(file))
                .collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let first = Instance::read(files.first().context("no file")?)?;
        let title = |title: &str| AeTitle::try_from(title.as_bytes());
        let config = RequestorConfig::new(title("PACS_A")?, title(&self.called)?);
        let id = PresentationContextId::nth(0).context("an id")?;
        let class = first.meta.sop_class_uid.as_ref().context("a class")?;
        let context = ProposedContext {
            id,
            abstract_syntax: AbstractSyntaxUid::try_from(class.as_str().as_bytes())?,
            transfer_syntaxes: vec![first.meta.transfer_syntax.clone()],
        };
        let address = format!("127.0.0.1:{}", self.port);
        let mut association = RequestedAssociation::request(&address, &config, vec![context]).await?;
        begin.wait().await;
        let mut latencies = Vec::with_capacity(files.len());
        for (index, file) in files.iter().enumerate() {
            let instance = loaded.get(index).cloned().map_or_else(|| Instance::read(file), Ok)?;
            let clock = Instant::now();
            let answer = association
                .store(id, &instance.command()?, Some(instance.data_set))
                .await?;
            latencies.push(clock.elapsed());
            ensure!(answer.status == Status::SUCCESS, "answered {}", answer.status);
        }
        association.release().await?;
        Ok(latencies)
    }
}

#[derive(Clone, Debug)]
struct Instance {
    meta: FileMeta,
    data_set: Bytes,
}

impl Instance {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = Bytes::from(std::fs::read(path)?);
        let meta = read_file_meta(bytes.get(..BEGINNING_LEN).unwrap_or(&bytes))?;
        let data_set = bytes.slice(usize::try_from(meta.data_set_offset)?..);
        Ok(Self { meta, data_set })
    }

    fn command(&self) -> anyhow::Result<CStoreRq> {
        let uid = |uid: &str| Bytes::copy_from_slice(uid.as_bytes());
        Ok(CStoreRq {
            message_id: 1,
            affected_sop_class_uid: uid(self.meta.sop_class_uid.as_ref().context("a class")?.as_str()),
            affected_sop_instance_uid: uid(self.meta.sop_instance_uid.as_ref().context("an instance")?.as_str()),
            priority: 0,
            move_originator: None,
        })
    }
}
