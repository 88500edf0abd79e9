//! The upper layer protocol machine (PS3.8 §9.2, Table 9-10), for both roles. No socket, no clock.
//!
//! Inputs are `handle_*` and are infallible: a PDU that cannot come becomes an A-ABORT and an event. Commands are
//! [`associate`](Machine::associate), [`answer`](Machine::answer), [`release`](Machine::release),
//! [`answer_release`](Machine::answer_release) and [`abort`](Machine::abort); where the table has no cell for one, it does
//! nothing. Outputs are drained in the order [`poll_transmit`](Machine::poll_transmit),
//! [`poll_event`](Machine::poll_event), [`poll_timeout`](Machine::poll_timeout).
//!
//! P-DATA-TF to the peer does not pass through: it is bulk, and may go whenever [`may_send`](Machine::may_send) says so.
//!
//! Beyond the table: ARTIM also bounds the waits for an A-ASSOCIATE-AC (Sta5) and for an A-RELEASE-RP (Sta7, Sta9 to Sta12),
//! as if the local user aborted when it expires; and an A-ASSOCIATE-RQ whose parameters cannot be (even or doubled context
//! ids) is aborted by the provider with reason 6, as in every other state, and not by the user: Table 9-26 has a reason for
//! it, AA-1 would hide it.

mod state;
mod table;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packhorse_dicom::negotiation::Rejection;

use crate::codec::{Abort, AssociateAc, AssociateRq, Pdu, Violation};
use crate::pdv::Hidden;

pub use state::State;
pub use table::{Action, Trigger, action};

/// Which side asked for the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sent the A-ASSOCIATE-RQ.
    Requestor,
    /// Was sent it.
    Acceptor,
}

/// What has happened. `Debug` shows no data.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// Acceptor: an A-ASSOCIATE-RQ came; [`Machine::answer`] is due.
    Requested(Box<AssociateRq>),
    /// Requestor: the association is established.
    Accepted(Box<AssociateAc>),
    /// Requestor: it was rejected.
    Rejected(Rejection),
    /// The variable field of a P-DATA-TF.
    Data(Bytes),
    /// The peer asks for release; [`Machine::answer_release`] is due, in a collision at the acceptor only after
    /// [`ReleaseConfirmed`](Self::ReleaseConfirmed).
    ReleaseRequested,
    /// Release collision, acceptor: the peer agrees to our release and still awaits [`Machine::answer_release`].
    ReleaseConfirmed,
    /// Both sides agree that it is over.
    Released,
    /// The peer aborted.
    Aborted(Abort),
    /// We aborted because the peer broke the protocol.
    Violated(Violation),
    /// The peer closed the connection without release or abort.
    Lost,
    /// ARTIM expired while an A-ASSOCIATE-RQ or an answer was awaited.
    TimedOut,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested(rq) => f.debug_tuple("Requested").field(rq).finish(),
            Self::Accepted(ac) => f.debug_tuple("Accepted").field(ac).finish(),
            Self::Rejected(rejection) => f.debug_tuple("Rejected").field(rejection).finish(),
            Self::Data(body) => f.debug_tuple("Data").field(&Hidden(body.len())).finish(),
            Self::ReleaseRequested => f.write_str("ReleaseRequested"),
            Self::ReleaseConfirmed => f.write_str("ReleaseConfirmed"),
            Self::Released => f.write_str("Released"),
            Self::Aborted(abort) => f.debug_tuple("Aborted").field(abort).finish(),
            Self::Violated(violation) => f.debug_tuple("Violated").field(violation).finish(),
            Self::Lost => f.write_str("Lost"),
            Self::TimedOut => f.write_str("TimedOut"),
        }
    }
}

/// One association's protocol machine.
#[derive(Debug)]
pub struct Machine {
    side: Side,
    state: State,
    artim: Duration,
    deadline: Option<Instant>,
    /// What AE-2 sends.
    request: Option<Box<AssociateRq>>,
    transmit: VecDeque<Pdu>,
    events: VecDeque<Event>,
}

impl Machine {
    /// An acceptor whose transport connection has just opened: AE-5, ARTIM runs.
    #[must_use]
    pub fn acceptor(now: Instant, artim: Duration) -> Self {
        let mut machine = Self::new(Side::Acceptor, State::Idle, artim);
        machine.perform(now, Trigger::TransportIndicated, None);
        machine
    }

    /// A requestor that will send `request` once [`handle_connected`](Self::handle_connected) says that there is a
    /// transport connection: AE-1.
    #[must_use]
    pub fn associate(now: Instant, artim: Duration, request: AssociateRq) -> Self {
        let mut machine = Self::new(Side::Requestor, State::Idle, artim);
        machine.request = Some(Box::new(request));
        machine.perform(now, Trigger::AssociateRequest, None);
        machine
    }

    const fn new(side: Side, state: State, artim: Duration) -> Self {
        Self {
            side,
            state,
            artim,
            deadline: None,
            request: None,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether P-DATA-TF may be sent (Sta6; Sta8 too, AR-7).
    #[must_use]
    pub const fn may_send(&self) -> bool {
        action(self.state, Trigger::DataRequest).is_some()
    }

    /// Whether the connection is to be closed once [`poll_transmit`](Self::poll_transmit) is drained.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Idle | State::AwaitingClose)
    }

    /// The transport connection that [`associate`](Self::associate) waits for is open: AE-2. ARTIM bounds the wait for the
    /// answer.
    pub fn handle_connected(&mut self, now: Instant) {
        self.perform(now, Trigger::TransportConfirmed, None);
    }

    /// A PDU came.
    pub fn handle_pdu(&mut self, now: Instant, pdu: Pdu) {
        let name = pdu.name();
        let (trigger, event) = match pdu {
            Pdu::AssociateRq(rq) => (Trigger::RqReceived, Event::Requested(rq)),
            Pdu::AssociateAc(ac) => (Trigger::AcReceived, Event::Accepted(ac)),
            Pdu::AssociateRj(rejection) => (Trigger::RjReceived, Event::Rejected(rejection)),
            Pdu::PDataTf(body) => (Trigger::DataReceived, Event::Data(body)),
            Pdu::ReleaseRq => (Trigger::ReleaseRqReceived, Event::ReleaseRequested),
            Pdu::ReleaseRp => (Trigger::ReleaseRpReceived, Event::Released),
            Pdu::Abort(abort) => (Trigger::AbortReceived, Event::Aborted(abort)),
        };
        let event = match action(self.state, trigger) {
            Some(Action::Aa1 | Action::Aa7 | Action::Aa8) => Event::Violated(Violation::Unexpected {
                pdu: name,
                state: self.state.name(),
            }),
            Some(Action::Ar10) => Event::ReleaseConfirmed,
            _ => event,
        };
        self.perform(now, trigger, Some(event));
    }

    /// Bytes came that are no PDU, or no message: AA-1, AA-7, AA-8.
    pub fn handle_violation(&mut self, now: Instant, violation: Violation) {
        self.perform(now, Trigger::InvalidPdu, Some(Event::Violated(violation)));
    }

    /// The transport connection was closed: AA-4, AA-5, AR-5.
    pub fn handle_closed(&mut self) {
        // No action for a closed connection starts a timer: the time is of no account.
        if let Some(Action::Aa4 | Action::Aa5) = action(self.state, Trigger::TransportClosed) {
            self.events.push_back(Event::Lost);
        }
        self.close();
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) gave has come: AA-2, or AA-1 for a wait that is bounded by us.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        match self.state {
            State::AwaitingAssociateRq => self.perform(now, Trigger::ArtimExpired, Some(Event::TimedOut)),
            State::AwaitingClose => self.perform(now, Trigger::ArtimExpired, None),
            _ => {
                self.abort(now, Abort::USER);
                self.events.push_back(Event::TimedOut);
            }
        }
    }

    /// Acceptor: the answer to an A-ASSOCIATE-RQ, an A-ASSOCIATE-AC (AE-7) or -RJ (AE-8). Anything else, or at another
    /// time, is passed over.
    pub fn answer(&mut self, now: Instant, answer: Pdu) {
        let trigger = match answer {
            Pdu::AssociateAc(_) => Trigger::AcceptResponse,
            Pdu::AssociateRj(_) => Trigger::RejectResponse,
            Pdu::AssociateRq(_) | Pdu::PDataTf(_) | Pdu::ReleaseRq | Pdu::ReleaseRp | Pdu::Abort(_) => return,
        };
        if action(self.state, trigger).is_some() {
            self.transmit.push_back(answer);
            self.perform(now, trigger, None);
        }
    }

    /// Asks for release: AR-1.
    pub fn release(&mut self, now: Instant) {
        self.perform(now, Trigger::ReleaseRequest, None);
    }

    /// Agrees to the peer's release: AR-4, AR-9.
    pub fn answer_release(&mut self, now: Instant) {
        self.perform(now, Trigger::ReleaseResponse, None);
    }

    /// Aborts: AA-1, with this source and reason; AA-2 where there is no connection yet.
    pub fn abort(&mut self, now: Instant, abort: Abort) {
        match action(self.state, Trigger::AbortRequest) {
            Some(Action::Aa1) => self.send_abort(now, abort),
            _ => self.perform(now, Trigger::AbortRequest, None),
        }
    }

    /// The next PDU to send.
    pub fn poll_transmit(&mut self) -> Option<Pdu> {
        self.transmit.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Does what the table says for `trigger` now; `event` is what the user is told where it says "indication" or
    /// "confirmation".
    fn perform(&mut self, now: Instant, trigger: Trigger, event: Option<Event>) {
        let Some(action) = action(self.state, trigger) else {
            return;
        };
        let abort = answer_to(action, event.as_ref());
        // Behind our last PDU nobody is told any more.
        if self.state != State::AwaitingClose {
            self.events.extend(event);
        }
        match action {
            Action::Ae1 => self.state = State::AwaitingTransport,
            Action::Ae2 => {
                self.transmit.extend(self.request.take().map(Pdu::AssociateRq));
                self.wait_in(now, State::AwaitingAssociateAnswer);
            }
            Action::Ae5 => self.wait_in(now, State::AwaitingAssociateRq),
            Action::Ae6 => self.go_on_in(State::AwaitingAnswer),
            Action::Ae3 | Action::Ae7 => self.go_on_in(State::Established),
            Action::Ae8 => self.wait_in(now, State::AwaitingClose),
            Action::Dt1 | Action::Dt2 | Action::Ar6 | Action::Ar7 | Action::Aa6 => {}
            Action::Ar1 => {
                self.transmit.push_back(Pdu::ReleaseRq);
                self.wait_in(now, State::AwaitingReleaseRp);
            }
            Action::Ar2 => self.state = State::AwaitingReleaseAnswer,
            Action::Ar4 => {
                self.transmit.push_back(Pdu::ReleaseRp);
                self.events.push_back(Event::Released);
                self.wait_in(now, State::AwaitingClose);
            }
            Action::Ar8 => {
                self.state = match self.side {
                    Side::Requestor => State::CollisionRequestor,
                    Side::Acceptor => State::CollisionAcceptor,
                }
            }
            Action::Ar9 => {
                self.transmit.push_back(Pdu::ReleaseRp);
                self.state = State::CollisionRequestorAnswered;
            }
            Action::Ar10 => self.state = State::CollisionAcceptorAnswered,
            Action::Aa1 | Action::Aa7 | Action::Aa8 => self.send_abort(now, abort),
            Action::Ae4 | Action::Ar3 | Action::Ar5 | Action::Aa2 | Action::Aa3 | Action::Aa4 | Action::Aa5 => {
                self.close();
            }
        }
    }

    fn wait_in(&mut self, now: Instant, state: State) {
        self.state = state;
        self.deadline = now.checked_add(self.artim);
    }

    const fn go_on_in(&mut self, state: State) {
        self.state = state;
        self.deadline = None;
    }

    const fn close(&mut self) {
        self.go_on_in(State::Idle);
    }

    fn send_abort(&mut self, now: Instant, abort: Abort) {
        self.transmit.push_back(Pdu::Abort(abort));
        self.wait_in(now, State::AwaitingClose);
    }
}

/// Source and reason of the A-ABORT that `action` sends because of `event`: AA-1 is the user's.
const fn answer_to(action: Action, event: Option<&Event>) -> Abort {
    match (action, event) {
        (Action::Aa1, Some(Event::Violated(Violation::Unexpected { .. } | Violation::UnknownPdu(_)))) => Abort::USER,
        (_, Some(Event::Violated(violation))) => violation.abort(),
        _ => Abort::USER,
    }
}
