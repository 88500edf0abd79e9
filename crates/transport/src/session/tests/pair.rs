//! Two sessions, a link between them that delivers in any order what may come in any order, and a clock that only tests
//! move.

use std::collections::{HashMap, HashSet, VecDeque};

use super::*;

const WINDOW: u64 = 3 * MIB;

/// A session with a custodian that remembers.
pub(super) struct Side {
    pub(super) session: Session,
    pub(super) outbox: Vec<Routing>,
    pub(super) acked: HashSet<DeliveryId>,
    pub(super) lost: Vec<DeliveryId>,
    pub(super) kept: HashSet<DeliveryId>,
    pub(super) finished: usize,
    /// Segments taken on this link.
    pub(super) taken: usize,
    pub(super) sent_on_this_link: usize,
    /// So many offers find no room.
    pub(super) later_first: usize,
    /// So many writes fail.
    pub(super) fail_writes: usize,
    pub(super) unreadable: Option<DeliveryId>,
    parts: HashMap<PayloadId, SegmentSet>,
    whole: HashMap<PayloadId, u32>,
    offers: HashMap<DeliveryId, Routing>,
    jobs: Vec<Job>,
}

enum Job {
    Answer(Arc<Routing>),
    Write(Arc<Routing>, u32),
    Finish(Arc<Routing>),
}

impl Side {
    pub(super) fn new(outbox: Vec<Routing>) -> Self {
        Self {
            session: Session::new(a_moment(), "side", VERSIONS),
            offers: outbox
                .iter()
                .map(|routing| (routing.delivery, routing.clone()))
                .collect(),
            outbox,
            acked: HashSet::new(),
            lost: Vec::new(),
            kept: HashSet::new(),
            finished: 0,
            taken: 0,
            sent_on_this_link: 0,
            later_first: 0,
            fail_writes: 0,
            unreadable: None,
            parts: HashMap::new(),
            whole: HashMap::new(),
            jobs: Vec::new(),
        }
    }

    /// Segments that need not come again.
    pub(super) fn durable(&self) -> usize {
        let parts: u32 = self.parts.values().map(SegmentSet::len).sum();
        (parts + self.whole.values().sum::<u32>()) as usize
    }

    pub(super) fn forget_every_other_part(&mut self) {
        for have in self.parts.values_mut() {
            let kept = have
                .ranges()
                .iter()
                .flat_map(Clone::clone)
                .filter(|index| index % 2 == 0);
            let mut half = SegmentSet::new();
            kept.collect::<Vec<_>>()
                .into_iter()
                .for_each(|index| half.insert(index));
            *have = half;
        }
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Answer(routing) => {
                let answer = self.answer(&routing);
                self.session.answer(Subject::of(&routing), answer);
            }
            Job::Write(routing, index) => {
                let result = if self.fail_writes > 0 {
                    self.fail_writes -= 1;
                    Err(Trouble::Later)
                } else {
                    self.parts.entry(routing.payload).or_default().insert(index);
                    Ok(())
                };
                self.session.handle_written(Subject::of(&routing), index, result);
            }
            Job::Finish(routing) => {
                let have = self.parts.remove(&routing.payload).unwrap();
                self.whole.insert(routing.payload, have.len());
                self.kept.insert(routing.delivery);
                self.finished += 1;
                self.session
                    .handle_finished(Subject::of(&routing), Ok(WallTime::default()));
            }
        }
    }

    fn answer(&mut self, routing: &Routing) -> OfferAnswer {
        if self.kept.contains(&routing.delivery) {
            return OfferAnswer::Have(WallTime::default());
        }
        if self.later_first > 0 {
            self.later_first -= 1;
            return OfferAnswer::Later;
        }
        OfferAnswer::Want(self.parts.get(&routing.payload).cloned().unwrap_or_default())
    }
}

pub(super) struct Pair {
    pub(super) a: Side,
    pub(super) b: Side,
    pub(super) now: Instant,
    /// Segments come more than once.
    pub(super) doubles: bool,
    to_a: Wire,
    to_b: Wire,
    random: u64,
}

#[derive(Default)]
struct Wire {
    control: VecDeque<Frame>,
    segments: Vec<(Rank, SegmentHeader)>,
}

impl Pair {
    /// A new link between two sides.
    pub(super) fn new(mut a: Side, mut b: Side, seed: u64) -> Self {
        let now = a_moment();
        for side in [&mut a, &mut b] {
            side.session = Session::new(now, "side", VERSIONS);
            side.sent_on_this_link = 0;
            side.taken = 0;
            side.jobs.clear();
        }
        Self {
            a,
            b,
            now,
            doubles: false,
            to_a: Wire::default(),
            to_b: Wire::default(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Until nothing more happens; says how many steps that took.
    pub(super) fn run(&mut self) -> usize {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 10_000, "it does not come to an end");
        }
        steps
    }

    pub(super) fn run_for(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// The link is gone, with all that was on it; what was in the custodians' hands gets done, for nothing.
    pub(super) fn end(mut self) -> (Side, Side) {
        drain(&mut self.a, &mut self.to_b);
        drain(&mut self.b, &mut self.to_a);
        for side in [&mut self.a, &mut self.b] {
            for job in std::mem::take(&mut side.jobs) {
                if let Job::Finish(_) = &job {
                    side.work(job);
                }
            }
            let unacked = side.session.unacked();
            let again = unacked.iter().map(|delivery| side.offers[delivery].clone());
            side.outbox.extend(again);
        }
        (self.a, self.b)
    }

    /// One thing happens. False when nothing can, and no time-out is ahead.
    fn step(&mut self) -> bool {
        drain(&mut self.a, &mut self.to_b);
        drain(&mut self.b, &mut self.to_a);
        let choices = [
            self.to_a.control.len().min(1),
            self.to_b.control.len().min(1),
            self.to_a.segments.len(),
            self.to_b.segments.len(),
            self.a.jobs.len(),
            self.b.jobs.len(),
        ];
        let total: usize = choices.iter().sum();
        if total == 0 {
            return self.wait();
        }
        let mut chosen = self.below(total);
        let kind = choices.iter().position(|count| {
            let found = chosen < *count;
            if !found {
                chosen -= count;
            }
            found
        });
        let doubled = self.doubles && self.below(3) == 0;
        match kind.unwrap() {
            0 => control(&mut self.a, &mut self.to_a, self.now),
            1 => control(&mut self.b, &mut self.to_b, self.now),
            2 => segment(&mut self.a, &mut self.b, &mut self.to_a, chosen, doubled),
            3 => segment(&mut self.b, &mut self.a, &mut self.to_b, chosen, doubled),
            4 => {
                let job = self.a.jobs.swap_remove(chosen);
                self.a.work(job);
            }
            _ => {
                let job = self.b.jobs.swap_remove(chosen);
                self.b.work(job);
            }
        }
        true
    }

    fn wait(&mut self) -> bool {
        let timeouts = [self.a.session.poll_timeout(), self.b.session.poll_timeout()];
        let Some(next) = timeouts.into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        self.a.session.handle_timeout(self.now);
        self.b.session.handle_timeout(self.now);
        true
    }

    /// xorshift64*.
    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

fn control(to: &mut Side, wire: &mut Wire, now: Instant) {
    let frame = wire.control.pop_front().unwrap();
    to.session.handle_frame(now, frame);
}

fn segment(to: &mut Side, from: &mut Side, wire: &mut Wire, chosen: usize, doubled: bool) {
    let (rank, header) = if doubled {
        wire.segments[chosen]
    } else {
        wire.segments.swap_remove(chosen)
    };
    from.session.handle_segment_sent(rank);
    if let Arrival::Take(routing) = to.session.handle_segment(&header) {
        to.taken += 1;
        to.jobs.push(Job::Write(routing, header.index));
    }
}

/// Everything that a side wants done now.
fn drain(side: &mut Side, wire: &mut Wire) {
    let room = side.session.offer_room(WINDOW).min(side.outbox.len());
    if room > 0 {
        side.session.offer(side.outbox.drain(..room).collect());
    }
    while let Some((rank, header)) = side.session.poll_segment(WINDOW) {
        if Some(header.delivery) == side.unreadable && header.index == 2 {
            side.session.handle_read_failed(rank, Trouble::Later);
        } else {
            side.session.handle_loaded(rank);
        }
    }
    while let Some(event) = side.session.poll_event() {
        match event {
            Event::Offered(routing) => side.jobs.push(Job::Answer(routing)),
            Event::Complete(routing) => side.jobs.push(Job::Finish(routing)),
            Event::Acked(acks) => side.acked.extend(acks.iter().map(|acked| acked.delivery)),
            Event::Lost(delivery) => side.lost.push(delivery),
            Event::Established { .. } | Event::Abandon(_) => {}
            Event::Refused(..) | Event::Closed(_) => panic!("{event:?}"),
        }
    }
    while let Some((rank, bytes)) = side.session.poll_write(WINDOW) {
        if side.session.handle_wrote(rank, bytes) {
            let header = side.session.offering.schedule.header(rank).unwrap();
            side.sent_on_this_link += 1;
            wire.segments.push((rank, header));
        }
    }
    while let Some(frame) = side.session.poll_transmit() {
        wire.control.push_back(frame);
    }
}

/// Any moment will do: sessions only compare.
pub(super) fn a_moment() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one moment that a test's clock begins from"
    )]
    Instant::now()
}
