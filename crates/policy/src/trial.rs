//! What would become of an instance, from the proposal to its end: for people who try a policy before they trust it.

use std::net::{IpAddr, Ipv4Addr};

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, PresentationContextId, Proposal, ProposedContext};
use packhorse_dicom::uid::{AbstractSyntaxUid, SopClassUid, TransferSyntaxUid};

use crate::attribute::HeaderValues;
use crate::decision::{ContextDecision, InstanceDecision, InstanceFacts, Shadow};
use crate::engine::Engine;
use crate::knowledge::DestinationKnowledge;
use crate::route::Route;
use crate::rule::RuleName;

/// An instance that nobody sends, in a presentation context of its own with one transfer syntax.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// Who would send it; taken for admitted.
    pub calling: &'a AeTitle,
    /// The route that it would be sent to.
    pub route: &'a Route,
    /// Its class, by context and command.
    pub class: &'a SopClassUid,
    /// The data set's (0008,0016); `None`: the same, or absent.
    pub dataset_class: Option<&'a SopClassUid>,
    /// Its transfer syntax.
    pub transfer_syntax: &'a TransferSyntaxUid,
    /// Values of [`Engine::attributes`]; `None`: not known.
    pub header: Option<&'a HeaderValues>,
    /// Bytes of its data set; `None`: not known.
    pub length: Option<u64>,
}

/// What would become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// What is answered to its context.
    pub context: ContextDecision,
    /// What becomes of it. `None`: it has no context to come on, or that depends on what is not known of it.
    pub instance: Option<InstanceDecision>,
    /// The rules that may decide, in their order, where it depends on what is not known.
    pub may_decide: Vec<RuleName>,
    /// Shadow rules that would have decided otherwise.
    pub shadows: Vec<Shadow>,
}

impl Tried {
    /// The rule that decides; `None` where none does yet.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleName> {
        match (&self.instance, &self.context.answer) {
            (Some(decision), _) => Some(decision.rule()),
            (None, ContextAnswer::Rejected(_)) => self.context.rule.as_ref(),
            (None, ContextAnswer::Accepted(_)) => None,
        }
    }

    /// Whether it is answered Success: taken or held.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        matches!(
            self.instance,
            Some(InstanceDecision::Accept { .. } | InstanceDecision::Hold(_))
        )
    }
}

impl Engine {
    /// What would become of an instance.
    #[must_use]
    pub fn try_out(&self, trial: &Trial<'_>, known: &DestinationKnowledge) -> Tried {
        let class = AbstractSyntaxUid::from(trial.class);
        let mut context = self.decide(&proposal(trial, &class), known).contexts.remove(0);
        let mut shadows = std::mem::take(&mut context.shadows);
        if matches!(context.answer, ContextAnswer::Rejected(_)) {
            return Tried {
                context,
                instance: None,
                may_decide: Vec::new(),
                shadows,
            };
        }
        let facts = InstanceFacts {
            calling: trial.calling,
            called: &trial.route.called_ae_title,
            context_class: &class,
            command_class: trial.class,
            dataset_class: trial.dataset_class,
            transfer_syntax: trial.transfer_syntax,
            common_extended: &[],
            header: trial.header,
        };
        let instance = self.decide_known(&facts, trial.length);
        if let Some(length) = trial.length.filter(|_| instance.is_some()) {
            let at_instance = self.shadows(&facts, length);
            shadows.retain(|shadow| !at_instance.contains(shadow));
            shadows.extend(at_instance);
            shadows.sort_by_key(|shadow| shadow.rule.number);
        }
        let may_decide = if instance.is_none() {
            self.may_decide(&facts, trial.length)
        } else {
            Vec::new()
        };
        Tried {
            context,
            instance,
            may_decide,
            shadows,
        }
    }
}

fn proposal(trial: &Trial<'_>, class: &AbstractSyntaxUid) -> Proposal {
    let context = ProposedContext {
        id: PresentationContextId::nth(0).expect("the first of 128"),
        abstract_syntax: class.clone(),
        transfer_syntaxes: vec![trial.transfer_syntax.clone()],
    };
    Proposal::of_contexts(
        (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            &trial.route.listener.clone().unwrap_or_default(),
        ),
        trial.calling.clone(),
        trial.route.called_ae_title.clone(),
        vec![context],
    )
}
