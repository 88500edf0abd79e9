//! The relay's certificate authority.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use packhorse_ids::{SiteName, WallTime};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::files;
use crate::tls::{self, Own, Revocations, URI_PREFIX, pin_of};

/// Certificates of sites and of the relay live 7 days.
pub(crate) const LEAF_DAYS: i64 = 7;
/// The root lives 10 years.
const ROOT_DAYS: i64 = 3650;
/// Certificates begin 10 minutes ago, for clocks that are a little off.
const BACKDATED_MICROS: i64 = 600 * 1_000_000;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

/// The authority failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file of it cannot be used.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// There is one already.
    #[error("{} has a certificate authority already", _0.display())]
    Exists(PathBuf),
    /// A file does not hold what it should.
    #[error("{} does not hold a certificate or key", _0.display())]
    Malformed(PathBuf),
    /// A certificate cannot be made.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// A TLS configuration cannot be made.
    #[error("a TLS configuration cannot be made")]
    Tls(#[from] rustls::Error),
    /// There is no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// A certificate that was issued to a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its DER.
    pub certificate: Vec<u8>,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// When it ends.
    pub not_after: WallTime,
    /// SHA-256 of its DER.
    pub fingerprint: [u8; 32],
}

/// The root key and certificate, in a folder: `root.pem` and `root-key.pem` (0600).
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    /// Makes an authority in `folder`.
    ///
    /// # Errors
    /// [`AuthorityError`]; [`Exists`](AuthorityError::Exists) when there is one.
    pub fn create(folder: &Path, now: WallTime) -> Result<Self, AuthorityError> {
        let (certificate_path, key_path) = (folder.join("root.pem"), folder.join("root-key.pem"));
        if certificate_path.exists() || key_path.exists() {
            return Err(AuthorityError::Exists(folder.into()));
        }
        files::private_folder(folder).map_err(|error| AuthorityError::Io {
            path: folder.into(),
            error,
        })?;
        let key = KeyPair::generate()?;
        let mut params = params(now, ROOT_DAYS)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Packhorse relay root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let write = |path: &Path, text: String| {
            files::replace(path, text.as_bytes()).map_err(|error| AuthorityError::Io {
                path: path.into(),
                error,
            })
        };
        write(&key_path, key.serialize_pem())?;
        write(&certificate_path, certificate.pem())?;
        Self::open(folder)
    }

    /// Opens the authority in `folder`.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let (certificate_path, key_path) = (folder.join("root.pem"), folder.join("root-key.pem"));
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| AuthorityError::Io {
                path: path.into(),
                error,
            })
        };
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|_| AuthorityError::Malformed(key_path))?;
        let root = CertificateDer::from_pem_slice(read(&certificate_path)?.as_bytes());
        let root = root.map_err(|_| AuthorityError::Malformed(certificate_path))?;
        let issuer = Issuer::from_ca_cert_der(&root, key)?;
        Ok(Self { issuer, root })
    }

    /// SHA-256 of the root's public key: what tokens carry.
    ///
    /// # Errors
    /// [`AuthorityError::Malformed`], which cannot be for a root of ours.
    pub fn pin(&self) -> Result<[u8; 32], AuthorityError> {
        pin_of(&self.root).map_err(|_| AuthorityError::Malformed("root.pem".into()))
    }

    /// The root certificate's DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The secret that the relay's endpoint makes connection ids and stateless resets of: derived from the root's key, so
    /// that it is the same after a restart. Two relays at a time must not share it: each could end the other's links.
    #[must_use]
    pub fn reset_secret(&self) -> [u8; 32] {
        let key = self.issuer.key().serialize_der();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(b"packhorse stateless reset 1");
        mac.finalize().into_bytes().into()
    }

    /// A certificate for `site`, for links, of 7 days. Of the request only the key is taken.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] when the request is none, or not signed by its own key.
    pub fn issue(&self, request: &[u8], site: &SiteName, now: WallTime) -> Result<Issued, AuthorityError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))?;
        let mut params = params(now, LEAF_DAYS)?;
        params.distinguished_name.push(DnType::CommonName, site.as_str());
        params.subject_alt_names = vec![SanType::URI(format!("{URI_PREFIX}{site}").try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&request.public_key, &self.issuer)?.der().to_vec();
        let facts =
            tls::certificate_facts(&certificate).map_err(|_| AuthorityError::Malformed("certificate".into()))?;
        Ok(Issued {
            serial: facts.serial,
            not_after: facts.not_after,
            fingerprint: facts.fingerprint,
            certificate,
        })
    }

    /// The relay's TLS configuration with a fresh certificate of 7 days for `names` (DNS names and addresses), and when
    /// it should be made anew: after two thirds of its life. Its key never touches the disk.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn server_config(
        &self,
        names: &[String],
        alpn: &[&[u8]],
        revocations: &Revocations,
        now: WallTime,
    ) -> Result<(Arc<ServerConfig>, WallTime), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = params(now, LEAF_DAYS)?;
        params.distinguished_name.push(DnType::CommonName, "Packhorse relay");
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        // The root goes with it: a joining edge knows only the root's hash.
        let chain = vec![certificate.der().clone(), self.root.clone()];
        let own = Own {
            chain,
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        };
        let config = tls::server_config(own, &self.root, revocations.clone(), alpn)?;
        let renew = WallTime::from_unix_micros(now.unix_micros() + LEAF_DAYS * DAY_MICROS * 2 / 3);
        Ok((config, renew))
    }
}

/// What all certificates have: a life, a random serial number of 16 bytes, an empty subject.
fn params(now: WallTime, days: i64) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date(now.unix_micros() - BACKDATED_MICROS);
    params.not_after = date(now.unix_micros() + days * DAY_MICROS);
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| AuthorityError::Random)?;
    // Positive, and 16 bytes long.
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7F | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn date(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(micros.div_euclid(1_000_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
