//! `status`: link, queues, destinations, and what needs a hand.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{Kind, SiteName};
use packhorse_spool::{EntryState, Index as _, QueueCount};
use packhorse_transport::LinkStatus;
use serde_json::{Value, json};

use super::Door;
use crate::config::{Deliver, Destination, OnArrival};
use crate::place::{STRAY_HELP, STRAY_QUEUE};
use crate::shared::{Health, LINK_QUEUE, Shared, queue_to, title_of};

/// On their way.
const UNDER_WAY: [EntryState; 2] = [EntryState::Ready, EntryState::Acked];

/// Entries of queues.
struct Counts(Vec<QueueCount>);

impl Counts {
    /// Of what is a delivery: messages are not counted, nor is what is stray, which is told apart.
    fn of(shared: &Shared) -> Self {
        let mut counts = shared.spool.counts();
        counts.retain(|count| count.kind == Kind::Delivery);
        Self(counts)
    }

    fn sum(&self, queue: &str, states: &[EntryState]) -> u64 {
        let some = self.0.iter().filter(|count| count.queue.as_str() == queue);
        some.filter(|count| states.contains(&count.state))
            .map(|count| count.entries)
            .sum()
    }

    fn total(&self, states: &[EntryState]) -> u64 {
        let some = self.0.iter().filter(|count| count.queue.as_str() != STRAY_QUEUE);
        some.filter(|count| states.contains(&count.state))
            .map(|count| count.entries)
            .sum()
    }

    fn of_queue(&self, queue: &str) -> Value {
        json!({
            "waiting": self.sum(queue, &UNDER_WAY),
            "failed": self.sum(queue, &[EntryState::Failed]),
            "held": self.sum(queue, &[EntryState::Held]),
            "kept": self.sum(queue, &[EntryState::Kept]),
        })
    }
}

/// Titles in whose queues something is although there is no such destination: nobody delivers it.
pub(crate) fn unclaimed(shared: &Shared) -> Vec<String> {
    let destinations = shared.destinations();
    let counts = shared.spool.counts();
    // What was delivered waits for nobody.
    let waiting = counts.iter().filter(|count| count.state != EntryState::Kept);
    let titles = waiting.filter_map(|count| title_of(&count.queue));
    let mut titles: Vec<_> = titles
        .filter(|title| destinations.iter().all(|known| known.ae_title.as_str() != *title))
        .map(str::to_owned)
        .collect();
    titles.dedup();
    titles
}

impl Door {
    pub(super) fn status(&self) -> Value {
        let shared = &self.shared;
        let counts = Counts::of(shared);
        let destinations: Vec<Value> = shared
            .destinations()
            .iter()
            .map(|destination| self.destination(destination, &counts))
            .collect();
        let unclaimed = unclaimed(shared).into_iter().map(|title| {
            let help = format!(
                "edge.toml has no [[destination]] {title}: add it (again) and start again, or what waits for it stays"
            );
            let counted = counts.of_queue(&format!("to/{title}"));
            merged(json!({ "ae_title": title, "help": help }), counted)
        });
        let stray = counts.total_of(STRAY_QUEUE);
        let bytes: u64 = counts.0.iter().map(|count| count.bytes).sum();
        let kept = counts.0.iter().filter(|count| count.state == EntryState::Kept);
        let kept_bytes: u64 = kept.map(|count| count.bytes).sum();
        let mut status = json!({
            "site": shared.site.as_str(),
            "build": crate::gateway::BUILD,
            "daemon": self.is_daemon,
            "to_relay": counts.sum(LINK_QUEUE, &[EntryState::Ready]),
            "awaiting_custody": counts.sum(LINK_QUEUE, &[EntryState::Acked]),
            "in_flight": counts.total(&UNDER_WAY),
            "held": counts.total(&[EntryState::Held]),
            "failed": counts.total(&[EntryState::Failed]),
            "stray": stray,
            "stray_help": (stray > 0).then_some(STRAY_HELP),
            "kept": counts.total(&[EntryState::Kept]),
            "kept_bytes": kept_bytes,
            "spool_bytes": bytes,
            "listeners": listeners(shared),
            "destinations": destinations,
            "unclaimed": unclaimed.collect::<Vec<_>>(),
        });
        if self.is_daemon {
            let running = json!({
                "started": shared.started.to_string(),
                "link": link(&shared.link.borrow()),
                "associations": shared.association_count(),
            });
            status = merged(status, running);
        } else {
            status = merged(status, json!({ "dir": shared.folder }));
        }
        status
    }

    fn destination(&self, destination: &Destination, counts: &Counts) -> Value {
        let told = json!({
            "ae_title": destination.ae_title.as_str(),
            "address": destination.address,
            "tls": destination.tls.is_some(),
            "calling_ae_title": destination.calling_ae_title.as_str(),
            "calling_ae_titles": calling_ae_titles(destination),
            "associations": destination.associations,
            "deliver": match destination.deliver {
                Deliver::AsItComes => "as-it-comes",
                Deliver::WholeStudy { .. } => "whole-study",
            },
            "on_arrival": match destination.on_arrival {
                OnArrival::Deliver => "deliver",
                OnArrival::Hold => "hold",
            },
            "accept_from": destination.accept_from.iter().map(SiteName::as_str).collect::<Vec<_>>(),
        });
        let told = merged(told, counts.of_queue(queue_to(&destination.ae_title).as_str()));
        if self.is_daemon {
            merged(told, json!({ "health": self.health(&destination.ae_title) }))
        } else {
            told
        }
    }

    fn health(&self, ae_title: &AeTitle) -> Value {
        let health = self.shared.health.lock().unwrap_or_else(PoisonError::into_inner);
        match health.get(ae_title) {
            None => json!({ "state": "not tried yet" }),
            Some(Health::Good { since }) => json!({ "state": "good", "since": since.to_string() }),
            Some(Health::Down { since, why, next }) => {
                json!({ "state": "down", "since": since.to_string(), "why": why, "next": next.to_string() })
            }
            Some(Health::Paused { since, why, next }) => {
                json!({ "state": "paused", "since": since.to_string(), "why": why, "next": next.to_string() })
            }
        }
    }
}

impl Counts {
    fn total_of(&self, queue: &str) -> u64 {
        self.sum(
            queue,
            &[
                EntryState::Ready,
                EntryState::Acked,
                EntryState::Held,
                EntryState::Failed,
            ],
        )
    }
}

/// Other titles that we call by, by the site that they are for.
fn calling_ae_titles(destination: &Destination) -> BTreeMap<&str, &str> {
    let all = destination.calling_ae_titles.iter();
    all.map(|(site, title)| (site.as_str(), title.as_str())).collect()
}

/// One object with the keys of both.
fn merged(one: Value, other: Value) -> Value {
    let mut all = BTreeMap::new();
    for value in [one, other] {
        if let Value::Object(keys) = value {
            all.extend(keys);
        }
    }
    json!(all)
}

/// Where it listens: as bound, or as configured when nothing listens now.
fn listeners(shared: &Shared) -> Vec<Value> {
    let bound = |name: &str| {
        let mut all = shared.bound.get().into_iter().flatten();
        all.find(|(listener, _)| listener == name).map(|(_, address)| *address)
    };
    let all = shared.config.listeners.iter();
    all.map(|listener| {
        let address = bound(&listener.name).unwrap_or(listener.address);
        json!({ "name": listener.name, "address": address.to_string(), "tls": listener.tls.is_some() })
    })
    .collect()
}

fn link(status: &LinkStatus) -> Value {
    match status {
        LinkStatus::Connecting { since } => json!({ "state": "connecting", "since": since.to_string() }),
        LinkStatus::Up {
            since,
            path,
            peer_build,
        } => {
            json!({ "state": "up", "since": since.to_string(), "path": path, "relay": peer_build })
        }
        LinkStatus::Down { since, why, .. } => json!({ "state": "down", "since": since.to_string(), "why": why }),
    }
}
