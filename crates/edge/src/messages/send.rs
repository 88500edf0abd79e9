//! Messages on their way out.

use bytes::Bytes;
use packhorse_envelope::{AssociatedData, seal};
use packhorse_ids::{Kind, Priority, Routing, Sequence, SiteName};
use packhorse_spool::{Body, Custody, Index as _, NewEntry, NewState, StoreError};

use super::Message;
use crate::config::Destination;
use crate::shared::{LINK_QUEUE, Shared, draw, queue};

impl Shared {
    /// Puts a message for another site into the spool.
    pub(crate) async fn send_message(&self, to: &SiteName, message: &Message) -> Result<(), StoreError> {
        let Ok(bytes) = message.to_bytes() else { return Ok(()) };
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
        self.spool.commit(self.epoch, vec![entry], Vec::new()).await.map(drop)
    }

    /// Tells another site what we publish to it.
    pub(crate) async fn announce_to(&self, site: &SiteName) -> Result<(), StoreError> {
        let publish = |destination: Destination| crate::directory::Published {
            accepts: destination.accept_from.contains(site),
            ae_title: destination.ae_title.to_string(),
        };
        let message = Message::Announce {
            at: self.clock.now().unix_micros(),
            signing_key: self.signing.verifying_key().to_text(),
            destinations: self.destinations().into_iter().map(publish).collect(),
        };
        self.send_message(site, &message).await
    }
}
