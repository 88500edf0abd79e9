//! Deliveries by what a person says of them.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;

use super::query::rows;
use super::read::{self, DELIVERY_COLUMNS};
use super::{Projection, ProjectionError};
use crate::progress::State;
use crate::view::{DeliveryView, Direction};

/// Which deliveries; `None` means all, and what is given must hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Study Instance UID; `Some("")`: the instances without one.
    pub study: Option<String>,
    /// SOP Instance UID.
    pub sop_instance: Option<String>,
    /// SOP class UID.
    pub class: Option<String>,
    /// Called AE title of the route, `site/AE`, or the destination's AE title.
    pub to: Option<String>,
    /// Name of the source (outgoing), or the site it comes from (incoming).
    pub from: Option<String>,
    /// What the destination answered last.
    pub status: Option<StatusPattern>,
    /// Which way they go.
    pub direction: Option<Direction>,
    /// How they stand; what was delivered and is sent again stands also as that does. In this order.
    pub states: Vec<State>,
}

/// Where a list of deliveries goes on. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// States done with, each twice: as it stands, and as it is sent again.
    pass: usize,
    number: i64,
}

/// A status, or several that differ in some of their four hexadecimal digits: `C000`, `A9xx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPattern(Box<str>);

/// A text that is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a status has four hexadecimal digits, with x for any: C000, A9xx")]
pub struct InvalidStatusPattern;

impl FromStr for StatusPattern {
    type Err = InvalidStatusPattern;

    fn from_str(text: &str) -> Result<Self, InvalidStatusPattern> {
        let digits = text.strip_suffix(['H', 'h']).unwrap_or(text);
        let written = digits.strip_prefix("0x").filter(|rest| rest.len() == 4);
        let digits = written.unwrap_or(digits).to_ascii_uppercase();
        let is_digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'X';
        if digits.len() == 4 && digits.bytes().all(is_digit) {
            Ok(Self(digits.into()))
        } else {
            Err(InvalidStatusPattern)
        }
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StatusPattern {
    /// The digits that count, and their values.
    fn bits(&self) -> (i64, i64) {
        let digit = |(mask, value): (i64, i64), digit: char| match digit.to_digit(16) {
            Some(digit) => (mask << 4 | 0xF, value << 4 | i64::from(digit)),
            None => (mask << 4, value << 4),
        };
        self.0.chars().fold((0, 0), digit)
    }

    /// The beginning of a reason that tells such an answer, for `LIKE`.
    fn in_words(&self) -> String {
        format!("answered {}%", self.0.replace('X', "_"))
    }
}

/// A condition in the making.
#[derive(Default)]
struct Condition {
    sql: String,
    values: Vec<Value>,
}

impl Condition {
    /// `sql` has a `?` for each value.
    fn and(&mut self, sql: &'static str, values: impl IntoIterator<Item = Value>) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(sql);
        self.values.extend(values);
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

impl Projection {
    /// At most `limit` deliveries behind `cursor`, which moves on; none is the end. By state, then in order of reception.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn select(
        &self,
        filter: &DeliveryFilter,
        cursor: &mut Cursor,
        limit: usize,
    ) -> Result<Vec<DeliveryView>, ProjectionError> {
        while let Some(state) = filter.states.get(cursor.pass / 2) {
            let mut condition = filter.condition();
            let is_narrow = filter.study.is_some() || filter.sop_instance.is_some();
            // Few stand in a study: then the index over states is of no use.
            let stands = match (cursor.pass.is_multiple_of(2), is_narrow) {
                (true, false) => "d.state = ?",
                (true, true) => "+d.state = ?",
                (false, false) => "d.again = ?",
                (false, true) => "+d.again = ?",
            };
            condition.and(stands, [Value::Integer(state.code())]);
            condition.and(
                "d.number > ? ORDER BY d.number LIMIT ?",
                [Value::Integer(cursor.number), Value::Integer(rows(limit))],
            );
            let found = self.numbered(&condition)?;
            if let Some((number, _)) = found.last() {
                cursor.number = *number;
                return Ok(found.into_iter().map(|(_, delivery)| delivery).collect());
            }
            *cursor = Cursor {
                pass: cursor.pass + 1,
                number: 0,
            };
        }
        Ok(Vec::new())
    }

    fn numbered(&self, condition: &Condition) -> Result<Vec<(i64, DeliveryView)>, ProjectionError> {
        let sql = format!(
            "SELECT {DELIVERY_COLUMNS}, d.number FROM delivery d JOIN account a ON a.id = d.account WHERE {}",
            condition.sql
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let values = rusqlite::params_from_iter(&condition.values);
        let found = statement.query_map(values, |row| Ok((row.get("number")?, read::delivery(row)?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}

impl DeliveryFilter {
    fn condition(&self) -> Condition {
        let mut condition = Condition::default();
        for (sql, given) in [
            ("a.study = ?", &self.study),
            ("d.sop_instance = ?", &self.sop_instance),
            ("d.sop_class = ?", &self.class),
            ("a.source = ?", &self.from),
        ] {
            if let Some(given) = given {
                condition.and(sql, [text(given)]);
            }
        }
        if let Some(to) = &self.to {
            let is_it = "(a.route = ? OR a.target = ? OR substr(a.target, -length(?) - 1) = '/' || ?)";
            condition.and(is_it, [text(to), text(to), text(to), text(to)]);
        }
        if let Some(status) = &self.status {
            let (mask, value) = status.bits();
            // An answer that did not end the delivery, or ended it on the failed list, may stand in its reason only.
            condition.and(
                "(d.status & ? = ? OR (d.status IS NULL AND d.reason LIKE ?))",
                [
                    Value::Integer(mask),
                    Value::Integer(value),
                    Value::Text(status.in_words()),
                ],
            );
        }
        if let Some(direction) = self.direction {
            condition.and(
                "a.direction = ?",
                [Value::Integer(match direction {
                    Direction::Outgoing => super::apply::OUTGOING,
                    Direction::Incoming => super::apply::INCOMING,
                })],
            );
        }
        condition
    }
}
