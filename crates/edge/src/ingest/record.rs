//! What is written down of an association.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use packhorse_association::codec::UserInformation;
use packhorse_association::driver::tls::{Distrust, PeerTls};
use packhorse_association::{AssociationError, Decide};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, AsyncOperationsWindow, ContextAnswer, ContextResult, Proposal, Rejection};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_ledger::fact::{AssociationEnd, AssociationEnded, AssociationOpened, ContextFact, RefusedContextUsed};
use packhorse_ledger::identity::printable;
use packhorse_ledger::{AssociationId, Fact};
use packhorse_policy::{Admission, ContextDecision, Refused};
use packhorse_spool::Index as _;
use rustls::pki_types::UnixTime;

use super::hall::Guest;
use super::journal::Journal;
use super::judge::Told;
use crate::directory::Standing;
use crate::mirror::Known;
use crate::shared::{Place, Shared, draw};

/// Whether the caller may send to the route it calls: known, and the far site agrees.
pub(crate) fn admit(shared: &Shared, proposal: &Proposal) -> Result<Admission, Refused> {
    let admission = shared
        .config
        .engine
        .admit(proposal, &|name| shared.names.addresses(name))?;
    consent(shared, proposal)?;
    Ok(admission)
}

/// Whether the far site has announced the route's destination and accepts from us: checked before anything is
/// acknowledged.
pub(crate) fn consent(shared: &Shared, proposal: &Proposal) -> Result<(), Refused> {
    let called = &proposal.called_ae_title;
    let refused = |why: String| Refused {
        rejection: Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED,
        why,
    };
    let Some(route) = shared.config.engine.route(called, &proposal.listener) else {
        return Err(refused(format!(
            "nothing here answers as {called}: add a [[route]] to edge.toml"
        )));
    };
    let (site, title) = (&route.to_site, &route.to_ae_title);
    match shared.directory.standing(site, title) {
        Standing::Accepted { .. } => Ok(()),
        Standing::NotAnnounced => Err(refused(format!(
            "{called} leads to {site}, which has not announced itself yet"
        ))),
        Standing::NoSuchDestination => Err(refused(format!(
            "{called} leads to {title} at {site}, which has no such destination"
        ))),
        Standing::NotAccepted => Err(refused(format!(
            "{called} leads to {title} at {site}, which does not accept from {0} yet: there, run `edge-gateway accept {0} --for {title}`",
            shared.site
        ))),
    }
}

/// Asks policy, for an acceptor.
pub(crate) struct EdgeDecide<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    /// The connection, which leaves the hall when it becomes an association.
    pub(crate) guest: &'a Guest,
    /// What is known of its TLS; `None`: it is without.
    pub(crate) tls: Option<PeerTls>,
    /// Whether it was asked, and so has said why it rejects.
    pub(crate) asked: AtomicBool,
    /// Who was admitted: asked once, for the answer may be another a moment later.
    pub(crate) admitted: OnceLock<Admitted>,
}

/// A caller that was let in, and its place among the associations.
pub(crate) struct Admitted {
    pub(crate) source: Box<str>,
    /// Which `[[source]]` it is.
    index: usize,
    /// What is known of the destination: one and the same for the answer and for what is written down.
    pub(crate) known: Arc<Known>,
    _place: Place,
}

impl EdgeDecide<'_> {
    /// Whether a source that must come with its certificate does.
    fn certified(&self, proposal: &Proposal, admission: Admission) -> Result<Admission, Refused> {
        let Some(Some(trust)) = self.shared.config.source_trust.get(admission.index) else {
            return Ok(admission);
        };
        let calling = &proposal.calling_ae_title;
        let refused = |why: String| Refused {
            rejection: Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED,
            why,
        };
        let Some(tls) = &self.tls else {
            let why =
                format!("{calling} has tls in its [[source]] and came without TLS: it has to call a listener with tls");
            return Err(refused(why));
        };
        let checked = trust.check_requestor(tls, UnixTime::now());
        checked.map_err(|distrust| refused(uncertified(calling, &distrust)))?;
        Ok(admission)
    }
}

/// Whether the disk takes what the open associations and one more may send: before they are told A700, which to most senders
/// means lost and not later, no more of them are let in.
fn has_room(shared: &Shared) -> bool {
    let associations = u64::try_from(shared.association_count()).unwrap_or(u64::MAX);
    let needed = shared
        .config
        .association_room
        .saturating_mul(associations.saturating_add(1));
    shared.spool.room_left() >= needed
}

fn uncertified(calling: &AeTitle, distrust: &Distrust) -> String {
    format!("{calling} came with another certificate than tls in its [[source]] allows: {distrust}")
}

impl Decide for EdgeDecide<'_> {
    fn decide(&self, proposal: &Proposal) -> Answer {
        let (calling, called, peer) = (&proposal.calling_ae_title, &proposal.called_ae_title, proposal.peer);
        self.asked.store(true, Ordering::Relaxed);
        if self.shared.draining.is_cancelled() {
            tracing::info!(%calling, %called, %peer, "association rejected for now: this gateway is stopping");
            return Answer::Reject(Rejection::TEMPORARY_CONGESTION);
        }
        let admitted = admit(self.shared, proposal).and_then(|admission| self.certified(proposal, admission));
        let admission = match admitted {
            Ok(admission) => admission,
            Err(Refused { rejection, why }) => {
                self.shared.rejections.remember(proposal, &why, self.shared.clock.now());
                tracing::warn!(%calling, %called, %peer, %rejection, why, "association rejected");
                return Answer::Reject(rejection);
            }
        };
        self.shared.rejections.forget(proposal);
        // Only who may call takes a place.
        if !has_room(self.shared) {
            tracing::warn!(%calling, %peer, "rejected for now: the disk has no room for what it may send");
            return Answer::Reject(Rejection::LOCAL_LIMIT_EXCEEDED);
        }
        let Some(place) = self.shared.count_in(peer) else {
            tracing::warn!(%calling, %peer, "rejected for now: too many associations (limits in edge.toml)");
            return Answer::Reject(Rejection::LOCAL_LIMIT_EXCEEDED);
        };
        if !self.guest.leave() {
            return Answer::Reject(Rejection::LOCAL_LIMIT_EXCEEDED);
        }
        let admitted = self.admitted.get_or_init(|| Admitted {
            source: admission.source,
            index: admission.index,
            known: known(self.shared, proposal),
            _place: place,
        });
        decide(self.shared, proposal, &admitted.known).0
    }

    /// Several operations at a time only for a source whose configuration says that it really does it.
    fn user_information(&self, _: &Proposal, ours: UserInformation) -> UserInformation {
        let windows = &self.shared.config.source_windows;
        let window = self.admitted.get().and_then(|admitted| windows.get(admitted.index));
        let window = window
            .filter(|window| **window > 1)
            .map(|window| AsyncOperationsWindow {
                invoked: *window,
                performed: 1,
            });
        UserInformation {
            async_operations: window,
            ..ours
        }
    }
}

/// What is known now of the destination that a proposal is for. It changes: take it once for an association.
pub(crate) fn known(shared: &Shared, proposal: &Proposal) -> Arc<Known> {
    let route = shared
        .config
        .engine
        .route(&proposal.called_ae_title, &proposal.listener);
    route.map_or_else(Arc::default, |route| shared.far_mirrors.known(shared, route))
}

/// Policy's decision. Pure, so that its reasons can be had again.
pub(crate) fn decide(shared: &Shared, proposal: &Proposal, known: &Known) -> (Answer, Vec<ContextDecision>) {
    let decision = shared.config.engine.decide(proposal, &known.policy);
    (decision.answer, decision.contexts)
}

/// An association's facts. The opening rides with the first instance, the end with a commit of its own.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: AssociationId,
    pub(crate) source: String,
    shared: Arc<Shared>,
    pub(super) journal: Journal,
    /// Shadow rules that have been told of.
    pub(crate) told: Arc<Told>,
}

impl Record {
    /// `source` is who was admitted, `known` what was known of the destination then.
    pub(crate) fn open(shared: &Arc<Shared>, proposal: &Proposal, source: &str, known: &Known) -> Self {
        let (id, source) = (draw::association(), source.to_owned());
        let (_, contexts) = decide(shared, proposal, known);
        shared.far_mirrors.proposed(shared, proposal, &contexts);
        let proposed = |context: &ContextDecision| u32::try_from(offered(proposal, context).len()).unwrap_or(u32::MAX);
        let context = |context: &ContextDecision| ContextFact {
            class: context.abstract_syntax.clone(),
            syntaxes: proposed(context),
            result: match &context.answer {
                ContextAnswer::Accepted(_) => ContextResult::ACCEPTANCE.0,
                ContextAnswer::Rejected(result) => result.0,
            },
            rule: known.decided_by(context, offered(proposal, context)),
        };
        let opened = Fact::AssociationOpened(AssociationOpened {
            association: id,
            source: source.clone(),
            calling: proposal.calling_ae_title.clone(),
            called: proposal.called_ae_title.clone(),
            peer: proposal.peer.to_string(),
            at: shared.clock.now(),
            contexts: contexts.iter().map(context).collect(),
        });
        log(&source, proposal, &contexts, known);
        let mut journal = Journal::default();
        journal.add(&opened);
        let told = Arc::<Told>::default();
        for context in &contexts {
            told.tell(&context.shadows, context.abstract_syntax.as_str());
        }
        Self {
            id,
            source,
            shared: Arc::clone(shared),
            journal,
            told,
        }
    }

    /// The sender used a presentation context of this class although it was refused.
    pub(crate) fn refused_context_used(&mut self, class: &AbstractSyntaxUid) {
        let (association, at) = (self.id, self.shared.clock.now());
        let class = printable(Some(class.as_str().as_bytes())).unwrap_or_default();
        let used = RefusedContextUsed { association, class, at };
        self.journal.add(&Fact::RefusedContextUsed(used));
    }

    /// Writes down how the association ended.
    pub(crate) async fn close(mut self, ended: Result<(), &AssociationError>) {
        let how = match ended {
            Ok(()) => AssociationEnd::Released,
            Err(AssociationError::Aborted(_)) => AssociationEnd::Aborted,
            Err(AssociationError::TimedOut { .. }) => AssociationEnd::TimedOut,
            Err(
                AssociationError::PeerMisbehaved(_)
                | AssociationError::Unanswered
                | AssociationError::Source(_)
                | AssociationError::Dripping { .. },
            ) => AssociationEnd::AbortedHere,
            Err(_) => AssociationEnd::Lost,
        };
        let (association, at) = (self.id, self.shared.clock.now());
        let ended = Fact::AssociationEnded(AssociationEnded { association, how, at });
        if let Some(stopped) = self.journal.add(&ended) {
            self.journal.add(&Fact::SenderStopped(stopped));
        }
        let facts = self.journal.take();
        if let Err(error) = self.shared.spool.commit(self.shared.epoch, Vec::new(), facts).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an association is not written down"
            );
        }
    }
}

/// The transfer syntaxes that were proposed for a context.
fn offered<'a>(proposal: &'a Proposal, context: &ContextDecision) -> &'a [TransferSyntaxUid] {
    let offered = proposal.contexts.iter().find(|offered| offered.id == context.id);
    offered.map_or(&[], |offered| &offered.transfer_syntaxes)
}

/// Contexts that the destination is known not to take are told apart in a line of the log: they are many.
const TOLD_MAX: usize = 16;

fn log(source: &str, proposal: &Proposal, contexts: &[ContextDecision], known: &Known) {
    let refused = contexts
        .iter()
        .filter(|context| matches!(context.answer, ContextAnswer::Rejected(_)));
    let refused: Vec<_> = refused
        .map(|context| packhorse_dicom::sop_class::name_of(context.abstract_syntax.as_str()))
        .collect();
    tracing::info!(
        source,
        calling = %proposal.calling_ae_title,
        called = %proposal.called_ae_title,
        peer = %proposal.peer,
        contexts = contexts.len(),
        ?refused,
        "association accepted"
    );
    let against = contexts.iter().filter_map(|context| {
        let class = packhorse_dicom::sop_class::name_of(context.abstract_syntax.as_str());
        let why = known.against(context, offered(proposal, context))?;
        let is_refused = context.refused_for_destination().is_some();
        Some((class, why, is_refused))
    });
    for (class, why, is_refused) in against.take(TOLD_MAX) {
        tracing::info!(source, called = %proposal.called_ae_title, class, why, is_refused, "known of the destination");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use packhorse_spool::{Disk, RealDisk};

    use super::*;
    use crate::testing::{Edge, Far, proposal, site};

    const TOML: &str = "[[source]]\nname = \"CT 1\"\nae_titles = [\"PACS_A\"]\nhosts = [\"pacs.invalid\"]\nasync_operations = 8\n\
                        [[route]]\ncalled_ae_title = \"ROUTE\"\nto = \"b/PACS\"\n";

    /// A disk with room for one association of 64 MiB, and not for two.
    #[derive(Debug)]
    struct Small;

    impl Disk for Small {
        fn write(&self, file: &File, pieces: &mut [io::IoSlice<'_>], offset: u64) -> io::Result<()> {
            RealDisk.write(file, pieces, offset)
        }

        fn sync(&self, file: &File) -> io::Result<()> {
            RealDisk.sync(file)
        }

        fn sync_folder(&self, folder: &File) -> io::Result<()> {
            RealDisk.sync_folder(folder)
        }

        fn free(&self, _: &Path) -> io::Result<u64> {
            Ok(100 << 20)
        }
    }

    #[tokio::test]
    async fn no_more_associations_are_let_in_than_the_disk_has_room_for() {
        let toml = TOML.replace("pacs.invalid", "127.0.0.1");
        let edge = Edge::on_disk("a", &toml, Arc::new(Small));
        edge.shared.directory.learn(&site("b"), Far::new("b").entry()).unwrap();
        let proposal = proposal("PACS_A", "ROUTE");
        let answered = |guest| {
            let decide = EdgeDecide {
                shared: &edge.shared,
                guest,
                tls: None,
                asked: AtomicBool::new(false),
                admitted: OnceLock::new(),
            };
            (decide.decide(&proposal), decide.admitted)
        };
        let [first, second] = [(); 2].map(|()| edge.shared.hall.enter(proposal.peer).0);
        let (answer, open) = answered(&first);
        assert!(matches!(answer, Answer::Accept(_)));
        let (answer, _) = answered(&second);
        assert_eq!(answer, Answer::Reject(Rejection::LOCAL_LIMIT_EXCEEDED));
        drop(open);
        assert!(matches!(answered(&second).0, Answer::Accept(_)));
    }

    #[tokio::test]
    async fn a_caller_by_name_is_admitted_by_the_addresses_found_before_and_its_source_is_kept() {
        let edge = Edge::with_names("a", TOML, std::net::Ipv4Addr::LOCALHOST.into());
        edge.shared.directory.learn(&site("b"), Far::new("b").entry()).unwrap();
        let proposal = proposal("PACS_A", "ROUTE");
        let (guest, _) = edge.shared.hall.enter(proposal.peer);
        let decide = EdgeDecide {
            shared: &edge.shared,
            guest: &guest,
            tls: None,
            asked: AtomicBool::new(false),
            admitted: OnceLock::new(),
        };
        assert!(
            matches!(decide.decide(&proposal), Answer::Reject(_)),
            "not looked up yet"
        );
        edge.shared.names.begin().await;
        assert_eq!(edge.shared.hall.len(), 1);
        assert!(matches!(decide.decide(&proposal), Answer::Accept(_)));
        assert_eq!((edge.shared.hall.len(), edge.shared.association_count()), (0, 1));
        let source = decide.admitted.get().unwrap().source.to_string();
        let record = Record::open(&edge.shared, &proposal, &source, &Known::default());
        assert_eq!(record.source, "CT 1");
        let window = decide
            .user_information(&proposal, UserInformation::ours(0))
            .async_operations;
        assert_eq!(window.map(|window| window.invoked), Some(8));
    }
}
