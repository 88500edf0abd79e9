//! Which deliveries a person means.

use packhorse_dicom::sop_class::classify;
use packhorse_dicom::uid::SopInstanceUid;
use packhorse_ids::DeliveryId;
use packhorse_ledger::view::{DeliveryView, Direction};
use packhorse_ledger::{DeliveryFilter, StatusPattern};
use packhorse_policy::ClassPattern;
use packhorse_spool::Entry;
use serde_json::Value;
use std::str::FromStr as _;

use crate::hold::HeldBy;

/// Longest text that a selector takes: of a site and an AE title.
const TEXT_LEN_MAX: usize = 128;

/// Which deliveries. What is said must hold together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    deliveries: Vec<DeliveryId>,
    filter: DeliveryFilter,
    /// A group, which the ledger does not know.
    class: Option<ClassPattern>,
    rule: Option<String>,
    all: bool,
}

/// Where deliveries are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// Nowhere: these.
    These(&'a [DeliveryId]),
    /// In the ledger.
    Filter(&'a DeliveryFilter),
    /// On the spool's failed list.
    Failed,
}

impl Selector {
    /// Reads a request's selector.
    ///
    /// # Errors
    /// All that is wrong with it, in words.
    pub(crate) fn read(args: &Value) -> Result<Self, Vec<String>> {
        let mut reading = Reading {
            args,
            problems: Vec::new(),
        };
        let deliveries = reading.deliveries();
        let class = reading.parsed("class", ClassPattern::from_str);
        let uid = |text: &str| match SopInstanceUid::try_from(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("{text:?}: {error}")),
        };
        // Instances without a study have an account too.
        let study = |text: &str| if text.is_empty() { Ok(String::new()) } else { uid(text) };
        let filter = DeliveryFilter {
            study: reading.parsed("study", study),
            sop_instance: reading.parsed("instance", uid),
            class: match &class {
                Some(ClassPattern::Uid(uid)) => Some(uid.to_string()),
                _ => None,
            },
            to: reading.parsed("to", short),
            from: reading.parsed("from", short),
            status: reading.parsed("status", |text| {
                text.parse::<StatusPattern>()
                    .map_err(|error| format!("{text:?}: {error}"))
            }),
            ..DeliveryFilter::default()
        };
        let rule = reading.parsed("rule", short);
        let all = args.get("all").and_then(Value::as_bool).unwrap_or(false);
        let class = class.filter(|class| !matches!(class, ClassPattern::Uid(_)));
        let selector = Self {
            deliveries,
            filter,
            class,
            rule,
            all,
        };
        if !selector.deliveries.is_empty() && (selector.has_conditions() || all) {
            let problem = "delivery ids stand alone: they name what is meant already";
            reading.problems.push(problem.to_owned());
        }
        if reading.problems.is_empty() {
            Ok(selector)
        } else {
            Err(reading.problems)
        }
    }

    /// What another site means: a study of its own, to one destination or to all.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(crate) fn of_site(site: &str, study: &str, to: Option<&str>) -> Result<Self, Vec<String>> {
        let mut selector = Self::read(&serde_json::json!({ "study": study, "to": to, "from": site }))?;
        selector.filter.direction = Some(Direction::Incoming);
        Ok(selector)
    }

    fn has_conditions(&self) -> bool {
        self.filter != DeliveryFilter::default() || self.class.is_some() || self.rule.is_some()
    }

    /// Nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && !self.has_conditions() && !self.all
    }

    /// What the ledger is asked for.
    pub(crate) const fn filter(&self) -> &DeliveryFilter {
        &self.filter
    }

    /// A study, and perhaps where it goes, and nothing else.
    pub(crate) fn is_only_study(&self) -> bool {
        let others = DeliveryFilter {
            study: None,
            to: None,
            ..self.filter.clone()
        };
        self.filter.study.is_some()
            && others == DeliveryFilter::default()
            && self.class.is_none()
            && self.rule.is_none()
    }

    pub(super) fn found(&self) -> Found<'_> {
        if !self.deliveries.is_empty() {
            Found::These(&self.deliveries)
        } else if self.is_empty() {
            Found::Failed
        } else {
            Found::Filter(&self.filter)
        }
    }

    /// What the ledger could not be asked.
    pub(crate) fn wants_view(&self, view: Option<&DeliveryView>) -> bool {
        let Some(class) = &self.class else { return true };
        view.is_some_and(|view| class.matches(&view.sop_class, &classify(&view.sop_class, &[])))
    }

    /// What only the spool knows.
    pub(super) fn wants_entry(&self, entry: Option<&Entry>) -> bool {
        let Some(wanted) = &self.rule else { return true };
        match entry.map(HeldBy::of) {
            Some(HeldBy::Rule(rule)) => is_rule(&rule, wanted),
            _ => false,
        }
    }
}

/// Whether a rule's words (`rule 3 (raw data)`, `shipped rule 2`) are of the rule that is called so: by number, name or all
/// of its words.
fn is_rule(words: &str, wanted: &str) -> bool {
    let (numbered, name) = match words.split_once(" (") {
        Some((numbered, name)) => (numbered, name.strip_suffix(')').unwrap_or(name)),
        None => (words, ""),
    };
    let number = numbered.rsplit(' ').next().unwrap_or_default();
    [words, numbered, number, name].contains(&wanted)
}

fn short(text: &str) -> Result<String, String> {
    let is_printable = text.chars().all(|character| !character.is_control());
    if (1..=TEXT_LEN_MAX).contains(&text.len()) && is_printable {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} has not 1 to {TEXT_LEN_MAX} printable characters"))
    }
}

struct Reading<'a> {
    args: &'a Value,
    problems: Vec<String>,
}

impl Reading<'_> {
    fn parsed<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.args.get(key)?.as_str()?;
        read(text)
            .map_err(|problem| self.problems.push(format!("{key} {problem}")))
            .ok()
    }

    fn deliveries(&mut self) -> Vec<DeliveryId> {
        let given = self.args.get("deliveries").and_then(Value::as_array);
        let mut deliveries = Vec::new();
        for id in given.into_iter().flatten().filter_map(Value::as_str) {
            match id.parse() {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => self.problems.push(format!("{id:?}: {error}")),
            }
        }
        deliveries
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_that_is_wrong_is_said_at_once_with_the_nearest_name() {
        let args = json!({ "class": "raw-dta", "status": "A9", "study": "1.2\n3", "deliveries": ["12"] });
        let problems = Selector::read(&args).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("did you mean \"raw-data\"")),
            "{problems:?}"
        );
        assert!(
            problems.iter().any(|problem| problem.contains("C000, A9xx")),
            "{problems:?}"
        );
    }

    #[test]
    fn ids_stand_alone() {
        let id = "00".repeat(16);
        assert!(Selector::read(&json!({ "deliveries": [id] })).is_ok());
        assert!(Selector::read(&json!({ "deliveries": [id], "study": "1.2" })).is_err());
    }

    #[test]
    fn a_rule_is_named_by_its_number_its_name_or_both() {
        let words = "rule 3 (raw data)";
        for wanted in ["3", "raw data", "rule 3", words] {
            assert!(is_rule(words, wanted), "{wanted}");
        }
        for wanted in ["", "1", "raw", "rule"] {
            assert!(!is_rule(words, wanted), "{wanted}");
        }
        assert!(is_rule("rule 12", "12") && !is_rule("rule 12", "2"));
    }

    #[test]
    fn nothing_said_is_not_everything() {
        assert!(Selector::read(&json!({})).unwrap().is_empty());
        assert!(!Selector::read(&json!({ "all": true })).unwrap().is_empty());
        assert!(!Selector::read(&json!({ "class": "images" })).unwrap().is_empty());
    }
}
