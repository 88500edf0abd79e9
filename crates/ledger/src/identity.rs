//! The attributes by which people find a study.

use std::fmt;

use packhorse_dicom::header::Header;
use serde::{Deserialize, Serialize};

use crate::charset::{ValueKind, decode};

/// Decoded text of the identifying attributes; empty: absent, or not kept. Printable, and never in a log.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Patient ID (0010,0020).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub patient_id: String,
    /// Issuer of Patient ID (0010,0021).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer_of_patient_id: String,
    /// Patient's Name (0010,0010).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub patient_name: String,
    /// Accession Number (0008,0050).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub accession_number: String,
    /// Study Date (0008,0020), as it is written: `20261124`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub study_date: String,
    /// Study Time (0008,0030), as it is written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub study_time: String,
    /// Study Description (0008,1030).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub study_description: String,
    /// Institution Name (0008,0080).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub institution_name: String,
}

/// How much of it is kept (`ledger_identity`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityLevel {
    /// All.
    #[default]
    Full,
    /// Accession number, date and time only.
    Accession,
    /// Nothing.
    None,
}

impl Identity {
    /// What a scanned header says, by its Specific Character Set. Wrong bytes are escaped, never an error.
    #[must_use]
    pub fn from_header(header: &Header, level: IdentityLevel) -> Self {
        let character_set = header.specific_character_set.as_deref();
        let read = |value: &Option<Box<[u8]>>, kind| {
            value
                .as_deref()
                .map_or_else(String::new, |value| decode(character_set, value, kind))
        };
        let text = |value| read(value, ValueKind::Text);
        let accession = Self {
            accession_number: text(&header.accession_number),
            study_date: text(&header.study_date),
            study_time: text(&header.study_time),
            ..Self::default()
        };
        match level {
            IdentityLevel::None => Self::default(),
            IdentityLevel::Accession => accession,
            IdentityLevel::Full => Self {
                patient_id: text(&header.patient_id),
                issuer_of_patient_id: text(&header.issuer_of_patient_id),
                patient_name: read(&header.patient_name, ValueKind::Name),
                study_description: text(&header.study_description),
                institution_name: text(&header.institution_name),
                ..accession
            },
        }
    }
}

/// The value of a UID or code element as text, for a fact: printable, without padding; `None` when nothing is left.
#[must_use]
pub fn printable(value: Option<&[u8]>) -> Option<String> {
    let text = decode(None, value?, ValueKind::Text);
    (!text.is_empty()).then_some(text)
}

/// A value of a scanned header as text, by the header's Specific Character Set and without padding; `is_name` for VR PN.
/// Wrong bytes are escaped, never an error.
#[must_use]
pub fn text(header: &Header, value: &[u8], is_name: bool) -> String {
    let kind = if is_name { ValueKind::Name } else { ValueKind::Text };
    decode(header.specific_character_set.as_deref(), value, kind)
}

/// No values: they are a patient's.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            specific_character_set: Some(b"ISO_IR 100".as_slice().into()),
            patient_name: Some(b"M\xFCller^Eva ".as_slice().into()),
            patient_id: Some(b"4711".as_slice().into()),
            accession_number: Some(b"A1 ".as_slice().into()),
            ..Header::default()
        }
    }

    #[test]
    fn values_are_decoded_by_the_character_set() {
        let identity = Identity::from_header(&header(), IdentityLevel::Full);
        assert_eq!(
            (identity.patient_name.as_str(), identity.patient_id.as_str()),
            ("Müller^Eva", "4711")
        );
        assert_eq!(identity.accession_number, "A1");
    }

    #[test]
    fn what_shall_not_be_kept_is_not_kept() {
        let identity = Identity::from_header(&header(), IdentityLevel::Accession);
        assert_eq!(
            identity,
            Identity {
                accession_number: "A1".to_owned(),
                ..Identity::default()
            }
        );
        assert_eq!(
            Identity::from_header(&header(), IdentityLevel::None),
            Identity::default()
        );
    }

    #[test]
    fn debug_output_shows_no_patient() {
        let identity = Identity::from_header(&header(), IdentityLevel::Full);
        assert_eq!(format!("{identity:?}"), "Identity { .. }");
    }

    #[test]
    fn uids_are_printable_text() {
        assert_eq!(printable(Some(b"1.2.3\0")).as_deref(), Some("1.2.3"));
        assert_eq!(printable(Some(b" \0")), None);
        assert_eq!(printable(None), None);
    }
}
