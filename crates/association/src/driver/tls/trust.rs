//! Which certificates of a peer are believed.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::certificate::{Certificate, Fingerprint, listed};
use super::handshake::PeerTls;
use super::verify;

/// RFC 9325 §4.5.
const RSA_BITS_MIN: usize = 2048;

/// The certificates of one peer, or of a few, that are believed. A certificate is, when one of these is so:
///
/// - Its [`Fingerprint`] is **pinned**. Nothing else is asked: not its names, not its dates, not its issuer, not whether it
///   calls itself a CA. PACS certificates are seldom renewed, and an expired one still proves the same key.
/// - It stands in the file of **trusted certificates** itself, byte for byte, and has not expired. So a self-signed one is
///   trusted, `CA:TRUE` or not.
/// - It was issued by a **CA** in that file: path, dates and purpose are validated (RFC 5280), and an acceptor's names must
///   be the host's that was called. Names are its subject alternative names; a certificate that has none of these may have
///   the host's name or address as its common name. The web gave that up because its CAs sign for everybody; the CA given
///   here is given for this peer.
///
/// In each case the peer proves by the handshake's signature that it has the key, and an RSA key has 2048 bits at least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    pins: Vec<Fingerprint>,
}

/// A file of trusted certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It is no PEM.
    #[error("it is no PEM file: {_0}")]
    Pem(String),
    /// It holds no certificate.
    #[error("there is no certificate in it (-----BEGIN CERTIFICATE-----)")]
    Empty,
    /// One of its certificates cannot be read.
    #[error("its certificate number {_0} cannot be read")]
    Unreadable(usize),
}

/// A certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", presented(*certificate))]
pub struct Distrust {
    /// The one that was presented, if any.
    pub certificate: Option<Fingerprint>,
    /// Why not.
    pub reason: Reason,
}

impl Distrust {
    /// Of a peer that presented nothing.
    pub const NO_CERTIFICATE: Self = Self {
        certificate: None,
        reason: Reason::NoCertificate,
    };
}

fn presented(certificate: Option<Fingerprint>) -> String {
    certificate.map_or_else(String::new, |fingerprint| format!(" (it presented {fingerprint})"))
}

/// Why a certificate is not believed, with what can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// None was presented.
    #[error("it presented no certificate, and one is required")]
    NoCertificate,
    /// It is no certificate.
    #[error("its certificate cannot be read")]
    Unreadable,
    /// It is not the pinned one.
    #[error("its certificate is not the pinned one; if it was changed on purpose, pin the new one")]
    NotPinned,
    /// Its issuer is not trusted.
    #[error(
        "its certificate \"{subject}\" was issued by \"{issuer}\", which is not in the file of `trust`; pin it, or add its CA"
    )]
    UnknownIssuer {
        /// Whose it is.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// It has expired.
    #[error("its certificate has expired on {since}; let it be renewed, or pin it, for a pin does not look at dates")]
    Expired {
        /// When.
        since: String,
    },
    /// It is not valid yet.
    #[error("its certificate is valid from {from} only; a clock may be wrong")]
    TooEarly {
        /// When it begins.
        from: String,
    },
    /// It is for other names.
    #[error(
        "its certificate is for {} and not for {expected}; set `name` to one of its names, or pin it",
        listed(names, 8)
    )]
    OtherName {
        /// The name that was called.
        expected: String,
        /// The names it is for.
        names: Vec<String>,
    },
    /// It is a CA's, and used as a peer's.
    #[error(
        "its certificate is a CA's (CA:TRUE) and was issued by another; put it into the file of `trust` itself, or pin it"
    )]
    CaAsPeer,
    /// Its extended key usage does not allow this role.
    #[error(
        "its certificate is not for this role (extended key usage); let it be issued for server and client, or pin it"
    )]
    OtherPurpose,
    /// Its RSA key is too short.
    #[error("its RSA key has {bits} bits; RFC 9325 wants 2048 at least: it needs another certificate")]
    ShortKey {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Anything else that RFC 5280 has against it.
    #[error("its certificate is not valid ({what}); let it be issued anew, or pin it")]
    Invalid {
        /// What.
        what: String,
    },
}

/// In which role a peer presents a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Presenter<'a> {
    /// It accepts associations, and was called by this name.
    Acceptor(&'a ServerName<'a>),
    /// It requests them.
    Requestor,
}

impl Trust {
    /// Trusts the certificates in a PEM file, and whatever those that are CAs have issued.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn of_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        Self::of_certificates(read.map_err(|error| TrustError::Pem(error.to_string()))?)
    }

    /// [`of_pem`](Self::of_pem), of DER.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn of_certificates(certificates: Vec<CertificateDer<'static>>) -> Result<Self, TrustError> {
        if certificates.is_empty() {
            return Err(TrustError::Empty);
        }
        let mut anchors = Vec::new();
        for (certificate, number) in certificates.iter().zip(1..) {
            let read = Certificate::read(certificate).ok_or(TrustError::Unreadable(number))?;
            // Who has the key of a certificate that is no CA's is trusted as itself, and may not vouch for others.
            if read.is_ca
                && let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate)
            {
                anchors.push(anchor.to_owned());
            }
        }
        Ok(Self {
            certificates,
            anchors,
            pins: Vec::new(),
        })
    }

    /// Trusts these certificates and no others.
    #[must_use]
    pub const fn of_pins(pins: Vec<Fingerprint>) -> Self {
        Self {
            certificates: Vec::new(),
            anchors: Vec::new(),
            pins,
        }
    }

    /// Trusts what `other` trusts too.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.certificates.extend_from_slice(&other.certificates);
        self.anchors.extend_from_slice(&other.anchors);
        self.pins.extend_from_slice(&other.pins);
        self
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.pins.is_empty()
    }

    /// The certificates of the PEM file, for people.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        self.certificates
            .iter()
            .filter_map(|der| Certificate::read(der))
            .collect()
    }

    /// Whether the requestor at the other end of a connection is believed.
    ///
    /// # Errors
    /// [`Distrust`]: also when it presented no certificate.
    pub fn check_requestor(&self, peer: &PeerTls, now: UnixTime) -> Result<(), Distrust> {
        self.check(peer.chain(), Presenter::Requestor, now)
    }

    /// Whether an acceptor that was called by `name` and presents this chain, its own certificate first, is believed.
    ///
    /// # Errors
    /// [`Distrust`].
    pub fn check_acceptor(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Distrust> {
        self.check(chain, Presenter::Acceptor(name), now)
    }

    pub(super) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        presenter: Presenter<'_>,
        now: UnixTime,
    ) -> Result<(), Distrust> {
        let Some((own, others)) = chain.split_first() else {
            return Err(Distrust::NO_CERTIFICATE);
        };
        self.reason_against(own, others, presenter, now)
            .map_err(|reason| Distrust {
                certificate: Some(Fingerprint::of(own)),
                reason,
            })
    }

    fn reason_against(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        presenter: Presenter<'_>,
        now: UnixTime,
    ) -> Result<(), Reason> {
        let read = Certificate::read(own).ok_or(Reason::Unreadable)?;
        match read.rsa_bits {
            Some(bits) if bits < RSA_BITS_MIN => return Err(Reason::ShortKey { bits }),
            _ if self.pins.contains(&read.fingerprint) => return Ok(()),
            _ if self.certificates.is_empty() => return Err(Reason::NotPinned),
            _ => {}
        }
        // Dates first: what is out of date needs no other reason.
        if read.is_expired(now) {
            let since = Certificate::date(read.not_after);
            return Err(Reason::Expired { since });
        }
        if read.is_too_early(now) {
            let from = Certificate::date(read.not_before);
            return Err(Reason::TooEarly { from });
        }
        if self.certificates.iter().any(|trusted| **trusted == **own) {
            return Ok(());
        }
        self.validate(&read, own, others, presenter, now)
    }

    /// Path and purpose under the CAs, then the names.
    fn validate(
        &self,
        read: &Certificate,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        presenter: Presenter<'_>,
        now: UnixTime,
    ) -> Result<(), Reason> {
        let unknown = || Reason::UnknownIssuer {
            subject: read.subject.clone(),
            issuer: read.issuer.clone(),
        };
        let reason = |error| match error {
            webpki::Error::UnknownIssuer => unknown(),
            webpki::Error::CaUsedAsEndEntity if read.is_self_signed => unknown(),
            webpki::Error::CaUsedAsEndEntity => Reason::CaAsPeer,
            webpki::Error::RequiredEkuNotFoundContext(_) => Reason::OtherPurpose,
            other => Reason::Invalid {
                what: other.to_string(),
            },
        };
        if self.anchors.is_empty() {
            return Err(unknown());
        }
        let certificate = EndEntityCert::try_from(own).map_err(reason)?;
        let usage = match presenter {
            Presenter::Acceptor(_) => KeyUsage::server_auth(),
            Presenter::Requestor => KeyUsage::client_auth(),
        };
        let algorithms = verify::algorithms().all;
        certificate
            .verify_for_usage(algorithms, &self.anchors, others, now, usage, None, None)
            .map_err(reason)?;
        match presenter {
            Presenter::Acceptor(name) => check_name(read, &certificate, name),
            Presenter::Requestor => Ok(()),
        }
    }
}

/// Whether a certificate is for this name, whoever issued it.
pub(super) fn other_name(own: &CertificateDer<'_>, name: &ServerName<'_>) -> Option<Reason> {
    let read = Certificate::read(own)?;
    check_name(&read, &EndEntityCert::try_from(own).ok()?, name).err()
}

fn check_name(read: &Certificate, certificate: &EndEntityCert<'_>, name: &ServerName<'_>) -> Result<(), Reason> {
    let expected = name.to_str();
    let names = if read.names.is_empty() {
        &read.common_names
    } else {
        &read.names
    };
    let is_for = if read.names.is_empty() {
        names.iter().any(|common| common.eq_ignore_ascii_case(&expected))
    } else {
        certificate.verify_is_valid_for_subject_name(name).is_ok()
    };
    if is_for {
        return Ok(());
    }
    Err(Reason::OtherName {
        expected: expected.into_owned(),
        names: if names.is_empty() {
            vec!["no name".to_owned()]
        } else {
            names.clone()
        },
    })
}
