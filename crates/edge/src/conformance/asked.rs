//! What policy answers, found out by asking it: every class in every transfer syntax, from every caller it may tell apart.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::implementation::IMPLEMENTATION_CLASS_UID;
use packhorse_dicom::negotiation::{ContextAnswer, ContextResult, PresentationContextId, Proposal, ProposedContext};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::transfer_syntax;
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid, TransferSyntaxUid};
use packhorse_policy::{ContextDecision, DestinationKnowledge, Engine, InstanceDecision, InstanceFacts, Route};

/// A kind of caller that policy may tell from others, and the title under which it is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// As it stands in `edge.toml`.
    pub(crate) pattern: String,
    pub(crate) title: AeTitle,
}

/// Callers by every pattern of `[[source]]` and `[[rule]]` that somebody who may call can match.
pub(crate) fn callers(engine: &Engine) -> Vec<Caller> {
    let of_sources = engine.sources().iter().flat_map(|source| source.ae_titles());
    let of_rules = engine.rules().iter().flat_map(|rule| rule.sources());
    let mut patterns: Vec<&str> = Vec::new();
    for pattern in of_sources.chain(of_rules) {
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    let may_call = |title: &AeTitle| engine.sources().iter().any(|source| source.has_ae_title(title));
    let caller = |pattern: &&str| {
        let title = example(pattern, &patterns).filter(may_call)?;
        let pattern = (*pattern).to_owned();
        Some(Caller { pattern, title })
    };
    patterns.iter().filter_map(caller).collect()
}

/// A title that a pattern matches and no other line of the configuration names.
fn example(pattern: &str, named: &[&str]) -> Option<AeTitle> {
    if !pattern.contains(['*', '?']) {
        return AeTitle::try_from(pattern).ok();
    }
    ["ANY", "OTHER", "X", ""].iter().find_map(|filler| {
        let title = pattern.replace('*', filler).replace('?', "X");
        let is_free = !named.contains(&title.as_str());
        is_free.then(|| AeTitle::try_from(title.as_str()).ok()).flatten()
    })
}

/// A transfer syntax that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) name: String,
    pub(super) uid: TransferSyntaxUid,
}

/// Those of the standard, those that the configuration names besides, and one that nobody knows.
pub(super) fn syntaxes(engine: &Engine) -> Vec<Syntax> {
    let unknown = format!("{IMPLEMENTATION_CLASS_UID}.1");
    let standard = transfer_syntax::all().iter().map(|syntax| syntax.uid);
    let of_rules = engine.rules().iter().flat_map(|rule| rule.transfer_syntaxes());
    let of_routes = engine.routes().iter().flat_map(|route| &route.transfer_syntaxes);
    let configured: BTreeSet<_> = of_rules.chain(of_routes).map(TransferSyntaxUid::as_str).collect();
    let others = configured
        .into_iter()
        .filter(|uid| transfer_syntax::by_uid(uid).is_none());
    let named = standard.chain(others).map(|uid| (transfer_syntax::name_of(uid), uid));
    let all = named.chain([("any other, such as", unknown.as_str())]);
    all.filter_map(|(name, uid)| {
        Some(Syntax {
            name: name.to_owned(),
            uid: TransferSyntaxUid::try_from(uid).ok()?,
        })
    })
    .collect()
}

/// One answer to a class, and the syntaxes in which it is given, by their place in the list that was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) answer: String,
    pub(super) rule: String,
    pub(super) syntaxes: Vec<usize>,
}

/// A caller's questions about one route.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) engine: &'a Engine,
    pub(super) route: &'a Route,
    /// A listener that the route is on.
    pub(super) listener: &'a str,
    pub(super) calling: &'a AeTitle,
}

impl Asking<'_> {
    /// What is answered to a class, each syntax proposed in a context of its own. Syntaxes for which the answer is 4 are left
    /// out where there is another line.
    pub(super) fn lines(&self, class: &AbstractSyntaxUid, syntaxes: &[Syntax]) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let uids: Vec<_> = syntaxes
            .iter()
            .map(|syntax| std::slice::from_ref(&syntax.uid))
            .collect();
        for (place, decided) in self.decide(class, &uids).into_iter().enumerate() {
            let rule = decided.rule.as_ref().map(ToString::to_string).unwrap_or_default();
            let answer = self.words(class, &decided.answer);
            match lines.iter_mut().find(|line| line.answer == answer && line.rule == rule) {
                Some(line) => line.syntaxes.push(place),
                None => lines.push(Line {
                    answer,
                    rule,
                    syntaxes: vec![place],
                }),
            }
        }
        let no_syntax = rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED);
        if lines.iter().any(|line| line.answer != no_syntax) {
            lines.retain(|line| line.answer != no_syntax);
        }
        lines
    }

    /// The syntaxes that are preferred to others in whichever order they come in one context, best first.
    pub(super) fn preferred(
        &self,
        class: &AbstractSyntaxUid,
        accepted: &[TransferSyntaxUid],
    ) -> Vec<TransferSyntaxUid> {
        let mut rest = accepted.to_vec();
        let mut preferred = Vec::new();
        while rest.len() > 1 {
            let backwards: Vec<_> = rest.iter().rev().cloned().collect();
            let decided = self.decide(class, &[&rest, &backwards]);
            let chosen: Vec<_> = decided.into_iter().map(|context| context.answer).collect();
            let [ContextAnswer::Accepted(one), ContextAnswer::Accepted(other)] = chosen.as_slice() else {
                break;
            };
            if one != other {
                break;
            }
            rest.retain(|syntax| syntax != one);
            preferred.push(one.clone());
        }
        preferred
    }

    fn decide(&self, class: &AbstractSyntaxUid, syntaxes: &[&[TransferSyntaxUid]]) -> Vec<ContextDecision> {
        let context = |(index, syntaxes): (usize, &&[TransferSyntaxUid])| {
            Some(ProposedContext {
                id: PresentationContextId::nth(index)?,
                abstract_syntax: class.clone(),
                transfer_syntaxes: syntaxes.to_vec(),
            })
        };
        // As many contexts as an association has.
        let decided = syntaxes.chunks(128).flat_map(|some| {
            let contexts = some.iter().enumerate().filter_map(context).collect();
            let proposal = self.proposal(contexts);
            self.engine.decide(&proposal, &DestinationKnowledge::default()).contexts
        });
        decided.collect()
    }

    fn proposal(&self, contexts: Vec<ProposedContext>) -> Proposal {
        Proposal::of_contexts(
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.listener),
            self.calling.clone(),
            self.route.called_ae_title.clone(),
            contexts,
        )
    }

    /// What a context's answer, and that to an instance sent on it, are in words.
    fn words(&self, class: &AbstractSyntaxUid, answer: &ContextAnswer) -> String {
        let syntax = match answer {
            ContextAnswer::Rejected(result) => return rejected(*result),
            ContextAnswer::Accepted(syntax) => syntax,
        };
        let instance_class = SopClassUid::try_from(class.as_str()).ok();
        let Some(instance_class) = instance_class.filter(|_| class.as_str() != VERIFICATION) else {
            return ACCEPTED.to_owned();
        };
        let decided = self.engine.decide_header(&InstanceFacts {
            calling: self.calling,
            called: &self.route.called_ae_title,
            context_class: class,
            command_class: &instance_class,
            dataset_class: Some(&instance_class),
            transfer_syntax: syntax,
            common_extended: &[],
            header: None,
        });
        match decided {
            Some(InstanceDecision::Accept { .. }) => ACCEPTED.to_owned(),
            Some(InstanceDecision::Hold(_)) => HELD.to_owned(),
            Some(InstanceDecision::Refuse { status, .. }) => format!("{ACCEPTED}, C-STORE answered {status}"),
            None => BY_INSTANCE.to_owned(),
        }
    }
}

pub(super) const ACCEPTED: &str = "accepted";
const HELD: &str = "accepted, held";
/// A rule asks for the header or the length.
const BY_INSTANCE: &str = "accepted, each instance decided by its header or size";

fn rejected(result: ContextResult) -> String {
    format!("rejected: {result}")
}
