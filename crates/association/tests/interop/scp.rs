//! A storage SCP as an embedder writes one: it refuses Raw Data, digests what comes, and remembers it.

use std::net::{Ipv4Addr, SocketAddr};

use packhorse_association::{AcceptorConfig, AssociationError, Request, StoreRequest, accept};
use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal};
use packhorse_dicom::sop_class::RAW_DATA_STORAGE;
use packhorse_dicom::status::Status;
use packhorse_testkit::peers::sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::scu::SOON;

/// One instance that came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Received {
    pub(crate) sop_class_uid: String,
    pub(crate) sop_instance_uid: String,
    pub(crate) transfer_syntax: String,
    pub(crate) sha256: String,
}

/// What one association did.
#[derive(Debug, Default)]
pub(crate) struct Association {
    peer: Option<SocketAddr>,
    pub(crate) calling: String,
    pub(crate) called: String,
    pub(crate) contexts: usize,
    pub(crate) echoes: usize,
    pub(crate) priorities: Vec<u16>,
    pub(crate) received: Vec<Received>,
    pub(crate) ended: Option<Result<(), AssociationError>>,
}

/// Listens on a free port until it is dropped.
pub(crate) struct Scp {
    pub(crate) port: u16,
    finished: mpsc::Receiver<Association>,
    _listening: JoinSet<()>,
}

impl Scp {
    pub(crate) async fn start() -> Self {
        Self::with(AcceptorConfig::default()).await
    }

    pub(crate) async fn with(config: AcceptorConfig) -> Self {
        Self::listening(config, Ends::AsThePeerLikes).await
    }

    /// Aborts each association in the middle of its first data set.
    pub(crate) async fn aborting() -> Self {
        Self::listening(AcceptorConfig::default(), Ends::InTheFirstDataSet).await
    }

    async fn listening(config: AcceptorConfig, ends: Ends) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (finishes, finished) = mpsc::channel(8);
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, config, ends, finishes));
        Self {
            port,
            finished,
            _listening: listening,
        }
    }

    /// The next association that ended.
    pub(crate) async fn association(&mut self) -> Association {
        timeout(SOON, self.finished.recv()).await.unwrap().unwrap()
    }

    /// All that were asked for until now, and ended: it serves one after the other, this call as the last.
    pub(crate) async fn associations(&mut self) -> Vec<Association> {
        let last = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let ours = last.local_addr().unwrap();
        drop(last);
        let mut ended = Vec::new();
        loop {
            let association = self.association().await;
            if association.peer == Some(ours) {
                return ended;
            }
            ended.push(association);
        }
    }

    /// Whether there was no other.
    pub(crate) fn is_done(&mut self) -> bool {
        self.finished.try_recv().is_err()
    }
}

/// What ends an association.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    AsThePeerLikes,
    InTheFirstDataSet,
}

async fn listen(listener: TcpListener, config: AcceptorConfig, ends: Ends, finishes: mpsc::Sender<Association>) {
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        let mut association = Association {
            peer: Some(peer),
            ..Association::default()
        };
        let ended = serve(stream, &config, ends, &mut association).await;
        association.ended = Some(ended);
        finishes.send(association).await.unwrap();
    }
}

async fn serve(
    stream: TcpStream,
    config: &AcceptorConfig,
    ends: Ends,
    association: &mut Association,
) -> Result<(), AssociationError> {
    let mut accepted = accept(stream, "", config, &no_raw_data).await?;
    let proposal = accepted.proposal();
    association.calling = proposal.calling_ae_title.to_string();
    association.called = proposal.called_ae_title.to_string();
    association.contexts = proposal.contexts.len();
    while let Some(request) = accepted.next().await? {
        match request {
            Request::Echo(echo) => {
                association.echoes += 1;
                echo.respond(Status::SUCCESS, None).await?;
            }
            Request::Store(mut store) if ends == Ends::InTheFirstDataSet => {
                store.data().await?;
                drop(store);
                accepted.abort().await;
                return Ok(());
            }
            Request::Store(mut store) => {
                association.priorities.push(store.command().priority);
                let one = received(&mut store).await?;
                // A sender may offer on a context what another class's context was refused for.
                if one.sop_class_uid == store.abstract_syntax().as_str() {
                    association.received.push(one);
                    store.respond(Status::SUCCESS, None).await?;
                } else {
                    store.respond(Status::SOP_CLASS_NOT_SUPPORTED, None).await?;
                }
            }
        }
    }
    Ok(())
}

async fn received(store: &mut StoreRequest<'_>) -> Result<Received, AssociationError> {
    let mut data = Vec::new();
    while let Some(fragment) = store.data().await? {
        data.extend_from_slice(&fragment);
    }
    Ok(Received {
        sop_class_uid: store.command().sop_class_uid().unwrap().to_string(),
        sop_instance_uid: store.command().sop_instance_uid().unwrap().to_string(),
        transfer_syntax: store.transfer_syntax().to_string(),
        sha256: sha256(&data),
    })
}

/// Every class but Raw Data, in the first syntax that is proposed.
fn no_raw_data(proposal: &Proposal) -> Answer {
    let answers = proposal.contexts.iter().map(|context| {
        let answer = match context.abstract_syntax.as_str() {
            RAW_DATA_STORAGE => ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED),
            _ => ContextAnswer::Accepted(context.transfer_syntaxes[0].clone()),
        };
        (context.id, answer)
    });
    Answer::Accept(answers.collect())
}
