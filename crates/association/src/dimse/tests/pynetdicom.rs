//! Against pynetdicom, both ways: its command sets are read as what they say, ours are its own byte for byte.

use std::process::Command as Program;
use std::time::Duration;

use packhorse_testkit::peers::{Peer, require};
use packhorse_testkit::process::run;

use super::samples::{Parts, commands};
use super::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/commands.py");
/// Importing pynetdicom takes a second, ten on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

/// One line of the script.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// pynetdicom's name of the message, and whether it is valid.
    name: String,
    bytes: Bytes,
    /// What pynetdicom reads in it.
    fields: String,
}

/// `None` when there is no pynetdicom.
fn script(arguments: &[String]) -> Option<Vec<Line>> {
    let python = require(Peer::Pynetdicom)?;
    let mut program = Program::new(python);
    program.arg("-B").arg(SCRIPT).args(arguments);
    let finished = run(&mut program, WITHIN).unwrap();
    assert!(finished.status.success(), "{}", finished.said());
    let lines = finished.stdout.iter().map(|line| {
        let parts: Vec<&str> = line.split('\t').collect();
        Line {
            name: parts[0].to_owned(),
            bytes: from_hex(parts[1]),
            fields: parts[2].to_owned(),
        }
    });
    Some(lines.collect())
}

fn read_by_pynetdicom(commands: &[Command]) -> Option<Vec<Line>> {
    let hex = |command: &Command| command.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut arguments = vec!["decode".to_owned()];
    arguments.extend(commands.iter().map(hex).collect::<Vec<String>>());
    script(&arguments)
}

fn from_hex(digits: &str) -> Bytes {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(byte).collect()
}

/// pynetdicom has 23 kinds of messages, and no Attribute Identifier List in an N-CREATE-RSP.
fn known_to_pynetdicom(parts: &Parts) -> Vec<Command> {
    let mut all = commands(parts);
    all.retain(|command| !matches!(command, Command::Unknown(_)));
    for command in &mut all {
        if let Command::NCreateRsp(response) = command {
            response.attribute_identifier_list.clear();
        }
    }
    all
}

#[test]
fn every_message_of_pynetdicoms_with_every_element_is_ours_both_ways() {
    let Some(theirs) = script(&["encode".to_owned()]) else {
        return;
    };
    let ours = known_to_pynetdicom(&Parts::full());
    assert_eq!((theirs.len(), ours.len()), (23, 23));
    for line in &theirs {
        let read = decode(line.bytes.clone()).unwrap();
        assert!(ours.contains(&read), "{}: {read:?}", line.name);
        assert_eq!(read.to_bytes(), line.bytes, "{}", line.name);
    }
}

#[test]
fn pynetdicom_reads_every_message_that_we_write() {
    for (parts, what) in [(Parts::full(), "full"), (Parts::least(), "least")] {
        let ours = known_to_pynetdicom(&parts);
        let Some(read) = read_by_pynetdicom(&ours) else {
            return;
        };
        for (line, command) in read.iter().zip(&ours) {
            assert_eq!(line.bytes, command.to_bytes());
            let name: String = line.name.split('_').map(str::to_lowercase).collect();
            let shown = format!("{command:?}").to_lowercase();
            let kind = format!("{name}(");
            // An N-SET-RQ without Modification List is for us the caller's affair.
            let allowed = what == "least" && name == "nsetrq (not valid)";
            assert!(shown.starts_with(&kind) || allowed, "{}: {shown}", line.name);
        }
        assert_eq!(read.len(), ours.len());
    }
}

#[test]
fn what_pynetdicoms_own_tests_send_is_read_as_pynetdicom_reads_it() {
    let Some(fixtures) = script(&["fixtures".to_owned()]) else {
        return;
    };
    assert!(fixtures.len() > 20, "{}", fixtures.len());
    let read: Vec<Command> = fixtures
        .iter()
        .map(|line| decode(line.bytes.clone()).unwrap())
        .collect();
    let again = read_by_pynetdicom(&read).unwrap();
    for ((theirs, ours), command) in fixtures.iter().zip(&again).zip(&read) {
        assert_eq!(
            without_group_length(&ours.fields),
            first_values(&theirs.fields),
            "{command:?}"
        );
        assert_eq!(ours.name, theirs.name);
    }
}

fn without_group_length(fields: &str) -> String {
    fields.split("; ").skip(1).collect::<Vec<_>>().join("; ")
}

/// One of the fixtures has two numbers where one belongs: pynetdicom takes the first, as we do.
fn first_values(fields: &str) -> String {
    let first = |field: &str| match field.split_once("=[") {
        Some((keyword, values)) if keyword.starts_with("NumberOf") => {
            let (first, _) = values.split_once(',').unwrap();
            format!("{keyword}={first}")
        }
        _ => field.to_owned(),
    };
    let fields: Vec<String> = fields.split("; ").skip(1).map(first).collect();
    fields.join("; ")
}
