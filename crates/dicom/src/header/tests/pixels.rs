//! The place of native Pixel Data and what is told of it.

use super::*;

/// What describes an image of 4 by 8 pixels, and the image.
pub(super) fn data_set() -> Vec<u8> {
    [image_attributes(), element(0x7FE0_0010, b"OW", &[0; 64])].concat()
}

fn image_attributes() -> Vec<u8> {
    let short = |tag, value: u16| element(tag, b"US", &value.to_le_bytes());
    [
        short(0x0028_0002, 1),
        short(0x0028_0006, 0),
        element(0x0028_0008, b"IS", b" 1"),
        short(0x0028_0010, 4),
        short(0x0028_0011, 8),
        short(0x0028_0100, 16),
        short(0x0028_0103, 1),
    ]
    .concat()
}

fn place(bytes: &[u8]) -> Option<PixelData> {
    let header = scan(Encoding::ExplicitLe, &[bytes]);
    assert_eq!(header.outcome, ScanOutcome::Complete);
    header.pixel_data
}

#[test]
fn native_pixel_data_is_found_with_what_describes_it() {
    assert_eq!(
        place(&data_set()),
        Some(PixelData {
            kind: PixelDataKind::Integer,
            offset: u64::try_from(data_set().len() - 64).unwrap(),
            len: 64,
            samples_per_pixel: Some(1),
            planar_configuration: Some(0),
            number_of_frames: Some(1),
            rows: Some(4),
            columns: Some(8),
            bits_allocated: Some(16),
            pixel_representation: Some(1),
        })
    );
}

#[test]
fn pixels_of_floats_are_found() {
    for (tag, kind) in [
        (0x7FE0_0008, PixelDataKind::Float),
        (0x7FE0_0009, PixelDataKind::DoubleFloat),
    ] {
        let vr = if kind == PixelDataKind::Float { b"OF" } else { b"OD" };
        let found = place(&[image_attributes(), element(tag, vr, &[0; 64])].concat()).unwrap();
        assert_eq!((found.kind, found.len), (kind, 64));
    }
}

#[test]
fn encapsulated_pixel_data_has_no_place() {
    let encapsulated = [0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    let offset_table = [0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0];
    let bytes = [image_attributes(), encapsulated.to_vec(), offset_table.to_vec()].concat();
    assert_eq!(place(&bytes), None);
}

#[test]
fn an_icon_in_a_sequence_is_not_the_image() {
    let undefined = [0xFF; 4];
    let icon = |length: [u8; 4], item: [u8; 4]| {
        let sequence = [0x88, 0, 0, 2, b'S', b'Q', 0, 0];
        [&sequence[..], &length, &[0xFE, 0xFF, 0, 0xE0], &item, &data_set()].concat()
    };
    let delimiters = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
    let item_len = u32::try_from(data_set().len()).unwrap();
    let defined = icon((item_len + 8).to_le_bytes(), item_len.to_le_bytes());
    for icon in [[icon(undefined, undefined), delimiters.to_vec()].concat(), defined] {
        assert_eq!(place(&icon), None);
        let bytes = [&icon[..], &element(0x7FE0_0010, b"OW", &[0; 6])].concat();
        let found = place(&bytes).unwrap();
        assert_eq!((found.rows, found.len), (None, 6));
        assert_eq!(found.offset, u64::try_from(bytes.len() - 6).unwrap());
    }
}

#[test]
fn private_elements_of_any_vr_before_the_image_are_passed_over() {
    let private = [
        element(0x0029_0010, b"LO", b"MAKER "),
        element(0x0029_1010, b"UN", &[7; 70_000]),
        vec![0x29, 0, 0x11, 0x10, b'Z', b'Q', 2, 0, 1, 2],
        nested(),
        element(0x7FE0_0010, b"OW", &[0; 6]),
    ]
    .concat();
    assert_eq!(
        place(&private).unwrap().offset,
        u64::try_from(private.len() - 6).unwrap()
    );
}

#[test]
fn number_of_frames_that_is_no_number_is_none() {
    for (text, number) in [
        (&b"12"[..], Some(12)),
        (b"+3 ", Some(3)),
        (b"", None),
        (b"many", None),
        (b"99999999999 ", None),
    ] {
        let bytes = [element(0x0028_0008, b"IS", text), element(0x7FE0_0010, b"OW", b"")].concat();
        assert_eq!(place(&bytes).unwrap().number_of_frames, number);
    }
}
