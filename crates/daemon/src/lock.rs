//! One process at a time owns a folder.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

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
    /// Takes the folder, and writes our process id into its lock file.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let io_error = |error| LockError::Io {
            folder: folder.into(),
            error,
        };
        let path = folder.join("lock");
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

#[cfg(test)]
mod tests {
    use super::*;

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
