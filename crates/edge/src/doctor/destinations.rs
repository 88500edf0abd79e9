//! Our PACS: whether they are there, and what they answer.

use std::sync::PoisonError;

use packhorse_spool::{EntryState, Index as _};

use super::{Finding, Level, PATIENCE};
use crate::config::Destination;
use crate::shared::{Health, Shared, queue_to};

pub(super) async fn examine(shared: &Shared, is_daemon: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for destination in shared.destinations() {
        findings.push(destination_found(shared, &destination, is_daemon).await);
        if destination.accept_from.is_empty() {
            let about = format!("destination {}", destination.ae_title);
            let remedy = format!("edge-gateway accept SITE --for {}", destination.ae_title);
            findings.push(Finding::new(Level::Warn, about, "no site may send to it yet", remedy));
        }
    }
    findings.extend(crate::admin::unclaimed(shared).into_iter().map(|title| {
        let what = "instances wait for it, and edge.toml has no such [[destination]]";
        let remedy = "add it (again) and start the gateway again, or they stay";
        Finding::new(Level::Bad, format!("destination {title}"), what, remedy)
    }));
    findings
}

async fn destination_found(shared: &Shared, destination: &Destination, is_daemon: bool) -> Finding {
    let about = format!("destination {} at {}", destination.ae_title, destination.address);
    let waiting = waiting(shared, destination);
    if let Err(why) = connects(&destination.address).await {
        let (host, port) = destination
            .address
            .rsplit_once(':')
            .unwrap_or((&destination.address, ""));
        let what = format!("{why}; {waiting} wait");
        let remedy = format!("see that the PACS runs at {host} and listens on port {port}, and what is between");
        return Finding::new(Level::Bad, about, what, remedy);
    }
    let health = shared.health.lock().unwrap_or_else(PoisonError::into_inner);
    let called = format!("called as {} by {}", destination.ae_title, destination.calling_ae_title);
    match health.get(&destination.ae_title) {
        Some(Health::Good { since }) => Finding::ok(
            about,
            format!("{called}, it takes what it is sent since {since}; {waiting} wait"),
        ),
        Some(Health::Down { since, why, next }) => {
            let what = format!("{called}, it takes nothing since {since}: {why}; {waiting} wait; next try {next}");
            Finding::new(
                Level::Bad,
                about,
                what,
                "it is tried again by itself; see what the PACS says in its own log",
            )
        }
        Some(Health::Paused { since, why, next }) => {
            let what = format!("{called}, it rejects us since {since}: {why}; {waiting} wait; next try {next}");
            Finding::new(Level::Bad, about, what, rejected_remedy(destination, why))
        }
        None if is_daemon => Finding::ok(
            about,
            format!("it can be connected; not tried since the start; {waiting} wait"),
        ),
        None => Finding::ok(about, format!("it can be connected; {waiting} wait")),
    }
}

fn rejected_remedy(destination: &Destination, why: &str) -> String {
    let (calling, title) = (&destination.calling_ae_title, &destination.ae_title);
    if why.contains("called AE title") {
        format!("the PACS does not answer as {title}: correct ae_title in its [[destination]]")
    } else if why.contains("TLS") || why.contains("certificate") {
        format!(
            "`edge-gateway doctor tls {}` shows what it presents, and the line to paste",
            destination.address
        )
    } else {
        format!(
            "at the PACS, enter {calling} with this host's address as a node that may store; or set calling_ae_title in \
             the [[destination]] to a title that it knows"
        )
    }
}

fn waiting(shared: &Shared, destination: &Destination) -> u64 {
    let queue = queue_to(&destination.ae_title);
    let counts = shared.spool.counts();
    let waiting = counts
        .iter()
        .filter(|count| count.queue == queue && count.state == EntryState::Ready);
    waiting.map(|count| count.entries).sum()
}

/// Whether its name resolves and its port answers.
async fn connects(address: &str) -> Result<(), String> {
    let looked_up = tokio::time::timeout(PATIENCE, tokio::net::lookup_host(address)).await;
    let addresses: Vec<_> = match looked_up {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(format!("its name cannot be looked up: {error}")),
        Err(_) => return Err(format!("its name is not looked up within {PATIENCE:?}")),
    };
    if addresses.is_empty() {
        return Err("its name has no address".to_owned());
    }
    match tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(&addresses[..])).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("it cannot be connected: {error}")),
        Err(_) => Err(format!("it cannot be connected within {PATIENCE:?}")),
    }
}
