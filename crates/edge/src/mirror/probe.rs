//! One probe: an association that asks a PACS what it takes, and stores nothing.

use std::time::Duration;

use packhorse_association::{AssociationError, NegotiatedContext, RequestedAssociation};
use packhorse_dicom::negotiation::{PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::{self, VERIFICATION};
use packhorse_dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_ids::WallTime;
use tokio::time::timeout;

use super::belief::{Beliefs, Patience, Subject};
use crate::config::Destination;
use crate::deliver::requestor_config;
use crate::shared::Shared;

/// Contexts of one association beside Verification, which tells a PACS that refuses us from one that refuses classes.
const CONTEXTS_MAX: usize = 127;
/// How long a PACS may take to connect,
const CONNECT: Duration = Duration::from_secs(5);
/// to answer the A-ASSOCIATE-RQ: a delivery that comes meanwhile waits for it,
const ASSOCIATE: Duration = Duration::from_secs(10);
/// and to agree to the release.
const RELEASE: Duration = Duration::from_secs(2);

/// A class and a transfer syntax.
pub(crate) type Pair = (AbstractSyntaxUid, TransferSyntaxUid);

/// What is to be asked now, as much as one association holds: first classes of the standard, each with Explicit and
/// Implicit VR LE; behind them single syntaxes that a source has proposed, once the class has been asked, unless it is known
/// not to be taken.
pub(crate) fn due<'a>(
    beliefs: &Beliefs,
    wanted: impl Iterator<Item = &'a Pair>,
    now: WallTime,
    patience: &Patience,
) -> Vec<ProposedContext> {
    let is_due = |subject: &Subject| beliefs.is_due(subject, now, patience);
    let classes = sop_class::storage().iter().filter_map(|class| {
        let class = AbstractSyntaxUid::try_from(class.uid).ok()?;
        let subject = Subject { class, syntax: None };
        is_due(&subject).then_some((subject.class, native()))
    });
    let pairs = wanted.filter(|(class, syntax)| {
        let is_standard = sop_class::by_uid(class.as_str()).is_some();
        let of_class = Subject {
            class: class.clone(),
            syntax: None,
        };
        let of_pair = Subject {
            class: class.clone(),
            syntax: Some(syntax.clone()),
        };
        let is_next = !is_standard || !is_due(&of_class);
        is_next && beliefs.takes(&of_class, now, patience) != Some(false) && is_due(&of_pair)
    });
    let pairs = pairs.map(|(class, syntax)| (class.clone(), vec![syntax.clone()]));
    let asked: Vec<_> = classes.chain(pairs).take(CONTEXTS_MAX).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let verification = AbstractSyntaxUid::try_from(VERIFICATION).expect("a UID of the standard");
    let all = std::iter::once((verification, vec![implicit()])).chain(asked);
    let numbered = all
        .enumerate()
        .filter_map(|(index, (abstract_syntax, transfer_syntaxes))| {
            Some(ProposedContext {
                id: PresentationContextId::nth(index)?,
                abstract_syntax,
                transfer_syntaxes,
            })
        });
    numbered.collect()
}

fn implicit() -> TransferSyntaxUid {
    TransferSyntaxUid::try_from(IMPLICIT_VR_LE).expect("a UID of the standard")
}

fn native() -> Vec<TransferSyntaxUid> {
    let explicit = TransferSyntaxUid::try_from(EXPLICIT_VR_LE).expect("a UID of the standard");
    vec![explicit, implicit()]
}

/// Proposes `contexts` with the calling title that deliveries use, and releases.
pub(super) async fn probe(
    shared: &Shared,
    destination: &Destination,
    contexts: Vec<ProposedContext>,
) -> Result<Vec<NegotiatedContext>, AssociationError> {
    let mut config = requestor_config(
        shared,
        destination,
        destination.calling_ae_title_for(&shared.site, None),
    );
    (config.connect, config.artim) = (CONNECT, ASSOCIATE);
    let address = destination.address.as_str();
    let association = match &destination.tls {
        Some(tls) => RequestedAssociation::request_tls(address, tls, &config, contexts).await?,
        None => RequestedAssociation::request(address, &config, contexts).await?,
    };
    let answered = association.contexts().to_vec();
    // What does not end in time is closed.
    drop(timeout(RELEASE, association.release()).await);
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use packhorse_dicom::negotiation::{ContextAnswer, ContextResult};

    use super::*;
    use crate::mirror::belief::{Source, Word};

    const PATIENCE: Patience = Patience {
        confirm: Duration::from_secs(600),
        refresh: Duration::from_secs(86_400),
        expire: Duration::from_secs(7 * 86_400),
    };
    const JPEG: &str = "1.2.840.10008.1.2.4.50";

    fn answer(
        contexts: Vec<ProposedContext>,
        answer: impl Fn(&ProposedContext) -> ContextAnswer,
    ) -> Vec<NegotiatedContext> {
        let answered = contexts.into_iter().map(|proposed| NegotiatedContext {
            answer: answer(&proposed),
            proposed,
        });
        answered.collect()
    }

    #[test]
    fn all_classes_fit_into_two_associations_and_pairs_come_behind_them() {
        let now = WallTime::default();
        let word = Word {
            at: now,
            source: Source::Probe,
        };
        let (raw, ct) = (sop_class::RAW_DATA_STORAGE, "1.2.840.10008.5.1.4.1.1.2");
        let pairs: Vec<Pair> = [raw, ct]
            .map(|class| (class.parse().unwrap(), JPEG.parse().unwrap()))
            .into();
        let mut beliefs = Beliefs::default();
        let mut proposed = Vec::new();
        loop {
            let contexts = due(&beliefs, pairs.iter(), now, &PATIENCE);
            if contexts.is_empty() {
                break;
            }
            assert!(contexts.len() <= 128);
            assert_eq!(contexts[0].abstract_syntax.as_str(), VERIFICATION);
            proposed.push(contexts.clone());
            let answered = answer(contexts, ProposedContext::accept_first);
            beliefs.hear(&answered, word, &PATIENCE);
        }
        let of = |contexts: &[ProposedContext], syntaxes: usize| {
            let asked = contexts.iter().skip(1);
            asked
                .filter(|context| context.transfer_syntaxes.len() == syntaxes)
                .count()
        };
        let classes: usize = proposed[..2].iter().map(|contexts| of(contexts, 2)).sum();
        assert_eq!(classes, sop_class::storage().len());
        assert_eq!(of(&proposed[0], 1), 0, "nothing is known of their classes yet");
        let single: usize = proposed.iter().map(|contexts| of(contexts, 1)).sum();
        assert_eq!(single, pairs.len());
        assert!(proposed.len() <= 3, "{}", proposed.len());
    }

    #[test]
    fn syntaxes_of_a_class_that_is_not_taken_are_not_asked() {
        let later = WallTime::default().saturating_add(PATIENCE.confirm);
        let ct: AbstractSyntaxUid = "1.2.840.10008.5.1.4.1.1.2".parse().unwrap();
        let pairs: [Pair; 1] = [(ct.clone(), JPEG.parse().unwrap())];
        let mut beliefs = Beliefs::default();
        for at in [WallTime::default(), later] {
            let word = Word {
                at,
                source: Source::Probe,
            };
            for _ in 0..2 {
                let contexts = due(&beliefs, std::iter::empty(), at, &PATIENCE);
                let answered = answer(contexts, |context| {
                    if context.abstract_syntax == ct {
                        ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED)
                    } else {
                        context.accept_first()
                    }
                });
                beliefs.hear(&answered, word, &PATIENCE);
            }
        }
        assert_eq!(due(&beliefs, pairs.iter(), later, &PATIENCE), []);
    }
}
