//! What is expected of every peer, as it was measured.

use packhorse_testkit::peers::Peer;

use super::Found::{Done, Equal, Failed, Rewritten, Untried};
use super::{Cell, Found, Node, Role, Row};

const WRITES_AGAIN: &str = "The peer reads data sets and writes them again before it sends them.";
const STORES_AGAIN: &str = "The peer reads data sets and writes them again before it stores them; it has them all.";
const RAW_REFUSED: &str = "Raw Data is refused at negotiation, and the peer ends with an error.";
const STOPS: &str = "The peer stops at the refused object; the second CT is never sent.";
const ODIL_STOPS: &str =
    "The library throws at the refused object, and `odil_peer.py` stops there; `odil store` catches that and goes on.";
const GOES_ON: &str = "The peer goes on behind the refused object, and ends with an error.";
const NO_ECHO: &str = "The program has no C-ECHO.";
const DCMSEND_QUIET: &str = "Refused at negotiation; the peer prints an error, but its exit status is 0.";
const APPS_QUIET: &str = "The peer goes on behind the refused object; it prints an error, but its exit status is 0.";
const APPS_ABORT: &str = "Nothing is taken; the peer prints an error, but its exit status is 0.";
const OTHER_CONTEXT: &str = "The peer offers Raw Data on the context of CT, is answered 0122 (SOP class not supported), goes \
                             on, and its exit status is 0.";
const CTN_KEEPS: &str = "The peer keeps what came of the aborted data set, as a file like any other.";
const NO_RAW_DATA: &str = "By default the peer refuses Raw Data at negotiation.";
const ODIL_PDU: &str =
    "The wrappers do not set the maximum of an acceptor: tried with the peer's own. Data sets are written again.";

pub(crate) static ROWS: [Row; 17] = [
    Row {
        name: "DCMTK `storescu -R`",
        node: Node::Dcmtk,
        role: Role::Scu,
        needs: &[Peer::Storescu, Peer::Echoscu],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(told(0, 1), RAW_REFUSED),
            Cell(told(1, 3), STOPS),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "DCMTK `dcmsend`",
        node: Node::Dcmsend,
        role: Role::Scu,
        needs: &[Peer::Dcmsend],
        cells: [
            Cell(Untried, NO_ECHO),
            Cell(Equal, ""),
            Cell(untold(0, 1), DCMSEND_QUIET),
            Cell(told(1, 3), STOPS),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "Orthanc",
        node: Node::Orthanc,
        role: Role::Scu,
        needs: &[Peer::Orthanc],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(told(0, 1), RAW_REFUSED),
            Cell(told(1, 3), STOPS),
            Cell(Equal, ""),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "pynetdicom, data sets as in the file",
        node: Node::ByteExact,
        role: Role::Scu,
        needs: &[Peer::Pynetdicom],
        cells: [
            Cell(Untried, NO_ECHO),
            Cell(Equal, ""),
            Cell(told(0, 1), RAW_REFUSED),
            Cell(told(2, 3), GOES_ON),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "pynetdicom `storescu`",
        node: Node::PynetdicomApps,
        role: Role::Scu,
        needs: &[Peer::Pynetdicom],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(untold(0, 1), APPS_QUIET),
            Cell(untold(2, 3), APPS_QUIET),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Failed, APPS_ABORT),
        ],
    },
    Row {
        name: "dicom-rs `dicom-storescu`",
        node: Node::DicomRs,
        role: Role::Scu,
        needs: &[Peer::DicomRsStorescu],
        cells: [
            Cell(Untried, NO_ECHO),
            Cell(Equal, ""),
            Cell(told(0, 1), RAW_REFUSED),
            Cell(untold(2, 3), OTHER_CONTEXT),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "ODIL",
        node: Node::Odil,
        role: Role::Scu,
        needs: &[Peer::Odil],
        cells: [
            Cell(Done, ""),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(told(0, 1), RAW_REFUSED),
            Cell(told(1, 3), ODIL_STOPS),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "dcmjs-dimse",
        node: Node::Dcmjs,
        role: Role::Scu,
        needs: &[Peer::Dcmjs],
        cells: [
            Cell(Done, ""),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(told(0, 1), RAW_REFUSED),
            Cell(told(2, 3), GOES_ON),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "CTN `send_image`",
        node: Node::Ctn,
        role: Role::Scu,
        needs: &[Peer::Ctn],
        cells: [
            Cell(Done, ""),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(told(0, 1), RAW_REFUSED),
            Cell(told(1, 3), STOPS),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Equal, ""),
            Cell(Rewritten, WRITES_AGAIN),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "DCMTK `storescp`",
        node: Node::Dcmtk,
        role: Role::Scp,
        needs: &[Peer::Storescp],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "Orthanc",
        node: Node::Orthanc,
        role: Role::Scp,
        needs: &[Peer::Orthanc],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Rewritten, STORES_AGAIN),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "pynetdicom, data sets as received",
        node: Node::ByteExact,
        role: Role::Scp,
        needs: &[Peer::Pynetdicom],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "pynetdicom `storescp`",
        node: Node::PynetdicomApps,
        role: Role::Scp,
        needs: &[Peer::Pynetdicom],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "dicom-rs `dicom-storescp`",
        node: Node::DicomRs,
        role: Role::Scp,
        needs: &[Peer::DicomRsStorescp],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(told(2, 3), NO_RAW_DATA),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "ODIL",
        node: Node::Odil,
        role: Role::Scp,
        needs: &[Peer::Odil],
        cells: [
            Cell(Done, ""),
            Cell(Rewritten, STORES_AGAIN),
            Cell(Equal, ""),
            Cell(Rewritten, STORES_AGAIN),
            Cell(Rewritten, STORES_AGAIN),
            Cell(Rewritten, STORES_AGAIN),
            Cell(Rewritten, ODIL_PDU),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "dcmjs-dimse",
        node: Node::Dcmjs,
        role: Role::Scp,
        needs: &[Peer::Dcmjs],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(Rewritten, STORES_AGAIN),
            Cell(Rewritten, STORES_AGAIN),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Done, ""),
        ],
    },
    Row {
        name: "CTN `simple_storage`",
        node: Node::Ctn,
        role: Role::Scp,
        needs: &[Peer::Ctn],
        cells: [
            Cell(Done, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Equal, ""),
            Cell(Failed, CTN_KEEPS),
        ],
    },
];

/// Some arrived, and the peer ended with an error.
const fn told(arrived: usize, of: usize) -> Found {
    Found::Arrived {
        arrived,
        of,
        told: true,
    }
}

/// Some arrived, and the peer ended as if all had.
const fn untold(arrived: usize, of: usize) -> Found {
    Found::Arrived {
        arrived,
        of,
        told: false,
    }
}
