//! One instance on its way in: header scan, digest and envelope over the fragments as they come.

use bytes::Bytes;
use packhorse_dicom::header::{Header, HeaderScan};
use packhorse_dicom::transfer_syntax;
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_envelope::{AssociatedData, Sealed, TrailerFields, Writer};

/// What is made of an instance while its fragments come: nothing of it is parsed and written again.
#[derive(Debug)]
pub(crate) struct Intake {
    scan: HeaderScan,
    writer: Writer,
    sealed: Vec<u8>,
}

/// A whole instance: what its header says, and its envelope's measures.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) header: Header,
    pub(crate) sealed: Sealed,
    /// Sealed bytes not yet drained by [`Intake::drain`].
    pub(crate) rest: Vec<u8>,
}

impl Intake {
    pub(crate) fn new(associated: &AssociatedData, transfer_syntax: &TransferSyntaxUid) -> Self {
        let mut sealed = Vec::new();
        let writer = Writer::new(associated, &mut sealed);
        Self {
            scan: HeaderScan::new(transfer_syntax::encoding_of(transfer_syntax)),
            writer,
            sealed,
        }
    }

    /// The next bytes of the data set.
    pub(crate) fn push(&mut self, fragment: &[u8]) {
        if !self.scan.is_done() {
            self.scan.push(fragment);
        }
        self.writer.push(fragment, &mut self.sealed);
    }

    /// Sealed bytes that wait to be stored.
    pub(crate) fn sealed_len(&self) -> usize {
        self.sealed.len()
    }

    /// Takes the sealed bytes that wait.
    pub(crate) fn drain(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.sealed))
    }

    pub(crate) fn finish(mut self, trailer: TrailerFields) -> Taken {
        let sealed = self.writer.finish(trailer, &mut self.sealed);
        Taken {
            header: self.scan.finish(),
            sealed,
            rest: self.sealed,
        }
    }
}
