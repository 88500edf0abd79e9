//! A site's long-lived signing key: ECDSA P-256 with SHA-256. Certificates for links live a week and could not verify old
//! receipts.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::PublicKeyData as _;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::files;

/// Name of the signing key's file.
const FILE_NAME: &str = "signing-key.pem";

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It is no ECDSA P-256 key.
    #[error("not an ECDSA P-256 key")]
    Malformed,
    /// Making or using it failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// The key that signs a site's receipts.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
}

/// No key material.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("fingerprint", &self.verifying_key().fingerprint())
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key in `folder`, made when there is none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open_or_create(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(FILE_NAME);
        let io_error = |error| KeyError::Io {
            path: path.clone(),
            error,
        };
        let pem = match std::fs::read_to_string(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pair = rcgen::KeyPair::generate().map_err(|_| KeyError::Crypto)?;
                let pem = pair.serialize_pem();
                files::private_folder(folder).map_err(io_error)?;
                files::replace(&path, pem.as_bytes()).map_err(io_error)?;
                pem
            }
            Err(error) => return Err(io_error(error)),
        };
        let pair = rcgen::KeyPair::from_pem(&pem).map_err(|_| KeyError::Malformed)?;
        let spki = pair.subject_public_key_info();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pair.serialized_der());
        Ok(Self {
            pair: pair.map_err(|_| KeyError::Malformed)?,
            spki,
        })
    }

    /// The signature of `message`: ASN.1 DER, base64.
    ///
    /// # Errors
    /// [`KeyError::Crypto`].
    pub fn sign(&self, message: &[u8]) -> Result<String, KeyError> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| KeyError::Crypto)?;
        Ok(STANDARD.encode(signature.as_ref()))
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey {
            spki: self.spki.clone(),
        }
    }
}

/// The public half of a site's signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    spki: Vec<u8>,
}

impl VerifyingKey {
    /// Reads SubjectPublicKeyInfo, DER, base64.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let spki = STANDARD.decode(text).map_err(|_| KeyError::Malformed)?;
        let key = Self { spki };
        // 65 bytes: an uncompressed point of P-256.
        match key.point() {
            Some(point) if point.len() == 65 => Ok(key),
            _ => Err(KeyError::Malformed),
        }
    }

    /// SubjectPublicKeyInfo, DER, base64.
    #[must_use]
    pub fn to_text(&self) -> String {
        STANDARD.encode(&self.spki)
    }

    /// SHA-256 of the SubjectPublicKeyInfo, hexadecimal: what two administrators compare.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        packhorse_ids::Digest::from_bytes(Sha256::digest(&self.spki).into()).to_string()
    }

    /// Whether `signature` (base64) is this key's of `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &str) -> bool {
        let (Ok(signature), Some(point)) = (STANDARD.decode(signature), self.point()) else {
            return false;
        };
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message, &signature)
            .is_ok()
    }

    fn point(&self) -> Option<Vec<u8>> {
        let (_, spki) = SubjectPublicKeyInfo::from_der(&self.spki).ok()?;
        Some(spki.subject_public_key.data.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_its_message_and_its_key() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = SigningKey::open_or_create(one.path()).unwrap();
        let signature = key.sign(b"receipt").unwrap();
        let public = VerifyingKey::from_text(&key.verifying_key().to_text()).unwrap();
        assert!(public.verify(b"receipt", &signature));
        assert!(!public.verify(b"receipt!", &signature) && !public.verify(b"receipt", "AAAA"));
        assert!(
            !SigningKey::open_or_create(other.path())
                .unwrap()
                .verifying_key()
                .verify(b"receipt", &signature)
        );
        let again = SigningKey::open_or_create(one.path()).unwrap().verifying_key();
        assert_eq!(again.fingerprint(), public.fingerprint());
        assert!(VerifyingKey::from_text("bm8ga2V5").is_err());
    }
}
