//! A bounded scan of a data set up to its pixels: the few attributes the ledger and instance rules need, and where native
//! Pixel Data lies.
//!
//! Bytes come in pieces of any size. Nothing is kept but the named attributes, each cut at [`VALUE_LEN_MAX`] bytes; other
//! values are skipped by their length, however long, and no length is ever allocated. Nesting is kept on a stack of at
//! most 256 levels, not recursed. The scan ends at Pixel Data or behind where it would be, or where the bytes make
//! no sense: a strange data set is carried all the same, only less is known of it.
//!
//! A deflated data set is inflated as far as (0020,1208), out of at most [`DEFLATED_LEN_MAX`] bytes to at most
//! [`INFLATED_LEN_MAX`], in 43 KiB of memory.
//!
//! Real data sets are not always written as their transfer syntax says. An element without a VR among those with one is
//! read as Implicit VR, and a data set said to be implicit whose first element has a VR is read as explicit.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod element;
mod elements;
mod inflate;
mod pixel_data;

use std::fmt;

use crate::transfer_syntax::Encoding;

use elements::Elements;
use inflate::Inflater;
use pixel_data::integer_string;

pub use inflate::{DEFLATED_LEN_MAX, INFLATED_LEN_MAX};
pub use pixel_data::{PixelData, PixelDataKind, PixelsPlace};

/// Bytes kept of one value; longer ones are cut. A person name of three component groups has at most 194 characters.
pub const VALUE_LEN_MAX: usize = 256;
/// Number of Study Related Instances: the last attribute the ledger keeps.
const NUMBER_OF_STUDY_RELATED_INSTANCES: u32 = 0x0020_1208;

/// What the scan found. Values are raw bytes with their padding; `None` when absent (or empty).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// (0008,0016)
    pub sop_class_uid: Option<Box<[u8]>>,
    /// (0008,0018)
    pub sop_instance_uid: Option<Box<[u8]>>,
    /// (0020,000D)
    pub study_instance_uid: Option<Box<[u8]>>,
    /// (0020,000E)
    pub series_instance_uid: Option<Box<[u8]>>,
    /// (0008,0005)
    pub specific_character_set: Option<Box<[u8]>>,
    /// (0008,0020)
    pub study_date: Option<Box<[u8]>>,
    /// (0008,0030)
    pub study_time: Option<Box<[u8]>>,
    /// (0008,0050)
    pub accession_number: Option<Box<[u8]>>,
    /// (0008,0060)
    pub modality: Option<Box<[u8]>>,
    /// (0008,0080)
    pub institution_name: Option<Box<[u8]>>,
    /// (0008,1030)
    pub study_description: Option<Box<[u8]>>,
    /// (0010,0010)
    pub patient_name: Option<Box<[u8]>>,
    /// (0010,0020)
    pub patient_id: Option<Box<[u8]>>,
    /// (0010,0021)
    pub issuer_of_patient_id: Option<Box<[u8]>>,
    /// (0008,0008)
    pub image_type: Option<Box<[u8]>>,
    /// (0008,0070)
    pub manufacturer: Option<Box<[u8]>>,
    /// (0008,1010)
    pub station_name: Option<Box<[u8]>>,
    /// (0008,103E)
    pub series_description: Option<Box<[u8]>>,
    /// (0018,0015)
    pub body_part_examined: Option<Box<[u8]>>,
    /// (0020,1208), the number its text says.
    pub number_of_study_related_instances: Option<u32>,
    /// Where native Pixel Data lies. `None` when there is none, when it is encapsulated, and in a deflated data set, whose
    /// pixels are not in the bytes as they came.
    pub pixel_data: Option<PixelData>,
    /// How the scan ended.
    pub outcome: ScanOutcome,
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScanOutcome {
    /// Everything that is looked for has been passed: at Pixel Data, at an element behind it, or at the data set's end,
    /// between two elements.
    Complete,
    /// At the end of the bytes, within an element or a sequence; a value that is not whole is not reported.
    #[default]
    EndOfData,
    /// At bytes that make no sense.
    Malformed {
        /// Where the element begins that makes none, in bytes from the data set's beginning. In a deflated one it counts
        /// inflated bytes, and may be where they cannot be inflated further.
        offset: u64,
    },
    /// At [`DEFLATED_LEN_MAX`] bytes of a deflated data set, or [`INFLATED_LEN_MAX`] inflated ones.
    TooMuchDeflated,
}

/// No values: they are a patient's.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl Header {
    fn place(&mut self, tag: u32) -> Option<&mut Option<Box<[u8]>>> {
        Some(match tag {
            0x0008_0005 => &mut self.specific_character_set,
            0x0008_0008 => &mut self.image_type,
            0x0008_0016 => &mut self.sop_class_uid,
            0x0008_0018 => &mut self.sop_instance_uid,
            0x0008_0020 => &mut self.study_date,
            0x0008_0030 => &mut self.study_time,
            0x0008_0050 => &mut self.accession_number,
            0x0008_0060 => &mut self.modality,
            0x0008_0070 => &mut self.manufacturer,
            0x0008_0080 => &mut self.institution_name,
            0x0008_1010 => &mut self.station_name,
            0x0008_1030 => &mut self.study_description,
            0x0008_103E => &mut self.series_description,
            0x0010_0010 => &mut self.patient_name,
            0x0010_0020 => &mut self.patient_id,
            0x0010_0021 => &mut self.issuer_of_patient_id,
            0x0018_0015 => &mut self.body_part_examined,
            0x0020_000D => &mut self.study_instance_uid,
            0x0020_000E => &mut self.series_instance_uid,
            _ => return None,
        })
    }

    fn keeps(&mut self, tag: u32) -> bool {
        tag == NUMBER_OF_STUDY_RELATED_INSTANCES || self.place(tag).is_some()
    }

    fn keep(&mut self, tag: u32, value: &[u8]) {
        if tag == NUMBER_OF_STUDY_RELATED_INSTANCES {
            self.number_of_study_related_instances = integer_string(value).ok();
        } else if let Some(place) = self.place(tag)
            && !value.is_empty()
        {
            *place = Some(value.into());
        }
    }
}

/// The scan. See the module's documentation.
pub struct HeaderScan {
    elements: Elements,
    /// `None` unless the data set is deflated.
    inflater: Option<Box<Inflater>>,
}

impl fmt::Debug for HeaderScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderScan")
            .field("elements", &self.elements)
            .finish_non_exhaustive()
    }
}

impl HeaderScan {
    /// A scan of a data set in this encoding.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        let deflated = encoding == Encoding::Deflated;
        Self {
            elements: Elements::new(encoding),
            inflater: deflated.then(Box::default),
        }
    }

    /// Whether nothing more is looked for. Pushing more then does nothing.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.elements.is_done()
    }

    /// Whether the ledger's attributes have all been passed: only the place of Pixel Data is still looked for.
    #[must_use]
    pub const fn has_passed_identity(&self) -> bool {
        self.elements.has_passed_identity()
    }

    /// Where the pixels lie, once they have been reached; `None` before, without any, and in a deflated data set.
    #[must_use]
    pub const fn pixels(&self) -> Option<PixelsPlace> {
        self.elements.pixels()
    }

    /// The next bytes of the data set.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.inflater {
            None => self.elements.push(bytes),
            Some(inflater) => inflater.push(bytes, &mut self.elements),
        }
        if self.is_done() {
            self.inflater = None;
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Header {
        if self.inflater.is_none() {
            self.elements.end_of_data_set();
        }
        self.elements.into_header()
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
