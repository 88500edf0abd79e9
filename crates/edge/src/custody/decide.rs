//! Whether a delivery may be retried, held, released, discarded or sent again, and why not.

use packhorse_ids::{DeliveryId, Kind};
use packhorse_ledger::State;
use packhorse_ledger::view::{DeliveryView, Direction};
use packhorse_spool::{Entry, EntryState};

use super::{Action, Order};
use crate::hold::HeldBy;
use crate::place::{STRAY_HELP, STRAY_QUEUE};
use crate::shared::{Shared, title_of};

/// A delivery that something is to be done to.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) delivery: DeliveryId,
    /// What the ledger knows of it.
    pub(crate) view: Option<DeliveryView>,
    /// By its id, and not found by a selector.
    pub(crate) is_named: bool,
}

impl Subject {
    /// Another site has it.
    fn is_outgoing(&self) -> bool {
        self.view
            .as_ref()
            .is_some_and(|view| view.direction == Direction::Outgoing)
    }

    fn is_delivered(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.state == State::Delivered)
    }

    /// The site it goes to.
    fn far_site(&self) -> &str {
        let to = self.view.as_ref().map_or("the other site", |view| view.to.as_str());
        to.split_once('/').map_or(to, |(site, _)| site)
    }
}

/// Why something is not done: in words, or `None` when it was not meant.
pub(super) type Not = Option<String>;

/// Whether it is to be done to an entry as it stands.
pub(super) fn decide(shared: &Shared, order: &Order, entry: Option<&Entry>, subject: &Subject) -> Result<(), Not> {
    let not = |why: &str| Err(Some(why.to_owned()));
    let Some(entry) = entry else {
        return Err(gone(order, subject));
    };
    if entry.routing.kind == Kind::Message {
        return not("it is a message between gateways and no delivery");
    }
    if entry.queue.as_str() == STRAY_QUEUE && !matches!(order.action, Action::Discard { .. }) {
        return not(STRAY_HELP);
    }
    let is_waiting = entry.due > shared.clock.now();
    match (&order.action, entry.state) {
        (Action::Resend, EntryState::Kept) => has_consent(shared, entry),
        (Action::Retry, EntryState::Failed)
        | (Action::Hold, EntryState::Ready)
        | (Action::Discard { .. }, EntryState::Ready | EntryState::Failed | EntryState::Held)
        | (Action::Discard { force: true, .. }, EntryState::Acked) => Ok(()),
        (Action::Retry, EntryState::Ready) if is_waiting && (entry.attempts > 0 || subject.is_named) => Ok(()),
        // By its id, also what is held, but for lack of consent.
        (Action::Retry, EntryState::Acked) if subject.is_named => Ok(()),
        (Action::Retry, EntryState::Held) if subject.is_named => may_be_released(entry),
        (Action::Release, EntryState::Held) => may_be_released(entry),
        (Action::Discard { .. }, EntryState::Acked) => Err(Some(format!(
            "it was handed to the relay: discard it at {0}, or with --force only {1}'s copy, and what {0} does then counts",
            subject.far_site(),
            shared.site
        ))),
        // A selector finds all that is under way, and this is so as it should be.
        (Action::Retry, EntryState::Ready | EntryState::Acked) if !subject.is_named => Err(None),
        (_, EntryState::Acked) => Err(Some(format!(
            "it is at the relay or at {0}: run `edge-gateway {1}` at {0}",
            subject.far_site(),
            order.action.name()
        ))),
        (_, EntryState::Ready) => not("it is under way"),
        (_, EntryState::Held) => not("it is held: `edge-gateway release` sends it on"),
        (_, EntryState::Failed) => not("it is on the failed list: `edge-gateway retry` tries it again"),
        (_, EntryState::Kept) => not("it was delivered: `edge-gateway resend` sends it again"),
    }
}

/// What was delivered does not go there again from a site that may not send there any more.
fn has_consent(shared: &Shared, entry: &Entry) -> Result<(), Not> {
    let destinations = shared.destinations();
    let title = title_of(&entry.queue).unwrap_or_default();
    let mut all = destinations.iter().filter(|known| known.ae_title.as_str() == title);
    if all.any(|known| known.accept_from.contains(&entry.routing.source)) {
        return Ok(());
    }
    Err(Some(format!(
        "{title} does not accept from {0} (any more): edge-gateway accept {0} --for {title}",
        entry.routing.source
    )))
}

/// Nobody's word but consent lets go what lacks it.
fn may_be_released(entry: &Entry) -> Result<(), Not> {
    match (HeldBy::of(entry), title_of(&entry.queue)) {
        (HeldBy::Consent, Some(title)) => Err(Some(format!(
            "it is held for lack of consent, which lets it go on: edge-gateway accept {} --for {title}",
            entry.routing.source
        ))),
        _ => Ok(()),
    }
}

/// Why nothing can be done with what is not in the spool.
fn gone(order: &Order, subject: &Subject) -> Not {
    let is_named = subject.is_named;
    let why = match subject.view.as_ref().map(|view| view.state) {
        None => "it is not here (any more)".to_owned(),
        Some(State::Discarded) => "it was discarded".to_owned(),
        // A selector finds all that is under way, and this is so as it should be.
        Some(State::InFlight) if order.action == Action::Retry && !is_named => return None,
        Some(State::Delivered) if order.action == Action::Resend && !subject.is_outgoing() => {
            "its bytes are gone: ask the source to send it again".to_owned()
        }
        Some(_) if subject.is_outgoing() => format!(
            "{0} has it: run `edge-gateway {1}` at {0}",
            subject.far_site(),
            order.action.name()
        ),
        Some(_) if subject.is_delivered() => "it was delivered".to_owned(),
        Some(_) => "it is not here (any more)".to_owned(),
    };
    Some(why)
}
