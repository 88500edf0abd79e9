//! PS3.8 Table 9-10, cell by cell: which action an event leads to in a state.

use super::State;

/// An event of PS3.8 Table 9-10, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Evt1: A-ASSOCIATE request by the local user.
    AssociateRequest,
    /// Evt2: the transport connection that we asked for is open.
    TransportConfirmed,
    /// Evt3: A-ASSOCIATE-AC received.
    AcReceived,
    /// Evt4: A-ASSOCIATE-RJ received.
    RjReceived,
    /// Evt5: a transport connection was opened to us.
    TransportIndicated,
    /// Evt6: A-ASSOCIATE-RQ received.
    RqReceived,
    /// Evt7: the local user accepts.
    AcceptResponse,
    /// Evt8: the local user rejects.
    RejectResponse,
    /// Evt9: the local user sends data.
    DataRequest,
    /// Evt10: P-DATA-TF received.
    DataReceived,
    /// Evt11: the local user asks for release.
    ReleaseRequest,
    /// Evt12: A-RELEASE-RQ received.
    ReleaseRqReceived,
    /// Evt13: A-RELEASE-RP received.
    ReleaseRpReceived,
    /// Evt14: the local user agrees to release.
    ReleaseResponse,
    /// Evt15: the local user aborts.
    AbortRequest,
    /// Evt16: A-ABORT received.
    AbortReceived,
    /// Evt17: the transport connection was closed.
    TransportClosed,
    /// Evt18: ARTIM expired.
    ArtimExpired,
    /// Evt19: an unrecognized or invalid PDU received.
    InvalidPdu,
}

impl Trigger {
    /// All nineteen, in the standard's order.
    pub const ALL: [Self; 19] = [
        Self::AssociateRequest,
        Self::TransportConfirmed,
        Self::AcReceived,
        Self::RjReceived,
        Self::TransportIndicated,
        Self::RqReceived,
        Self::AcceptResponse,
        Self::RejectResponse,
        Self::DataRequest,
        Self::DataReceived,
        Self::ReleaseRequest,
        Self::ReleaseRqReceived,
        Self::ReleaseRpReceived,
        Self::ReleaseResponse,
        Self::AbortRequest,
        Self::AbortReceived,
        Self::TransportClosed,
        Self::ArtimExpired,
        Self::InvalidPdu,
    ];
}

/// An action of PS3.8 Tables 9-6 to 9-9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for a transport connection; Sta4.
    Ae1,
    /// Send A-ASSOCIATE-RQ; Sta5.
    Ae2,
    /// Tell the user that it is accepted; Sta6.
    Ae3,
    /// Tell the user that it is rejected, close; Sta1.
    Ae4,
    /// Start ARTIM; Sta2.
    Ae5,
    /// Stop ARTIM, tell the user; Sta3.
    Ae6,
    /// Send A-ASSOCIATE-AC; Sta6.
    Ae7,
    /// Send A-ASSOCIATE-RJ, start ARTIM; Sta13.
    Ae8,
    /// Send P-DATA-TF; Sta6.
    Dt1,
    /// Give data to the user; Sta6.
    Dt2,
    /// Send A-RELEASE-RQ; Sta7.
    Ar1,
    /// Tell the user that release is asked for; Sta8.
    Ar2,
    /// Tell the user that it is released, close; Sta1.
    Ar3,
    /// Send A-RELEASE-RP, start ARTIM; Sta13.
    Ar4,
    /// Stop ARTIM; Sta1.
    Ar5,
    /// Give data to the user; Sta7.
    Ar6,
    /// Send P-DATA-TF; Sta8.
    Ar7,
    /// Release collision: tell the user; Sta9 for the requestor, Sta10 for the acceptor.
    Ar8,
    /// Send A-RELEASE-RP; Sta11.
    Ar9,
    /// Tell the user that its own release was agreed to; Sta12.
    Ar10,
    /// Send A-ABORT (service user), start ARTIM; Sta13.
    Aa1,
    /// Stop ARTIM, close; Sta1.
    Aa2,
    /// Tell the user that the peer aborted, close; Sta1.
    Aa3,
    /// Tell the user that the connection is lost; Sta1.
    Aa4,
    /// Stop ARTIM; Sta1.
    Aa5,
    /// Ignore the PDU; Sta13.
    Aa6,
    /// Send A-ABORT; Sta13.
    Aa7,
    /// Send A-ABORT (service provider), tell the user, start ARTIM; Sta13.
    Aa8,
}

/// The cell of Table 9-10; `None` where it is empty: the event cannot happen there, or is a request of the local user that
/// has no meaning there.
#[must_use]
pub const fn action(state: State, trigger: Trigger) -> Option<Action> {
    match trigger {
        Trigger::AssociateRequest => on_only(state, State::Idle, Action::Ae1),
        Trigger::TransportConfirmed => on_only(state, State::AwaitingTransport, Action::Ae2),
        Trigger::TransportIndicated => on_only(state, State::Idle, Action::Ae5),
        Trigger::AcceptResponse => on_only(state, State::AwaitingAnswer, Action::Ae7),
        Trigger::RejectResponse => on_only(state, State::AwaitingAnswer, Action::Ae8),
        Trigger::ReleaseRequest => on_only(state, State::Established, Action::Ar1),
        Trigger::DataRequest => match state {
            State::Established => Some(Action::Dt1),
            State::AwaitingReleaseAnswer => Some(Action::Ar7),
            _ => None,
        },
        Trigger::ReleaseResponse => match state {
            State::AwaitingReleaseAnswer | State::CollisionAcceptorAnswered => Some(Action::Ar4),
            State::CollisionRequestor => Some(Action::Ar9),
            _ => None,
        },
        Trigger::AbortRequest => match state {
            State::Idle | State::AwaitingAssociateRq | State::AwaitingClose => None,
            State::AwaitingTransport => Some(Action::Aa2),
            _ => Some(Action::Aa1),
        },
        Trigger::TransportClosed => match state {
            State::Idle => None,
            State::AwaitingAssociateRq => Some(Action::Aa5),
            State::AwaitingClose => Some(Action::Ar5),
            _ => Some(Action::Aa4),
        },
        Trigger::ArtimExpired => match state {
            State::AwaitingAssociateRq | State::AwaitingClose => Some(Action::Aa2),
            _ => None,
        },
        Trigger::AcReceived
        | Trigger::RjReceived
        | Trigger::RqReceived
        | Trigger::DataReceived
        | Trigger::ReleaseRqReceived
        | Trigger::ReleaseRpReceived
        | Trigger::AbortReceived
        | Trigger::InvalidPdu => received(state, trigger),
    }
}

const fn on_only(state: State, only: State, action: Action) -> Option<Action> {
    if state as u8 == only as u8 { Some(action) } else { None }
}

/// The rows of what comes from the peer. Without a transport connection (Sta1, Sta4) nothing can.
const fn received(state: State, trigger: Trigger) -> Option<Action> {
    Some(match (state, trigger) {
        (State::Idle | State::AwaitingTransport, _) => return None,
        (State::AwaitingAssociateRq | State::AwaitingClose, Trigger::AbortReceived) => Action::Aa2,
        (_, Trigger::AbortReceived) => Action::Aa3,
        (State::AwaitingClose, Trigger::RqReceived | Trigger::InvalidPdu) => Action::Aa7,
        (State::AwaitingClose, _) => Action::Aa6,
        (State::AwaitingAssociateRq, Trigger::RqReceived) => Action::Ae6,
        (State::AwaitingAssociateRq, _) => Action::Aa1,
        (State::AwaitingAssociateAnswer, Trigger::AcReceived) => Action::Ae3,
        (State::AwaitingAssociateAnswer, Trigger::RjReceived) => Action::Ae4,
        (State::Established, Trigger::DataReceived) => Action::Dt2,
        (State::AwaitingReleaseRp, Trigger::DataReceived) => Action::Ar6,
        (State::Established, Trigger::ReleaseRqReceived) => Action::Ar2,
        (State::AwaitingReleaseRp, Trigger::ReleaseRqReceived) => Action::Ar8,
        (State::AwaitingReleaseRp | State::CollisionRequestorAnswered, Trigger::ReleaseRpReceived) => Action::Ar3,
        (State::CollisionAcceptor, Trigger::ReleaseRpReceived) => Action::Ar10,
        _ => Action::Aa8,
    })
}
