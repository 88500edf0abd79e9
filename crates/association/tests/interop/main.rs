//! Both roles, embedded alone, against DCMTK and pynetdicom: what arrives is what was sent, byte for byte.
//!
//! Only the pynetdicom pair and `storescp +B` show that nothing was changed: `storescu` and `dcmsend` write data sets again
//! before they send them, so of theirs the UIDs are compared.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod acceptor;
mod matrix;
mod requestor;
mod scp;
mod scu;
mod through;
