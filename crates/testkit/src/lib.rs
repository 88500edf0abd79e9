//! What the tests of the other crates share. A dev-dependency only: nothing that ships links it.
//!
//! - [`instances`]: small valid SOP instances made from a seed, and large ones that are never held in memory.
//! - [`certs`]: certificates as PACS have them.
//! - [`corpus`]: where the real instances lie, when they do.
//! - [`pcap`]: what was said, as a capture file.
//! - [`peers`]: real DICOM peers: DCMTK, pynetdicom and Orthanc.
//! - [`raw_scu`]: a storage SCU that sends what it is told, right or wrong.
//! - [`sinks`]: an HTTP and an SMTP server that keep what they are told.
//! - [`process`]: child processes, and daemons that say `ready`.

pub mod certs;
pub mod corpus;
pub mod instances;
pub mod pcap;
pub mod peers;
pub mod process;
pub mod raw_scu;
pub mod sinks;
