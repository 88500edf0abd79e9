//! Rules.

use std::fmt;
use std::time::Duration;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::sop_class::{Class, Group};
use packhorse_dicom::transfer_syntax::{self, Kind};
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_ids::Priority;

use crate::class::ClassPattern;
use crate::condition::Conditions;
use crate::config::{Errors, RawRule};
use crate::pattern::TitlePattern;
use crate::{route, units};

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

impl Outcome {
    /// The words that configuration uses.
    pub const NAMES: [(Self, &'static str); 4] = [
        (Self::Accept, "accept"),
        (Self::RefuseContext, "refuse-context"),
        (Self::RefuseInstance, "refuse-instance"),
        (Self::Hold, "hold"),
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = Self::NAMES.iter();
        f.write_str(all.find(|(outcome, _)| outcome == self).map_or("", |(_, name)| name))
    }
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

/// When what is held is held no longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldEnd {
    /// When somebody releases or discards it.
    #[default]
    UntilReleased,
    /// So long after it was received it is discarded, by this rule, unless somebody has released it.
    After(Duration),
}

impl HoldEnd {
    /// How long it is held at most; `None`: until somebody says so.
    #[must_use]
    pub const fn after(self) -> Option<Duration> {
        match self {
            Self::UntilReleased => None,
            Self::After(span) => Some(span),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        if text == UNTIL_RELEASED {
            return Ok(Self::UntilReleased);
        }
        let read = units::span(text).map(Self::After);
        read.map_err(|_| format!("{text:?} is neither \"{UNTIL_RELEASED}\" nor a time like \"30d\""))
    }
}

impl fmt::Display for HoldEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UntilReleased => f.write_str("until released"),
            Self::After(span) => write!(f, "for {}, then discarded", units::span_in_words(*span)),
        }
    }
}

/// How a rule of outcome `hold` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldTerms {
    /// When it ends.
    pub end: HoldEnd,
    /// Bytes that all it holds may have; over it A700 is answered. `None`: no quota of its own.
    pub quota: Option<u64>,
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
    pub(crate) conditions: Conditions,
    /// What it does.
    pub outcome: Outcome,
    /// The priority of what it accepts.
    pub priority: Priority,
    /// How it holds; of no meaning for another outcome.
    pub hold: HoldTerms,
    /// It decides nothing: what it would have done is told.
    pub shadow: bool,
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

    /// The called AE titles it is for; none: for all.
    #[must_use]
    pub fn routes(&self) -> &[AeTitle] {
        &self.routes
    }

    /// The SOP classes it is for; none: for every storage class.
    #[must_use]
    pub fn classes(&self) -> &[ClassPattern] {
        &self.classes
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

    /// What it asks of an instance.
    #[must_use]
    pub const fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    pub(crate) fn read(raw: &RawRule, number: usize, path: &str, errors: &mut Errors) -> Option<Self> {
        let outcome = read_outcome(raw, path, errors);
        let priority = read_priority(raw, path, errors);
        let classes: Vec<ClassPattern> = errors.take_all(&format!("{path}.class"), &raw.class, str::parse);
        if outcome.is_some_and(|outcome| outcome != Outcome::RefuseContext) {
            for (text, number) in raw.class.iter().zip(1..) {
                if text.parse().is_ok_and(|class: ClassPattern| class.is_other_service()) {
                    let problem =
                        format!("other services are not carried: {text:?} can only be refused with refuse-context");
                    errors.add(format!("{path}.class[{number}]"), problem);
                }
            }
        }
        let conditions = Conditions::read(raw, path, errors);
        if outcome == Some(Outcome::RefuseContext) && !conditions.is_empty() {
            let problem = format!(
                "a presentation context is refused before any instance of it is seen, so this cannot depend on {conditions}: \
                 write \"refuse-instance\""
            );
            errors.add(format!("{path}.outcome"), problem);
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
            conditions,
            hold: read_hold(raw, outcome, path, errors),
            outcome: outcome?,
            priority: priority?,
            shadow: raw.shadow,
        })
    }

    /// Whether it speaks of this caller, or this route, and not of everybody.
    pub(crate) fn is_particular(&self) -> bool {
        !self.sources.is_empty() || !self.routes.is_empty()
    }

    /// Whether it lets a context be opened.
    pub(crate) fn opens(&self) -> bool {
        self.outcome != Outcome::RefuseContext
    }

    pub(crate) fn matches(&self, query: &Query<'_>) -> bool {
        self.matches_in_some_syntax(query) && self.matches_syntax(query.syntax)
    }

    /// Whether the rule is for this caller, route and class, in whichever syntax. Without a list of classes it is for
    /// every storage class: other services are not carried, so only a rule that names them speaks of them.
    pub(crate) fn matches_in_some_syntax(&self, query: &Query<'_>) -> bool {
        let any = |empty: bool, some: bool| empty || some;
        let is_storage = query.class.group != Group::Service;
        let is_asked = !self.shadow || query.shadow == Some(self.name.number);
        is_asked
            && any(
                self.sources.is_empty(),
                self.sources.iter().any(|pattern| pattern.matches(query.calling)),
            )
            && any(self.routes.is_empty(), self.routes.contains(query.called))
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

fn read_outcome(raw: &RawRule, path: &str, errors: &mut Errors) -> Option<Outcome> {
    let mut all = Outcome::NAMES.iter();
    let outcome = all.find(|(_, name)| *name == raw.outcome).map(|(outcome, _)| *outcome);
    if outcome.is_none() {
        let names: Vec<_> = Outcome::NAMES.iter().map(|(_, name)| *name).collect();
        let problem = format!("{:?} is none of {}", raw.outcome, names.join(", "));
        errors.add(format!("{path}.outcome"), problem);
    }
    outcome
}

fn read_priority(raw: &RawRule, path: &str, errors: &mut Errors) -> Option<Priority> {
    match raw.priority.as_deref() {
        None | Some("routine") => Some(Priority::Routine),
        Some("stat") => Some(Priority::Stat),
        Some("bulk") => Some(Priority::Bulk),
        Some(other) => {
            let problem = format!("{other:?} is none of stat, routine, bulk");
            errors.add(format!("{path}.priority"), problem);
            None
        }
    }
}

fn read_hold(raw: &RawRule, outcome: Option<Outcome>, path: &str, errors: &mut Errors) -> HoldTerms {
    if outcome.is_some_and(|outcome| outcome != Outcome::Hold) {
        for (key, given) in [("hold", &raw.hold), ("quota", &raw.quota)] {
            if given.is_some() {
                errors.add(format!("{path}.{key}"), "is for rules with outcome = \"hold\" only");
            }
        }
    }
    let end = raw.hold.as_deref().map(HoldEnd::read);
    let quota = raw.quota.as_deref().map(units::bytes);
    let quota = quota.and_then(|quota| errors.take(format!("{path}.quota"), quota));
    if quota == Some(0) {
        errors.add(format!("{path}.quota"), "nothing could be held: use refuse-instance");
    }
    HoldTerms {
        end: end
            .and_then(|end| errors.take(format!("{path}.hold"), end))
            .unwrap_or_default(),
        quota,
    }
}

const UNTIL_RELEASED: &str = "until-released";

/// Not so: syntaxes that only refer to pixels elsewhere, and those that are no data set at all.
pub(crate) fn carries_a_data_set(syntax: &TransferSyntaxUid) -> bool {
    transfer_syntax::by_uid(syntax.as_str()).is_none_or(|known| known.kind != Kind::Refused)
}

/// What is asked of the rules: may this class come in this syntax from this caller on this route?
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) calling: &'a AeTitle,
    pub(crate) called: &'a AeTitle,
    pub(crate) uid: &'a str,
    pub(crate) class: Class,
    pub(crate) syntax: &'a TransferSyntaxUid,
    /// Number of the shadow rule that is asked as if it were none; `None`: no shadow rule is asked.
    pub(crate) shadow: Option<usize>,
}
