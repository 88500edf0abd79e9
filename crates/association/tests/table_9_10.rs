//! PS3.8 Table 9-10, every cell: the action, the next state, what is sent, what the user is told, and ARTIM. Also the cells
//! that must abort, and the empty ones, where nothing may happen.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packhorse_association::codec::UserInformation;
use packhorse_association::machine::{Action, Event, Machine, State, Trigger, action};
use packhorse_association::negotiate::{answer_pdu, request_pdu};
use packhorse_association::{Abort, Pdu, Violation};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, ContextAnswer, PresentationContextId, ProposedContext, Rejection};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_testkit::peers::{Peer, require};

const ARTIM: Duration = Duration::from_secs(30);

/// Table 9-10 as it is printed: a line for each event, a column for each state.
const TABLE: &str = "
     Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
Evt1  AE-1 -     -     -     -     -     -     -     -     -     -     -     -
Evt2  -    -     -     AE-2  -     -     -     -     -     -     -     -     -
Evt3  -    AA-1  AA-8  -     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt4  -    AA-1  AA-8  -     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt5  AE-5 -     -     -     -     -     -     -     -     -     -     -     -
Evt6  -    AE-6  AA-8  -     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
Evt7  -    -     AE-7  -     -     -     -     -     -     -     -     -     -
Evt8  -    -     AE-8  -     -     -     -     -     -     -     -     -     -
Evt9  -    -     -     -     -     DT-1  -     AR-7  -     -     -     -     -
Evt10 -    AA-1  AA-8  -     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt11 -    -     -     -     -     AR-1  -     -     -     -     -     -     -
Evt12 -    AA-1  AA-8  -     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt13 -    AA-1  AA-8  -     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
Evt14 -    -     -     -     -     -     -     AR-4  AR-9  -     -     AR-4  -
Evt15 -    -     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  -
Evt16 -    AA-2  AA-3  -     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
Evt17 -    AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
Evt18 -    AA-2  -     -     -     -     -     -     -     -     -     -     AA-2
Evt19 -    AA-1  AA-8  -     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
";

/// The printed table's cells: event and state by their number, and the action.
fn printed() -> Vec<(usize, usize, Option<String>)> {
    let rows = TABLE.lines().filter(|line| line.starts_with("Evt"));
    let cells = rows.flat_map(|row| {
        let mut words = row.split_whitespace();
        let event = words.next().unwrap().trim_start_matches("Evt").parse().unwrap();
        words
            .enumerate()
            .map(move |(state, cell)| (event, state + 1, (cell != "-").then(|| cell.to_owned())))
    });
    cells.collect()
}

/// `Ar10` as the standard writes it: `AR-10`.
fn written(action: Action) -> String {
    let name = format!("{action:?}").to_uppercase();
    let (letters, number) = name.split_at(2);
    format!("{letters}-{number}")
}

fn cells() -> impl Iterator<Item = (usize, Trigger, usize, State)> {
    let triggers = Trigger::ALL.into_iter().zip(1..);
    triggers.flat_map(|(trigger, event)| {
        let states = State::ALL.into_iter().zip(1..);
        states.map(move |(state, number)| (event, trigger, number, state))
    })
}

#[test]
fn the_table_is_the_printed_one() {
    let printed = printed();
    assert_eq!(printed.len(), 19 * 13);
    for (event, trigger, number, state) in cells() {
        let ours = action(state, trigger).map(written);
        let cell = printed.iter().find(|cell| (cell.0, cell.1) == (event, number)).unwrap();
        assert_eq!(ours, cell.2, "Evt{event} in Sta{number}");
    }
}

/// pynetdicom's table was typed in by somebody else.
#[test]
fn the_table_is_pynetdicoms() {
    let Some(python) = require(Peer::Pynetdicom) else {
        return;
    };
    let program = "from pynetdicom.fsm import TRANSITION_TABLE as t\nfor (e, s), a in t.items(): print(e, s, a)";
    let output = std::process::Command::new(python)
        .args(["-c", program])
        .output()
        .unwrap();
    let mut theirs: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let ours = printed().into_iter().filter_map(|(event, state, action)| {
        let action = action?;
        Some(format!("Evt{event} Sta{state} {action}"))
    });
    let mut ours: Vec<_> = ours.collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    writeln!(std::io::stderr(), "{} cells equal pynetdicom's", ours.len()).unwrap();
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn title(text: &str) -> AeTitle {
    AeTitle::try_from(text).unwrap()
}

fn request() -> Pdu {
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from("1.2.840.10008.1.1").unwrap(),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from("1.2.840.10008.1.2").unwrap()],
    };
    let rq = request_pdu(&title("A"), &title("B"), vec![context], UserInformation::ours(16_384));
    Pdu::AssociateRq(Box::new(rq))
}

fn acceptance() -> Pdu {
    let Pdu::AssociateRq(rq) = request() else { panic!() };
    let context = &rq.contexts[0];
    let answer = ContextAnswer::Accepted(context.transfer_syntaxes[0].clone());
    answer_pdu(
        &rq,
        &Answer::Accept(vec![(context.id, answer)]),
        UserInformation::ours(16_384),
    )
}

fn rejection() -> Pdu {
    Pdu::AssociateRj(Rejection::LOCAL_LIMIT_EXCEEDED)
}

/// A machine that came to `state` by what may happen to one, drained.
fn machine_in(state: State, now: Instant) -> Machine {
    let Pdu::AssociateRq(rq) = request() else { panic!() };
    let requestor = || {
        let mut machine = Machine::associate(now, ARTIM, (*rq).clone());
        machine.handle_connected(now);
        machine
    };
    let established = |mut machine: Machine| {
        machine.handle_pdu(now, acceptance());
        machine
    };
    let asked = || {
        let mut machine = Machine::acceptor(now, ARTIM);
        machine.handle_pdu(now, request());
        machine
    };
    let accepted = || {
        let mut machine = asked();
        machine.answer(now, acceptance());
        machine
    };
    let releasing = |mut machine: Machine| {
        machine.release(now);
        machine
    };
    let collision = |machine: Machine| {
        let mut machine = releasing(machine);
        machine.handle_pdu(now, Pdu::ReleaseRq);
        machine
    };
    let mut machine = match state {
        State::Idle => {
            let mut machine = Machine::acceptor(now, ARTIM);
            machine.handle_closed();
            machine
        }
        State::AwaitingAssociateRq => Machine::acceptor(now, ARTIM),
        State::AwaitingAnswer => asked(),
        State::AwaitingTransport => Machine::associate(now, ARTIM, (*rq).clone()),
        State::AwaitingAssociateAnswer => requestor(),
        State::Established => established(requestor()),
        State::AwaitingReleaseRp => releasing(established(requestor())),
        State::AwaitingReleaseAnswer => {
            let mut machine = accepted();
            machine.handle_pdu(now, Pdu::ReleaseRq);
            machine
        }
        State::CollisionRequestor => collision(established(requestor())),
        State::CollisionAcceptor => collision(accepted()),
        State::CollisionRequestorAnswered => {
            let mut machine = collision(established(requestor()));
            machine.answer_release(now);
            machine
        }
        State::CollisionAcceptorAnswered => {
            let mut machine = collision(accepted());
            machine.handle_pdu(now, Pdu::ReleaseRp);
            machine
        }
        State::AwaitingClose => {
            let mut machine = accepted();
            machine.abort(now, Abort::USER);
            machine
        }
    };
    assert_eq!(machine.state(), state);
    while machine.poll_transmit().is_some() {}
    while machine.poll_event().is_some() {}
    machine
}

/// Lets `trigger` happen to `machine`, at a time when ARTIM has expired if that is what happens.
fn happen(machine: &mut Machine, trigger: Trigger, now: Instant) {
    match trigger {
        // Only a new machine asks for an association, or is given a connection.
        Trigger::AssociateRequest | Trigger::TransportIndicated => {}
        Trigger::TransportConfirmed => machine.handle_connected(now),
        Trigger::AcReceived => machine.handle_pdu(now, acceptance()),
        Trigger::RjReceived => machine.handle_pdu(now, rejection()),
        Trigger::RqReceived => machine.handle_pdu(now, request()),
        Trigger::AcceptResponse => machine.answer(now, acceptance()),
        Trigger::RejectResponse => machine.answer(now, rejection()),
        Trigger::DataRequest => {}
        Trigger::DataReceived => machine.handle_pdu(now, Pdu::PDataTf(Bytes::from_static(b"data"))),
        Trigger::ReleaseRequest => machine.release(now),
        Trigger::ReleaseRqReceived => machine.handle_pdu(now, Pdu::ReleaseRq),
        Trigger::ReleaseRpReceived => machine.handle_pdu(now, Pdu::ReleaseRp),
        Trigger::ReleaseResponse => machine.answer_release(now),
        Trigger::AbortRequest => machine.abort(now, Abort::USER),
        Trigger::AbortReceived => machine.handle_pdu(now, Pdu::Abort(Abort::PROVIDER)),
        Trigger::TransportClosed => machine.handle_closed(),
        Trigger::ArtimExpired => machine.handle_timeout(now + ARTIM),
        Trigger::InvalidPdu => machine.handle_violation(now, Violation::UnknownPdu(0x42)),
    }
}

/// What an action does, in the words of Tables 9-6 to 9-9.
struct Does {
    next: State,
    sends: Option<&'static str>,
    tells: Option<&'static str>,
    /// Whether ARTIM runs behind it. `None`: as before.
    artim: Option<bool>,
}

fn does(action: Action, state: State) -> Does {
    use State::*;
    let (next, sends, tells, artim) = match action {
        Action::Ae1 => (AwaitingTransport, None, None, None),
        // The standard leaves the bounding of this wait to the implementation.
        Action::Ae2 => (AwaitingAssociateAnswer, Some("A-ASSOCIATE-RQ"), None, Some(true)),
        Action::Ae3 => (Established, None, Some("Accepted"), Some(false)),
        Action::Ae4 => (Idle, None, Some("Rejected"), Some(false)),
        Action::Ae5 => (AwaitingAssociateRq, None, None, Some(true)),
        Action::Ae6 => (AwaitingAnswer, None, Some("Requested"), Some(false)),
        Action::Ae7 => (Established, Some("A-ASSOCIATE-AC"), None, Some(false)),
        Action::Ae8 => (AwaitingClose, Some("A-ASSOCIATE-RJ"), None, Some(true)),
        Action::Dt1 | Action::Ar7 => (state, None, None, None),
        Action::Dt2 | Action::Ar6 => (state, None, Some("Data"), None),
        Action::Ar1 => (AwaitingReleaseRp, Some("A-RELEASE-RQ"), None, Some(true)),
        Action::Ar2 => (AwaitingReleaseAnswer, None, Some("ReleaseRequested"), None),
        Action::Ar3 => (Idle, None, Some("Released"), Some(false)),
        Action::Ar4 => (AwaitingClose, Some("A-RELEASE-RP"), Some("Released"), Some(true)),
        Action::Ar5 | Action::Aa5 if state == AwaitingClose => (Idle, None, None, Some(false)),
        Action::Ar5 | Action::Aa5 => (Idle, None, Some("Lost"), Some(false)),
        // Sta7 is reached by a requestor here; Sta10 has its own test below.
        Action::Ar8 => (CollisionRequestor, None, Some("ReleaseRequested"), None),
        Action::Ar9 => (CollisionRequestorAnswered, Some("A-RELEASE-RP"), None, None),
        Action::Ar10 => (CollisionAcceptorAnswered, None, Some("ReleaseConfirmed"), None),
        Action::Aa1 | Action::Aa8 => (AwaitingClose, Some("A-ABORT"), None, Some(true)),
        Action::Aa2 => (Idle, None, None, Some(false)),
        Action::Aa3 => (Idle, None, Some("Aborted"), Some(false)),
        Action::Aa4 => (Idle, None, Some("Lost"), Some(false)),
        Action::Aa6 => (AwaitingClose, None, None, Some(true)),
        Action::Aa7 => (AwaitingClose, Some("A-ABORT"), None, Some(true)),
    };
    Does {
        next,
        sends,
        tells,
        artim,
    }
}

/// What the driver is told beyond the standard's indications, so that it ends too.
fn told_besides(action: Action, trigger: Trigger, state: State) -> Option<&'static str> {
    match (action, trigger) {
        (Action::Aa1 | Action::Aa8, Trigger::AbortRequest) => None,
        (Action::Aa1 | Action::Aa8, _) => Some("Violated"),
        (Action::Aa2, Trigger::AbortReceived) if state != State::AwaitingClose => Some("Aborted"),
        (Action::Aa2, Trigger::ArtimExpired) if state != State::AwaitingClose => Some("TimedOut"),
        _ => None,
    }
}

/// The event's name; its contents are other tests' matter.
fn name(event: &Event) -> String {
    let shown = format!("{event:?}");
    shown.split(['(', ' ']).next().unwrap().to_owned()
}

#[test]
fn every_cell_does_what_its_action_says() {
    let now = start();
    for (event, trigger, number, state) in cells() {
        if matches!(trigger, Trigger::AssociateRequest | Trigger::TransportIndicated) {
            continue;
        }
        let cell = format!("Evt{event} in Sta{number}");
        let mut machine = machine_in(state, now);
        let ran = machine.poll_timeout().is_some();
        // ARTIM does not run where the standard does not let it expire, or a wait of ours is bounded by it.
        if trigger == Trigger::ArtimExpired && action(state, trigger).is_none() {
            continue;
        }
        happen(&mut machine, trigger, now);
        let sent = machine.poll_transmit();
        let told = machine.poll_event().map(|event| name(&event));
        let runs = machine.poll_timeout().is_some();
        let Some(action) = action(state, trigger) else {
            assert_eq!((machine.state(), sent, told, runs), (state, None, None, ran), "{cell}");
            continue;
        };
        let does = does(action, state);
        assert_eq!(machine.state(), does.next, "{cell}");
        assert_eq!(sent.as_ref().map(Pdu::name), does.sends, "{cell}");
        let tells = does.tells.or_else(|| told_besides(action, trigger, state));
        assert_eq!(told.as_deref(), tells, "{cell}");
        assert_eq!(runs, does.artim.unwrap_or(ran), "{cell}: ARTIM");
        assert_eq!((machine.poll_transmit(), machine.poll_event()), (None, None), "{cell}");
    }
}

/// Evt1 and Evt5: the two ways in which a machine begins.
#[test]
fn a_machine_begins_in_sta4_or_in_sta2() {
    let now = start();
    assert_eq!(machine_in(State::AwaitingTransport, now).poll_timeout(), None);
    assert_eq!(
        machine_in(State::AwaitingAssociateRq, now).poll_timeout(),
        Some(now + ARTIM)
    );
}

/// AA-1 is the service user's abort, AA-8 the service provider's with a reason (Table 9-26).
#[test]
fn aborts_carry_the_standards_source_and_reason() {
    let now = start();
    for (event, trigger, number, state) in cells() {
        let mut machine = machine_in(state, now);
        let expected = match (action(state, trigger), trigger) {
            (Some(Action::Aa1), _) => Abort::USER,
            (Some(Action::Aa7 | Action::Aa8), Trigger::InvalidPdu) => Abort::UNRECOGNIZED_PDU,
            (Some(Action::Aa7 | Action::Aa8), _) => Abort::UNEXPECTED_PDU,
            _ => continue,
        };
        happen(&mut machine, trigger, now);
        assert_eq!(
            machine.poll_transmit(),
            Some(Pdu::Abort(expected)),
            "Evt{event} in Sta{number}"
        );
    }
}

/// Where ARTIM bounds a wait that the standard leaves unbounded, its expiry is the local user's abort.
#[test]
fn no_wait_for_the_peer_is_without_an_end() {
    let now = start();
    for state in State::ALL {
        let mut machine = machine_in(state, now);
        let waits_for_peer = !matches!(
            state,
            State::Idle
                | State::AwaitingAnswer
                | State::AwaitingTransport
                | State::Established
                | State::AwaitingReleaseAnswer
        );
        assert_eq!(machine.poll_timeout().is_some(), waits_for_peer, "{}", state.name());
        machine.handle_timeout(now + ARTIM / 2);
        assert_eq!(machine.state(), state, "before its time");
        machine.handle_timeout(now + ARTIM);
        assert_eq!(
            machine.is_over(),
            waits_for_peer || state == State::Idle,
            "{}",
            state.name()
        );
    }
}

#[test]
fn a_release_collision_closes_both_sides() {
    let now = start();
    let mut requestor = machine_in(State::AwaitingReleaseRp, now);
    let mut acceptor = machine_in(State::CollisionAcceptor, now);
    requestor.handle_pdu(now, Pdu::ReleaseRq);
    requestor.answer_release(now);
    acceptor.handle_pdu(now, requestor.poll_transmit().unwrap());
    assert_eq!(acceptor.poll_event(), Some(Event::ReleaseConfirmed));
    acceptor.answer_release(now);
    requestor.handle_pdu(now, acceptor.poll_transmit().unwrap());
    assert_eq!(requestor.state(), State::Idle);
    acceptor.handle_closed();
    assert_eq!(acceptor.state(), State::Idle);
    let last = |machine: &mut Machine| std::iter::from_fn(|| machine.poll_event()).last();
    assert_eq!(
        (last(&mut requestor), last(&mut acceptor)),
        (Some(Event::Released), Some(Event::Released))
    );
}
