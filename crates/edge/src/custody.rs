//! What a person does with instances in custody: retry, hold, release, discard, resend.
//!
//! The ledger finds the deliveries, the spool is the truth about them: each is leased, looked at again and moved in one
//! commit with the fact that says who did it. So nobody else works on it meanwhile, and a crash leaves both or neither.

mod decide;
pub(crate) mod kept;
mod report;
pub(crate) mod resend;
mod selector;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use packhorse_ids::{DeliveryId, WallTime};
use packhorse_ledger::fact::{Discarded, Fact, Held, Released, Reopened, Resent};
use packhorse_ledger::store::ProjectionError;
use packhorse_ledger::view::{DeliveryView, Direction};
use packhorse_ledger::{Cursor, DeliveryFilter, State};
use packhorse_spool::{Entry, EntryState, Filter, Index as _, Settlement, StoreError};

pub(crate) use decide::Subject;
pub(crate) use report::Report;
pub(crate) use selector::{Found, Selector};

use crate::hold::HeldBy;
use crate::shared::{Shared, fact_bytes};

/// Deliveries looked at in one go, and moved in one commit.
const PAGE: usize = 128;
/// Longer than a page takes; what is leased comes back with the commit.
const LEASE: Duration = Duration::from_secs(60);

/// Stands before a person's name in facts: a rule has its own words.
pub(crate) const OPERATOR: &str = "operator ";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Failed ones, and those that wait for their next try: now.
    Retry,
    /// What is queued is kept back.
    Hold,
    /// What is held by a rule, by `on_arrival` or by a person goes on.
    Release,
    /// Given up for good.
    Discard {
        /// Why, in a person's words.
        reason: String,
        /// Also what was handed on already: only our own custody ends.
        force: bool,
    },
    /// What was delivered, and is still here, goes to its destination again.
    Resend,
}

impl Action {
    /// The command's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Discard { .. } => "discard",
            Self::Resend => "resend",
        }
    }

    /// Where deliveries stand in the ledger that a selector finds for it.
    fn states(&self) -> Vec<State> {
        match self {
            Self::Retry => vec![State::Failed, State::InFlight],
            Self::Hold => vec![State::InFlight],
            Self::Release => vec![State::Held],
            Self::Discard { .. } => vec![State::InFlight, State::Held, State::Failed],
            Self::Resend => vec![State::Delivered],
        }
    }
}

/// What is to be done, with what, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) action: Action,
    pub(crate) which: Selector,
    /// In a fact's words: `operator root`.
    pub(crate) by: String,
    /// Only look.
    pub(crate) dry_run: bool,
    /// Not more than so many.
    pub(crate) at_most: u64,
}

/// It could not be done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CustodyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] ProjectionError),
    #[error("the ledger does not answer")]
    Silent,
}

/// Does it, page by page.
pub(crate) async fn carry_out(shared: &Shared, order: &Order) -> Result<Report, CustodyError> {
    crate::ledger::catch_up(shared).await?;
    let mut report = Report::new(order.dry_run);
    let mut search = Search::new(order);
    loop {
        let page = search.next(shared).await?;
        if page.is_empty() {
            return Ok(report);
        }
        let page = page
            .into_iter()
            .filter(|subject| order.which.wants_view(subject.view.as_ref()));
        let is_full = if order.dry_run {
            look(shared, order, page.collect(), &mut report).await?
        } else {
            act(shared, order, page.collect(), &mut report).await?
        };
        if is_full {
            return Ok(report);
        }
    }
}

/// Says what would be done.
async fn look(shared: &Shared, order: &Order, page: Vec<Subject>, report: &mut Report) -> Result<bool, CustodyError> {
    for subject in page {
        let entry = shared.spool.entry(subject.delivery).await?;
        if order.which.wants_entry(entry.as_ref()) {
            match decide::decide(shared, order, entry.as_ref(), &subject) {
                Ok(()) => report.done(&subject),
                Err(why) => report.not(&subject, why),
            }
        }
    }
    Ok(false)
}

/// Does it to a page. Whether it is enough.
async fn act(shared: &Shared, order: &Order, page: Vec<Subject>, report: &mut Report) -> Result<bool, CustodyError> {
    let ids = page.iter().map(|subject| subject.delivery).collect();
    let leased = shared.spool.lease(shared.epoch, ids, LEASE).await?;
    let mut leased: HashMap<DeliveryId, Entry> = leased
        .into_iter()
        .map(|entry| (entry.routing.delivery, entry))
        .collect();
    let (mut moved, mut left_alone, mut is_full) = (Vec::new(), Vec::new(), false);
    for subject in &page {
        let Some(entry) = leased.remove(&subject.delivery) else {
            let entry = shared.spool.entry(subject.delivery).await?;
            if order.which.wants_entry(entry.as_ref()) {
                let decided = decide::decide(shared, order, entry.as_ref(), subject);
                report.not(
                    subject,
                    decided.err().unwrap_or_else(|| Some("it is being sent now".to_owned())),
                );
            }
            continue;
        };
        let decided = match order.which.wants_entry(Some(&entry)) {
            true => decide::decide(shared, order, Some(&entry), subject),
            false => Err(None),
        };
        is_full = report.count() >= order.at_most;
        match decided {
            Ok(()) if !is_full => {
                report.done(subject);
                moved.push(entry);
            }
            Ok(()) => left_alone.push(subject.delivery),
            Err(why) => {
                report.not(subject, why);
                left_alone.push(subject.delivery);
            }
        }
    }
    let done = carry(shared, order, moved).await;
    shared.spool.unclaim(shared.epoch, left_alone).await?;
    done.map(|()| is_full)
}

/// Moves entries that are leased.
async fn carry(shared: &Shared, order: &Order, entries: Vec<Entry>) -> Result<(), CustodyError> {
    if entries.is_empty() {
        return Ok(());
    }
    let settlement = match &order.action {
        Action::Retry | Action::Release | Action::Resend => {
            go_on(shared, entries, &order.by).await?;
            return Ok(());
        }
        Action::Hold => {
            let who = order.by.strip_prefix(OPERATOR).unwrap_or(&order.by);
            HeldBy::Operator(who.to_owned()).settlement()
        }
        Action::Discard { .. } => Settlement::Discarded,
    };
    let at = shared.clock.now();
    let facts = entries.iter().map(|entry| ended(order, entry.routing.delivery, at));
    let facts: Vec<Bytes> = facts.filter_map(|fact| fact_bytes(&fact)).collect();
    let settle = |entry: &Entry| (entry.routing.delivery, settlement.clone());
    let settlements = entries.iter().map(settle).collect();
    shared.spool.settle(shared.epoch, settlements, facts).await?;
    packhorse_spool::stopping::at("after_order");
    Ok(())
}

/// That a delivery is discarded, or held.
fn ended(order: &Order, delivery: DeliveryId, at: WallTime) -> Fact {
    let by = order.by.clone();
    match &order.action {
        Action::Discard { reason, .. } => Fact::Discarded(Discarded {
            delivery,
            by,
            at,
            reason: Some(reason.clone()),
        }),
        _ => Fact::Held(Held { delivery, by, at }),
    }
}

/// Makes entries ready again, with the facts that say so, all or nothing. How many it were.
pub(crate) async fn go_on(shared: &Shared, entries: Vec<Entry>, by: &str) -> Result<u64, StoreError> {
    if entries.is_empty() {
        return Ok(0);
    }
    let at = shared.clock.now();
    let fact = |entry: &Entry| {
        let (delivery, by) = (entry.routing.delivery, by.to_owned());
        match entry.state {
            EntryState::Held => fact_bytes(&Fact::Released(Released { delivery, by, at })),
            EntryState::Failed | EntryState::Ready => fact_bytes(&Fact::Reopened(Reopened { delivery, by, at })),
            EntryState::Kept => fact_bytes(&Fact::Resent(Resent { delivery, by, at })),
            // It was under way all the time.
            EntryState::Acked => None,
        }
    };
    let facts = entries.iter().filter_map(fact).collect();
    let deliveries = entries.iter().map(|entry| entry.routing.delivery).collect();
    shared.spool.reopen(shared.epoch, deliveries, facts).await
}

/// Where the next deliveries come from.
struct Search<'a> {
    found: Found<'a>,
    states: Vec<State>,
    direction: Option<Direction>,
    ledger: Cursor,
    spool: u64,
    is_over: bool,
}

impl<'a> Search<'a> {
    fn new(order: &'a Order) -> Self {
        Self {
            found: order.which.found(),
            states: order.action.states(),
            // What went to another site is sent again there.
            direction: (order.action == Action::Resend).then_some(Direction::Incoming),
            ledger: Cursor::default(),
            spool: 0,
            is_over: false,
        }
    }

    /// The next page; an empty one is the end.
    async fn next(&mut self, shared: &Shared) -> Result<Vec<Subject>, CustodyError> {
        if self.is_over {
            return Ok(Vec::new());
        }
        match self.found {
            Found::These(ids) => {
                let (page, rest) = ids.split_at(ids.len().min(PAGE));
                self.found = Found::These(rest);
                subjects(shared, page.to_vec()).await
            }
            Found::Failed => {
                let state = Some(EntryState::Failed);
                let page = shared
                    .spool
                    .page(self.spool, Filter { queue: None, state }, PAGE)
                    .await?;
                self.spool = page.last().map_or(self.spool, |(cursor, _)| *cursor);
                self.is_over = page.is_empty();
                let ids = page.iter().map(|(_, entry)| entry.routing.delivery).collect();
                subjects(shared, ids).await
            }
            Found::Filter(filter) => {
                let filter = DeliveryFilter {
                    states: self.states.clone(),
                    direction: self.direction.or(filter.direction),
                    ..filter.clone()
                };
                self.select(shared, filter).await
            }
        }
    }

    async fn select(&mut self, shared: &Shared, filter: DeliveryFilter) -> Result<Vec<Subject>, CustodyError> {
        let mut cursor = self.ledger;
        let asked = shared.ledger(move |projection| {
            let page = projection.select(&filter, &mut cursor, PAGE)?;
            Ok::<_, ProjectionError>((page, cursor))
        });
        let (page, cursor) = asked.await.ok_or(CustodyError::Silent)??;
        self.ledger = cursor;
        let subject = |view: DeliveryView| {
            let delivery = view.delivery.parse().ok()?;
            let (view, is_named) = (Some(view), false);
            Some(Subject {
                delivery,
                view,
                is_named,
            })
        };
        Ok(page.into_iter().filter_map(subject).collect())
    }
}

/// Deliveries with what the ledger knows of them.
async fn subjects(shared: &Shared, ids: Vec<DeliveryId>) -> Result<Vec<Subject>, CustodyError> {
    let asked = shared.ledger(move |projection| {
        let subject = |delivery| {
            let view = projection.delivery(delivery)?;
            let is_named = true;
            Ok(Subject {
                delivery,
                view,
                is_named,
            })
        };
        ids.into_iter()
            .map(subject)
            .collect::<Result<Vec<_>, ProjectionError>>()
    });
    Ok(asked.await.ok_or(CustodyError::Silent)??)
}

#[cfg(test)]
mod tests;
