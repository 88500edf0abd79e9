//! Our statuses against pynetdicom's tables.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use packhorse_dicom::status::{Status, StatusCategory};
use packhorse_testkit::peers::{Peer, require};
use packhorse_testkit::process::run;

/// Importing pynetdicom takes a second, ten on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);
/// Prints code, category and words of the storage service's statuses, and the category of every code that it knows.
const SCRIPT: &str = "
from pynetdicom import status
for code, (category, words) in status.STORAGE_SERVICE_CLASS_STATUS.items():
    print(f'storage\\t{code:04X}\\t{category}\\t{words or chr(45)}')
known = [(code, status.code_to_category(code)) for code in range(0x10000)]
# One line for each run of codes: the output of a process that is kept has a bound.
start = 0
for code in range(1, 0x10001):
    if code == 0x10000 or known[code][1] != known[start][1]:
        print(f'all\\t{start:04X}\\t{code - 1:04X}\\t{known[start][1]}')
        start = code
";

fn lines() -> Option<Vec<Vec<String>>> {
    let python = require(Peer::Pynetdicom)?;
    let finished = run(Command::new(python).args(["-c", SCRIPT]), WITHIN).unwrap();
    assert!(finished.status.success(), "{}", finished.said());
    let fields = finished.stdout.iter().map(|line| line.split('\t').map(str::to_owned));
    Some(fields.map(Iterator::collect).collect())
}

fn code(digits: &str) -> u16 {
    u16::from_str_radix(digits, 16).unwrap()
}

/// pynetdicom's name of a category.
fn theirs(category: StatusCategory) -> String {
    let words = category.to_string();
    let (first, rest) = words.split_at(1);
    first.to_uppercase() + rest
}

#[test]
fn every_code_has_pynetdicoms_category() {
    let Some(lines) = lines() else { return };
    let mut compared = 0;
    for line in lines.iter().filter(|line| line[0] == "all") {
        for status in (code(&line[1])..=code(&line[2])).map(Status) {
            // What the standard does not have is a failure here: nothing says that the instance was taken.
            let expected = if line[3] == "Unknown" { "Failure" } else { &line[3] };
            assert_eq!(theirs(status.category()), expected, "{status}");
            compared += 1;
        }
    }
    assert_eq!(compared, 0x10000);
}

#[test]
fn every_status_of_the_storage_service_has_pynetdicoms_words() {
    let Some(lines) = lines() else { return };
    // pynetdicom's words where they are not ours.
    let differ = HashMap::from([
        (0x0000, "success"),
        (0x0111, "duplicate sop instance"),
        (0x0117, "invalid sop instance"),
        (0x0124, "refused: not authorized"),
        (0x0211, "unrecognized operation"),
        (0xB006, "warning: elements discarded"),
        (0xFE00, "cancelled"),
    ]);
    let mut compared = 0;
    for line in lines.iter().filter(|line| line[0] == "storage") {
        let status = Status(code(&line[1]));
        assert_eq!(theirs(status.category()), line[2], "{status}");
        let ours = status.meaning().to_lowercase();
        let plain = ours.trim_start_matches("warning: ").trim_start_matches("error: ");
        let same = plain == line[3].to_lowercase();
        match differ.get(&status.0) {
            Some(known) => assert!(ours == *known && !same, "{status}: {ours}, {}", line[3]),
            None => assert!(same, "{status}: {ours}, {}", line[3]),
        }
        compared += 1;
    }
    assert!(compared > 0x1200, "{compared}");
}
