//! What other sites have said of themselves: the destinations they publish, their consent, their signing key.
//!
//! The relay's directory has sites, never AE titles; AE titles travel between edges in messages. A site's signing key is
//! pinned at first sight: another key later is refused until somebody removes the site from the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{SiteName, WallTime};
use serde::{Deserialize, Serialize};

/// Sites that get our announcements, beside those that may send: a bound on what strangers can make us remember.
const ASKERS_MAX: usize = 256;
/// Name of the file in the edge's folder.
pub(crate) const FILE_NAME: &str = "directory.json";

/// The directory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Reading or writing failed.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// The directory's file.
        path: PathBuf,
        /// "read" or "write".
        action: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The file is not what this version writes.
    #[error("{}: not a directory of sites; move it away and the sites announce themselves again", path.display())]
    Malformed {
        /// The directory's file.
        path: PathBuf,
        /// Where and why.
        #[source]
        error: serde_json::Error,
    },
}

/// One destination that a site publishes, as seen from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    /// AE title of the PACS behind that site.
    pub ae_title: String,
    /// Whether that site agrees to receive from ours (`accept_from`).
    pub accepts: bool,
    /// The title that this PACS will be called by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calling_ae_title: Option<String>,
    /// Whether it is delivered to study by study, and so wants to hear when one is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_study: bool,
    /// What is to be done with what this PACS is known to take: `advise`, `strict`, `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
}

/// What one site has announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SiteEntry {
    /// When the newest announcement was made, by that site's clock, in microseconds since 1970.
    pub announced_at: i64,
    /// Its destinations.
    pub destinations: Vec<Published>,
    /// Its signing key (SubjectPublicKeyInfo, DER, base64), pinned at first sight.
    pub signing_key: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Contents {
    /// Time on our newest announcement: the next one is later, whatever the clock says.
    announced_at: i64,
    /// Sites that have announced themselves to us.
    sites: BTreeMap<String, SiteEntry>,
    /// Sites that have asked for our announcement and get every new one.
    askers: BTreeMap<String, i64>,
}

/// How a route's target stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The site has not announced anything yet.
    NotAnnounced,
    /// The site has announced itself, without this AE title.
    NoSuchDestination,
    /// The site publishes the destination and does not accept from us (yet).
    NotAccepted,
    /// The site publishes the destination and accepts from us.
    Accepted {
        /// When it said so.
        announced_at: WallTime,
    },
}

/// What became of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// Taken, and something in it was new.
    Changed,
    /// Taken; nothing new.
    Same,
    /// Not taken: the signing key is another than the pinned one.
    KeyDiffers,
}

/// The directory, in memory and in its file.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    contents: Mutex<Contents>,
}

impl Directory {
    /// Reads the directory from `folder`, or begins an empty one.
    ///
    /// # Errors
    /// [`DirectoryError`] when the file is there and cannot be read.
    pub(crate) fn open(folder: &Path) -> Result<Self, DirectoryError> {
        let path = folder.join(FILE_NAME);
        let contents = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| DirectoryError::Malformed {
                path: path.clone(),
                error,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => {
                return Err(DirectoryError::Io {
                    path,
                    action: "read",
                    error,
                });
            }
        };
        Ok(Self {
            path,
            contents: Mutex::new(contents),
        })
    }

    /// How `ae_title` at `site` stands towards us.
    pub(crate) fn standing(&self, site: &SiteName, ae_title: &AeTitle) -> Standing {
        let contents = self.lock();
        let Some(entry) = contents.sites.get(site.as_str()) else {
            return Standing::NotAnnounced;
        };
        match entry
            .destinations
            .iter()
            .find(|published| published.ae_title == ae_title.as_str())
        {
            None => Standing::NoSuchDestination,
            Some(published) if !published.accepts => Standing::NotAccepted,
            Some(_) => Standing::Accepted {
                announced_at: WallTime::from_unix_micros(entry.announced_at),
            },
        }
    }

    /// What `site` says is to be done with what `ae_title` is known to take. `None`: it has not announced that.
    pub(crate) fn mirror(&self, site: &SiteName, ae_title: &AeTitle) -> Option<String> {
        let contents = self.lock();
        let all = &contents.sites.get(site.as_str())?.destinations;
        all.iter()
            .find(|known| known.ae_title == ae_title.as_str())?
            .mirror
            .clone()
    }

    /// What `site` has announced; `None` when nothing yet.
    pub(crate) fn site(&self, site: &SiteName) -> Option<SiteEntry> {
        self.lock().sites.get(site.as_str()).cloned()
    }

    /// Takes an announcement of `site`. An older one than the newest known changes nothing.
    ///
    /// # Errors
    /// [`DirectoryError::Io`] when it cannot be written down; it is in force all the same.
    pub(crate) fn learn(&self, site: &SiteName, entry: SiteEntry) -> Result<Learned, DirectoryError> {
        let mut contents = self.lock();
        if let Some(known) = contents.sites.get(site.as_str()) {
            if known.signing_key != entry.signing_key {
                return Ok(Learned::KeyDiffers);
            }
            if known.announced_at > entry.announced_at {
                return Ok(Learned::Same);
            }
        }
        if let Some(known) = contents.sites.get_mut(site.as_str())
            && known.destinations == entry.destinations
        {
            known.announced_at = entry.announced_at;
            return Ok(Learned::Same);
        }
        contents.sites.insert(site.to_string(), entry);
        self.write(&contents)?;
        Ok(Learned::Changed)
    }

    /// Remembers that `site` wants our announcements. Of more than [`ASKERS_MAX`] sites the one that asked longest ago is
    /// forgotten, but none that is in `kept`.
    ///
    /// # Errors
    /// [`DirectoryError::Io`] when it cannot be written down.
    pub(crate) fn asked_by(&self, site: &SiteName, at: WallTime, kept: &[SiteName]) -> Result<(), DirectoryError> {
        let mut contents = self.lock();
        if contents.askers.insert(site.to_string(), at.unix_micros()).is_some() {
            return Ok(());
        }
        if contents.askers.len() > ASKERS_MAX {
            let may_go = |name: &&String| **name != site.as_str() && kept.iter().all(|kept| kept.as_str() != **name);
            let askers = contents.askers.iter().filter(|(name, _)| may_go(name));
            let oldest = askers.min_by_key(|(_, at)| **at).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                contents.askers.remove(&oldest);
            }
        }
        self.write(&contents)
    }

    /// The time to put on an announcement that is made now: later than on any before, also when the clock was set back,
    /// or the receivers would take it for an old one. Remembered before it is given out.
    ///
    /// # Errors
    /// [`DirectoryError::Io`] when it cannot be written down.
    pub(crate) fn next_announcement(&self, now: WallTime) -> Result<i64, DirectoryError> {
        let mut contents = self.lock();
        let at = now.unix_micros().max(contents.announced_at.saturating_add(1));
        contents.announced_at = at;
        self.write(&contents)?;
        Ok(at)
    }

    /// The sites that want our announcements.
    pub(crate) fn askers(&self) -> Vec<SiteName> {
        self.lock()
            .askers
            .keys()
            .filter_map(|name| SiteName::try_from(name.as_str()).ok())
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, contents: &Contents) -> Result<(), DirectoryError> {
        let bytes = serde_json::to_vec_pretty(contents).map_err(|error| DirectoryError::Malformed {
            path: self.path.clone(),
            error,
        })?;
        replace_file(&self.path, &bytes).map_err(|error| DirectoryError::Io {
            path: self.path.clone(),
            action: "write",
            error,
        })
    }
}

/// Writes a file whole or not at all: a new one beside it, under a name that no other writer has, synced, then renamed,
/// then the folder synced. Who may read it stays as it was.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
    let written = write_new(&beside, path, bytes).and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = written {
        // It may not even be there.
        drop(std::fs::remove_file(&beside));
        return Err(error);
    }
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write_new(beside: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(beside)?;
    if let Ok(old) = std::fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
