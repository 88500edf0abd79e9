use std::process::Command;
use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_ready_line_gives_the_addresses() {
    let script = r#"echo starting; echo 'ready {"dicom":["127.0.0.1:104"],"quic":"127.0.0.1:4433"}'; exec sleep 600"#;
    let daemon = spawn_ready(&mut shell(script)).unwrap();
    assert_eq!(daemon.address("dicom").unwrap().port(), 104);
    assert_eq!(daemon.address("quic").unwrap().port(), 4433);
    assert_eq!(daemon.address("tcp"), None);
}

#[test]
fn a_daemon_that_ends_is_not_ready_and_its_words_are_told() {
    let error = spawn_ready(&mut shell("echo no disk >&2; exit 74")).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("no disk"), "{words}");
}

#[test]
fn ready_without_an_object_is_an_error() {
    let error = spawn_ready(&mut shell("echo ready or not; exec sleep 600")).unwrap_err();
    assert!(matches!(error, ProcessError::NotReady { .. }), "{error}");
}

#[test]
fn a_dropped_process_is_gone() {
    let process = Process::spawn(&mut shell("exec sleep 600")).unwrap();
    let proc_entry = std::path::PathBuf::from(format!("/proc/{}", process.id()));
    assert!(proc_entry.exists());
    drop(process);
    assert!(!proc_entry.exists());
}

#[test]
fn sigterm_lets_a_process_end_by_itself() {
    let mut process = Process::spawn(&mut shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")).unwrap();
    process.stdout_line("up", SOON).unwrap();
    assert_eq!(process.terminate(SOON).unwrap().code(), Some(7));
}

#[test]
fn output_of_a_finished_process_is_whole() {
    let finished = run(&mut shell("seq 1 5000; echo last >&2"), SOON).unwrap();
    assert_eq!(finished.stdout.len(), 5000);
    assert_eq!(finished.stderr, ["last"]);
}

#[test]
fn a_process_that_does_not_end_is_told_and_killed() {
    let error = run(&mut shell("exec sleep 600"), Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, ProcessError::TooLate { .. }), "{error}");
}

#[test]
fn a_port_nobody_listens_on_is_an_error_when_the_process_ends() {
    let port = free_port().unwrap();
    let mut process = Process::spawn(&mut shell("exit 1")).unwrap();
    let error = process.listens(port, SOON).unwrap_err();
    assert!(matches!(error, ProcessError::Ended { .. }), "{error}");
}

#[test]
fn poll_looks_once_even_without_time() {
    let mut looks = 0;
    let found = poll(Duration::ZERO, || {
        looks += 1;
        (looks == 1).then_some(looks)
    });
    assert_eq!(found, Some(1));
}
