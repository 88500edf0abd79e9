//! Compressed streams that the corpus has not: with restarts, and cut short anywhere.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use bytes::Bytes;
use packhorse_convert::{ConvertError, Limits, convert};
use packhorse_dicom::transfer_syntax::EXPLICIT_VR_LE;
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_testkit::corpus;

const LIMITS: Limits = Limits { max: 1 << 20 };

fn element(tag: (u16, u16), vr: &str, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    let (group, number) = (tag.0.to_le_bytes(), tag.1.to_le_bytes());
    [&group[..], &number, vr.as_bytes(), &length.to_le_bytes(), value].concat()
}

fn item(number: u16, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap();
    [&[0xFE, 0xFF], &number.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
}

/// One frame of 8 bits, grey, in one fragment.
fn image((rows, columns): (u16, u16), frame: &[u8]) -> Bytes {
    let short = |number, value: u16| element((0x0028, number), "US", &value.to_le_bytes());
    let mut bytes = [
        short(0x0002, 1),
        element((0x0028, 0x0004), "CS", b"MONOCHROME2 "),
        short(0x0010, rows),
        short(0x0011, columns),
        short(0x0100, 8),
        short(0x0101, 8),
        short(0x0102, 7),
        short(0x0103, 0),
    ]
    .concat();
    bytes.extend(b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF");
    bytes.extend([item(0xE000, &[]), item(0xE000, frame), item(0xE0DD, &[])].concat());
    bytes.into()
}

/// The pixels, or why there are none.
fn decoded(size: (u16, u16), frame: &[u8], from: &str) -> Result<Bytes, ConvertError> {
    let syntax = |uid: &str| TransferSyntaxUid::try_from(uid).unwrap();
    let converted = convert(image(size, frame), &syntax(from), &syntax(EXPLICIT_VR_LE), LIMITS)?.data_set;
    let len = usize::from(size.0) * usize::from(size.1);
    Ok(converted.slice(converted.len() - len..))
}

/// Predictor 4, a restart behind every second row. Made by hand; libjpeg decodes it to the same.
const RESTARTS: [u8; 124] = [
    0xFF, 0xD8, 0xFF, 0xC3, 0x00, 0x0B, 0x08, 0x00, 0x06, 0x00, 0x08, 0x01, 0x01, 0x11, 0x00, 0xFF, 0xC4, 0x00, 0x24,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
    0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0xFF, 0xDD, 0x00, 0x04,
    0x00, 0x10, 0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x04, 0x00, 0x00, 0x38, 0x30, 0xC7, 0x87, 0x47, 0x49, 0x03,
    0xC2, 0xC7, 0x47, 0x00, 0x18, 0x63, 0x62, 0x43, 0xFF, 0xD0, 0x39, 0x51, 0xD0, 0xC7, 0x47, 0xC7, 0x49, 0x02, 0xC7,
    0xC0, 0x3A, 0x01, 0xB1, 0x62, 0x05, 0xFF, 0x00, 0xFF, 0xD1, 0x3A, 0x71, 0x43, 0xA3, 0xE3, 0xA3, 0xC3, 0xC1, 0x92,
    0x84, 0x80, 0x58, 0x06, 0x84, 0x8E, 0xFF, 0x00, 0xFF, 0xD9,
];
const PIXELS: [u8; 48] = [
    4, 5, 11, 16, 21, 29, 35, 38, 9, 14, 20, 26, 32, 36, 40, 44, 22, 27, 28, 33, 40, 45, 53, 56, 29, 34, 40, 45, 48,
    56, 61, 67, 40, 42, 47, 54, 59, 65, 71, 72, 50, 50, 55, 65, 70, 71, 75, 81,
];

#[test]
fn predictions_begin_anew_behind_a_restart() {
    let pixels = decoded((6, 8), &RESTARTS, "1.2.840.10008.1.2.4.57").unwrap();
    assert_eq!(pixels[..], PIXELS);
}

#[test]
fn a_restart_that_is_another_is_refused() {
    let mut other = RESTARTS;
    let place = other.windows(2).position(|pair| pair == [0xFF, 0xD1]).unwrap();
    other[place + 1] = 0xD2;
    assert!(matches!(
        decoded((6, 8), &other, "1.2.840.10008.1.2.4.57"),
        Err(ConvertError::Pixels(_))
    ));
}

/// The frames of the fuzz target's inputs, cut behind each byte but the padding: none of them is a picture.
#[test]
fn a_stream_that_is_cut_anywhere_is_no_picture() {
    let mut kinds = 0;
    for input in corpus::fuzz_inputs("convert") {
        let syntax = match input[0] {
            5 => "1.2.840.10008.1.2.4.70",
            6 => "1.2.840.10008.1.2.4.80",
            7 => "1.2.840.10008.1.2.4.90",
            _ => continue,
        };
        // Behind the empty offset table's item: tag, length, frame.
        let tag = [0xFE, 0xFF, 0x00, 0xE0];
        let place = input.windows(4).rposition(|bytes| bytes == tag).unwrap();
        let frame = &input[place + 8..input.len() - 8];
        let size = if input[0] == 6 { (16, 16) } else { (32, 32) };
        assert!(decoded(size, frame, syntax).is_ok(), "{syntax}");
        let end = frame.windows(2).rposition(|pair| pair == [0xFF, 0xD9]).unwrap();
        for len in 0..=end {
            let cut = decoded(size, &frame[..len], syntax);
            assert!(
                matches!(cut, Err(ConvertError::Pixels(_))),
                "{syntax} cut at {len} of {end}"
            );
        }
        kinds += 1;
    }
    assert_eq!(kinds, 3);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(512))]

    /// What is broken is an error or another picture, and never a panic.
    #[test]
    fn a_byte_that_is_another_breaks_no_decoder(which in 0_usize..64, places in proptest::collection::vec((0_usize..4096, 0_u8..), 1..4)) {
        let inputs = corpus::fuzz_inputs("convert");
        let mut input = inputs[which % inputs.len()].clone();
        for (place, byte) in places {
            let place = place % input.len();
            input[place] = byte;
        }
        packhorse_convert::fuzzing::convert_bytes(&input);
    }
}
