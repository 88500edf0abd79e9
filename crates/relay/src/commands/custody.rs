//! `failed`, `retry`, `discard`.

use std::path::Path;

use packhorse_daemon::{admin, output};
use packhorse_ids::SiteName;
use serde_json::{Value, json};

use super::{CommandError, Output, text};

/// What a discard at the relay does not do.
const STILL_THERE: &str = "the site it came from still has its copy and offers it again within the hour, unless it is \
                           discarded there: edge-gateway discard DELIVERY --force";

fn rows<'a>(answer: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    answer.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) async fn failed(dir: &Path, output: Output) -> Result<(), CommandError> {
    let answer = admin::ask(dir, "failed", Value::Null).await?;
    output::line(&if output.json {
        answer.to_string()
    } else {
        failed_lines(&answer)
    });
    Ok(())
}

pub(crate) fn failed_lines(answer: &Value) -> String {
    let line = |row: &Value| {
        format!(
            "{}  from {} to {}, {} bytes, since {}\n    {}",
            text(row, "delivery"),
            text(row, "from"),
            text(row, "to"),
            number(row, "bytes"),
            text(row, "since"),
            text(row, "reason")
        )
    };
    let mut lines: Vec<_> = rows(answer, "failed").map(line).collect();
    let unsaid = number(answer, "count").saturating_sub(lines.len() as u64);
    if unsaid > 0 {
        lines.push(format!("and {unsaid} more"));
    }
    if lines.is_empty() {
        return "nothing was given up".to_owned();
    }
    lines.join("\n")
}

pub(super) async fn retry(
    dir: &Path,
    deliveries: &[String],
    site: Option<&SiteName>,
    output: Output,
) -> Result<(), CommandError> {
    let args = json!({ "deliveries": deliveries, "site": site.map(SiteName::as_str) });
    let answer = admin::ask(dir, "retry", args).await?;
    told(&answer, "to be offered again", output)
}

pub(super) async fn discard(dir: &Path, deliveries: &[String], output: Output) -> Result<(), CommandError> {
    let answer = admin::ask(dir, "discard", json!({ "deliveries": deliveries })).await?;
    let done = told(&answer, "discarded here", output);
    if number(&answer, "done") > 0 && !output.json {
        output::line(STILL_THERE);
    }
    done
}

/// Prints what was done; what was not shows in the exit code.
fn told(answer: &Value, done: &str, output: Output) -> Result<(), CommandError> {
    output::line(&if output.json {
        answer.to_string()
    } else {
        format!("{} {done}", number(answer, "done"))
    });
    let line = |not: &Value| format!("{}: {}", text(not, "delivery"), text(not, "why"));
    let not: Vec<_> = rows(answer, "not").map(line).collect();
    if not.is_empty() {
        Ok(())
    } else {
        Err(CommandError::No(not.join("\n")))
    }
}
