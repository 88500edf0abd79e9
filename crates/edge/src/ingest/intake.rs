//! One instance on its way in: header scan, digest and envelope over the fragments as they come.

use bytes::Bytes;
use packhorse_dicom::header::HeaderScan;
use packhorse_dicom::transfer_syntax;
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_envelope::{AssociatedData, Original, Sealed, TrailerFields, Writer};
use packhorse_ids::Digest;

use super::pixels::Pixels;

/// What is learned of an instance while its fragments come: nothing of it is parsed and written again.
#[derive(Debug)]
pub(crate) struct Measure {
    scan: HeaderScan,
    pixels: Pixels,
    original: Original,
}

/// What was learned of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) scan: HeaderScan,
    /// Digest of the pixels; `None`: there are none, or they were not found.
    pub(crate) pixels: Option<Digest>,
    pub(crate) original: Original,
}

impl Measure {
    pub(crate) fn new(transfer_syntax: &TransferSyntaxUid) -> Self {
        Self {
            scan: HeaderScan::new(transfer_syntax::encoding_of(transfer_syntax)),
            pixels: Pixels::default(),
            original: Original::default(),
        }
    }

    /// The next bytes of the data set.
    pub(crate) fn push(&mut self, fragment: &[u8]) {
        if !self.scan.is_done() {
            self.scan.push(fragment);
        }
        self.pixels.push(&self.scan, fragment);
        self.original.push(fragment);
    }

    pub(crate) fn finish(self) -> Measured {
        Measured {
            scan: self.scan,
            pixels: self.pixels.finish(),
            original: self.original,
        }
    }
}

/// An instance's envelope, being made.
#[derive(Debug)]
pub(crate) struct Sealing {
    writer: Writer,
    /// Sealed bytes that wait to be stored.
    sealed: Vec<Bytes>,
}

impl Sealing {
    pub(crate) fn new(associated: &AssociatedData) -> Self {
        let mut sealed = Vec::new();
        let writer = Writer::new(associated, &mut sealed);
        Self { writer, sealed }
    }

    /// The next bytes of the data set.
    pub(crate) fn push(&mut self, fragment: Bytes) {
        self.writer.push(fragment, &mut self.sealed);
    }

    /// Takes the sealed bytes that wait.
    pub(crate) fn drain(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.sealed)
    }

    /// The envelope's measures, and the sealed bytes that are left. `original` has had the same bytes.
    pub(crate) fn finish(mut self, original: Original, trailer: TrailerFields) -> (Sealed, Vec<Bytes>) {
        let sealed = self.writer.finish(original, trailer, &mut self.sealed);
        (sealed, self.sealed)
    }
}
