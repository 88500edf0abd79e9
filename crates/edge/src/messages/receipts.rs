//! Receipts out of facts: what is committed here as arrived or as an outcome is owed to the site it came from. Facts are
//! the memory, so a receipt that was owed before a crash is sent after it; one that is sent twice loses nothing.

use std::collections::BTreeMap;

use packhorse_ids::{DeliveryId, Digest, SiteName};
use packhorse_ledger::{CustodyReceipt, Fact, OutcomeReceipt, Receipt, ReceiptBatch};
use packhorse_spool::{Index as _, StoreError};

use super::Message;
use crate::shared::Shared;

/// Facts read at a time; also receipts in one batch at most.
const BATCH: usize = 256;

/// How far facts have been made receipts of.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    through: u64,
    /// Where deliveries that are not finished came from.
    open: BTreeMap<DeliveryId, SiteName>,
}

impl Receipts {
    /// Sends what was owed when it was called. Gives the number of the last fact that needs no more receipt.
    pub(crate) async fn send(&mut self, shared: &Shared) -> Result<u64, StoreError> {
        loop {
            let facts = shared.spool.facts_after(self.through, BATCH).await?;
            let Some((newest, _)) = facts.last() else {
                return Ok(self.through);
            };
            let (newest, is_all) = (*newest, facts.len() < BATCH);
            let mut owed: BTreeMap<SiteName, Vec<Receipt>> = BTreeMap::new();
            for (_, bytes) in &facts {
                if let Ok(fact) = Fact::from_bytes(bytes)
                    && let Some((site, receipt)) = self.receipt(shared, &fact).await
                {
                    owed.entry(site).or_default().push(receipt);
                }
            }
            for (site, receipts) in owed {
                send_batch(shared, &site, receipts).await?;
            }
            self.through = newest;
            if is_all {
                return Ok(newest);
            }
        }
    }

    async fn receipt(&mut self, shared: &Shared, fact: &Fact) -> Option<(SiteName, Receipt)> {
        match fact {
            Fact::Arrived(arrived) => {
                self.open.insert(arrived.delivery, arrived.from_site.clone());
                let (delivery, sha256, at) = (arrived.delivery, arrived.sha256, arrived.at);
                Some((
                    arrived.from_site.clone(),
                    Receipt::Custody(CustodyReceipt { delivery, sha256, at }),
                ))
            }
            Fact::OutcomeKnown(outcome) => {
                let site = match self.open.remove(&outcome.delivery) {
                    Some(site) => site,
                    None => source_site(shared, outcome.delivery).await?,
                };
                let receipt = OutcomeReceipt {
                    delivery: outcome.delivery,
                    status: outcome.status,
                    reason: outcome.reason.clone(),
                    sha256: outcome.sha256,
                    at: outcome.at,
                };
                Some((site, Receipt::Outcome(receipt)))
            }
            _ => None,
        }
    }
}

/// Where a delivery came from, by the ledger: its arrival was before this start. `None` for one that came from a PACS
/// here: its outcome is another site's word to us.
async fn source_site(shared: &Shared, delivery: DeliveryId) -> Option<SiteName> {
    let view = shared
        .ledger(move |projection| projection.delivery(delivery))
        .await?
        .ok()??;
    let is_incoming = view.direction == packhorse_ledger::view::Direction::Incoming;
    is_incoming
        .then(|| SiteName::try_from(view.source.as_str()).ok())
        .flatten()
}

async fn send_batch(shared: &Shared, site: &SiteName, receipts: Vec<Receipt>) -> Result<(), StoreError> {
    let batch = ReceiptBatch::new(
        shared.site.clone(),
        shared.signing.verifying_key().fingerprint(),
        receipts,
    );
    let signed = batch
        .signed_bytes()
        .ok()
        .and_then(|bytes| shared.signing.sign(&bytes).ok());
    match signed {
        Some(signature) => shared.send_message(site, &Message::Receipts { batch, signature }).await,
        None => {
            tracing::error!("receipts cannot be signed");
            Ok(())
        }
    }
}

/// Sends the receipts of a delivery again: the other site has offered it again, so they may have been lost.
pub(crate) async fn again(shared: &Shared, site: &SiteName, delivery: DeliveryId) {
    let view = shared.ledger(move |projection| projection.delivery(delivery)).await;
    let Some(Ok(Some(view))) = view else { return };
    let Ok(sha256) = view.sha256.parse::<Digest>() else {
        return;
    };
    let at = shared.clock.now();
    let mut receipts = vec![Receipt::Custody(CustodyReceipt { delivery, sha256, at })];
    if view.outcome_at.is_some() {
        let status = view
            .status
            .as_deref()
            .and_then(|status| u16::from_str_radix(status, 16).ok());
        receipts.push(Receipt::Outcome(OutcomeReceipt {
            delivery,
            status,
            reason: view.reason,
            sha256,
            at,
        }));
    }
    if let Err(error) = send_batch(shared, site, receipts).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "receipts cannot be sent again now"
        );
    }
}
