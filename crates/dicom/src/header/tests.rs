use proptest::prelude::*;

use super::*;

fn element(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&u16::try_from(tag >> 16).unwrap().to_le_bytes());
    out.extend_from_slice(&u16::try_from(tag & 0xFFFF).unwrap().to_le_bytes());
    out.extend_from_slice(vr);
    if has_long_length(*vr) {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend_from_slice(value);
    out
}

/// A sequence and an item of undefined length, with a Study Instance UID inside that is not the study's.
fn nested() -> Vec<u8> {
    let mut out = vec![0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    out.extend([0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    out.extend(element(0x0020_000D, b"UI", b"9.9.9\0"));
    out.extend([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]);
    out.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    out
}

fn data_set() -> Vec<u8> {
    [
        element(0x0008_0005, b"CS", b"ISO_IR 100"),
        element(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
        element(0x0008_0018, b"UI", b"1.2.3.4\0"),
        nested(),
        element(0x0009_1010, b"UN", &[7; 5000]),
        element(0x0010_0010, b"PN", b"DOE^JOHN"),
        element(0x0010_0020, b"LO", b""),
        element(0x0020_000D, b"UI", b"1.2.3\0"),
        element(0x0020_000E, b"UI", b"1.2.3.1\0"),
        element(0x0020_1208, b"IS", b"4 "),
        element(0x7FE0_0010, b"OW", &[0; 64]),
    ]
    .concat()
}

fn scan(encoding: Encoding, pieces: &[&[u8]]) -> Header {
    let mut scan = HeaderScan::new(encoding);
    pieces.iter().for_each(|piece| scan.push(piece));
    scan.finish()
}

#[test]
fn the_header_is_found_behind_sequences_and_private_groups() {
    let header = scan(Encoding::ExplicitLe, &[&data_set()]);
    assert_eq!(header.outcome, ScanOutcome::Complete);
    assert_eq!(header.study_instance_uid.as_deref(), Some(b"1.2.3\0".as_slice()));
    assert_eq!(header.series_instance_uid.as_deref(), Some(b"1.2.3.1\0".as_slice()));
    assert_eq!(header.sop_instance_uid.as_deref(), Some(b"1.2.3.4\0".as_slice()));
    assert_eq!(header.patient_name.as_deref(), Some(b"DOE^JOHN".as_slice()));
    assert_eq!(header.patient_id, None);
    assert_eq!(header.number_of_study_related_instances, Some(4));
}

#[test]
fn implicit_little_endian_and_big_endian_are_read() {
    let implicit = [&[0x20, 0, 0x0D, 0, 6, 0, 0, 0][..], b"1.2.3\0"].concat();
    assert_eq!(
        scan(Encoding::ImplicitLe, &[&implicit]).study_instance_uid.as_deref(),
        Some(&b"1.2.3\0"[..])
    );
    let big = [&[0, 0x20, 0, 0x0D, b'U', b'I', 0, 6][..], b"1.2.3\0"].concat();
    assert_eq!(
        scan(Encoding::ExplicitBe, &[&big]).study_instance_uid.as_deref(),
        Some(&b"1.2.3\0"[..])
    );
}

#[test]
fn a_length_of_4_gib_costs_nothing() {
    let mut bytes = element(0x0008_0018, b"UI", b"1.2\0");
    bytes.extend([0x09, 0, 0x10, 0, b'O', b'B', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF]);
    let header = scan(Encoding::ExplicitLe, &[&bytes, &[0; 1000]]);
    assert_eq!(header.outcome, ScanOutcome::EndOfData);
    assert!(header.sop_instance_uid.is_some());
}

#[test]
fn endless_nesting_ends_the_scan() {
    let open = [0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    let header = scan(Encoding::ExplicitLe, &[&open.repeat(10_000)]);
    assert!(matches!(header.outcome, ScanOutcome::Malformed { .. }));
}

#[test]
fn the_item_that_panics_a_lazy_reader_is_malformed() {
    let bytes = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0];
    assert_eq!(
        scan(Encoding::ExplicitLe, &[&bytes]).outcome,
        ScanOutcome::Malformed { offset: 0 }
    );
}

#[test]
fn a_deflated_data_set_is_opaque() {
    assert_eq!(scan(Encoding::Deflated, &[&data_set()]).outcome, ScanOutcome::Opaque);
}

#[test]
fn a_long_value_is_cut() {
    let header = scan(Encoding::ExplicitLe, &[&element(0x0010_0010, b"PN", &[b'A'; 3000])]);
    assert_eq!(header.patient_name.map(|name| name.len()), Some(VALUE_LEN_MAX));
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_one_result(cuts in prop::collection::vec(0usize..6000, 0..12)) {
        let bytes = data_set();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let pieces: Vec<_> = std::iter::once(0).chain(cuts.iter().copied()).zip(ends).map(|(a, b)| &bytes[a..b]).collect();
        prop_assert_eq!(scan(Encoding::ExplicitLe, &pieces), scan(Encoding::ExplicitLe, &[&bytes]));
    }

    #[test]
    fn byte_by_byte_is_the_same_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), implicit: bool) {
        let encoding = if implicit { Encoding::ImplicitLe } else { Encoding::ExplicitLe };
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(scan(encoding, &single).sop_class_uid, scan(encoding, &[&bytes]).sop_class_uid);
    }
}
