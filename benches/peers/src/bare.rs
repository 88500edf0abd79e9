//! A durable receiver out of `association` and `spool` alone: no scan, no digest, no envelope, no policy, no ledger. What an
//! edge costs more is the price of those.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Args;
use packhorse_association::{AcceptedAssociation, AcceptorConfig, Request, StoreRequest, accept};
use packhorse_dicom::negotiation::{Answer, ContextAnswer, Proposal};
use packhorse_dicom::status::Status;
use packhorse_ids::{DeliveryId, Digest, Epoch, Kind, PayloadId, Priority, Routing, Sequence, SiteName, SystemClock};
use packhorse_spool::{
    Body, Custody, INLINE_LEN_MAX, Index as _, NewEntry, NewState, Payloads as _, QueueName, Spool, SpoolConfig,
};
use packhorse_testkit::process::{Process, READY_WITHIN, free_port};
use tokio::net::{TcpListener, TcpStream};

use crate::load::Nagle;
use crate::ours::wipe;
use crate::receiver::{Receiver, peak};

/// Receives until it is ended.
#[derive(Debug, Args)]
pub(crate) struct Bare {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    spool: PathBuf,
}

struct Store {
    spool: Arc<Spool>,
    epoch: Epoch,
    next: AtomicU64,
    site: SiteName,
    queue: QueueName,
}

fn everything(proposal: &Proposal) -> Answer {
    let first = proposal.contexts.iter().filter_map(|context| {
        let syntax = context.transfer_syntaxes.first()?;
        Some((context.id, ContextAnswer::Accepted(syntax.clone())))
    });
    Answer::Accept(first.collect())
}

impl Bare {
    /// The process's whole work.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let (spool, epoch) = Spool::open(&self.spool, SpoolConfig::default(), Arc::new(SystemClock))?;
        let store = Arc::new(Store {
            spool,
            epoch,
            next: AtomicU64::new(1),
            site: SiteName::try_from("bare")?,
            queue: QueueName::try_from("all")?,
        });
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream, Arc::clone(&store)));
        }
    }
}

async fn serve(stream: TcpStream, store: Arc<Store>) -> anyhow::Result<()> {
    let mut association: AcceptedAssociation = accept(stream, "", &AcceptorConfig::default(), &everything).await?;
    while let Some(request) = association.next().await? {
        match request {
            Request::Echo(echo) => echo.respond(Status::SUCCESS, None).await?,
            Request::Store(mut request) => {
                store.take(&mut request).await?;
                request.respond(Status::SUCCESS, None).await?;
            }
        }
    }
    Ok(())
}

impl Store {
    async fn take(&self, request: &mut StoreRequest<'_>) -> anyhow::Result<()> {
        let number = u128::from(self.next.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
        let payload = PayloadId::from_bytes(number);
        let (mut fragments, mut length, mut writer) = (Vec::new(), 0, None);
        while let Some(fragment) = request.data().await? {
            length += fragment.len();
            fragments.push(fragment);
            if length > INLINE_LEN_MAX && writer.is_none() {
                writer = Some(self.spool.begin(payload, None).await?);
            }
            if let Some(writer) = &mut writer {
                for fragment in fragments.drain(..) {
                    writer.append(fragment).await?;
                }
            }
        }
        let body = match writer {
            Some(writer) => Body::Stored(writer.finish().await?),
            None => Body::Inline(fragments.concat().into()),
        };
        let routing = Routing {
            delivery: DeliveryId::from_bytes(number),
            payload,
            source: self.site.clone(),
            destination: self.site.clone(),
            kind: Kind::Delivery,
            priority: Priority::Routine,
            sequence: Sequence(0),
            length: u64::try_from(length)?,
            blake3: Digest::from_bytes([0; 32]),
        };
        let entry = NewEntry {
            routing,
            queue: self.queue.clone(),
            body,
            custody: Custody::UntilReleased,
            state: NewState::Ready,
        };
        self.spool.commit(self.epoch, vec![entry], Vec::new()).await?;
        Ok(())
    }
}

/// It, as one that can be sent to. Its slabs are those of the turn before.
pub(crate) struct Durable {
    spool: PathBuf,
    running: Option<(Process, u16)>,
}

impl Durable {
    pub(crate) fn new(parent: &std::path::Path) -> Self {
        let (spool, running) = (parent.join("bare"), None);
        Self { spool, running }
    }

    fn running(&self) -> anyhow::Result<&(Process, u16)> {
        self.running.as_ref().context("it is not its turn")
    }
}

impl Receiver for Durable {
    fn name(&self) -> &'static str {
        "bare durable"
    }

    fn begin(&mut self, _nagle: Nagle) -> anyhow::Result<()> {
        wipe(&self.spool.join("index.sqlite"))?;
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", "--port", &port.to_string(), "--spool"]);
        command.arg(&self.spool);
        let mut process = Process::spawn(&mut command)?;
        process.listens(port, READY_WITHIN)?;
        self.running = Some((process, port));
        Ok(())
    }

    fn port(&self) -> anyhow::Result<u16> {
        Ok(self.running()?.1)
    }

    fn settle(&mut self, _instances: usize) -> anyhow::Result<Option<SystemTime>> {
        Ok(None)
    }

    fn peaks(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        Ok(vec![(self.name(), peak(self.running()?.0.id())?)])
    }

    fn end(&mut self) -> anyhow::Result<()> {
        if let Some((mut process, _)) = self.running.take() {
            process.kill()?;
        }
        Ok(())
    }
}
