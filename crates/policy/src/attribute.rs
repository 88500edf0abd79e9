//! The header attributes that rules can ask for.

use std::fmt;

use packhorse_dicom::header::Header;

/// An attribute by its keyword (PS3.6): those that the header scan keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// (0008,0008)
    ImageType,
    /// (0008,0018)
    SopInstanceUid,
    /// (0008,0020)
    StudyDate,
    /// (0008,0030)
    StudyTime,
    /// (0008,0050)
    AccessionNumber,
    /// (0008,0060)
    Modality,
    /// (0008,0070)
    Manufacturer,
    /// (0008,0080)
    InstitutionName,
    /// (0008,1010)
    StationName,
    /// (0008,1030)
    StudyDescription,
    /// (0008,103E)
    SeriesDescription,
    /// (0010,0010)
    PatientName,
    /// (0010,0020)
    PatientId,
    /// (0010,0021)
    IssuerOfPatientId,
    /// (0018,0015)
    BodyPartExamined,
    /// (0020,000D)
    StudyInstanceUid,
    /// (0020,000E)
    SeriesInstanceUid,
}

impl Attribute {
    /// All of them with their keywords.
    pub const KEYWORDS: [(Self, &'static str); 17] = [
        (Self::ImageType, "ImageType"),
        (Self::SopInstanceUid, "SOPInstanceUID"),
        (Self::StudyDate, "StudyDate"),
        (Self::StudyTime, "StudyTime"),
        (Self::AccessionNumber, "AccessionNumber"),
        (Self::Modality, "Modality"),
        (Self::Manufacturer, "Manufacturer"),
        (Self::InstitutionName, "InstitutionName"),
        (Self::StationName, "StationName"),
        (Self::StudyDescription, "StudyDescription"),
        (Self::SeriesDescription, "SeriesDescription"),
        (Self::PatientName, "PatientName"),
        (Self::PatientId, "PatientID"),
        (Self::IssuerOfPatientId, "IssuerOfPatientID"),
        (Self::BodyPartExamined, "BodyPartExamined"),
        (Self::StudyInstanceUid, "StudyInstanceUID"),
        (Self::SeriesInstanceUid, "SeriesInstanceUID"),
    ];

    /// The one with this keyword.
    #[must_use]
    pub fn by_keyword(keyword: &str) -> Option<Self> {
        let mut all = Self::KEYWORDS.iter();
        all.find(|(_, name)| *name == keyword).map(|(attribute, _)| *attribute)
    }

    /// Its keyword.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        let mut all = Self::KEYWORDS.iter();
        all.find(|(attribute, _)| *attribute == self)
            .map_or("", |(_, name)| name)
    }

    /// Its value in a scanned header, as raw bytes. `None`: absent or empty.
    #[must_use]
    pub fn value(self, header: &Header) -> Option<&[u8]> {
        let value = match self {
            Self::ImageType => &header.image_type,
            Self::SopInstanceUid => &header.sop_instance_uid,
            Self::StudyDate => &header.study_date,
            Self::StudyTime => &header.study_time,
            Self::AccessionNumber => &header.accession_number,
            Self::Modality => &header.modality,
            Self::Manufacturer => &header.manufacturer,
            Self::InstitutionName => &header.institution_name,
            Self::StationName => &header.station_name,
            Self::StudyDescription => &header.study_description,
            Self::SeriesDescription => &header.series_description,
            Self::PatientName => &header.patient_name,
            Self::PatientId => &header.patient_id,
            Self::IssuerOfPatientId => &header.issuer_of_patient_id,
            Self::BodyPartExamined => &header.body_part_examined,
            Self::StudyInstanceUid => &header.study_instance_uid,
            Self::SeriesInstanceUid => &header.series_instance_uid,
        };
        value.as_deref()
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// Decoded values of those attributes that rules ask for ([`Engine::attributes`](crate::Engine::attributes)). What is not
/// in it is absent, which is like empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderValues(Vec<(Attribute, Box<str>)>);

impl HeaderValues {
    /// Puts in the value of an attribute, decoded by the data set's Specific Character Set and without padding.
    pub fn insert(&mut self, attribute: Attribute, value: &str) {
        self.0.retain(|(other, _)| *other != attribute);
        self.0.push((attribute, value.into()));
    }

    /// The `wanted` attributes of a scanned header. `decode` gets the attribute and its raw bytes.
    pub fn of(header: &Header, wanted: &[Attribute], decode: impl Fn(Attribute, &[u8]) -> String) -> Self {
        let mut values = Self::default();
        for attribute in wanted {
            if let Some(value) = attribute.value(header) {
                values.insert(*attribute, &decode(*attribute, value));
            }
        }
        values
    }

    /// The value; empty when absent.
    #[must_use]
    pub fn value(&self, attribute: Attribute) -> &str {
        let mut all = self.0.iter();
        all.find(|(other, _)| *other == attribute)
            .map_or("", |(_, value)| value)
    }
}

/// No values: they are a patient's.
impl fmt::Debug for HeaderValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderValues").finish_non_exhaustive()
    }
}
