//! The table in print.

use std::fmt::Write as _;

use super::{COLUMNS, Cell, Found, Role, Row};

const HEAD: &str = include_str!("head.md");

pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut out = HEAD.to_owned();
    let mut reasons: Vec<&str> = Vec::new();
    for (role, title) in [
        (Role::Scu, "The peer sends, our acceptor receives and refuses Raw Data"),
        (Role::Scp, "Our requestor sends, the peer receives"),
    ] {
        writeln!(out, "\n## {title}\n\n| peer | {} |", COLUMNS.join(" | ")).unwrap();
        writeln!(out, "|---|{}", "---|".repeat(COLUMNS.len())).unwrap();
        for row in rows.iter().filter(|row| row.role == role) {
            let cells = row.cells.iter().map(|cell| print(cell, &mut reasons));
            let cells: Vec<String> = cells.collect();
            writeln!(out, "| {} | {} |", row.name, cells.join(" | ")).unwrap();
        }
    }
    out.push_str("\n## Notes\n\n");
    for (number, reason) in reasons.iter().enumerate() {
        writeln!(out, "{}. {reason}", number + 1).unwrap();
    }
    out
}

/// The cell, with the number of its reason; equal reasons have one number.
fn print(Cell(found, reason): &Cell, reasons: &mut Vec<&'static str>) -> String {
    let words = match found {
        Found::Done => "yes".to_owned(),
        Found::Failed => "no".to_owned(),
        Found::Equal => "equal".to_owned(),
        Found::Rewritten => "rewritten".to_owned(),
        Found::Arrived {
            arrived,
            of,
            told: true,
        } => format!("{arrived} of {of}"),
        Found::Arrived {
            arrived,
            of,
            told: false,
        } => format!("{arrived} of {of}, untold"),
        Found::Untried => "none".to_owned(),
    };
    if reason.is_empty() {
        return words;
    }
    let at = reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    });
    format!("{words} ({})", at + 1)
}
