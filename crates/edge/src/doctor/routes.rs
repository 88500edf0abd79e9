//! Where our titles lead, and whether anything gets there.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use packhorse_ledger::view::Direction;
use packhorse_policy::Route;

use super::{Finding, Level};
use crate::directory::Standing;
use crate::echo::{self, Place, Way};
use crate::shared::Shared;

/// Routes that stand are walked to their ends, all at once, if a daemon runs.
pub(super) async fn examine(shared: &Shared, is_daemon: bool) -> Vec<Finding> {
    let asked = shared.ledger(|projection| projection.last_delivered()).await;
    let delivered = asked.and_then(Result::ok).unwrap_or_default().into_iter();
    let outgoing = delivered.filter(|(direction, ..)| *direction == Direction::Outgoing);
    let delivered: BTreeMap<String, String> = outgoing.map(|(_, route, at)| (route, at)).collect();
    let look = async |route: &Route| match standing(shared, route) {
        Some(bad) => bad,
        None => {
            let delivered = delivered.get(route.called_ae_title.as_str());
            let way = if is_daemon {
                Some(walked(shared, route).await)
            } else {
                None
            };
            end_to_end(route, way, delivered)
        }
    };
    join_all(shared.config.engine.routes().iter().map(look)).await
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

async fn walked(shared: &Shared, route: &Route) -> Way {
    let end = (&route.to_site, &route.to_ae_title);
    echo::walk(shared, end, false, shared.config.echo.wait).await.0
}

/// What was walked of a way that is well: the PACS itself may have been asked a while ago, or be in use by a delivery.
fn as_walked(route: &Route, way: &Way) -> String {
    let (site, title, took) = (&route.to_site, &route.to_ae_title, way.took.as_millis());
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    match &way.pacs {
        Some(check) if check.delivering_ms.is_some() => format!(
            "a question goes to {site} and back in {took} ms; {title} is in use by a delivery, which it answered {} ago: \
             not asked",
            seconds(check.age())
        ),
        Some(check) if check.age() >= Duration::from_secs(1) => format!(
            "a question goes to {site} and back in {took} ms; {title} answered a C-ECHO {} ago",
            seconds(check.age())
        ),
        Some(_) | None => format!("a C-ECHO goes the whole way in {took} ms"),
    }
}

/// Whether what is sent on a route that stands gets to its end: by a C-ECHO that goes the whole way, and by what was
/// delivered last. That the relay cannot be reached is said of the link, once.
fn end_to_end(route: &Route, way: Option<Way>, delivered: Option<&String>) -> Finding {
    let last = match delivered {
        Some(at) => format!("delivered last at {at}"),
        None => "nothing was delivered on it yet".to_owned(),
    };
    let way = way.filter(|way| !matches!(&way.stopped, Some(stop) if stop.place == Place::Relay));
    match way {
        Some(Way {
            stopped: Some(stop), ..
        }) => {
            let at = match stop.place {
                Place::Relay => "the relay".to_owned(),
                Place::Site => route.to_site.to_string(),
                Place::Pacs(leg) => format!("{} at {}, {}", route.to_ae_title, route.to_site, leg.words()),
            };
            let what = format!("a C-ECHO stops at {at}: {}; {last}", stop.why);
            Finding::new(Level::Bad, about(route), what, stop.remedy)
        }
        Some(way) => Finding::ok(about(route), format!("{}; {last}", as_walked(route, &way))),
        None if delivered.is_some() => Finding::ok(about(route), format!("announced and accepted; {last}")),
        None => Finding::new(
            Level::Warn,
            about(route),
            format!("announced and accepted; {last}"),
            format!("once there is a link: edge-gateway echo {}", route.called_ae_title),
        ),
    }
}
