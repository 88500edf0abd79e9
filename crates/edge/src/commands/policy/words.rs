//! Rules and outcomes as an administrator says them.

use packhorse_dicom::negotiation::{ContextAnswer, ContextResult};
use packhorse_dicom::status::Status;
use packhorse_dicom::transfer_syntax;
use packhorse_ids::Priority;
use packhorse_policy::{HoldEnd, InstanceDecision, NotTaken, Outcome, Rule, Tried};

/// Classes, syntaxes or callers that are named of a longer list.
const LISTED_MAX: usize = 6;

/// What a rule is for: `raw-data, from PACS_A, in JPEG Baseline, if Modality MR`.
pub(super) fn what(rule: &Rule) -> String {
    let listed = |mut values: Vec<String>| {
        let more = values.len().saturating_sub(LISTED_MAX);
        values.truncate(LISTED_MAX);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        values.join(", ") + &more
    };
    let classes: Vec<_> = rule.classes().iter().map(ToString::to_string).collect();
    let syntaxes = rule.transfer_syntaxes().iter();
    let syntaxes: Vec<_> = syntaxes
        .map(|syntax| transfer_syntax::name_of(syntax.as_str()).to_owned())
        .collect();
    let sources: Vec<_> = rule.sources().map(str::to_owned).collect();
    let mut said = if classes.is_empty() {
        "every storage class".to_owned()
    } else {
        listed(classes)
    };
    for (word, values) in [("in", syntaxes), ("from", sources)] {
        if !values.is_empty() {
            said = format!("{said}, {word} {}", listed(values));
        }
    }
    if !rule.conditions().is_empty() {
        said = format!("{said}, if {}", rule.conditions());
    }
    said
}

/// What a rule does.
pub(super) fn does(rule: &Rule) -> String {
    let particular = rule.sources().next().is_some() || !rule.routes().is_empty();
    let done = match rule.outcome {
        Outcome::Accept => format!("accepted{}", behind(rule.priority)),
        Outcome::RefuseContext => {
            let result = if !rule.transfer_syntaxes().is_empty() {
                ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED
            } else if particular {
                ContextResult::USER_REJECTION
            } else {
                ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED
            };
            format!("refused at negotiation: {result}")
        }
        Outcome::RefuseInstance => {
            let status = if particular {
                Status::NOT_AUTHORIZED
            } else {
                Status::SOP_CLASS_NOT_SUPPORTED
            };
            format!("refused at the instance: C-STORE answered {status}")
        }
        Outcome::Hold => held(rule.hold.end, rule.hold.quota, rule.priority),
    };
    if rule.shadow {
        format!("SHADOW, decides nothing; would be {done}")
    } else {
        done
    }
}

fn held(end: HoldEnd, quota: Option<u64>, priority: Priority) -> String {
    let quota = quota.map(|quota| format!(", {} at most", size(quota)));
    format!(
        "answered 0000 and held {end}{}{}",
        quota.unwrap_or_default(),
        behind(priority)
    )
}

fn behind(priority: Priority) -> String {
    match priority {
        Priority::Routine => String::new(),
        other => format!(", {}", priority_word(other)),
    }
}

pub(super) const fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Stat => "stat",
        Priority::Routine => "routine",
        Priority::Bulk => "bulk",
    }
}

/// Bytes in a unit that leaves no rest.
pub(super) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(shift, unit)| format!("{} {unit}", bytes >> shift),
    )
}

/// What becomes of an instance: a word of configuration for programs, and words for people.
pub(super) fn outcome(tried: &Tried) -> (&'static str, String) {
    let warning = match (tried.context.refused_for_destination(), tried.context.not_taken) {
        (None, Some(NotTaken::Class)) => "; the destination is known not to take this class",
        (None, Some(NotTaken::Syntax)) => "; the destination is known not to take it in this transfer syntax",
        _ => "",
    };
    let (word, said) = match (&tried.context.answer, &tried.instance) {
        (ContextAnswer::Rejected(result), _) => ("refuse-context", format!("refused at negotiation: {result}")),
        (_, Some(InstanceDecision::Accept { priority, .. })) => ("accept", format!("accepted{}", behind(*priority))),
        (_, Some(InstanceDecision::Hold(hold))) => ("hold", held(hold.end, hold.quota, hold.priority)),
        (_, Some(InstanceDecision::Refuse { status, comment, .. })) => (
            "refuse-instance",
            format!("refused at the instance: C-STORE answered {status}, \"{comment}\""),
        ),
        (_, None) => ("undecided", "depends on the instance".to_owned()),
    };
    (word, said + warning)
}
