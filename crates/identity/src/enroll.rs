//! Joining and renewing: the messages, and the relay's side.
//!
//! A join request carries a token's id, a certificate signing request, and an HMAC over (exported channel bytes, hash of
//! the CSR): the secret never travels, and the request is worth nothing on another channel. A renew request is signed by
//! the old certificate's key instead, so that a site that was switched off for a while comes back by itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use packhorse_ids::{Clock, WallTime};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::authority::{Authority, sha256};
use crate::registry::{CertificateRecord, Consumed, Registry};
use crate::tls::certificate_facts;

/// The version of these messages.
pub(crate) const VERSION: u32 = 1;
/// A certificate that ended at most so long ago may still be renewed.
const RENEW_GRACE: Duration = Duration::from_secs(30 * 86_400);

/// A request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum EnrollRequest {
    Join {
        v: u32,
        token: String,
        csr: String,
        mac: String,
    },
    Renew {
        v: u32,
        certificate: String,
        csr: String,
        signature: String,
    },
}

/// An answer, with the relay's time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EnrollAnswer {
    pub(crate) now: i64,
    pub(crate) result: EnrollResult,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EnrollResult {
    Certificate { certificate: String, root: String },
    Error { error: EnrollError },
}

/// Why a relay refuses a join or renew request. Each is a sentence for whoever typed the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum EnrollError {
    /// Another request used it.
    #[error("this join token was used already; ask for a new one with `relay invite`")]
    TokenUsed,
    /// Its time is over.
    #[error("this join token has expired; ask for a new one with `relay invite`")]
    TokenExpired,
    /// The relay never made it, or its secret is not the right one.
    #[error("this join token is not one of this relay; ask for a new one with `relay invite`")]
    TokenUnknown,
    /// The site was revoked.
    #[error("this site was revoked at the relay; it can join again with a new token from `relay invite`")]
    Revoked,
    /// The certificate ended too long ago.
    #[error("this site's certificate ended more than 30 days ago; join again with a new token from `relay invite`")]
    ExpiredTooLong,
    /// A newer certificate of this site is in use: its keys were copied, or an old folder was restored.
    #[error(
        "a newer certificate of this site is in use; two gateways may share one identity. Join again with a new token"
    )]
    NotNewest,
    /// Too many failures from one address.
    #[error("too many failed requests from this address; wait a minute")]
    TooMany,
    /// The request makes no sense.
    #[error("the request cannot be understood; is the edge as new as the relay?")]
    Malformed,
    /// The relay failed.
    #[error("the relay cannot do it now; its log says why")]
    Internal,
}

pub(crate) fn mac(key: &[u8; 32], exporter: &[u8; 32], csr: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(exporter);
    mac.update(&sha256(csr));
    mac
}

/// What a renewal signs.
pub(crate) fn renewal_message(exporter: &[u8; 32], csr: &[u8]) -> Vec<u8> {
    [b"packhorse renew 1".as_slice(), exporter, &sha256(csr)].concat()
}

/// Answers join and renew requests.
#[derive(Debug)]
pub struct Enroller {
    authority: Arc<Authority>,
    registry: Arc<dyn Registry>,
    clock: Arc<dyn Clock>,
}

impl Enroller {
    /// With this CA and this registry.
    #[must_use]
    pub fn new(authority: Arc<Authority>, registry: Arc<dyn Registry>, clock: Arc<dyn Clock>) -> Self {
        Self {
            authority,
            registry,
            clock,
        }
    }

    /// Answers a request that came over a channel with these exported bytes. The second value is the error that the
    /// answer carries, for the log and for an [`AttemptLimiter`].
    pub async fn handle(&self, request: &[u8], exporter: &[u8; 32]) -> (Vec<u8>, Option<EnrollError>) {
        let now = self.clock.now();
        let result = self.answer(request, exporter, now).await;
        let error = result.as_ref().err().cloned();
        (self.encode(result, now), error)
    }

    /// The answer that refuses whatever is asked.
    #[must_use]
    pub fn refuse(&self, error: EnrollError) -> Vec<u8> {
        self.encode(Err(error), self.clock.now())
    }

    fn encode(&self, result: Result<Vec<u8>, EnrollError>, now: WallTime) -> Vec<u8> {
        let result = match result {
            Ok(certificate) => EnrollResult::Certificate {
                certificate: STANDARD.encode(certificate),
                root: STANDARD.encode(self.authority.root()),
            },
            Err(error) => EnrollResult::Error { error },
        };
        serde_json::to_vec(&EnrollAnswer {
            now: now.unix_micros(),
            result,
        })
        .unwrap_or_default()
    }

    async fn answer(&self, request: &[u8], exporter: &[u8; 32], now: WallTime) -> Result<Vec<u8>, EnrollError> {
        match serde_json::from_slice(request).map_err(|_| EnrollError::Malformed)? {
            EnrollRequest::Join {
                v: VERSION,
                token,
                csr,
                mac,
            } => {
                self.join(&decode(&token)?, &decode(&csr)?, &decode(&mac)?, exporter, now)
                    .await
            }
            EnrollRequest::Renew {
                v: VERSION,
                certificate,
                csr,
                signature,
            } => {
                self.renew(&decode(&certificate)?, &decode(&csr)?, &signature, exporter, now)
                    .await
            }
            EnrollRequest::Join { .. } | EnrollRequest::Renew { .. } => Err(EnrollError::Malformed),
        }
    }

    async fn join(
        &self,
        token: &[u8],
        csr: &[u8],
        given: &[u8],
        exporter: &[u8; 32],
        now: WallTime,
    ) -> Result<Vec<u8>, EnrollError> {
        let id: [u8; 8] = token.try_into().map_err(|_| EnrollError::Malformed)?;
        let token = self
            .registry
            .token(id)
            .await
            .map_err(internal)?
            .ok_or(EnrollError::TokenUnknown)?;
        // Constant time; the same words as for a token that never was, so that ids cannot be tried out.
        mac(&token.mac_key, exporter, csr)
            .verify_slice(given)
            .map_err(|_| EnrollError::TokenUnknown)?;
        let used = self.registry.consume_token(id, sha256(csr)).await.map_err(internal)?;
        match used {
            Consumed::Again(certificate) => return Ok(certificate),
            Consumed::Used => return Err(EnrollError::TokenUsed),
            Consumed::Fresh if token.expires < now => return Err(EnrollError::TokenExpired),
            Consumed::Fresh => {}
        }
        let certificate = self.issue(csr, &token.site, now).await?;
        self.registry
            .answer_token(id, certificate.clone())
            .await
            .map_err(internal)?;
        Ok(certificate)
    }

    async fn renew(
        &self,
        old: &[u8],
        csr: &[u8],
        signature: &str,
        exporter: &[u8; 32],
        now: WallTime,
    ) -> Result<Vec<u8>, EnrollError> {
        let facts = certificate_facts(old).map_err(|_| EnrollError::Malformed)?;
        let record = self.registry.certificate(&facts.serial).await.map_err(internal)?;
        // That we issued it is known by its hash; whose request it is, by its key's signature.
        let record = record
            .filter(|record| record.fingerprint == facts.fingerprint)
            .ok_or(EnrollError::Malformed)?;
        let key = crate::keys::VerifyingKey::from_text(&STANDARD.encode(&facts.spki));
        let is_signed = key.is_ok_and(|key| key.verify(&renewal_message(exporter, csr), signature));
        if !is_signed {
            return Err(EnrollError::Malformed);
        }
        if record.revoked.is_some() {
            return Err(EnrollError::Revoked);
        }
        if now.saturating_since(record.not_after) > RENEW_GRACE {
            return Err(EnrollError::ExpiredTooLong);
        }
        if !record.is_newest {
            return Err(EnrollError::NotNewest);
        }
        self.issue(csr, &record.site, now).await
    }

    async fn issue(&self, csr: &[u8], site: &packhorse_ids::SiteName, now: WallTime) -> Result<Vec<u8>, EnrollError> {
        let issued = self.authority.issue(csr, site, now).map_err(|error| {
            tracing::warn!(%site, error = &error as &dyn std::error::Error, "a certificate request is refused");
            EnrollError::Malformed
        })?;
        let record = CertificateRecord {
            serial: issued.serial,
            site: site.clone(),
            fingerprint: issued.fingerprint,
            not_after: issued.not_after,
            revoked: None,
            is_newest: true,
        };
        self.registry.add_certificate(record, now).await.map_err(internal)?;
        Ok(issued.certificate)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, EnrollError> {
    STANDARD.decode(text).map_err(|_| EnrollError::Malformed)
}

fn internal(error: crate::registry::RegistryError) -> EnrollError {
    tracing::error!(error = &error as &dyn std::error::Error, "the registry failed");
    EnrollError::Internal
}

/// Failures that one address may have in a minute.
const FAILURES_MAX: u32 = 5;
/// Addresses that are remembered; beyond it all are let through, for a flood must not lock everybody out.
const ADDRESSES_MAX: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// Counts failed requests by address: five a minute.
#[derive(Debug, Default)]
pub struct AttemptLimiter(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl AttemptLimiter {
    /// Whether `address` may try now.
    pub fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (since, _)| now.duration_since(*since) < MINUTE);
        all.get(&address).is_none_or(|(_, failures)| *failures < FAILURES_MAX)
    }

    /// `address` has failed.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < ADDRESSES_MAX {
            all.entry(address).or_insert((now, 0)).1 += 1;
        }
    }
}
