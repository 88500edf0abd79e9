//! `policy show`: the rules of each route, in their order.

use packhorse_dicom::transfer_syntax;
use packhorse_policy::{Route, Rule, Source};
use serde_json::{Value, json};

use super::words;
use crate::config::Config;

/// The routes with their rules, as text or JSON.
pub(super) fn show(config: &Config, routes: &[&Route], json: bool) -> String {
    if json {
        let routes: Vec<_> = routes.iter().map(|route| as_json(config, route)).collect();
        return json!({ "routes": routes }).to_string();
    }
    if routes.is_empty() {
        return "no [[route]]: nothing is taken".to_owned();
    }
    let routes: Vec<_> = routes.iter().map(|route| as_text(config, route)).collect();
    routes.join("\n")
}

fn as_text(config: &Config, route: &Route) -> String {
    let mut lines = vec![format!(
        "ROUTE {} to {} at {}",
        route.called_ae_title, route.to_ae_title, route.to_site
    )];
    let mut property = |name: &str, value: &str| lines.push(format!("  {name:<18} {value}"));
    if let Some(listener) = &route.listener {
        property("listener", listener);
    }
    let senders: Vec<_> = config.engine.sources().iter().map(sender).collect();
    property("who may send", &senders.join("; "));
    property("transfer syntaxes", &syntaxes(route));
    property("rules", "the first that matches decides");
    for rule in of_route(config, route) {
        let shipped = if is_shipped(config, rule) { ", shipped" } else { "" };
        lines.push(format!("  {}{shipped}", rule.name));
        lines.push(format!("      {}", words::what(rule)));
        lines.push(format!("      {}", words::does(rule)));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn of_route<'a>(config: &'a Config, route: &'a Route) -> impl Iterator<Item = &'a Rule> {
    let rules = config.engine.rules().iter();
    rules.filter(|rule| rule.is_for_route(&route.called_ae_title))
}

fn is_shipped(config: &Config, rule: &Rule) -> bool {
    config.engine.is_shipped(rule)
}

fn sender(source: &Source) -> String {
    let titles: Vec<_> = source.ae_titles().collect();
    let hosts: Vec<_> = source.hosts().iter().map(ToString::to_string).collect();
    format!("{} from {}", titles.join(", "), hosts.join(", "))
}

fn syntaxes(route: &Route) -> String {
    let name = |uid: &str| transfer_syntax::name_of(uid).to_owned();
    if route.transfer_syntaxes.is_empty() {
        return "any that carries a data set".to_owned();
    }
    let listed = route.transfer_syntaxes.iter().map(|syntax| name(syntax.as_str()));
    let implicit = transfer_syntax::IMPLICIT_VR_LE;
    let is_listed = route.transfer_syntaxes.iter().any(|syntax| syntax.as_str() == implicit);
    let implicit = (!is_listed).then(|| name(implicit));
    let all: Vec<_> = listed.chain(implicit).collect();
    format!("only {}; the first of these that is proposed", all.join(", "))
}

fn as_json(config: &Config, route: &Route) -> Value {
    let rule = |rule: &Rule| {
        let hold = (rule.outcome == packhorse_policy::Outcome::Hold).then(|| {
            let after = rule.hold.end.after().map(|after| after.as_secs());
            json!({ "seconds": after, "quota": rule.hold.quota })
        });
        json!({
            "number": rule.name.number,
            "name": rule.name.name,
            "shipped": is_shipped(config, rule),
            "source": rule.sources().collect::<Vec<_>>(),
            "route": rule.routes().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "class": rule.classes().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "transfer_syntax": rule.transfer_syntaxes().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "conditions": rule.conditions().to_string(),
            "outcome": rule.outcome.to_string(),
            "hold": hold,
            "priority": words::priority_word(rule.priority),
            "shadow": rule.shadow,
            "words": format!("{}: {}", words::what(rule), words::does(rule)),
        })
    };
    json!({
        "called_ae_title": route.called_ae_title.as_str(),
        "to": format!("{}/{}", route.to_site, route.to_ae_title),
        "listener": route.listener,
        "transfer_syntaxes": route.transfer_syntaxes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "rules": of_route(config, route).map(rule).collect::<Vec<_>>(),
    })
}
