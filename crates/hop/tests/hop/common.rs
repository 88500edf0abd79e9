//! Two spools with a hop each, and what a link does between them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_hop::{Hop, HopConfig, Place, Placement};
use packhorse_ids::{
    Clock, DeliveryId, Digest, Epoch, FakeClock, Kind, PayloadId, Priority, Routing, SEGMENT_LEN, Sequence, SiteName,
    WallTime, segment_count, segment_len,
};
use packhorse_spool::{
    Body, Custody, Entry, Index as _, NewEntry, NewState, Payloads as _, QueueName, Spool, SpoolConfig, Store,
};
use packhorse_transport::{Acked, Custodian as _, CustodianError, OfferAnswer, Refusal};

pub(crate) const LINK: &str = "link";

/// A place that puts deliveries and messages apart, refuses what it is told to, and says what it was asked.
#[derive(Debug, Default)]
pub(crate) struct FakePlace {
    pub(crate) refuses: Mutex<Option<Refusal>>,
    pub(crate) repeated: AtomicU64,
    /// As at a relay: the source keeps a copy.
    pub(crate) is_only_a_stop: AtomicBool,
}

#[async_trait]
impl Place for FakePlace {
    fn admit(&self, routing: &Routing) -> Result<(), Refusal> {
        match routing.destination.as_str() {
            "elsewhere" => Err(refusal("not here")),
            _ => Ok(()),
        }
    }

    async fn place(&self, routing: &Routing, _body: &Body, _store: &dyn Store) -> Result<Placement, CustodianError> {
        if let Some(why) = &*self.refuses.lock().unwrap() {
            return Err(CustodianError::Refused(why.clone()));
        }
        let (name, custody) = match routing.kind {
            Kind::Delivery => ("deliveries", Custody::UntilReleased),
            Kind::Message => ("messages", Custody::UntilAcked),
        };
        Ok(Placement {
            queue: queue(name),
            custody,
            state: NewState::Ready,
            facts: vec![Bytes::from_static(b"arrived")],
        })
    }

    fn is_only_a_stop(&self) -> bool {
        self.is_only_a_stop.load(Ordering::SeqCst)
    }

    fn remembers(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn repeated(&self, _routing: &Routing) {
        self.repeated.fetch_add(1, Ordering::SeqCst);
    }

    fn acked(&self, _entry: &Entry, _at: WallTime) -> Vec<Bytes> {
        vec![Bytes::from_static(b"acked")]
    }

    fn refused(&self, _entry: &Entry, why: &Refusal) -> Vec<Bytes> {
        vec![Bytes::from(why.text.clone())]
    }
}

pub(crate) fn refusal(text: &str) -> Refusal {
    Refusal {
        code: 99,
        text: text.to_owned(),
    }
}

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::try_from(name).unwrap()
}

/// One end of a link.
pub(crate) struct Side {
    pub(crate) spool: Arc<Spool>,
    pub(crate) epoch: Epoch,
    pub(crate) hop: Arc<Hop>,
    pub(crate) place: Arc<FakePlace>,
    pub(crate) clock: Arc<FakeClock>,
}

impl Side {
    pub(crate) fn open(folder: &Path) -> Self {
        let clock = Arc::new(FakeClock::at(WallTime::from_unix_micros(1_000_000_000)));
        let config = SpoolConfig {
            slab_len: 1 << 20,
            reserve: 0,
            ..SpoolConfig::default()
        };
        let (spool, epoch) = Spool::open(folder, config, Arc::clone(&clock) as _).unwrap();
        let place = Arc::new(FakePlace::default());
        let hop = Hop::new(
            Arc::clone(&spool) as _,
            epoch,
            Arc::clone(&clock) as _,
            Arc::clone(&place) as _,
            HopConfig::new(queue(LINK)),
        );
        let hop = Arc::new(hop);
        Self {
            spool,
            epoch,
            hop,
            place,
            clock,
        }
    }

    /// Commits something to go over the link.
    pub(crate) async fn send(&self, routing: &Routing, bytes: &Bytes) {
        let body = if routing.length < 32_768 {
            Body::Inline(bytes.clone())
        } else {
            let mut writer = self.spool.begin(routing.payload, Some(routing.length)).await.unwrap();
            for segment in 0..segment_count(routing.length).unwrap() {
                writer.write_segment(segment, part(bytes, segment)).await.unwrap();
            }
            Body::Stored(writer.finish().await.unwrap())
        };
        let new = NewEntry {
            routing: routing.clone(),
            queue: queue(LINK),
            body,
            custody: Custody::UntilReleased,
            state: NewState::Ready,
        };
        self.spool.commit(self.epoch, vec![new], vec![]).await.unwrap();
    }

    pub(crate) async fn entry(&self, routing: &Routing) -> Option<Entry> {
        self.spool.entry(routing.delivery).await.unwrap()
    }

    pub(crate) async fn bytes(&self, routing: &Routing) -> Bytes {
        let entry = self.entry(routing).await.unwrap();
        self.spool.read(&entry.body, 0..routing.length).await.unwrap()
    }

    pub(crate) async fn facts(&self) -> Vec<Bytes> {
        let facts = self.spool.facts_after(0, 100).await.unwrap();
        facts.into_iter().map(|(_, fact)| fact).collect()
    }

    /// Takes segments that a link brings.
    pub(crate) async fn write(&self, routing: &Routing, bytes: &Bytes, segments: impl IntoIterator<Item = u32>) {
        for segment in segments {
            let written = self.hop.write(routing, segment, part(bytes, segment)).await;
            written.unwrap();
        }
    }
}

/// What a link does with one offer, up to the acknowledgement.
pub(crate) async fn carry(from: &Side, to: &Side, routing: &Routing) -> Result<OfferAnswer, CustodianError> {
    let answer = to.hop.offered(routing).await;
    let at = match &answer {
        OfferAnswer::Want(have) => {
            for segment in have.missing(segment_count(routing.length).unwrap()) {
                let bytes = from.hop.read(routing.delivery, routing.payload, segment).await?;
                to.hop.write(routing, segment, bytes).await?;
            }
            to.hop.finish(routing).await?
        }
        OfferAnswer::Have(at) => *at,
        OfferAnswer::Refuse(_) | OfferAnswer::Later => return Ok(answer),
    };
    let delivery = routing.delivery;
    from.hop.acked(vec![Acked { delivery, at }]).await;
    Ok(answer)
}

/// `length` bytes and their outside.
pub(crate) fn made(id: u8, length: u64) -> (Routing, Bytes) {
    let bytes: Bytes = (0..length)
        .map(|at| u8::try_from(at % 251).unwrap() ^ id)
        .collect::<Vec<u8>>()
        .into();
    let routing = Routing {
        delivery: DeliveryId::from_bytes([id; 16]),
        payload: PayloadId::from_bytes([id; 16]),
        source: SiteName::try_from("a").unwrap(),
        destination: SiteName::try_from("b").unwrap(),
        kind: Kind::Delivery,
        priority: Priority::Routine,
        sequence: Sequence(u64::from(id)),
        length,
        blake3: Digest::from_bytes(*blake3::hash(&bytes).as_bytes()),
    };
    (routing, bytes)
}

pub(crate) fn part(bytes: &Bytes, segment: u32) -> Bytes {
    let start = segment as usize * SEGMENT_LEN as usize;
    let length = segment_len(bytes.len() as u64, segment).unwrap() as usize;
    bytes.slice(start..start + length)
}

pub(crate) fn is_later<T>(result: &Result<T, CustodianError>) -> bool {
    matches!(result, Err(CustodianError::Later(_)))
}

pub(crate) fn now(side: &Side) -> WallTime {
    side.clock.now()
}
