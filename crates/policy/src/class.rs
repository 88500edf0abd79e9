//! Which SOP classes a rule is for.

use std::fmt;
use std::str::FromStr;

use packhorse_dicom::sop_class::{self, Class, Group};

use crate::names::nearest;

/// One entry of a rule's `class`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassPattern {
    /// All of a group.
    Group(Group),
    /// All that the standard has retired.
    Retired,
    /// One.
    Uid(Box<str>),
}

/// A UID, keyword or group, or `retired`. The error says what may have been meant.
impl FromStr for ClassPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == RETIRED {
            return Ok(Self::Retired);
        }
        if let Ok(group) = text.parse() {
            return Ok(Self::Group(group));
        }
        if let Some(class) = sop_class::by_keyword(text) {
            return Ok(Self::Uid(class.uid.into()));
        }
        let is_uid = text.contains('.') && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if is_uid && text.len() <= 64 {
            return Ok(Self::Uid(text.into()));
        }
        let groups = Group::NAMES.iter().map(|(_, name)| *name);
        let names = groups.chain(sop_class::storage().iter().map(|class| class.keyword));
        let hint = nearest(text, names)
            .map(|name| format!("; did you mean {name:?}?"))
            .unwrap_or_default();
        Err(format!("{text:?} is no group, keyword or UID of a SOP class{hint}"))
    }
}

impl ClassPattern {
    /// Whether a class is one of these: its UID, and what is known of it.
    #[must_use]
    pub fn matches(&self, uid: &str, class: &Class) -> bool {
        match self {
            Self::Group(group) => class.group == *group,
            Self::Retired => class.retired,
            Self::Uid(wanted) => **wanted == *uid,
        }
    }

    /// Whether every class that it matches is matched by one of these too, whatever a requestor says of its own classes.
    pub(crate) fn is_covered(&self, by: &[Self]) -> bool {
        let covers = |uid: &str, class: &Class| by.iter().any(|pattern| pattern.matches(uid, class));
        let table = || sop_class::storage().iter().map(|known| (known, class_of(known.uid)));
        match self {
            _ if by.contains(self) => true,
            Self::Uid(uid) => {
                let class = class_of(uid);
                // By common extended negotiation a class that the table does not have may become `new`.
                let said = Class {
                    group: Group::New,
                    ..class
                };
                covers(uid, &class) && (class.known.is_some() || covers(uid, &said))
            }
            Self::Group(Group::Private | Group::New | Group::Service) => false,
            Self::Group(group) => table().all(|(known, class)| known.group != *group || covers(known.uid, &class)),
            Self::Retired => table().all(|(known, class)| !known.retired || covers(known.uid, &class)),
        }
    }

    /// Whether it is of the storage service: what a rule without a list of classes is for.
    pub(crate) fn is_storage(&self) -> bool {
        match self {
            Self::Group(group) => *group != Group::Service,
            Self::Retired => true,
            Self::Uid(uid) => class_of(uid).group != Group::Service,
        }
    }

    /// Whether it is for another service that this version knows: that is never carried.
    pub(crate) fn is_other_service(&self) -> bool {
        match self {
            Self::Group(group) => *group == Group::Service,
            Self::Retired => false,
            Self::Uid(uid) => !self.is_storage() && sop_class::name_of(uid) != &**uid,
        }
    }

    /// Whether these match every storage class.
    pub(crate) fn are_all_storage(patterns: &[Self]) -> bool {
        let mut groups = Group::NAMES.iter().map(|(group, _)| *group);
        groups.all(|group| group == Group::Service || Self::Group(group).is_covered(patterns))
    }
}

fn class_of(uid: &str) -> Class {
    sop_class::classify(uid, &[])
}

const RETIRED: &str = "retired";

/// As people read it: a group's word, `retired`, or a class's name.
impl fmt::Display for ClassPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => group.fmt(f),
            Self::Retired => f.write_str(RETIRED),
            Self::Uid(uid) => f.write_str(sop_class::name_of(uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_class_is_reported_with_the_nearest_name() {
        let error = "raw-dta".parse::<ClassPattern>().unwrap_err();
        assert_eq!(
            error,
            "\"raw-dta\" is no group, keyword or UID of a SOP class; did you mean \"raw-data\"?"
        );
        assert!(
            "CTImageStorge"
                .parse::<ClassPattern>()
                .unwrap_err()
                .ends_with("did you mean \"CTImageStorage\"?")
        );
        assert!(
            !"nothing like it"
                .parse::<ClassPattern>()
                .unwrap_err()
                .contains("did you mean")
        );
    }

    #[test]
    fn a_group_covers_its_classes_and_its_classes_the_group() {
        let parse = |text: &str| text.parse::<ClassPattern>().unwrap();
        let covers = |by: &[&str], text: &str| {
            let by: Vec<_> = by.iter().map(|text| parse(text)).collect();
            parse(text).is_covered(&by)
        };
        assert!(covers(&["images"], "CTImageStorage") && !covers(&["CTImageStorage"], "images"));
        assert!(covers(&["CTImageStorage", "RawDataStorage"], "raw-data"));
        assert!(!covers(&["images"], "retired"), "presentation states are retired too");
        let groups = Group::NAMES.iter().map(|(_, name)| *name);
        let storage: Vec<_> = groups.filter(|name| *name != "service").collect();
        assert!(covers(&storage, "retired") && !covers(&["retired"], "images"));
        // What a vendor says is storage is in the group `new`.
        assert!(!covers(&["private"], "1.2.3.4") && covers(&["private", "new"], "1.2.3.4"));
        assert!(covers(&["1.2.3.4"], "1.2.3.4"));
    }
}
