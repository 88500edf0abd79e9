mod hostile;
mod pixels;

use miniz_oxide::deflate::compress_to_vec;
use proptest::prelude::*;

use super::element::is_long;
use super::*;

fn element(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&u16::try_from(tag >> 16).unwrap().to_le_bytes());
    out.extend_from_slice(&u16::try_from(tag & 0xFFFF).unwrap().to_le_bytes());
    out.extend_from_slice(vr);
    if is_long(*vr) {
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
fn a_long_value_is_cut() {
    let header = scan(Encoding::ExplicitLe, &[&element(0x0010_0010, b"PN", &[b'A'; 3000])]);
    assert_eq!(header.patient_name.map(|name| name.len()), Some(VALUE_LEN_MAX));
}

#[test]
fn a_value_that_is_cut_short_is_not_reported() {
    let bytes = element(0x0020_000D, b"UI", b"1.2.3.4.5\0");
    let header = scan(Encoding::ExplicitLe, &[&bytes[..bytes.len() - 4]]);
    assert_eq!(
        (header.study_instance_uid, header.outcome),
        (None, ScanOutcome::EndOfData)
    );
}

#[test]
fn nothing_behind_pixel_data_is_read() {
    let mut scan = HeaderScan::new(Encoding::ExplicitLe);
    scan.push(&element(0x0040_A730, b"OB", b""));
    assert!(scan.has_passed_identity() && !scan.is_done());
    scan.push(&[0xFC, 0xFF, 0xFC, 0xFF, b'O', b'B', 0, 0, 2, 0, 0, 0]);
    assert!(scan.is_done());
    assert_eq!(scan.finish().outcome, ScanOutcome::Complete);
}

#[test]
fn a_data_set_that_ends_between_two_elements_is_complete() {
    let study = element(0x0020_000D, b"UI", b"1.2.3\0");
    assert_eq!(scan(Encoding::ExplicitLe, &[&study]).outcome, ScanOutcome::Complete);
    let cut = &study[..study.len() - 1];
    assert_eq!(scan(Encoding::ExplicitLe, &[cut]).outcome, ScanOutcome::EndOfData);
    let open = &nested()[..20];
    assert_eq!(scan(Encoding::ExplicitLe, &[open]).outcome, ScanOutcome::EndOfData);
}

#[test]
fn a_deflated_data_set_is_read_as_far_as_the_study() {
    let deflated = compress_to_vec(&data_set(), 6);
    let plain = scan(Encoding::ExplicitLe, &[&data_set()]);
    assert!(plain.pixel_data.is_some());
    let expected = Header {
        pixel_data: None,
        ..plain
    };
    assert_eq!(scan(Encoding::Deflated, &[&deflated]), expected);
    // Padded to even length (PS3.5 §A.5), and a study alone.
    let short = compress_to_vec(&element(0x0020_000D, b"UI", b"1.2.3\0"), 6);
    let header = scan(Encoding::Deflated, &[&short, &[0]]);
    assert_eq!(header.study_instance_uid.as_deref(), Some(&b"1.2.3\0"[..]));
    assert_eq!(header.outcome, ScanOutcome::Complete);
}

#[test]
fn a_deflated_data_set_that_is_cut_or_broken_keeps_what_came_before() {
    let mut plain = element(0x0008_0018, b"UI", b"1.2.3\0");
    plain.extend(element(0x0009_1010, b"OB", &(0..=255).collect::<Vec<_>>()));
    let deflated = compress_to_vec(&plain, 6);
    let cut = scan(Encoding::Deflated, &[&deflated[..deflated.len() - 20]]);
    assert_eq!(cut.outcome, ScanOutcome::EndOfData);
    assert!(cut.sop_instance_uid.is_some());
    // Block type 3 is none (RFC 1951 §3.2.3).
    let mut broken = vec![0, u8::try_from(plain.len() & 0xFF).unwrap(), 1];
    broken.extend([!broken[1], !broken[2]]);
    broken.extend(&plain[..plain.len()]);
    broken.truncate(5 + 0x100 + (plain.len() & 0xFF));
    broken.push(0b110);
    let header = scan(Encoding::Deflated, &[&broken]);
    let offset = u64::try_from(plain.len()).unwrap();
    assert_eq!(header.outcome, ScanOutcome::Malformed { offset });
    assert!(header.sop_instance_uid.is_some());
}

#[test]
fn a_sequence_of_unknown_vr_is_implicit_inside() {
    let mut bytes = vec![0x08, 0, 0x40, 0x11, b'U', b'N', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    bytes.extend([0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    bytes.extend([8, 0, 0x50, 0x11, 4, 0, 0, 0, b'1', b'.', b'2', 0]);
    bytes.extend([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    bytes.extend(element(0x0020_000D, b"UI", b"1.2.3\0"));
    let header = scan(Encoding::ExplicitLe, &[&bytes]);
    assert_eq!(header.study_instance_uid.as_deref(), Some(&b"1.2.3\0"[..]));
}

#[test]
fn a_missing_or_a_needless_item_delimiter_does_not_hide_the_study() {
    let open = [0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    let end = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
    let study = element(0x0020_000D, b"UI", b"1.2.3\0");
    let missing = [0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
    let needless = [0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0];
    for items in [&missing[..], &needless[..]] {
        let header = scan(Encoding::ExplicitLe, &[&open, items, &end, &study]);
        assert!(header.study_instance_uid.is_some());
    }
}

#[test]
fn a_data_set_that_is_explicit_against_its_syntax_is_read() {
    let bytes = data_set();
    assert_eq!(
        scan(Encoding::ImplicitLe, &[&bytes]),
        scan(Encoding::ExplicitLe, &[&bytes])
    );
    assert_eq!(scan(Encoding::ImplicitLe, &[&bytes]).outcome, ScanOutcome::Complete);
}

#[test]
fn no_value_is_shown_by_debug() {
    let mut scan = HeaderScan::new(Encoding::ExplicitLe);
    scan.push(&data_set());
    assert!(!format!("{scan:?}").contains("DOE"));
    assert!(!format!("{:?}", scan.finish()).contains("DOE"));
}

/// Bytes that look like data elements, so that random ones reach deep states.
fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(element(0x0008_0018, b"UI", b"1.2\0")),
        Just(element(0x0020_000D, b"UI", b"1.2.3\0")),
        Just(element(0x0009_0010, b"OB", &[1; 40])),
        Just(nested()),
        Just(vec![0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        Just(vec![0x08, 0, 0x40, 0x11, b'U', b'N', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        Just(vec![0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]),
        Just(vec![0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]),
        Just(vec![0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop_oneof![
        Just(Encoding::ExplicitLe),
        Just(Encoding::ImplicitLe),
        Just(Encoding::ExplicitBe),
        Just(Encoding::Deflated),
    ]
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_one_result(
        bytes in prop_oneof![Just(data_set()), likely_bytes(), likely_bytes().prop_map(|bytes| compress_to_vec(&bytes, 6))],
        cuts in prop::collection::vec(0_usize..6000, 0..12),
        encoding in encodings(),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let pieces: Vec<_> = std::iter::once(0).chain(cuts.iter().copied()).zip(ends).map(|(a, b)| &bytes[a..b]).collect();
        prop_assert_eq!(scan(encoding, &pieces), scan(encoding, &[&bytes]));
    }

    #[test]
    fn byte_by_byte_is_the_same_for_any_bytes(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            likely_bytes(),
            likely_bytes().prop_map(|bytes| compress_to_vec(&bytes, 6)),
        ],
        encoding in encodings(),
    ) {
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(scan(encoding, &single), scan(encoding, &[&bytes]));
    }
}
