//! Inputs that break other readers of data sets: each costs little and leaves what came before it.

use super::*;

#[test]
fn a_length_of_4_gib_costs_nothing() {
    let mut bytes = element(0x0008_0018, b"UI", b"1.2\0");
    bytes.extend([0x09, 0, 0x10, 0, b'O', b'B', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF]);
    let header = scan(Encoding::ExplicitLe, &[&bytes, &[0; 1000]]);
    assert_eq!(header.outcome, ScanOutcome::EndOfData);
    assert!(header.sop_instance_uid.is_some());
}

/// Levels of sequence and item around a study, with what closes them.
struct Nesting {
    open: Vec<u8>,
    close: Vec<u8>,
}

impl Nesting {
    fn around(&self, levels: usize, inner: &[u8]) -> Vec<u8> {
        [&self.open.repeat(levels), inner, &self.close.repeat(levels)].concat()
    }

    fn undefined(sequence: &[u8]) -> Self {
        Self {
            open: [sequence, &[0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]].concat(),
            close: [
                [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0],
                [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0],
            ]
            .concat(),
        }
    }
}

const EXPLICIT_SEQUENCE: [u8; 12] = [0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
const UNKNOWN_SEQUENCE: [u8; 12] = [0x08, 0, 0x40, 0x11, b'U', b'N', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
const IMPLICIT_SEQUENCE: [u8; 8] = [0x08, 0, 0x40, 0x11, 0xFF, 0xFF, 0xFF, 0xFF];

/// Ten thousand levels recursed by depth kill other readers; here level 256 ends the scan.
#[test]
fn ten_thousand_sequences_of_undefined_length_end_the_scan_at_level_256() {
    let explicit = Nesting::undefined(&EXPLICIT_SEQUENCE).around(10_000, b"");
    let implicit = Nesting::undefined(&IMPLICIT_SEQUENCE).around(10_000, b"");
    for (encoding, bytes) in [
        (Encoding::Deflated, compress_to_vec(&explicit, 6)),
        (Encoding::ExplicitLe, explicit),
        // What is in a sequence of unknown VR has no VRs.
        (
            Encoding::ExplicitLe,
            Nesting::undefined(&UNKNOWN_SEQUENCE).around(1, &implicit),
        ),
        (Encoding::ImplicitLe, implicit),
    ] {
        let mut scan = HeaderScan::new(encoding);
        scan.push(&bytes);
        assert!(scan.elements.held.capacity() <= VALUE_LEN_MAX, "{encoding:?}");
        let outcome = scan.finish().outcome;
        assert!(
            matches!(outcome, ScanOutcome::Malformed { offset } if offset < 256 * 20),
            "{encoding:?}: {outcome:?}"
        );
    }
}

/// A sequence of defined length is passed over as a whole, however deep.
#[test]
fn ten_thousand_sequences_of_defined_length_are_passed_over() {
    let study = element(0x0020_000D, b"UI", b"1.2.3\0");
    for (encoding, header) in [
        (Encoding::ExplicitLe, &EXPLICIT_SEQUENCE[..8]),
        (Encoding::ImplicitLe, &IMPLICIT_SEQUENCE[..4]),
    ] {
        let mut bytes = Vec::new();
        for level in (0_u32..10_000).rev() {
            let levels_below = 9999 - level;
            let item_len = levels_below * u32::try_from(header.len() + 12).unwrap();
            bytes.splice(..0, item_len.to_le_bytes());
            bytes.splice(..0, [0xFE, 0xFF, 0, 0xE0]);
            bytes.splice(..0, (item_len + 8).to_le_bytes());
            bytes.splice(..0, header.iter().copied());
        }
        let study = match encoding {
            Encoding::ImplicitLe => [&[0x20, 0, 0x0D, 0, 6, 0, 0, 0][..], b"1.2.3\0"].concat(),
            _ => study.clone(),
        };
        let header = scan(encoding, &[&bytes, &study]);
        assert_eq!(header.outcome, ScanOutcome::Complete);
        assert!(header.study_instance_uid.is_some(), "{encoding:?}");
    }
}

#[test]
fn a_hundred_levels_do_not_hide_the_study() {
    let study = element(0x0020_000D, b"UI", b"1.2.3\0");
    let inner = element(0x0020_000D, b"UI", b"9.9\0");
    let bytes = [Nesting::undefined(&EXPLICIT_SEQUENCE).around(100, &inner), study].concat();
    let header = scan(Encoding::ExplicitLe, &[&bytes]);
    assert_eq!(header.study_instance_uid.as_deref(), Some(&b"1.2.3\0"[..]));
}

/// Some readers take two bytes for each number begun, and then read elsewhere than they think.
#[test]
fn an_odd_length_of_a_number_does_not_shift_what_follows() {
    let odd = [&[0x28, 0, 0x10, 0, b'U', b'S', 3, 0, 1, 2, 3][..], &pixels::data_set()].concat();
    let header = scan(Encoding::ExplicitLe, &[&odd]);
    assert_eq!(
        header.pixel_data.unwrap().offset,
        u64::try_from(odd.len() - 64).unwrap()
    );
    let odd = [
        &[8, 0, 0x40, 0, b'U', b'S', 1, 0, 1][..],
        &element(0x0020_000D, b"UI", b"1.2\0"),
    ]
    .concat();
    assert!(scan(Encoding::ExplicitLe, &[&odd]).study_instance_uid.is_some());
}

/// Rows and Columns that are longer than two bytes multiply to more than memory elsewhere.
#[test]
fn rows_and_columns_as_ul_are_no_rows_and_columns() {
    let long = [
        element(0x0028_0010, b"UL", &[0xFF; 4]),
        element(0x0028_0011, b"UL", &[0xFF; 4]),
        element(0x7FE0_0010, b"OW", &[0; 64]),
    ]
    .concat();
    let pixel_data = scan(Encoding::ExplicitLe, &[&long]).pixel_data.unwrap();
    assert_eq!((pixel_data.rows, pixel_data.columns), (None, None));
    assert_eq!((pixel_data.offset, pixel_data.len), (36, 64));
}

#[test]
fn four_gib_of_pixels_are_declared_and_not_held() {
    let mut bytes = element(0x0020_000D, b"UI", b"1.2.3\0");
    bytes.extend([0xE0, 0x7F, 0x10, 0, b'O', b'W', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF]);
    let pixel_data = scan(Encoding::ExplicitLe, &[&bytes]).pixel_data.unwrap();
    assert_eq!(pixel_data.len, u32::MAX - 1);
}

/// One element of 64 MiB of zeros before the study, deflated to 64 KiB.
#[test]
fn a_deflate_bomb_ends_the_scan_at_a_mebibyte() {
    let mut plain = element(0x0008_0018, b"UI", b"1.2.3\0");
    plain.extend([9, 0, 0x10, 0x10, b'O', b'B', 0, 0, 0, 0, 0, 4]);
    plain.resize(plain.len() + (64 << 20), 0);
    let bomb = compress_to_vec(&plain, 6);
    assert!(bomb.len() < 100_000);
    let mut scan = HeaderScan::new(Encoding::Deflated);
    for piece in bomb.chunks(1024) {
        scan.push(piece);
    }
    assert!(scan.is_done() && scan.inflater.is_none());
    let header = scan.finish();
    assert_eq!(header.outcome, ScanOutcome::TooMuchDeflated);
    assert!(header.sop_instance_uid.is_some());
}

/// Blocks that inflate to nothing could go on for ever.
#[test]
fn endless_empty_deflate_blocks_end_the_scan_at_256_kib() {
    let mut scan = HeaderScan::new(Encoding::Deflated);
    let empty_stored_block = [0, 0, 0, 0xFF, 0xFF];
    let mut pushed = 0_u64;
    while !scan.is_done() {
        scan.push(&empty_stored_block.repeat(1000));
        pushed += 5000;
        assert!(pushed < DEFLATED_LEN_MAX + 5000);
    }
    assert_eq!(scan.finish().outcome, ScanOutcome::TooMuchDeflated);
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
fn unknown_vrs_are_passed_over() {
    let study = element(0x0020_000D, b"UI", b"1.2.3\0");
    for strange in [
        &[9, 0, 0x10, 0, b'Z', b'Z', 2, 0, 1, 2][..],
        &[9, 0, 0x10, 0, b'Z', b'Z', 0, 0, 2, 0, 0, 0, 1, 2],
        &[9, 0, 0x10, 0, b'?', b'?', 2, 0, 1, 2],
        &[9, 0, 0x10, 0, 2, 0, 0, 0, 1, 2],
    ] {
        let header = scan(Encoding::ExplicitLe, &[strange, &study]);
        assert!(header.study_instance_uid.is_some(), "{strange:?}");
    }
}

#[test]
fn little_is_held_of_any_data_set() {
    let mut scan = HeaderScan::new(Encoding::ExplicitLe);
    scan.push(&[0x10, 0, 0x10, 0, b'U', b'T', 0, 0, 0xF0, 0xFF, 0xFF, 0xFF]);
    for _ in 0..1000 {
        scan.push(&[b'A'; 4096]);
    }
    assert!(scan.elements.held.capacity() <= 4 * VALUE_LEN_MAX);
}
