//! The matrix of interoperability: every peer, in each of its roles, through the same cells. `table.rs` says what is
//! expected, and `INTEROP.md` is that table in print.

mod as_scp;
mod as_scu;
mod report;
mod samples;
mod table;

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use packhorse_testkit::peers::{Peer, require};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use table::ROWS;

/// What is tried with each peer, in the order of [`Row::cells`].
pub(crate) const COLUMNS: [&str; 8] = [
    "echo",
    "CT",
    "Raw Data",
    "CT, Raw Data, CT with defaults",
    "two syntaxes of CT",
    "dose report",
    "maximum PDU 4096",
    "abort in a data set",
];

/// Which side the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It sends to our acceptor, which refuses Raw Data at negotiation.
    Scu,
    /// It receives from our requestor.
    Scp,
}

/// A peer, as it is run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Dcmtk,
    Dcmsend,
    Orthanc,
    ByteExact,
    PynetdicomApps,
    DicomRs,
    Odil,
    Dcmjs,
    Ctn,
}

/// What was found in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing to compare, and as it should be: an echo is answered; of an aborted data set nothing is kept, and the sender
    /// knows.
    Done,
    /// Not so.
    Failed,
    /// All arrived, with the SHA-256 of what was sent.
    Equal,
    /// All arrived; of some the bytes are others.
    Rewritten,
    /// Some did not arrive, and the sender knows it (told) or takes them for delivered.
    Arrived { arrived: usize, of: usize, told: bool },
    /// The peer has no such thing.
    Untried,
}

/// What is expected of a cell, and why when it is not what one would wish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell(pub(crate) Found, pub(crate) &'static str);

/// A peer in one role.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) node: Node,
    pub(crate) role: Role,
    pub(crate) needs: &'static [Peer],
    pub(crate) cells: [Cell; COLUMNS.len()],
}

/// Rows at a time: each is mostly one process of the peer and ours, on machines of two cores.
const AT_A_TIME: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_peer_in_each_role_does_what_the_table_says() {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut rows = JoinSet::new();
    for row in &ROWS {
        if row.needs.iter().any(|peer| require(*peer).is_none()) {
            continue;
        }
        let turns = Arc::clone(&turns);
        rows.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let found = match row.role {
                Role::Scu => tokio::spawn(as_scu::found(row.node)),
                Role::Scp => tokio::spawn(as_scp::found(row.node)),
            };
            (row, found.await)
        });
    }
    // The test harness hides what a passing test prints.
    let (mut said, mut wrong) = (io::stderr(), Vec::new());
    while let Some(done) = rows.join_next().await {
        let (row, found) = done.unwrap();
        let found = match found {
            Ok(found) => found,
            Err(panicked) => {
                wrong.push(format!("{} as {:?}: {panicked}", row.name, row.role));
                continue;
            }
        };
        writeln!(said, "{} as {:?}: {found:?}", row.name, row.role).unwrap();
        for ((cell, found), column) in row.cells.iter().zip(found).zip(COLUMNS) {
            if cell.0 != found {
                wrong.push(format!(
                    "{} as {:?}, {column}: {found:?} instead of {:?}",
                    row.name, row.role, cell.0
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_document_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("INTEROP.md");
    let printed = report::markdown(&ROWS);
    if env::var_os("PACKHORSE_WRITE_INTEROP").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        printed,
        "PACKHORSE_WRITE_INTEROP=1 writes it again"
    );
}

#[test]
fn what_one_would_not_wish_has_its_reason() {
    for row in &ROWS {
        for Cell(found, reason) in row.cells {
            let fine = matches!(found, Found::Done | Found::Equal);
            assert!(fine || !reason.is_empty(), "{} as {:?}: {found:?}", row.name, row.role);
        }
    }
}
