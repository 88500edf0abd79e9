//! Our acceptor with TLS, our requestor, and what they carry.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packhorse_association::driver::tls::{
    ClientAuthentication, Fingerprint, PeerTls, TlsAcceptor, TlsError, TlsIdentity, TlsRequestor, Trust,
};
use packhorse_association::{
    AcceptorConfig, AssociationError, CStoreRq, Connection, Request, RequestedAssociation, RequestorConfig, accept,
};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, ContextAnswer, PresentationContextId, Proposal, ProposedContext};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::AbstractSyntaxUid;
use packhorse_testkit::certs::{Cert, CertSpec};
use packhorse_testkit::instances::{ImageSize, Instance, Study, demo_study};
use packhorse_testkit::peers::sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An end for peers that start slowly on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// A certificate as it should be, for this host, self-signed.
pub(crate) fn proper() -> Cert {
    CertSpec::new("OURS").name("127.0.0.1").self_signed()
}

pub(crate) fn identity(cert: &Cert) -> TlsIdentity {
    TlsIdentity::of_pem(cert.pem.as_bytes(), cert.key.as_bytes()).unwrap()
}

pub(crate) fn pinned(cert: &Cert) -> Trust {
    Trust::of_pins(vec![Fingerprint::of(&cert.der)])
}

pub(crate) fn trusted(cert: &Cert) -> Trust {
    Trust::of_pem(cert.pem.as_bytes()).unwrap()
}

pub(crate) fn acceptor(cert: &Cert) -> TlsAcceptor {
    TlsAcceptor::new(identity(cert), ClientAuthentication::None).unwrap()
}

pub(crate) fn requestor(trust: Trust) -> TlsRequestor {
    TlsRequestor::new(trust, None).unwrap()
}

/// An image of 180 KB, and what a demo study has.
pub(crate) fn study() -> Vec<Instance> {
    let mut study = demo_study();
    study.push(Study::new("tls").secondary_capture(1, 1, ImageSize::square(301)));
    study
}

/// SOP instance and SHA-256 of each, sorted.
pub(crate) fn expected(instances: &[Instance]) -> Vec<(String, String)> {
    let pair = |instance: &Instance| (instance.sop_instance_uid.to_string(), sha256(&instance.dataset));
    let mut expected: Vec<_> = instances.iter().map(pair).collect();
    expected.sort();
    expected
}

/// What one connection did.
#[derive(Debug)]
pub(crate) struct Served {
    /// SOP instance and SHA-256 of each data set that came whole, sorted.
    pub(crate) stored: Vec<(String, String)>,
    pub(crate) echoes: usize,
    pub(crate) tls: Option<PeerTls>,
    pub(crate) ended: Result<(), AssociationError>,
}

impl Served {
    pub(crate) fn tls_error(&self) -> &TlsError {
        match &self.ended {
            Err(AssociationError::Tls(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

/// Listens on a free port of this host until it is dropped.
pub(crate) struct Scp {
    pub(crate) address: SocketAddr,
    served: mpsc::Receiver<Served>,
    _listening: JoinSet<()>,
}

impl Scp {
    /// `None`: without TLS.
    pub(crate) async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (serves, served) = mpsc::channel(1000);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, serves) = (tls.clone(), serves.clone());
                tokio::spawn(async move { serves.send(serve(socket, tls).await).await });
            }
        });
        Self {
            address,
            served,
            _listening: listening,
        }
    }

    /// The next connection that ended.
    pub(crate) async fn served(&mut self) -> Served {
        timeout(SOON, self.served.recv()).await.unwrap().unwrap()
    }
}

async fn serve(socket: TcpStream, tls: Option<TlsAcceptor>) -> Served {
    let mut served = Served {
        stored: Vec::new(),
        echoes: 0,
        tls: None,
        ended: Ok(()),
    };
    served.ended = requests(socket, tls, &mut served).await;
    served.stored.sort();
    served
}

async fn requests(socket: TcpStream, tls: Option<TlsAcceptor>, served: &mut Served) -> Result<(), AssociationError> {
    let connection = match tls {
        None => Connection::from(socket),
        Some(tls) => tls.accept(socket).await?,
    };
    let mut association = accept(connection, "", &AcceptorConfig::default(), &everything).await?;
    served.tls = association.tls().cloned();
    assert_eq!(association.proposal().peer, IpAddr::V4(Ipv4Addr::LOCALHOST));
    while let Some(request) = association.next().await? {
        match request {
            Request::Echo(echo) => {
                served.echoes += 1;
                echo.respond(Status::SUCCESS, None).await?;
            }
            Request::Store(mut store) => {
                let mut data = Vec::new();
                while let Some(fragment) = store.data().await? {
                    data.extend_from_slice(&fragment);
                }
                let uid = store.command().sop_instance_uid().unwrap().to_string();
                served.stored.push((uid, sha256(&data)));
                store.respond(Status::SUCCESS, None).await?;
            }
        }
    }
    Ok(())
}

pub(crate) fn everything(proposal: &Proposal) -> Answer {
    let contexts = proposal.contexts.iter();
    let accepted = contexts.map(|context| {
        let syntax = context.transfer_syntaxes[0].clone();
        (context.id, ContextAnswer::Accepted(syntax))
    });
    Answer::Accept(accepted.collect())
}

pub(crate) fn config() -> RequestorConfig {
    let title = |text| AeTitle::try_from(text).unwrap();
    RequestorConfig::new(title("PACKHORSE"), title("XSCP"))
}

/// One context for each (class, syntax).
pub(crate) fn contexts(instances: &[Instance]) -> Vec<ProposedContext> {
    let mut contexts: Vec<ProposedContext> = Vec::new();
    for instance in instances {
        let abstract_syntax = AbstractSyntaxUid::from(&instance.sop_class_uid);
        let transfer_syntaxes = vec![instance.transfer_syntax.clone()];
        let is_there = contexts.iter().any(|context| {
            context.abstract_syntax == abstract_syntax && context.transfer_syntaxes == transfer_syntaxes
        });
        if !is_there {
            contexts.push(ProposedContext {
                id: PresentationContextId::nth(contexts.len()).unwrap(),
                abstract_syntax,
                transfer_syntaxes,
            });
        }
    }
    contexts
}

/// Asks for an association over TLS and releases it.
pub(crate) async fn visit(address: &str, tls: &TlsRequestor) -> Result<PeerTls, AssociationError> {
    let association = RequestedAssociation::request_tls(address, tls, &config(), contexts(&study())).await?;
    let peer = association.tls().unwrap().clone();
    association.release().await?;
    Ok(peer)
}

/// What was wrong with the visit.
pub(crate) async fn visit_error(address: &str, tls: &TlsRequestor) -> TlsError {
    match visit(address, tls).await {
        Err(AssociationError::Tls(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Stores all of it and releases.
pub(crate) async fn deliver(
    mut association: RequestedAssociation,
    instances: &[Instance],
) -> Result<(), AssociationError> {
    for instance in instances {
        let class = AbstractSyntaxUid::from(&instance.sop_class_uid);
        let context = association.accepted(&class, &instance.transfer_syntax).unwrap();
        let uid = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let command = CStoreRq {
            message_id: 0,
            affected_sop_class_uid: uid(instance.sop_class_uid.as_str()),
            affected_sop_instance_uid: uid(instance.sop_instance_uid.as_str()),
            priority: 0,
            move_originator: None,
        };
        let data = Some(Bytes::from(instance.dataset.clone()));
        let answer = association.store(context, &command, data).await?;
        assert_eq!(answer.status, Status::SUCCESS);
    }
    association.release().await
}

/// A requestor of the test's own with one version of TLS only, which believes everything.
pub(crate) fn foreign_client(
    version: &'static rustls::SupportedProtocolVersion,
    trusts: &Cert,
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusts.der.clone().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}
