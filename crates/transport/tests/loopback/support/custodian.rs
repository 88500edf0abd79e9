use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{
    DeliveryId, Digest, Kind, PayloadId, Priority, Routing, SEGMENT_LEN, SegmentSet, Sequence, SiteName, WallTime,
};
use packhorse_transport::{Acked, Custodian, CustodianError, OfferAnswer, Refusal};
use tokio::sync::{Notify, watch};

/// A custodian in memory. What is lost waits to be offered again.
#[derive(Debug)]
pub(crate) struct Memory {
    state: Mutex<State>,
    offers: Notify,
    progress: watch::Sender<Progress>,
}

/// How far it is, for tests to wait on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) acked: usize,
    pub(crate) refused: usize,
    pub(crate) lost: usize,
    pub(crate) finished: usize,
    pub(crate) written: usize,
    pub(crate) offered: usize,
}

#[derive(Debug, Default)]
struct State {
    outbox: VecDeque<Routing>,
    out: HashMap<DeliveryId, (Routing, Bytes)>,
    parts: HashMap<PayloadId, (Vec<u8>, SegmentSet)>,
    kept: HashMap<DeliveryId, Bytes>,
    order: Vec<DeliveryId>,
    refuses: Option<Refusal>,
    has_no_room_for_bulk: bool,
}

/// The routing of a payload, with ids that are made of its number.
fn routing_of(number: u32, from: &str, priority: Priority, payload: &[u8]) -> Routing {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id[4] = from.as_bytes()[0];
    Routing {
        delivery: DeliveryId::from_bytes(id),
        payload: PayloadId::from_bytes(id),
        source: SiteName::try_from(from).unwrap(),
        destination: SiteName::try_from("elsewhere").unwrap(),
        kind: Kind::Delivery,
        priority,
        sequence: Sequence(number.into()),
        length: u64::try_from(payload.len()).unwrap(),
        blake3: Digest::from_bytes(*blake3::hash(payload).as_bytes()),
    }
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            offers: Notify::new(),
            progress: watch::Sender::default(),
        })
    }

    pub(crate) fn send(&self, number: u32, from: &str, priority: Priority, payload: Vec<u8>) -> DeliveryId {
        let routing = routing_of(number, from, priority, &payload);
        let delivery = routing.delivery;
        let mut state = self.state.lock().unwrap();
        state.out.insert(delivery, (routing.clone(), payload.into()));
        state.outbox.push_back(routing);
        drop(state);
        self.offers.notify_one();
        delivery
    }

    pub(crate) fn refuse_all(&self, why: Refusal) {
        self.state.lock().unwrap().refuses = Some(why);
    }

    pub(crate) fn take_no_bulk(&self) {
        self.state.lock().unwrap().has_no_room_for_bulk = true;
    }

    pub(crate) fn kept(&self, delivery: DeliveryId) -> Option<Bytes> {
        self.state.lock().unwrap().kept.get(&delivery).cloned()
    }

    pub(crate) fn sent(&self, delivery: DeliveryId) -> Bytes {
        self.state.lock().unwrap().out[&delivery].1.clone()
    }

    /// Deliveries in the order in which they were finished.
    pub(crate) fn order(&self) -> Vec<DeliveryId> {
        self.state.lock().unwrap().order.clone()
    }

    pub(crate) async fn until(&self, reached: impl Fn(&Progress) -> bool) -> Progress {
        *self.progress.subscribe().wait_for(reached).await.unwrap()
    }

    async fn next(&self, max: usize, wanted: impl Fn(&Routing) -> bool + Send) -> Vec<Routing> {
        loop {
            let notified = self.offers.notified();
            {
                let mut state = self.state.lock().unwrap();
                state.outbox.make_contiguous().sort_by_key(|routing| routing.priority);
                let count = state
                    .outbox
                    .iter()
                    .take(max)
                    .take_while(|routing| wanted(routing))
                    .count();
                if count > 0 {
                    self.progress.send_modify(|progress| progress.offered += count);
                    return state.outbox.drain(..count).collect();
                }
            }
            notified.await;
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }
}

#[async_trait]
impl Custodian for Memory {
    async fn next_offers(&self, max: usize) -> Vec<Routing> {
        self.next(max, |_| true).await
    }

    async fn next_urgent_offers(&self, max: usize) -> Vec<Routing> {
        self.next(max, |routing| routing.priority == Priority::Stat).await
    }

    async fn read(&self, delivery: DeliveryId, _: PayloadId, segment: u32) -> Result<Bytes, CustodianError> {
        let state = self.state.lock().unwrap();
        let (_, bytes) = &state.out[&delivery];
        let start = segment as usize * SEGMENT_LEN as usize;
        let end = bytes.len().min(start + SEGMENT_LEN as usize);
        Ok(bytes.slice(start..end))
    }

    async fn acked(&self, acks: Vec<Acked>) {
        self.progress.send_modify(|progress| progress.acked += acks.len());
    }

    async fn refused(&self, _: DeliveryId, _: Refusal) {
        self.progress.send_modify(|progress| progress.refused += 1);
    }

    async fn lost(&self, unacked: Vec<DeliveryId>) {
        let mut state = self.state.lock().unwrap();
        let again: Vec<_> = unacked.iter().map(|delivery| state.out[delivery].0.clone()).collect();
        state.outbox.extend(again);
        drop(state);
        self.offers.notify_one();
        self.progress.send_modify(|progress| progress.lost += unacked.len());
    }

    async fn offered(&self, routing: &Routing) -> OfferAnswer {
        let state = self.state.lock().unwrap();
        if let Some(why) = &state.refuses {
            return OfferAnswer::Refuse(why.clone());
        }
        if state.kept.contains_key(&routing.delivery) {
            return OfferAnswer::Have(WallTime::from_unix_micros(1));
        }
        if state.has_no_room_for_bulk && routing.priority == Priority::Bulk {
            return OfferAnswer::Later;
        }
        let part = state.parts.get(&routing.payload);
        OfferAnswer::Want(part.map_or_else(SegmentSet::new, |(_, have)| have.clone()))
    }

    async fn write(&self, routing: &Routing, segment: u32, bytes: Bytes) -> Result<(), CustodianError> {
        let mut state = self.state.lock().unwrap();
        let length = usize::try_from(routing.length).unwrap();
        let part = state
            .parts
            .entry(routing.payload)
            .or_insert_with(|| (vec![0; length], SegmentSet::new()));
        let start = segment as usize * SEGMENT_LEN as usize;
        part.0[start..start + bytes.len()].copy_from_slice(&bytes);
        part.1.insert(segment);
        drop(state);
        self.progress.send_modify(|progress| progress.written += 1);
        Ok(())
    }

    async fn finish(&self, routing: &Routing) -> Result<WallTime, CustodianError> {
        let mut state = self.state.lock().unwrap();
        let (bytes, _) = state.parts.remove(&routing.payload).unwrap();
        assert_eq!(blake3::hash(&bytes).as_bytes(), routing.blake3.as_bytes());
        state.kept.insert(routing.delivery, bytes.into());
        state.order.push(routing.delivery);
        drop(state);
        self.progress.send_modify(|progress| progress.finished += 1);
        Ok(WallTime::from_unix_micros(7))
    }
}
