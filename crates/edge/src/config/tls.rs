//! `tls = { ... }` of listeners, sources and destinations: their files are read when the configuration is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use packhorse_association::driver::tls::{
    Certificate, ClientAuthentication, Fingerprint, TlsAcceptor, TlsIdentity, TlsRequestor, Trust,
};
use packhorse_policy::config::RawSource;
use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::{Problems, RawDestination, RawListener};

/// `[[listener]] tls`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawListenerTls {
    certificate: Option<String>,
    key: Option<String>,
    client: Option<String>,
    client_trust: Option<String>,
}

/// `[[destination]] tls`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawDestinationTls {
    pin: Option<String>,
    trust: Option<String>,
    name: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

/// A certificate in a file, whose end is told in time.
#[derive(Clone, Debug)]
pub struct DatedCertificate {
    /// The key that names the file, `listener[1].tls.certificate`.
    pub path: String,
    /// What it says.
    pub certificate: Certificate,
}

/// Reads the files, and gathers what is wrong with them.
pub(super) struct TlsReader<'a> {
    folder: &'a Path,
    handshake: Duration,
    problems: &'a mut Problems,
    certificates: Vec<DatedCertificate>,
}

impl<'a> TlsReader<'a> {
    pub(super) const fn new(folder: &'a Path, handshake: Duration, problems: &'a mut Problems) -> Self {
        Self {
            folder,
            handshake,
            problems,
            certificates: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<DatedCertificate> {
        self.certificates
    }

    /// What each source must present.
    pub(super) fn sources(&mut self, raw: &[RawSource]) -> Vec<Option<Trust>> {
        let mut all = Vec::new();
        for (source, number) in raw.iter().zip(1..) {
            let tls = source.tls.as_ref();
            all.push(tls.and_then(|tls| {
                let path = format!("source[{number}].tls");
                self.needed_trust(&path, tls.pin.as_deref(), tls.trust.as_deref())
            }));
        }
        all
    }

    /// How each listener does TLS.
    pub(super) fn acceptors(&mut self, raw: &[RawListener], sources: &[Option<Trust>]) -> Vec<Option<TlsAcceptor>> {
        let of_sources = sources.iter().flatten().fold(Trust::default(), Trust::or);
        let mut all = Vec::new();
        for (listener, number) in raw.iter().zip(1..) {
            let tls = listener.tls.as_ref();
            all.push(tls.and_then(|tls| self.acceptor(&format!("listener[{number}].tls"), tls, &of_sources)));
        }
        let asks = |listener: &RawListener| {
            let tls = listener.tls.as_ref();
            tls.and_then(|tls| tls.client.as_deref()) == Some("required")
        };
        if !raw.iter().any(asks)
            && let Some(index) = sources.iter().position(Option::is_some)
        {
            let path = format!("source[{}].tls", index + 1);
            let problem = "no [[listener]] asks for certificates: one needs tls with client = \"required\"";
            self.problems.add(path, problem.to_owned());
        }
        all
    }

    fn acceptor(&mut self, path: &str, raw: &RawListenerTls, of_sources: &Trust) -> Option<TlsAcceptor> {
        let identity = self.identity(path, raw.certificate.as_deref(), raw.key.as_deref());
        let trust = self.trust(path, "client_trust", None, raw.client_trust.as_deref())?;
        let client = match raw.client.as_deref() {
            None | Some("none") if raw.client_trust.is_some() => {
                let problem = "it is used only with client = \"required\"";
                self.problems.add(format!("{path}.client_trust"), problem.to_owned());
                return None;
            }
            None | Some("none") => ClientAuthentication::None,
            Some("required") => {
                let trust = trust.or(of_sources);
                if trust.is_empty() {
                    let problem = "nobody could come in: give client_trust, or tls to a [[source]]";
                    self.problems.add(format!("{path}.client"), problem.to_owned());
                }
                ClientAuthentication::Required(trust)
            }
            Some(other) => {
                let problem = format!("{other:?} is none of none, required");
                self.problems.add(format!("{path}.client"), problem);
                return None;
            }
        };
        let made = TlsAcceptor::new(identity?, client);
        let acceptor = self.problems.take(path.to_owned(), made)?;
        Some(acceptor.with_handshake(self.handshake))
    }

    /// How each destination is called with TLS.
    pub(super) fn requestors(&mut self, raw: &[RawDestination]) -> Vec<Option<TlsRequestor>> {
        let mut all = Vec::new();
        for (destination, number) in raw.iter().zip(1..) {
            let tls = destination.tls.as_ref();
            all.push(tls.and_then(|tls| self.requestor(&format!("destination[{number}].tls"), tls)));
        }
        all
    }

    fn requestor(&mut self, path: &str, raw: &RawDestinationTls) -> Option<TlsRequestor> {
        let trust = self.needed_trust(path, raw.pin.as_deref(), raw.trust.as_deref());
        let name = match &raw.name {
            None => Some(None),
            Some(name) => {
                let host = ServerName::try_from(name.as_str()).map(|_| Some(name));
                let problem = |_| format!("{name:?} is no host name and no address");
                self.problems.take(format!("{path}.name"), host.map_err(problem))
            }
        };
        let identity = match (&raw.certificate, &raw.key) {
            (None, None) => None,
            (certificate, key) => Some(self.identity(path, certificate.as_deref(), key.as_deref())?),
        };
        let made = self
            .problems
            .take(path.to_owned(), TlsRequestor::new(trust?, identity))?;
        let requestor = made.with_handshake(self.handshake);
        match name? {
            None => Some(requestor),
            Some(name) => self.problems.take(format!("{path}.name"), requestor.with_name(name)),
        }
    }

    /// A trust that somebody satisfies.
    fn needed_trust(&mut self, path: &str, pin: Option<&str>, file: Option<&str>) -> Option<Trust> {
        if pin.is_none() && file.is_none() {
            let problem = "needs pin or trust; `edge-gateway doctor tls HOST:PORT` prints the pin";
            self.problems.add(path.to_owned(), problem.to_owned());
            return None;
        }
        self.trust(path, "trust", pin, file)
    }

    fn trust(&mut self, path: &str, key: &str, pin: Option<&str>, file: Option<&str>) -> Option<Trust> {
        let pins: Vec<Fingerprint> = match pin.map(str::parse) {
            None => Vec::new(),
            Some(parsed) => vec![self.problems.take(format!("{path}.pin"), parsed)?],
        };
        let pinned = Trust::of_pins(pins);
        let Some(file) = file else { return Some(pinned) };
        let path = format!("{path}.{key}");
        let pem = self.read(&path, file)?;
        let trust = self.problems.take(path.clone(), Trust::of_pem(&pem))?;
        let dated = trust.certificates().into_iter().map(|certificate| DatedCertificate {
            path: path.clone(),
            certificate,
        });
        self.certificates.extend(dated);
        Some(pinned.or(&trust))
    }

    fn identity(&mut self, path: &str, certificate: Option<&str>, key: Option<&str>) -> Option<TlsIdentity> {
        let certificate_path = format!("{path}.certificate");
        let certificate = self.named(&certificate_path, certificate);
        let key = self.named(&format!("{path}.key"), key);
        let made = TlsIdentity::of_pem(&certificate?, &key?);
        let identity = self.problems.take(path.to_owned(), made)?;
        self.certificates.push(DatedCertificate {
            path: certificate_path,
            certificate: identity.certificate().clone(),
        });
        Some(identity)
    }

    fn named(&mut self, path: &str, file: Option<&str>) -> Option<Vec<u8>> {
        if file.is_none() {
            self.problems.add(path.to_owned(), "needs a PEM file".to_owned());
        }
        self.read(path, file?)
    }

    fn read(&mut self, path: &str, file: &str) -> Option<Vec<u8>> {
        let file = self.folder.join(file);
        let read = fs::read(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()));
        self.problems.take(path.to_owned(), read)
    }
}
