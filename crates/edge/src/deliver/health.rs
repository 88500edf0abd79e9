//! How a destination is, for `status` and for who is to be told.

use std::sync::PoisonError;

use packhorse_ids::WallTime;
use serde_json::{Map, Value};

use crate::config::Destination;
use crate::notices::{Notice, NoticeKind};
use crate::shared::{Health, Shared};

/// It answers instances.
pub(super) fn good(shared: &Shared, destination: &Destination) {
    let mut health = shared.health.lock().unwrap_or_else(PoisonError::into_inner);
    if !matches!(health.get(&destination.ae_title), Some(Health::Good { .. })) {
        let since = shared.clock.now();
        health.insert(destination.ae_title.clone(), Health::Good { since });
    }
}

/// It is left alone, and tried again at `next`.
pub(super) fn down(shared: &Shared, destination: &Destination, why: &str, next: WallTime) {
    tracing::warn!(destination = %destination.ae_title, why, %next, "destination down");
    let mut health = shared.health.lock().unwrap_or_else(PoisonError::into_inner);
    let since = since(health.get(&destination.ae_title)).unwrap_or_else(|| shared.clock.now());
    let (title, why) = (destination.ae_title.clone(), why.to_owned());
    health.insert(title, Health::Down { since, why, next });
}

/// It takes nothing until somebody changes something: told once each time that this begins.
pub(super) async fn paused(shared: &Shared, destination: &Destination, why: &str, next: WallTime) {
    tracing::error!(destination = %destination.ae_title, why, "destination paused");
    let (since, is_news) = {
        let mut health = shared.health.lock().unwrap_or_else(PoisonError::into_inner);
        let before = health.get(&destination.ae_title);
        let is_news = !matches!(before, Some(Health::Paused { .. }));
        let since = since(before).unwrap_or_else(|| shared.clock.now());
        let (title, why) = (destination.ae_title.clone(), why.to_owned());
        health.insert(title, Health::Paused { since, why, next });
        (since, is_news)
    };
    if is_news {
        shared.notify(notice(destination, why, since)).await;
    }
}

fn since(health: Option<&Health>) -> Option<WallTime> {
    match health {
        Some(Health::Down { since, .. } | Health::Paused { since, .. }) => Some(*since),
        Some(Health::Good { .. }) | None => None,
    }
}

fn notice(destination: &Destination, why: &str, since: WallTime) -> Notice {
    let title = &destination.ae_title;
    let mut fields = Map::new();
    for (key, value) in [
        ("destination", title.as_str()),
        ("address", &destination.address),
        ("why", why),
        ("since", &since.to_string()),
    ] {
        fields.insert(key.to_owned(), Value::from(value));
    }
    Notice {
        kind: NoticeKind::DestinationPaused,
        key: format!("{title} {since}"),
        what: format!("{title} at {} takes nothing: {why}", destination.address),
        remedy: format!(
            "have the title entered at {title}, or put calling_ae_title and ae_title of its [[destination]] right; what \
             is for it waits meanwhile"
        ),
        fields,
    }
}
