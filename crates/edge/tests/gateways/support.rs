//! A relay and gateways, as their own commands make them; a source and a target PACS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use packhorse_association::codec::{Pdu, next_pdu};
use packhorse_association::driver::tls::{TlsAcceptor, TlsRequestor};
use packhorse_association::{
    AcceptorConfig, AssociationError, CStoreRq, Connection, Request, RequestedAssociation, RequestorConfig, accept,
};
use packhorse_daemon::admin;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, ContextAnswer, PresentationContextId, Proposal, ProposedContext};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::AbstractSyntaxUid;
use packhorse_edge::{Gateway, Running};
use packhorse_relay::Relay;
use packhorse_testkit::instances::{ImageSize, Instance, Study};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        tokio::time::sleep(LOOK).await;
    }
}

/// A relay that runs.
pub(crate) struct Hub {
    folder: TempDir,
    running: packhorse_relay::Running,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("relay");
        let arguments = ["relay", "init", "--name", "127.0.0.1", "--dir"].map(Into::into);
        let arguments = arguments.into_iter().chain([dir.as_os_str().to_owned()]);
        packhorse_relay::run(packhorse_relay::Cli::try_parse_from(arguments).unwrap())
            .await
            .unwrap();
        let toml = "name = \"127.0.0.1\"\nquic = \"127.0.0.1:0\"\n";
        std::fs::write(dir.join("relay.toml"), toml).unwrap();
        let running = Relay::build(&dir).await.unwrap().spawn();
        Self { folder, running }
    }

    /// The folder of a site that has joined.
    pub(crate) async fn join(&self, site: &str) -> PathBuf {
        let relay = self.folder.path().join("relay");
        let invited = admin::ask(&relay, "invite", json!({ "site": site })).await.unwrap();
        let dir = self.folder.path().join(site);
        edge_command(&["join", invited["token"].as_str().unwrap()], &dir).await;
        dir
    }

    pub(crate) async fn finish(self) {
        self.running.finish().await;
    }
}

async fn edge_command(arguments: &[&str], dir: &Path) {
    let all = ["edge-gateway"]
        .iter()
        .chain(arguments)
        .chain(&["--dir"])
        .map(Into::into);
    let all = all.chain([dir.as_os_str().to_owned()]);
    packhorse_edge::run(packhorse_edge::Cli::try_parse_from(all).unwrap())
        .await
        .unwrap();
}

/// A gateway that runs.
pub(crate) struct Edge {
    dir: PathBuf,
    dicom: Option<SocketAddr>,
    running: Running,
}

impl Edge {
    /// Starts the gateway of a site that has joined.
    pub(crate) async fn start(dir: &Path, toml: &str) -> Self {
        std::fs::write(dir.join("edge.toml"), toml).unwrap();
        let gateway = Gateway::build(dir).await.unwrap();
        let ready = gateway.ready();
        let dicom = ready["dicom"].get(0).and_then(Value::as_str);
        Self {
            dir: dir.to_path_buf(),
            dicom: dicom.map(|address| address.parse().unwrap()),
            running: gateway.spawn(),
        }
    }

    pub(crate) async fn ask(&self, command: &str, args: Value) -> Value {
        admin::ask(&self.dir, command, args).await.unwrap()
    }

    /// The account of the first study.
    pub(crate) async fn account(&self) -> Value {
        let studies = self.ask("studies", Value::Null).await;
        studies["studies"][0]["account"].clone()
    }

    pub(crate) async fn status(&self) -> Value {
        self.ask("status", Value::Null).await
    }

    /// How the first route stands.
    pub(crate) async fn standing(&self) -> String {
        let routes = self.ask("routes", Value::Null).await;
        routes["routes"][0]["standing"].as_str().unwrap().to_owned()
    }

    /// Where a PACS sends to.
    pub(crate) fn dicom(&self) -> SocketAddr {
        self.dicom.unwrap()
    }

    pub(crate) async fn finish(self) {
        self.running.finish().await;
    }
}

/// Configuration of a site that sends: everybody here may send, to `ST_MARY`, which leads to `to`.
pub(crate) fn sender(to: &str) -> String {
    format!(
        "[[listener]]\nname = \"lan\"\naddress = \"127.0.0.1:0\"\n\
         [[source]]\nname = \"PACS A\"\nae_titles = [\"*\"]\nhosts = [\"127.0.0.1\"]\n\
         [[route]]\ncalled_ae_title = \"ST_MARY\"\nto = \"{to}\"\n"
    )
}

/// Configuration of a site that receives for `PACS_B`.
pub(crate) fn receiver(target: &Target, accept_from: &[&str]) -> String {
    format!(
        "[[destination]]\nae_title = \"PACS_B\"\naddress = \"127.0.0.1:{}\"\ncalling_ae_title = \"PACKHORSE\"\n\
         accept_from = {accept_from:?}\n",
        target.port
    )
}

/// Sends so many CT images, of which every one must be taken.
pub(crate) async fn send(to: SocketAddr, images: u32) {
    send_over(&to.to_string(), "PACS_A", None, images).await;
}

/// The same over TLS.
pub(crate) async fn send_tls(to: &str, calling: &str, tls: &TlsRequestor, images: u32) {
    send_over(to, calling, Some(tls), images).await;
}

async fn send_over(to: &str, calling: &str, tls: Option<&TlsRequestor>, images: u32) {
    let instances = images_sent(images);
    let class = AbstractSyntaxUid::from(&instances[0].sop_class_uid);
    let syntax = instances[0].transfer_syntax.clone();
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: class.clone(),
        transfer_syntaxes: vec![syntax.clone()],
    };
    let title = |text: &str| AeTitle::try_from(text).unwrap();
    let config = RequestorConfig::new(title(calling), title("ST_MARY"));
    let requested = match tls {
        None => RequestedAssociation::request(to, &config, vec![context]).await,
        Some(tls) => RequestedAssociation::request_tls(to, tls, &config, vec![context]).await,
    };
    let mut association = requested.unwrap();
    let context = association.accepted(&class, &syntax).unwrap();
    for instance in &instances {
        let command = CStoreRq {
            message_id: 0,
            affected_sop_class_uid: padded(class.as_str()),
            affected_sop_instance_uid: padded(instance.sop_instance_uid.as_str()),
            priority: 0,
            move_originator: None,
        };
        let data = Bytes::from(instance.dataset.clone());
        let response = association.store(context, &command, Some(data)).await.unwrap();
        assert_eq!(response.status, Status::SUCCESS);
    }
    association.release().await.unwrap();
}

/// What [`send`] sends.
fn images_sent(images: u32) -> Vec<Instance> {
    let study = Study::new("a study");
    (1..=images)
        .map(|number| study.ct_slice(1, number, ImageSize::default()))
        .collect()
}

/// The SOP Instance UIDs of what [`send`] sends.
pub(crate) fn uids_sent(images: u32) -> Vec<String> {
    images_sent(images)
        .iter()
        .map(|instance| instance.sop_instance_uid.to_string())
        .collect()
}

/// What is answered to one context: the transfer syntax, or the result that rejects it.
pub(crate) async fn offered(to: SocketAddr, class: &str, syntaxes: &[&str]) -> Result<String, u8> {
    let title = |text: &str| AeTitle::try_from(text).unwrap();
    let config = RequestorConfig::new(title("PACS_A"), title("ST_MARY"));
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: class.parse().unwrap(),
        transfer_syntaxes: syntaxes.iter().map(|syntax| syntax.parse().unwrap()).collect(),
    };
    let requested = RequestedAssociation::request(&to.to_string(), &config, vec![context]).await;
    let association = requested.unwrap();
    let answer = association.contexts()[0].answer.clone();
    association.release().await.unwrap();
    match answer {
        ContextAnswer::Accepted(syntax) => Ok(syntax.to_string()),
        ContextAnswer::Rejected(result) => Err(result.0),
    }
}

fn padded(uid: &str) -> Bytes {
    let mut bytes = uid.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    Bytes::from(bytes)
}

/// A PACS that takes everything and remembers what.
pub(crate) struct Target {
    port: u16,
    seen: Arc<Seen>,
}

/// What a PACS has seen.
#[derive(Default)]
struct Seen {
    stored: Mutex<Vec<String>>,
    /// It drops the association on so many of the first instances that it sees, each time.
    drops: usize,
    dropped: Mutex<Vec<String>>,
    proposals: Mutex<Vec<Proposed>>,
    open: AtomicUsize,
    open_most: AtomicUsize,
    wishes: Mutex<Wishes>,
}

/// An A-ASSOCIATE-RQ as a PACS has seen it.
#[derive(Clone)]
pub(crate) struct Proposed {
    pub(crate) proposal: Proposal,
    /// Maximum length (51H), which a proposal does not have; `None` over TLS.
    pub(crate) max_pdu_length: Option<u32>,
}

/// What a PACS answers instead of taking everything.
#[derive(Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) answer: Option<fn(&Proposal) -> Answer>,
    /// By SOP Instance UID.
    pub(crate) statuses: HashMap<String, Status>,
}

impl Seen {
    fn is_dropped(&self, uid: &str) -> bool {
        let mut dropped = self.dropped.lock().unwrap();
        let is_known = dropped.iter().any(|known| known == uid);
        if !is_known && dropped.len() < self.drops && self.stored.lock().unwrap().is_empty() {
            dropped.push(uid.to_owned());
            return true;
        }
        is_known
    }
}

impl Target {
    pub(crate) async fn start() -> Self {
        Self::start_as(0, None).await
    }

    /// One that speaks TLS.
    pub(crate) async fn start_tls(tls: TlsAcceptor) -> Self {
        Self::start_as(0, Some(tls)).await
    }

    /// One that drops the association on so many of the first instances, each time.
    pub(crate) async fn start_dropping(drops: usize) -> Self {
        Self::start_as(drops, None).await
    }

    async fn start_as(drops: usize, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen {
            drops,
            ..Seen::default()
        });
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, tls) = (Arc::clone(&kept), tls.clone());
                tokio::spawn(async move {
                    let before = seen.open.fetch_add(1, Ordering::SeqCst);
                    seen.open_most.fetch_max(before + 1, Ordering::SeqCst);
                    drop(take(stream, tls, &seen).await);
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, seen }
    }

    pub(crate) fn stored(&self) -> usize {
        self.seen.stored.lock().unwrap().len()
    }

    /// How often an instance came.
    pub(crate) fn stored_times(&self, uid: &str) -> usize {
        let stored = self.seen.stored.lock().unwrap();
        stored.iter().filter(|stored| *stored == uid).count()
    }

    pub(crate) fn wish(&self, wishes: Wishes) {
        *self.seen.wishes.lock().unwrap() = wishes;
    }

    /// Associations that are open.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// The most associations that were open at a time.
    pub(crate) fn open_most(&self) -> usize {
        self.seen.open_most.load(Ordering::SeqCst)
    }

    pub(crate) fn proposals(&self) -> Vec<Proposed> {
        self.seen.proposals.lock().unwrap().clone()
    }
}

/// The maximum length in an A-ASSOCIATE-RQ that is left in the stream.
async fn peek_max_pdu_length(stream: &TcpStream) -> Option<u32> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let len = stream.peek(&mut bytes).await.ok().filter(|len| *len > 0)?;
        let mut whole = bytes::BytesMut::from(&bytes[..len]);
        if let Some(Pdu::AssociateRq(rq)) = next_pdu(&mut whole, 0).ok()? {
            return rq.user.max_pdu_length;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn everything(proposal: &Proposal) -> Answer {
    proposal.answer_each(ProposedContext::accept_first)
}

async fn take(stream: TcpStream, tls: Option<TlsAcceptor>, seen: &Seen) -> Result<(), AssociationError> {
    let (connection, max_pdu_length) = match tls {
        None => {
            let max_pdu_length = peek_max_pdu_length(&stream).await;
            (Connection::from(stream), max_pdu_length)
        }
        Some(tls) => (tls.accept(stream).await?, None),
    };
    let wishes = seen.wishes.lock().unwrap().clone();
    let decide = |proposal: &Proposal| {
        let proposed = Proposed {
            proposal: proposal.clone(),
            max_pdu_length,
        };
        seen.proposals.lock().unwrap().push(proposed);
        wishes.answer.unwrap_or(everything)(proposal)
    };
    let mut association = accept(connection, "", &AcceptorConfig::default(), &decide).await?;
    while let Some(request) = association.next().await? {
        match request {
            Request::Echo(echo) => echo.respond(Status::SUCCESS, None).await?,
            Request::Store(mut store) => {
                while store.data().await?.is_some() {}
                let uid = store.command().sop_instance_uid().unwrap().to_string();
                if seen.is_dropped(&uid) {
                    return Ok(());
                }
                let status = seen.wishes.lock().unwrap().statuses.get(&uid).copied();
                seen.stored.lock().unwrap().push(uid);
                store.respond(status.unwrap_or(Status::SUCCESS), None).await?;
            }
        }
    }
    Ok(())
}
