//! Entries as rows.

use bytes::Bytes;
use packhorse_ids::{DeliveryId, Digest, Kind, PayloadId, Priority, Routing, Sequence, SiteName, WallTime};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::shared::Counted;
use crate::store::{Body, Custody, Entry, EntryState, Locator, NewEntry, NewState, QueueName};

/// The columns that [`entry`] reads, in its order.
pub(super) const COLUMNS: &str = "delivery, payload, source, destination, kind, priority, sequence, length, blake3, \
                                  queue, custody, state, due, attempts, committed_at, note, locator, body, n";

/// A note is cut here.
const NOTE_LEN_MAX: usize = 512;

/// A value of ours that does not read back: the file was changed by somebody else.
#[derive(Debug, thiserror::Error)]
#[error("column {_0} does not hold what was written")]
struct Damaged(&'static str);

fn damaged(column: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(Damaged(column)))
}

/// An entry and its number.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<(u64, Entry)> {
    let text = |index: usize, name| -> rusqlite::Result<SiteName> {
        SiteName::try_from(row.get_ref(index)?.as_str()?).map_err(|_| damaged(name))
    };
    let body = match (row.get::<_, Option<Vec<u8>>>(16)?, row.get::<_, Option<Vec<u8>>>(17)?) {
        (Some(locator), _) => Body::Stored(Locator::new(locator)),
        (None, Some(body)) => Body::Inline(Bytes::from(body)),
        (None, None) => return Err(damaged("body")),
    };
    let code = |index: usize, name| -> rusqlite::Result<u8> { row.get(index).map_err(|_| damaged(name)) };
    let state = code(11, "state")?;
    let routing = Routing {
        delivery: DeliveryId::from_bytes(row.get(0)?),
        payload: PayloadId::from_bytes(row.get(1)?),
        source: text(2, "source")?,
        destination: text(3, "destination")?,
        kind: Kind::from_code(code(4, "kind")?).ok_or_else(|| damaged("kind"))?,
        priority: Priority::from_code(code(5, "priority")?).ok_or_else(|| damaged("priority"))?,
        sequence: Sequence(row.get::<_, i64>(6)?.cast_unsigned()),
        length: row.get::<_, i64>(7)?.cast_unsigned(),
        blake3: Digest::from_bytes(row.get(8)?),
    };
    let entry = Entry {
        routing,
        queue: QueueName::try_from(row.get_ref(9)?.as_str()?).map_err(|_| damaged("queue"))?,
        body,
        custody: if code(10, "custody")? == 0 {
            Custody::UntilAcked
        } else {
            Custody::UntilReleased
        },
        state: EntryState::ALL
            .into_iter()
            .find(|known| known.code() == state)
            .ok_or_else(|| damaged("state"))?,
        due: WallTime::from_unix_micros(row.get(12)?),
        attempts: row.get(13)?,
        committed_at: WallTime::from_unix_micros(row.get(14)?),
        note: row.get(15)?,
    };
    Ok((row.get::<_, i64>(18)?.cast_unsigned(), entry))
}

pub(super) fn find(connection: &Connection, delivery: DeliveryId) -> rusqlite::Result<Option<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM entry WHERE delivery = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_row([delivery.as_bytes()], |row| entry(row).map(|(_, entry)| entry))
        .optional()
}

/// The entry with this number.
pub(super) fn nth(connection: &Connection, number: u64) -> rusqlite::Result<Option<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM entry WHERE n = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_row([number.cast_signed()], |row| entry(row).map(|(_, entry)| entry))
        .optional()
}

/// Where an entry is counted, and what it holds: enough to settle it without reading its body.
#[derive(Debug)]
pub(super) struct Brief {
    pub(super) queue: QueueName,
    pub(super) kind: Kind,
    pub(super) state: EntryState,
    pub(super) custody: Custody,
    pub(super) sequence: Sequence,
    pub(super) length: u64,
    pub(super) due: WallTime,
    pub(super) locator: Option<Locator>,
}

impl Brief {
    /// What it is counted as in this state.
    pub(super) fn counted(&self, state: EntryState) -> Counted {
        (self.queue.clone(), self.kind, state)
    }
}

pub(super) fn brief(connection: &Connection, delivery: DeliveryId) -> rusqlite::Result<Option<Brief>> {
    let sql = "SELECT queue, state, custody, length, locator, sequence, kind, due FROM entry WHERE delivery = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        let code: u8 = row.get(1)?;
        Ok(Brief {
            queue: QueueName::try_from(row.get_ref(0)?.as_str()?).map_err(|_| damaged("queue"))?,
            kind: Kind::from_code(row.get(6)?).ok_or_else(|| damaged("kind"))?,
            state: EntryState::ALL
                .into_iter()
                .find(|state| state.code() == code)
                .ok_or_else(|| damaged("state"))?,
            custody: if row.get::<_, u8>(2)? == 0 {
                Custody::UntilAcked
            } else {
                Custody::UntilReleased
            },
            sequence: Sequence(row.get::<_, i64>(5)?.cast_unsigned()),
            length: row.get::<_, i64>(3)?.cast_unsigned(),
            due: WallTime::from_unix_micros(row.get(7)?),
            locator: row.get::<_, Option<Vec<u8>>>(4)?.map(Locator::new),
        })
    };
    statement.query_row([delivery.as_bytes()], read).optional()
}

pub(super) fn insert(
    connection: &Connection,
    new: &NewEntry,
    sequence: Sequence,
    now: WallTime,
) -> rusqlite::Result<()> {
    let routing = &new.routing;
    let (locator, body) = match &new.body {
        Body::Inline(bytes) => (None, Some(&**bytes)),
        Body::Stored(locator) => (Some(&*locator.bytes), None),
    };
    let (state, note) = begun(&new.state);
    let sql = "INSERT INTO entry (delivery, payload, source, destination, kind, priority, sequence, length, blake3,
                   queue, custody, state, due, attempts, committed_at, note, locator, body)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        routing.delivery.as_bytes(),
        routing.payload.as_bytes(),
        routing.source.as_str(),
        routing.destination.as_str(),
        routing.kind.code(),
        routing.priority.code(),
        sequence.0.cast_signed(),
        routing.length.cast_signed(),
        routing.blake3.as_bytes(),
        new.queue.as_str(),
        u8::from(new.custody == Custody::UntilReleased),
        state.code(),
        now.unix_micros(),
        note,
        locator,
        body,
    ])?;
    Ok(())
}

/// The state that an entry begins in, and its note.
pub(super) fn begun(state: &NewState) -> (EntryState, &str) {
    match state {
        NewState::Ready => (EntryState::Ready, ""),
        NewState::Held { note } => (EntryState::Held, cut(note)),
    }
}

/// A note as it is kept.
pub(super) fn cut(note: &str) -> &str {
    note.split_at(note.floor_char_boundary(NOTE_LEN_MAX)).0
}

/// The next number of (source, destination, kind, priority): whoever receives them sees no gap but for what is kept back.
pub(super) fn next_sequence(connection: &Connection, routing: &Routing) -> rusqlite::Result<Sequence> {
    let sql = "INSERT INTO sequence VALUES (?, ?, ?, ?, 1)
               ON CONFLICT (source, destination, kind, priority) DO UPDATE SET last = last + 1 RETURNING last";
    let row = params![
        routing.source.as_str(),
        routing.destination.as_str(),
        routing.kind.code(),
        routing.priority.code(),
    ];
    let last: i64 = connection.prepare_cached(sql)?.query_row(row, |row| row.get(0))?;
    Ok(Sequence(last.cast_unsigned()))
}
