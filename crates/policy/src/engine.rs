//! The engine: sources, routes and rules, and the questions they answer.

mod checks;
mod contexts;
mod instances;
mod walk;

use std::collections::BTreeSet;
use std::net::IpAddr;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, Proposal, Rejection};
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::TransferSyntaxUid;
use serde::Deserialize;

use self::checks::Checks;
use crate::attribute::Attribute;
use crate::config::{ConfigError, Errors, RawRoute, RawRule, RawSource};
use crate::decision::{Admission, Decision, Refused};
use crate::host::HostPattern;
use crate::knowledge::DestinationKnowledge;
use crate::pattern::TitlePattern;
use crate::route::Route;
use crate::rule::Rule;

/// The shipped rules, which come last: a file one can read.
pub const DEFAULT_RULES: &str = include_str!("default.rules.toml");

/// Who may send: a `[[source]]`.
#[derive(Debug)]
pub struct Source {
    name: Box<str>,
    titles: Vec<TitlePattern>,
    hosts: Vec<HostPattern>,
    trusts_dimse_priority: bool,
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

    /// Whether its command's Priority (0000,0700) counts: HIGH makes an instance STAT, whatever its rule says.
    #[must_use]
    pub const fn trusts_dimse_priority(&self) -> bool {
        self.trusts_dimse_priority
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
    /// Rules of the configuration; behind them come the shipped ones.
    written: usize,
    /// Header attributes that rules ask for.
    attributes: Vec<Attribute>,
}

impl Engine {
    /// An engine of these sources, routes and rules, with the shipped rules behind them.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn new(sources: &[RawSource], routes: &[RawRoute], rules: &[RawRule]) -> Result<Self, Vec<ConfigError>> {
        Self::with_local_titles(&[], sources, routes, rules)
    }

    /// The same where some ask without calling: `local` are the titles under which they do, which rules may name though no
    /// source has them.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn with_local_titles(
        local: &[AeTitle],
        sources: &[RawSource],
        routes: &[RawRoute],
        rules: &[RawRule],
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Errors::default();
        let read_source = |(raw, number): (&RawSource, usize)| source(raw, &format!("source[{number}]"), &mut errors);
        let sources: Vec<Source> = sources.iter().zip(1..).map(read_source).collect();
        let sources_are_right = errors.0.is_empty();
        let called = routes.iter().map(|raw| raw.called_ae_title.as_str());
        let called = called.filter_map(|title| AeTitle::try_from(title).ok());
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
        let mut wrong = BTreeSet::new();
        let read_rule = |(raw, number)| {
            let before = errors.0.len();
            let rule = Rule::read(raw, number, &format!("rule[{number}]"), &mut errors);
            if errors.0.len() > before {
                wrong.insert(number);
            }
            rule
        };
        let read: Vec<Rule> = all.filter_map(read_rule).collect();
        let written = read.iter().filter(|rule| rule.name.number <= rules.len());
        Checks {
            local,
            // What is left of wrong ones would make right rules look wrong.
            sources: if sources_are_right { &sources } else { &[] },
            called: called.collect(),
            rules: written.collect(),
            wrong,
        }
        .run(&mut errors);
        if !errors.0.is_empty() {
            return Err(errors.0);
        }
        let attributes: BTreeSet<_> = read.iter().flat_map(|rule| rule.conditions.attributes()).collect();
        Ok(Self {
            sources,
            routes,
            attributes: attributes.into_iter().collect(),
            rules: read,
            written: rules.len(),
        })
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

    /// Whether a rule is one of the shipped ones ([`DEFAULT_RULES`]).
    #[must_use]
    pub const fn is_shipped(&self, rule: &Rule) -> bool {
        rule.name.number > self.written
    }

    /// The header attributes that rules ask for: what [`InstanceFacts::header`](crate::InstanceFacts) must have.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
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
        let add = "add it to ae_titles of a [[source]] in edge.toml to let it";
        let why = match near {
            Some(near) => format!(
                "{calling} may not send here ({near} differs only in case): correct the calling AE title at the sender to \
                 {near}, or {add}"
            ),
            None => format!("{calling} may not send here: {add}"),
        };
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
        let add = format!("add a [[route]] with called_ae_title = \"{called}\" to edge.toml");
        let why = match near.map(|near| &near.called_ae_title) {
            Some(near) => format!(
                "nothing here answers as {called} ({near} differs only in case): correct the called AE title at the sender \
                 to {near}, or {add}"
            ),
            None => format!("nothing here answers as {called}: {add}"),
        };
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
}

/// Implicit VR Little Endian, for questions about a class whatever its syntax.
fn implicit_vr_le() -> &'static TransferSyntaxUid {
    static IMPLICIT: std::sync::LazyLock<TransferSyntaxUid> =
        std::sync::LazyLock::new(|| TransferSyntaxUid::try_from(IMPLICIT_VR_LE).expect("a UID of the standard"));
    &IMPLICIT
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
        trusts_dimse_priority: raw.trust_dimse_priority,
    }
}

#[cfg(test)]
mod tests;
