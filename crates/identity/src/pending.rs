//! What a site asks a certificate with, on disk until it has the certificate: an answer that was lost is asked for again
//! with the same key and the same request, which the relay answers again.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use serde::{Deserialize, Serialize};

use crate::enroll::VERSION;
use crate::files;
use crate::join::IdentityError;

/// Name of its file, beside the identity's.
const FILE_NAME: &str = "pending.json";

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    v: u32,
    /// What it is asked by: a token's id, or the certificate that is renewed.
    by: String,
    csr: String,
    key: String,
}

/// A key, and the certificate signing request for it.
pub(crate) struct Pending {
    key: KeyPair,
    csr: Vec<u8>,
}

impl Pending {
    /// What was asked `by` this before; or a new key, which is on disk before anybody is asked.
    pub(crate) fn open_or_create(folder: &Path, by: &str) -> Result<Self, IdentityError> {
        match Self::open(folder, by)? {
            Some(pending) => Ok(pending),
            None => Self::create(folder, by),
        }
    }

    /// What was asked `by` this before.
    pub(crate) fn open(folder: &Path, by: &str) -> Result<Option<Self>, IdentityError> {
        let path = folder.join(FILE_NAME);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self::read(&bytes, by)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IdentityError::Io { path, error }),
        }
    }

    /// A new key, on disk in the place of what was there.
    pub(crate) fn create(folder: &Path, by: &str) -> Result<Self, IdentityError> {
        let key = KeyPair::generate().map_err(|_| IdentityError::Crypto)?;
        let csr = CertificateParams::default()
            .serialize_request(&key)
            .map_err(|_| IdentityError::Crypto)?;
        let csr = csr.der().to_vec();
        let stored = Stored {
            v: VERSION,
            by: by.to_owned(),
            csr: STANDARD.encode(&csr),
            key: STANDARD.encode(key.serialized_der()),
        };
        let path = folder.join(FILE_NAME);
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|_| IdentityError::Malformed(path.clone()))?;
        let written = files::private_folder(folder).and_then(|()| files::replace(&path, &bytes));
        written.map_err(|error| IdentityError::Io { path, error })?;
        Ok(Self { key, csr })
    }

    /// `None` for what was asked by something else, and for what cannot be read any more.
    fn read(bytes: &[u8], by: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        if stored.by != by {
            return None;
        }
        let key = KeyPair::try_from(STANDARD.decode(&stored.key).ok()?).ok()?;
        let csr = STANDARD.decode(&stored.csr).ok()?;
        Some(Self { key, csr })
    }

    pub(crate) fn csr(&self) -> &[u8] {
        &self.csr
    }

    /// The private key, PKCS #8.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.serialized_der()
    }

    /// The public key, as SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// The certificate is on disk with this key. A file that stays is of no harm: it is for a token or a certificate that
    /// asks no more.
    pub(crate) fn remove(folder: &Path) {
        if let Err(error) = std::fs::remove_file(folder.join(FILE_NAME)) {
            tracing::debug!(%error, "what a certificate was asked with stays");
        }
    }
}
