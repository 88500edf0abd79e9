//! Receipts out of facts: what is committed here as arrived, held or with an outcome is owed to the site it came from.
//! Facts are the memory, so a receipt that was owed before a crash is sent after it; one that is sent twice loses nothing.
//!
//! Which site that is, and the hash, stand in the spool as long as the delivery does, then in the facts until they are
//! trimmed, then in the ledger alone. So when the ledger is deleted, receipts for what has left this edge and whose facts
//! are trimmed cannot be given any more: the other edge's account of those stays open when it lost them the first time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use packhorse_envelope::Reader;
use packhorse_ids::{DeliveryId, Digest, Kind, SiteName, WallTime};
use packhorse_ledger::fact::{Conversion, Released, Reopened};
use packhorse_ledger::view::{DeliveryView, Direction};
use packhorse_ledger::{
    CustodyReceipt, DiscardedReceipt, Fact, HeldReceipt, OutcomeReceipt, Receipt, ReceiptBatch, ResentReceipt,
    ResumedReceipt, State,
};
use packhorse_spool::{Entry, EntryState, Index as _, StoreError};
use tokio::time::Instant;

use super::{EntryBytes, Message};
use crate::shared::Shared;

/// Facts read at a time.
const BATCH: usize = 256;
/// Receipts owed are sent when there are so many,
const SEND_AT: usize = 64;
/// or after this time: one message for many instances, and not one for each.
const SEND_AFTER: Duration = Duration::from_millis(200);
/// Stands in a receipt for the hash of an envelope that cannot be opened.
const UNKNOWN_HASH: Digest = Digest::from_bytes([0; 32]);

/// How far facts have been made receipts of.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// Facts read.
    read: u64,
    /// Facts of which every receipt is in the spool.
    sent: u64,
    /// Where deliveries that are not finished came from.
    open: BTreeMap<DeliveryId, SiteName>,
    owed: BTreeMap<SiteName, Vec<Receipt>>,
    owed_since: Option<Instant>,
}

impl Receipts {
    /// Reads what was new when it was called, and sends what is owed once it is enough or old enough.
    pub(crate) async fn keep_up(&mut self, shared: &Shared) -> Result<(), StoreError> {
        loop {
            let facts = shared.spool.facts_after(self.read, BATCH).await?;
            for (number, bytes) in &facts {
                if let Ok(fact) = Fact::from_bytes(bytes) {
                    self.gather(shared, &fact).await?;
                }
                self.read = *number;
            }
            if self.is_due() {
                self.send(shared).await?;
            }
            if facts.len() < BATCH {
                return Ok(());
            }
        }
    }

    fn is_due(&self) -> bool {
        let owed: usize = self.owed.values().map(Vec::len).sum();
        owed >= SEND_AT || self.owed_since.is_none_or(|since| since.elapsed() >= SEND_AFTER)
    }

    /// When what is owed must be sent; `None`: nothing is owed.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        self.owed_since.map(|since| SEND_AFTER.saturating_sub(since.elapsed()))
    }

    /// Sends all that is owed. Gives the number of the last fact that needs no more receipt.
    pub(crate) async fn send(&mut self, shared: &Shared) -> Result<u64, StoreError> {
        while let Some((site, receipts)) = self.owed.first_key_value() {
            for some in receipts.chunks(packhorse_ledger::receipt::RECEIPTS_MAX) {
                send_batch(shared, site, some.to_vec()).await?;
            }
            self.owed.pop_first();
        }
        (self.owed_since, self.sent) = (None, self.read);
        Ok(self.sent)
    }

    /// The number of the last fact that needs no more receipt.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    fn owe(&mut self, site: SiteName, receipt: Receipt) {
        self.owed_since.get_or_insert_with(Instant::now);
        self.owed.entry(site).or_default().push(receipt);
    }

    async fn gather(&mut self, shared: &Shared, fact: &Fact) -> Result<(), StoreError> {
        match fact {
            Fact::Arrived(arrived) => {
                self.open.insert(arrived.delivery, arrived.from_site.clone());
                let (delivery, sha256, at) = (arrived.delivery, arrived.sha256, arrived.at);
                let custody = Receipt::Custody(CustodyReceipt { delivery, sha256, at });
                self.owe(arrived.from_site.clone(), custody);
            }
            Fact::ArrivedUnread(arrived) => {
                let (delivery, sha256, at) = (arrived.delivery, UNKNOWN_HASH, arrived.at);
                let (status, reason) = (None, Some(arrived.reason.clone()));
                let custody = Receipt::Custody(CustodyReceipt { delivery, sha256, at });
                let outcome = Receipt::Outcome(OutcomeReceipt {
                    delivery,
                    status,
                    reason,
                    sha256,
                    at,
                    converted: None,
                });
                self.owe(arrived.from_site.clone(), custody);
                self.owe(arrived.from_site.clone(), outcome);
            }
            fact => {
                if let Some(receipt) = receipt_of(shared, fact) {
                    let delivery = receipt.delivery();
                    let known = match fact {
                        // Nothing more comes of it.
                        Fact::OutcomeKnown(_) | Fact::Discarded(_) => self.open.remove(&delivery),
                        _ => self.open.get(&delivery).cloned(),
                    };
                    self.owe_source(shared, known, receipt).await?;
                }
            }
        }
        Ok(())
    }

    /// Owes a receipt to the site that its delivery came from. Nothing is owed for one that came from a PACS here: of
    /// those another site speaks to us.
    async fn owe_source(
        &mut self,
        shared: &Shared,
        known: Option<SiteName>,
        receipt: Receipt,
    ) -> Result<(), StoreError> {
        let site = match known {
            Some(site) => Some(site),
            None => source_site(shared, receipt.delivery()).await?,
        };
        if let Some(site) = site {
            self.owe(site, receipt);
        }
        Ok(())
    }
}

/// What the source's site is told of a fact about a delivery that is here.
fn receipt_of(shared: &Shared, fact: &Fact) -> Option<Receipt> {
    Some(match fact {
        Fact::OutcomeKnown(outcome) => Receipt::Outcome(OutcomeReceipt {
            delivery: outcome.delivery,
            status: outcome.status,
            reason: outcome.reason.clone(),
            sha256: outcome.sha256,
            at: outcome.at,
            converted: outcome.converted.clone(),
        }),
        Fact::Failed(failed) => Receipt::Outcome(OutcomeReceipt {
            delivery: failed.delivery,
            status: None,
            reason: Some(failed.reason.clone()),
            sha256: UNKNOWN_HASH,
            at: failed.at,
            converted: None,
        }),
        Fact::Held(held) => {
            let ours = format!("{}: ", shared.site);
            Receipt::Held(HeldReceipt {
                delivery: held.delivery,
                reason: held.by.strip_prefix(&ours).unwrap_or(&held.by).to_owned(),
                at: held.at,
            })
        }
        Fact::Released(Released { delivery, by, at }) | Fact::Reopened(Reopened { delivery, by, at }) => {
            let (delivery, at, by) = (*delivery, *at, Some(by.clone()));
            Receipt::Resumed(ResumedReceipt { delivery, at, by })
        }
        Fact::Discarded(discarded) => Receipt::Discarded(DiscardedReceipt {
            delivery: discarded.delivery,
            by: discarded.by.clone(),
            reason: discarded.reason.clone(),
            at: discarded.at,
        }),
        Fact::Resent(resent) => Receipt::Resent(ResentReceipt {
            delivery: resent.delivery,
            by: resent.by.clone(),
            at: resent.at,
        }),
        _ => return None,
    })
}

/// Whether an entry is a delivery that came from another site.
fn is_incoming(shared: &Shared, entry: &Entry) -> bool {
    entry.routing.kind == Kind::Delivery && entry.routing.source != shared.site
}

/// Where a delivery came from: by its entry, and when that is gone by the ledger.
async fn source_site(shared: &Shared, delivery: DeliveryId) -> Result<Option<SiteName>, StoreError> {
    if let Some(entry) = shared.spool.entry(delivery).await? {
        return Ok(is_incoming(shared, &entry).then(|| entry.routing.source.clone()));
    }
    let view = view(shared, delivery).await;
    let incoming = view.filter(|view| view.direction == Direction::Incoming);
    Ok(incoming.and_then(|view| SiteName::try_from(view.source.as_str()).ok()))
}

async fn view(shared: &Shared, delivery: DeliveryId) -> Option<DeliveryView> {
    let asked = shared.ledger(move |projection| projection.delivery(delivery)).await;
    asked?.ok()?
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
        Some(signature) => shared
            .send_message(site, &Message::Receipts { batch, signature })
            .await
            .map(drop),
        None => {
            tracing::error!("receipts cannot be signed");
            Ok(())
        }
    }
}

/// The hash in an entry's envelope.
async fn hash(shared: &Shared, entry: &Entry) -> Digest {
    let bytes = EntryBytes {
        spool: Arc::clone(&shared.spool),
        body: entry.body.clone(),
    };
    let opened = Reader::open(bytes, entry.routing.length).await;
    opened.map_or(UNKNOWN_HASH, |reader| reader.trailer().sha256)
}

/// Sends the receipts of a delivery again: the other site has offered it again, so they may have been lost.
pub(crate) async fn again(shared: &Shared, site: &SiteName, delivery: DeliveryId) {
    if let Err(error) = crate::ledger::catch_up(shared).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "facts cannot be read now");
    }
    let entry = match shared.spool.entry(delivery).await {
        Ok(entry) => entry.filter(|entry| is_incoming(shared, entry) && entry.routing.source == *site),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "receipts cannot be sent again now"
            );
            return;
        }
    };
    let view = view(shared, delivery).await;
    let view = view.filter(|view| view.direction == Direction::Incoming && view.source == site.as_str());
    let receipts = match (&entry, &view) {
        (Some(entry), _) => of_entry(shared, entry, view.as_ref()).await,
        (None, Some(view)) => of_view(shared, delivery, view),
        // Whoever deleted the ledger is told by the module's words.
        (None, None) => return,
    };
    if let Err(error) = send_batch(shared, site, receipts).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "receipts cannot be sent again now"
        );
    }
}

/// What there is to say of a delivery that is still here.
async fn of_entry(shared: &Shared, entry: &Entry, view: Option<&DeliveryView>) -> Vec<Receipt> {
    let (delivery, sha256, at) = (entry.routing.delivery, hash(shared, entry).await, entry.committed_at);
    let mut receipts = vec![Receipt::Custody(CustodyReceipt { delivery, sha256, at })];
    let at = shared.clock.now();
    let said = || view.and_then(|view| view.reason.clone());
    match entry.state {
        EntryState::Failed => receipts.push(Receipt::Outcome(OutcomeReceipt {
            delivery,
            status: view.and_then(status),
            reason: said().or_else(|| (!entry.note.is_empty()).then(|| entry.note.clone())),
            sha256,
            at,
            converted: view.and_then(converted),
        })),
        EntryState::Held => receipts.push(Receipt::Held(HeldReceipt {
            delivery,
            reason: said().unwrap_or_default(),
            at,
        })),
        EntryState::Kept => receipts.extend(view.and_then(|view| outcome_of(delivery, view, sha256, at))),
        EntryState::Ready | EntryState::Acked => {}
    }
    receipts
}

/// What there is to say of a delivery that is gone, by the ledger.
fn of_view(shared: &Shared, delivery: DeliveryId, view: &DeliveryView) -> Vec<Receipt> {
    let sha256 = view.sha256.parse().unwrap_or(UNKNOWN_HASH);
    let at = shared.clock.now();
    let mut receipts = vec![Receipt::Custody(CustodyReceipt { delivery, sha256, at })];
    receipts.extend(outcome_of(delivery, view, sha256, at));
    if view.state == State::Discarded
        && let Some(last) = view.handled.iter().rfind(|handled| handled.what == "discarded")
    {
        receipts.push(Receipt::Discarded(DiscardedReceipt {
            delivery,
            by: last.by.clone(),
            reason: last.reason.clone(),
            at,
        }));
    }
    receipts
}

fn outcome_of(delivery: DeliveryId, view: &DeliveryView, sha256: Digest, at: WallTime) -> Option<Receipt> {
    view.outcome_at.is_some().then(|| {
        Receipt::Outcome(OutcomeReceipt {
            delivery,
            status: status(view),
            reason: view.reason.clone(),
            sha256,
            at,
            converted: converted(view),
        })
    })
}

fn converted(view: &DeliveryView) -> Option<Conversion> {
    let converted = view.converted.as_ref()?;
    Some(Conversion {
        transfer_syntax: converted.transfer_syntax.parse().ok()?,
        sha256: converted.sha256.parse().ok()?,
    })
}

fn status(view: &DeliveryView) -> Option<u16> {
    let status = view.status.as_deref()?;
    u16::from_str_radix(status.trim_end_matches('H'), 16).ok()
}

#[cfg(test)]
mod tests;
