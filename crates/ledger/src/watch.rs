//! What a refusal does to a sender, told from one association's facts in their order.
//!
//! Most senders stop at a refusal in the middle of a study: they abort, or release behind the instance that was refused.
//! A refused presentation context alone says nothing, for many senders propose every class always; so a sender that stops
//! at one and releases in good order (Orthanc) leaves no trace on its association.

use crate::account::refused_classes;
use crate::fact::{
    AssociationEnd, AssociationEnded, AssociationOpened, Evidence, Fact, InstanceRefused, SenderStopped, StoppedAt,
};

/// Refused classes of an association that are kept.
const CLASSES_MAX: usize = 16;

/// One association as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    opened: Option<AssociationOpened>,
    /// Refused at negotiation.
    refused: Vec<StoppedAt>,
    instances: u64,
    study: Option<String>,
    last: Last,
    /// An instance came behind one that was refused: this sender goes on.
    goes_on: bool,
}

/// What came last.
#[derive(Clone, Debug, Default)]
enum Last {
    #[default]
    Nothing,
    Taken,
    Refused {
        at: StoppedAt,
        status: u16,
    },
    RefusedContext(StoppedAt),
}

impl Trace {
    /// The next fact of the association; facts of others must not come here. Gives how its sender stopped at a refusal,
    /// once it has ended so.
    pub fn see(&mut self, fact: &Fact) -> Option<SenderStopped> {
        match fact {
            Fact::AssociationOpened(opened) => self.opened(opened),
            Fact::InstanceReceived(received) => self.taken(received.study.as_ref()),
            Fact::InstanceRepeated(_) => self.taken(None),
            Fact::InstanceRefused(refused) => self.refused(refused),
            Fact::RefusedContextUsed(used) => {
                let known = self.refused.iter().find(|refused| refused.class == used.class);
                let at = known.cloned().unwrap_or_else(|| StoppedAt {
                    class: used.class.clone(),
                    rule: String::new(),
                });
                self.last = Last::RefusedContext(at);
            }
            Fact::AssociationEnded(ended) => return self.ended(ended),
            _ => {}
        }
        None
    }

    fn opened(&mut self, opened: &AssociationOpened) {
        let contexts = opened.contexts.iter();
        let contexts: Vec<_> = contexts
            .map(|context| (context.class.to_string(), context.result, context.rule.clone()))
            .collect();
        let refused = refused_classes(&contexts).into_iter().take(CLASSES_MAX);
        self.refused = refused
            .map(|class| StoppedAt {
                class: class.uid,
                rule: class.rule,
            })
            .collect();
        // Its contexts are not needed any more, and may be many.
        self.opened = Some(AssociationOpened {
            contexts: Vec::new(),
            ..opened.clone()
        });
    }

    fn taken(&mut self, study: Option<&String>) {
        self.goes_on |= matches!(self.last, Last::Refused { .. });
        self.instances += 1;
        self.study = study.cloned().or_else(|| self.study.take());
        self.last = Last::Taken;
    }

    fn refused(&mut self, refused: &InstanceRefused) {
        self.goes_on |= matches!(self.last, Last::Refused { .. });
        self.study = refused.study.clone().or_else(|| self.study.take());
        self.last = Last::Refused {
            at: StoppedAt {
                class: refused.sop_class.clone(),
                rule: refused.rule.clone(),
            },
            status: refused.status,
        };
    }

    fn ended(&self, ended: &AssociationEnded) -> Option<SenderStopped> {
        let opened = self.opened.as_ref()?;
        let (classes, status, evidence) = match (ended.how, &self.last) {
            (AssociationEnd::Aborted, Last::Refused { at, status }) => {
                (vec![at.clone()], Some(*status), Evidence::Aborted)
            }
            (AssociationEnd::Aborted, _) if !self.refused.is_empty() => (self.refused.clone(), None, Evidence::Aborted),
            (AssociationEnd::Released | AssociationEnd::Lost, Last::Refused { at, status }) if !self.goes_on => {
                (vec![at.clone()], Some(*status), Evidence::EndedBehindRefusal)
            }
            (_, Last::RefusedContext(at)) => (vec![at.clone()], None, Evidence::UsedRefusedContext),
            _ => return None,
        };
        Some(SenderStopped {
            association: opened.association,
            source: opened.source.clone(),
            calling: opened.calling.clone(),
            route: opened.called.clone(),
            classes,
            status,
            study: self.study.clone(),
            instances: self.instances,
            evidence,
            at: ended.at,
        })
    }
}

#[cfg(test)]
mod tests;
