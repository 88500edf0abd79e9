//! The peer sends to our acceptor.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

use packhorse_association::AcceptorConfig;
use packhorse_testkit::instances::Instance;
use packhorse_testkit::peers::{
    Ctn, Dcmjs, DicomRs, Modality, Odil, Orthanc, OrthancOptions, Program, PynetdicomApps, Xscu, dcmsend, echoscu,
    storescu,
};
use packhorse_testkit::process::Finished;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{COLUMNS, Found, Node, samples};
use crate::scp::Scp;
use crate::scu::{SOON, expected, in_a_folder};

/// Options of the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Options {
    /// Those that change least.
    Careful,
    /// None.
    Default,
}

pub(crate) async fn found(node: Node) -> [Found; COLUMNS.len()] {
    let mut plain = Scp::start().await;
    let mut small = Scp::with(AcceptorConfig {
        max_pdu_length: 4096,
        ..AcceptorConfig::default()
    })
    .await;
    let aborting = Scp::aborting().await;
    let ports = [plain.port, small.port, aborting.port];
    let sender = spawn_blocking(move || Sender::new(node, ports)).await.unwrap();
    let sender = &sender;
    [
        echo(&mut plain, sender).await,
        store(&mut plain, sender, samples::ct("ct"), Options::Careful).await,
        store(&mut plain, sender, samples::raw_data("raw"), Options::Careful).await,
        store(&mut plain, sender, samples::ct_raw_data_ct("three"), Options::Default).await,
        store(&mut plain, sender, samples::two_syntaxes("two"), Options::Careful).await,
        store(&mut plain, sender, samples::dose_report("sr"), Options::Careful).await,
        store(&mut small, sender, samples::ct("small"), Options::Careful).await,
        abort(aborting, sender).await,
    ]
}

async fn echo(scp: &mut Scp, sender: &Sender) -> Found {
    let (port, sender) = (scp.port, sender.clone());
    let Some(success) = spawn_blocking(move || sender.echo(port)).await.unwrap() else {
        return Found::Untried;
    };
    let echoes: usize = scp.associations().await.iter().map(|one| one.echoes).sum();
    if success && echoes == 1 {
        Found::Done
    } else {
        Found::Failed
    }
}

async fn store(scp: &mut Scp, sender: &Sender, sent: Vec<Instance>, options: Options) -> Found {
    let success = sender.send_all(scp.port, &sent, options).await;
    let associations = scp.associations().await;
    let mut received: Vec<_> = associations.into_iter().flat_map(|one| one.received).collect();
    received.sort();
    let (arrived, of) = (received.len(), sent.len());
    match success {
        true if received == expected(&sent) => Found::Equal,
        true if arrived == of => Found::Rewritten,
        _ => Found::Arrived {
            arrived,
            of,
            told: !success,
        },
    }
}

async fn abort(mut scp: Scp, sender: &Sender) -> Found {
    let success = sender
        .send_all(scp.port, &samples::large("abort"), Options::Careful)
        .await;
    let associations = scp.associations().await;
    let begun = associations.iter().any(|one| matches!(one.ended, Some(Ok(()))));
    if begun && !success { Found::Done } else { Found::Failed }
}

/// A peer that sends; Orthanc runs all the time, the others once for each cell.
#[derive(Clone)]
enum Sender {
    Program(Node),
    Orthanc(std::sync::Arc<Orthanc>),
}

impl Sender {
    fn new(node: Node, ports: [u16; 3]) -> Self {
        if node != Node::Orthanc {
            return Self::Program(node);
        }
        let modalities = ports.map(|port| Modality {
            name: port.to_string(),
            ae_title: "OURS".to_owned(),
            port,
        });
        let mut options = OrthancOptions {
            modalities: modalities.to_vec(),
            ..OrthancOptions::default()
        };
        // It keeps an association for 5 s otherwise, and we serve one at a time.
        options.more.insert("DicomAssociationCloseDelay".to_owned(), json!(0));
        Self::Orthanc(Orthanc::start(&options).unwrap().into())
    }

    /// Whether it ended well; `None` when it has no C-ECHO.
    fn echo(&self, port: u16) -> Option<bool> {
        let node = match self {
            Self::Orthanc(orthanc) => return Some(orthanc.echo(&port.to_string()).is_ok()),
            Self::Program(node) => *node,
        };
        let finished = match node {
            Node::Dcmtk => echoscu(port, "OURS").run::<PathBuf>(&[], SOON).unwrap(),
            Node::Dcmsend | Node::ByteExact | Node::DicomRs => return None,
            _ => program(node, Options::Careful).run_echo(port, SOON).unwrap(),
        };
        Some(ended_well(node, &finished))
    }

    async fn send_all(&self, port: u16, instances: &[Instance], options: Options) -> bool {
        let folder = in_a_folder(instances);
        let files = (0..instances.len()).map(|number| folder.path().join(format!("{number}.dcm")));
        let (files, sender): (Vec<PathBuf>, _) = (files.collect(), self.clone());
        let success = spawn_blocking(move || sender.send(port, &files, options))
            .await
            .unwrap();
        drop(folder);
        success
    }

    fn send(&self, port: u16, files: &[PathBuf], options: Options) -> bool {
        let node = match self {
            Self::Orthanc(orthanc) => {
                let ids: Vec<String> = files.iter().map(|file| orthanc.upload(file).unwrap()).collect();
                return orthanc.store(&port.to_string(), &ids).is_ok();
            }
            Self::Program(node) => *node,
        };
        let finished = match node {
            Node::Dcmtk | Node::Dcmsend => {
                let scu = if node == Node::Dcmtk { storescu } else { dcmsend };
                scu(port, "OURS").run(files, SOON).unwrap()
            }
            Node::ByteExact => {
                let report = Xscu::new(port, "OURS").send(files[0].parent().unwrap(), SOON).unwrap();
                return report.not_sent == 0 && report.sent == files.len() && report.finished.status.success();
            }
            _ => program(node, options).run_send(port, files, SOON).unwrap(),
        };
        ended_well(node, &finished)
    }
}

fn program(node: Node, options: Options) -> Box<dyn Program> {
    match node {
        Node::PynetdicomApps => Box::new(PynetdicomApps),
        Node::DicomRs => Box::new(DicomRs {
            careful: options == Options::Careful,
        }),
        Node::Odil => Box::new(Odil),
        Node::Dcmjs => Box::new(Dcmjs),
        Node::Ctn => Box::new(Ctn),
        Node::Dcmtk | Node::Dcmsend | Node::Orthanc | Node::ByteExact => unreachable!("run otherwise"),
    }
}

/// What its user is told; `PACKHORSE_SHOW_PEERS` shows what it printed.
fn ended_well(node: Node, finished: &Finished) -> bool {
    if env::var_os("PACKHORSE_SHOW_PEERS").is_some() {
        let mut shown = io::stderr();
        writeln!(shown, "{node:?}: {}\n{}", finished.status, finished.said()).unwrap();
    }
    finished.status.success()
}
