//! Consent: which site may send to which of our destinations, and what is held for lack of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{DeliveryId, SiteName};
use packhorse_ledger::fact::{Fact, Held, Released};
use packhorse_spool::{Entry, EntryState, Filter, Index as _, StoreError};

use crate::config::{Destination, FILE_NAME, OnArrival};
use crate::custody;
use crate::hold::HeldBy;
use crate::shared::{Shared, fact_bytes, queue_to};

/// Entries read at a time.
const PAGE: usize = 256;
/// How often it is looked for what is held without need: consent may be given while a delivery is being placed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long nobody else may work on what is released: the commit takes milliseconds.
const LEASE: Duration = Duration::from_secs(30);

/// Whether `site` may send to `destination`.
pub(crate) fn accepts(destinations: &[Destination], destination: &AeTitle, site: &SiteName) -> bool {
    let mut all = destinations.iter().filter(|known| known.ae_title == *destination);
    all.any(|known| known.accept_from.contains(site))
}

/// Who holds a delivery for lack of consent, and why, in a fact's words.
pub(crate) fn held_by(shared: &Shared, destination: &AeTitle, site: &SiteName) -> String {
    let known = shared.destinations().iter().any(|known| known.ae_title == *destination);
    let remedy = if known {
        format!("edge-gateway accept {site} --for {destination}")
    } else {
        format!("{0} has no [[destination]] {destination}", shared.site)
    };
    format!(
        "{}: no consent: {destination} does not accept from {site}; {remedy}",
        shared.site
    )
}

/// Who holds a delivery on arrival, in a fact's words.
pub(crate) fn held_on_arrival_by(shared: &Shared, destination: &AeTitle) -> String {
    format!(
        "{}: held on arrival: {destination} has on_arrival = \"hold\"",
        shared.site
    )
}

/// Gives consent: in the file, in force, announced, and what was held for lack of it is on its way. Whether it is new, and
/// how much was held.
///
/// # Errors
/// What cannot be, in words.
pub(crate) async fn give(shared: &Shared, site: &SiteName, destination: &AeTitle) -> Result<(bool, u64), String> {
    let _one_at_a_time = shared.consenting.lock().await;
    let changed = write_down(&shared.folder, site, destination)?;
    shared.set_consent(site, destination);
    let released = release(shared)
        .await
        .map_err(|error| packhorse_daemon::exit::chain(&error))?;
    Ok((changed, released))
}

/// Adds `site` to `accept_from` of a destination in `edge.toml`, comments and all else kept.
///
/// # Errors
/// What cannot be, in words.
pub(crate) fn write_down(folder: &Path, site: &SiteName, destination: &AeTitle) -> Result<bool, String> {
    let path: PathBuf = folder.join(FILE_NAME);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let mut document: toml_edit::DocumentMut = text
        .parse()
        .map_err(|error| format!("{} is no TOML: {error}", path.display()))?;
    let tables = document
        .get_mut("destination")
        .and_then(toml_edit::Item::as_array_of_tables_mut);
    let table = tables.and_then(|tables| {
        tables.iter_mut().find(|table| {
            table.get("ae_title").and_then(toml_edit::Item::as_str).map(str::trim) == Some(destination.as_str())
        })
    });
    let Some(table) = table else {
        return Err(format!(
            "{} has no [[destination]] with ae_title = \"{destination}\"",
            path.display()
        ));
    };
    let list = table
        .entry("accept_from")
        .or_insert_with(|| toml_edit::Item::Value(toml_edit::Array::new().into()));
    let Some(list) = list.as_array_mut() else {
        return Err(format!("accept_from of {destination} in {} is no list", path.display()));
    };
    if list.iter().any(|known| known.as_str() == Some(site.as_str())) {
        return Ok(false);
    }
    list.push(site.as_str());
    let written = crate::directory::replace_file(&path, document.to_string().as_bytes());
    written.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(true)
}

/// Releases what is held for lack of consent in the queues of our destinations although its site may send. How much it was.
pub(crate) async fn release(shared: &Shared) -> Result<u64, StoreError> {
    let mut released = 0;
    let counts = shared.spool.counts();
    for destination in shared.destinations() {
        let queue = queue_to(&destination.ae_title);
        let is_held = |count: &packhorse_spool::QueueCount| count.queue == queue && count.state == EntryState::Held;
        if !counts.iter().any(is_held) {
            continue;
        }
        let mut cursor = 0;
        loop {
            let filter = Filter {
                queue: Some(queue.clone()),
                state: Some(EntryState::Held),
            };
            let page = shared.spool.page(cursor, filter, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            cursor = *last;
            let may_go = page.into_iter().map(|(_, entry)| entry);
            let is_consented = |entry: &Entry| destination.accept_from.contains(&entry.routing.source);
            let may_go = may_go.filter(|entry| lacks_consent(entry) && is_consented(entry));
            let may_go = still_held(shared, may_go.map(|entry| entry.routing.delivery).collect()).await?;
            released += match destination.on_arrival {
                OnArrival::Deliver => custody::go_on(shared, may_go, "consent").await?,
                OnArrival::Hold => hold_on(shared, may_go, &destination.ae_title).await?,
            };
        }
    }
    if released > 0 {
        tracing::info!(released, "held deliveries are released: their sites may send");
    }
    Ok(released)
}

fn lacks_consent(entry: &Entry) -> bool {
    entry.state == EntryState::Held && HeldBy::of(entry) == HeldBy::Consent
}

/// Leases those that are held for lack of consent even now: somebody may have discarded or held one meanwhile.
async fn still_held(shared: &Shared, deliveries: Vec<DeliveryId>) -> Result<Vec<Entry>, StoreError> {
    if deliveries.is_empty() {
        return Ok(Vec::new());
    }
    let leased = shared.spool.lease(shared.epoch, deliveries, LEASE).await?;
    let (held, others): (Vec<_>, Vec<_>) = leased.into_iter().partition(lacks_consent);
    if !others.is_empty() {
        let others = others.iter().map(|entry| entry.routing.delivery).collect();
        shared.spool.unclaim(shared.epoch, others).await?;
    }
    Ok(held)
}

/// What would have been held on arrival, had there been consent, is held for that now.
async fn hold_on(shared: &Shared, entries: Vec<Entry>, destination: &AeTitle) -> Result<u64, StoreError> {
    let (at, by) = (shared.clock.now(), held_on_arrival_by(shared, destination));
    let (mut settlements, mut facts) = (Vec::new(), Vec::new());
    for entry in &entries {
        let (delivery, by) = (entry.routing.delivery, by.clone());
        settlements.push((delivery, HeldBy::Arrival.settlement()));
        let released = Released {
            delivery,
            by: "consent".to_owned(),
            at,
        };
        facts.extend(fact_bytes(&Fact::Released(released)));
        facts.extend(fact_bytes(&Fact::Held(Held { delivery, by, at })));
    }
    shared.spool.settle(shared.epoch, settlements, facts).await?;
    Ok(0)
}

/// Releases what is held without need, at the start and then now and then, until the edge stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    while !shared.stop.is_cancelled() {
        if let Err(error) = release(&shared).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "held deliveries cannot be released now"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests;
