//! Envelopes come back as they were, and damage is found.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use packhorse_envelope::{
    AssociatedData, BLOCK_LEN_MAX, FormatError, Original, ReadError, Reader, TrailerFields, Writer, fuzzing,
};
use packhorse_ids::{Digest, Kind, PayloadId, SiteName};
use proptest::prelude::*;

/// Envelopes in memory never wait.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("bytes in memory are there at once"),
    }
}

fn associated() -> AssociatedData {
    AssociatedData {
        payload: PayloadId::from_bytes([1; 16]),
        source: SiteName::try_from("clinic-a").unwrap(),
        destination: SiteName::try_from("st-mary").unwrap(),
        kind: Kind::Delivery,
    }
}

fn fields() -> TrailerFields {
    TrailerFields {
        command_set: Bytes::from_static(b"command"),
        calling_ae_title: "PACS_A".to_owned(),
        called_ae_title: "ST_MARY".to_owned(),
        destination_ae_title: "PACS_B".to_owned(),
        transfer_syntax: "1.2.840.10008.1.2.1".to_owned(),
    }
}

fn sealed(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut out, mut original) = (Vec::new(), Original::default());
    let mut writer = Writer::new(&associated(), &mut out);
    for piece in pieces {
        original.push(piece);
        writer.push(Bytes::copy_from_slice(piece), &mut out);
    }
    let sealed = writer.finish(original, fields(), &mut out);
    let out = out.concat();
    assert_eq!(sealed.length, out.len() as u64);
    assert_eq!(sealed.blake3, Digest::from_bytes(*blake3::hash(&out).as_bytes()));
    out
}

fn opened(envelope: &[u8]) -> Result<(TrailerFields, Vec<u8>), ReadError<FormatError>> {
    let bytes = Bytes::copy_from_slice(envelope);
    let mut reader = ready(Reader::open(bytes, envelope.len() as u64))?;
    let fields = reader.trailer().fields.clone();
    let mut original = Vec::new();
    while let Some(block) = ready(reader.next_block())? {
        original.extend_from_slice(&block);
    }
    reader.finish()?;
    Ok((fields, original))
}

#[test]
fn version_1_reads_what_it_wrote_then() {
    let fixture = include_bytes!("fixtures/v1-stored-none.envelope");
    assert_eq!(opened(fixture).unwrap(), (fields(), b"the original bytes".to_vec()));
    assert_eq!(sealed(&[b"the original bytes"]), fixture);
}

#[test]
fn every_changed_byte_is_found() {
    let envelope = sealed(&[b"the original bytes"]);
    for at in 0..envelope.len() {
        let mut damaged = envelope.clone();
        damaged[at] ^= 0x41;
        let same = opened(&damaged)
            .is_ok_and(|(fields, original)| fields == self::fields() && original == b"the original bytes");
        assert!(!same, "byte {at}");
    }
}

#[test]
fn every_cut_is_found() {
    let envelope = sealed(&[b"the original bytes"]);
    assert!((0..envelope.len()).all(|length| opened(&envelope[..length]).is_err()));
}

#[test]
fn a_later_version_and_an_unknown_sealing_say_their_numbers() {
    let mut envelope = sealed(&[b"x"]);
    envelope[4] = 2;
    assert!(matches!(
        opened(&envelope),
        Err(ReadError::Format(FormatError::Version(2)))
    ));
    envelope[4..6].copy_from_slice(&[1, 7]);
    assert!(matches!(
        opened(&envelope),
        Err(ReadError::Format(FormatError::Sealing(7)))
    ));
}

#[test]
fn a_large_original_has_short_blocks_and_then_blocks_of_a_mebibyte() {
    let original: Vec<u8> = (0..6 * BLOCK_LEN_MAX + 1)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let envelope = sealed(&[&original]);
    let reader = ready(Reader::open(Bytes::from(envelope.clone()), envelope.len() as u64)).unwrap();
    let lengths: Vec<_> = reader
        .trailer()
        .blocks
        .iter()
        .map(|block| block.original_length as usize)
        .collect();
    assert_eq!(lengths[..64], [64 * 1024; 64]);
    assert_eq!(lengths[64..], [BLOCK_LEN_MAX, BLOCK_LEN_MAX, 1]);
    assert_eq!(opened(&envelope).unwrap().1, original);
}

proptest! {
    #[test]
    fn originals_come_back_whatever_pieces_they_came_in(
        original in prop::collection::vec(any::<u8>(), 0..3000),
        cut in 1usize..500,
    ) {
        let pieces: Vec<_> = original.chunks(cut).collect();
        let envelope = sealed(&pieces);
        prop_assert_eq!(&envelope, &sealed(&[&original]));
        prop_assert_eq!(opened(&envelope).unwrap().1, original);
    }

    #[test]
    fn any_bytes_are_an_envelope_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::trailer(&bytes);
        fuzzing::block(&bytes);
        fuzzing::trailer(&[&bytes, &[0, 0, 0, 44, b'P', b'H', b'T', b'1'][..]].concat());
    }
}
