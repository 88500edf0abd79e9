//! Leasing what is due.

use std::sync::Arc;
use std::time::Duration;

use packhorse_ids::{DeliveryId, Priority, WallTime};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::pins::Pin;
use super::place::Place;
use super::rows;
use super::shared::Shared;
use crate::store::{Body, Entry, EntryState, QueueName};

/// Numbers only, out of the index alone. One question for each state and priority: behind those `due` is a range of the
/// index, so that entries that are not due cost nothing, however many there are.
const DUE: &str = "SELECT n FROM entry WHERE queue = ? AND state = ? AND priority = ? AND due <= ? ORDER BY due, n";

/// The states that are claimed, in this order.
pub(super) const CLAIMED: [EntryState; 2] = [EntryState::Ready, EntryState::Acked];
/// One that changes just while it is leased is looked at again.
const TAKE_TRIES: usize = 3;
const PRIORITIES: [Priority; 3] = [Priority::Stat, Priority::Routine, Priority::Bulk];

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) queue: QueueName,
    /// Nothing less urgent.
    pub(super) least: Priority,
    pub(super) max: usize,
    pub(super) lease: Duration,
}

/// Leases what is due and not leased. No lock is held while the index is read, the committer needs them.
pub(super) fn claim(db: &Connection, shared: &Arc<Shared>, asked: &Asked) -> rusqlite::Result<Vec<Entry>> {
    loop {
        let now = shared.clock.now();
        let found = due(db, shared, asked, now)?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let claimed = take(db, shared, asked.lease, now, &found)?;
        // Nothing, only when somebody else took or settled all of them meanwhile.
        if !claimed.is_empty() {
            return Ok(claimed);
        }
    }
}

fn due(db: &Connection, shared: &Shared, asked: &Asked, now: WallTime) -> rusqlite::Result<Vec<u64>> {
    let mut statement = db.prepare_cached(DUE)?;
    let mut found = Vec::new();
    for priority in PRIORITIES.into_iter().filter(|priority| *priority <= asked.least) {
        for state in CLAIMED {
            let (queue, now_micros) = (asked.queue.as_str(), now.unix_micros());
            let mut rows = statement.query(params![queue, state.code(), priority.code(), now_micros])?;
            while found.len() < asked.max
                && let Some(row) = rows.next()?
            {
                let number = row.get::<_, i64>(0)?.cast_unsigned();
                if !shared.leases().is_leased(number, now) {
                    found.push(number);
                }
            }
        }
    }
    Ok(found)
}

/// Leases these, if they are here and nobody has them.
pub(super) fn claim_these(
    db: &Connection,
    shared: &Arc<Shared>,
    deliveries: Vec<DeliveryId>,
    lease: Duration,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = db.prepare_cached("SELECT n FROM entry WHERE delivery = ?")?;
    let (mut claimed, mut left) = (Vec::new(), deliveries);
    for _ in 0..TAKE_TRIES {
        let number = |delivery: &DeliveryId| {
            let found = statement.query_row([delivery.as_bytes()], |row| row.get::<_, i64>(0));
            found.optional().map(|number| number.map(i64::cast_unsigned))
        };
        let found: rusqlite::Result<Vec<Option<u64>>> = left.iter().map(number).collect();
        let found: Vec<u64> = found?.into_iter().flatten().collect();
        let taken = take(db, shared, lease, shared.clock.now(), &found)?;
        left.retain(|delivery| taken.iter().all(|entry| entry.routing.delivery != *delivery));
        claimed.extend(taken);
        if left.is_empty() {
            break;
        }
    }
    Ok(claimed)
}

fn take(
    db: &Connection,
    shared: &Arc<Shared>,
    lease: Duration,
    now: WallTime,
    found: &[u64],
) -> rusqlite::Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity(found.len());
    for number in found {
        entries.extend(rows::nth(db, *number)?.map(|entry| (*number, entry)));
    }
    let until = now.saturating_add(lease);
    entries.retain(|(number, entry)| shared.leases().take(*number, entry.routing.delivery, now, until));
    entries.iter_mut().for_each(|(_, entry)| pin(shared, &mut entry.body));
    // Whatever was settled before it was leased is seen now; what comes later finds the lease and the pin.
    let still: rusqlite::Result<Vec<bool>> = entries
        .iter()
        .map(|(number, entry)| is_still(db, *number, entry))
        .collect();
    let (still, failed) = match still {
        Ok(still) => (still, None),
        Err(error) => (vec![false; entries.len()], Some(error)),
    };
    let (mut claimed, mut leases) = (Vec::with_capacity(entries.len()), shared.leases());
    for ((_, entry), is_still) in entries.into_iter().zip(still) {
        if is_still {
            claimed.push(entry);
        } else {
            leases.give_back(entry.routing.delivery);
        }
    }
    failed.map_or(Ok(claimed), Err)
}

fn pin(shared: &Arc<Shared>, body: &mut Body) {
    if let Body::Stored(locator) = body {
        locator.pin = Place::from_locator(locator).map(|place| Pin::new(shared, place));
    }
}

/// Whether an entry is as it was read.
fn is_still(db: &Connection, number: u64, entry: &Entry) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM entry WHERE n = ? AND state = ? AND due = ? AND locator IS ?";
    let locator = match &entry.body {
        Body::Stored(locator) => Some(&*locator.bytes),
        Body::Inline(_) => None,
    };
    let row = params![
        number.cast_signed(),
        entry.state.code(),
        entry.due.unix_micros(),
        locator
    ];
    db.prepare_cached(sql)?.exists(row)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::super::schema;
    use super::*;

    #[test]
    fn a_claim_does_not_look_at_what_is_not_due() {
        let db = Connection::open_in_memory().unwrap();
        schema::prepare(&db).unwrap();
        db.execute(
            "WITH RECURSIVE many (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM many WHERE i < 5000)
             INSERT INTO entry (delivery, payload, source, destination, kind, priority, sequence, length, blake3, queue,
                 custody, state, due, attempts, committed_at, note)
             SELECT CAST(i AS BLOB), x'', 'a', 'b', 0, 1, i, 1, x'', 'link', 1, 1, 1000000 + i, 0, 0, '' FROM many",
            [],
        )
        .unwrap();
        let mut due = db.prepare(DUE).unwrap();
        let mut found = |now: i64| -> Vec<i64> {
            let rows = due.query_map(params!["link", 1, 1, now], |row| row.get(0));
            rows.unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(found(1_000_000), Vec::<i64>::new());
        assert_eq!(found(1_000_002), [1, 2]);
        let steps = due.get_status(StatementStatus::VmStep);
        assert!(steps < 100, "{steps} steps over 5,000 entries that are acknowledged");
        assert_eq!(due.get_status(StatementStatus::Sort), 0);
    }
}
