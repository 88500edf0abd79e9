//! `routes` as people read it.

use serde_json::Value;

use super::print::{joined, number, rows, text};

/// Class names in one line, at most.
const NAMES_MAX: usize = 3;

pub(super) fn print(answer: &Value) -> String {
    let route = |route: &Value| {
        let relay_says = match text(route, "relay_says") {
            "" => String::new(),
            said => format!(" (\"{said}\")"),
        };
        let (title, to, standing) = (
            text(route, "called_ae_title"),
            text(route, "to"),
            text(route, "standing"),
        );
        let mut lines = vec![format!("{title:<16} -> {to:<32} {standing}{relay_says}")];
        lines.extend(mirror(route));
        lines
    };
    let ours = |destination: &Value| {
        let mut lines = vec![format!("{:<16} of this site", text(destination, "ae_title"))];
        lines.extend(mirror(destination));
        lines
    };
    let routes: Vec<String> = rows(answer, "routes").flat_map(route).collect();
    let ours: Vec<String> = rows(answer, "destinations").flat_map(ours).collect();
    if ours.is_empty() {
        return joined(routes, "no [[route]] in edge.toml");
    }
    joined([routes, ours].concat(), "no [[route]] in edge.toml")
}

/// What is known of the PACS there: a line, and one for each fact where they were asked for.
fn mirror(row: &Value) -> Vec<String> {
    let known = row.get("mirror").unwrap_or(&Value::Null);
    let mode = match text(known, "mode") {
        "" => return Vec::new(),
        mode => mode,
    };
    if number(known, "facts_known") == 0 && text(known, "probed_at").is_empty() {
        return vec![format!("    mirror {mode}: nothing is known yet")];
    }
    let probed = match text(known, "probed_at") {
        "" => "not probed".to_owned(),
        at => format!("probed {at}"),
    };
    let names: Vec<_> = known
        .get("classes_not_taken")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let shown: Vec<_> = names.iter().take(NAMES_MAX).filter_map(|name| name.as_str()).collect();
    let not_taken = match names.len() {
        0 => "none known not to be".to_owned(),
        many if many > NAMES_MAX => format!("{many} not: {}, ... (routes --facts)", shown.join(", ")),
        _ => format!("not: {}", shown.join(", ")),
    };
    let mut lines = vec![format!(
        "    mirror {mode}, {probed}: {} classes taken, {not_taken}; class and syntax: {} taken, {} not",
        number(known, "classes_taken"),
        number(known, "pairs_taken"),
        number(known, "pairs_not_taken"),
    )];
    lines.extend(rows(known, "facts").map(fact));
    lines
}

fn fact(fact: &Value) -> String {
    let takes = fact.get("takes").and_then(Value::as_bool).unwrap_or(false);
    let with = match text(fact, "syntax_name") {
        "" => String::new(),
        name => format!(" with {name}"),
    };
    let word = if takes { "taken" } else { "not taken" };
    let (class, source, at) = (text(fact, "class_name"), text(fact, "source"), text(fact, "at"));
    format!(
        "      {word:<9} {class}{with}  ({source}, {at}, {} old)",
        age(number(fact, "age_s"))
    )
}

fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
