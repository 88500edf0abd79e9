//! `echo`: the whole way to the PACS at the far end of a route, or from here to one of ours.

use std::time::Duration;

use packhorse_daemon::admin::AdminError;
use packhorse_dicom::ae_title::AeTitle;
use serde_json::{Value, json};

use super::{Door, parsed};
use crate::echo::{self, LegTime, PacsCheck, Place, Way};

impl Door {
    pub(super) async fn echo(&self, args: &Value) -> Result<Value, AdminError> {
        let title: AeTitle = parsed(args, "ae")?;
        if !self.is_daemon {
            return Err(AdminError::new("no-daemon", "no daemon runs: nothing can be asked"));
        }
        let shared = &self.shared;
        let routes = shared.config.engine.routes();
        if let Some(route) = routes.iter().find(|route| route.called_ae_title == title) {
            let end = (&route.to_site, &route.to_ae_title);
            let (way, _) = echo::walk(shared, end, true, shared.config.echo.wait).await;
            return Ok(of_way(&title, &way));
        }
        if shared.pacs.contains_key(&title) {
            let check = echo::of_our_pacs(shared, &title, true).await;
            return Ok(of_pacs(&title, shared.site.as_str(), &check));
        }
        let routes = routes.iter().map(|route| route.called_ae_title.to_string());
        let known: Vec<_> = routes.chain(shared.pacs.keys().map(ToString::to_string)).collect();
        let why = format!(
            "{title} is neither called_ae_title of a [[route]] nor ae_title of a [[destination]]; there are: {}",
            known.join(", ")
        );
        Err(AdminError::new("not-found", why))
    }
}

fn leg(name: impl Into<String>, time: Option<Duration>, said: &str) -> Value {
    let name: String = name.into();
    json!({ "leg": name, "ms": time.map(ms), "said": said })
}

/// Milliseconds, with microseconds behind the point.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn pacs_legs(site: &str, check: &PacsCheck) -> Vec<Value> {
    let name = |leg: &LegTime| format!("{site} -> {}, {}", check.called_ae_title, leg.leg.words());
    let of = |walked: &LegTime| leg(name(walked), Some(Duration::from_micros(walked.micros)), &walked.said);
    check.legs.iter().map(of).collect()
}

/// What is to be known of a check beside its legs.
fn note(check: &PacsCheck) -> Option<String> {
    let seconds = |ms: u64| format!("{:.1} s", Duration::from_millis(ms).as_secs_f64());
    if let Some(ago) = check.delivering_ms {
        return Some(format!(
            "{} is in use by a delivery, which it answered {} ago: not asked",
            check.called_ae_title,
            seconds(ago)
        ));
    }
    (check.age_ms >= 1000).then(|| format!("{} was asked {} ago", check.called_ae_title, seconds(check.age_ms)))
}

/// Whether a delivery is at work there, so that nothing was asked.
const fn is_in_use(check: &PacsCheck) -> bool {
    check.delivering_ms.is_some()
}

fn of_way(route: &AeTitle, way: &Way) -> Value {
    let mut legs = Vec::new();
    if let Some(link) = &way.link {
        let said = match way.acked {
            Some(_) => format!("up, {link}; it has the question"),
            None => format!("up, {link}"),
        };
        legs.push(leg("this gateway -> relay", way.acked, &said));
    }
    if way.there_and_back.is_some() {
        legs.push(leg(
            format!("relay -> {}", way.site),
            way.there_and_back,
            "there and back",
        ));
    }
    legs.extend(way.pacs.iter().flat_map(|check| pacs_legs(way.site.as_str(), check)));
    let at = |place: &Place| match place {
        Place::Relay => "relay".to_owned(),
        Place::Site => way.site.to_string(),
        Place::Pacs(leg) => format!("{}, {}", way.ae_title, leg.words()),
    };
    json!({
        "ok": way.stopped.is_none(),
        "in_use": way.pacs.as_ref().is_some_and(is_in_use),
        "what": format!("{route} -> {} at {}", way.ae_title, way.site),
        "legs": legs,
        "note": way.pacs.as_ref().and_then(note),
        "stopped": way.stopped.as_ref().map(|stop| json!({
            "at": at(&stop.place),
            "why": stop.why,
            "remedy": stop.remedy,
        })),
        "ms": ms(way.took),
    })
}

fn of_pacs(title: &AeTitle, site: &str, check: &PacsCheck) -> Value {
    json!({
        "ok": check.stopped.is_none(),
        "in_use": is_in_use(check),
        "what": format!("{title} of this site"),
        "legs": pacs_legs(site, check),
        "note": note(check),
        "stopped": check.stopped.as_ref().map(|stop| json!({
            "at": format!("{title}, {}", stop.leg.words()),
            "why": stop.why,
            "remedy": stop.remedy,
        })),
        "ms": ms(check.legs.iter().map(|leg| Duration::from_micros(leg.micros)).sum()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::title;

    #[test]
    fn a_pacs_that_is_in_use_is_said_not_to_be_asked_and_no_time_is_below_nothing() {
        let check = PacsCheck {
            called_ae_title: "P".to_owned(),
            calling_ae_title: "US".to_owned(),
            legs: Vec::new(),
            stopped: None,
            age_ms: 2300,
            delivering_ms: Some(2300),
        };
        let shown = of_pacs(&title("P"), "b", &check);
        assert_eq!(
            (&shown["ok"], &shown["in_use"]),
            (&json!(true), &json!(true)),
            "{shown}"
        );
        assert_eq!(
            shown["note"],
            "P is in use by a delivery, which it answered 2.3 s ago: not asked"
        );
        assert!(shown["ms"].as_f64().unwrap().is_sign_positive(), "{shown}");
    }
}
