//! What was done, and what was not.

use std::collections::BTreeMap;

use packhorse_ledger::view::{DeliveryView, Direction};
use serde_json::{Value, json};

use super::decide::{Not, Subject};

/// Studies that an answer names; further ones are counted together.
const STUDIES_MAX: usize = 1000;
/// Deliveries that were not done which an answer names; further ones are counted.
const NOT_MAX: usize = 1000;

/// What became of an order.
#[derive(Debug)]
pub(crate) struct Report {
    is_dry_run: bool,
    done: u64,
    studies: BTreeMap<Option<Key>, u64>,
    not: Vec<Value>,
    not_done: u64,
}

/// A study on its way from somebody to somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    study: Option<String>,
    from: String,
    to: String,
}

impl Key {
    fn of(view: &DeliveryView) -> Self {
        Self {
            study: view.study.clone(),
            from: view.source.clone(),
            to: view.to.clone(),
        }
    }
}

impl Report {
    pub(super) const fn new(is_dry_run: bool) -> Self {
        Self {
            is_dry_run,
            done: 0,
            studies: BTreeMap::new(),
            not: Vec::new(),
            not_done: 0,
        }
    }

    pub(super) fn done(&mut self, subject: &Subject) {
        self.done += 1;
        let mut key = subject.view.as_ref().map(Key::of);
        if self.studies.len() >= STUDIES_MAX && !self.studies.contains_key(&key) {
            key = None;
        }
        *self.studies.entry(key).or_default() += 1;
    }

    pub(super) fn not(&mut self, subject: &Subject, why: Not) {
        let Some(why) = why else { return };
        self.not_done += 1;
        if self.not.len() < NOT_MAX {
            let view = subject.view.as_ref();
            self.not.push(json!({
                "delivery": subject.delivery.to_string(),
                "study": view.and_then(|view| view.study.as_deref()),
                "instance": view.map(|view| view.sop_instance.as_str()),
                "outgoing": view.map(|view| view.direction == Direction::Outgoing),
                "why": why,
            }));
        }
    }

    /// How many it was done to, or would be.
    pub(crate) const fn count(&self) -> u64 {
        self.done
    }

    /// As it is answered.
    pub(crate) fn to_json(&self) -> Value {
        let study = |(key, instances): (&Option<Key>, &u64)| {
            json!({
                "study": key.as_ref().and_then(|key| key.study.as_deref()),
                "from": key.as_ref().map(|key| key.from.as_str()),
                "to": key.as_ref().map(|key| key.to.as_str()),
                "instances": instances,
            })
        };
        json!({
            "dry_run": self.is_dry_run,
            "done": self.done,
            "studies": self.studies.iter().map(study).collect::<Vec<_>>(),
            "not_done": self.not_done,
            "not": self.not,
        })
    }
}
