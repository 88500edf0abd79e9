//! The projection: facts, read in order into a SQLite database of its own.
//!
//! The number of the last fact is kept in the same transaction as what the facts changed, so a crash at any point neither
//! loses nor repeats one. It can be thrown away and made again as long as the facts are kept; facts may be trimmed up to
//! [`Projection::last`] only by somebody who accepts that what they say then lives here alone. It is behind the spool by
//! what was not applied yet: apply before asking where that matters ([`Projection::find_open`]).
//!
//! One connection, blocking calls: use it from a thread of its own. Values of patients are in this database in clear.

mod apply;
mod groups;
mod held;
mod notices;
mod query;
mod read;
mod repeats;
mod select;
mod watched;
mod whole;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use groups::{Group, LateFilter, Places};
pub use query::StudyFilter;
pub use repeats::Earlier;
pub use select::{Cursor, DeliveryFilter, InvalidStatusPattern, StatusPattern};
pub use watched::Noticed;
pub use whole::SentStudy;

/// Version of the tables; a database of another version is thrown away and made again from the facts.
const SCHEMA: i64 = 2;
/// How long to wait for another connection's write.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// Most rows any question answers, whatever is asked for.
pub const LIMIT_MAX: usize = 10_000;

/// The projection could not be opened, written or asked.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The file could not be opened or made.
    #[error("cannot open the ledger {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        error: rusqlite::Error,
    },
    /// Opened for reading only, and made by another version.
    #[error("the ledger {} is of version {found}, this program reads {SCHEMA}: start the gateway once", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A question or change failed.
    #[error("the ledger's database failed")]
    Database(#[from] rusqlite::Error),
}

/// What [`Projection::apply`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Facts that were new.
    pub new: u64,
    /// Of these: bytes that are no fact, which were passed over. Never zero without a bug or a broken disk.
    pub malformed: u64,
    /// Of these: kinds and versions that this program does not know, which were passed over.
    pub unknown: u64,
}

/// Facts projected into a database.
#[derive(Debug)]
pub struct Projection {
    connection: Connection,
}

impl Projection {
    /// Opens the projection at `path`, or makes an empty one. One of another version is emptied: [`Self::last`] is then 0.
    ///
    /// # Errors
    /// [`ProjectionError::Open`].
    pub fn open(path: &Path) -> Result<Self, ProjectionError> {
        let failed = |error| ProjectionError::Open {
            path: path.to_owned(),
            error,
        };
        let connection = Connection::open(path).map_err(failed)?;
        Self::prepare(connection).map_err(failed)
    }

    /// A projection in memory: for tests, and for an edge that keeps none.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn in_memory() -> Result<Self, ProjectionError> {
        Ok(Self::prepare(Connection::open_in_memory()?)?)
    }

    /// Opens the projection for questions only, beside the gateway that writes it.
    ///
    /// # Errors
    /// [`ProjectionError::Open`]; [`ProjectionError::Version`] when another version made it.
    pub fn open_read_only(path: &Path) -> Result<Self, ProjectionError> {
        let failed = |error| ProjectionError::Open {
            path: path.to_owned(),
            error,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_WAIT).map_err(failed)?;
        let found = schema_version(&connection).map_err(failed)?;
        if found != SCHEMA {
            return Err(ProjectionError::Version {
                path: path.to_owned(),
                found,
            });
        }
        Ok(Self { connection })
    }

    fn prepare(mut connection: Connection) -> Result<Self, rusqlite::Error> {
        connection.busy_timeout(BUSY_WAIT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // FULL, not NORMAL: facts may be trimmed once they are applied.
        connection.pragma_update(None, "synchronous", "FULL")?;
        if schema_version(&connection)? != SCHEMA {
            recreate(&mut connection)?;
        }
        Ok(Self { connection })
    }

    /// Number of the last fact applied; 0: none.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn last(&self) -> Result<u64, ProjectionError> {
        let sql = "SELECT value FROM meta WHERE key = 'last'";
        let last: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(u64::try_from(last).unwrap_or(0))
    }

    /// Empties the projection, to be made again from the first fact.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn rebuild(&mut self) -> Result<(), ProjectionError> {
        Ok(recreate(&mut self.connection)?)
    }

    /// Applies facts with their numbers, in their order, in one transaction. Numbers not above [`Self::last`] are passed
    /// over, so a batch may be given twice; so are bytes that are no fact, which are counted.
    ///
    /// # Errors
    /// [`ProjectionError::Database`]; nothing of the batch is applied then.
    pub fn apply<B: AsRef<[u8]>>(
        &mut self,
        batch: impl IntoIterator<Item = (u64, B)>,
    ) -> Result<Applied, ProjectionError> {
        let last = self.last()?;
        let transaction = self.connection.transaction()?;
        let applied = apply::batch(&transaction, last, batch)?;
        transaction.commit()?;
        Ok(applied)
    }
}

/// SQLite's integers are signed; numbers of facts and lengths never come near the border.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn schema_version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn recreate(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    // Whatever another version made.
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'";
    let tables: Vec<String> = {
        let mut statement = transaction.prepare(sql)?;
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    for table in tables {
        transaction.execute_batch(&format!("DROP TABLE \"{}\";", table.replace('"', "\"\"")))?;
    }
    transaction.execute_batch(include_str!("store/schema.sql"))?;
    transaction.execute("INSERT INTO meta (key, value) VALUES ('last', 0)", [])?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}

#[cfg(test)]
mod tests;
