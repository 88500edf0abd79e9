//! What policy says of an instance: by its command, before its bytes are taken, and at its end.

use std::collections::BTreeSet;
use std::sync::Mutex;

use packhorse_dicom::header::Header;
use packhorse_dicom::sop_class;
use packhorse_dicom::uid::SopClassUid;
use packhorse_ledger::identity;
use packhorse_policy::{Attribute, HeaderValues, InstanceDecision, InstanceFacts, Shadow};

use super::take::Offered;
use crate::shared::Shared;

/// As far as the command decides: a refusal is final, anything else is to be asked again at the end.
pub(super) fn by_command(shared: &Shared, offered: &Offered<'_>, class: &SopClassUid) -> Option<InstanceDecision> {
    shared.config.engine.decide_header(&facts(offered, class, None, None))
}

/// At the end of the data set, of `length` bytes. What shadow rules would have done is told.
pub(super) fn at_end(
    shared: &Shared,
    offered: &Offered<'_>,
    class: &SopClassUid,
    header: &Header,
    length: u64,
) -> InstanceDecision {
    let engine = &shared.config.engine;
    let dataset_class = header
        .sop_class_uid
        .as_deref()
        .and_then(|value| SopClassUid::try_from(value).ok());
    let values = HeaderValues::of(header, engine.attributes(), |attribute, value| {
        identity::text(header, value, attribute == Attribute::PatientName)
    });
    let facts = facts(offered, class, dataset_class.as_ref(), Some(&values));
    offered
        .told
        .tell(&engine.shadows(&facts, length), offered.context_class.as_str());
    engine.decide_end(&facts, length)
}

fn facts<'a>(
    offered: &'a Offered<'_>,
    class: &'a SopClassUid,
    dataset_class: Option<&'a SopClassUid>,
    header: Option<&'a HeaderValues>,
) -> InstanceFacts<'a> {
    InstanceFacts {
        calling: &offered.proposal.calling_ae_title,
        called: &offered.proposal.called_ae_title,
        context_class: &offered.context_class,
        command_class: class,
        dataset_class,
        transfer_syntax: &offered.transfer_syntax,
        common_extended: &offered.proposal.common_extended,
        header,
    }
}

/// Which shadow rules have been told of on one association, for which class: at most as many as it has contexts, times the
/// shadow rules.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeSet<(usize, String)>>);

impl Told {
    /// Tells what shadow rules would have done to the class, each once.
    pub(super) fn tell(&self, shadows: &[Shadow], class: &str) {
        if shadows.is_empty() {
            return;
        }
        let mut told = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for Shadow { rule, outcome } in shadows {
            if told.insert((rule.number, class.to_owned())) {
                let class = sop_class::name_of(class);
                tracing::info!(%rule, class, would = %outcome, "a shadow rule would have decided");
            }
        }
    }
}
