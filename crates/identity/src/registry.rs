//! What a relay knows of tokens, sites and certificates.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use packhorse_ids::{SiteName, WallTime};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

/// The registry failed.
#[derive(Debug, thiserror::Error)]
#[error("the registry failed")]
pub struct RegistryError(#[from] rusqlite::Error);

/// An invitation.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Which.
    pub id: [u8; 8],
    /// What a join request is checked with; never the secret.
    pub mac_key: [u8; 32],
    /// The site it makes.
    pub site: SiteName,
    /// When it ends.
    pub expires: WallTime,
}

impl fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRecord")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRecord {
    /// Its serial number.
    pub serial: Vec<u8>,
    /// Whose.
    pub site: SiteName,
    /// SHA-256 of its DER.
    pub fingerprint: [u8; 32],
    /// When it ends.
    pub not_after: WallTime,
    /// It was revoked then.
    pub revoked: Option<WallTime>,
}

/// A site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRecord {
    /// Its name.
    pub site: SiteName,
    /// When it joined.
    pub joined: WallTime,
    /// When its newest certificate ends.
    pub not_after: WallTime,
    /// It was revoked then.
    pub revoked: Option<WallTime>,
}

/// What became of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// It was unused and is used now.
    Fresh,
    /// It was used by this very request before: here is what was answered (the answer was lost).
    Again(Vec<u8>),
    /// It was used by another request.
    Used,
}

/// A renewal that is to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalRecord {
    /// Serial number of the certificate that asks.
    pub old: Vec<u8>,
    /// Hash of its request.
    pub request: [u8; 32],
    /// The certificate that answers it.
    pub new: CertificateRecord,
    /// The DER of that certificate.
    pub certificate: Vec<u8>,
}

/// What became of a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The certificate that asks was the newest of its site; the new one is now.
    Fresh,
    /// This very request was answered before, with this certificate, and nothing has followed it (the answer was lost).
    Again(Vec<u8>),
    /// Another certificate of the site is newer.
    NotNewest,
    /// The certificate that asks is revoked.
    Revoked,
}

/// Tokens, sites, certificates, revocations. A token is one-use across all nodes that share a registry.
#[async_trait]
pub trait Registry: Send + Sync + fmt::Debug {
    /// Remembers an invitation.
    async fn create_token(&self, token: TokenRecord) -> Result<(), RegistryError>;
    /// An invitation.
    async fn token(&self, id: [u8; 8]) -> Result<Option<TokenRecord>, RegistryError>;
    /// Uses a token for the request with this hash, once.
    async fn consume_token(&self, id: [u8; 8], request: [u8; 32]) -> Result<Consumed, RegistryError>;
    /// Remembers what was answered to the request that used the token.
    async fn answer_token(&self, id: [u8; 8], answer: Vec<u8>) -> Result<(), RegistryError>;
    /// Remembers a certificate; a site that was revoked is in again.
    async fn add_certificate(&self, record: CertificateRecord, now: WallTime) -> Result<(), RegistryError>;
    /// Remembers a renewal: only the newest certificate of a site renews, and only for one request, which may come again.
    async fn renew_certificate(&self, renewal: RenewalRecord) -> Result<Renewed, RegistryError>;
    /// A certificate.
    async fn certificate(&self, serial: &[u8]) -> Result<Option<CertificateRecord>, RegistryError>;
    /// Revokes a site and all its certificates. Whether there was such a site.
    async fn revoke(&self, site: &SiteName, now: WallTime) -> Result<bool, RegistryError>;
    /// Serial numbers of all revoked certificates.
    async fn revoked(&self) -> Result<Vec<Vec<u8>>, RegistryError>;
    /// All sites by name.
    async fn sites(&self) -> Result<Vec<SiteRecord>, RegistryError>;
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS token (
    id BLOB PRIMARY KEY, mac_key BLOB NOT NULL, site TEXT NOT NULL, expires INTEGER NOT NULL, request BLOB, answer BLOB
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS site (name TEXT PRIMARY KEY, joined INTEGER NOT NULL, revoked INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS certificate (
    n INTEGER PRIMARY KEY AUTOINCREMENT, serial BLOB NOT NULL UNIQUE, site TEXT NOT NULL, fingerprint BLOB NOT NULL,
    not_after INTEGER NOT NULL, revoked INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS certificate_site ON certificate (site, n);
CREATE TABLE IF NOT EXISTS renewal (
    site TEXT PRIMARY KEY, old BLOB NOT NULL, request BLOB NOT NULL, certificate BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The registry of a single relay: an SQLite file.
#[derive(Debug)]
pub struct SqliteRegistry(Mutex<Connection>);

impl SqliteRegistry {
    /// Opens the registry at `path`, or makes one.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch(TABLES)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// A few rows at a time, so it is done on the caller's thread.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<WallTime> {
    row.get(index).map(WallTime::from_unix_micros)
}

fn optional_time(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<WallTime>> {
    Ok(row.get::<_, Option<i64>>(index)?.map(WallTime::from_unix_micros))
}

fn site(row: &Row<'_>, index: usize) -> rusqlite::Result<SiteName> {
    let name = SiteName::try_from(row.get_ref(index)?.as_str()?);
    name.map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error)))
}

fn insert_certificate(connection: &Connection, record: &CertificateRecord) -> rusqlite::Result<()> {
    let sql = "INSERT INTO certificate (serial, site, fingerprint, not_after) VALUES (?, ?, ?, ?)";
    let not_after = record.not_after.unix_micros();
    let row = params![record.serial, record.site.as_str(), record.fingerprint, not_after];
    connection.execute(sql, row).map(|_| ())
}

#[async_trait]
impl Registry for SqliteRegistry {
    async fn create_token(&self, token: TokenRecord) -> Result<(), RegistryError> {
        let row = params![
            token.id,
            token.mac_key,
            token.site.as_str(),
            token.expires.unix_micros()
        ];
        self.lock().execute(
            "INSERT INTO token (id, mac_key, site, expires) VALUES (?, ?, ?, ?)",
            row,
        )?;
        Ok(())
    }

    async fn token(&self, id: [u8; 8]) -> Result<Option<TokenRecord>, RegistryError> {
        let read = |row: &Row<'_>| {
            Ok(TokenRecord {
                id,
                mac_key: row.get(0)?,
                site: site(row, 1)?,
                expires: time(row, 2)?,
            })
        };
        let sql = "SELECT mac_key, site, expires FROM token WHERE id = ?";
        Ok(self.lock().query_row(sql, [id], read).optional()?)
    }

    async fn consume_token(&self, id: [u8; 8], request: [u8; 32]) -> Result<Consumed, RegistryError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "SELECT request, answer FROM token WHERE id = ?";
        let read = |row: &Row<'_>| Ok((row.get::<_, Option<Vec<u8>>>(0)?, row.get::<_, Option<Vec<u8>>>(1)?));
        let consumed = match transaction.query_row(sql, [id], read)? {
            (None, _) => {
                transaction.execute("UPDATE token SET request = ? WHERE id = ?", params![request, id])?;
                Consumed::Fresh
            }
            (Some(by), Some(answer)) if by == request => Consumed::Again(answer),
            // Consumed, and the relay stopped before it had an answer: this very request may go on.
            (Some(by), None) if by == request => Consumed::Fresh,
            (Some(_), _) => Consumed::Used,
        };
        transaction.commit()?;
        Ok(consumed)
    }

    async fn answer_token(&self, id: [u8; 8], answer: Vec<u8>) -> Result<(), RegistryError> {
        self.lock()
            .execute("UPDATE token SET answer = ? WHERE id = ?", params![answer, id])?;
        Ok(())
    }

    async fn add_certificate(&self, record: CertificateRecord, now: WallTime) -> Result<(), RegistryError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "INSERT INTO site VALUES (?, ?, NULL) ON CONFLICT (name) DO UPDATE SET revoked = NULL";
        transaction.execute(sql, params![record.site.as_str(), now.unix_micros()])?;
        insert_certificate(&transaction, &record)?;
        // Whoever has the new certificate has the site; a renewal whose answer was lost is of no more use.
        transaction.execute("DELETE FROM renewal WHERE site = ?", [record.site.as_str()])?;
        transaction.commit()?;
        Ok(())
    }

    async fn renew_certificate(&self, renewal: RenewalRecord) -> Result<Renewed, RegistryError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let site = renewal.new.site.as_str();
        let sql = "SELECT revoked IS NOT NULL,
                       EXISTS (SELECT 1 FROM certificate newer WHERE newer.site = one.site AND newer.n > one.n)
                   FROM certificate one WHERE serial = ?";
        let read = |row: &Row<'_>| Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?));
        let (is_revoked, has_newer) = transaction.query_row(sql, [&renewal.old], read)?;
        if is_revoked {
            return Ok(Renewed::Revoked);
        }
        if has_newer {
            let sql = "SELECT certificate FROM renewal WHERE site = ? AND old = ? AND request = ?";
            let row = params![site, renewal.old, renewal.request];
            let again = transaction.query_row(sql, row, |row| row.get(0)).optional()?;
            return Ok(again.map_or(Renewed::NotNewest, Renewed::Again));
        }
        insert_certificate(&transaction, &renewal.new)?;
        // One of a site: the answer before this one has arrived, for its certificate asks now.
        let row = params![site, renewal.old, renewal.request, renewal.certificate];
        transaction.execute("INSERT OR REPLACE INTO renewal VALUES (?, ?, ?, ?)", row)?;
        transaction.commit()?;
        Ok(Renewed::Fresh)
    }

    async fn certificate(&self, serial: &[u8]) -> Result<Option<CertificateRecord>, RegistryError> {
        let sql = "SELECT site, fingerprint, not_after, revoked FROM certificate WHERE serial = ?";
        let read = |row: &Row<'_>| {
            Ok(CertificateRecord {
                serial: serial.to_vec(),
                site: site(row, 0)?,
                fingerprint: row.get(1)?,
                not_after: time(row, 2)?,
                revoked: optional_time(row, 3)?,
            })
        };
        Ok(self.lock().query_row(sql, [serial], read).optional()?)
    }

    async fn revoke(&self, site: &SiteName, now: WallTime) -> Result<bool, RegistryError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let row = params![now.unix_micros(), site.as_str()];
        let sites = transaction.execute("UPDATE site SET revoked = coalesce(revoked, ?) WHERE name = ?", row)?;
        transaction.execute(
            "UPDATE certificate SET revoked = coalesce(revoked, ?) WHERE site = ?",
            row,
        )?;
        transaction.commit()?;
        Ok(sites > 0)
    }

    async fn revoked(&self) -> Result<Vec<Vec<u8>>, RegistryError> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT serial FROM certificate WHERE revoked IS NOT NULL")?;
        let serials = statement.query_map([], |row| row.get(0))?;
        Ok(serials.collect::<Result<_, _>>()?)
    }

    async fn sites(&self) -> Result<Vec<SiteRecord>, RegistryError> {
        let connection = self.lock();
        let sql =
            "SELECT name, joined, (SELECT max(not_after) FROM certificate WHERE certificate.site = site.name), revoked
                   FROM site ORDER BY name";
        let mut statement = connection.prepare(sql)?;
        let sites = statement.query_map([], |row| {
            let (joined, not_after, revoked) = (time(row, 1)?, time(row, 2)?, optional_time(row, 3)?);
            Ok(SiteRecord {
                site: site(row, 0)?,
                joined,
                not_after,
                revoked,
            })
        })?;
        Ok(sites.collect::<Result<_, _>>()?)
    }
}
