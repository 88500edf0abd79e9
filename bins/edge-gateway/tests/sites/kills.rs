//! Each process killed in the middle of a study, and aborted at each stopping point: everything that was answered 0000
//! arrives, and an instance comes twice only where its answer was cut off.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use packhorse_testkit::peers::{LogLine, Peer, Xscp, XscpOptions, require};
use packhorse_testkit::process::poll;

use crate::instances::{Instance, assert_arrived, ct_series, doubles, send_rest};
use crate::support::{Host, PATIENCE, Setup, Sites};

/// How a process is ended in the middle.
enum End {
    /// SIGKILL, once so many are answered at A, or have come to the target.
    Kill { answered: usize, arrived: usize },
    /// Abort at a stopping point.
    Abort(&'static str),
}

/// Sends the series and ends a host meanwhile, and starts it again; the target's log of this round.
fn round(sites: &mut Sites, target: &Xscp, series: &[Instance], (host, end): (Host, &End)) -> Vec<LogLine> {
    let before = target.log().unwrap().len();
    if let End::Abort(point) = end {
        sites.restart_with(host, Some(point));
    }
    let (to, answered_count) = (sites.dicom(), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut answered = Vec::new();
            let sent = poll(PATIENCE, || {
                // What was not answered is sent again, and only that.
                let sent = send_some(to, series, &mut answered, &answered_count);
                sent.then_some(())
            });
            assert!(sent.is_some(), "only {} were answered", answered.len());
        });
        match end {
            End::Kill { answered, arrived } => {
                let is_time = || {
                    let came = target.log().unwrap().len() - before;
                    (answered_count.load(Ordering::SeqCst) >= *answered && came >= *arrived).then_some(())
                };
                poll(PATIENCE, is_time).unwrap();
                sites.kill(host);
            }
            End::Abort(point) => {
                let ended = sites.daemon(host).process.ended(PATIENCE).unwrap();
                assert!(!ended.success(), "{host:?} aborts at {point}");
            }
        }
        sites.restart(host);
    });
    target.wait_for(before + series.len(), PATIENCE).unwrap();
    sites.wait_until_quiet();
    target.log().unwrap().split_off(before)
}

fn send_some(to: std::net::SocketAddr, series: &[Instance], answered: &mut Vec<String>, count: &AtomicUsize) -> bool {
    for next in series.chunks(10) {
        if send_rest(to, "PACS_A", next, answered).is_err() {
            return false;
        }
        count.store(answered.len(), Ordering::SeqCst);
    }
    true
}

fn survives(host: Host, kill: End, points: &[&'static str]) {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let mut sites = Sites::start(target.port(), &Setup::default());
    let series = ct_series();
    let ends = std::iter::once(kill).chain(points.iter().map(|point| End::Abort(point)));
    for end in ends {
        let log = round(&mut sites, &target, &series, (host, &end));
        assert_arrived(&series, &log);
        let said = match end {
            End::Kill { .. } => "SIGKILL",
            End::Abort(point) => point,
        };
        if host == Host::Relay {
            // Told at once, by a stateless reset; not found out after the idle time.
            let said = &mut sites.daemon(Host::A).process;
            said.stderr_line("the peer restarted", PATIENCE).unwrap();
        }
        assert!(doubles(&log) <= 1, "{host:?}, {said}: {} doubles", doubles(&log));
        assert_eq!(sites.json(Host::A, &["status"])["failed"], 0);
    }
}

#[test]
fn edge_a_may_die_at_any_point() {
    let kill = End::Kill {
        answered: 40,
        arrived: 0,
    };
    survives(
        Host::A,
        kill,
        &[
            "after_payload:40",
            "after_commit:40",
            "after_answer:40",
            "before_settle:5",
        ],
    );
}

#[test]
fn the_relay_may_die_at_any_point() {
    let kill = End::Kill {
        answered: 0,
        arrived: 20,
    };
    survives(
        Host::Relay,
        kill,
        &[
            "after_payload:5",
            "after_commit:5",
            "after_ack_sent:40",
            "before_settle:5",
        ],
    );
}

#[test]
fn edge_b_may_die_at_any_point() {
    let kill = End::Kill {
        answered: 0,
        arrived: 20,
    };
    survives(
        Host::B,
        kill,
        &[
            "after_payload:5",
            "after_commit:5",
            "after_ack_sent:40",
            "before_settle:40",
        ],
    );
}
