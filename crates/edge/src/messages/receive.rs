//! Messages that come in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packhorse_identity::VerifyingKey;
use packhorse_ids::{DeliveryId, Kind, SiteName};
use packhorse_ledger::store::ProjectionError;
use packhorse_ledger::{Receipt, ReceiptBatch};
use packhorse_spool::{Entry, Index as _, Settlement};

use super::{Message, quiet, read};
use crate::asking;
use crate::custody::resend;
use crate::directory::{Learned, SiteEntry};
use crate::shared::{LINK_QUEUE, MESSAGES_QUEUE, Shared, fact_bytes, queue};

/// Messages claimed at a time.
const BATCH: usize = 64;
/// How long a message may be worked on.
const LEASE: Duration = Duration::from_secs(60);
/// How often the queue is looked at when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// A message that needs another first (receipts before an announcement) is looked at again after this time.
const RETRY: Duration = Duration::from_secs(2);
/// What messages free is settled each time so much has gathered: one transaction stays far from the spool's bounds.
const SETTLED_MAX: usize = 1024;

/// Works on messages that come in, until the edge stops.
pub(crate) async fn receive(shared: Arc<Shared>) {
    let queue = queue(MESSAGES_QUEUE);
    let mut wakeups = shared.spool.wakeups_of(&queue);
    while !shared.stop.is_cancelled() {
        wakeups.mark_unchanged();
        match shared.spool.claim(shared.epoch, &queue, BATCH, LEASE).await {
            Ok(entries) if entries.is_empty() => shared.changed(&mut wakeups, POLL).await,
            Ok(entries) => receive_batch(&shared, entries).await,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "messages cannot be claimed");
                shared.changed(&mut wakeups, POLL).await;
            }
        }
    }
}

/// What messages come to, settled together: one commit for all of them.
#[derive(Debug, Default)]
struct Results {
    settlements: Vec<(DeliveryId, Settlement)>,
    facts: Vec<Bytes>,
}

impl Results {
    fn done(&mut self, message: DeliveryId) {
        self.settlements.push((message, Settlement::Released));
    }

    fn later(&mut self, shared: &Shared, message: DeliveryId, why: &str) {
        let at = shared.clock.now().saturating_add(RETRY);
        let note = why.to_owned();
        self.settlements.push((message, Settlement::Retry { at, note }));
    }

    async fn settle(&mut self, shared: &Shared) {
        let Self { settlements, facts } = std::mem::take(self);
        if let Err(error) = shared.spool.settle(shared.epoch, settlements, facts).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "messages cannot be settled; they are worked on again"
            );
        }
    }
}

async fn receive_batch(shared: &Arc<Shared>, entries: Vec<Entry>) {
    let mut results = Results::default();
    let mut asked = Vec::new();
    for entry in entries {
        let (message, from) = (entry.routing.delivery, entry.routing.source.clone());
        shared.unknown_sites.forget(&from);
        match read(shared, &entry).await {
            Ok(Message::Ask) => asked.push((message, from)),
            Ok(said) => take(shared, &entry, said, &mut results).await,
            Err(why) => {
                tracing::warn!(site = %from, why, "a message is passed over");
                results.done(message);
            }
        }
        if results.settlements.len() >= SETTLED_MAX {
            results.settle(shared).await;
        }
    }
    answer_asks(shared, asked, &mut results).await;
    results.settle(shared).await;
}

/// Does what one message says.
async fn take(shared: &Arc<Shared>, entry: &Entry, said: Message, results: &mut Results) {
    let (message, from) = (entry.routing.delivery, &entry.routing.source);
    let done = match said {
        // Answered together with others.
        Message::Ask => Ok(()),
        Message::Announce {
            at,
            signing_key,
            destinations,
        } => {
            let entry = SiteEntry {
                announced_at: at,
                destinations,
                signing_key,
            };
            learn(shared, from, entry);
            Ok(())
        }
        Message::Receipts { batch, signature } => {
            let proven = receipts_came(shared, from, batch, &signature).await;
            proven.map(|proven| {
                let freed = proven.freed.into_iter().map(|freed| (freed, Settlement::Released));
                results.settlements.extend(freed);
                results.facts.extend(proven.facts);
            })
        }
        Message::Question {
            id,
            expires_at,
            question,
            ..
        } => {
            asking::answer(shared, from, id, expires_at, question);
            Ok(())
        }
        Message::Answer { id, answer } => {
            shared.asking.answered(from, id, answer);
            Ok(())
        }
        Message::Resend { study, to_ae_title } => resend::asked_by(shared, from, &study, to_ae_title.as_deref()).await,
        Message::StudyQuiet {
            to_ae_title,
            study,
            instances,
        } => {
            if let Some(at) = quiet::came(shared, entry, &to_ae_title, study, instances) {
                return results.settlements.push((message, Settlement::Postponed { at }));
            }
            Ok(())
        }
        Message::Mirror {
            ae_title,
            at,
            probed_at,
            facts,
        } => {
            shared.far_mirrors.told(shared, from, &ae_title, (at, probed_at, facts));
            Ok(())
        }
        Message::Proposed { ae_title, pairs } => {
            want(shared, from, &ae_title, &pairs);
            Ok(())
        }
    };
    match done {
        Ok(()) => results.done(message),
        Err(why) => results.later(shared, message, why),
    }
}

/// One announcement to each site that asked, however often it did.
async fn answer_asks(shared: &Shared, asked: Vec<(DeliveryId, SiteName)>, results: &mut Results) {
    let mut unanswered = BTreeSet::new();
    let destinations = shared.destinations();
    let sites: BTreeSet<_> = asked.iter().map(|(_, site)| site).collect();
    for site in sites {
        let kept: Vec<_> = destinations
            .iter()
            .flat_map(|destination| &destination.accept_from)
            .cloned()
            .collect();
        if let Err(error) = shared.directory.asked_by(site, shared.clock.now(), &kept) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the directory cannot be written"
            );
        }
        shared.mirror_wanted.again(site, &destinations);
        if let Err(why) = shared.announce_to(site).await {
            tracing::warn!(%site, why, "not announced to a site that asks");
            unanswered.insert(site);
        }
    }
    for (message, site) in &asked {
        if unanswered.contains(site) {
            results.later(shared, *message, "the announcement cannot be spooled now");
        } else {
            results.done(*message);
        }
    }
}

/// Pairs that sources of `from` propose: only a site that may send to a PACS has a say in what it is asked.
fn want(shared: &Shared, from: &SiteName, ae_title: &str, pairs: &[(String, String)]) {
    let mut destinations = shared.destinations().into_iter();
    let theirs = destinations.find(|known| known.ae_title.as_str() == ae_title && known.accept_from.contains(from));
    let Some(pacs) = theirs.and_then(|known| shared.pacs.get(&known.ae_title)) else {
        tracing::info!(site = %from, "what its sources propose is passed over: it may not send there");
        return;
    };
    pacs.mirror.want(from, pairs);
}

/// Takes an announcement of a site that a route of ours leads to, or that is known already: anybody else's would only
/// fill the directory.
fn learn(shared: &Shared, from: &SiteName, entry: SiteEntry) {
    let is_ours = shared.config.engine.routes().iter().any(|route| route.to_site == *from);
    if !is_ours && shared.directory.site(from).is_none() {
        tracing::info!(site = %from, "an announcement is passed over: no [[route]] leads to that site");
        return;
    }
    if VerifyingKey::from_text(&entry.signing_key).is_err() {
        tracing::warn!(site = %from, "an announcement without a usable signing key is passed over");
        return;
    }
    match shared.directory.learn(from, entry) {
        Ok(Learned::Changed) => tracing::info!(site = %from, "announced its destinations"),
        Ok(Learned::Same) => {}
        Ok(Learned::KeyDiffers) => tracing::error!(
            site = %from,
            "announces itself with another signing key than the one known: if that is right, remove the site from directory.json"
        ),
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "an announcement is not written down"
        ),
    }
}

/// What receipts prove.
struct Proven {
    /// Deliveries whose copy here is free.
    freed: Vec<DeliveryId>,
    facts: Vec<Bytes>,
}

/// Receipts count only with the signature of the site that the envelope comes from, by the key pinned for it, and only
/// for deliveries that went from here to that very site: no other site's word frees a copy or closes an account.
///
/// # Errors
/// Why they must be looked at again.
async fn receipts_came(
    shared: &Shared,
    from: &SiteName,
    mut batch: ReceiptBatch,
    signature: &str,
) -> Result<Proven, &'static str> {
    let nothing = Proven {
        freed: Vec::new(),
        facts: Vec::new(),
    };
    let Some(entry) = shared.directory.site(from) else {
        let leads_there = shared.config.engine.routes().iter().any(|route| route.to_site == *from);
        if leads_there {
            return Err("the site has not announced its signing key yet");
        }
        tracing::error!(site = %from, "receipts of a site that we send nothing to are passed over");
        return Ok(nothing);
    };
    let signed = batch.signed_bytes();
    let key = VerifyingKey::from_text(&entry.signing_key);
    let is_right = match (&signed, &key) {
        (Ok(bytes), Ok(key)) => batch.site == *from && key.verify(bytes, signature),
        _ => false,
    };
    if !is_right {
        tracing::error!(site = %from, "receipts with a wrong signature are passed over");
        return Ok(nothing);
    }
    let all = batch.receipts.len();
    batch.receipts = theirs(shared, from, std::mem::take(&mut batch.receipts)).await?;
    let foreign = all - batch.receipts.len();
    if foreign > 0 {
        tracing::warn!(site = %from, foreign, "receipts are passed over: their deliveries did not go to that site, or are free already");
    }
    let custody = batch.receipts.iter().filter_map(|receipt| match receipt {
        Receipt::Custody(custody) => Some(custody.delivery),
        Receipt::Outcome(_) | Receipt::Held(_) | Receipt::Resumed(_) | Receipt::Discarded(_) | Receipt::Resent(_) => {
            None
        }
    });
    Ok(Proven {
        freed: custody.collect(),
        facts: batch.facts().iter().filter_map(fact_bytes).collect(),
    })
}

/// The receipts that `from` may give: those of deliveries that went from here to it. Where our copy is freed already the
/// ledger tells; a second custody receipt has nothing left to say.
///
/// # Errors
/// Why it cannot be told now.
async fn theirs(shared: &Shared, from: &SiteName, receipts: Vec<Receipt>) -> Result<Vec<Receipt>, &'static str> {
    const UNREADABLE: &str = "the spool cannot be read now";
    let (mut theirs, mut without_copy) = (Vec::new(), Vec::new());
    let link = queue(LINK_QUEUE);
    for receipt in receipts {
        match shared.spool.entry(receipt.delivery()).await.map_err(|_| UNREADABLE)? {
            Some(entry) => {
                let routing = &entry.routing;
                let is_ours = entry.queue == link && routing.kind == Kind::Delivery && routing.source == shared.site;
                if is_ours && routing.destination == *from {
                    theirs.push(receipt);
                }
            }
            None if matches!(receipt, Receipt::Custody(_)) => {}
            None => without_copy.push(receipt),
        }
    }
    if without_copy.is_empty() {
        return Ok(theirs);
    }
    let applied = crate::ledger::catch_up(shared).await.map_err(|_| UNREADABLE)?;
    let behind = shared.spool.facts_after(applied, 1).await.map_err(|_| UNREADABLE)?;
    let site = from.clone();
    let asked = shared.ledger(move |projection| {
        let went = |receipt: Receipt| Ok((projection.went_to(receipt.delivery(), &site)?, receipt));
        without_copy
            .into_iter()
            .map(went)
            .collect::<Result<Vec<_>, ProjectionError>>()
    });
    let Some(Ok(asked)) = asked.await else {
        return Err("the ledger does not answer");
    };
    if !behind.is_empty() && asked.iter().any(|(went, _)| went.is_none()) {
        return Err("the ledger is behind");
    }
    theirs.extend(
        asked
            .into_iter()
            .filter(|(went, _)| *went == Some(true))
            .map(|(_, receipt)| receipt),
    );
    Ok(theirs)
}

#[cfg(test)]
mod tests;
