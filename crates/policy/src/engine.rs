//! The engine: sources, routes and rules, and the questions they answer.

mod contexts;

use std::net::IpAddr;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, CommonExtended, Proposal, Rejection};
use packhorse_dicom::sop_class;
use packhorse_dicom::status::Status;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::TransferSyntaxUid;
use serde::Deserialize;

use crate::config::{ConfigError, Errors, RawRoute, RawRule, RawSource};
use crate::decision::{Admission, Decision, Hold, InstanceDecision, InstanceFacts, Refused};
use crate::host::HostPattern;
use crate::knowledge::DestinationKnowledge;
use crate::route::Route;
use crate::rule::{Outcome, Query, Rule, TitlePattern};

/// The shipped rules, which come last: a file one can read.
pub const DEFAULT_RULES: &str = include_str!("default.rules.toml");
/// Longest Error Comment (0000,0902).
const COMMENT_LEN_MAX: usize = 64;

/// Who may send: a `[[source]]`.
#[derive(Debug)]
pub struct Source {
    name: Box<str>,
    titles: Vec<TitlePattern>,
    hosts: Vec<HostPattern>,
}

impl Source {
    /// What it is called in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its calling AE titles: `*` and `?` stand for any characters and one.
    pub fn ae_titles(&self) -> impl Iterator<Item = &str> {
        self.titles.iter().map(TitlePattern::as_str)
    }

    /// Where it may be.
    #[must_use]
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// Whether it may call itself so.
    #[must_use]
    pub fn has_ae_title(&self, title: &AeTitle) -> bool {
        self.titles.iter().any(|pattern| pattern.matches(title))
    }
}

#[derive(Deserialize)]
struct RuleFile {
    rule: Vec<RawRule>,
}

/// Policy, ready to be asked.
#[derive(Debug)]
pub struct Engine {
    sources: Vec<Source>,
    routes: Vec<Route>,
    rules: Vec<Rule>,
}

impl Engine {
    /// An engine of these sources, routes and rules, with the shipped rules behind them.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn new(sources: &[RawSource], routes: &[RawRoute], rules: &[RawRule]) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Errors::default();
        let read_source = |(raw, number): (&RawSource, usize)| source(raw, &format!("source[{number}]"), &mut errors);
        let sources = sources.iter().zip(1..).map(read_source).collect();
        let read_route = |(raw, number): (&RawRoute, usize)| Route::read(raw, &format!("route[{number}]"), &mut errors);
        let routes: Vec<Route> = routes.iter().zip(1..).filter_map(read_route).collect();
        for (index, route) in routes.iter().enumerate() {
            let same = |other: &&Route| {
                other.called_ae_title == route.called_ae_title
                    && (other.listener.is_none() || route.listener.is_none() || other.listener == route.listener)
            };
            if routes.iter().take(index).any(|other| same(&other)) {
                let problem = format!("{} leads somewhere already", route.called_ae_title);
                errors.add(format!("route[{}].called_ae_title", index + 1), problem);
            }
        }
        let shipped: RuleFile = toml::from_str(DEFAULT_RULES).unwrap_or(RuleFile { rule: Vec::new() });
        let all = rules.iter().chain(&shipped.rule).zip(1..);
        let read_rule = |(raw, number)| Rule::read(raw, number, &format!("rule[{number}]"), &mut errors);
        let rules: Vec<Rule> = all.filter_map(read_rule).collect();
        unknown_routes(&rules, &routes, &mut errors);
        if errors.0.is_empty() {
            Ok(Self { sources, routes, rules })
        } else {
            Err(errors.0)
        }
    }

    /// The sources, in their order.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The routes, in their order.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The rules, in their order, the shipped ones last.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Where `called` leads on `listener`.
    #[must_use]
    pub fn route(&self, called: &AeTitle, listener: &str) -> Option<&Route> {
        self.routes.iter().find(|route| {
            route.called_ae_title == *called && route.listener.as_deref().is_none_or(|bound| bound == listener)
        })
    }

    /// Whether the caller may send here at all, by its title and address. `resolve` gives the addresses of a host name.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&self, proposal: &Proposal, resolve: &dyn Fn(&str) -> Vec<IpAddr>) -> Result<Admission, Refused> {
        let calling = &proposal.calling_ae_title;
        let titled = |(_, source): &(usize, &Source)| source.has_ae_title(calling);
        let sources = || self.sources.iter().enumerate();
        let Some(_) = sources().find(titled) else {
            return Err(self.unknown_calling(calling));
        };
        let here =
            |(_, source): &(usize, &Source)| source.hosts.iter().any(|host| host.matches(proposal.peer, resolve));
        let Some((index, source)) = sources().filter(titled).find(here) else {
            let why = format!(
                "{calling} is known, but not from {0}: add {0} to hosts of its [[source]] in edge.toml",
                proposal.peer
            );
            return Err(Refused {
                rejection: Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED,
                why,
            });
        };
        if self.route(&proposal.called_ae_title, &proposal.listener).is_none() {
            return Err(self.unknown_called(&proposal.called_ae_title));
        }
        Ok(Admission {
            source: source.name.clone(),
            index,
        })
    }

    fn unknown_calling(&self, calling: &AeTitle) -> Refused {
        let mut all = self.sources.iter().flat_map(|source| &source.titles);
        let near = all.find(|pattern| pattern.matches_but_for_case(calling));
        let case = near
            .map(|near| format!(" ({near} differs only in case)"))
            .unwrap_or_default();
        let why =
            format!("{calling} may not send here{case}: add it to ae_titles of a [[source]] in edge.toml to let it");
        Refused {
            rejection: Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED,
            why,
        }
    }

    fn unknown_called(&self, called: &AeTitle) -> Refused {
        let near = self
            .routes
            .iter()
            .find(|route| route.called_ae_title.differs_only_in_case(called));
        let case = near
            .map(|near| format!(" ({} differs only in case)", near.called_ae_title))
            .unwrap_or_default();
        let why = format!(
            "nothing here answers as {called}{case}: add a [[route]] with called_ae_title = \"{called}\" to edge.toml"
        );
        Refused {
            rejection: Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED,
            why,
        }
    }

    /// The answer to a proposal of an admitted caller, with the reasons. Total: every context gets one.
    #[must_use]
    pub fn decide(&self, proposal: &Proposal, known: &DestinationKnowledge) -> Decision {
        let decide = |context| self.decide_context(proposal, context, known);
        let contexts: Vec<_> = proposal.contexts.iter().map(decide).collect();
        let answers = contexts
            .iter()
            .map(|context| (context.id, context.answer.clone()))
            .collect();
        Decision {
            answer: Answer::Accept(answers),
            contexts,
        }
    }

    /// The rule that decides. Implicit VR Little Endian is never refused for a class that is accepted in any other syntax
    /// (PS3.5 §10.1): there the rule that accepts it decides.
    fn first(&self, query: &Query<'_>) -> Option<&Rule> {
        let first = self.rules.iter().find(|rule| rule.matches(query));
        let is_refused = first.is_none_or(|rule| rule.outcome == Outcome::RefuseContext);
        if is_refused && query.syntax.as_str() == IMPLICIT_VR_LE {
            return self.accepting_in_some_syntax(query).or(first);
        }
        first
    }

    /// The first rule that accepts the class in some syntax; those behind a refusal in all syntaxes are never asked.
    fn accepting_in_some_syntax(&self, query: &Query<'_>) -> Option<&Rule> {
        let mut rules = self.rules.iter().filter(|rule| rule.matches_in_some_syntax(query));
        let decisive = rules.find(|rule| rule.outcome != Outcome::RefuseContext || rule.syntaxes.is_empty())?;
        (decisive.outcome != Outcome::RefuseContext).then_some(decisive)
    }

    /// What becomes of an instance once its header is scanned: asked again on each of the three classes that name it.
    #[must_use]
    pub fn decide_header(&self, facts: &InstanceFacts<'_>) -> InstanceDecision {
        self.decide_header_said(facts, &[])
    }

    /// The same on an association whose proposal said of its classes what service they are (`common_extended`). Without
    /// it a class of a vendor's own that was accepted as storage would be refused as private here.
    #[must_use]
    pub fn decide_header_said(&self, facts: &InstanceFacts<'_>, said: &[CommonExtended]) -> InstanceDecision {
        let names = [
            Some(facts.context_class.as_str()),
            Some(facts.command_class.as_str()),
            facts.dataset_class.map(packhorse_dicom::uid::SopClassUid::as_str),
        ];
        let (mut held, mut accepted) = (None, None);
        for uid in names.into_iter().flatten() {
            let class = sop_class::classify(uid, said);
            let (calling, called, syntax) = (facts.calling, facts.called, facts.transfer_syntax);
            let Some(rule) = self.first(&Query {
                calling,
                called,
                uid,
                class,
                syntax,
            }) else {
                continue;
            };
            match rule.outcome {
                Outcome::RefuseContext | Outcome::RefuseInstance => return refuse(rule, uid),
                Outcome::Hold => held = held.or(Some(rule)),
                Outcome::Accept => accepted = accepted.or(Some(rule)),
            }
        }
        if facts.command_class.as_str() != facts.context_class.as_str() {
            return mismatch(facts, accepted.or(held));
        }
        match (held, accepted) {
            (Some(rule), _) => InstanceDecision::Hold(Hold {
                rule: rule.name.clone(),
                priority: rule.priority,
            }),
            (None, Some(rule)) => InstanceDecision::Accept {
                priority: rule.priority,
                rule: rule.name.clone(),
            },
            (None, None) => mismatch(facts, None),
        }
    }

    /// What becomes of an instance at its end, when its length is known. No rule of this version asks for the length.
    #[must_use]
    pub fn decide_end(&self, decided: InstanceDecision, _length: u64) -> InstanceDecision {
        decided
    }
}

/// Implicit VR Little Endian, for questions about a class whatever its syntax.
fn implicit_vr_le() -> &'static TransferSyntaxUid {
    static IMPLICIT: std::sync::LazyLock<TransferSyntaxUid> =
        std::sync::LazyLock::new(|| TransferSyntaxUid::try_from(IMPLICIT_VR_LE).expect("a UID of the standard"));
    &IMPLICIT
}

fn refuse(rule: &Rule, uid: &str) -> InstanceDecision {
    // Refused to everybody: not supported. Because of this caller or route: not authorized.
    let status = if rule.is_particular() {
        Status::NOT_AUTHORIZED
    } else {
        Status::SOP_CLASS_NOT_SUPPORTED
    };
    let comment = comment(&format!(
        "rule {}: {} refused",
        rule.name.number,
        sop_class::name_of(uid)
    ));
    InstanceDecision::Refuse {
        status,
        comment,
        rule: rule.name.clone(),
    }
}

/// The command names another class than the context is for.
fn mismatch(facts: &InstanceFacts<'_>, rule: Option<&Rule>) -> InstanceDecision {
    let comment = comment(&format!(
        "not of the context's class {}",
        sop_class::name_of(facts.context_class.as_str())
    ));
    let rule = rule.map_or_else(
        || crate::rule::RuleName {
            number: 0,
            name: "context".into(),
        },
        |rule| rule.name.clone(),
    );
    InstanceDecision::Refuse {
        status: Status::SOP_CLASS_NOT_SUPPORTED,
        comment,
        rule,
    }
}

fn comment(text: &str) -> String {
    text.chars().take(COMMENT_LEN_MAX).collect()
}

fn source(raw: &RawSource, path: &str, errors: &mut Errors) -> Source {
    for (list, name, what) in [
        (&raw.ae_titles, "ae_titles", "AE title; \"*\" lets everybody"),
        (
            &raw.hosts,
            "hosts",
            "address, CIDR or name; \"0.0.0.0/0\" lets everybody",
        ),
    ] {
        if list.is_empty() {
            errors.add(format!("{path}.{name}"), format!("needs at least one {what}"));
        }
    }
    let titles = errors.take_all(&format!("{path}.ae_titles"), &raw.ae_titles, TitlePattern::parse);
    let hosts = errors.take_all(&format!("{path}.hosts"), &raw.hosts, HostPattern::parse);
    let first = raw.ae_titles.first().map_or("", String::as_str);
    let name = if raw.name.is_empty() { first } else { raw.name.as_str() };
    Source {
        name: name.into(),
        titles,
        hosts,
    }
}

/// A rule for a route that does not exist can never match.
fn unknown_routes(rules: &[Rule], routes: &[Route], errors: &mut Errors) {
    for rule in rules {
        for (title, number) in rule.routes.iter().zip(1..) {
            if !routes.iter().any(|route| route.called_ae_title == *title) {
                let path = format!("rule[{}].route[{number}]", rule.name.number);
                errors.add(
                    path,
                    format!("there is no [[route]] with called_ae_title = \"{title}\""),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
