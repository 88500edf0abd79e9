//! What a peer presents: a handshake that believes everything, and sends nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::certificate::Certificate;
use super::error::{self, TlsError};
use super::handshake::{PeerTls, connect, name_in};
use super::hello::{self, Choice, Said};
use super::profile;
use super::trust::{self, Distrust, Reason, Trust};
use super::verify;
use crate::driver::error::AssociationError;
use crate::driver::requestor::{RequestedAssociation, RequestorConfig};

/// How long an acceptor that wants a certificate is given to say so: in TLS 1.3 it does after our handshake is done.
const OBJECTION: Duration = Duration::from_millis(500);
/// Suites that appliances had before 2015, for a peer with which nothing else is in common: ECDHE and DHE with CBC, static
/// RSA with GCM and CBC, 3DES, RC4.
const RETIRED_SUITES: &[u16] = &[
    0xC014, 0xC013, 0xC028, 0xC027, 0x0039, 0x0033, 0x006B, 0x0067, 0x009F, 0x009E, 0x009D, 0x009C, 0x003D, 0x003C,
    0x0035, 0x002F, 0xC012, 0x0016, 0x000A, 0x0005, 0x0004,
];

/// What a peer presents to a requestor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Version and suite; `None` when the handshake was not done.
    pub tls: Option<PeerTls>,
    /// The chain, the peer's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether the peer asks for a certificate of ours.
    pub asks_for_certificate: bool,
    /// Why the handshake was not done, or what the peer objected to after it.
    pub error: Option<TlsError>,
    /// What it takes of what is retired, when nothing else is in common.
    pub retired: Option<Choice>,
    name: ServerName<'static>,
}

impl Inspection {
    /// What the certificates say, the peer's own first.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        self.chain.iter().filter_map(|der| Certificate::read(der)).collect()
    }

    /// That the certificate is for another name than the one that was called, which a trusted CA would not make good.
    #[must_use]
    pub fn other_name(&self) -> Option<Reason> {
        trust::other_name(self.chain.first()?, &self.name)
    }

    /// What `trust` would have against the peer; `None`: nothing.
    #[must_use]
    pub fn against(&self, trust: &Trust, now: UnixTime) -> Option<Distrust> {
        trust.check_acceptor(&self.chain, &self.name, now).err()
    }
}

/// Does a handshake with `address` (`host:port`), believes whatever certificate comes, and closes. Nothing is sent over the
/// connection; a peer that closes without a word is asked once for an association without TLS, to know whether it speaks
/// plain DICOM. The peer's signature is verified all the same; where it is wrong, [`tls`](Inspection::tls) is `None`, and the
/// certificate shown is not its own.
///
/// # Errors
/// [`AssociationError`] when there is no connection; whatever goes wrong after that stands in the [`Inspection`].
pub async fn inspect(
    address: &str,
    connect_within: Duration,
    handshake: Duration,
) -> Result<Inspection, AssociationError> {
    let name = name_in(address).map_err(|error| AssociationError::Tls(TlsError::Io(error.to_string())))?;
    let seen = Arc::new(Seen::default());
    let config = config(&seen).map_err(|error| AssociationError::Tls(TlsError::Io(error.to_string())))?;
    let socket = crate::driver::requestor::connect(address, connect_within).await?;
    let mut inspection = Inspection {
        tls: None,
        chain: Vec::new(),
        asks_for_certificate: false,
        error: None,
        retired: None,
        name: name.clone(),
    };
    match connect(&Arc::new(config), name, handshake, socket).await {
        Ok(mut stream) => {
            inspection.tls = Some(PeerTls::of(stream.get_ref().1));
            if seen.is_asked.load(Ordering::Relaxed) {
                let objection = timeout(OBJECTION, stream.read(&mut [0; 1])).await;
                inspection.error = objection
                    .ok()
                    .and_then(Result::err)
                    .and_then(|error| error::of_io(&error));
            }
            drop(stream.shutdown().await);
        }
        Err(error) => {
            if matches!(
                error,
                TlsError::Refused(_) | TlsError::Closed | TlsError::ChoseRetired(_)
            ) {
                inspection.retired = retired(address, connect_within).await;
            }
            let is_plain = error == TlsError::Closed && speaks_dicom(address, connect_within).await;
            inspection.error = Some(if is_plain { TlsError::PeerSpeaksDicom } else { error });
        }
    }
    inspection.asks_for_certificate = seen.is_asked.load(Ordering::Relaxed);
    inspection.chain = std::mem::take(&mut *seen.chain.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(inspection)
}

/// Whether a peer that closes on TLS without a word answers an A-ASSOCIATE-RQ for Verification, whatever it answers.
async fn speaks_dicom(address: &str, within: Duration) -> bool {
    let title = |text: &str| AeTitle::try_from(text).ok();
    let (Some(calling), Some(called)) = (title("PACKHORSE"), title("DOCTOR")) else {
        return false;
    };
    let config = RequestorConfig {
        connect: within,
        artim: within,
        ..RequestorConfig::new(calling, called)
    };
    let context = ProposedContext {
        id: PresentationContextId::nth(0).expect("the first of 128"),
        abstract_syntax: AbstractSyntaxUid::try_from(VERIFICATION).expect("a UID of the standard"),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from(IMPLICIT_VR_LE).expect("a UID of the standard")],
    };
    match RequestedAssociation::request(address, &config, vec![context]).await {
        Ok(association) => {
            association.abort().await;
            true
        }
        Err(error) => matches!(error, AssociationError::Rejected { .. } | AssociationError::Aborted(_)),
    }
}

/// What the peer chooses of what is retired: one hello, and its answer.
async fn retired(address: &str, within: Duration) -> Option<Choice> {
    let ask = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        let hello = hello::retired_client_hello(0x0303, RETIRED_SUITES);
        socket.write_all(&hello).await.ok()?;
        let mut answer = Vec::new();
        loop {
            match hello::read(&answer) {
                Said::Choice(choice) => return Some(choice),
                Said::Nothing | Said::OtherTls => {}
                Said::Offer(_) | Said::Alert(_) | Said::Dicom | Said::Other(_) => return None,
            }
            if answer.len() > 4096 || socket.read_buf(&mut answer).await.ok()? == 0 {
                return None;
            }
        }
    };
    timeout(within, ask)
        .await
        .ok()
        .flatten()
        .filter(|choice| choice.is_retired())
}

fn config(seen: &Arc<Seen>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&profile::REQUESTOR));
    let builder = builder.with_protocol_versions(profile::VERSIONS)?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Seen>::clone(seen));
    let mut config = builder.with_client_cert_resolver(Arc::<Seen>::clone(seen));
    profile::harden_requestor(&mut config);
    Ok(config)
}

/// Believes everything, and remembers it. Used for nothing but [`inspect`], which sends no data.
#[derive(Debug, Default)]
struct Seen {
    chain: Mutex<Vec<CertificateDer<'static>>>,
    is_asked: AtomicBool,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = [own].into_iter().chain(others).map(|one| one.clone().into_owned());
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain.collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify::verify_tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify::verify_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        verify::algorithms().supported_schemes()
    }
}

impl ResolvesClientCert for Seen {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_asked.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}
