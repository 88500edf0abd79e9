//! The two custodians: one that has payloads, one that takes them. Nothing of it survives the process; a real custodian
//! answers `finish` only when the payload is on disk.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{
    Clock, DeliveryId, Digest, Kind, PayloadId, Priority, Routing, SEGMENT_LEN, SegmentSet, Sequence, SiteName,
    SystemClock, WallTime, segment_len,
};
use packhorse_transport::{Acked, Custodian, CustodianError, OfferAnswer, Refusal};
use tokio::sync::{Notify, watch};

/// What is to be moved: known to both ends, because the wire carries no file names.
pub(crate) struct Work {
    routings: Vec<Routing>,
    payloads: HashMap<DeliveryId, Payload>,
}

#[derive(Clone)]
enum Payload {
    Memory(Bytes),
    File(PathBuf),
}

impl Work {
    /// Payloads of `length` bytes, all with the same content.
    pub(crate) fn generated(count: u32, length: usize) -> Self {
        let mut content = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut content);
        let content = Bytes::from(content);
        let digest = Digest::from_bytes(*blake3::hash(&content).as_bytes());
        let mut work = Self::empty();
        for _ in 0..count {
            work.add(content.len() as u64, digest, Payload::Memory(content.clone()));
        }
        work
    }

    /// The files of a folder, without those of folders in it.
    pub(crate) fn of_folder(folder: &Path) -> anyhow::Result<Self> {
        let mut work = Self::empty();
        for entry in folder
            .read_dir()
            .with_context(|| format!("cannot read {}", folder.display()))?
        {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let mut hasher = blake3::Hasher::new();
                let length = std::io::copy(&mut File::open(entry.path())?, &mut hasher)?;
                let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
                work.add(length, digest, Payload::File(entry.path()));
            }
        }
        Ok(work)
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.routings.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.routings.iter().map(|routing| routing.length).sum()
    }

    fn empty() -> Self {
        Self {
            routings: Vec::new(),
            payloads: HashMap::new(),
        }
    }

    fn add(&mut self, length: u64, blake3: Digest, payload: Payload) {
        let number = self.routings.len() as u64 + 1;
        // Elsewhere ids are random; here a number is enough.
        let id = u128::from(number).to_be_bytes();
        let site = |name| SiteName::try_from(name).expect("a site name of letters");
        let routing = Routing {
            delivery: DeliveryId::from_bytes(id),
            payload: PayloadId::from_bytes(id),
            source: site("sender"),
            destination: site("receiver"),
            kind: Kind::Delivery,
            priority: Priority::Routine,
            sequence: Sequence(number),
            length,
            blake3,
        };
        self.payloads.insert(routing.delivery, payload);
        self.routings.push(routing);
    }
}

/// Has payloads.
pub(crate) struct Sender {
    work: Arc<Work>,
    waiting: Mutex<Vec<DeliveryId>>,
    given_back: Notify,
    unsettled: watch::Sender<usize>,
}

impl Sender {
    pub(crate) fn new(work: Arc<Work>) -> Arc<Self> {
        let waiting: Vec<DeliveryId> = work.routings.iter().rev().map(|routing| routing.delivery).collect();
        Arc::new(Self {
            unsettled: watch::Sender::new(waiting.len()),
            waiting: Mutex::new(waiting),
            given_back: Notify::new(),
            work,
        })
    }

    /// Waits until each payload was acknowledged or refused.
    pub(crate) async fn all_settled(&self) {
        // It fails when the sender is gone, and `self` is here.
        self.unsettled.subscribe().wait_for(|left| *left == 0).await.ok();
    }

    fn routing(&self, delivery: DeliveryId) -> Option<&Routing> {
        self.work.routings.iter().find(|routing| routing.delivery == delivery)
    }
}

#[async_trait]
impl Custodian for Sender {
    async fn next_offers(&self, max: usize) -> Vec<Routing> {
        loop {
            let given_back = self.given_back.notified();
            let next: Vec<DeliveryId> = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let rest = waiting.len().saturating_sub(max);
                waiting.drain(rest..).rev().collect()
            };
            if !next.is_empty() {
                return next.iter().filter_map(|id| self.routing(*id)).cloned().collect();
            }
            given_back.await;
        }
    }

    async fn read(&self, delivery: DeliveryId, _: PayloadId, segment: u32) -> Result<Bytes, CustodianError> {
        let unknown = || CustodianError::Later("not one of ours".to_owned());
        let routing = self.routing(delivery).ok_or_else(unknown)?;
        let length = segment_len(routing.length, segment).ok_or_else(unknown)? as usize;
        let offset = u64::from(segment) * u64::from(SEGMENT_LEN);
        match self.work.payloads.get(&delivery).ok_or_else(unknown)? {
            Payload::Memory(content) => {
                let begin = usize::try_from(offset).map_err(|_| unknown())?;
                Ok(content.slice(begin..begin + length))
            }
            Payload::File(path) => {
                let path = path.clone();
                let read = move || {
                    let mut bytes = vec![0; length];
                    File::open(path)?.read_exact_at(&mut bytes, offset)?;
                    Ok::<_, std::io::Error>(Bytes::from(bytes))
                };
                blocking(read).await
            }
        }
    }

    async fn acked(&self, acks: Vec<Acked>) {
        self.unsettled.send_modify(|left| *left -= acks.len());
    }

    async fn refused(&self, _: DeliveryId, _: Refusal) {
        self.unsettled.send_modify(|left| *left -= 1);
    }

    async fn lost(&self, unacked: Vec<DeliveryId>) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(unacked);
        self.given_back.notify_one();
    }

    async fn offered(&self, _: &Routing) -> OfferAnswer {
        OfferAnswer::Refuse(Refusal {
            code: 16,
            text: "this side only sends".to_owned(),
        })
    }

    async fn write(&self, _: &Routing, _: u32, _: Bytes) -> Result<(), CustodianError> {
        Ok(())
    }

    async fn finish(&self, _: &Routing) -> Result<WallTime, CustodianError> {
        Err(CustodianError::Failed("this side only sends".to_owned()))
    }
}

/// Takes payloads.
pub(crate) struct Receiver {
    work: Arc<Work>,
    folder: Option<PathBuf>,
    segments: Mutex<HashMap<DeliveryId, Vec<(u32, Bytes)>>>,
}

impl Receiver {
    /// Into a folder, or for nothing.
    pub(crate) fn new(work: Arc<Work>, folder: Option<PathBuf>) -> anyhow::Result<Arc<Self>> {
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Arc::new(Self {
            work,
            folder,
            segments: Mutex::default(),
        }))
    }

    /// Where a delivery's file goes; `None` when it is not kept.
    fn path(&self, delivery: DeliveryId) -> Option<PathBuf> {
        match self.work.payloads.get(&delivery)? {
            Payload::Memory(_) => None,
            Payload::File(from) => Some(self.folder.as_ref()?.join(from.file_name()?)),
        }
    }
}

#[async_trait]
impl Custodian for Receiver {
    async fn next_offers(&self, _: usize) -> Vec<Routing> {
        std::future::pending().await
    }

    async fn read(&self, _: DeliveryId, _: PayloadId, _: u32) -> Result<Bytes, CustodianError> {
        Err(CustodianError::Failed("this side only receives".to_owned()))
    }

    async fn acked(&self, _: Vec<Acked>) {}

    async fn refused(&self, _: DeliveryId, _: Refusal) {}

    async fn lost(&self, _: Vec<DeliveryId>) {}

    async fn offered(&self, _: &Routing) -> OfferAnswer {
        OfferAnswer::Want(SegmentSet::new())
    }

    async fn write(&self, routing: &Routing, segment: u32, bytes: Bytes) -> Result<(), CustodianError> {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.entry(routing.delivery).or_default().push((segment, bytes));
        Ok(())
    }

    async fn finish(&self, routing: &Routing) -> Result<WallTime, CustodianError> {
        let mut segments = {
            let mut all = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(&routing.delivery).unwrap_or_default()
        };
        let (expected, path) = (routing.blake3, self.path(routing.delivery));
        let finish = move || {
            segments.sort_by_key(|(index, _)| *index);
            let mut hasher = blake3::Hasher::new();
            segments.iter().for_each(|(_, bytes)| {
                hasher.update(bytes);
            });
            if let Some(path) = path {
                let all: Vec<&[u8]> = segments.iter().map(|(_, bytes)| bytes.as_ref()).collect();
                std::fs::write(&path, all.concat())?;
                File::open(&path)?.sync_all()?;
            }
            Ok(Digest::from_bytes(*hasher.finalize().as_bytes()) == expected)
        };
        if blocking(finish).await? {
            return Ok(SystemClock.now());
        }
        Err(CustodianError::Later("the digest is another".to_owned()))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, CustodianError> {
    let done = tokio::task::spawn_blocking(work).await;
    let failed = |error: &dyn std::fmt::Display| CustodianError::Failed(error.to_string());
    done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}
