//! What the kernel saw: before each 0000 is written, what it promises was synced. And what a disk that fails does to it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use packhorse_testkit::peers::{Peer, Xscp, XscpOptions, find, require};
use packhorse_testkit::process::ProcessError;
use packhorse_testkit::raw_scu::RawScu;
use tempfile::TempDir;

use crate::instances::{Instance, assert_arrived, made_series, send_rest};
use crate::support::{Host, PATIENCE, ROUTE, Setup, Sites};

/// One system call of a trace: seconds since 1970, the file or socket, and the rest of the line.
#[derive(Debug)]
struct Call {
    name: String,
    begun: f64,
    ended: f64,
    on: String,
    line: String,
    result: i64,
}

impl Call {
    /// `1795.25 fsync(7</tmp/x/index.sqlite-wal>) = 0 <0.0002>`
    fn parse(line: &str) -> Option<Self> {
        let (time, call) = line.split_once(' ')?;
        let (name, rest) = call.split_once('(')?;
        let (_, on) = rest.split_once('<')?;
        let (on, _) = on.split_once(">,").or_else(|| on.split_once(">)"))?;
        let (before, took) = line.rsplit_once(" <")?;
        let (_, result) = before.rsplit_once(" = ")?;
        let begun: f64 = time.parse().ok()?;
        Some(Self {
            name: name.to_owned(),
            begun,
            ended: begun + took.strip_suffix('>')?.parse::<f64>().ok()?,
            on: unescaped(on),
            result: result.split(' ').next()?.parse().ok()?,
            line: line.to_owned(),
        })
    }

    fn is_sync_of(&self, name: &str) -> bool {
        let file = self.on.rsplit('/').next().unwrap_or_default();
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.result == 0 && file.starts_with(name)
    }

    fn is_read_of(&self, socket: &str) -> bool {
        matches!(self.name.as_str(), "recvfrom" | "read" | "readv" | "recvmsg") && self.result > 0 && self.on == socket
    }

    /// A C-STORE-RSP (0000,0100) = 8001H with status (0000,0900) = 0000H.
    fn is_success(&self) -> bool {
        let (field, status) = (
            r"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x80",
            r"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00",
        );
        matches!(self.name.as_str(), "sendto" | "write" | "writev" | "sendmsg")
            && self.line.contains(field)
            && self.line.contains(status)
    }
}

/// Paths stand in hexadecimal, `\x2f\x74`; sockets do not.
fn unescaped(text: &str) -> String {
    let Some(pairs) = text.strip_prefix(r"\x") else {
        return text.to_owned();
    };
    let bytes = pairs.split(r"\x").filter_map(|pair| u8::from_str_radix(pair, 16).ok());
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

/// strace in front of edge A. It runs beside the gateway, which stays our child.
fn strace(arguments: &[&str]) -> Command {
    let mut command = Command::new(find(Peer::Strace).unwrap());
    command.args(["-D", "-f"]).args(arguments);
    command
}

const TRACED: &str = "trace=fsync,fdatasync,recvfrom,read,readv,recvmsg,sendto,write,writev,sendmsg";

/// Edge A traced into files, one for each thread.
fn traced(sites: &mut Sites, folder: &Path) {
    let prefix = folder.join("trace");
    let prefix = prefix.to_str().unwrap();
    let mut wrapper = strace(&[
        "-ff", "-ttt", "-T", "-yy", "-xx", "-s", "400", "-e", TRACED, "-o", prefix,
    ]);
    sites.restart_under(Host::A, &mut wrapper).unwrap();
}

/// All calls, in the order in which they ended. The gateway must have ended.
fn calls(folder: &Path) -> Vec<Call> {
    let files = folder.read_dir().unwrap().map(|file| file.unwrap().path());
    let texts: Vec<_> = files.map(|file: PathBuf| fs::read_to_string(file).unwrap()).collect();
    let mut calls: Vec<_> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(Call::parse)
        .collect();
    calls.sort_by(|a, b| a.ended.total_cmp(&b.ended));
    calls
}

/// Between the last bytes that came on the socket and each Success lies a whole sync of the log, and of a slab when the
/// data set was long. How many answers there were.
fn check(calls: &[Call], is_long: impl Fn(usize) -> bool) -> usize {
    let mut numbers = std::collections::HashMap::<&str, usize>::new();
    for answer in calls.iter().filter(|call| call.is_success()) {
        let number = numbers.entry(&answer.on).or_default();
        let came = calls
            .iter()
            .filter(|call| call.is_read_of(&answer.on) && call.ended <= answer.begun);
        let came = came.map(|call| call.ended).fold(0.0, f64::max);
        assert!(came > 0.0, "an answer to nothing: {answer:?}");
        let is_synced = |name: &str| {
            let within = |call: &&Call| call.begun >= came && call.ended <= answer.begun;
            calls.iter().filter(within).any(|call| call.is_sync_of(name))
        };
        assert!(is_synced("index.sqlite-wal"), "no sync of the log before {answer:?}");
        assert!(
            !is_long(*number) || is_synced("slab-"),
            "no sync of a slab before {answer:?}"
        );
        *number += 1;
    }
    numbers.values().sum()
}

fn start() -> Option<(Xscp, Sites)> {
    require(Peer::Strace)?;
    require(Peer::Pynetdicom)?;
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let sites = Sites::start(target.port(), &Setup::default());
    Some((target, sites))
}

/// So many of 8 KiB and of 128 KiB, in turn: inline ones and those in slabs.
fn small_and_long(pairs: u32) -> Vec<Instance> {
    let (small, long) = (made_series(pairs, 64), made_series(pairs + 1, 256));
    let in_turn = small.into_iter().zip(long);
    in_turn.flat_map(|(small, long)| [small, long]).collect()
}

#[test]
fn each_success_is_written_after_a_sync_that_began_after_the_last_fragment() {
    let Some((_target, mut sites)) = start() else { return };
    let trace = tempfile::tempdir().unwrap();
    traced(&mut sites, trace.path());
    let series = small_and_long(25);
    send_rest(sites.dicom(), "PACS_A", &series, &mut Vec::new()).unwrap();
    sites.stop(Host::A);
    assert_eq!(check(&calls(trace.path()), |number| number % 2 == 1), 50);
}

#[test]
fn sixteen_associations_share_syncs() {
    let Some((_target, mut sites)) = start() else { return };
    let trace = tempfile::tempdir().unwrap();
    traced(&mut sites, trace.path());
    let series = made_series(160, 64);
    thread::scope(|scope| {
        for part in series.chunks(10) {
            let to = sites.dicom();
            scope.spawn(move || send_rest(to, "PACS_A", part, &mut Vec::new()).unwrap());
        }
    });
    sites.stop(Host::A);
    let calls = calls(trace.path());
    assert_eq!(check(&calls, |_| false), 160);
    let answers = || calls.iter().filter(|call| call.is_success());
    let (first, last) = (answers().next().unwrap().begun, answers().next_back().unwrap().begun);
    let between = |call: &&Call| call.is_sync_of("index.sqlite-wal") && call.begun >= first && call.ended <= last;
    let commits = calls.iter().filter(between).count();
    assert!(commits < 160, "{commits} commits for 160 instances");
}

/// Sends until the first that is not answered 0000; gives those that were.
fn send_until_failure(to: SocketAddr, series: &[Instance]) -> Vec<Instance> {
    let Ok(mut scu) = RawScu::associate(to, ROUTE, "PACS_A", &[series[0].pair()]) else {
        return Vec::new();
    };
    let context = scu.accepted(&series[0].pair()).unwrap();
    let is_taken = |instance: &&Instance| {
        let (class, uid) = (instance.class.as_bytes(), instance.uid.as_bytes());
        scu.store(context, class, uid, &instance.data)
            .is_ok_and(|answer| answer.status == 0)
    };
    series.iter().take_while(is_taken).cloned().collect()
}

/// strace makes the nth write or sync of each thread fail, SQLite's own too.
#[test]
fn what_was_answered_before_a_disk_error_arrives_and_nothing_is_answered_after_it() {
    let Some((target, mut sites)) = start() else { return };
    let series = small_and_long(30);
    let mut poisoned = 0;
    for nth in [2, 7, 16, 29, 58] {
        let inject = format!("inject=fsync,fdatasync,pwrite64:error=EIO:when={nth}");
        let discarded: TempDir = tempfile::tempdir().unwrap();
        let trace = discarded.path().join("trace");
        let mut wrapper = strace(&[
            "-o",
            trace.to_str().unwrap(),
            "-e",
            "trace=fsync,fdatasync,pwrite64",
            "-e",
            &inject,
        ]);
        let answered = match sites.restart_under(Host::A, &mut wrapper) {
            Ok(()) => {
                let answered = send_until_failure(sites.dicom(), &series);
                if answered.len() < series.len() {
                    let ended = sites.daemon(Host::A).process.ended(PATIENCE).unwrap();
                    assert_eq!(
                        ended.code(),
                        Some(74),
                        "{nth}: ends by itself, and says that it was the disk"
                    );
                    poisoned += 1;
                }
                answered
            }
            // So early that it does not start: it says so and ends.
            Err(ProcessError::Ended { status, .. }) => {
                assert!(!status.success());
                Vec::new()
            }
            Err(other) => panic!("{nth}: {other}"),
        };
        let before = target.log().unwrap().len();
        sites.restart(Host::A);
        sites.wait_until_quiet();
        assert_arrived(&answered, &target.log().unwrap());
        assert!(target.log().unwrap().len() >= before);
    }
    assert!(poisoned > 0, "no error came in the middle");
}
