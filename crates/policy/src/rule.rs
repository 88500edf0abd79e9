//! Rules.

use std::fmt;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::sop_class::{self, Class, Group};
use packhorse_dicom::transfer_syntax::{self, Kind};
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_ids::Priority;

use crate::config::{Errors, RawRule};
use crate::route;

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Take it.
    Accept,
    /// Reject its presentation context.
    RefuseContext,
    /// Accept its context and answer its C-STORE with a failure.
    RefuseInstance,
    /// Take it, answer Success, and keep it here until somebody releases it.
    Hold,
}

/// How a rule is called in reports: its number and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    /// Its place, from 1; the shipped rules go on counting behind those of `edge.toml`.
    pub number: usize,
    /// Its name; empty when it has none.
    pub name: Box<str>,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(f, "rule {}", self.number)
        } else {
            write!(f, "rule {} ({})", self.number, self.name)
        }
    }
}

/// Which SOP classes a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassPattern {
    /// All of a group.
    Group(Group),
    /// All that the standard has retired.
    Retired,
    /// One.
    Uid(Box<str>),
}

impl ClassPattern {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "retired" {
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
        let hint = nearest(text)
            .map(|name| format!("; did you mean {name:?}?"))
            .unwrap_or_default();
        Err(format!("{text:?} is no group, keyword or UID of a SOP class{hint}"))
    }

    fn matches(&self, uid: &str, class: &Class) -> bool {
        match self {
            Self::Group(group) => class.group == *group,
            Self::Retired => class.retired,
            Self::Uid(wanted) => **wanted == *uid,
        }
    }
}

/// The group or keyword that differs least, if it differs little.
fn nearest(text: &str) -> Option<&'static str> {
    let groups = Group::NAMES.iter().map(|(_, name)| *name);
    let names = groups.chain(sop_class::storage().iter().map(|class| class.keyword));
    let close = names.map(|name| (distance(text, name), name)).min()?;
    (close.0 <= 3).then_some(close.1)
}

/// Levenshtein distance, for texts of configuration.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (above, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A pattern of AE titles: `*` for any characters, `?` for one. Case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TitlePattern(Box<str>);

impl TitlePattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let plain = text.replace(['*', '?'], "A");
        match AeTitle::try_from(plain.as_str()) {
            Ok(_) => Ok(Self(text.into())),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn matches(&self, title: &AeTitle) -> bool {
        wildcard(self.0.as_bytes(), title.as_str().as_bytes())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it would match if case did not count: worth a word in the log.
    pub(crate) fn matches_but_for_case(&self, title: &AeTitle) -> bool {
        let (pattern, title) = (self.0.to_ascii_uppercase(), title.as_str().to_ascii_uppercase());
        wildcard(pattern.as_bytes(), title.as_bytes())
    }
}

impl fmt::Display for TitlePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Titles have at most 16 characters, so trying each length for a `*` is quick enough.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|at| wildcard(rest, text.get(at..).unwrap_or_default())),
        (Some((b'?', pattern)), Some((_, text))) => wildcard(pattern, text),
        (Some((a, pattern)), Some((b, text))) if a == b => wildcard(pattern, text),
        _ => false,
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// How it is called.
    pub name: RuleName,
    pub(crate) sources: Vec<TitlePattern>,
    pub(crate) routes: Vec<AeTitle>,
    pub(crate) classes: Vec<ClassPattern>,
    pub(crate) syntaxes: Vec<TransferSyntaxUid>,
    /// What it does.
    pub outcome: Outcome,
    /// The priority of what it accepts.
    pub priority: Priority,
}

impl Rule {
    /// Whether it has a say on this route.
    #[must_use]
    pub fn is_for_route(&self, called: &AeTitle) -> bool {
        self.routes.is_empty() || self.routes.contains(called)
    }

    /// The calling AE titles it is for, as patterns; none: for all.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(TitlePattern::as_str)
    }

    /// UIDs of the SOP classes that it names one by one.
    pub fn class_uids(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().filter_map(|class| match class {
            ClassPattern::Uid(uid) => Some(&**uid),
            ClassPattern::Group(_) | ClassPattern::Retired => None,
        })
    }

    /// The transfer syntaxes it is for; none: for all.
    #[must_use]
    pub fn transfer_syntaxes(&self) -> &[TransferSyntaxUid] {
        &self.syntaxes
    }

    pub(crate) fn read(raw: &RawRule, number: usize, path: &str, errors: &mut Errors) -> Option<Self> {
        let outcome = match raw.outcome.as_str() {
            "accept" => Some(Outcome::Accept),
            "refuse-context" => Some(Outcome::RefuseContext),
            "refuse-instance" => Some(Outcome::RefuseInstance),
            "hold" => Some(Outcome::Hold),
            other => {
                let problem = format!("{other:?} is none of accept, refuse-context, refuse-instance, hold");
                errors.add(format!("{path}.outcome"), problem);
                None
            }
        };
        let priority = match raw.priority.as_deref() {
            None | Some("routine") => Some(Priority::Routine),
            Some("stat") => Some(Priority::Stat),
            Some("bulk") => Some(Priority::Bulk),
            Some(other) => {
                errors.add(
                    format!("{path}.priority"),
                    format!("{other:?} is none of stat, routine, bulk"),
                );
                None
            }
        };
        let classes = errors.take_all(&format!("{path}.class"), &raw.class, ClassPattern::parse);
        let is_refusal = outcome.is_none_or(|outcome| outcome == Outcome::RefuseContext);
        let service = raw.class.iter().position(|class| *class == Group::Service.to_string());
        if let Some(place) = service.filter(|_| !is_refusal) {
            let problem = "other services are not carried: \"service\" can only be refused with refuse-context";
            errors.add(format!("{path}.class[{}]", place + 1), problem);
        }
        Some(Self {
            name: RuleName {
                number,
                name: raw.name.as_str().into(),
            },
            sources: errors.take_all(&format!("{path}.source"), &raw.source, TitlePattern::parse),
            routes: errors.take_all(&format!("{path}.route"), &raw.route, |text| AeTitle::try_from(text)),
            classes,
            syntaxes: errors.take_all(&format!("{path}.transfer_syntax"), &raw.transfer_syntax, route::syntax),
            outcome: outcome?,
            priority: priority?,
        })
    }

    /// Whether it speaks of this caller, or this route, and not of everybody.
    pub(crate) fn is_particular(&self) -> bool {
        !self.sources.is_empty() || !self.routes.is_empty()
    }

    pub(crate) fn matches(&self, query: &Query<'_>) -> bool {
        self.matches_in_some_syntax(query) && self.matches_syntax(query.syntax)
    }

    /// Whether the rule is for this caller, route and class, in whichever syntax. Without a list of classes it is for
    /// every storage class: other services are not carried, so only a rule that names them speaks of them.
    pub(crate) fn matches_in_some_syntax(&self, query: &Query<'_>) -> bool {
        let any = |empty: bool, some: bool| empty || some;
        let is_storage = query.class.group != Group::Service;
        any(
            self.sources.is_empty(),
            self.sources.iter().any(|pattern| pattern.matches(query.calling)),
        ) && any(self.routes.is_empty(), self.routes.contains(query.called))
            && any(
                self.classes.is_empty() && is_storage,
                self.classes.iter().any(|class| class.matches(query.uid, &query.class)),
            )
    }

    /// Without a list of syntaxes a rule is for all of them, but accepts only those that carry a data set.
    fn matches_syntax(&self, syntax: &TransferSyntaxUid) -> bool {
        if self.syntaxes.is_empty() {
            return self.outcome == Outcome::RefuseContext || carries_a_data_set(syntax);
        }
        self.syntaxes.contains(syntax)
    }
}

/// Not so: syntaxes that only refer to pixels elsewhere, and those that are no data set at all.
fn carries_a_data_set(syntax: &TransferSyntaxUid) -> bool {
    transfer_syntax::by_uid(syntax.as_str()).is_none_or(|known| known.kind != Kind::Refused)
}

/// What is asked of the rules: may this class come in this syntax from this caller on this route?
pub(crate) struct Query<'a> {
    pub(crate) calling: &'a AeTitle,
    pub(crate) called: &'a AeTitle,
    pub(crate) uid: &'a str,
    pub(crate) class: Class,
    pub(crate) syntax: &'a TransferSyntaxUid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_class_is_reported_with_the_nearest_name() {
        let error = ClassPattern::parse("raw-dta").unwrap_err();
        assert_eq!(
            error,
            "\"raw-dta\" is no group, keyword or UID of a SOP class; did you mean \"raw-data\"?"
        );
        assert!(
            ClassPattern::parse("CTImageStorge")
                .unwrap_err()
                .ends_with("did you mean \"CTImageStorage\"?")
        );
        assert!(
            !ClassPattern::parse("nothing like it")
                .unwrap_err()
                .contains("did you mean")
        );
    }

    #[test]
    fn title_patterns_count_case() {
        let title = |text| AeTitle::try_from(text).unwrap();
        let pattern = TitlePattern::parse("CT_*").unwrap();
        assert!(pattern.matches(&title("CT_1")) && pattern.matches(&title("CT_")));
        assert!(!pattern.matches(&title("ct_1")) && pattern.matches_but_for_case(&title("ct_1")));
        assert!(TitlePattern::parse("A?C").unwrap().matches(&title("ABC")));
        assert!(TitlePattern::parse("A\\B").is_err());
    }
}
