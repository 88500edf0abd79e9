//! What the committer is asked to do, and how it changes the index.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use packhorse_ids::{DeliveryId, Epoch, PayloadId, SegmentSet, WallTime};
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::hold::Hold;
use super::place::Place;
use super::rows;
use super::shared::{Counted, Shared};
use crate::error::StoreError;
use crate::store::{Body, Committed, Custody, EntryState, Locator, NewEntry, Settlement};

/// Kept entries given up in one transaction.
const GIVE_UP_MAX: u16 = 256;

/// Work, and who waits for it.
#[derive(Debug)]
pub(super) struct Op {
    /// `None`: the work is the same whoever owns the store.
    pub(super) epoch: Option<Epoch>,
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<Done, StoreError>>,
}

impl Op {
    pub(super) fn answer(self, result: Result<Done, StoreError>) {
        // A waiter that has gone away needs no answer.
        drop(self.reply.send(result));
    }
}

#[derive(Debug)]
pub(super) enum Work {
    Commit {
        entries: Vec<NewEntry>,
        facts: Vec<Bytes>,
    },
    Settle {
        settlements: Vec<(DeliveryId, Settlement)>,
        facts: Vec<Bytes>,
    },
    Reopen {
        deliveries: Vec<DeliveryId>,
        facts: Vec<Bytes>,
    },
    Trim {
        through: u64,
    },
    /// What is kept since before `until`, or so many bytes of it, the oldest first; at most [`GIVE_UP_MAX`] entries.
    GiveUpKept {
        until: Option<WallTime>,
        bytes: u64,
    },
    Save {
        payload: PayloadId,
        place: Place,
        file: Arc<File>,
        segments: SegmentSet,
    },
    Forget {
        payload: PayloadId,
    },
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) committed: Vec<Committed>,
    pub(super) reopened: u64,
    /// Kept entries that are gone.
    pub(super) given_up: u64,
}

impl Work {
    /// The places whose bytes must be durable before the row is.
    pub(super) fn places(&self) -> Vec<(Place, &Arc<File>)> {
        match self {
            Self::Commit { entries, .. } => {
                let holds = entries.iter().filter_map(|entry| hold_of(&entry.body));
                holds.map(|hold| (hold.place(), hold.file())).collect()
            }
            Self::Save { place, file, .. } => vec![(*place, file)],
            Self::Settle { .. }
            | Self::Reopen { .. }
            | Self::Trim { .. }
            | Self::GiveUpKept { .. }
            | Self::Forget { .. } => Vec::new(),
        }
    }

    pub(super) const fn has_entries(&self) -> bool {
        matches!(self, Self::Commit { entries, .. } if !entries.is_empty())
    }

    /// About how many pages of the write-ahead log it takes: a row and its indexes are five or so, a body comes on top.
    pub(super) fn pages(&self) -> u64 {
        let pages = match self {
            Self::Commit { entries, facts } => {
                let body = |entry: &NewEntry| match &entry.body {
                    Body::Inline(bytes) => bytes.len() / 8192,
                    Body::Stored(_) => 0,
                };
                entries.iter().map(|entry| 5 + body(entry)).sum::<usize>() + facts.len()
            }
            Self::Settle { settlements, facts } => settlements.len() * 5 + facts.len(),
            Self::Reopen { deliveries, facts } => deliveries.len() * 3 + facts.len(),
            Self::GiveUpKept { .. } => usize::from(GIVE_UP_MAX) * 5,
            Self::Trim { .. } | Self::Save { .. } | Self::Forget { .. } => 2,
        };
        u64::try_from(pages).unwrap_or(u64::MAX)
    }
}

fn hold_of(body: &Body) -> Option<&Arc<Hold>> {
    match body {
        Body::Inline(_) => None,
        Body::Stored(locator) => locator.hold.as_ref(),
    }
}

/// What a commit changes outside the database, once it is durable.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) counts: Vec<(Counted, i64, i64)>,
    pub(super) freed: Vec<Place>,
    pub(super) unleased: Vec<DeliveryId>,
    /// Space that rows have taken over, or that is in `freed`.
    pub(super) taken: Vec<Arc<Hold>>,
    pub(super) entries: u64,
}

impl Effects {
    fn count(&mut self, counted: Counted, entries: i64, length: u64) {
        self.counts.push((counted, entries, entries * length.cast_signed()));
    }
}

/// One transaction's worth of changes.
pub(super) struct Batch<'a> {
    pub(super) db: &'a Connection,
    pub(super) shared: &'a Shared,
    pub(super) now: WallTime,
    pub(super) effects: Effects,
}

impl Batch<'_> {
    /// Does `work`. The outer error ends the whole transaction, the inner one refuses this work, of which nothing was done.
    pub(super) fn apply(&mut self, work: &Work) -> rusqlite::Result<Result<Done, StoreError>> {
        let mut done = Done::default();
        match work {
            Work::Commit { entries, facts } => match self.take_bodies(entries)? {
                Ok(taken) => {
                    for (entry, is_taken) in entries.iter().zip(taken) {
                        done.committed.push(self.commit(entry, is_taken)?);
                    }
                    insert_facts(self.db, facts)?;
                }
                Err(refused) => return Ok(Err(refused)),
            },
            Work::Settle { settlements, facts } => {
                for (delivery, settlement) in settlements {
                    self.settle(*delivery, settlement)?;
                }
                insert_facts(self.db, facts)?;
            }
            Work::Reopen { deliveries, facts } => {
                for delivery in deliveries {
                    done.reopened += u64::from(self.reopen(*delivery)?);
                }
                insert_facts(self.db, facts)?;
            }
            Work::Trim { through } => {
                let sql = "DELETE FROM fact WHERE seq <= ?";
                self.db.prepare_cached(sql)?.execute([through.cast_signed()])?;
            }
            Work::GiveUpKept { until, bytes } => done.given_up = self.give_up_kept(*until, *bytes)?,
            Work::Save {
                payload,
                place,
                segments,
                ..
            } => self.save(*payload, *place, segments)?,
            Work::Forget { payload } => drop(self.forget(*payload)?),
        }
        Ok(Ok(done))
    }

    /// Takes the space of the bodies over, all or none. For each entry whether there was something to take: an inline body
    /// needs no space, and the body of an entry that is here already may have been taken when it came.
    fn take_bodies(&mut self, entries: &[NewEntry]) -> rusqlite::Result<Result<Vec<bool>, StoreError>> {
        const NOT_HELD: StoreError =
            StoreError::NotFound("the body is not a writer's of this opening, or is committed");
        let (mut taken, mut holds) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            let hold = hold_of(&entry.body).filter(|hold| hold.belongs_to(self.shared));
            let is_taken = hold.is_some_and(|hold| hold.take());
            holds.extend(hold.filter(|_| is_taken).cloned());
            let needs = matches!(entry.body, Body::Stored(_));
            if needs && !is_taken && rows::brief(self.db, entry.routing.delivery)?.is_none() {
                holds.iter().for_each(|hold| hold.give_back());
                return Ok(Err(NOT_HELD));
            }
            taken.push(is_taken);
        }
        self.effects.taken.extend(holds);
        Ok(Ok(taken))
    }

    fn commit(&mut self, entry: &NewEntry, is_taken: bool) -> rusqlite::Result<Committed> {
        let delivery = entry.routing.delivery;
        let hold = hold_of(&entry.body).filter(|_| is_taken);
        let place = hold.map(|hold| hold.place());
        if let Some(hold) = hold {
            // The segments saved of this payload are in the place that is being committed; others would be lost space.
            let saved = self.forget(hold.payload())?;
            self.effects.freed.extend(saved.filter(|saved| Some(*saved) != place));
        }
        if let Some(present) = rows::brief(self.db, delivery)? {
            self.effects.freed.extend(place);
            return Ok(Committed {
                delivery,
                sequence: present.sequence,
                is_duplicate: true,
            });
        }
        let sequence = match entry.routing.sequence.0 {
            0 => rows::next_sequence(self.db, &entry.routing)?,
            _ => entry.routing.sequence,
        };
        rows::insert(self.db, entry, sequence, self.now)?;
        let counted = (entry.queue.clone(), entry.routing.kind, rows::begun(&entry.state).0);
        self.effects.count(counted, 1, entry.routing.length);
        self.effects.entries += 1;
        Ok(Committed {
            delivery,
            sequence,
            is_duplicate: false,
        })
    }

    fn settle(&mut self, delivery: DeliveryId, settlement: &Settlement) -> rusqlite::Result<()> {
        let Some(brief) = rows::brief(self.db, delivery)? else {
            return Ok(());
        };
        self.effects.unleased.push(delivery);
        let never = WallTime::default();
        let (state, due, tried, note) = match settlement {
            Settlement::Kept if self.keeps(brief.length) => (EntryState::Kept, self.now, false, None),
            Settlement::Acked { again } if brief.custody == Custody::UntilReleased => {
                (EntryState::Acked, *again, false, None)
            }
            Settlement::Acked { .. } | Settlement::Released | Settlement::Discarded | Settlement::Kept => {
                return self.remove(delivery, &brief);
            }
            // Somebody whose lease had run out: it is done with since.
            _ if brief.state == EntryState::Kept => return Ok(()),
            Settlement::Retry { at, note } => (EntryState::Ready, *at, true, Some(note)),
            Settlement::Held { note } => (EntryState::Held, never, false, Some(note)),
            Settlement::Failed { note } => (EntryState::Failed, never, true, Some(note)),
            // What is held or given up meanwhile stays so.
            Settlement::Postponed { .. } if brief.state != EntryState::Ready => return Ok(()),
            Settlement::Postponed { at } => (EntryState::Ready, *at, false, None),
        };
        let note = note.map(|note| rows::cut(note));
        let sql = "UPDATE entry SET state = ?, due = ?, attempts = attempts + ?, note = coalesce(?, note)
                   WHERE delivery = ?";
        let due = due.unix_micros();
        let row = params![state.code(), due, u8::from(tried), note, delivery.as_bytes()];
        self.db.prepare_cached(sql)?.execute(row)?;
        self.effects.count(brief.counted(brief.state), -1, brief.length);
        self.effects.count(brief.counted(state), 1, brief.length);
        if state == EntryState::Kept {
            let above = self
                .kept_len()
                .saturating_sub(self.shared.config.kept_len.unwrap_or(u64::MAX));
            self.give_up_kept(None, above)?;
        }
        Ok(())
    }

    fn keeps(&self, length: u64) -> bool {
        let config = &self.shared.config;
        !config.kept_for.is_zero() && config.kept_len.is_some_and(|most| length <= most)
    }

    /// Bytes kept, with what this batch has changed.
    fn kept_len(&self) -> u64 {
        let changed = self.effects.counts.iter();
        let changed = changed.filter(|((_, _, state), ..)| *state == EntryState::Kept);
        let changed = changed.map(|(.., bytes)| *bytes).sum();
        self.shared.kept_len().saturating_add_signed(changed)
    }

    /// Lets go what is kept since before `until`, or so many bytes of it, the oldest first. What is leased is about to be
    /// reopened. How many entries it was.
    fn give_up_kept(&mut self, until: Option<WallTime>, bytes: u64) -> rusqlite::Result<u64> {
        let sql = "SELECT n, delivery, due FROM entry WHERE state = 4 ORDER BY due, n LIMIT ?";
        let (mut given_up, mut freed) = (0, 0);
        if until.is_none() && bytes == 0 {
            return Ok(0);
        }
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query([GIVE_UP_MAX])?;
        while let Some(row) = rows.next()? {
            let number = row.get::<_, i64>(0)?.cast_unsigned();
            let (delivery, since) = (
                DeliveryId::from_bytes(row.get(1)?),
                WallTime::from_unix_micros(row.get(2)?),
            );
            if freed >= bytes && until.is_none_or(|until| since >= until) {
                break;
            }
            if self.shared.leases().is_leased(number, self.now) {
                continue;
            }
            if let Some(brief) = rows::brief(self.db, delivery)? {
                self.remove(delivery, &brief)?;
                (given_up, freed) = (given_up + 1, freed + brief.length);
            }
        }
        Ok(given_up)
    }

    fn remove(&mut self, delivery: DeliveryId, brief: &rows::Brief) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("DELETE FROM entry WHERE delivery = ?")?
            .execute([delivery.as_bytes()])?;
        let row = params![delivery.as_bytes(), self.now.unix_micros()];
        self.db
            .prepare_cached("INSERT OR REPLACE INTO seen VALUES (?, ?)")?
            .execute(row)?;
        self.effects
            .freed
            .extend(brief.locator.as_ref().and_then(Place::from_locator));
        self.effects.count(brief.counted(brief.state), -1, brief.length);
        Ok(())
    }

    fn reopen(&mut self, delivery: DeliveryId) -> rusqlite::Result<bool> {
        let Some(brief) = rows::brief(self.db, delivery)? else {
            return Ok(false);
        };
        if brief.state == EntryState::Ready && brief.due <= self.now {
            return Ok(false);
        }
        let sql = "UPDATE entry SET state = 0, due = 0, attempts = 0 WHERE delivery = ?";
        self.db.prepare_cached(sql)?.execute([delivery.as_bytes()])?;
        self.effects.unleased.push(delivery);
        self.effects.count(brief.counted(brief.state), -1, brief.length);
        self.effects.count(brief.counted(EntryState::Ready), 1, brief.length);
        Ok(true)
    }

    fn save(&self, payload: PayloadId, place: Place, segments: &SegmentSet) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO partial VALUES (?, ?, ?, ?)";
        let (locator, now) = (place.to_locator(), self.now.unix_micros());
        let row = params![payload.as_bytes(), &*locator.bytes, segments.to_bytes(), now];
        self.db.prepare_cached(sql)?.execute(row).map(drop)
    }

    /// Forgets saved segments. Gives where they were.
    fn forget(&self, payload: PayloadId) -> rusqlite::Result<Option<Place>> {
        let sql = "DELETE FROM partial WHERE payload = ? RETURNING locator";
        let mut statement = self.db.prepare_cached(sql)?;
        let bytes = statement.query_row([payload.as_bytes()], |row| row.get::<_, Vec<u8>>(0));
        let locator = bytes.optional()?.map(Locator::new);
        Ok(locator.as_ref().and_then(Place::from_locator))
    }
}

fn insert_facts(db: &Connection, facts: &[Bytes]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached("INSERT INTO fact (bytes) VALUES (?)")?;
    facts.iter().try_for_each(|fact| statement.execute([&**fact]).map(drop))
}
