//! `retry`, `hold`, `release`, `discard`, `resend`.

use packhorse_daemon::admin::{AdminError, Caller};
use packhorse_ledger::view::Direction;
use packhorse_ledger::{Cursor, DeliveryFilter, State};
use serde_json::{Value, json};

use super::{Door, text};
use crate::custody::{Action, CustodyError, OPERATOR, Order, Report, Selector, carry_out, resend};

/// Longest reason of a discard.
const REASON_LEN_MAX: usize = 200;
/// Deliveries that are looked at to say why nothing matches.
const NEAR_MAX: usize = 128;
/// How an order says what it means.
const SAY_WHICH: &str =
    "say which: --study, --instance, --class, --status, --to, --from, --rule, delivery ids, or --all";

impl Door {
    /// Does one of them as `caller` asks.
    pub(super) async fn custody(&self, caller: &Caller, command: &str, args: &Value) -> Result<Value, AdminError> {
        let which = Selector::read(args).map_err(|problems| bad(problems.join("; ")))?;
        let is_set = |key: &str| args.get(key).and_then(Value::as_bool).unwrap_or(false);
        let mut order = Order {
            action: action(command, args, is_set("force"), is_set("dry_run"))?,
            which,
            by: format!("{OPERATOR}{}", caller.name()),
            dry_run: is_set("dry_run"),
            at_most: u64::MAX,
        };
        if order.which.is_empty() && order.action != Action::Retry {
            return Err(bad(SAY_WHICH.to_owned()));
        }
        if matches!(order.action, Action::Discard { .. }) && !order.dry_run {
            let expected = args.get("expect").and_then(Value::as_u64);
            order.at_most = self.confirmed(&order, expected, is_set("yes")).await?;
        }
        let report = self.carried_out(&order).await?;
        tracing::info!(
            command,
            by = order.by,
            done = report.count(),
            dry_run = order.dry_run,
            "custody"
        );
        let mut answer = report.to_json();
        if order.action == Action::Retry {
            put(&mut answer, "reopened", json!(report.count()));
        }
        if order.action == Action::Resend && order.which.is_only_study() {
            put(&mut answer, "asked", json!(self.ask_far_sites(&order).await?));
        }
        if is_nothing(&answer) {
            put(&mut answer, "nothing", json!(self.why_nothing(&order).await?));
        }
        Ok(answer)
    }

    async fn carried_out(&self, order: &Order) -> Result<Report, AdminError> {
        carry_out(&self.shared, order).await.map_err(failed)
    }

    /// How many may be discarded: what somebody has counted, or has said yes to.
    async fn confirmed(&self, order: &Order, expected: Option<u64>, yes: bool) -> Result<u64, AdminError> {
        if expected.is_none() && yes {
            return Ok(u64::MAX);
        }
        let dry = Order {
            dry_run: true,
            ..order.clone()
        };
        let count = self.carried_out(&dry).await?.count();
        match expected {
            Some(expected) if expected == count => Ok(count),
            Some(expected) => {
                let why = format!("it would be {count}, not {expected}: nothing is discarded");
                Err(AdminError::new("unconfirmed", why))
            }
            // There is nothing to be sure of.
            None if count == 0 => Ok(0),
            None => {
                let why = format!("{count} would be discarded, for good: add --yes, or --expect {count}");
                Err(AdminError::new("unconfirmed", why))
            }
        }
    }

    async fn ask_far_sites(&self, order: &Order) -> Result<Vec<String>, AdminError> {
        let filter = order.which.filter();
        let study = filter.study.as_deref().unwrap_or_default();
        let asked = resend::ask_far_sites(&self.shared, study, filter.to.as_deref(), order.dry_run).await;
        asked.map_err(failed)
    }

    /// Why an order finds nothing to do.
    async fn why_nothing(&self, order: &Order) -> Result<String, AdminError> {
        if order.which.is_empty() {
            return Ok("nothing has failed".to_owned());
        }
        let filter = DeliveryFilter {
            states: State::ALL.to_vec(),
            ..order.which.filter().clone()
        };
        let asked = self
            .shared
            .ledger(move |projection| projection.select(&filter, &mut Cursor::default(), NEAR_MAX));
        let near = asked.await.ok_or_else(|| failed(CustodyError::Silent))?;
        let near = near.map_err(|error| failed(error.into()))?;
        let first = near.iter().find(|view| order.which.wants_view(Some(*view)));
        Ok(match first {
            None => "no delivery matches".to_owned(),
            Some(view) if order.action == Action::Resend && view.direction == Direction::Outgoing => {
                "what went to another site is sent again there: --study UID, and --to, and nothing else".to_owned()
            }
            Some(view) => format!("nothing to {} matches: it is {}", order.action.name(), view.state),
        })
    }
}

fn action(command: &str, args: &Value, force: bool, dry_run: bool) -> Result<Action, AdminError> {
    Ok(match command {
        "retry" => Action::Retry,
        "hold" => Action::Hold,
        "release" => Action::Release,
        "resend" => Action::Resend,
        _ => Action::Discard {
            reason: reason(text(args, "reason").unwrap_or_default(), dry_run)?,
            force,
        },
    })
}

fn reason(given: &str, dry_run: bool) -> Result<String, AdminError> {
    let is_printable = given.chars().all(|character| !character.is_control());
    if (dry_run || !given.trim().is_empty()) && given.len() <= REASON_LEN_MAX && is_printable {
        Ok(given.to_owned())
    } else {
        let why = format!("say why with --reason, in 1 to {REASON_LEN_MAX} printable characters: it goes on record");
        Err(bad(why))
    }
}

fn is_nothing(answer: &Value) -> bool {
    let is_empty = |key: &str| answer.get(key).and_then(Value::as_array).is_none_or(Vec::is_empty);
    answer.get("done").and_then(Value::as_u64) == Some(0) && is_empty("not") && is_empty("asked")
}

fn put(answer: &mut Value, key: &str, value: Value) {
    if let Some(answer) = answer.as_object_mut() {
        answer.insert(key.to_owned(), value);
    }
}

fn bad(why: String) -> AdminError {
    AdminError::new("bad-request", why)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: CustodyError) -> AdminError {
    AdminError::failed(&error)
}
