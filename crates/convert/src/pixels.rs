//! Pixel Data in fragments to native Pixel Data (PS3.5 §8.1, §8.2, §A.4).

mod frames;
mod image;
mod jpeg;
mod jpeg2000;
mod jpeg_bits;
mod jpeg_frame;
mod jpeg_ls;
mod rle;

use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::error::{ConvertError, PixelError};
use crate::tree::{Element, Value, bytes_of, put};
use image::{Image, Samples};

/// How frames are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Encapsulated, not compressed (PS3.5 §A.4.11).
    Native,
    /// RLE Lossless (PS3.5 Annex G).
    Rle,
    /// Each frame deflated (PS3.5 §A.4.13).
    Deflated,
    /// JPEG Lossless, process 14 (ISO/IEC 10918-1 Annex H).
    JpegLossless,
    /// JPEG-LS with NEAR 0 (ISO/IEC 14495-1).
    JpegLs,
    /// JPEG 2000 with the reversible transformations (ISO/IEC 15444-1).
    Jpeg2000,
}

/// Decodes Pixel Data wherever it is in fragments: an icon's too.
///
/// # Errors
/// [`ConvertError::Pixels`], or [`ConvertError::TooLarge`] when all of it together takes more than `left` bytes.
pub(crate) fn decode(elements: &mut Vec<Element>, codec: Codec, left: &mut usize) -> Result<(), ConvertError> {
    for element in elements.iter_mut() {
        if let Value::Sequence { items, .. } = &mut element.value {
            for item in items {
                decode(&mut item.elements, codec, left)?;
            }
        }
    }
    let fragments = elements.iter().find_map(|element| match &element.value {
        Value::Fragments(fragments) => Some(fragments.clone()),
        _ => None,
    });
    match fragments {
        Some(fragments) => decode_level(elements, &fragments, codec, left),
        None => Ok(()),
    }
}

fn decode_level(
    elements: &mut Vec<Element>,
    fragments: &[Bytes],
    codec: Codec,
    left: &mut usize,
) -> Result<(), ConvertError> {
    let image = Image::of(elements)?;
    let total = image.total_len()?;
    *left = left.checked_sub(total).ok_or(ConvertError::TooLarge { max: *left })?;
    let extended = bytes_of(elements, tags::EXTENDED_OFFSET_TABLE);
    let frames = frames::of(fragments, image.frames, extended)?;
    let mut out = image::Output::new(&image, total);
    let mut is_colour_undone = false;
    for frame in frames {
        let frame = frame.contiguous();
        match codec {
            Codec::Native => out.push_stored(native(&frame, &image)?)?,
            Codec::Deflated => out.push_stored(&inflated(&frame, &image)?)?,
            Codec::Rle => out.push_stored(&rle::decode(&frame, &image)?)?,
            Codec::JpegLossless => out.push(&jpeg::decode(&frame, &image)?)?,
            Codec::JpegLs => out.push(&jpeg_ls::decode(&frame, &image)?)?,
            Codec::Jpeg2000 => {
                let (samples, is_rct): (Samples, bool) = jpeg2000::decode(&frame, &image)?;
                is_colour_undone |= is_rct;
                out.push(&samples)?;
            }
        }
    }
    let vr = if image.bits_allocated > 8 { VR::OW } else { VR::OB };
    put(elements, element(tags::PIXEL_DATA, vr, out.finish()?));
    elements.retain(|element| {
        element.tag != tags::EXTENDED_OFFSET_TABLE && element.tag != tags::EXTENDED_OFFSET_TABLE_LENGTHS
    });
    if is_colour_undone || image.is_rct {
        put(
            elements,
            element(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, Bytes::from_static(b"RGB ")),
        );
    }
    if image.samples > 1 && codec != Codec::Rle && codec != Codec::Native && codec != Codec::Deflated {
        // These streams are decoded sample by sample.
        put(
            elements,
            element(tags::PLANAR_CONFIGURATION, VR::US, Bytes::from_static(&[0, 0])),
        );
    }
    Ok(())
}

fn element(tag: Tag, vr: VR, bytes: Bytes) -> Element {
    Element {
        tag,
        vr: Some(vr),
        value: Value::Bytes(bytes),
    }
}

fn native<'a>(frame: &'a [u8], image: &Image) -> Result<&'a [u8], PixelError> {
    stored(frame, image.stored_len())
}

fn inflated(frame: &[u8], image: &Image) -> Result<Vec<u8>, PixelError> {
    let len = image.stored_len();
    let inflated = miniz_oxide::inflate::decompress_to_vec_with_limit(frame, len.saturating_add(1));
    let frame = inflated.map_err(|_| PixelError::Broken("a frame does not inflate"))?;
    stored(&frame, len).map(<[u8]>::to_vec)
}

/// A frame of exactly `len` bytes, or with one more that makes its length even.
fn stored(frame: &[u8], len: usize) -> Result<&[u8], PixelError> {
    match frame.split_at_checked(len) {
        Some((frame, [])) => Ok(frame),
        Some((frame, [_])) if len % 2 == 1 => Ok(frame),
        _ => Err(PixelError::Disagrees("a frame's length")),
    }
}
