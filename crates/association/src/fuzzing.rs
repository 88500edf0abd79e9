//! What the fuzz targets call, and unit tests on their corpora: every decoder of peer bytes, which must not panic.

use bytes::{Bytes, BytesMut};

use crate::pdv::Pdvs;
use crate::{codec, dimse};

/// Bytes as a peer's stream of PDUs. What can be read can be written and read again.
pub fn pdu(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(pdu)) = codec::next_pdu(&mut buffer, 1 << 20) {
        let mut again = BytesMut::new();
        codec::encode(&pdu, &mut again);
        drop(codec::next_pdu(&mut again, 1 << 20));
    }
}

/// Bytes as the variable field of a P-DATA-TF, through the assembler.
pub fn pdv(data: &[u8]) {
    let mut pdvs = Pdvs::new(Bytes::copy_from_slice(data));
    let mut assembler = dimse::Assembler::default();
    while let Ok(Some(pdv)) = pdvs.next_pdv() {
        if assembler.push(pdv).is_err() {
            return;
        }
    }
}

/// Bytes as a command set.
pub fn command(data: &[u8]) {
    drop(dimse::decode(Bytes::copy_from_slice(data)));
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::corpus;

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("pdu").iter().for_each(|input| super::pdu(input));
        corpus::fuzz_inputs("pdv").iter().for_each(|input| super::pdv(input));
        corpus::fuzz_inputs("command")
            .iter()
            .for_each(|input| super::command(input));
    }
}
