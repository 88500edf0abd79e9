//! The answer to a proposal, with its reasons.

use packhorse_dicom::negotiation::{ContextAnswer, ContextResult, Proposal, ProposedContext};
use packhorse_dicom::sop_class::{self, Group, VERIFICATION};
use packhorse_dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};

use super::walk::Judged;
use super::{Engine, implicit_vr_le};
use crate::decision::{ContextDecision, Shadow};
use crate::knowledge::{DestinationKnowledge, NotTaken};
use crate::route::Route;
use crate::rule::{Query, Rule};

/// A transfer syntax that the rules let in, and what they say of it.
struct Open<'a> {
    syntax: &'a TransferSyntaxUid,
    judged: Judged<'a>,
}

impl Engine {
    /// With what the shadow rules would have done.
    pub(super) fn decide_context(
        &self,
        proposal: &Proposal,
        context: &ProposedContext,
        known: &DestinationKnowledge,
    ) -> ContextDecision {
        let decided = self.decide_with(proposal, context, known, None);
        let would_decide = |rule: &&Rule| {
            let other = self.decide_with(proposal, context, known, Some(rule.name.number));
            other.rule.is_some_and(|deciding| deciding == rule.name)
        };
        let shadows = self.shadow_rules().filter(would_decide).map(Shadow::of);
        ContextDecision {
            shadows: shadows.collect(),
            ..decided
        }
    }

    fn decide_with(
        &self,
        proposal: &Proposal,
        context: &ProposedContext,
        known: &DestinationKnowledge,
        shadow: Option<usize>,
    ) -> ContextDecision {
        let uid = context.abstract_syntax.as_str();
        let class = sop_class::classify(uid, &proposal.common_extended);
        let decided = |answer, rule: Option<&Rule>, not_taken| ContextDecision {
            id: context.id,
            abstract_syntax: context.abstract_syntax.clone(),
            answer,
            rule: rule.map(|rule| rule.name.clone()),
            is_storage: class.group != Group::Service,
            not_taken,
            shadows: Vec::new(),
        };
        if uid == VERIFICATION {
            return decided(context.accept_first(), None, None);
        }
        let query = |syntax| Query {
            calling: &proposal.calling_ae_title,
            called: &proposal.called_ae_title,
            uid,
            class,
            syntax,
            shadow,
        };
        let syntaxes = context.transfer_syntaxes.iter();
        let judged: Vec<_> = syntaxes
            .filter_map(|syntax| {
                let judged = self.judge(&query(syntax))?;
                Some(Open { syntax, judged })
            })
            .collect();
        let refusing = judged.first().map(|first| first.judged.rule);
        let open = judged.into_iter().filter(|open| open.judged.rule.opens()).collect();
        let route = self.route(&proposal.called_ae_title, &proposal.listener);
        match narrow(open, &context.abstract_syntax, route, known) {
            Narrowed::Chosen(Open { syntax, judged }) => {
                let not_taken = known.not_taken(&context.abstract_syntax, syntax);
                decided(ContextAnswer::Accepted(syntax.clone()), Some(judged.rule), not_taken)
            }
            Narrowed::Away(Open { judged, .. }, not_taken) => {
                let result = match not_taken {
                    NotTaken::Class => ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED,
                    NotTaken::Syntax => ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED,
                };
                decided(ContextAnswer::Rejected(result), Some(judged.rule), Some(not_taken))
            }
            Narrowed::Nothing => {
                let result = self.result(&query(implicit_vr_le()), refusing);
                decided(ContextAnswer::Rejected(result), refusing, None)
            }
        }
    }

    /// Why a context is rejected by the rules: 4 when its class would come in another syntax; 1 when it is refused because
    /// of this caller or route; 3 when it is refused to everybody.
    fn result(&self, implicit: &Query<'_>, rule: Option<&Rule>) -> ContextResult {
        let in_implicit = self.judge(implicit);
        if in_implicit.is_some_and(|judged| judged.rule.opens()) {
            ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED
        } else if rule.is_some_and(Rule::is_particular) {
            ContextResult::USER_REJECTION
        } else {
            ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED
        }
    }
}

/// What is left of the open syntaxes.
enum Narrowed<'a> {
    /// One of them.
    Chosen(Open<'a>),
    /// None, though a rule and the route take what would have been chosen: the destination is known not to.
    Away(Open<'a>, NotTaken),
    /// None, by rules and route.
    Nothing,
}

/// Chooses among the open syntaxes, without those that the destination is known not to take where it is to be strict:
/// only what a rule accepts is narrowed, for what is held or refused at the instance is not sent on.
fn narrow<'a>(
    open: Vec<Open<'a>>,
    class: &AbstractSyntaxUid,
    route: Option<&Route>,
    known: &DestinationKnowledge,
) -> Narrowed<'a> {
    let forbids = |open: &Open<'_>| {
        let may_narrow = !open.judged.stays;
        may_narrow.then(|| known.forbids(class, open.syntax)).flatten()
    };
    let (mut forbidden, mut allowed): (Vec<_>, Vec<_>) = open.into_iter().partition(|open| forbids(open).is_some());
    if let Some(chosen) = choose(&allowed, class, route, known) {
        return Narrowed::Chosen(allowed.swap_remove(chosen));
    }
    let Some(wanted) = choose(&forbidden, class, route, known) else {
        return Narrowed::Nothing;
    };
    let wanted = forbidden.swap_remove(wanted);
    let not_taken = forbids(&wanted).unwrap_or(NotTaken::Syntax);
    Narrowed::Away(wanted, not_taken)
}

/// The place of the transfer syntax to choose among those that are open, which are in the requestor's order. A route's list
/// decides, but Implicit VR Little Endian is never refused for an accepted class (PS3.5 §10.1). Then what the destination
/// is known to take, then Explicit and Implicit VR Little Endian (native syntaxes cost little on the wire), then the
/// requestor's first; what the destination is known not to take comes behind everything else.
fn choose(
    open: &[Open<'_>],
    class: &AbstractSyntaxUid,
    route: Option<&Route>,
    known: &DestinationKnowledge,
) -> Option<usize> {
    let find = |wanted: &str| open.iter().position(|open| open.syntax.as_str() == wanted);
    if let Some(route) = route.filter(|route| !route.transfer_syntaxes.is_empty()) {
        let listed = route.transfer_syntaxes.iter().find_map(|wanted| find(wanted.as_str()));
        return listed.or_else(|| find(IMPLICIT_VR_LE));
    }
    let rank = |open: &Open<'_>| {
        let standing = match (known.is_taken(class, open.syntax), known.not_taken(class, open.syntax)) {
            (true, _) => return (0, 0),
            (false, None | Some(NotTaken::Class)) => 1,
            (false, Some(NotTaken::Syntax)) => 2,
        };
        let native = match open.syntax.as_str() {
            EXPLICIT_VR_LE => 0,
            IMPLICIT_VR_LE => 1,
            _ => 2,
        };
        (standing, native)
    };
    // The first of equals: the requestor's order.
    (0..open.len()).min_by_key(|place| open.get(*place).map(rank))
}
