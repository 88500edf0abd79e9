//! JPEG-LS, lossless (ISO/IEC 14495-1). No mapping tables, no restarts, no subsampling, no colour transformation of the
//! Hewlett-Packard kind.

mod context;
mod scan;

use super::image::{Image, Samples};
use super::jpeg_bits::Stream;
use super::jpeg_frame::{BROKEN_SCAN, Frame, scan_header};
use crate::error::PixelError;
use scan::{Interleave, Parameters, Scan};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOF55: u8 = 0xF7;
const LSE: u8 = 0xF8;
const SOS: u8 = 0xDA;
const DRI: u8 = 0xDD;
const APP8: u8 = 0xE8;

/// One frame.
///
/// # Errors
/// [`PixelError`].
pub(super) fn decode(frame: &[u8], image: &Image) -> Result<Samples, PixelError> {
    let mut stream = Stream::new(frame);
    if stream.marker()? != SOI {
        return Err(PixelError::Broken("no JPEG-LS stream"));
    }
    let mut decoder = Decoder {
        frame: Frame::new(image),
        preset: None,
    };
    loop {
        match stream.marker()? {
            SOF55 => decoder.frame.header(stream.segment()?)?,
            LSE => decoder.preset(stream.segment()?)?,
            SOS => {
                let scan = decoder.scan_header(stream.segment()?)?;
                let taken = scan.decode(&mut decoder.frame.values, stream.bits())?;
                stream.at += taken;
            }
            EOI => return decoder.frame.finish(),
            APP8 if stream.segment()?.starts_with(b"mrfx") => {
                return Err(PixelError::Unsupported("a colour transformation"));
            }
            APP8 => {}
            DRI if stream.segment()? != [0, 0] => return Err(PixelError::Unsupported("restarts")),
            DRI => {}
            0xE0..=0xEF | 0xFE => drop(stream.segment()?),
            _ => return Err(PixelError::Unsupported("a marker of another process")),
        }
    }
}

struct Decoder<'a> {
    frame: Frame<'a>,
    /// MAXVAL, T1, T2, T3, RESET; 0: the default.
    preset: Option<[u16; 5]>,
}

impl Decoder<'_> {
    /// ISO/IEC 14495-1 §C.2.4.1.1.
    fn preset(&mut self, segment: &[u8]) -> Result<(), PixelError> {
        match segment {
            [1, parameters @ ..] if parameters.len() == 10 => {
                let mut numbers = parameters.chunks_exact(2).map(|pair| match pair {
                    [high, low] => u16::from_be_bytes([*high, *low]),
                    _ => 0,
                });
                self.preset = Some(std::array::from_fn(|_| numbers.next().unwrap_or_default()));
                Ok(())
            }
            [1, ..] | [] => Err(PixelError::Broken("preset parameters")),
            _ => Err(PixelError::Unsupported("a mapping table")),
        }
    }

    /// §C.2.3.
    fn scan_header(&mut self, segment: &[u8]) -> Result<Scan, PixelError> {
        let (selectors, [near, interleave, transform]) = scan_header(segment)?;
        if near != 0 {
            return Err(PixelError::Lossy("its NEAR is not 0"));
        }
        if transform != 0 {
            return Err(PixelError::Lossy("it has a point transform"));
        }
        let mut components = Vec::new();
        for selector in selectors.chunks_exact(2) {
            let [id, table] = selector else { continue };
            let component = self.frame.component(*id)?;
            if *table != 0 {
                return Err(PixelError::Unsupported("a mapping table"));
            }
            self.frame.bring(component)?;
            components.push(component);
        }
        let interleave = match (interleave, components.len()) {
            (0, 1) => Interleave::None,
            (1, 1..) => Interleave::Line,
            (2, 1..) => Interleave::Sample,
            _ => return Err(BROKEN_SCAN),
        };
        Ok(Scan {
            parameters: Parameters::new(self.frame.precision, self.preset)?,
            interleave,
            components,
            columns: self.frame.image.columns,
            rows: self.frame.image.rows,
            samples: self.frame.image.samples,
        })
    }
}
