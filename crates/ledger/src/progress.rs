//! How facts move one delivery.

use std::fmt;
use std::str::FromStr;

use packhorse_ids::WallTime;
use serde::Serialize;

use crate::fact::Fact;
use crate::receipt::is_delivered;

/// Where a delivery stands. Ordered: of several deliveries of one instance the smallest speaks for the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The destination answered success or a warning.
    Delivered,
    /// In custody, on its way.
    InFlight,
    /// In custody, kept back.
    Held,
    /// In custody, on the failed list.
    Failed,
    /// It will not be delivered; by whom is on record.
    Discarded,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Delivered,
        Self::InFlight,
        Self::Held,
        Self::Failed,
        Self::Discarded,
    ];

    /// The word in views and filters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::InFlight => "in-flight",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }

    /// The number on disk.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Delivered => 0,
            Self::InFlight => 1,
            Self::Held => 2,
            Self::Failed => 3,
            Self::Discarded => 4,
        }
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of delivered, in-flight, held, failed, discarded")]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownState)
    }
}

/// How far a delivery has come. Facts may be repeated and, across sites, come late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// When its newest outcome was, by the far edge's clock; an outcome not newer changes nothing.
    pub outcome_at: Option<WallTime>,
    /// Delivered, and sent again: where that stands. `None`: it is not under way again. No part of the account, for which
    /// it is delivered.
    pub again: Option<State>,
}

impl Progress {
    /// Where a delivery begins.
    #[must_use]
    pub const fn begun(held: bool) -> Self {
        Self {
            state: if held { State::Held } else { State::InFlight },
            outcome_at: None,
            again: None,
        }
    }

    /// Where it stands after a fact about it. Delivered is for good: it is the far edge's signed word. Discarded is for
    /// good, unless it had been delivered all the same.
    #[must_use]
    pub fn after(self, fact: &Fact) -> Self {
        let moved = |state| Self { state, ..self };
        if self.state == State::Delivered {
            return self.after_delivered(fact);
        }
        match (fact, self.state) {
            (Fact::OutcomeKnown(outcome), _) => self.after_outcome(outcome.status, outcome.at),
            (_, State::Discarded) => self,
            (Fact::Discarded(_), _) => moved(State::Discarded),
            (Fact::Failed(_), _) => moved(State::Failed),
            (Fact::Held(held), _) if self.is_news(held.at) => moved(State::Held),
            (Fact::Released(_), State::Held) => moved(State::InFlight),
            (Fact::Reopened(reopened), State::Held | State::Failed) if self.is_news(reopened.at) => {
                moved(State::InFlight)
            }
            _ => self,
        }
    }

    /// What happens to one that is sent again. It ends when it is there again, or will not be.
    fn after_delivered(self, fact: &Fact) -> Self {
        let again = match (fact, self.again) {
            (Fact::Resent(resent), _) if self.is_news(resent.at) => Some(State::InFlight),
            // Told again of what was before: the destination has not answered anew.
            (Fact::OutcomeKnown(outcome), again) if !self.is_news(outcome.at) => again,
            (fact, Some(state)) => {
                let (outcome_at, again) = (self.outcome_at, None);
                let stands = Self {
                    state,
                    outcome_at,
                    again,
                }
                .after(fact)
                .state;
                (!matches!(stands, State::Delivered | State::Discarded)).then_some(stands)
            }
            (_, None) => None,
        };
        let outcome_at = match fact {
            Fact::OutcomeKnown(outcome) => self.outcome_at.max(Some(outcome.at)),
            _ => self.outcome_at,
        };
        Self {
            again,
            outcome_at,
            ..self
        }
    }

    /// What was before the newest outcome and is told again says nothing about what came after it.
    fn is_news(self, at: WallTime) -> bool {
        self.outcome_at.is_none_or(|known| at > known)
    }

    fn after_outcome(self, status: Option<u16>, at: WallTime) -> Self {
        let is_new = self.outcome_at.is_none_or(|known| at > known);
        let outcome_at = Some(self.outcome_at.map_or(at, |known| known.max(at)));
        let state = match self.state {
            _ if is_delivered(status) => State::Delivered,
            State::InFlight | State::Held if is_new => State::Failed,
            state => state,
        };
        Self {
            state,
            outcome_at,
            ..self
        }
    }
}
