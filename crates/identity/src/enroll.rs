//! Joining and renewing: the messages, and the relay's side.
//!
//! A join request carries a token's id, a certificate signing request, and an HMAC over (exported channel bytes, hash of
//! the CSR): the secret never travels, and the request is worth nothing on another channel. A renew request is signed by
//! the old certificate's key instead, so that a site that was switched off for a while comes back by itself.
//!
//! Any answer may be lost, and any edge may stop before it has written the answer down. So an edge keeps what it asks with
//! until it has the certificate, and a request that comes again is answered again; and a request carries the edge's time,
//! so that clocks are compared before a token or a certificate is used up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use packhorse_ids::{Clock, SiteName, WallTime};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::authority::{Authority, sha256};
use crate::registry::{CertificateRecord, Consumed, Registry, RenewalRecord, Renewed, TokenRecord};
use crate::tls::certificate_facts;

/// The version of these messages.
pub(crate) const VERSION: u32 = 1;
/// A certificate that ended at most so long ago may still be renewed.
const RENEW_GRACE: Duration = Duration::from_secs(30 * 86_400);

/// Clocks further apart than this are refused: certificates are checked by them.
const SKEW_MAX: Duration = Duration::from_secs(300);

/// A request, with the edge's time in microseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum EnrollRequest {
    Join {
        v: u32,
        now: i64,
        token: String,
        csr: String,
        mac: String,
    },
    Renew {
        v: u32,
        now: i64,
        certificate: String,
        csr: String,
        signature: String,
    },
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EnrollAnswer {
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
        "a newer certificate of this site is in use; two gateways may share one identity. Stop the other one, and join \
         again with a new token from `relay invite`"
    )]
    NotNewest,
    /// The edge's clock and the relay's differ too much.
    #[error(
        "this machine's clock is {skew_s} s {} the relay's; set it right and try again, nothing is used up",
        if *is_ahead { "ahead of" } else { "behind" }
    )]
    ClockOff {
        /// By so many seconds.
        skew_s: u64,
        /// The edge's is ahead.
        is_ahead: bool,
    },
    /// Too many failures from one address.
    #[error("too many failed requests from this address; wait a minute")]
    TooMany,
    /// The relay has not issued it, or has forgotten it.
    #[error(
        "the relay does not know this site's certificate (was its registry put back?); join again with a new token \
         from `relay invite`"
    )]
    CertificateUnknown,
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
        (self.encode(result), error)
    }

    /// The answer that refuses whatever is asked.
    #[must_use]
    pub fn refuse(&self, error: EnrollError) -> Vec<u8> {
        self.encode(Err(error))
    }

    fn encode(&self, result: Result<Vec<u8>, EnrollError>) -> Vec<u8> {
        let answer = match result {
            Ok(certificate) => EnrollAnswer::Certificate {
                certificate: STANDARD.encode(certificate),
                root: STANDARD.encode(self.authority.root()),
            },
            Err(error) => EnrollAnswer::Error { error },
        };
        serde_json::to_vec(&answer).unwrap_or_default()
    }

    async fn answer(&self, request: &[u8], exporter: &[u8; 32], now: WallTime) -> Result<Vec<u8>, EnrollError> {
        match serde_json::from_slice(request).map_err(|_| EnrollError::Malformed)? {
            EnrollRequest::Join {
                v: VERSION,
                now: theirs,
                token,
                csr,
                mac,
            } => {
                let csr = decode(&csr)?;
                let token = self.proven(&decode(&token)?, &csr, &decode(&mac)?, exporter).await?;
                same_time(WallTime::from_unix_micros(theirs), now)?;
                self.join(&token, &csr, now).await
            }
            EnrollRequest::Renew {
                v: VERSION,
                now: theirs,
                certificate,
                csr,
                signature,
            } => {
                let csr = decode(&csr)?;
                let old = self.signed(&decode(&certificate)?, &csr, &signature, exporter).await?;
                if old.revoked.is_some() {
                    return Err(EnrollError::Revoked);
                }
                same_time(WallTime::from_unix_micros(theirs), now)?;
                self.renew(&old, &csr, now).await
            }
            EnrollRequest::Join { .. } | EnrollRequest::Renew { .. } => Err(EnrollError::Malformed),
        }
    }

    /// The token that a join request proves to have.
    async fn proven(
        &self,
        id: &[u8],
        csr: &[u8],
        given: &[u8],
        exporter: &[u8; 32],
    ) -> Result<TokenRecord, EnrollError> {
        let id: [u8; 8] = id.try_into().map_err(|_| EnrollError::Malformed)?;
        let token = self.registry.token(id).await.map_err(internal)?;
        let token = token.ok_or(EnrollError::TokenUnknown)?;
        // Constant time; the same words as for a token that never was, so that ids cannot be tried out.
        let proof = mac(&token.mac_key, exporter, csr).verify_slice(given);
        proof.map_err(|_| EnrollError::TokenUnknown)?;
        Ok(token)
    }

    async fn join(&self, token: &TokenRecord, csr: &[u8], now: WallTime) -> Result<Vec<u8>, EnrollError> {
        let used = self.registry.consume_token(token.id, sha256(csr)).await;
        match used.map_err(internal)? {
            Consumed::Again(certificate) => return Ok(certificate),
            Consumed::Used => return Err(EnrollError::TokenUsed),
            Consumed::Fresh if token.expires < now => return Err(EnrollError::TokenExpired),
            Consumed::Fresh => {}
        }
        let (certificate, record) = self.issue(csr, &token.site, now)?;
        self.registry.add_certificate(record, now).await.map_err(internal)?;
        let answered = self.registry.answer_token(token.id, certificate.clone()).await;
        answered.map_err(internal)?;
        Ok(certificate)
    }

    /// The certificate whose holder asks for a new one.
    async fn signed(
        &self,
        old: &[u8],
        csr: &[u8],
        signature: &str,
        exporter: &[u8; 32],
    ) -> Result<CertificateRecord, EnrollError> {
        let facts = certificate_facts(old).map_err(|_| EnrollError::Malformed)?;
        let record = self.registry.certificate(&facts.serial).await.map_err(internal)?;
        // That we issued it is known by its hash; whose request it is, by its key's signature.
        let record = record
            .filter(|record| record.fingerprint == facts.fingerprint)
            .ok_or(EnrollError::CertificateUnknown)?;
        let key = crate::keys::VerifyingKey::from_text(&STANDARD.encode(&facts.spki));
        let is_signed = key.is_ok_and(|key| key.verify(&renewal_message(exporter, csr), signature));
        is_signed.then_some(record).ok_or(EnrollError::Malformed)
    }

    async fn renew(&self, old: &CertificateRecord, csr: &[u8], now: WallTime) -> Result<Vec<u8>, EnrollError> {
        if now.saturating_since(old.not_after) > RENEW_GRACE {
            return Err(EnrollError::ExpiredTooLong);
        }
        let (certificate, new) = self.issue(csr, &old.site, now)?;
        let renewal = RenewalRecord {
            old: old.serial.clone(),
            request: sha256(csr),
            new,
            certificate: certificate.clone(),
        };
        match self.registry.renew_certificate(renewal).await.map_err(internal)? {
            Renewed::Fresh => Ok(certificate),
            Renewed::Again(certificate) => Ok(certificate),
            Renewed::NotNewest => Err(EnrollError::NotNewest),
            Renewed::Revoked => Err(EnrollError::Revoked),
        }
    }

    /// A certificate, and what the registry should know of it; it is worth nothing before that.
    fn issue(&self, csr: &[u8], site: &SiteName, now: WallTime) -> Result<(Vec<u8>, CertificateRecord), EnrollError> {
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
        };
        Ok((issued.certificate, record))
    }
}

/// Compared before anything is used up, so that a clock that is off costs nothing.
fn same_time(theirs: WallTime, ours: WallTime) -> Result<(), EnrollError> {
    let (ahead, behind) = (theirs.saturating_since(ours), ours.saturating_since(theirs));
    let skew = ahead.max(behind);
    if skew <= SKEW_MAX {
        return Ok(());
    }
    Err(EnrollError::ClockOff {
        skew_s: skew.as_secs(),
        is_ahead: ahead > behind,
    })
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
