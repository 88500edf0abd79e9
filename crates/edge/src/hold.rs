//! Why an entry is kept back, as its note in the spool remembers it: the state alone says only that it is.

use packhorse_spool::{Entry, NewState, Settlement};

/// Who keeps an entry back. Only who has a word for it lets it go on: consent what lacked it, a person what was held by a
/// rule, by `on_arrival` or by a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldBy {
    /// Nobody has let its site send to its destination.
    Consent,
    /// A rule at the source's edge, in its own words: `rule 3 (raw data)`.
    Rule(String),
    /// `on_arrival = "hold"` of its destination.
    Arrival,
    /// A person: `root`.
    Operator(String),
    /// It cannot be opened.
    Stray,
}

impl HeldBy {
    /// The note of an entry that is held so; [`of`](Self::of) reads it.
    pub(crate) fn to_note(&self) -> String {
        match self {
            Self::Consent => CONSENT.to_owned(),
            Self::Rule(rule) => format!("{RULE}{rule}"),
            Self::Arrival => ARRIVAL.to_owned(),
            Self::Operator(who) => format!("{OPERATOR}{who}"),
            Self::Stray => STRAY.to_owned(),
        }
    }

    /// Who keeps a held entry back. A note that is none of ours is lack of consent: it is the one reason that needs no
    /// person, and is looked at again by itself.
    pub(crate) fn of(entry: &Entry) -> Self {
        let note = entry.note.as_str();
        if let Some(rule) = note.strip_prefix(RULE) {
            Self::Rule(rule.to_owned())
        } else if let Some(who) = note.strip_prefix(OPERATOR) {
            Self::Operator(who.to_owned())
        } else {
            match note {
                ARRIVAL => Self::Arrival,
                STRAY => Self::Stray,
                _ => Self::Consent,
            }
        }
    }

    /// For an entry that is held from the beginning.
    pub(crate) fn new_state(&self) -> NewState {
        NewState::Held { note: self.to_note() }
    }

    /// For an entry that is held from now on.
    pub(crate) fn settlement(&self) -> Settlement {
        Settlement::Held { note: self.to_note() }
    }
}

const CONSENT: &str = "consent";
const RULE: &str = "rule: ";
const ARRIVAL: &str = "on-arrival";
const OPERATOR: &str = "operator: ";
const STRAY: &str = "stray";

#[cfg(test)]
mod tests {
    use packhorse_spool::{Custody, Index as _, NewEntry};

    use super::*;
    use crate::shared::queue;
    use crate::testing::{Edge, parcel, site};

    #[tokio::test]
    async fn who_holds_an_entry_is_remembered_by_the_spool() {
        let edge = Edge::new("b", "");
        let (shared, operator) = (&edge.shared, HeldBy::Operator("root".to_owned()));
        for held_by in [
            HeldBy::Consent,
            HeldBy::Rule("rule 3 (raw data)".to_owned()),
            HeldBy::Arrival,
            operator.clone(),
            HeldBy::Stray,
        ] {
            let (routing, body) = parcel(&site("a"), &shared.site, "PACS_B");
            let delivery = routing.delivery;
            let entry = NewEntry {
                routing,
                queue: queue("to/PACS_B"),
                body,
                custody: Custody::UntilAcked,
                state: held_by.new_state(),
            };
            shared
                .spool
                .commit(shared.epoch, vec![entry], Vec::new())
                .await
                .unwrap();
            let held = shared.spool.entry(delivery).await.unwrap().unwrap();
            assert_eq!(HeldBy::of(&held), held_by);
            let settlements = vec![(delivery, operator.settlement())];
            shared
                .spool
                .settle(shared.epoch, settlements, Vec::new())
                .await
                .unwrap();
            let held = shared.spool.entry(delivery).await.unwrap().unwrap();
            assert_eq!(HeldBy::of(&held), operator);
        }
    }
}
