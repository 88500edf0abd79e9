//! Connections that mean nothing: half-open, cut, rejected and aborted, a hundred thousand of them.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use packhorse_testkit::process::{free_port, poll};
use packhorse_testkit::raw_scu::{Pair, RawScu, request_bytes};
use socket2::{Domain, Socket, Type};

use crate::instances::made_series;
use crate::support::{Host, PATIENCE, ROUTE, Setup, Sites};

/// Connections in all.
const CONNECTIONS: usize = 100_000;
/// After so many, what grows once has grown.
const WARM: usize = 20_000;
/// How much more memory the edge may have at the end than after [`WARM`], in KiB: allocators and SQLite's caches breathe, by
/// 6 to 16 MiB here. A leak of 400 bytes a connection is more than this.
const GROWTH_MAX: usize = 32 << 10;
/// Half-open connections that each of three threads keeps open: more in all than the edge lets wait.
const OPEN: usize = 150;

/// The last number of the address from which peers call that may call, and abort.
const ABORTS: u8 = 3;

/// Lets that address in.
const AT_A: &str = "[[source]]\nae_titles = [\"PACS_A\"]\nhosts = [\"127.0.0.3\"]\n";

/// Connects from this address of the loopback network, and resets when it closes: nothing is left in TIME_WAIT.
fn connect(to: SocketAddr, from: u8) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0)).into())?;
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What the edge answers first, by its PDU type; 0 when it has closed.
fn answer(stream: &mut TcpStream) -> u8 {
    let mut head = [0; 6];
    stream.read_exact(&mut head).map_or(0, |()| head[0])
}

/// One of the five sorts of connections that mean nothing. The one which stays open is given back.
fn misbehave(to: SocketAddr, thread: u8, number: usize, request: &[u8]) -> io::Result<Option<TcpStream>> {
    let stranger = 10 + thread;
    match number % 5 {
        // Half-open.
        0 => connect(to, stranger).map(Some),
        // Cut somewhere in the A-ASSOCIATE-RQ, half-open or closed.
        1 | 2 => {
            let mut stream = connect(to, stranger)?;
            stream.write_all(&request[..number % request.len()])?;
            Ok((number % 5 == 1).then_some(stream))
        }
        // Rejected: nobody may call from there.
        3 => {
            let mut stream = connect(to, stranger)?;
            stream.write_all(request)?;
            assert!(matches!(answer(&mut stream), 3 | 0));
            Ok(None)
        }
        // A peer that may call, and aborts.
        _ => {
            let mut stream = connect(to, ABORTS)?;
            stream.write_all(request)?;
            // Rejected for now where so many end at once that their limit is reached.
            assert!(matches!(answer(&mut stream), 2 | 3 | 0));
            stream.write_all(&[7, 0, 0, 0, 0, 4, 0, 0, 0, 0])?;
            Ok(None)
        }
    }
}

/// A thread's share of the storm. A connection that the edge has closed already is as good as another.
fn storm(to: SocketAddr, thread: u8, made: &AtomicUsize, request: &[u8]) {
    let mut open = VecDeque::new();
    loop {
        let number = made.fetch_add(1, Ordering::Relaxed);
        if number >= CONNECTIONS {
            break;
        }
        open.extend(misbehave(to, thread, number, request).ok().flatten());
        if open.len() > OPEN {
            open.pop_front();
        }
    }
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_hundred_thousand_connections_leave_memory_flat_and_a_good_peer_served() {
    let setup = Setup {
        at_a: AT_A,
        ..Setup::default()
    };
    let mut sites = Sites::start(free_port().unwrap(), &setup);
    let pid = sites.daemon(Host::A).process.id();
    let to = sites.dicom();
    let series = made_series(4, 64);
    let pairs: Vec<Pair> = vec![series[0].pair()];
    let request = request_bytes(ROUTE, "PACS_A", &pairs);
    let (made, warm, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let served = thread::scope(|scope| {
        let good = scope.spawn(|| {
            let mut served = 0;
            while !is_over.load(Ordering::Relaxed) {
                // An association for each thousand connections: it is the connections that are looked at.
                let due = made.load(Ordering::Relaxed) + 1000;
                poll(PATIENCE, || {
                    (made.load(Ordering::Relaxed) >= due.min(CONNECTIONS)).then_some(())
                });
                let mut scu = RawScu::associate(to, ROUTE, "PACS_A", &pairs).unwrap();
                let context = scu.accepted(&pairs[0]).unwrap();
                for instance in &series {
                    let (class, uid) = (instance.class.as_bytes(), instance.uid.as_bytes());
                    assert_eq!(scu.store(context, class, uid, &instance.data).unwrap().status, 0);
                    served += 1;
                }
                scu.release().unwrap();
            }
            served
        });
        let (made, request) = (&made, &request);
        let is_good = thread::scope(|scope| {
            let spawn = |thread| scope.spawn(move || storm(to, thread, made, request));
            let storms = [0, 1, 2].map(spawn);
            poll(PATIENCE * 5, || (made.load(Ordering::Relaxed) >= WARM).then_some(()));
            warm.store(resident(pid), Ordering::Relaxed);
            storms.into_iter().all(|storm| storm.join().is_ok())
        });
        // The good peer ends whatever came of the storm.
        is_over.store(true, Ordering::Relaxed);
        assert!(is_good);
        good.join().unwrap()
    });
    let (warm, end) = (warm.into_inner(), resident(pid));
    let mut stderr = io::stderr();
    writeln!(
        stderr,
        "{CONNECTIONS} connections: {warm} KiB, then {end} KiB; {served} instances meanwhile"
    )
    .unwrap();
    assert!(end < warm + GROWTH_MAX, "{warm} KiB after {WARM}, {end} KiB at the end");
    assert!(served > 20, "{served}");
    let status = sites.json(Host::A, &["status"]);
    assert_eq!(status["associations"], 0, "{status}");
}
