//! What a person does with what the relay was refused: look, offer it again, drop it.
//!
//! No word of it goes on record here: the relay has no ledger. The edges have, and the source's keeps its copy until the
//! far edge has it.

use packhorse_daemon::admin::AdminError;
use packhorse_ids::{DeliveryId, Epoch, Kind, SiteName};
use packhorse_spool::{Entry, EntryState, Filter, Index as _, Settlement, Spool, StoreError};
use serde_json::{Value, json};

use crate::sites::queue_of;

/// Entries read, and moved in one commit, at a time.
const PAGE: usize = 256;
/// Rows that an answer has at most.
const ROWS_MAX: usize = 1000;

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn store_failed(error: StoreError) -> AdminError {
    AdminError::failed(&error)
}

/// What was given up, the oldest first.
pub(crate) async fn failed(spool: &Spool) -> Result<Value, AdminError> {
    let row = |entry: &Entry| {
        json!({
            "delivery": entry.routing.delivery.to_string(),
            "message": entry.routing.kind == Kind::Message,
            "from": entry.routing.source.as_str(),
            "to": entry.routing.destination.as_str(),
            "bytes": entry.routing.length,
            "since": entry.committed_at.to_string(),
            "reason": entry.note,
        })
    };
    let page = spool.page(0, given_up(None), ROWS_MAX).await.map_err(store_failed)?;
    let all: u64 = spool
        .counts()
        .iter()
        .filter(|count| count.state == EntryState::Failed)
        .map(|count| count.entries)
        .sum();
    Ok(json!({ "failed": page.iter().map(|(_, entry)| row(entry)).collect::<Vec<_>>(), "count": all }))
}

const fn given_up(queue: Option<packhorse_spool::QueueName>) -> Filter {
    Filter {
        queue,
        state: Some(EntryState::Failed),
    }
}

/// Offers again what was given up: these, what is for a site, or all.
pub(crate) async fn retry(spool: &Spool, epoch: Epoch, args: &Value) -> Result<Value, AdminError> {
    let (these, not) = named(spool, args).await?;
    if !these.is_empty() || !not.is_empty() {
        let done = spool.reopen(epoch, these, Vec::new()).await.map_err(store_failed)?;
        return Ok(json!({ "done": done, "not": not }));
    }
    let site = args.get("site").and_then(Value::as_str).map(SiteName::try_from);
    let site = site.transpose();
    let site = site.map_err(|error| AdminError::new("bad-request", error.to_string()))?;
    let (filter, mut cursor, mut done) = (given_up(site.as_ref().map(queue_of)), 0, 0);
    loop {
        let page = spool.page(cursor, filter.clone(), PAGE).await.map_err(store_failed)?;
        let Some((last, _)) = page.last() else {
            return Ok(json!({ "done": done, "not": [] }));
        };
        cursor = *last;
        let deliveries = page.iter().map(|(_, entry)| entry.routing.delivery).collect();
        done += spool
            .reopen(epoch, deliveries, Vec::new())
            .await
            .map_err(store_failed)?;
    }
}

/// Drops what was given up.
pub(crate) async fn discard(spool: &Spool, epoch: Epoch, args: &Value) -> Result<Value, AdminError> {
    let (these, not) = named(spool, args).await?;
    let settlements: Vec<_> = these
        .into_iter()
        .map(|delivery| (delivery, Settlement::Discarded))
        .collect();
    let done = settlements.len();
    spool
        .settle(epoch, settlements, Vec::new())
        .await
        .map_err(store_failed)?;
    Ok(json!({ "done": done, "not": not }))
}

/// The deliveries that a request names and that were given up; why the others are not among them.
async fn named(spool: &Spool, args: &Value) -> Result<(Vec<DeliveryId>, Vec<Value>), AdminError> {
    let given = args.get("deliveries").and_then(Value::as_array);
    let (mut these, mut not) = (Vec::new(), Vec::new());
    for text in given.into_iter().flatten().filter_map(Value::as_str) {
        let delivery: DeliveryId = text
            .parse()
            .map_err(|error| AdminError::new("bad-request", format!("{text:?}: {error}")))?;
        let entry = spool.entry(delivery).await.map_err(store_failed)?;
        match entry.map(|entry| entry.state) {
            Some(EntryState::Failed) => these.push(delivery),
            Some(_) => not.push(json!({ "delivery": text, "why": "it was not given up: it waits for its site" })),
            None => not.push(json!({ "delivery": text, "why": "it is not here (any more)" })),
        }
    }
    Ok((these, not))
}
