//! Moves what is left in sparse slabs elsewhere, so that their space comes in long pieces again.
//!
//! An entry that somebody has read from the index still names the old place, so that stays as it is for [`KEPT`] after
//! the move. Leased entries are not moved, nor payloads that are being received.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use packhorse_ids::{DeliveryId, WallTime};
use rusqlite::{Connection, ErrorCode, params};

use super::place::{FileError, Place};
use super::shared::Shared;
use crate::store::Locator;

/// Bytes moved in one step, while nobody waits: some 20 ms.
const STEP_LEN: u64 = 4 << 20;
/// The longest that anybody keeps an entry it has read and does not lease.
const KEPT: Duration = Duration::from_secs(3600);

/// The state of moving.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    /// Places that were moved away from, and when they are free.
    left: Vec<(WallTime, Place)>,
    is_busy: bool,
}

/// One payload on its way from a sparse slab.
struct Move {
    delivery: DeliveryId,
    from: Place,
    to: Place,
}

impl Compactor {
    /// Whether the last step left something to move.
    pub(super) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Frees what was left long ago, and moves a few payloads.
    pub(super) fn step(&mut self, connection: &mut Connection, shared: &Shared, now: WallTime) -> rusqlite::Result<()> {
        self.left.retain(|(until, place)| {
            let is_kept = *until > now;
            if !is_kept {
                shared.free(*place);
            }
            is_kept
        });
        self.is_busy = false;
        let waiting = self.left.iter().filter_map(|(_, place)| place.slab()).collect();
        let Some(slab) = shared.slabs.sparse(&waiting) else {
            return Ok(());
        };
        let moves = choose(connection, shared, slab)?;
        if moves.is_empty() {
            return Ok(());
        }
        let recorded = match copy(shared, &moves) {
            Ok(()) => record(connection, &moves),
            Err(Copying::Reading(error)) => {
                tracing::error!(slab, error = &error as &dyn Error, "a payload cannot be read");
                free(shared, &moves);
                return Ok(());
            }
            Err(Copying::Writing(error)) => {
                tracing::error!(
                    slab,
                    error = &error as &dyn Error,
                    "a payload cannot be moved: the spool takes nothing more"
                );
                shared.poison();
                return Ok(());
            }
        };
        match recorded {
            Ok(()) => {
                let until = now.saturating_add(KEPT);
                self.left.extend(moves.iter().map(|moved| (until, moved.from)));
                shared.stats.moved.fetch_add(moves.len() as u64, Ordering::Relaxed);
                self.is_busy = true;
                Ok(())
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                free(shared, &moves);
                Ok(())
            }
            // Which of both places the rows name is not known.
            Err(error) => {
                shared.poison();
                Err(error)
            }
        }
    }
}

fn free(shared: &Shared, moves: &[Move]) {
    moves.iter().for_each(|moved| shared.slabs.free(moved.to));
}

/// Payloads of `slab` that nobody has, as many as a step moves, each with room elsewhere.
fn choose(connection: &Connection, shared: &Shared, slab: u32) -> rusqlite::Result<Vec<Move>> {
    let sql = "SELECT delivery, locator FROM entry WHERE locator >= ? AND locator < ? AND locator IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let (first, behind) = (Place::locators_of(slab), Place::locators_of(slab.saturating_add(1)));
    let mut rows = statement.query(params![first, behind])?;
    let (mut moves, mut length) = (Vec::new(), 0);
    while length < STEP_LEN
        && let Some(row) = rows.next()?
    {
        let delivery = DeliveryId::from_bytes(row.get(0)?);
        let from = Place::from_locator(&Locator::new(row.get::<_, Vec<u8>>(1)?));
        if shared.leases().has(delivery) {
            continue;
        }
        let Some((from, to)) = from.and_then(|from| Some((from, shared.slabs.reserve_elsewhere(from)?))) else {
            continue;
        };
        length += from.length();
        moves.push(Move { delivery, from, to });
    }
    Ok(moves)
}

enum Copying {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies and syncs.
fn copy(shared: &Shared, moves: &[Move]) -> Result<(), Copying> {
    let mut files: HashMap<Option<u32>, Arc<File>> = HashMap::new();
    for moved in moves {
        let length = usize::try_from(moved.from.length()).unwrap_or(usize::MAX);
        let reading = |error: FileError| Copying::Reading(error.into_io());
        let bytes = shared.slabs.read(moved.from, 0, length).map_err(reading)?;
        let (file, offset) = shared.slabs.file(moved.to).map_err(reading)?;
        let disk = &shared.config.disk;
        disk.write(&file, &mut [IoSlice::new(&bytes)], offset)
            .map_err(Copying::Writing)?;
        files.insert(moved.to.slab(), file);
    }
    let sync = |file: &Arc<File>| shared.config.disk.sync(file).map_err(Copying::Writing);
    files.values().try_for_each(sync)
}

fn record(connection: &mut Connection, moves: &[Move]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for moved in moves {
        let (to, from) = (moved.to.to_locator(), moved.from.to_locator());
        transaction
            .prepare_cached("UPDATE entry SET locator = ? WHERE delivery = ? AND locator = ?")?
            .execute(params![&*to.bytes, moved.delivery.as_bytes(), &*from.bytes])?;
    }
    transaction.commit()
}
