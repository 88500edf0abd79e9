//! Certificates as PACS have them, and as they should be.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// What a certificate says. By default a P-256 key, valid from 2000 to 2100, no names, no extensions.
#[derive(Clone, Debug)]
pub struct CertSpec {
    common_name: String,
    names: Vec<String>,
    is_ca: bool,
    expired: bool,
    purposes: Vec<ExtendedKeyUsagePurpose>,
    rsa: bool,
}

impl CertSpec {
    /// With this common name.
    #[must_use]
    pub fn new(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            names: Vec::new(),
            is_ca: false,
            expired: false,
            purposes: Vec::new(),
            rsa: false,
        }
    }

    /// With this subject alternative name, a DNS name or an address.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// `CA:TRUE`.
    #[must_use]
    pub const fn ca(mut self) -> Self {
        self.is_ca = true;
        self
    }

    /// Valid until 2021-03-04.
    #[must_use]
    pub const fn expired(mut self) -> Self {
        self.expired = true;
        self
    }

    /// For servers only (extended key usage).
    #[must_use]
    pub fn for_servers(mut self) -> Self {
        self.purposes.push(ExtendedKeyUsagePurpose::ServerAuth);
        self
    }

    /// With an RSA key of 2048 bits.
    #[must_use]
    pub const fn rsa(mut self) -> Self {
        self.rsa = true;
        self
    }

    /// Signed with its own key.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn self_signed(&self) -> Cert {
        let (params, key) = (self.params(), self.key());
        let certificate = params.self_signed(&key).expect("a certificate");
        Cert {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            key: key.serialize_pem(),
            params,
        }
    }

    /// Issued by `authority`, whose certificate is not in the chain.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn issued_by(&self, authority: &Cert) -> Cert {
        let (params, key) = (self.params(), self.key());
        let signing = KeyPair::from_pem(&authority.key).expect("the authority's key");
        let issuer = Issuer::new(authority.params.clone(), signing);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        Cert {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            key: key.serialize_pem(),
            params,
        }
    }

    fn key(&self) -> KeyPair {
        let made = if self.rsa {
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        } else {
            KeyPair::generate()
        };
        made.expect("a key")
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).expect("names");
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name.as_str());
        params.is_ca = if self.is_ca {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::NoCa
        };
        params.extended_key_usages.clone_from(&self.purposes);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = if self.expired {
            rcgen::date_time_ymd(2021, 3, 4)
        } else {
            rcgen::date_time_ymd(2100, 1, 1)
        };
        params
    }
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Cert {
    /// The certificate.
    pub pem: String,
    /// The same, in DER.
    pub der: Vec<u8>,
    /// The private key (PKCS#8).
    pub key: String,
    params: CertificateParams,
}

impl Cert {
    /// Writes `NAME.pem` and `NAME.key` in a folder.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<CertFiles> {
        let files = CertFiles {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, &self.pem)?;
        fs::write(&files.key, &self.key)?;
        Ok(files)
    }
}

/// A certificate's files.
#[derive(Clone, Debug)]
pub struct CertFiles {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}
