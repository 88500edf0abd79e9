//! Rules that cannot do what their writer meant, found when the configuration is read. What is reported is certain: a rule
//! that several earlier ones together leave nothing to is not found.

use std::collections::BTreeSet;

use packhorse_dicom::ae_title::AeTitle;

use super::Source;
use crate::class::ClassPattern;
use crate::config::Errors;
use crate::pattern::TitlePattern;
use crate::rule::{Rule, carries_a_data_set};

/// The rules of `edge.toml` among what they speak of. The shipped rules are not looked at: they are meant to be covered.
pub(super) struct Checks<'a> {
    pub(super) local: &'a [AeTitle],
    pub(super) sources: &'a [Source],
    /// Titles of the routes.
    pub(super) called: Vec<AeTitle>,
    pub(super) rules: Vec<&'a Rule>,
    /// Numbers of those that are not as they were meant: nothing is said of what they cover.
    pub(super) wrong: BTreeSet<usize>,
}

impl Checks<'_> {
    pub(super) fn run(&self, errors: &mut Errors) {
        for (place, rule) in self.rules.iter().enumerate() {
            self.routes_exist(rule, errors);
            self.sources_exist(rule, errors);
            if self.wrong.contains(&rule.name.number) {
                continue;
            }
            let is_sound = |earlier: &&&Rule| !earlier.shadow && !self.wrong.contains(&earlier.name.number);
            let mut earlier = self.rules.iter().take(place).filter(is_sound);
            if let Some(earlier) = earlier.find(|earlier| self.covers(earlier, rule)) {
                errors.add(format!("rule[{}]", rule.name.number), self.never(earlier, rule));
            }
        }
    }

    fn never(&self, earlier: &Rule, rule: &Rule) -> String {
        let (number, outcome) = (earlier.name.number, earlier.outcome);
        if self.covers(rule, earlier) && outcome != rule.outcome {
            return format!(
                "contradicts rule[{number}]: both are for the same, and that one comes first and wins with \"{outcome}\"; \
                 remove one of the two"
            );
        }
        format!(
            "can never match: rule[{number}] comes first and takes everything it is for; put it before that one, or remove it"
        )
    }

    /// A rule for a route that does not exist can never match.
    fn routes_exist(&self, rule: &Rule, errors: &mut Errors) {
        for (title, number) in rule.routes.iter().zip(1..) {
            if !self.called.contains(title) {
                let problem = format!("there is no [[route]] with called_ae_title = \"{title}\"");
                errors.add(format!("rule[{}].route[{number}]", rule.name.number), problem);
            }
        }
    }

    /// Nor can one for callers that are rejected before any rule is asked.
    fn sources_exist(&self, rule: &Rule, errors: &mut Errors) {
        if self.sources.is_empty() {
            return;
        }
        for (pattern, number) in rule.sources.iter().zip(1..) {
            let is_known = self.titles().any(|titles| titles.meets(pattern))
                || self.local.iter().any(|title| pattern.matches(title));
            if !is_known {
                let problem = format!(
                    "no [[source]] has an AE title that \"{pattern}\" matches, so this caller is rejected before any rule is \
                     asked: add it to ae_titles of a [[source]], or remove it here"
                );
                errors.add(format!("rule[{}].source[{number}]", rule.name.number), problem);
            }
        }
    }

    fn titles(&self) -> impl Iterator<Item = &TitlePattern> {
        self.sources.iter().flat_map(|source| &source.titles)
    }

    /// Whether `wide` matches all that `narrow` does.
    fn covers(&self, wide: &Rule, narrow: &Rule) -> bool {
        self.covers_sources(wide, narrow)
            && self.covers_routes(wide, narrow)
            && covers_classes(wide, narrow)
            && covers_syntaxes(wide, narrow)
            && (wide.conditions.is_empty() || wide.conditions == narrow.conditions)
    }

    fn covers_sources(&self, wide: &Rule, narrow: &Rule) -> bool {
        let covered = |title: &TitlePattern| wide.sources.iter().any(|pattern| pattern.covers(title));
        if wide.sources.is_empty() || (!narrow.sources.is_empty() && narrow.sources.iter().all(covered)) {
            return true;
        }
        let is_ours = |title: &AeTitle| wide.sources.iter().any(|pattern| pattern.matches(title));
        !self.sources.is_empty() && self.titles().all(covered) && self.local.iter().all(is_ours)
    }

    fn covers_routes(&self, wide: &Rule, narrow: &Rule) -> bool {
        let is_there = |title: &AeTitle| wide.routes.contains(title);
        if wide.routes.is_empty() || (!narrow.routes.is_empty() && narrow.routes.iter().all(is_there)) {
            return true;
        }
        narrow.routes.is_empty() && !self.called.is_empty() && self.called.iter().all(is_there)
    }
}

fn covers_classes(wide: &Rule, narrow: &Rule) -> bool {
    match (wide.classes.is_empty(), narrow.classes.is_empty()) {
        (true, _) => narrow.classes.iter().all(ClassPattern::is_storage),
        (false, true) => ClassPattern::are_all_storage(&wide.classes),
        (false, false) => narrow.classes.iter().all(|class| class.is_covered(&wide.classes)),
    }
}

fn covers_syntaxes(wide: &Rule, narrow: &Rule) -> bool {
    if wide.syntaxes.is_empty() {
        // What carries no data set is matched by name only, unless it is refused.
        return !wide.opens() || narrow.syntaxes.iter().all(carries_a_data_set);
    }
    // Where Implicit VR Little Endian is asked for, one that refuses in some syntaxes only steps aside for those that do not.
    let is_passed_over = !wide.opens() && narrow.opens();
    !is_passed_over
        && !narrow.syntaxes.is_empty()
        && narrow.syntaxes.iter().all(|syntax| wide.syntaxes.contains(syntax))
}
