//! What the peer offers: from its offer until our acknowledgement.

use std::collections::HashMap;
use std::sync::Arc;

use packhorse_ids::{DeliveryId, Routing, SegmentSet, WallTime, segment_count, segment_len};

use super::{Acked, Arrival, Event, OfferAnswer, Subject, TAKES_MAX, Trouble, Violation};
use crate::frame::{Frame, SegmentHeader};

#[derive(Debug, Default)]
pub(super) struct Taking {
    deliveries: HashMap<DeliveryId, Arriving>,
}

#[derive(Debug)]
struct Arriving {
    routing: Arc<Routing>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The custodian is asked.
    Asked,
    /// Its segments come.
    Receiving {
        /// Given to the custodian, or durable there from the beginning.
        taken: SegmentSet,
        /// Of these, what the custodian has written.
        written: SegmentSet,
    },
    /// The custodian finishes it.
    Finishing,
}

/// What follows from an input.
pub(super) enum Outcome {
    Nothing,
    Tell(Frame),
    Ack(Acked),
    Happened(Event),
}

impl Taking {
    pub(super) fn offered(&mut self, routing: Routing) -> Result<Outcome, Violation> {
        let delivery = routing.delivery;
        let Some(known) = self.deliveries.get(&delivery) else {
            return self.ask(routing);
        };
        let is_same = known.routing.payload == routing.payload;
        match &known.stage {
            Stage::Asked | Stage::Finishing if is_same => Ok(Outcome::Nothing),
            // The custodian is busy with the bytes of before.
            Stage::Asked | Stage::Finishing => Ok(Outcome::Tell(Frame::Later { delivery })),
            Stage::Receiving { written, .. } if is_same => Ok(Outcome::Tell(Frame::Want {
                delivery,
                have: written.clone(),
            })),
            Stage::Receiving { .. } => {
                self.deliveries.remove(&delivery);
                self.ask(routing)
            }
        }
    }

    pub(super) fn answer(&mut self, subject: Subject, answer: OfferAnswer) -> Outcome {
        let delivery = subject.delivery;
        let Some(known) = self.find(subject) else {
            return Outcome::Nothing;
        };
        if !matches!(known.stage, Stage::Asked) {
            return Outcome::Nothing;
        }
        match answer {
            OfferAnswer::Want(have) => known.receive(have),
            OfferAnswer::Have(at) => self.drop_with(delivery, Frame::Have(Acked { delivery, at })),
            OfferAnswer::Refuse(why) => self.drop_with(delivery, Frame::Refuse { delivery, why }),
            OfferAnswer::Later => self.drop_with(delivery, Frame::Later { delivery }),
        }
    }

    pub(super) fn arrived(&mut self, header: &SegmentHeader) -> Result<Arrival, Violation> {
        let subject = Subject {
            delivery: header.delivery,
            payload: header.payload,
        };
        let Some(known) = self.find(subject) else {
            return Ok(Arrival::Drop);
        };
        if segment_len(known.routing.length, header.index) != Some(header.length) {
            return Err(Violation::SegmentLength {
                index: header.index,
                length: header.length,
            });
        }
        match &mut known.stage {
            Stage::Receiving { taken, .. } if !taken.contains(header.index) => {
                taken.insert(header.index);
                Ok(Arrival::Take(Arc::clone(&known.routing)))
            }
            Stage::Asked | Stage::Receiving { .. } | Stage::Finishing => Ok(Arrival::Drop),
        }
    }

    pub(super) fn written(&mut self, subject: Subject, index: u32, result: Result<(), Trouble>) -> Outcome {
        let Some(known) = self.find(subject) else {
            return Outcome::Nothing;
        };
        let Stage::Receiving { written, .. } = &mut known.stage else {
            return Outcome::Nothing;
        };
        if let Err(trouble) = result {
            return self.give_up(subject.delivery, trouble);
        }
        written.insert(index);
        if is_whole(written, &known.routing) {
            return known.finish();
        }
        Outcome::Nothing
    }

    pub(super) fn finished(&mut self, subject: Subject, result: Result<WallTime, Trouble>) -> Outcome {
        let delivery = subject.delivery;
        match self.find(subject).map(|known| &known.stage) {
            Some(Stage::Finishing) => {}
            Some(Stage::Asked | Stage::Receiving { .. }) | None => return Outcome::Nothing,
        }
        match result {
            Err(trouble) => self.give_up(delivery, trouble),
            Ok(at) => {
                self.deliveries.remove(&delivery);
                Outcome::Ack(Acked { delivery, at })
            }
        }
    }

    pub(super) fn withdrawn(&mut self, delivery: DeliveryId) {
        // What is being finished is whole: it will be acknowledged, which the peer may ignore.
        if let Some(known) = self.deliveries.get(&delivery)
            && !matches!(known.stage, Stage::Finishing)
        {
            self.deliveries.remove(&delivery);
        }
    }

    fn ask(&mut self, routing: Routing) -> Result<Outcome, Violation> {
        if self.deliveries.len() >= TAKES_MAX {
            return Err(Violation::TooManyOffers);
        }
        let routing = Arc::new(routing);
        let asked = Arriving {
            routing: Arc::clone(&routing),
            stage: Stage::Asked,
        };
        self.deliveries.insert(routing.delivery, asked);
        Ok(Outcome::Happened(Event::Offered(routing)))
    }

    fn find(&mut self, subject: Subject) -> Option<&mut Arriving> {
        let known = self.deliveries.get_mut(&subject.delivery)?;
        (known.routing.payload == subject.payload).then_some(known)
    }

    fn give_up(&mut self, delivery: DeliveryId, trouble: Trouble) -> Outcome {
        let frame = match trouble {
            Trouble::Later => Frame::Later { delivery },
            Trouble::Refused(why) => Frame::Refuse { delivery, why },
        };
        self.drop_with(delivery, frame)
    }

    fn drop_with(&mut self, delivery: DeliveryId, frame: Frame) -> Outcome {
        self.deliveries.remove(&delivery);
        Outcome::Tell(frame)
    }
}

impl Arriving {
    fn receive(&mut self, have: SegmentSet) -> Outcome {
        if is_whole(&have, &self.routing) {
            return self.finish();
        }
        self.stage = Stage::Receiving {
            taken: have.clone(),
            written: have.clone(),
        };
        Outcome::Tell(Frame::Want {
            delivery: self.routing.delivery,
            have,
        })
    }

    fn finish(&mut self) -> Outcome {
        self.stage = Stage::Finishing;
        Outcome::Happened(Event::Complete(Arc::clone(&self.routing)))
    }
}

fn is_whole(have: &SegmentSet, routing: &Routing) -> bool {
    segment_count(routing.length).is_some_and(|count| have.is_full(count))
}
