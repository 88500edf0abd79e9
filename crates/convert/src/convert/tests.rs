use dicom_core::VR;
use proptest::prelude::*;

use super::*;
use crate::PixelError;

const LIMITS: Limits = Limits { max: 1 << 20 };

fn syntax(uid: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::try_from(uid).unwrap()
}

fn converted(data_set: &[u8], from: &str, to: &str) -> Result<Vec<u8>, ConvertError> {
    let data_set = Bytes::copy_from_slice(data_set);
    convert(data_set, &syntax(from), &syntax(to), LIMITS).map(|converted| converted.data_set.to_vec())
}

/// An element in Implicit VR Little Endian.
fn implicit(tag: u32, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap();
    [&header(tag), &length.to_le_bytes()[..], value].concat()
}

/// An element in Explicit VR Little Endian, its length in 16 bits.
fn explicit(tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    [&header(tag), vr.as_bytes(), &length.to_le_bytes(), value].concat()
}

fn explicit_long(tag: u32, vr: &str, length: u32, value: &[u8]) -> Vec<u8> {
    [&header(tag), vr.as_bytes(), &[0, 0], &length.to_le_bytes()[..], value].concat()
}

fn header(tag: u32) -> [u8; 4] {
    let [e0, e1, g0, g1] = tag.to_le_bytes();
    [g0, g1, e0, e1]
}

fn delimited(tag: u32, items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [&header(tag)[..], &[0xFF; 4]].concat();
    for item in items {
        bytes.extend([&header(0xFFFE_E000)[..], &[0xFF; 4], item, &implicit(0xFFFE_E00D, &[])].concat());
    }
    bytes.extend(implicit(0xFFFE_E0DD, &[]));
    bytes
}

fn sequence(tag: u32, items: &[Vec<u8>]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|item| implicit(0xFFFE_E000, item)).collect();
    implicit(tag, &items)
}

/// Well-formed elements of every kind, sorted by tag.
fn data_sets() -> impl Strategy<Value = Vec<u8>> {
    let leaf = elements(Just(Vec::new()).boxed());
    leaf.prop_recursive(3, 64, 4, elements)
}

fn elements(inner: BoxedStrategy<Vec<u8>>) -> BoxedStrategy<Vec<u8>> {
    let even = |max: usize| {
        prop::collection::vec(any::<u8>(), 0..max).prop_map(|mut value| {
            value.truncate(value.len() / 8 * 8);
            value
        })
    };
    let items = prop::collection::vec(inner, 0..3);
    // Text, numbers of each width, ambiguous ones, private ones, words, and values longer than 16 bits can say.
    let plain = prop::sample::subsequence(
        vec![
            0x0008_0018_u32,
            0x0008_1160,
            0x0010_0010,
            0x0018_1164,
            0x0018_6024,
            0x0018_9461,
            0x0020_4000,
            0x0020_9165,
            0x0028_0103,
            0x0028_0106,
            0x0028_1101,
            0x0028_3006,
            0x0029_0010,
            0x0029_1001,
            0x0040_A13A,
            0x5400_1010,
            0x6000_3000,
            0x7FE0_0010,
        ],
        0..18,
    );
    let long = prop::option::weighted(0.1, any::<prop::sample::Index>());
    (plain, even(40), long, items, any::<[bool; 3]>())
        .prop_map(|(tags, value, long, items, has)| {
            let long = long.filter(|_| !tags.is_empty()).map(|index| *index.get(&tags));
            let of = |tag| implicit(tag, if long == Some(tag) { &[7; 70_000] } else { &value });
            let mut all: Vec<(u32, Vec<u8>)> = tags.into_iter().map(|tag| (tag, of(tag))).collect();
            if has[0] {
                all.push((0x0008_1140, sequence(0x0008_1140, &items)));
            }
            if has[1] {
                all.push((0x0040_0275, delimited(0x0040_0275, &items)));
            }
            if has[2] {
                all.push((0x0029_1002, delimited(0x0029_1002, &items)));
            }
            all.sort();
            all.into_iter().flat_map(|(_, element)| element).collect()
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn implicit_through_any_other_syntax_is_what_it_was(data_set in data_sets()) {
        for through in [EXPLICIT_VR_LE, EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE] {
            let there = converted(&data_set, IMPLICIT_VR_LE, through).unwrap();
            prop_assert_eq!(&converted(&there, through, IMPLICIT_VR_LE).unwrap(), &data_set);
            let other = converted(&there, through, EXPLICIT_VR_LE).unwrap();
            prop_assert_eq!(other, converted(&data_set, IMPLICIT_VR_LE, EXPLICIT_VR_LE).unwrap());
        }
    }

    #[test]
    fn what_is_cut_anywhere_is_refused(data_set in data_sets(), at in any::<prop::sample::Index>()) {
        let explicit = converted(&data_set, IMPLICIT_VR_LE, EXPLICIT_VR_LE).unwrap();
        prop_assume!(!explicit.is_empty());
        let cut = &explicit[..at.index(explicit.len())];
        if let Ok(taken) = converted(cut, EXPLICIT_VR_LE, IMPLICIT_VR_LE) {
            // Cut between two elements it is a shorter data set.
            prop_assert!(data_set.starts_with(&taken));
        }
    }
}

#[test]
fn explicit_vrs_come_from_the_dictionary_and_from_pixel_representation() {
    let signed = implicit(0x0028_0103, &[1, 0]);
    let data_set = [
        implicit(0x0008_0060, b"CT"),
        sequence(0x0008_1140, &[implicit(0x0028_0106, &[0xFF, 0xFF])]),
        implicit(0x0009_0010, b"ACME"),
        implicit(0x0009_1001, b"x "),
        signed,
        implicit(0x0028_0106, &[0xFF, 0xFF]),
        implicit(0x7FE0_0010, &[1, 2]),
    ]
    .concat();
    let item = explicit(0x0028_0106, "SS", &[0xFF, 0xFF]);
    let items = implicit(0xFFFE_E000, &item);
    let expected = [
        explicit(0x0008_0060, "CS", b"CT"),
        explicit_long(0x0008_1140, "SQ", u32::try_from(items.len()).unwrap(), &items),
        explicit(0x0009_0010, "LO", b"ACME"),
        explicit_long(0x0009_1001, "UN", 2, b"x "),
        explicit(0x0028_0103, "US", &[1, 0]),
        explicit(0x0028_0106, "SS", &[0xFF, 0xFF]),
        explicit_long(0x7FE0_0010, "OW", 2, &[1, 2]),
    ]
    .concat();
    assert_eq!(converted(&data_set, IMPLICIT_VR_LE, EXPLICIT_VR_LE).unwrap(), expected);
}

#[test]
fn big_endian_turns_numbers_and_words_and_not_bytes() {
    let data_set = [
        explicit(0x0028_0009, "AT", &[0x18, 0, 0x63, 0x10]),
        explicit_long(0x0029_1001, "UN", 2, &[1, 2]),
        explicit_long(0x7FE0_0010, "OW", 4, &[1, 2, 3, 4]),
    ]
    .concat();
    let big = converted(&data_set, EXPLICIT_VR_LE, EXPLICIT_VR_BE).unwrap();
    assert!(big.ends_with(&[b'O', b'W', 0, 0, 0, 0, 0, 4, 2, 1, 4, 3]));
    assert!(big.starts_with(&[0, 0x28, 0, 9, b'A', b'T', 0, 4, 0, 0x18, 0x10, 0x63]));
    assert_eq!(converted(&big, EXPLICIT_VR_BE, EXPLICIT_VR_LE).unwrap(), data_set);
}

#[test]
fn a_private_sequence_is_still_one_without_its_vr() {
    let item = explicit(0x0008_0060, "CS", b"CT");
    let items = implicit(0xFFFE_E000, &item);
    let data_set = explicit_long(0x0029_1002, "SQ", u32::try_from(items.len()).unwrap(), &items);
    let plain = converted(&data_set, EXPLICIT_VR_LE, IMPLICIT_VR_LE).unwrap();
    let items = implicit(0xFFFE_E000, &implicit(0x0008_0060, b"CT"));
    let expected = [
        &header(0x0029_1002)[..],
        &[0xFF; 4],
        &items,
        &implicit(0xFFFE_E0DD, &[]),
    ]
    .concat();
    assert_eq!(plain, expected);
}

#[test]
fn group_lengths_are_those_of_the_new_syntax() {
    let rest = [
        explicit(0x0008_0060, "CS", b"CT"),
        explicit_long(0x0008_1140, "SQ", 0, &[]),
    ]
    .concat();
    let length = u32::try_from(rest.len()).unwrap();
    let data_set = [explicit(0x0008_0000, "UL", &length.to_le_bytes()), rest].concat();
    let plain = converted(&data_set, EXPLICIT_VR_LE, IMPLICIT_VR_LE).unwrap();
    assert_eq!(plain[..12], implicit(0x0008_0000, &18_u32.to_le_bytes()));
    assert_eq!(plain.len(), 12 + 18);
}

#[test]
fn what_would_read_otherwise_without_its_vr_is_refused() {
    let refused = |element: Vec<u8>| converted(&element, EXPLICIT_VR_LE, IMPLICIT_VR_LE).unwrap_err();
    // Rows as UL would read as two numbers; as SS it is the same while it is positive.
    for (vr, value) in [("UL", &[0, 2, 0, 0][..]), ("SS", &[0, 0x80]), ("IS", b"12")] {
        let error = refused(explicit(0x0028_0010, vr, value));
        assert!(matches!(error, ConvertError::Element { .. }), "{error}");
    }
    let fine = explicit(0x0028_0010, "SS", &[0, 2]);
    assert_eq!(
        converted(&fine, EXPLICIT_VR_LE, IMPLICIT_VR_LE).unwrap(),
        implicit(0x0028_0010, &[0, 2])
    );
}

#[test]
fn what_is_signed_is_refused() {
    let signed = explicit_long(0xFFFA_FFFA, "SQ", 0, &[]);
    let error = converted(&signed, EXPLICIT_VR_LE, IMPLICIT_VR_LE).unwrap_err();
    assert_eq!(error.to_string(), "(FFFA,FFFA) signs it as it is");
}

#[test]
fn lossy_is_never_converted_nor_is_anything_made_lossy() {
    for lossy in [
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.81",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.4.203",
        "1.2.840.10008.1.2.4.102",
        "1.2.840.10008.1.2.4.112",
    ] {
        assert!(targets(&syntax(lossy)).is_empty());
        let error = converted(&[], lossy, EXPLICIT_VR_LE).unwrap_err();
        assert_eq!(error, ConvertError::Lossy { from: syntax(lossy) });
        let error = converted(&[], EXPLICIT_VR_LE, lossy).unwrap_err();
        assert_eq!(error, ConvertError::Target { to: syntax(lossy) });
    }
    let error = converted(&[], "1.2.840.10008.1.2.4.50", EXPLICIT_VR_LE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "JPEG Baseline (Process 1) is or may be lossy, and is never converted"
    );
    let error = converted(&[], "1.2.840.10008.1.2.4.201", EXPLICIT_VR_LE).unwrap_err();
    assert!(matches!(error, ConvertError::Unsupported { .. }));
}

#[test]
fn the_best_target_keeps_vrs() {
    let from = |uid| {
        targets(&syntax(uid))
            .iter()
            .map(|target| target.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(from("1.2.840.10008.1.2.4.90"), TARGETS);
    assert_eq!(from(EXPLICIT_VR_LE), TARGETS[1..]);
}

#[test]
fn memory_is_bounded_whatever_is_said() {
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; 2 << 20], 9);
    let too_large = Err(ConvertError::TooLarge { max: LIMITS.max });
    assert_eq!(converted(&bomb, DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE), too_large);
    assert_eq!(converted(&vec![0; 2 << 20], IMPLICIT_VR_LE, EXPLICIT_VR_LE), too_large);
    assert_eq!(
        converted(&image(u16::MAX, &[0; 64]), "1.2.840.10008.1.2.5", EXPLICIT_VR_LE),
        too_large
    );
    let deep = vec![
        [
            &header(0x0008_1140)[..],
            b"SQ\0\0",
            &[0xFF; 4],
            &header(0xFFFE_E000),
            &[0xFF; 4]
        ]
        .concat();
        70
    ];
    let error = converted(&deep.concat(), EXPLICIT_VR_LE, IMPLICIT_VR_LE).unwrap_err();
    assert!(matches!(
        error,
        ConvertError::Malformed {
            what: "sequences are nested too deep",
            ..
        }
    ));
}

/// A picture of `size` by `size` pixels of 8 bits, in one fragment.
fn image(size: u16, frame: &[u8]) -> Vec<u8> {
    let short = |tag, value: u16| explicit(tag, "US", &value.to_le_bytes());
    [
        short(0x0028_0002, 1),
        explicit(0x0028_0004, "CS", b"MONOCHROME2 "),
        short(0x0028_0010, size),
        short(0x0028_0011, size),
        short(0x0028_0100, 8),
        short(0x0028_0101, 8),
        short(0x0028_0102, 7),
        short(0x0028_0103, 0),
        explicit_long(0x7FE0_0010, "OB", u32::MAX, &implicit(0xFFFE_E000, &[])),
        implicit(0xFFFE_E000, frame),
        implicit(0xFFFE_E0DD, &[]),
    ]
    .concat()
}

/// Of 2 by 2 pixels: a run of two and a literal of two.
fn rle_frame() -> Vec<u8> {
    let mut frame = vec![0; 64];
    (frame[0], frame[4]) = (1, 64);
    frame.extend([255, 7, 1, 8, 9, 0]);
    frame
}

#[test]
fn decoded_pixels_are_native_and_the_rest_stays() {
    let plain = converted(&image(2, &rle_frame()), "1.2.840.10008.1.2.5", EXPLICIT_VR_LE).unwrap();
    assert!(plain.ends_with(&explicit_long(0x7FE0_0010, "OB", 4, &[7, 7, 8, 9])));
    let elements = read::read(&plain.into(), Encoding::ExplicitLe).unwrap();
    assert_eq!(elements.len(), 9);
    assert_eq!(elements.last().unwrap().vr, Some(VR::OB));
}

#[test]
fn a_stream_that_is_not_whole_is_no_picture() {
    for len in 64..69 {
        let error = converted(&image(2, &rle_frame()[..len]), "1.2.840.10008.1.2.5", EXPLICIT_VR_LE).unwrap_err();
        assert!(
            matches!(error, ConvertError::Pixels(PixelError::Broken(_))),
            "{len}: {error}"
        );
    }
}

#[test]
fn a_lossy_stream_under_the_name_of_a_lossless_one_is_refused() {
    // SOI, DQT: as JPEG Baseline begins.
    let frame = [0xFF, 0xD8, 0xFF, 0xDB, 0, 2];
    let error = converted(&image(2, &frame), "1.2.840.10008.1.2.4.70", EXPLICIT_VR_LE).unwrap_err();
    assert!(matches!(error, ConvertError::Pixels(PixelError::Lossy(_))), "{error}");
}
