//! DICOM's values as types, and what may be read from bytes without trusting them.
//!
//! Limits: no I/O, no pixel data, no dataset model; a data set is bytes that are passed on as they came.
//!
//! - [`uid`], [`ae_title`]: newtypes with private fields; `TryFrom` is the only door.
//! - [`sop_class`], [`transfer_syntax`]: tables of the standard's storage classes and transfer syntaxes.
//! - [`negotiation`]: what an A-ASSOCIATE-RQ proposes and what is answered; shared by association and policy.
//! - [`status`]: C-STORE statuses and their ranges (PS3.4 Table B.2-1).
//! - [`header`]: a bounded scan of a data set's beginning.
//! - [`part10`]: the file format (PS3.10): file meta information in and out.
//! - [`implementation`]: how Packhorse names itself to peers and in files.
//! - [`fuzzing`]: the decoders as fuzz targets call them.

pub mod ae_title;
pub mod fuzzing;
pub mod header;
pub mod implementation;
pub mod negotiation;
pub mod part10;
pub mod sop_class;
pub mod status;
pub mod transfer_syntax;
pub mod uid;
