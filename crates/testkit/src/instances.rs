//! Small valid SOP instances, made and never recorded from anybody. The same seed gives the same bytes and UIDs.

mod data_set;
mod large;
#[cfg(test)]
mod tests;

use std::fmt;

use packhorse_dicom::part10;
use packhorse_dicom::sop_class::RAW_DATA_STORAGE;
use packhorse_dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use packhorse_dicom::uid::{SeriesInstanceUid, SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntaxUid};

pub use data_set::{DataSet, Writing};
pub use large::LargeInstance;

/// CT Image Storage.
pub const CT_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Secondary Capture Image Storage.
pub const SECONDARY_CAPTURE_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.7";
/// X-Ray Radiation Dose SR Storage.
pub const XRAY_RADIATION_DOSE_SR_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.88.67";

/// A SOP instance: what a C-STORE needs, and the data set as it goes over the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Instance {
    /// SOP class, in the data set too.
    pub sop_class_uid: SopClassUid,
    /// SOP instance, in the data set too.
    pub sop_instance_uid: SopInstanceUid,
    /// Study, in the data set too.
    pub study_instance_uid: StudyInstanceUid,
    /// Series, in the data set too.
    pub series_instance_uid: SeriesInstanceUid,
    /// How the data set is written.
    pub transfer_syntax: TransferSyntaxUid,
    /// The data set, without file meta information.
    pub dataset: Vec<u8>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("sop_class_uid", &self.sop_class_uid)
            .field("sop_instance_uid", &self.sop_instance_uid)
            .field("dataset_len", &self.dataset.len())
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// The instance as a file (PS3.10).
    #[must_use]
    pub fn to_part10(&self) -> Vec<u8> {
        let mut file = part10::write_file_meta(&self.sop_class_uid, &self.sop_instance_uid, &self.transfer_syntax);
        file.extend_from_slice(&self.dataset);
        file
    }

    /// The same instance in Deflated Explicit VR Little Endian.
    ///
    /// # Panics
    /// When it is not written in Explicit VR Little Endian.
    #[must_use]
    pub fn deflated(mut self) -> Self {
        assert_eq!(
            self.transfer_syntax.as_str(),
            EXPLICIT_VR_LE,
            "what is deflated (PS3.5 §A.5)"
        );
        self.transfer_syntax = TransferSyntaxUid::try_from(DEFLATED_EXPLICIT_VR_LE).expect("a UID of the standard");
        self.dataset = miniz_oxide::deflate::compress_to_vec(&self.dataset, 6);
        if self.dataset.len() % 2 == 1 {
            self.dataset.push(0);
        }
        self
    }
}

/// Rows and columns of an image of 16-bit pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// (0028,0010)
    pub rows: u16,
    /// (0028,0011)
    pub columns: u16,
}

/// 64 by 64: an instance of about 9 KB.
impl Default for ImageSize {
    fn default() -> Self {
        Self::square(64)
    }
}

impl ImageSize {
    /// As many rows as columns.
    #[must_use]
    pub const fn square(side: u16) -> Self {
        Self {
            rows: side,
            columns: side,
        }
    }
}

/// A study of one patient, from which instances are made.
#[derive(Clone, Debug)]
pub struct Study {
    seed: String,
    writing: Writing,
    declared: Option<u32>,
}

impl Study {
    /// A study whose UIDs, Patient ID and Accession Number all follow from the seed. Written in Explicit VR Little Endian;
    /// declares no number of instances.
    #[must_use]
    pub fn new(seed: &str) -> Self {
        Self {
            seed: seed.to_owned(),
            writing: Writing::Explicit,
            declared: None,
        }
    }

    /// The same study written in Implicit VR Little Endian.
    #[must_use]
    pub const fn implicit(mut self) -> Self {
        self.writing = Writing::Implicit;
        self
    }

    /// The same study written in Explicit VR Big Endian.
    #[must_use]
    pub const fn big_endian(mut self) -> Self {
        self.writing = Writing::BigEndian;
        self
    }

    /// The same study whose instances say that it has so many (Number of Study Related Instances (0020,1208)).
    #[must_use]
    pub const fn declaring(mut self, number_of_study_related_instances: u32) -> Self {
        self.declared = Some(number_of_study_related_instances);
        self
    }

    /// Its Study Instance UID.
    #[must_use]
    pub fn study_instance_uid(&self) -> StudyInstanceUid {
        StudyInstanceUid::try_from(uid(&self.seed).as_str()).expect("made by uid()")
    }

    /// A CT slice with 12 of 16 bits of a smooth image, another one for each number.
    #[must_use]
    pub fn ct_slice(&self, series: u32, number: u32, size: ImageSize) -> Instance {
        let position = number.to_string();
        let data_set = DataSet::default()
            .text(0x0008_0008, b"CS", "ORIGINAL\\PRIMARY\\AXIAL")
            .text(0x0018_0050, b"DS", "1")
            .text(0x0018_0060, b"DS", "120")
            .text(0x0020_0012, b"IS", "1")
            .text(0x0020_0032, b"DS", &format!("0\\0\\{position}"))
            .text(0x0020_0037, b"DS", "1\\0\\0\\0\\1\\0")
            .text(0x0020_0052, b"UI", &uid(&format!("{}/frame", self.seed)))
            .text(0x0020_1040, b"LO", "")
            .text(0x0028_0030, b"DS", "0.5\\0.5")
            .text(0x0028_1052, b"DS", "-1024")
            .text(0x0028_1053, b"DS", "1")
            .image(size, number);
        self.instance(CT_IMAGE_STORAGE, "CT", series, number, data_set)
    }

    /// A secondary capture of a smooth image.
    #[must_use]
    pub fn secondary_capture(&self, series: u32, number: u32, size: ImageSize) -> Instance {
        let data_set = DataSet::default().text(0x0008_0064, b"CS", "WSD").image(size, number);
        self.instance(SECONDARY_CAPTURE_IMAGE_STORAGE, "OT", series, number, data_set)
    }

    /// Raw data: so many bytes in a private element, which no other vendor can read.
    #[must_use]
    pub fn raw_data(&self, series: u32, number: u32, len: usize) -> Instance {
        let even = len.next_multiple_of(2);
        let bytes: Vec<u8> = noise(&format!("{}/raw/{series}/{number}", self.seed))
            .take(even)
            .collect();
        let data_set = DataSet::default()
            .text(0x0008_0023, b"DA", "20240229")
            .text(0x0008_0033, b"TM", "101500")
            .text(0x0008_9123, b"UI", &uid(&format!("{}/creator", self.seed)))
            .text(0x0020_0200, b"UI", &uid(&format!("{}/synchronization", self.seed)))
            .text(0x0020_4000, b"LT", "synthetic raw data")
            .text(0x0029_0010, b"LO", "PACKHORSE TEST")
            .bytes(0x0029_1010, b"OB", bytes);
        self.instance(RAW_DATA_STORAGE, "CT", series, number, data_set)
    }

    /// A dose report: an SR document with one irradiation event.
    #[must_use]
    pub fn dose_sr(&self, series: u32, number: u32) -> Instance {
        let data_set = DataSet::default()
            .text(0x0008_0023, b"DA", "20240229")
            .text(0x0008_0033, b"TM", "101500")
            .sequence(0x0008_1111, vec![])
            .text(0x0040_A491, b"CS", "COMPLETE")
            .text(0x0040_A493, b"CS", "UNVERIFIED")
            .sequence(0x0040_A372, vec![])
            .sequence(0x0040_A504, vec![template("10011")])
            .text(0x0040_A040, b"CS", "CONTAINER")
            .text(0x0040_A050, b"CS", "SEPARATE")
            .sequence(0x0040_A043, vec![code("113701", "DCM", "X-Ray Radiation Dose Report")])
            .sequence(0x0040_A730, vec![procedure_reported(), accumulated_dose()]);
        self.instance(XRAY_RADIATION_DOSE_SR_STORAGE, "SR", series, number, data_set)
    }

    fn instance(&self, class: &str, modality: &str, series: u32, number: u32, own: DataSet) -> Instance {
        let series_uid = uid(&format!("{}/{series}", self.seed));
        let instance_uid = uid(&format!("{}/{series}/{number}", self.seed));
        let dataset = self
            .common(class, modality, series, number)
            .text(0x0020_000E, b"UI", &series_uid)
            .text(0x0008_0018, b"UI", &instance_uid)
            .and(own)
            .encode(self.writing);
        Instance {
            sop_class_uid: SopClassUid::try_from(class).expect("a UID of the standard"),
            sop_instance_uid: SopInstanceUid::try_from(instance_uid.as_str()).expect("made by uid()"),
            study_instance_uid: self.study_instance_uid(),
            series_instance_uid: SeriesInstanceUid::try_from(series_uid.as_str()).expect("made by uid()"),
            transfer_syntax: self.transfer_syntax(),
            dataset,
        }
    }

    fn transfer_syntax(&self) -> TransferSyntaxUid {
        let uid = match self.writing {
            Writing::Explicit => EXPLICIT_VR_LE,
            Writing::Implicit => IMPLICIT_VR_LE,
            Writing::BigEndian => EXPLICIT_VR_BE,
        };
        TransferSyntaxUid::try_from(uid).expect("a UID of the standard")
    }

    /// The patient, study, series and equipment modules, and SOP class.
    fn common(&self, class: &str, modality: &str, series: u32, number: u32) -> DataSet {
        let short = short_number(&self.seed);
        let data_set = DataSet::default()
            .text(0x0008_0005, b"CS", "ISO_IR 192")
            .text(0x0008_0016, b"UI", class)
            .text(0x0008_0020, b"DA", "20240229")
            .text(0x0008_0030, b"TM", "101112")
            .text(0x0008_0050, b"SH", &format!("A{short}"))
            .text(0x0008_0060, b"CS", modality)
            .text(0x0008_0070, b"LO", "Packhorse")
            .text(0x0008_0080, b"LO", "Testspital Zürich")
            .text(0x0008_0090, b"PN", "")
            .text(0x0008_1030, b"LO", "Synthetic study")
            .text(0x0008_1090, b"LO", "testkit")
            .text(0x0010_0010, b"PN", "Müller^Test")
            .text(0x0010_0020, b"LO", &format!("P{short}"))
            .text(0x0010_0030, b"DA", "19700101")
            .text(0x0010_0040, b"CS", "O")
            .text(0x0018_1000, b"LO", "1")
            .text(0x0018_1020, b"LO", "1")
            .text(0x0020_000D, b"UI", self.study_instance_uid().as_str())
            .text(0x0020_0010, b"SH", "1")
            .text(0x0020_0011, b"IS", &series.to_string())
            .text(0x0020_0013, b"IS", &number.to_string());
        match self.declared {
            Some(declared) => data_set.text(0x0020_1208, b"IS", &declared.to_string()),
            None => data_set,
        }
    }
}

/// Two CT slices, one Raw Data instance and one dose report, which all say that the study has four instances.
#[must_use]
pub fn demo_study() -> Vec<Instance> {
    let study = Study::new("demo").declaring(4);
    let size = ImageSize::square(512);
    vec![
        study.ct_slice(1, 1, size),
        study.ct_slice(1, 2, size),
        study.raw_data(2, 1, 256 * 1024),
        study.dose_sr(3, 1),
    ]
}

/// A UID made from a UUID (PS3.5 §B.2), the same for the same seed.
#[must_use]
pub fn uid(seed: &str) -> String {
    let version_8 = hash(seed) & !(0xF << 76) | (8 << 76);
    let variant_1 = version_8 & !(3 << 62) | (2 << 62);
    format!("2.25.{variant_1}")
}

/// FNV-1a of 128 bits: enough to tell test instances apart.
fn hash(seed: &str) -> u128 {
    const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    seed.bytes()
        .fold(OFFSET_BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

fn short_number(seed: &str) -> u128 {
    hash(seed) % 100_000_000
}

/// Bytes that do not compress (xorshift64*).
fn noise(seed: &str) -> impl Iterator<Item = u8> {
    let [.., a, b, c, d, e, f, g, h] = hash(seed).to_le_bytes();
    let mut state = u64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1;
    std::iter::repeat_with(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes()[0]
    })
}

fn code(value: &str, scheme: &str, meaning: &str) -> DataSet {
    DataSet::default()
        .text(0x0008_0100, b"SH", value)
        .text(0x0008_0102, b"SH", scheme)
        .text(0x0008_0104, b"LO", meaning)
}

fn template(number: &str) -> DataSet {
    DataSet::default()
        .text(0x0008_0105, b"CS", "DCMR")
        .text(0x0040_DB00, b"CS", number)
}

fn procedure_reported() -> DataSet {
    DataSet::default()
        .text(0x0040_A010, b"CS", "HAS CONCEPT MOD")
        .text(0x0040_A040, b"CS", "CODE")
        .sequence(0x0040_A043, vec![code("121058", "DCM", "Procedure reported")])
        .sequence(0x0040_A168, vec![code("77477000", "SCT", "Computed Tomography X-Ray")])
}

fn accumulated_dose() -> DataSet {
    let milligray_centimetre = DataSet::default()
        .text(0x0040_A30A, b"DS", "312.5")
        .sequence(0x0040_08EA, vec![code("mGy.cm", "UCUM", "mGy.cm")]);
    let total = DataSet::default()
        .text(0x0040_A010, b"CS", "CONTAINS")
        .text(0x0040_A040, b"CS", "NUM")
        .sequence(0x0040_A043, vec![code("113813", "DCM", "CT Dose Length Product Total")])
        .sequence(0x0040_A300, vec![milligray_centimetre]);
    DataSet::default()
        .text(0x0040_A010, b"CS", "CONTAINS")
        .text(0x0040_A040, b"CS", "CONTAINER")
        .text(0x0040_A050, b"CS", "SEPARATE")
        .sequence(0x0040_A043, vec![code("113811", "DCM", "CT Accumulated Dose Data")])
        .sequence(0x0040_A730, vec![total])
}
