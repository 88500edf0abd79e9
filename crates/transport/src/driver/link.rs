//! The loop of one link: a session, its lane and its custodian.
//!
//! The session is asked what to do and told what happened; the custodian's work runs in tasks beside it; nothing in the
//! loop waits for anything but the next thing that happens. Bounds: segments in hand by the schedule and by permits, tasks
//! by the deliveries that are open.

mod receive;
mod send;
mod work;

use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packhorse_ids::Routing;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{Counters, LinkEnd};
use super::custodian::{Custodian, CustodianError};
use super::lane::{ControlReceiver, ControlSender, Lane, LaneError};
use crate::frame::FrameReader;
use crate::schedule::{Rank, SEGMENTS_MAX};
use crate::session::{CLOSE_CUSTODY, CLOSE_STOPPED, Ending, Event, Session, Trouble, VERSIONS};
use send::Writing;
use work::Done;

/// How long a peer may take to receive the last frames of a link that is closed in good order.
const CLOSING_MAX: Duration = Duration::from_secs(2);
/// How long the custodian may take over what cannot be broken off, before the link's end is reported without it.
const SETTLING_MAX: Duration = Duration::from_secs(10);
/// Control bytes that are encoded ahead of what the lane takes.
const CONTROL_AHEAD: usize = 64 << 10;

/// What the custodian was asked to offer, until it answers.
struct Asked {
    only_urgent: bool,
    offers: Pin<Box<dyn Future<Output = Vec<Routing>> + Send>>,
}

pub(crate) struct Link<L: Lane> {
    lane: Arc<L>,
    custodian: Arc<dyn Custodian>,
    counters: Arc<Counters>,
    session: Session,
    frames: FrameReader,
    control: Vec<u8>,
    writing: HashMap<Rank, Writing<L>>,
    /// Given up when the link ends.
    passing: JoinSet<Done<L>>,
    /// Never broken off: what the custodian commits.
    lasting: JoinSet<Done<L>>,
    permits: Arc<Semaphore>,
    ending: Option<LinkEnd>,
}

enum Step<L: Lane> {
    Done(Done<L>),
    Control(Result<Option<Bytes>, LaneError>),
    ControlWritten(Result<usize, LaneError>),
    Offers(Vec<Routing>),
    Incoming(Result<receive::Incoming<L>, LaneError>),
    Pumped(Result<Option<(Rank, Writing<L>)>, LaneError>),
    Timeout,
    Stop,
    Gone(LinkEnd),
}

impl<L: Lane> Link<L> {
    pub(crate) fn new(lane: Arc<L>, custodian: Arc<dyn Custodian>, counters: Arc<Counters>, build: &str) -> Self {
        Self {
            lane,
            custodian,
            counters,
            session: Session::new(now(), build, VERSIONS),
            frames: FrameReader::default(),
            control: Vec::new(),
            writing: HashMap::new(),
            passing: JoinSet::new(),
            lasting: JoinSet::new(),
            permits: Arc::new(Semaphore::new(SEGMENTS_MAX)),
            ending: None,
        }
    }

    /// Runs to the end, and gives back what is unacknowledged.
    pub(crate) async fn run(mut self, peer_build: &watch::Sender<Option<String>>, stop: &CancellationToken) -> LinkEnd {
        let control = tokio::select! {
            control = self.lane.control() => control,
            () = until(self.session.poll_timeout()) => Err(LaneError::GivenUp),
            () = stop.cancelled() => Err(LaneError::GivenUp),
        };
        let end = match control {
            Ok((mut sender, mut receiver)) => {
                let end = self.exchange(&mut sender, &mut receiver, peer_build, stop).await;
                self.say_the_last(&mut sender).await;
                end
            }
            Err(LaneError::GivenUp) if stop.is_cancelled() => LinkEnd::Stopped,
            Err(LaneError::GivenUp) => LinkEnd::Lost {
                why: "no hello within 10 s".to_owned(),
            },
            Err(LaneError::Gone) => self.lane.closed().await,
        };
        self.close_lane(&end);
        self.settle().await;
        end
    }

    async fn exchange(
        &mut self,
        sender: &mut L::ControlSender,
        receiver: &mut L::ControlReceiver,
        peer_build: &watch::Sender<Option<String>>,
        stop: &CancellationToken,
    ) -> LinkEnd {
        let mut asked: Option<Asked> = None;
        let mut incoming = Box::pin(receive::next(Arc::clone(&self.lane), Arc::clone(&self.permits)));
        loop {
            self.drain(peer_build);
            if let Some(end) = self.ending.take() {
                return end;
            }
            asked = self.ask_for_offers(asked);
            match self.step(sender, receiver, &mut asked, incoming.as_mut(), stop).await {
                Step::Offers(deliveries) => {
                    asked = None;
                    self.session.offer(deliveries);
                }
                Step::Incoming(Ok(stream)) => {
                    self.passing.spawn(receive::receive(stream));
                    incoming.set(receive::next(Arc::clone(&self.lane), Arc::clone(&self.permits)));
                }
                Step::Gone(end) => self.ending = Some(end),
                Step::Incoming(Err(_)) => return self.lane.closed().await,
                step => {
                    if self.handle(step).is_err() {
                        return self.lane.closed().await;
                    }
                }
            }
        }
    }

    async fn step(
        &mut self,
        sender: &mut L::ControlSender,
        receiver: &mut L::ControlReceiver,
        asked: &mut Option<Asked>,
        incoming: Pin<&mut impl Future<Output = Result<receive::Incoming<L>, LaneError>>>,
        stop: &CancellationToken,
    ) -> Step<L> {
        let timeout = self.session.poll_timeout();
        let wants_frames = self.session.wants_frames();
        let has_control = !self.control.is_empty();
        let next_offers = async {
            match asked {
                Some(asked) => asked.offers.as_mut().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => Step::Stop,
            control = receiver.read(), if wants_frames => Step::Control(control),
            written = sender.write(&self.control), if has_control => Step::ControlWritten(written),
            Some(done) = self.lasting.join_next() => Step::Done(work::flat(done)),
            Some(done) = self.passing.join_next() => Step::Done(work::flat(done)),
            () = until(timeout) => Step::Timeout,
            deliveries = next_offers => Step::Offers(deliveries),
            stream = incoming => Step::Incoming(stream),
            pumped = send::pump(&mut self.writing, &mut self.session, &*self.lane) => Step::Pumped(pumped),
            end = self.lane.closed() => Step::Gone(end),
        }
    }

    fn handle(&mut self, step: Step<L>) -> Result<(), LaneError> {
        match step {
            Step::Done(done) => self.handle_done(done),
            Step::Control(Ok(Some(bytes))) => {
                self.handle_control(&bytes);
                Ok(())
            }
            Step::Control(Ok(None)) => Err(LaneError::Gone),
            Step::Control(Err(error)) => Err(error),
            Step::ControlWritten(written) => {
                let written = written?;
                self.control.drain(..written);
                Ok(())
            }
            Step::Pumped(pumped) => {
                if let Some((rank, segment)) = pumped? {
                    self.passing.spawn(send::finish(rank, segment));
                }
                Ok(())
            }
            Step::Timeout => {
                self.session.handle_timeout(now());
                Ok(())
            }
            Step::Stop => {
                self.session.close(CLOSE_STOPPED, "the other side stops");
                Ok(())
            }
            // Seen to by the caller.
            Step::Offers(_) | Step::Incoming(_) | Step::Gone(_) => Ok(()),
        }
    }

    fn handle_control(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
        loop {
            match self.frames.next_frame() {
                Ok(Some(frame)) => self.session.handle_frame(now(), frame),
                Ok(None) => return,
                Err(error) => return self.session.handle_frame_error(error),
            }
        }
    }

    /// Does whatever the session wants done.
    fn drain(&mut self, peer_build: &watch::Sender<Option<String>>) {
        while let Some(event) = self.session.poll_event() {
            self.handle_event(event, peer_build);
        }
        while self.control.len() < CONTROL_AHEAD
            && let Some(frame) = self.session.poll_transmit()
        {
            frame.encode(&mut self.control);
        }
        let window = self.lane.window();
        while let Some((rank, header)) = self.session.poll_segment(window) {
            let (lane, custodian) = (Arc::clone(&self.lane), Arc::clone(&self.custodian));
            self.passing.spawn(work::load(lane, custodian, rank, header));
        }
    }

    fn handle_event(&mut self, event: Event, peer_build: &watch::Sender<Option<String>>) {
        let custodian = Arc::clone(&self.custodian);
        match event {
            Event::Established {
                version,
                peer_build: build,
            } => {
                tracing::info!(version, peer = build, "link established");
                peer_build.send_replace(Some(build));
            }
            Event::Offered(routing) => {
                self.lasting.spawn(work::offered(custodian, routing));
            }
            Event::Complete(routing) => {
                self.lasting.spawn(work::finish(custodian, routing));
            }
            Event::Acked(acks) => {
                self.lasting.spawn(work::acked(custodian, acks));
            }
            Event::Refused(delivery, why) => {
                self.lasting.spawn(work::refused(custodian, delivery, why));
            }
            Event::Lost(delivery) => {
                self.lasting.spawn(work::lost(custodian, vec![delivery]));
            }
            Event::Abandon(ranks) => ranks.iter().for_each(|rank| send::abandon(&mut self.writing, *rank)),
            Event::Closed(ending) => {
                self.ending.get_or_insert_with(|| link_end(ending));
            }
        }
    }

    /// Keeps a question open as long as there is room; with room again for all, one for STAT alone is dropped.
    fn ask_for_offers(&self, asked: Option<Asked>) -> Option<Asked> {
        let room = self.session.offer_room(self.lane.window());
        let urgent = self.session.urgent_room();
        match asked {
            Some(asked) if !asked.only_urgent || room == 0 => return Some(asked),
            _ if room == 0 && urgent == 0 => return None,
            _ => {}
        }
        let custodian = Arc::clone(&self.custodian);
        Some(Asked {
            only_urgent: room == 0,
            offers: match room {
                0 => Box::pin(async move { custodian.next_urgent_offers(urgent).await }),
                room => Box::pin(async move { custodian.next_offers(room).await }),
            },
        })
    }

    /// What a custodian's error means for one delivery; `None` when it means the end of the link.
    fn trouble(&mut self, error: CustodianError) -> Option<Trouble> {
        match error {
            CustodianError::Later(why) => {
                // The custodian has said why, once for each try; this comes for each segment.
                tracing::debug!(why, "custodian puts a delivery off");
                Some(Trouble::Later)
            }
            CustodianError::Refused(why) => Some(Trouble::Refused(why)),
            CustodianError::Failed(why) => {
                self.fail(why);
                None
            }
        }
    }

    fn fail(&mut self, why: String) {
        tracing::error!(why, "custody failed, the link is closed");
        self.ending.get_or_insert(LinkEnd::CustodyFailed { why });
        self.session
            .close(CLOSE_CUSTODY, "the other side can take nothing more");
    }

    /// The acknowledgements that wait and the reason why, if the peer still listens.
    async fn say_the_last(&mut self, sender: &mut L::ControlSender) {
        if !self.session.is_closed() {
            return;
        }
        while let Some(frame) = self.session.poll_transmit() {
            frame.encode(&mut self.control);
        }
        let control = std::mem::take(&mut self.control);
        let all = async {
            let mut rest = control.as_slice();
            while !rest.is_empty() {
                let Ok(written) = sender.write(rest).await else { return };
                rest = rest.get(written..).unwrap_or_default();
            }
            sender.finish().await;
        };
        if tokio::time::timeout(CLOSING_MAX, all).await.is_err() {
            tracing::debug!("the peer did not take the last frames of the link");
        }
    }

    fn close_lane(&self, end: &LinkEnd) {
        match end {
            LinkEnd::VersionMismatch { sentence } => self.lane.close(crate::session::CLOSE_VERSION, sentence),
            LinkEnd::PeerMisbehaved { how } => self.lane.close(crate::session::CLOSE_VIOLATION, how),
            LinkEnd::CustodyFailed { .. } => self.lane.close(CLOSE_CUSTODY, "the other side can take nothing more"),
            LinkEnd::Stopped
            | LinkEnd::ClosedByPeer { .. }
            | LinkEnd::CertificateRejected { .. }
            | LinkEnd::Lost { .. } => self.lane.close(CLOSE_STOPPED, "the other side stops"),
        }
    }

    /// Waits for what the custodian has in hand, and gives back the rest.
    async fn settle(&mut self) {
        self.passing.shutdown().await;
        let all = async { while self.lasting.join_next().await.is_some() {} };
        if tokio::time::timeout(SETTLING_MAX, all).await.is_err() {
            tracing::warn!("the custodian is still busy after the end of a link");
            self.lasting.detach_all();
        }
        let unacked = self.session.unacked();
        if !unacked.is_empty() {
            self.custodian.lost(unacked).await;
        }
    }
}

fn link_end(ending: Ending) -> LinkEnd {
    match ending {
        Ending::ByUs => LinkEnd::Stopped,
        Ending::ByPeer { code, sentence } => LinkEnd::ClosedByPeer {
            code: code.into(),
            sentence,
        },
        Ending::VersionMismatch { sentence } => LinkEnd::VersionMismatch { sentence },
        Ending::PeerMisbehaved(violation) => LinkEnd::PeerMisbehaved {
            how: violation.to_string(),
        },
    }
}

/// Time that tests can hold still.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => pending().await,
    }
}
