//! Messages between edges: announcements of destinations, and receipts.

mod format;
pub(crate) mod receipts;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packhorse_daemon::exit::chain;
use packhorse_envelope::{RangeReader, Reader};
use packhorse_identity::VerifyingKey;
use packhorse_ids::{DeliveryId, SiteName};
use packhorse_ledger::{Receipt, ReceiptBatch};
use packhorse_spool::{Body, Entry, Index as _, Payloads as _, Settlement, Spool, StoreError};

pub(crate) use format::Message;

use crate::directory::{Learned, SiteEntry, Standing};
use crate::shared::{MESSAGES_QUEUE, Shared, fact_bytes, queue};

/// Messages claimed at a time.
const BATCH: usize = 64;
/// How long a message may be worked on.
const LEASE: Duration = Duration::from_secs(60);
/// How often the queue is looked at when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// A site that has not announced itself is asked again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A message that needs another first (receipts before an announcement) is looked at again after this time.
const RETRY: Duration = Duration::from_secs(2);

/// An entry's bytes, for an envelope's reader.
#[derive(Clone, Debug)]
pub(crate) struct EntryBytes {
    pub(crate) spool: Arc<Spool>,
    pub(crate) body: Body,
}

impl RangeReader for EntryBytes {
    type Error = StoreError;

    async fn read(&self, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.spool.read(&self.body, range).await
    }
}

/// What became of a message.
enum Done {
    /// It is done with; these deliveries are free, these facts are true.
    Yes(Vec<DeliveryId>, Vec<Bytes>),
    /// Not yet.
    Later(&'static str),
}

/// Works on messages that come in, until the edge stops.
pub(crate) async fn receive(shared: Arc<Shared>) {
    let mut wakeups = shared.spool.wakeups();
    while !shared.stop.is_cancelled() {
        wakeups.mark_unchanged();
        match shared
            .spool
            .claim(shared.epoch, &queue(MESSAGES_QUEUE), BATCH, LEASE)
            .await
        {
            Ok(entries) if entries.is_empty() => shared.changed(&mut wakeups, POLL).await,
            Ok(entries) => {
                for entry in entries {
                    receive_one(&shared, entry).await;
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "messages cannot be claimed");
                shared.changed(&mut wakeups, POLL).await;
            }
        }
    }
}

async fn receive_one(shared: &Arc<Shared>, entry: Entry) {
    let (delivery, from) = (entry.routing.delivery, entry.routing.source.clone());
    let read = read(shared, &entry).await;
    let done = match read {
        Ok(message) => act(shared, &from, message).await,
        Err(why) => {
            tracing::warn!(site = %from, why, "a message is passed over");
            Done::Yes(Vec::new(), Vec::new())
        }
    };
    let settled = match done {
        Done::Yes(freed, facts) => {
            let mut settlements: Vec<_> = freed.into_iter().map(|freed| (freed, Settlement::Released)).collect();
            settlements.push((delivery, Settlement::Released));
            shared.spool.settle(shared.epoch, settlements, facts).await
        }
        Done::Later(why) => {
            let at = shared.clock.now().saturating_add(RETRY);
            let retry = Settlement::Retry {
                at,
                note: why.to_owned(),
            };
            shared
                .spool
                .settle(shared.epoch, vec![(delivery, retry)], Vec::new())
                .await
        }
    };
    if let Err(error) = settled {
        tracing::warn!(error = &error as &dyn std::error::Error, "a message cannot be settled");
    }
}

async fn read(shared: &Shared, entry: &Entry) -> Result<Message, String> {
    if entry.routing.length > format::LEN_MAX {
        return Err("it is too long".to_owned());
    }
    let bytes = EntryBytes {
        spool: Arc::clone(&shared.spool),
        body: entry.body.clone(),
    };
    let mut reader = Reader::open(bytes, entry.routing.length)
        .await
        .map_err(|error| chain(&error))?;
    let mut original = Vec::new();
    while let Some(block) = reader.next_block().await.map_err(|error| chain(&error))? {
        original.extend_from_slice(&block);
    }
    reader.finish().map_err(|error| chain(&error))?;
    Message::from_bytes(&original).map_err(|error| chain(&error))
}

async fn act(shared: &Arc<Shared>, from: &SiteName, message: Message) -> Done {
    let nothing = || Done::Yes(Vec::new(), Vec::new());
    match message {
        Message::Ask => {
            if let Err(error) = shared.directory.asked_by(from, shared.clock.now()) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the directory cannot be written"
                );
            }
            match shared.announce_to(from).await {
                Ok(()) => nothing(),
                Err(_) => Done::Later("the announcement cannot be spooled now"),
            }
        }
        Message::Announce {
            at,
            signing_key,
            destinations,
        } => {
            learn(
                shared,
                from,
                SiteEntry {
                    announced_at: at,
                    destinations,
                    signing_key,
                },
            );
            nothing()
        }
        Message::Receipts { batch, signature } => receipts_came(shared, from, &batch, &signature),
    }
}

fn learn(shared: &Shared, from: &SiteName, entry: SiteEntry) {
    if VerifyingKey::from_text(&entry.signing_key).is_err() {
        tracing::warn!(site = %from, "an announcement without a usable signing key is passed over");
        return;
    }
    match shared.directory.learn(from, entry) {
        Ok(Learned::Changed) => tracing::info!(site = %from, "announced its destinations"),
        Ok(Learned::Same) => {}
        Ok(Learned::KeyDiffers) => tracing::error!(
            site = %from,
            "announces itself with another signing key than the one known: if that is right, remove the site from directory.json"
        ),
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "an announcement is not written down"
        ),
    }
}

/// Receipts count only with the signature of the site that the envelope comes from, by the key pinned for it.
fn receipts_came(shared: &Shared, from: &SiteName, batch: &ReceiptBatch, signature: &str) -> Done {
    let Some(entry) = shared.directory.site(from) else {
        return Done::Later("the site has not announced its signing key yet");
    };
    let signed = batch.signed_bytes();
    let key = VerifyingKey::from_text(&entry.signing_key);
    let is_right = match (&signed, &key) {
        (Ok(bytes), Ok(key)) => batch.site == *from && key.verify(bytes, signature),
        _ => false,
    };
    if !is_right {
        tracing::error!(site = %from, "receipts with a wrong signature are passed over");
        return Done::Yes(Vec::new(), Vec::new());
    }
    let custody = batch.receipts.iter().filter_map(|receipt| match receipt {
        Receipt::Custody(custody) => Some(custody.delivery),
        Receipt::Outcome(_) => None,
    });
    let facts = batch.facts().iter().filter_map(fact_bytes).collect();
    Done::Yes(custody.collect(), facts)
}

/// Asks sites that our routes lead to and that have not announced themselves, and announces us to those who asked.
pub(crate) async fn introduce(shared: Arc<Shared>) {
    let mut is_first = true;
    loop {
        let routes = shared.config.engine.routes();
        let mut sites: Vec<_> = routes
            .iter()
            .map(|route| &route.to_site)
            .filter(|site| **site != shared.site)
            .collect();
        sites.sort();
        sites.dedup();
        for site in sites {
            let unknown = routes
                .iter()
                .filter(|route| route.to_site == *site)
                .any(|route| shared.directory.standing(site, &route.to_ae_title) == Standing::NotAnnounced);
            if (is_first || unknown)
                && let Err(error) = shared.send_message(site, &Message::Ask).await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "a site cannot be asked now");
            }
        }
        is_first = false;
        for site in shared.directory.askers() {
            if let Err(error) = shared.announce_to(&site).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "our destinations cannot be announced now"
                );
            }
        }
        loop {
            tokio::select! {
                () = shared.announce.notified() => break,
                () = tokio::time::sleep(ASK_AGAIN) => {}
                () = shared.stop.cancelled() => return,
            }
            let waits = |route: &packhorse_policy::Route| {
                shared.directory.standing(&route.to_site, &route.to_ae_title) == Standing::NotAnnounced
            };
            if routes.iter().any(waits) {
                break;
            }
        }
    }
}
