//! `edge-gateway notices` and `edge-gateway notify test`.

use std::path::Path;

use packhorse_daemon::output;
use serde_json::{Value, json};

use super::print::{joined, number, rows, text};
use super::{CommandError, NotifyTest, ask};

/// Tells every channel something, and prints what each answered.
pub(super) async fn test(dir: &Path, what: &NotifyTest) -> Result<(), CommandError> {
    let answer = ask(dir, "notify-test", json!({ "name": what.name })).await?;
    if what.output.json {
        output::line(&answer.to_string());
    } else {
        let line = |channel: &Value| {
            let word = if is_told(channel) { "told" } else { "NOT told" };
            format!(
                "{:<16} {word:<8} {} ({})",
                text(channel, "name"),
                text(channel, "answer"),
                text(channel, "address")
            )
        };
        output::line(&joined(rows(&answer, "channels").map(line).collect(), ""));
    }
    let not_told = rows(&answer, "channels").filter(|channel| !is_told(channel)).count();
    if not_told == 0 {
        Ok(())
    } else {
        Err(CommandError::No(format!("{not_told} of the channels cannot be told")))
    }
}

fn is_told(channel: &Value) -> bool {
    channel.get("told").and_then(Value::as_bool).unwrap_or(false)
}

/// The last notices, and how the channels do.
pub(super) fn print(answer: &Value) -> String {
    let mut lines: Vec<String> = rows(answer, "notices").flat_map(notice).collect();
    if lines.is_empty() {
        lines.push("nothing was noticed".to_owned());
    }
    if rows(answer, "channels").next().is_none() {
        lines.push("edge.toml has no [[notify]]: nobody is told".to_owned());
    }
    for channel in rows(answer, "channels") {
        let told = match text(channel, "told_at") {
            "" => "nothing told since the start".to_owned(),
            at => format!("told last at {at}"),
        };
        lines.push(format!(
            "channel {} ({}): {told}, {} waiting",
            text(channel, "name"),
            text(channel, "address"),
            number(channel, "waiting")
        ));
        if let Some(failing) = channel.get("failing").filter(|failing| !failing.is_null()) {
            lines.push(format!(
                "    cannot be told since {}: {}; next try {}",
                text(failing, "since"),
                text(failing, "why"),
                text(failing, "next")
            ));
        }
    }
    lines.join("\n")
}

fn notice(notice: &Value) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  {:<18} {}",
        text(notice, "at"),
        text(notice, "kind"),
        text(notice, "what")
    )];
    if !text(notice, "remedy").is_empty() {
        lines.push(format!("    to do: {}", text(notice, "remedy")));
    }
    lines.extend(rows(notice, "told").map(|told| {
        let (channel, at) = (text(told, "channel"), text(told, "at"));
        match text(told, "failure") {
            "" => format!("    told {channel} at {at}"),
            why => format!("    given up for {channel} at {at}: {why}"),
        }
    }));
    lines
}
