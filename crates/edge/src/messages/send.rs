//! Messages on their way out.

use bytes::Bytes;
use packhorse_daemon::exit::chain;
use packhorse_envelope::{AssociatedData, seal};
use packhorse_ids::{DeliveryId, Kind, Priority, Routing, Sequence, SiteName};
use packhorse_spool::{Body, Custody, EntryState, Index as _, NewEntry, NewState, StoreError};

use super::Message;
use crate::config::{Deliver, Destination};
use crate::shared::{LINK_QUEUE, Shared, draw, queue};

impl Shared {
    /// Whether a message waits for the link no more. One that was given up counts as gone.
    pub(crate) async fn has_gone(&self, message: DeliveryId) -> bool {
        match self.spool.entry(message).await {
            Ok(Some(entry)) => entry.state == EntryState::Failed,
            Ok(None) => true,
            Err(_) => false,
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
        let (envelope, sealed) = seal(&associated, bytes.into());
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
        self.spool.commit(self.epoch, vec![entry], Vec::new()).await?;
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
            calling_ae_title: Some(destination.calling_title(site).to_string()),
            whole_study: matches!(destination.deliver, Deliver::WholeStudy { .. }),
            mirror: Some(crate::config::mirror_word(destination.mirror).to_owned()),
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
