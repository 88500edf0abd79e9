//! JPEG 2000, only what is reversible (ISO/IEC 15444-1), by `hayro-jpeg2000`.
//!
//! That crate computes in 32-bit floating point. The reversible transformations of up to 16 bits stay integers below 2^24
//! there, which it holds exactly; a sample that comes out as no integer of its precision is an error here. What it
//! passes over without a word is refused before: irreversible or partly irreversible streams, regions of interest,
//! High-Throughput block coding.

mod codestream;

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image as Decoder};

use super::image::{Image, Samples};
use crate::error::PixelError;
use codestream::Codestream;

/// One frame, and whether its reversible colour transformation (RCT) was undone: the pixels are RGB then.
///
/// # Errors
/// [`PixelError`].
pub(super) fn decode(frame: &[u8], image: &Image) -> Result<(Samples, bool), PixelError> {
    let stream = Codestream::read(codestream::unwrapped(frame)?)?;
    image.has_size(stream.columns, stream.rows)?;
    let (precision, is_signed) = stream.component()?;
    let is_sign_added = image.is_signed && !is_signed;
    if stream.components.len() != image.samples {
        return Err(PixelError::Disagrees("Samples per Pixel"));
    }
    if precision > image.bits_allocated || (is_sign_added && precision < image.bits_stored) {
        return Err(PixelError::Disagrees("Bits Stored"));
    }
    if stream.has_colour_transform && !(image.is_rct || image.is_rgb) {
        return Err(PixelError::Disagrees("Photometric Interpretation"));
    }
    if image.is_rct && !stream.has_colour_transform {
        return Err(PixelError::Disagrees("Photometric Interpretation"));
    }
    let values = samples(&stream, precision, is_signed)?;
    if is_signed && !image.is_signed && values.iter().any(|value| *value < 0) {
        return Err(PixelError::Disagrees("Pixel Representation"));
    }
    let samples = Samples(values.into_iter().map(low).collect());
    Ok((samples, stream.has_colour_transform))
}

/// Sample by sample, pixel by pixel.
fn samples(stream: &Codestream<'_>, precision: u32, is_signed: bool) -> Result<Vec<i32>, PixelError> {
    const BROKEN: PixelError = PixelError::Broken("the JPEG 2000 codestream");
    let settings = DecodeSettings {
        resolve_palette_indices: false,
        strict: true,
        target_resolution: None,
    };
    let decoder = Decoder::new(stream.bytes, &settings).map_err(|_| BROKEN)?;
    let mut context = DecoderContext::default();
    let decoded = decoder.decode(&mut context).map_err(|_| BROKEN)?;
    let components = decoded.components();
    let pixels = stream.columns * stream.rows;
    if components.len() != stream.components.len() || components.iter().any(|one| one.samples().len() < pixels) {
        return Err(BROKEN);
    }
    // It adds half the range to signed samples too.
    let (lowest, half) = (0, 1_i32 << (precision - 1));
    let offset = if is_signed { half } else { 0 };
    let mut values = vec![0; pixels * components.len()];
    for (index, component) in components.iter().enumerate() {
        let places = values.iter_mut().skip(index).step_by(components.len());
        for (place, sample) in places.zip(component.samples()) {
            let value = integer(*sample).filter(|value| (lowest..2 * half).contains(value));
            *place = value.ok_or(PixelError::Broken("a pixel is larger than its precision"))? - offset;
        }
    }
    Ok(values)
}

#[expect(clippy::cast_possible_truncation, reason = "an integer below 2^24, checked")]
fn integer(sample: f32) -> Option<i32> {
    (sample.fract() == 0.0 && sample.abs() < 16_777_216.0).then_some(sample as i32)
}

/// The lowest 16 bits.
const fn low(value: i32) -> u16 {
    let [low, high, ..] = value.to_le_bytes();
    u16::from_le_bytes([low, high])
}
