use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, ContextAnswer, PresentationContextId, ProposedContext};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};

use super::*;
use crate::negotiate::{answer_pdu, request_pdu};

const ARTIM: Duration = Duration::from_secs(30);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn request() -> AssociateRq {
    let syntax = TransferSyntaxUid::try_from("1.2.840.10008.1.2").unwrap();
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from("1.2.840.10008.1.1").unwrap(),
        transfer_syntaxes: vec![syntax],
    };
    let title = |text| AeTitle::try_from(text).unwrap();
    request_pdu(&title("A"), &title("B"), vec![context], 16_384)
}

fn acceptance(rq: &AssociateRq) -> Pdu {
    let context = &rq.contexts[0];
    let answer = ContextAnswer::Accepted(context.transfer_syntaxes[0].clone());
    answer_pdu(rq, &Answer::Accept(vec![(context.id, answer)]), 16_384)
}

/// One PDU of each kind.
fn every_pdu() -> Vec<Pdu> {
    vec![
        Pdu::AssociateRq(Box::new(request())),
        acceptance(&request()),
        Pdu::AssociateRj(Rejection::LOCAL_LIMIT_EXCEEDED),
        Pdu::PDataTf(Bytes::new()),
        Pdu::ReleaseRq,
        Pdu::ReleaseRp,
        Pdu::Abort(Abort::USER),
    ]
}

/// A machine in `state`, with nothing left to drain.
fn machine_in(state: State, now: Instant) -> Machine {
    let side = match state {
        State::AwaitingAssociateAnswer | State::CollisionRequestor | State::CollisionRequestorAnswered => {
            Side::Requestor
        }
        _ => Side::Acceptor,
    };
    let mut machine = Machine::new(side, state, ARTIM);
    machine.start_artim(now);
    machine
}

const STATES: [State; 12] = [
    State::Idle,
    State::AwaitingAssociateRq,
    State::AwaitingAnswer,
    State::AwaitingAssociateAnswer,
    State::Established,
    State::AwaitingReleaseRp,
    State::AwaitingReleaseAnswer,
    State::CollisionRequestor,
    State::CollisionAcceptor,
    State::CollisionRequestorAnswered,
    State::CollisionAcceptorAnswered,
    State::AwaitingClose,
];

/// The next state of PS3.8 Table 9-10 for a PDU received. `None`: A-ABORT is sent and Sta13 follows.
fn next_state(state: State, pdu: &Pdu) -> Option<State> {
    use State::*;
    match (state, pdu) {
        (Idle, _) => Some(Idle),
        (AwaitingClose, Pdu::Abort(_)) => Some(Idle),
        (AwaitingClose, _) => Some(AwaitingClose),
        (_, Pdu::Abort(_)) => Some(Idle),
        (AwaitingAssociateRq, Pdu::AssociateRq(_)) => Some(AwaitingAnswer),
        (AwaitingAssociateAnswer, Pdu::AssociateAc(_)) => Some(Established),
        (AwaitingAssociateAnswer, Pdu::AssociateRj(_)) => Some(Idle),
        (Established, Pdu::PDataTf(_)) => Some(Established),
        (AwaitingReleaseRp, Pdu::PDataTf(_)) => Some(AwaitingReleaseRp),
        (Established, Pdu::ReleaseRq) => Some(AwaitingReleaseAnswer),
        (AwaitingReleaseRp, Pdu::ReleaseRq) => Some(CollisionAcceptor),
        (AwaitingReleaseRp | CollisionRequestorAnswered, Pdu::ReleaseRp) => Some(Idle),
        (CollisionAcceptor, Pdu::ReleaseRp) => Some(CollisionAcceptorAnswered),
        _ => None,
    }
}

#[test]
fn every_pdu_in_every_state_leads_where_table_9_10_says() {
    let now = start();
    for state in STATES {
        for pdu in every_pdu() {
            let mut machine = machine_in(state, now);
            let (name, expected) = (pdu.name(), next_state(state, &pdu));
            machine.handle_pdu(now, pdu);
            let aborted = matches!(machine.poll_transmit(), Some(Pdu::Abort(Abort::UNEXPECTED_PDU)));
            assert_eq!(
                machine.state(),
                expected.unwrap_or(State::AwaitingClose),
                "{name} in {}",
                state.name()
            );
            assert_eq!(aborted, expected.is_none(), "{name} in {}", state.name());
        }
    }
}

#[test]
fn a_closed_connection_ends_every_state() {
    for state in STATES {
        let mut machine = machine_in(state, start());
        machine.handle_closed();
        assert_eq!(machine.state(), State::Idle);
        let lost = machine.poll_event() == Some(Event::Lost);
        assert_eq!(
            lost,
            !matches!(state, State::Idle | State::AwaitingClose),
            "{}",
            state.name()
        );
    }
}

#[test]
fn artim_closes_on_a_peer_that_asks_for_nothing() {
    let now = start();
    let mut machine = Machine::acceptor(now, ARTIM);
    machine.handle_timeout(now + ARTIM / 2);
    assert_eq!(machine.poll_event(), None);
    machine.handle_timeout(now + ARTIM);
    assert_eq!((machine.poll_event(), machine.is_over()), (Some(Event::TimedOut), true));
}

#[test]
fn a_requestor_and_an_acceptor_open_and_release() {
    let now = start();
    let (mut requestor, mut acceptor) = (Machine::associate(now, ARTIM, request()), Machine::acceptor(now, ARTIM));
    acceptor.handle_pdu(now, requestor.poll_transmit().unwrap());
    let Some(Event::Requested(rq)) = acceptor.poll_event() else {
        panic!()
    };
    acceptor.answer(now, acceptance(&rq));
    requestor.handle_pdu(now, acceptor.poll_transmit().unwrap());
    assert!(matches!(requestor.poll_event(), Some(Event::Accepted(_))));
    assert!(requestor.may_send() && acceptor.may_send());
    requestor.release(now);
    acceptor.handle_pdu(now, requestor.poll_transmit().unwrap());
    assert_eq!(acceptor.poll_event(), Some(Event::ReleaseRequested));
    acceptor.answer_release(now);
    assert_eq!(acceptor.poll_event(), Some(Event::Released));
    requestor.handle_pdu(now, acceptor.poll_transmit().unwrap());
    assert_eq!(requestor.poll_event(), Some(Event::Released));
}

#[test]
fn a_release_collision_closes_both_sides() {
    let now = start();
    let mut requestor = Machine::new(Side::Requestor, State::Established, ARTIM);
    let mut acceptor = Machine::new(Side::Acceptor, State::Established, ARTIM);
    requestor.release(now);
    acceptor.release(now);
    requestor.handle_pdu(now, acceptor.poll_transmit().unwrap());
    acceptor.handle_pdu(now, requestor.poll_transmit().unwrap());
    requestor.answer_release(now);
    acceptor.handle_pdu(now, requestor.poll_transmit().unwrap());
    acceptor.answer_release(now);
    requestor.handle_pdu(now, acceptor.poll_transmit().unwrap());
    let last = |machine: &mut Machine| std::iter::from_fn(|| machine.poll_event()).last();
    assert_eq!(
        (last(&mut requestor), last(&mut acceptor)),
        (Some(Event::Released), Some(Event::Released))
    );
}
