//! Where our titles lead, and whether anything gets there.

use std::collections::BTreeMap;

use packhorse_ledger::view::Direction;
use packhorse_policy::Route;

use super::{Finding, Level};
use crate::directory::Standing;
use crate::shared::Shared;

pub(super) async fn examine(shared: &Shared) -> Vec<Finding> {
    let asked = shared.ledger(|projection| projection.last_delivered()).await;
    let delivered = asked.and_then(Result::ok).unwrap_or_default().into_iter();
    let outgoing = delivered.filter(|(direction, ..)| *direction == Direction::Outgoing);
    let delivered: BTreeMap<String, String> = outgoing.map(|(_, route, at)| (route, at)).collect();
    let routes = shared.config.engine.routes().iter();
    routes
        .map(|route| match standing(shared, route) {
            Some(bad) => bad,
            None => end_to_end(route, delivered.get(route.called_ae_title.as_str())),
        })
        .collect()
}

fn about(route: &Route) -> String {
    format!(
        "route {} to {}/{}",
        route.called_ae_title, route.to_site, route.to_ae_title
    )
}

/// What keeps the route from being used; `None`: nothing.
fn standing(shared: &Shared, route: &Route) -> Option<Finding> {
    let (site, title) = (&route.to_site, &route.to_ae_title);
    let bad = |what: String, remedy: String| Some(Finding::new(Level::Bad, about(route), what, remedy));
    if let Some(said) = shared.unknown_sites.said_of(site) {
        return bad(
            format!("the relay knows no site {site} (\"{said}\")"),
            format!("correct `to` in its [[route]], or let {site} join: at the relay, `relay invite {site}`"),
        );
    }
    match shared.directory.standing(site, title) {
        Standing::Accepted { .. } => None,
        Standing::NotAnnounced => bad(
            format!("{site} has not announced itself yet, so callers are rejected (1/1/7)"),
            format!("see that the gateway at {site} runs and is linked: there, run `edge-gateway doctor`"),
        ),
        Standing::NoSuchDestination => bad(
            format!("{site} has no destination {title}, so callers are rejected (1/1/7)"),
            format!("at {site}, add its [[destination]] to edge.toml; or correct `to` in this [[route]]"),
        ),
        Standing::NotAccepted => bad(
            format!(
                "no consent: {title} does not accept from {} yet, so callers are rejected (1/1/7)",
                shared.site
            ),
            format!("at {site}, run: edge-gateway accept {} --for {title}", shared.site),
        ),
    }
}

/// Whether what is sent on a route that stands gets to its end: by the last that did.
fn end_to_end(route: &Route, delivered: Option<&String>) -> Finding {
    match delivered {
        Some(at) => Finding::ok(about(route), format!("announced and accepted; delivered last at {at}")),
        None => Finding::new(
            Level::Warn,
            about(route),
            "announced and accepted; nothing was delivered on it yet",
            "send something: edge-gateway send FILE --to ".to_owned() + route.called_ae_title.as_str(),
        ),
    }
}
