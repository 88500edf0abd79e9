//! One scan (ISO/IEC 14495-1 Annex A).

use super::context::{Context, RunContext};
use crate::error::PixelError;
use crate::pixels::jpeg_bits::{Bits, Stuffing};

/// Bits of a run's length by the run index (§A.7.1.2).
const J: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15,
];
/// Contexts of the regular mode, by 81·Q1 + 9·Q2 + Q3 once the first that is not 0 is positive.
const CONTEXTS: usize = 365;

/// In which order components come (§A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interleave {
    None,
    Line,
    Sample,
}

/// What the coding is tuned by (§C.2.4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    max: i32,
    thresholds: [i32; 3],
    reset: i32,
    /// Bits of a mapped error that is written as it is.
    qbpp: u32,
    /// Longest code in bits.
    limit: u32,
}

impl Parameters {
    /// Zeros of `preset` are defaults (§C.2.4.1.1.1).
    pub(super) fn new(precision: u32, preset: Option<[u16; 5]>) -> Result<Self, PixelError> {
        const BROKEN: PixelError = PixelError::Broken("preset parameters");
        let [max, t1, t2, t3, reset] = preset.unwrap_or_default().map(i32::from);
        let or = |value: i32, default: i32| if value == 0 { default } else { value };
        let largest = (1 << precision) - 1;
        let max = or(max, largest);
        let clamped = |value: i32, least: i32| if value > max || value < least { least } else { value };
        let defaults = if max >= 128 {
            let factor = (max.min(4095) + 128) >> 8;
            let t1 = clamped(factor + 2, 1);
            let t2 = clamped(factor * 4 + 3, t1);
            [t1, t2, clamped(factor * 17 + 4, t2)]
        } else {
            let factor = 256 / (max + 1);
            let t1 = clamped((3 / factor).max(2), 1);
            let t2 = clamped((7 / factor).max(3), t1);
            [t1, t2, clamped((21 / factor).max(4), t2)]
        };
        let thresholds = [or(t1, defaults[0]), or(t2, defaults[1]), or(t3, defaults[2])];
        let reset = or(reset, 64);
        let is_ordered = 1 <= thresholds[0] && thresholds.is_sorted() && thresholds[2] <= max;
        if max > largest || max < 1 || !is_ordered || reset < 3 {
            return Err(BROKEN);
        }
        let bits = i32::BITS - max.leading_zeros();
        let bpp = bits.max(2);
        Ok(Self {
            max,
            thresholds,
            reset,
            qbpp: bits,
            limit: 2 * (bpp + bpp.max(8)),
        })
    }

    fn quantized(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let size = gradient.abs();
        let level = match size {
            0 => 0,
            _ if size < t1 => 1,
            _ if size < t2 => 2,
            _ if size < t3 => 3,
            _ => 4,
        };
        level * gradient.signum()
    }

    /// A prediction with an error, modulo the range (§A.4.5).
    fn reconstructed(&self, value: i32) -> Result<u16, PixelError> {
        let range = self.max + 1;
        let value = match value {
            _ if value < 0 => value + range,
            _ if value > self.max => value - range,
            _ => value,
        };
        let value = u16::try_from(value).ok().filter(|value| i32::from(*value) <= self.max);
        value.ok_or(PixelError::Broken("an error is larger than its range"))
    }

    /// §A.5.3, decoded.
    fn mapped_error(&self, bits: &mut Bits<'_>, k: u32, limit: u32) -> Result<i32, PixelError> {
        let longest = limit.saturating_sub(self.qbpp + 1);
        let zeros = bits.zeros(longest)?;
        let mapped = if zeros < longest {
            (zeros << k) | bits.read(k)?
        } else {
            bits.read(self.qbpp)? + 1
        };
        i32::try_from(mapped).map_err(|_| PixelError::Broken("an error is larger than its range"))
    }
}

/// A scan, and where its components' pixels go.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) parameters: Parameters,
    pub(super) interleave: Interleave,
    pub(super) components: Vec<usize>,
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Of the whole frame.
    pub(super) samples: usize,
}

impl Scan {
    /// Gives how many bytes it has.
    pub(super) fn decode(&self, values: &mut [u16], bytes: &[u8]) -> Result<usize, PixelError> {
        let a = ((self.parameters.max + 1 + 32) >> 6).max(2);
        let mut coder = Coder {
            parameters: self.parameters,
            bits: Bits::new(bytes, Stuffing::Bit),
            contexts: vec![Context::new(a); CONTEXTS],
            runs: [RunContext::new(0, a), RunContext::new(1, a)],
        };
        let mut lines: Vec<_> = self.components.iter().map(|_| Line::new(self.columns)).collect();
        let row_len = self.columns * self.samples;
        for row in values.chunks_exact_mut(row_len).take(self.rows) {
            match self.interleave {
                Interleave::None | Interleave::Line => {
                    for line in &mut lines {
                        line.begin();
                        coder.line(std::slice::from_mut(line), self.columns)?;
                    }
                }
                Interleave::Sample => {
                    lines.iter_mut().for_each(Line::begin);
                    coder.line(&mut lines, self.columns)?;
                }
            }
            for (component, line) in self.components.iter().zip(&lines) {
                let places = row.iter_mut().skip(*component).step_by(self.samples);
                places.zip(line.pixels()).for_each(|(place, value)| *place = *value);
            }
        }
        coder.bits.end()
    }
}

/// A line of one component and the one above, each with a sample before and one behind (§A.2.1).
#[derive(Debug)]
struct Line {
    above: Vec<u16>,
    current: Vec<u16>,
    run_index: usize,
}

/// The causal neighbours of a sample (Figure 3).
struct Neighbours {
    a: i32,
    b: i32,
    c: i32,
    d: i32,
}

impl Line {
    fn new(columns: usize) -> Self {
        Self {
            above: vec![0; columns + 2],
            current: vec![0; columns + 2],
            run_index: 0,
        }
    }

    fn begin(&mut self) {
        std::mem::swap(&mut self.above, &mut self.current);
        let last = self.above.len() - 1;
        self.above[last] = self.above[last - 1];
        self.current[0] = self.above[1];
    }

    fn pixels(&self) -> &[u16] {
        self.current.get(1..self.current.len() - 1).unwrap_or_default()
    }

    /// `column` counts from 1.
    fn neighbours(&self, column: usize) -> Neighbours {
        Neighbours {
            a: i32::from(self.current[column - 1]),
            b: i32::from(self.above[column]),
            c: i32::from(self.above[column - 1]),
            d: i32::from(self.above[column + 1]),
        }
    }
}

struct Coder<'a> {
    parameters: Parameters,
    bits: Bits<'a>,
    contexts: Vec<Context>,
    runs: [RunContext; 2],
}

impl Coder<'_> {
    /// One line of one component, or of all when samples are interleaved: their run is one.
    fn line(&mut self, lines: &mut [Line], columns: usize) -> Result<(), PixelError> {
        let mut column = 1;
        while column <= columns {
            let is_flat = lines.iter().all(|line| {
                let near = line.neighbours(column);
                near.a == near.b && near.b == near.c && near.c == near.d
            });
            if is_flat {
                column = self.run(lines, column, columns)?;
                continue;
            }
            for line in lines.iter_mut() {
                line.current[column] = self.regular(&line.neighbours(column))?;
            }
            column += 1;
        }
        Ok(())
    }

    /// §A.4 to §A.6.
    fn regular(&mut self, near: &Neighbours) -> Result<u16, PixelError> {
        let gradients = [near.d - near.b, near.b - near.c, near.c - near.a];
        let [q1, q2, q3] = gradients.map(|gradient| self.parameters.quantized(gradient));
        let index = 81 * q1 + 9 * q2 + q3;
        let sign = if index < 0 { -1 } else { 1 };
        let place = usize::try_from(index.abs()).unwrap_or_default();
        let context = &mut self.contexts[place];
        let (low, high) = (near.a.min(near.b), near.a.max(near.b));
        let predicted = match near.c {
            c if c >= high => low,
            c if c <= low => high,
            c => near.a + near.b - c,
        };
        let predicted = (predicted + sign * context.c).clamp(0, self.parameters.max);
        let k = context.k();
        let mapped = self.parameters.mapped_error(&mut self.bits, k, self.parameters.limit)?;
        let error = context.unmapped(k, mapped);
        let value = self.parameters.reconstructed(predicted + sign * error)?;
        context.update(error, self.parameters.reset);
        Ok(value)
    }

    /// §A.7: gives the next column.
    fn run(&mut self, lines: &mut [Line], start: usize, columns: usize) -> Result<usize, PixelError> {
        let mut column = start;
        let mut index = lines.first().map_or(0, |line| line.run_index);
        while column <= columns {
            let is_whole = self.bits.read(1)? == 1;
            let left = columns + 1 - column;
            let len = if is_whole {
                let len = 1_usize << J[index];
                if len <= left {
                    index = (index + 1).min(J.len() - 1);
                }
                len.min(left)
            } else {
                let len = self.bits.read(J[index])? as usize;
                if len >= left {
                    return Err(PixelError::Broken("a run is longer than its line"));
                }
                len
            };
            for line in lines.iter_mut() {
                let value = line.current[column - 1];
                line.current[column..column + len].fill(value);
            }
            column += len;
            if !is_whole {
                self.interruption(lines, column, index)?;
                index = index.saturating_sub(1);
                column += 1;
                break;
            }
        }
        lines.iter_mut().for_each(|line| line.run_index = index);
        Ok(column)
    }

    /// §A.7.2. With interleaved samples the neighbours count as different.
    fn interruption(&mut self, lines: &mut [Line], column: usize, index: usize) -> Result<(), PixelError> {
        let is_interleaved = lines.len() > 1;
        for line in lines {
            let near = line.neighbours(column);
            let is_same = near.a == near.b && !is_interleaved;
            let context = &mut self.runs[usize::from(is_same)];
            let limit = self.parameters.limit - J[index] - 1;
            let k = context.k();
            let mapped = self.parameters.mapped_error(&mut self.bits, k, limit)?;
            let error = context.unmapped(k, mapped);
            context.update(error, mapped, self.parameters.reset);
            let value = if is_same {
                near.a + error
            } else {
                let sign = if near.a > near.b { -1 } else { 1 };
                near.b + sign * error
            };
            line.current[column] = self.parameters.reconstructed(value)?;
        }
        Ok(())
    }
}
