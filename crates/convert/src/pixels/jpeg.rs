//! JPEG Lossless: process 14, Huffman coding (ISO/IEC 10918-1 Annex H). Every predictor; no point transform, which loses
//! bits; no subsampling, which no lossless DICOM image has.

use super::image::{Image, Samples};
use super::jpeg_bits::{Bits, Stream, Stuffing};
use super::jpeg_frame::{BROKEN_SCAN, Frame, scan_header};
use crate::error::PixelError;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOF3: u8 = 0xC3;
const DHT: u8 = 0xC4;
const SOS: u8 = 0xDA;
const DQT: u8 = 0xDB;
const DRI: u8 = 0xDD;

/// One frame.
///
/// # Errors
/// [`PixelError`].
pub(super) fn decode(frame: &[u8], image: &Image) -> Result<Samples, PixelError> {
    let mut stream = Stream::new(frame);
    if stream.marker()? != SOI {
        return Err(PixelError::Broken("no JPEG stream"));
    }
    let mut decoder = Decoder {
        frame: Frame::new(image),
        tables: [const { None }; 4],
        restart_interval: 0,
    };
    loop {
        match stream.marker()? {
            SOF3 => decoder.frame.header(stream.segment()?)?,
            0xC0..=0xC2 | 0xC5..=0xC7 | 0xC9..=0xCF => return Err(PixelError::Lossy("not of process 14")),
            DHT => decoder.huffman_tables(stream.segment()?)?,
            DRI => {
                let segment = stream.segment()?;
                let interval = segment.first_chunk().filter(|_| segment.len() == 2);
                let interval = interval.ok_or(PixelError::Broken("the restart interval"))?;
                decoder.restart_interval = usize::from(u16::from_be_bytes(*interval));
            }
            SOS => {
                let scan = decoder.scan_header(stream.segment()?)?;
                let taken = decoder.scan(&scan, stream.bits())?;
                stream.at += taken;
            }
            EOI => return decoder.frame.finish(),
            DQT => return Err(PixelError::Lossy("it is quantized")),
            0xE0..=0xFE => drop(stream.segment()?),
            _ => return Err(PixelError::Unsupported("a marker of another process")),
        }
    }
}

struct Decoder<'a> {
    frame: Frame<'a>,
    tables: [Option<Table>; 4],
    /// In pixels; 0: none.
    restart_interval: usize,
}

struct Scan {
    /// Which component, with which table.
    components: Vec<(usize, usize)>,
    predictor: u8,
}

impl Decoder<'_> {
    /// ISO/IEC 10918-1 §B.2.4.2.
    fn huffman_tables(&mut self, mut segment: &[u8]) -> Result<(), PixelError> {
        const BROKEN: PixelError = PixelError::Broken("a Huffman table");
        while let Some((destination, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(BROKEN)?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(BROKEN)?;
            // Tables of class 1 are for AC coefficients, which a lossless process has not.
            let place = self.tables.get_mut(usize::from(*destination)).ok_or(BROKEN)?;
            *place = Some(Table::new(counts, symbols).ok_or(BROKEN)?);
            segment = rest;
        }
        Ok(())
    }

    /// ISO/IEC 10918-1 §B.2.3, Table B.3.
    fn scan_header(&self, segment: &[u8]) -> Result<Scan, PixelError> {
        let (selectors, parameters) = scan_header(segment)?;
        let [predictor @ 1..=7, _, transform] = parameters else {
            return Err(BROKEN_SCAN);
        };
        if transform & 0x0F != 0 {
            return Err(PixelError::Lossy("it has a point transform"));
        }
        let mut components = Vec::new();
        for selector in selectors.chunks_exact(2) {
            let [id, table] = selector else { continue };
            components.push((self.frame.component(*id)?, usize::from(table >> 4)));
        }
        if components.is_empty() {
            return Err(BROKEN_SCAN);
        }
        Ok(Scan { components, predictor })
    }

    /// Decodes a scan (§H.2); gives how many bytes it has.
    fn scan(&mut self, scan: &Scan, bytes: &[u8]) -> Result<usize, PixelError> {
        const NO_TABLE: PixelError = PixelError::Broken("a Huffman table that is not there is used");
        let mut lanes = Vec::new();
        for (component, table) in &scan.components {
            self.frame.bring(*component)?;
            let table = self.tables.get(*table).and_then(Option::as_ref).ok_or(NO_TABLE)?;
            lanes.push((*component, table));
        }
        let (columns, samples) = (self.frame.image.columns, self.frame.image.samples);
        let rows_each = match self.restart_interval {
            0 => self.frame.image.rows,
            interval if interval.is_multiple_of(columns) => interval / columns,
            _ => return Err(PixelError::Unsupported("restarts within a row")),
        };
        let row_len = columns * samples;
        let mut taken = 0;
        let precision = self.frame.precision;
        let last = self.frame.image.rows.div_ceil(rows_each) - 1;
        let intervals = self.frame.values.chunks_mut(rows_each * row_len);
        for (number, interval) in intervals.enumerate() {
            let mut bits = Bits::new(bytes.get(taken..).unwrap_or_default(), Stuffing::Byte);
            let decoding = Interval {
                precision,
                predictor: scan.predictor,
                row_len,
                samples,
            };
            decoding.decode(interval, &lanes, &mut bits)?;
            taken += bits.end()?;
            if number < last {
                let mut restart = Stream::new(bytes.get(taken..).unwrap_or_default());
                let expected = 0xD0 + u8::try_from(number % 8).expect("less than 8");
                if restart.marker()? != expected {
                    return Err(PixelError::Broken("a restart is missing"));
                }
                taken += restart.at;
            }
        }
        Ok(taken)
    }
}

/// Rows from one restart to the next.
struct Interval {
    precision: u32,
    predictor: u8,
    row_len: usize,
    samples: usize,
}

impl Interval {
    fn decode(&self, values: &mut [u16], lanes: &[(usize, &Table)], bits: &mut Bits<'_>) -> Result<(), PixelError> {
        let max = u16::MAX >> (16 - self.precision);
        for at in (0..values.len()).step_by(self.samples) {
            for (component, table) in lanes {
                let at = at + component;
                let difference = table.difference(bits)?;
                let value = self.prediction(values, at).wrapping_add(difference);
                if value > max {
                    return Err(PixelError::Broken("a pixel is larger than its precision"));
                }
                if let Some(place) = values.get_mut(at) {
                    *place = value;
                }
            }
        }
        Ok(())
    }

    /// §H.1.2.1 and Table H.1: differences are modulo 2^16, so predictions may be too.
    fn prediction(&self, values: &[u16], at: usize) -> u16 {
        let value = |at: usize| values.get(at).copied().unwrap_or_default();
        let (is_first_row, is_first_column) = (at < self.row_len, at % self.row_len < self.samples);
        match (is_first_row, is_first_column) {
            (true, true) => return 1 << (self.precision - 1),
            (true, false) => return value(at - self.samples),
            (false, true) => return value(at - self.row_len),
            (false, false) => {}
        }
        let a = i32::from(value(at - self.samples));
        let b = i32::from(value(at - self.row_len));
        let c = i32::from(value(at - self.row_len - self.samples));
        let prediction = match self.predictor {
            1 => a,
            2 => b,
            3 => c,
            4 => a + b - c,
            5 => a + ((b - c) >> 1),
            6 => b + ((a - c) >> 1),
            _ => (a + b) >> 1,
        };
        low(prediction)
    }
}

/// The lowest 16 bits.
const fn low(number: i32) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// A Huffman table as what each 16 bits begin with: the code's length (0: no code) and its symbol.
struct Table(Box<[(u8, u8)]>);

impl Table {
    /// Annex C. `None`: more codes than there are, or a symbol that is no category of Table H.2.
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut entries = vec![(0, 0); 1 << 16];
        let (mut next, mut symbols) = (0_usize, symbols.iter());
        for (count, len) in counts.iter().zip(1_u8..) {
            for _ in 0..*count {
                let symbol = *symbols.next().filter(|symbol| **symbol <= 16)?;
                let span = 1 << (16 - len);
                entries.get_mut(next..next + span)?.fill((len, symbol));
                next += span;
            }
        }
        Some(Self(entries.into()))
    }

    /// §H.1.2.2: a difference modulo 2^16.
    fn difference(&self, bits: &mut Bits<'_>) -> Result<u16, PixelError> {
        let (len, category) = self.0.get(bits.peek16()).copied().unwrap_or_default();
        if len == 0 {
            return Err(PixelError::Broken("a code that its Huffman table has not"));
        }
        bits.take(u32::from(len))?;
        let category = u32::from(category);
        if category == 16 {
            return Ok(0x8000);
        }
        let extra = i32::try_from(bits.read(category)?).unwrap_or_default();
        let is_negative = category > 0 && extra < 1 << (category - 1);
        Ok(low(if is_negative {
            extra + 1 - (1 << category)
        } else {
            extra
        }))
    }
}
