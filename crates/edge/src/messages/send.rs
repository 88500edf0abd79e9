//! Messages on their way out.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use packhorse_daemon::exit::chain;
use packhorse_envelope::{AssociatedData, seal};
use packhorse_ids::{DeliveryId, Kind, Priority, Routing, Sequence, SiteName};
use packhorse_spool::{Body, Custody, EntryState, Filter, Index as _, NewEntry, NewState, Settlement, StoreError};

use super::Message;
use crate::config::Destination;
use crate::shared::{LINK_QUEUE, Shared, draw, queue};

/// Entries read at a time.
const PAGE: usize = 256;

/// The messages among what waits for the link: they are no deliveries, and not counted as such.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<HashSet<DeliveryId>>);

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, HashSet<DeliveryId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, messages: impl IntoIterator<Item = DeliveryId>) {
        self.lock().extend(messages);
    }

    pub(crate) fn remove(&self, message: DeliveryId) {
        self.lock().remove(&message);
    }

    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.lock().len()).unwrap_or(u64::MAX)
    }
}

impl Shared {
    /// Whether a message waits for the link no more.
    pub(crate) async fn has_gone(&self, message: DeliveryId) -> bool {
        // The spool is right, whatever was heard of it.
        let is_gone = matches!(self.spool.entry(message).await, Ok(None));
        if is_gone {
            self.outbox.remove(message);
        }
        is_gone
    }

    /// Finds the messages that an earlier run has left for the link. Those that were given up are of no use any more.
    pub(crate) async fn find_messages(&self) -> Result<(), StoreError> {
        let mut cursor = 0;
        loop {
            let filter = Filter {
                queue: Some(queue(LINK_QUEUE)),
                state: None,
            };
            let page = self.spool.page(cursor, filter, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            cursor = *last;
            let messages = page.iter().map(|(_, entry)| entry);
            let (failed, waiting): (Vec<_>, Vec<_>) = messages
                .filter(|entry| entry.routing.kind == Kind::Message)
                .partition(|entry| entry.state == EntryState::Failed);
            self.outbox.add(waiting.iter().map(|entry| entry.routing.delivery));
            let discarded = failed
                .iter()
                .map(|entry| (entry.routing.delivery, Settlement::Discarded));
            let discarded: Vec<_> = discarded.collect();
            if !discarded.is_empty() {
                self.spool.settle(self.epoch, discarded, Vec::new()).await?;
            }
        }
    }

    /// Puts a message for another site into the spool. Gives its id; `None`: it cannot be written at all, which is a bug.
    pub(crate) async fn send_message(
        &self,
        to: &SiteName,
        message: &Message,
    ) -> Result<Option<DeliveryId>, StoreError> {
        let Ok(bytes) = message.to_bytes() else {
            tracing::error!("a message cannot be written");
            return Ok(None);
        };
        let (delivery, payload) = (draw::delivery(), draw::payload());
        let (source, destination, kind) = (self.site.clone(), to.clone(), Kind::Message);
        let associated = AssociatedData {
            payload,
            source,
            destination,
            kind,
        };
        let (envelope, sealed) = seal(&associated, &bytes);
        let routing = Routing {
            delivery,
            payload,
            source: associated.source,
            destination: associated.destination,
            kind,
            priority: Priority::Stat,
            sequence: Sequence(0),
            length: sealed.length,
            blake3: sealed.blake3,
        };
        let body = if envelope.len() <= packhorse_spool::INLINE_LEN_MAX {
            Body::Inline(Bytes::from(envelope))
        } else {
            let mut writer = packhorse_spool::Payloads::begin(&*self.spool, payload, None).await?;
            writer.append(Bytes::from(envelope)).await?;
            Body::Stored(writer.finish().await?)
        };
        let queue = queue(LINK_QUEUE);
        let entry = NewEntry {
            routing,
            queue,
            body,
            custody: Custody::UntilAcked,
            state: NewState::Ready,
        };
        // Before it can be acknowledged.
        self.outbox.add([delivery]);
        if let Err(error) = self.spool.commit(self.epoch, vec![entry], Vec::new()).await {
            self.outbox.remove(delivery);
            return Err(error);
        }
        Ok(Some(delivery))
    }

    /// Tells another site what we publish to it.
    ///
    /// # Errors
    /// In words.
    pub(crate) async fn announce_to(&self, site: &SiteName) -> Result<(), String> {
        let publish = |destination: Destination| crate::directory::Published {
            accepts: destination.accept_from.contains(site),
            ae_title: destination.ae_title.to_string(),
            calling_ae_title: Some(destination.calling_ae_title.to_string()),
        };
        let message = Message::Announce {
            at: self
                .directory
                .next_announcement(self.clock.now())
                .map_err(|error| chain(&error))?,
            signing_key: self.signing.verifying_key().to_text(),
            destinations: self.destinations().into_iter().map(publish).collect(),
        };
        let sent = self.send_message(site, &message).await;
        sent.map(drop).map_err(|error| chain(&error))
    }
}
