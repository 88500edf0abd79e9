//! An edge's side: joining, its identity, renewing it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use packhorse_ids::{SiteName, WallTime};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::authority::LEAF_DAYS;
use crate::enroll::{EnrollAnswer, EnrollError, EnrollRequest, VERSION, mac, renewal_message};
use crate::files;
use crate::pending::Pending;
use crate::tls::{self, CertificateFacts, Own, certificate_facts, pin_of};
use crate::token::Token;

/// Name of the identity's file.
const FILE_NAME: &str = "identity.json";

/// Joining, renewing or opening an identity failed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The token's time is over, by our clock.
    #[error("the join token expired at {_0} (if this machine's clock is right); ask for a new one with `relay invite`")]
    TokenExpired(WallTime),
    /// The relay refuses.
    #[error(transparent)]
    Refused(#[from] EnrollError),
    /// What the relay answered is no answer, or not for us.
    #[error("the relay's answer cannot be understood; is the edge as new as the relay?")]
    Answer,
    /// There is none.
    #[error("{} has no identity yet: run `edge-gateway join TOKEN`", _0.display())]
    NotJoined(PathBuf),
    /// There is one.
    #[error(
        "{} belongs to site {site} already. For another site use another --dir. To join again as {site}, remove {} and \
         nothing else: by the signing key beside it the other sites know this one",
        path.display(), path.join(FILE_NAME).display()
    )]
    Joined {
        /// The identity's folder.
        path: PathBuf,
        /// The site it belongs to.
        site: SiteName,
    },
    /// Its file cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Its file does not hold what it should.
    #[error("{} does not hold an identity", _0.display())]
    Malformed(PathBuf),
    /// A key or a TLS configuration cannot be made.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// What the file holds: certificate and key together, so that they always fit.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    v: u32,
    site: String,
    relay: Vec<String>,
    root: String,
    certificate: String,
    key: String,
}

/// A site's identity for links.
#[derive(Clone)]
pub struct SiteIdentity {
    folder: PathBuf,
    stored: Stored,
    facts: CertificateFacts,
}

impl fmt::Debug for SiteIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteIdentity")
            .field("site", &self.facts.site)
            .finish_non_exhaustive()
    }
}

/// A join that has begun.
pub struct Joining {
    token: Token,
    folder: PathBuf,
    asked: Pending,
}

impl fmt::Debug for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Joining {
    /// Begins to join with `token`, for the identity in `folder`; or goes on where an earlier try with the same token
    /// stopped, which may have used it already.
    ///
    /// # Errors
    /// [`IdentityError::TokenExpired`], [`Joined`](IdentityError::Joined), `Io`.
    pub fn begin(token: Token, folder: &Path, now: WallTime) -> Result<Self, IdentityError> {
        if let Ok(identity) = SiteIdentity::open(folder) {
            return Err(IdentityError::Joined {
                path: folder.into(),
                site: identity.facts.site,
            });
        }
        let by = format!("token {}", STANDARD.encode(token.id));
        let asked = match Pending::open(folder, &by)? {
            // The relay may have answered it in time.
            Some(asked) => asked,
            None if token.expires < now => return Err(IdentityError::TokenExpired(token.expires)),
            None => Pending::create(folder, &by)?,
        };
        Ok(Self {
            asked,
            token,
            folder: folder.into(),
        })
    }

    /// The TLS configuration to ask with: it trusts the token's CA and nobody else.
    ///
    /// # Errors
    /// [`IdentityError::Crypto`].
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, IdentityError> {
        tls::pinned_client_config(self.token.pin, alpn).map_err(|_| IdentityError::Crypto)
    }

    /// The request, for the channel with these exported bytes.
    #[must_use]
    pub fn request(&self, exporter: &[u8; 32], now: WallTime) -> Vec<u8> {
        let code = mac(&self.token.mac_key(), exporter, self.asked.csr())
            .finalize()
            .into_bytes();
        let request = EnrollRequest::Join {
            v: VERSION,
            now: now.unix_micros(),
            token: STANDARD.encode(self.token.id),
            csr: STANDARD.encode(self.asked.csr()),
            mac: STANDARD.encode(code),
        };
        serde_json::to_vec(&request).unwrap_or_default()
    }

    /// Takes the relay's answer and writes the identity down.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn complete(self, answer: &[u8]) -> Result<SiteIdentity, IdentityError> {
        let (certificate, root) = read_answer(answer)?;
        if pin_of(&root).ok() != Some(self.token.pin) {
            return Err(IdentityError::Answer);
        }
        let facts = fitting(&certificate, &self.token.site, &self.asked)?;
        let stored = Stored {
            v: VERSION,
            site: facts.site.to_string(),
            relay: self.token.addresses.clone(),
            root: STANDARD.encode(root),
            certificate: STANDARD.encode(certificate),
            key: STANDARD.encode(self.asked.key()),
        };
        let identity = SiteIdentity {
            folder: self.folder,
            stored,
            facts,
        };
        identity.write()?;
        Ok(identity)
    }
}

/// Certificate and root of an answer.
fn read_answer(answer: &[u8]) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    match serde_json::from_slice(answer).map_err(|_| IdentityError::Answer)? {
        EnrollAnswer::Error { error } => Err(error.into()),
        EnrollAnswer::Certificate { certificate, root } => {
            let decode = |text: &str| STANDARD.decode(text).map_err(|_| IdentityError::Answer);
            Ok((decode(&certificate)?, decode(&root)?))
        }
    }
}

/// What the certificate says, if it is this site's and for the key that was asked with.
fn fitting(certificate: &[u8], site: &SiteName, asked: &Pending) -> Result<CertificateFacts, IdentityError> {
    let facts = certificate_facts(certificate).map_err(|_| IdentityError::Answer)?;
    if facts.site == *site && facts.spki == asked.spki() {
        Ok(facts)
    } else {
        Err(IdentityError::Answer)
    }
}

impl SiteIdentity {
    /// Opens the identity in `folder`.
    ///
    /// # Errors
    /// [`IdentityError::NotJoined`] when there is none; `Io`, `Malformed`.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(FILE_NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IdentityError::NotJoined(folder.into()));
            }
            Err(error) => return Err(IdentityError::Io { path, error }),
        };
        let malformed = || IdentityError::Malformed(path.clone());
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        let certificate = STANDARD.decode(&stored.certificate).map_err(|_| malformed())?;
        let facts = certificate_facts(&certificate).map_err(|_| malformed())?;
        Ok(Self {
            folder: folder.into(),
            stored,
            facts,
        })
    }

    /// The site.
    #[must_use]
    pub const fn site(&self) -> &SiteName {
        &self.facts.site
    }

    /// The relay's addresses, `host:port`.
    #[must_use]
    pub fn relay(&self) -> &[String] {
        &self.stored.relay
    }

    /// When the certificate ends.
    #[must_use]
    pub const fn not_after(&self) -> WallTime {
        self.facts.not_after
    }

    /// When it should be renewed: after two thirds of its life, give or take a tenth of it. `random` is in 0.0 to 1.0.
    #[must_use]
    pub fn renew_at(&self, random: f64) -> WallTime {
        let life = Duration::from_secs(u64::try_from(LEAF_DAYS).unwrap_or(0) * 86_400);
        let share = 1.0 / 3.0 + (random.clamp(0.0, 1.0) - 0.5) / 5.0;
        let before_end = i64::try_from(life.mul_f64(share).as_micros()).unwrap_or(0);
        WallTime::from_unix_micros(self.facts.not_after.unix_micros() - before_end)
    }

    /// The TLS configuration for links: shows our certificate.
    ///
    /// # Errors
    /// [`IdentityError::Crypto`], [`Malformed`](IdentityError::Malformed).
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, IdentityError> {
        let chain = vec![CertificateDer::from(self.decode(&self.stored.certificate)?)];
        let key = PrivateKeyDer::Pkcs8(self.decode(&self.stored.key)?.into());
        self.config(Some(Own { chain, key }), alpn)
    }

    /// The TLS configuration for renewing: shows no certificate, for it may have ended.
    ///
    /// # Errors
    /// As for [`client_config`](Self::client_config).
    pub fn renewal_config(&self, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, IdentityError> {
        self.config(None, alpn)
    }

    fn config(&self, own: Option<Own>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, IdentityError> {
        let root = CertificateDer::from(self.decode(&self.stored.root)?);
        tls::client_config(own, &root, alpn).map_err(|_| IdentityError::Crypto)
    }

    /// Begins to renew; or goes on where an earlier try stopped, which the relay may have answered already.
    ///
    /// # Errors
    /// [`IdentityError::Crypto`], `Io`: then nobody was asked.
    pub fn begin_renewal(&self) -> Result<Renewal, IdentityError> {
        let by = format!("certificate {}", STANDARD.encode(self.facts.fingerprint));
        Ok(Renewal {
            identity: self.clone(),
            asked: Pending::open_or_create(&self.folder, &by)?,
        })
    }

    fn decode(&self, text: &str) -> Result<Vec<u8>, IdentityError> {
        STANDARD
            .decode(text)
            .map_err(|_| IdentityError::Malformed(self.folder.join(FILE_NAME)))
    }

    fn write(&self) -> Result<(), IdentityError> {
        let path = self.folder.join(FILE_NAME);
        let bytes = serde_json::to_vec_pretty(&self.stored).map_err(|_| IdentityError::Malformed(path.clone()))?;
        let written = files::private_folder(&self.folder).and_then(|()| files::replace(&path, &bytes));
        written.map_err(|error| IdentityError::Io { path, error })?;
        Pending::remove(&self.folder);
        Ok(())
    }
}

/// A renewal that has begun, with a new key of its own.
pub struct Renewal {
    identity: SiteIdentity,
    asked: Pending,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal")
            .field("site", self.identity.site())
            .finish_non_exhaustive()
    }
}

impl Renewal {
    /// The request, for the channel with these exported bytes: signed by the old key.
    #[must_use]
    pub fn request(&self, exporter: &[u8; 32], now: WallTime) -> Vec<u8> {
        let stored = &self.identity.stored;
        let old = STANDARD.decode(&stored.key).unwrap_or_default();
        let signature = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &old)
            .ok()
            .and_then(|key| {
                key.sign(&SystemRandom::new(), &renewal_message(exporter, self.asked.csr()))
                    .ok()
            })
            .map(|signature| STANDARD.encode(signature.as_ref()));
        let request = EnrollRequest::Renew {
            v: VERSION,
            now: now.unix_micros(),
            certificate: stored.certificate.clone(),
            csr: STANDARD.encode(self.asked.csr()),
            signature: signature.unwrap_or_default(),
        };
        serde_json::to_vec(&request).unwrap_or_default()
    }

    /// Takes the relay's answer and writes the renewed identity down.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn complete(self, answer: &[u8]) -> Result<SiteIdentity, IdentityError> {
        let (certificate, _) = read_answer(answer)?;
        let facts = fitting(&certificate, self.identity.site(), &self.asked)?;
        let stored = Stored {
            certificate: STANDARD.encode(certificate),
            key: STANDARD.encode(self.asked.key()),
            ..self.identity.stored
        };
        let identity = SiteIdentity {
            folder: self.identity.folder,
            stored,
            facts,
        };
        identity.write()?;
        Ok(identity)
    }
}
