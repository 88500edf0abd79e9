//! The child: commits payloads from several tasks at once, and prints each one that is acknowledged.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use packhorse_ids::{DeliveryId, Digest, Epoch, Kind, PayloadId, Priority, Routing, Sequence, SiteName, SystemClock};
use packhorse_spool::{
    Body, Custody, INLINE_LEN_MAX, Index as _, NewEntry, NewState, Payloads as _, Spool, SpoolConfig,
};
use tokio::task::JoinSet;

use crate::queue;

/// Tasks that commit at once: they share the syncs.
const WRITERS: u32 = 4;
/// Ends by itself at last, if nobody kills it.
const PAYLOADS_MAX: u32 = 2_000;

/// Commits until it is killed.
pub(crate) async fn commit_all(folder: &Path) -> Result<()> {
    let (spool, epoch) = Spool::open(folder, SpoolConfig::default(), Arc::new(SystemClock))?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let spool = Arc::clone(&spool);
        writers.spawn(async move {
            for number in (writer..PAYLOADS_MAX).step_by(WRITERS as usize) {
                commit_one(&spool, epoch, number).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Commits a payload of 2 kB, every fourth time of 500 kB, and then says so.
async fn commit_one(spool: &Spool, epoch: Epoch, number: u32) -> Result<()> {
    let mut bytes = vec![0; if number.is_multiple_of(4) { 500_000 } else { 2_000 }];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    let bytes = Bytes::from(bytes);
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let routing = Routing {
        delivery: DeliveryId::from_bytes(id),
        payload: PayloadId::from_bytes(id),
        source: SiteName::try_from("here")?,
        destination: SiteName::try_from("there")?,
        kind: Kind::Delivery,
        priority: Priority::Routine,
        sequence: Sequence(0),
        length: bytes.len() as u64,
        blake3: Digest::from_bytes(*blake3::hash(&bytes).as_bytes()),
    };
    let body = if bytes.len() <= INLINE_LEN_MAX {
        Body::Inline(bytes)
    } else {
        let mut writer = spool.begin(routing.payload, None).await?;
        writer.append(bytes).await?;
        Body::Stored(writer.finish().await?)
    };
    let line = format!("{} {}", routing.delivery, routing.blake3);
    let (queue, custody, state) = (queue()?, Custody::UntilAcked, NewState::Ready);
    let entry = NewEntry {
        routing,
        queue,
        body,
        custody,
        state,
    };
    spool.commit(epoch, vec![entry], vec![]).await?;
    println!("{line}");
    Ok(())
}
