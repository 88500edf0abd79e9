//! Small spools.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use packhorse_ids::{DeliveryId, Digest, Epoch, Kind, PayloadId, Priority, Routing, Sequence, SiteName, SystemClock};
use packhorse_spool::{
    Body, Committed, Custody, Index as _, NewEntry, NewState, Payloads as _, QueueName, Spool, SpoolConfig, StoreError,
};

pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn config() -> SpoolConfig {
    SpoolConfig {
        slab_len: 1 << 20,
        reserve: 0,
        ..SpoolConfig::default()
    }
}

pub(crate) fn open(folder: &Path) -> (Arc<Spool>, Epoch) {
    Spool::open(folder, config(), Arc::new(SystemClock)).unwrap()
}

pub(crate) fn queue() -> QueueName {
    QueueName::try_from("link").unwrap()
}

pub(crate) fn entry(id: u16, body: Body) -> NewEntry {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    let length = match &body {
        Body::Inline(bytes) => bytes.len() as u64,
        Body::Stored(_) => 40_000,
    };
    let routing = Routing {
        delivery: DeliveryId::from_bytes(bytes),
        payload: PayloadId::from_bytes(bytes),
        source: SiteName::try_from("a").unwrap(),
        destination: SiteName::try_from("b").unwrap(),
        kind: Kind::Delivery,
        priority: Priority::Routine,
        sequence: Sequence(0),
        length,
        blake3: Digest::from_bytes([0; 32]),
    };
    NewEntry {
        routing,
        queue: queue(),
        body,
        custody: Custody::UntilAcked,
        state: NewState::Ready,
    }
}

pub(crate) async fn commit(spool: &Spool, epoch: Epoch, entry: NewEntry) -> Committed {
    spool.commit(epoch, vec![entry], vec![]).await.unwrap().remove(0)
}

/// Bytes written to the payload store in pieces.
pub(crate) async fn stored(spool: &Spool, id: u16, bytes: &[u8]) -> Result<Body, StoreError> {
    let mut payload = [0; 16];
    payload[..2].copy_from_slice(&id.to_be_bytes());
    let mut writer = spool.begin(PayloadId::from_bytes(payload), None).await?;
    for piece in bytes.chunks(100_000) {
        writer.append(bytes::Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish().await.map(Body::Stored)
}
