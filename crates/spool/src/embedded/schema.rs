//! The index's tables, version 1.

use rusqlite::Connection;

/// Version of the folder: tables, slab names, locators.
pub(super) const VERSION: i64 = 1;

/// Body and locator stand last, so that a row's other columns are read without its overflow pages. Opening reads the two
/// indexes of `entry` (counts from the first, space in use from the second) and none of its rows.
const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE entry (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery BLOB NOT NULL UNIQUE,
    payload BLOB NOT NULL,
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    kind INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    length INTEGER NOT NULL,
    blake3 BLOB NOT NULL,
    queue TEXT NOT NULL,
    custody INTEGER NOT NULL,
    state INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    committed_at INTEGER NOT NULL,
    note TEXT NOT NULL,
    locator BLOB,
    body BLOB
) STRICT;
CREATE INDEX entry_claim ON entry (queue, state, priority, due, n, length, kind);
CREATE INDEX entry_locator ON entry (locator) WHERE locator IS NOT NULL;
CREATE TABLE seen (delivery BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX seen_at ON seen (at);
CREATE TABLE sequence (
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    kind INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (source, destination, kind, priority)
) STRICT, WITHOUT ROWID;
CREATE TABLE fact (seq INTEGER PRIMARY KEY AUTOINCREMENT, bytes BLOB NOT NULL) STRICT;
CREATE TABLE partial (
    payload BLOB PRIMARY KEY,
    locator BLOB NOT NULL,
    segments BLOB NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What is kept, by the time since when. Made when it is not there: costs what is not kept nothing.
const KEPT_INDEX: &str = "CREATE INDEX IF NOT EXISTS entry_kept ON entry (due, n) WHERE state = 4";

/// What is found when a folder is opened.
pub(super) enum Found {
    Ready,
    Newer(i64),
}

pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<Found> {
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The committer checkpoints when nobody waits; this is for when somebody always does.
    connection.pragma_update(None, "wal_autocheckpoint", 16_000)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    // What the last owner left in the write-ahead log is written and synced afresh, and the log begun anew: after a failed
    // sync it may hold pages that the system shows but has not stored, and commits behind those would be lost with them.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Ok(Found::Newer(version));
    }
    if version == 0 {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    connection.execute_batch(KEPT_INDEX)?;
    Ok(Found::Ready)
}

/// Begins a new epoch: every earlier one is stale from now on.
pub(super) fn next_epoch(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "INSERT INTO meta VALUES ('epoch', 1)
               ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value";
    let epoch: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(epoch.cast_unsigned())
}
