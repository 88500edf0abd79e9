//! SOP classes: the standard's storage classes, and which group any UID is in.

mod services;
mod table;

use std::fmt;
use std::str::FromStr;

use crate::negotiation::CommonExtended;

/// Verification (PS3.4 Annex A): C-ECHO.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Raw Data Storage.
pub const RAW_DATA_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.66";
/// The storage service class in SOP class common extended negotiation (PS3.7 §D.3.3.6, PS3.4 §B.3.1.4).
const STORAGE_SERVICE_CLASS: &str = "1.2.840.10008.4.2";
/// Under this root new storage classes appear with each edition of the standard.
const STORAGE_ROOT: &str = "1.2.840.10008.5.1.4.1.1.";
/// The standard's own root.
const DICOM_ROOT: &str = "1.2.840.10008.";

/// Which group a SOP class is in. Every UID is in exactly one; `retired` is a flag beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Images, single and multi-frame, video and parametric maps.
    Images,
    /// Raw Data Storage.
    RawData,
    /// Structured reports, dose reports and CAD among them.
    StructuredReports,
    /// Presentation states and structured displays.
    PresentationStates,
    /// Key Object Selection documents.
    KeyObjects,
    /// Waveforms and audio.
    Waveforms,
    /// Encapsulated PDF, CDA, STL, OBJ, MTL.
    EncapsulatedDocuments,
    /// RT objects.
    Radiotherapy,
    /// Segmentations.
    Segmentations,
    /// Storage classes of the standard that are none of the above: registrations, fiducials, measurements, protocols.
    Other,
    /// Outside the standard's root.
    Private,
    /// Of the standard's storage by its UID or by common extended negotiation, and newer than the table.
    New,
    /// The standard's, and no storage: verification, commitment, procedure steps, query/retrieve, printing.
    Service,
}

impl Group {
    /// All groups with the words that configuration uses.
    pub const NAMES: [(Self, &'static str); 13] = [
        (Self::Images, "images"),
        (Self::RawData, "raw-data"),
        (Self::StructuredReports, "structured-reports"),
        (Self::PresentationStates, "presentation-states"),
        (Self::KeyObjects, "key-objects"),
        (Self::Waveforms, "waveforms"),
        (Self::EncapsulatedDocuments, "encapsulated-documents"),
        (Self::Radiotherapy, "radiotherapy"),
        (Self::Segmentations, "segmentations"),
        (Self::Other, "other"),
        (Self::Private, "private"),
        (Self::New, "new"),
        (Self::Service, "service"),
    ];
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES
            .iter()
            .find(|(group, _)| group == self)
            .map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

/// A text that names no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no group of SOP classes")]
pub struct UnknownGroup;

impl FromStr for Group {
    type Err = UnknownGroup;

    fn from_str(text: &str) -> Result<Self, UnknownGroup> {
        Self::NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(group, _)| *group)
            .ok_or(UnknownGroup)
    }
}

/// A storage SOP class of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SopClass {
    /// Its UID.
    pub uid: &'static str,
    /// Its keyword (PS3.6 Table A-1): `CTImageStorage`.
    pub keyword: &'static str,
    /// Its name: `CT Image Storage`.
    pub name: &'static str,
    /// Its group.
    pub group: Group,
    /// Whether the standard has retired it. Archives are full of them.
    pub retired: bool,
}

/// What is known of a SOP class by its UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its group.
    pub group: Group,
    /// Whether the standard has retired it; `false` when unknown.
    pub retired: bool,
    /// Its row, when it is one of the standard's storage classes that this version knows.
    pub known: Option<&'static SopClass>,
}

/// The standard's storage classes, retired ones included, sorted by UID.
#[must_use]
pub const fn storage() -> &'static [SopClass] {
    table::STORAGE
}

/// The storage class with this UID; `None` when it is none that this version knows.
#[must_use]
pub fn by_uid(uid: &str) -> Option<&'static SopClass> {
    let found = table::STORAGE.binary_search_by(|class| class.uid.cmp(uid)).ok()?;
    table::STORAGE.get(found)
}

/// The storage class with this keyword.
#[must_use]
pub fn by_keyword(keyword: &str) -> Option<&'static SopClass> {
    table::STORAGE.iter().find(|class| class.keyword == keyword)
}

/// The name of one of the standard's classes that is no storage, Verification among them.
fn service_name(uid: &str) -> Option<&'static str> {
    let found = services::SERVICES
        .binary_search_by(|(service, _)| (*service).cmp(uid))
        .ok()?;
    services::SERVICES.get(found).map(|(_, name)| *name)
}

/// Group and flags of any UID, total: `common_extended` is what the requestor said of its classes' services. What this
/// version knows to be another service stays one, whatever is said.
#[must_use]
pub fn classify(uid: &str, common_extended: &[CommonExtended]) -> Class {
    let known = by_uid(uid);
    let said_to_be_storage = || {
        common_extended
            .iter()
            .any(|said| said.abstract_syntax.as_str() == uid && &*said.service_class == STORAGE_SERVICE_CLASS)
    };
    let group = match known {
        Some(class) => class.group,
        None if service_name(uid).is_some() => Group::Service,
        None if uid.starts_with(STORAGE_ROOT) || said_to_be_storage() => Group::New,
        None if uid.starts_with(DICOM_ROOT) => Group::Service,
        None => Group::Private,
    };
    Class {
        group,
        retired: known.is_some_and(|class| class.retired),
        known,
    }
}

/// What to call a class where people read it: its name, or the UID itself when it has none here.
#[must_use]
pub fn name_of(uid: &str) -> &str {
    match by_uid(uid) {
        Some(class) => class.name,
        None => service_name(uid).unwrap_or(uid),
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::dictionary::UidDictionary;
    use dicom_dictionary_std::StandardSopClassDictionary;

    use super::*;
    use crate::uid::AbstractSyntaxUid;

    #[test]
    fn services_are_in_the_standards_dictionary_and_not_in_the_storage_table() {
        assert!(services::SERVICES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        // The dictionary lists meta SOP classes elsewhere.
        let (meta, single): (Vec<_>, Vec<_>) = services::SERVICES.iter().partition(|(_, name)| name.ends_with(" Meta"));
        assert_eq!(meta.len(), 9);
        for (uid, name) in single {
            let entry = StandardSopClassDictionary
                .by_uid(uid)
                .unwrap_or_else(|| panic!("{uid}"));
            assert!(entry.name.starts_with(name.trim_end_matches(" - Trial")), "{name}");
            assert_eq!(by_uid(uid), None);
        }
    }

    /// Media Storage Directory Storage lives on media only (PS3.4 Annex I): nobody can send a DICOMDIR.
    const MEDIA_ONLY: &str = "1.2.840.10008.1.3.10";

    #[test]
    fn every_row_is_in_the_standards_dictionary_under_its_keyword() {
        for class in storage() {
            let entry = StandardSopClassDictionary
                .by_uid(class.uid)
                .unwrap_or_else(|| panic!("{}", class.uid));
            assert_eq!(entry.alias, class.keyword);
            assert_eq!(entry.retired, class.retired, "{}", class.keyword);
            let name = entry.name.trim_end_matches(" (Retired)").trim_end_matches(" SOP Class");
            assert_eq!(name, class.name);
        }
    }

    /// The dictionary cannot be listed, so every UID of the forms that storage classes have is looked up in it.
    #[test]
    fn every_storage_class_of_the_standards_dictionary_is_in_the_table() {
        let mut found = 0;
        let mut check = |uid: &str| {
            if StandardSopClassDictionary.by_uid(uid).is_some() {
                let listed = by_uid(uid).is_some();
                assert!(listed || service_name(uid).is_some(), "{uid} is missing");
                found += usize::from(listed);
            }
        };
        for a in 0..700 {
            check(&format!("{STORAGE_ROOT}{a}"));
            for b in 0..=120 {
                check(&format!("{STORAGE_ROOT}{a}.{b}"));
            }
        }
        for (a, b, c) in (0..=600).flat_map(|a| (0..=100).flat_map(move |b| (0..=9).map(move |c| (a, b, c)))) {
            check(&format!("{STORAGE_ROOT}{a}.{b}.{c}"));
        }
        for (b, c, d) in (0..=9).flat_map(|b| (0..=9).flat_map(move |c| (0..=19).map(move |d| (b, c, d)))) {
            check(&format!("{STORAGE_ROOT}77.{b}.{c}.{d}"));
        }
        let outside = storage()
            .iter()
            .filter(|class| !class.uid.starts_with(STORAGE_ROOT))
            .count();
        assert_eq!(found + outside, storage().len());
    }

    /// Outside the storage root the standard's text decides (PS3.4 Table B.5-1, Annex GG, retired print annexes), not the
    /// word; but a class with the word that is not in the table must be named here.
    #[test]
    fn storage_classes_outside_the_storage_root_are_all_in_the_table() {
        let mut unlisted = Vec::new();
        for root in ["1.2.840.10008.1", "1.2.840.10008.5.1.1", "1.2.840.10008.5.1.4"] {
            for (a, b) in (0..=99).flat_map(|a| (0..=19).map(move |b| (a, b))) {
                for uid in [format!("{root}.{a}"), format!("{root}.{a}.{b}")] {
                    let stored = StandardSopClassDictionary
                        .by_uid(&uid)
                        .is_some_and(|entry| entry.alias.contains("Storage") && !entry.alias.contains("Commitment"));
                    if stored && by_uid(&uid).is_none() {
                        unlisted.push(uid);
                    }
                }
            }
        }
        assert_eq!(unlisted, [MEDIA_ONLY]);
        assert_eq!(classify(MEDIA_ONLY, &[]).group, Group::Service);
    }

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(storage().windows(2).all(|pair| pair[0].uid < pair[1].uid));
        let mut keywords: Vec<_> = storage().iter().map(|class| class.keyword).collect();
        keywords.sort_unstable();
        keywords.dedup();
        assert_eq!(keywords.len(), storage().len());
    }

    #[test]
    fn classes_that_are_no_storage_stay_out_of_the_table_though_their_uids_look_like_it() {
        for rest in ["200.4", "200.5", "200.6", "201.2", "201.3", "201.4", "201.5", "201.6"] {
            let class = classify(&format!("{STORAGE_ROOT}{rest}"), &[]);
            assert_eq!((class.group, class.known), (Group::Service, None));
        }
    }

    #[test]
    fn storage_outside_the_storage_root_is_known() {
        for uid in [
            "1.2.840.10008.5.1.4.34.7",
            "1.2.840.10008.5.1.4.34.10",
            "1.2.840.10008.5.1.4.38.1",
        ] {
            assert!(by_uid(uid).is_some(), "{uid}");
        }
    }

    #[test]
    fn every_uid_is_in_one_group() {
        let group = |uid| classify(uid, &[]).group;
        assert_eq!(group(RAW_DATA_STORAGE), Group::RawData);
        assert_eq!(group("1.2.840.10008.5.1.4.1.1.2"), Group::Images);
        assert_eq!(group("1.2.840.10008.5.1.4.1.1.88.67"), Group::StructuredReports);
        assert_eq!(group("1.2.840.10008.5.1.4.1.1.88.59"), Group::KeyObjects);
        assert_eq!(group("1.2.840.10008.5.1.4.1.1.9999"), Group::New);
        assert_eq!(group("1.2.840.10008.1.20.1"), Group::Service);
        assert_eq!(group("1.2.840.113619.4.30"), Group::Private);
        assert!(classify("1.2.840.10008.5.1.4.1.1.5", &[]).retired);
    }

    #[test]
    fn a_requestor_may_say_that_a_class_is_storage() {
        let said = CommonExtended {
            abstract_syntax: AbstractSyntaxUid::try_from("1.2.3").unwrap(),
            service_class: STORAGE_SERVICE_CLASS.into(),
            related_general: Vec::new(),
        };
        assert_eq!(classify("1.2.3", &[said]).group, Group::New);
        assert_eq!(classify("1.2.3", &[]).group, Group::Private);
        let commitment = CommonExtended {
            abstract_syntax: AbstractSyntaxUid::try_from("1.2.840.10008.1.20.1").unwrap(),
            service_class: STORAGE_SERVICE_CLASS.into(),
            related_general: Vec::new(),
        };
        assert_eq!(classify("1.2.840.10008.1.20.1", &[commitment]).group, Group::Service);
    }

    #[test]
    fn names_are_for_people() {
        assert_eq!(name_of(RAW_DATA_STORAGE), "Raw Data Storage");
        assert_eq!(name_of(VERIFICATION), "Verification");
        assert_eq!(name_of("1.2.840.10008.1.20.1"), "Storage Commitment Push Model");
        assert_eq!(name_of("1.2.3"), "1.2.3");
    }

    #[test]
    fn group_names_read_back() {
        for (group, name) in Group::NAMES {
            assert_eq!(name.parse(), Ok(group));
            assert_eq!(group.to_string(), name);
        }
    }
}
