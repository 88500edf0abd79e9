//! One process at a time owns a folder, and one user: patients' data and secrets are in it.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Name of the lock file, by which a folder is known to be ours.
const FILE_NAME: &str = "lock";

/// The folder is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by process {pid}", folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// Whose it is, as far as the file tells.
        pid: String,
    },
    /// It belongs to another user.
    #[error(
        "{} belongs to user {owner}, and this is user {us}: run the command as that user, or give --dir a folder of your own",
        folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Other users may look into it, and it holds more than what is ours.
    #[error(
        "other users may look into {}, and it is not ours alone: give --dir a folder that does not exist or is empty, or \
         run `chmod 700 {}`",
        folder.display(), folder.display()
    )]
    Open {
        /// The folder.
        folder: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("{} cannot be locked", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// A folder of ours, until it is dropped (or the process ends, however it ends).
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder, made if there is none.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn create(folder: &Path) -> Result<Self, LockError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| LockError::Io {
            folder: folder.into(),
            error,
        })?;
        Self::take(folder)
    }

    /// Takes the folder for this user alone (mode 0700), and writes our process id into its lock file.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let io_error = |error| LockError::Io {
            folder: folder.into(),
            error,
        };
        let path = folder.join(FILE_NAME);
        make_private(folder)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path);
        let mut file = file.map_err(io_error)?;
        if file.try_lock().is_err() {
            let mut pid = String::new();
            file.take(32).read_to_string(&mut pid).map_err(io_error)?;
            let pid = pid.chars().filter(char::is_ascii_digit).collect();
            return Err(LockError::Held {
                folder: folder.into(),
                pid,
            });
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(std::process::id().to_string().as_bytes())
        };
        write(&mut file).map_err(io_error)?;
        Ok(Self { _file: file })
    }
}

/// Makes the folder its owner's alone. One that is not ours, or not ours alone (`--dir /tmp`), is left as it is.
fn make_private(folder: &Path) -> Result<(), LockError> {
    let io_error = |error| LockError::Io {
        folder: folder.into(),
        error,
    };
    let found = folder.metadata().map_err(io_error)?;
    let (owner, us) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != us {
        return Err(LockError::Foreign {
            folder: folder.into(),
            owner,
            us,
        });
    }
    if found.mode() & OTHERS == 0 {
        return Ok(());
    }
    let is_ours = folder.join(FILE_NAME).exists() || folder.read_dir().map_err(io_error)?.next().is_none();
    if !is_ours || found.mode() & WRITABLE_BY_ALL != 0 {
        return Err(LockError::Open { folder: folder.into() });
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(io_error)?;
    tracing::info!(folder = %folder.display(), "other users could look into the folder; they cannot any more");
    Ok(())
}

/// Mode bits for everybody but the owner.
const OTHERS: u32 = 0o077;
/// A folder with this bit is everybody's.
const WRITABLE_BY_ALL: u32 = 0o002;

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(folder: &Path) -> u32 {
        folder.metadata().unwrap().mode() & 0o777
    }

    fn open_to_all(folder: &Path) {
        std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_becomes_so_again() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("ours");
        drop(FolderLock::create(&folder).unwrap());
        assert_eq!(mode(&folder), 0o700);
        std::fs::write(folder.join("ledger.sqlite"), "").unwrap();
        open_to_all(&folder);
        drop(FolderLock::take(&folder).unwrap());
        assert_eq!(mode(&folder), 0o700);
    }

    #[test]
    fn an_open_folder_that_is_not_ours_alone_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "").unwrap();
        open_to_all(folder.path());
        let error = FolderLock::create(folder.path()).unwrap_err();
        assert!(matches!(error, LockError::Open { .. }), "{error}");
        assert_eq!(mode(folder.path()), 0o755);
        assert!(!folder.path().join(FILE_NAME).exists());
    }

    #[test]
    fn somebody_elses_folder_is_refused_with_both_users() {
        let made = tempfile::tempdir().unwrap();
        // Only root can give a folder away; for everybody else the root folder is another user's.
        let given = std::os::unix::fs::chown(made.path(), Some(65_534), None).is_ok();
        let folder = if given { made.path() } else { Path::new("/") };
        let error = FolderLock::take(folder).unwrap_err().to_string();
        let owner = folder.metadata().unwrap().uid();
        assert!(
            error.contains(&format!("belongs to user {owner}, and this is user ")),
            "{error}"
        );
    }

    #[test]
    fn a_second_owner_is_told_the_firsts_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let Err(LockError::Held { pid, .. }) = FolderLock::take(folder.path()) else {
            panic!()
        };
        assert_eq!(pid, std::process::id().to_string());
        drop(first);
        assert!(FolderLock::take(folder.path()).is_ok());
    }
}
