//! Our requestor sends to the peer.

use std::fs;
use std::future::pending;
use std::path::PathBuf;

use bytes::Bytes;
use packhorse_association::{AssociationError, CStoreRq, DataSource, RequestedAssociation};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::AbstractSyntaxUid;
use packhorse_testkit::instances::Instance;
use packhorse_testkit::peers::{
    Ctn, Dcmjs, DicomRs, Odil, Orthanc, OrthancOptions, Program, PynetdicomApps, Receiver, Storescp, StorescpOptions,
    Xscp, XscpOptions, sha256,
};
use packhorse_testkit::process::poll;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::samples::{self, digest};
use super::{COLUMNS, Found, Node};
use crate::scu::{self, SOON, store};

/// How the peer is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Options {
    /// With those that change and refuse least.
    Careful,
    /// With none.
    Default,
    /// Careful, and it takes P-DATA-TF of 4096 bytes.
    Small,
}

pub(crate) async fn found(node: Node) -> [Found; COLUMNS.len()] {
    let mut careful = Target::start(node, Options::Careful).await;
    let first = [
        echo(&careful).await,
        send(&mut careful, samples::ct("ct")).await,
        send(&mut careful, samples::raw_data("raw")).await,
    ];
    let two = send(&mut careful, samples::two_syntaxes("two")).await;
    let report = send(&mut careful, samples::dose_report("sr")).await;
    let aborted = abort(&mut careful).await;
    drop(careful);
    let mut default = Target::start(node, Options::Default).await;
    let three = send(&mut default, samples::ct_raw_data_ct("three")).await;
    drop(default);
    let mut small = Target::start(node, Options::Small).await;
    let small = send(&mut small, samples::ct("small")).await;
    let [echo, ct, raw] = first;
    [echo, ct, raw, three, two, report, small, aborted]
}

/// Some peers close their port between two associations, and drop who waits there: it is tried until there is an answer.
async fn associate(port: u16, instances: &[Instance]) -> Result<RequestedAssociation, AssociationError> {
    let (instances, here) = (instances.to_vec(), Handle::current());
    let connects = move || match here.block_on(scu::associate(port, &instances)) {
        Err(AssociationError::Connect { .. } | AssociationError::Lost | AssociationError::Io(_)) => None,
        settled => Some(settled),
    };
    spawn_blocking(move || poll(SOON / 4, connects)).await.unwrap().unwrap()
}

async fn echo(target: &Target) -> Found {
    let Ok(mut association) = associate(target.port(), &[]).await else {
        return Found::Failed;
    };
    let answer = association.echo().await;
    let released = association.release().await;
    match (answer, released) {
        (Ok(Status::SUCCESS), Ok(())) => Found::Done,
        _ => Found::Failed,
    }
}

async fn send(target: &mut Target, sent: Vec<Instance>) -> Found {
    let answered = deliver(target.port(), &sent).await;
    let kept = target.kept_since(answered).await;
    let mut digests: Vec<String> = sent.iter().map(|instance| sha256(&instance.dataset)).collect();
    digests.sort();
    let (arrived, of) = (kept.len(), sent.len());
    match kept {
        kept if kept == digests => Found::Equal,
        _ if arrived == of => Found::Rewritten,
        _ => Found::Arrived {
            arrived,
            of,
            told: answered == arrived,
        },
    }
}

/// Sends what is accepted, until the association is lost; how many were answered 0000.
async fn deliver(port: u16, sent: &[Instance]) -> usize {
    let mut association = associate(port, sent).await.unwrap();
    let mut answered = 0;
    for instance in sent {
        let class = AbstractSyntaxUid::from(&instance.sop_class_uid);
        if association.accepted(&class, &instance.transfer_syntax).is_none() {
            continue;
        }
        match store(&mut association, instance).await {
            Ok(answer) if answer.status == Status::SUCCESS => answered += 1,
            Ok(_) => {}
            Err(_) => return answered,
        }
    }
    association.release().await.unwrap();
    answered
}

/// Drops the store in mid data set. Nothing of it may be kept, and the peer serves the next.
async fn abort(target: &mut Target) -> Found {
    let instances = samples::large("abort");
    let instance = &instances[0];
    let mut association = associate(target.port(), &instances).await.unwrap();
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
    let (stalls, stalled) = oneshot::channel();
    let half = Half {
        chunks: instance.dataset[..1 << 20]
            .chunks(1 << 16)
            .map(Bytes::copy_from_slice)
            .collect(),
        stalls: Some(stalls),
    };
    tokio::select! {
        stored = association.store(context, &command, half) => panic!("it has no end: {stored:?}"),
        stalled = stalled => stalled.unwrap(),
    }
    association.abort().await;
    // What comes behind it is served, and kept alone.
    let served = send(target, samples::ct("behind")).await;
    match served {
        Found::Equal | Found::Rewritten => Found::Done,
        Found::Arrived { arrived, of, .. } if arrived > of => Found::Failed,
        lost => panic!("the instance behind it: {lost:?}"),
    }
}

/// The first half of a data set, and then nothing.
struct Half {
    chunks: std::collections::VecDeque<Bytes>,
    stalls: Option<oneshot::Sender<()>>,
}

impl DataSource for Half {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Ok(Some(chunk));
        }
        self.stalls.take().map(|stalls| stalls.send(()));
        pending().await
    }
}

/// A receiving peer, and how much of what it keeps was looked at.
struct Target {
    running: std::sync::Arc<Running>,
    seen: Vec<String>,
}

enum Running {
    Storescp(Storescp),
    Xscp(Xscp),
    Orthanc(Orthanc),
    Receiver(Receiver),
}

impl Target {
    async fn start(node: Node, options: Options) -> Self {
        let running = spawn_blocking(move || Running::start(node, options)).await.unwrap();
        Self {
            running: running.into(),
            seen: Vec::new(),
        }
    }

    fn port(&self) -> u16 {
        match &*self.running {
            Running::Storescp(target) => target.port(),
            Running::Xscp(target) => target.port(),
            Running::Orthanc(target) => target.port(),
            Running::Receiver(target) => target.port(),
        }
    }

    /// SHA-256 of the data sets it keeps and did not at the last look, sorted. It is given time to write so many.
    async fn kept_since(&mut self, answered: usize) -> Vec<String> {
        let (running, enough) = (self.running.clone(), self.seen.len() + answered);
        let all = spawn_blocking(move || {
            poll(SOON / 12, || Some(running.kept()).filter(|kept| kept.len() >= enough))
                .unwrap_or_else(|| running.kept())
        });
        let mut all = all.await.unwrap();
        let before = std::mem::replace(&mut self.seen, all.iter().map(|(name, _)| name.clone()).collect());
        all.retain(|(name, _)| !before.contains(name));
        let mut digests: Vec<String> = all.into_iter().map(|(_, digest)| digest).collect();
        digests.sort();
        digests
    }
}

impl Running {
    fn start(node: Node, options: Options) -> Self {
        let length = (options == Options::Small).then_some(4096);
        let program: Box<dyn Program> = match node {
            Node::Dcmtk | Node::Dcmsend => {
                let more = length.map(|length: u32| ["--max-pdu".to_owned(), length.to_string()]);
                return Self::Storescp(
                    Storescp::start(StorescpOptions {
                        by_default: options == Options::Default,
                        options: more.into_iter().flatten().collect(),
                        ..StorescpOptions::default()
                    })
                    .unwrap(),
                );
            }
            Node::Orthanc => {
                let mut options = OrthancOptions::default();
                if let Some(length) = length {
                    options.more.insert("MaximumPduLength".to_owned(), json!(length));
                }
                return Self::Orthanc(Orthanc::start(&options).unwrap());
            }
            Node::ByteExact => {
                return Self::Xscp(
                    Xscp::start(XscpOptions {
                        max_pdu_length: length,
                        ..XscpOptions::default()
                    })
                    .unwrap(),
                );
            }
            Node::PynetdicomApps => Box::new(PynetdicomApps),
            Node::DicomRs => Box::new(DicomRs {
                careful: options != Options::Default,
            }),
            Node::Odil => Box::new(Odil),
            Node::Dcmjs => Box::new(Dcmjs),
            Node::Ctn => Box::new(Ctn),
        };
        Self::Receiver(Receiver::start(program.as_ref(), length).unwrap())
    }

    /// Name and SHA-256 of all it keeps.
    fn kept(&self) -> Vec<(String, String)> {
        let files: Vec<PathBuf> = match self {
            Self::Storescp(target) => target.files().unwrap(),
            Self::Receiver(target) => target.files().unwrap(),
            Self::Xscp(target) => {
                let log = target.log().unwrap();
                return log
                    .into_iter()
                    .map(|line| (line.number.to_string(), line.sha256))
                    .collect();
            }
            Self::Orthanc(target) => {
                let ids = target.instances().unwrap();
                return ids
                    .into_iter()
                    .map(|id| (id.clone(), digest(&target.file(&id).unwrap())))
                    .collect();
            }
        };
        let digests = files.iter().map(|file| digest(&fs::read(file).unwrap()));
        files
            .iter()
            .map(|file| file.display().to_string())
            .zip(digests)
            .collect()
    }
}
