//! The storage SCU: how many associations, what they propose, and what one refusal means for the others.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use packhorse_association::{
    AcceptorConfig, AssociationError, CStoreRq, Instance, InstanceContext, Request, StorageScu, StoreError, accept,
    store_all,
};
use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal};
use packhorse_dicom::status::Status;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::peer::*;

/// What an SCP saw of one association.
#[derive(Debug, Default)]
struct Seen {
    /// Classes proposed, Verification first.
    classes: Vec<String>,
    /// Instances stored.
    stored: Vec<String>,
}

/// How an SCP behaves.
#[derive(Clone, Default)]
struct Manner {
    /// A class it does not take; empty: it takes all. `*`: it takes nothing.
    refuses: &'static str,
    /// An instance that it answers with A900.
    dislikes: &'static str,
    /// It ends each association after one instance.
    ends_after_each: Option<Ends>,
    /// An instance that it stores, and dies before it has answered.
    dies_on: &'static str,
    /// It answers the first instance of each association when so many associations have one.
    together: Option<Arc<Barrier>>,
}

/// How an SCP ends an association that the SCU would go on with.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Closes,
    Aborts,
}

/// A storage SCP that remembers what it saw, until it is dropped.
struct Scp {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _serving: JoinSet<()>,
}

impl Scp {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        let all = Arc::clone(&seen);
        serving.spawn(async move {
            let mut associations = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                associations.spawn(serve(stream, manner.clone(), Arc::clone(&all)));
            }
        });
        Self {
            address,
            seen,
            _serving: serving,
        }
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn scu(&self) -> StorageScu {
        StorageScu::new(self.address(), requestor_config())
    }

    /// What it saw, association by association.
    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap()
    }
}

async fn serve(stream: TcpStream, manner: Manner, all: Arc<Mutex<Vec<Seen>>>) {
    let decide = |proposal: &Proposal| {
        let answers = proposal.contexts.iter().map(|context| {
            let is_refused = manner.refuses == "*" || context.abstract_syntax.as_str() == manner.refuses;
            let answer = match context.transfer_syntaxes.first() {
                Some(syntax) if !is_refused => ContextAnswer::Accepted(syntax.clone()),
                _ => ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED),
            };
            (context.id, answer)
        });
        Answer::Accept(answers.collect())
    };
    let mut association = accept(stream, "", &AcceptorConfig::default(), &decide).await.unwrap();
    let classes = association.proposal().contexts.iter();
    let classes = classes.map(|context| context.abstract_syntax.to_string()).collect();
    let number = {
        let mut all = all.lock().unwrap();
        all.push(Seen {
            classes,
            stored: Vec::new(),
        });
        all.len() - 1
    };
    let mut stored = 0;
    while let Ok(Some(Request::Store(mut store))) = association.next().await {
        let uid = String::from_utf8(store.command().affected_sop_instance_uid.to_vec()).unwrap();
        let uid = uid.trim_end_matches('\0').to_owned();
        whole(&mut store).await.unwrap();
        if let Some(together) = manner.together.as_ref().filter(|_| stored == 0) {
            together.wait().await;
        }
        stored += 1;
        let (is_disliked, dies) = (uid == manner.dislikes, uid == manner.dies_on);
        all.lock().unwrap()[number].stored.push(uid);
        if dies {
            return;
        }
        let (status, comment) = if is_disliked {
            (Status(0xA900), Some("no such patient"))
        } else {
            (Status::SUCCESS, None)
        };
        store.respond(status, comment).await.unwrap();
        match manner.ends_after_each {
            None => {}
            Some(Ends::Closes) => return,
            Some(Ends::Aborts) => return association.abort().await,
        }
    }
}

/// An instance of class `1.2.840.<n>`.
struct Made(usize);

impl Made {
    fn uid(&self) -> String {
        format!("1.2.3.{}", self.0)
    }

    fn class(number: usize) -> String {
        format!("1.2.840.{number}")
    }
}

impl Instance for Made {
    type Data = Option<Bytes>;

    fn context(&self) -> InstanceContext {
        InstanceContext {
            sop_class: Self::class(self.0).parse().unwrap(),
            transfer_syntax: "1.2.840.10008.1.2".parse().unwrap(),
        }
    }

    fn command(&self) -> CStoreRq {
        CStoreRq {
            affected_sop_class_uid: Bytes::from(Self::class(self.0)),
            affected_sop_instance_uid: Bytes::from(self.uid()),
            ..store_rq()
        }
    }

    fn data(&self) -> Self::Data {
        Some(Bytes::from_static(b"a data set"))
    }
}

async fn store(scu: &mut StorageScu, made: &Made) -> Result<Status, StoreError> {
    let stored = scu.store(&made.context(), &[], &made.command(), || made.data()).await;
    stored.map(|response| response.status)
}

const ONE: NonZeroUsize = NonZeroUsize::MIN;

#[tokio::test]
async fn more_than_128_contexts_are_split_over_associations() {
    let scp = Scp::start(Manner::default()).await;
    let made: Vec<_> = (0..300).map(Made).collect();
    let came = store_all(&scp.scu(), &made, ONE).await;
    assert!(
        came.iter()
            .all(|came| matches!(came, Some(Ok(response)) if response.status == Status::SUCCESS))
    );
    let seen = scp.seen();
    let proposed: Vec<_> = seen.iter().map(|seen| seen.classes.len()).collect();
    // 127 of them beside Verification.
    assert_eq!(proposed, [128, 128, 47]);
    let stored: Vec<_> = seen.iter().flat_map(|seen| seen.stored.clone()).collect();
    assert_eq!(stored, made.iter().map(Made::uid).collect::<Vec<_>>());
}

#[tokio::test]
async fn exactly_what_is_needed_is_proposed_and_the_association_is_kept() {
    let scp = Scp::start(Manner::default()).await;
    let mut scu = scp.scu();
    assert_eq!(scu.idle(), None);
    store(&mut scu, &Made(1)).await.unwrap();
    store(&mut scu, &Made(1)).await.unwrap();
    assert!(scu.idle().is_some());
    // Another class: another association.
    store(&mut scu, &Made(2)).await.unwrap();
    scu.release().await;
    assert_eq!(scu.idle(), None);
    let seen = scp.seen();
    let classes: Vec<_> = seen.iter().map(|seen| seen.classes[1..].to_vec()).collect();
    assert_eq!(classes, [[Made::class(1)], [Made::class(2)]]);
    assert_eq!(seen[0].stored.len(), 2);
}

#[tokio::test]
async fn a_refused_instance_does_not_stop_the_others() {
    let scp = Scp::start(Manner {
        refuses: "1.2.840.2",
        dislikes: "1.2.3.4",
        ..Manner::default()
    })
    .await;
    let made: Vec<_> = (0..6).map(Made).collect();
    let came = store_all(&scp.scu(), &made, ONE).await;
    let shown: Vec<_> = came
        .iter()
        .map(|came| match came {
            Some(Ok(response)) => format!(
                "{} {}",
                response.status,
                response.error_comment.as_deref().unwrap_or("")
            ),
            Some(Err(error)) => error.to_string(),
            None => "not tried".to_owned(),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "0000 ",
            "0000 ",
            "the destination does not take 1.2.840.2 with Implicit VR Little Endian: abstract syntax not supported (3)",
            "0000 ",
            "A900 no such patient",
            "0000 ",
        ]
    );
    assert_eq!(scp.seen().len(), 1);
}

/// Waits until the association that is kept has been idle for so long. Real time: sockets do not follow a paused clock.
async fn idle_for(scu: &StorageScu, time: Duration) {
    while scu.idle().unwrap() < time {
        tokio::task::yield_now().await;
    }
}

/// A PACS that ends every association after one instance, by closing or by aborting, is sent each instance once.
#[tokio::test]
async fn an_association_that_the_acceptor_ended_costs_no_instance() {
    for ends in [Ends::Closes, Ends::Aborts] {
        for pause in [Duration::from_millis(5), Duration::from_millis(110)] {
            let scp = Scp::start(Manner {
                ends_after_each: Some(ends),
                ..Manner::default()
            })
            .await;
            let mut scu = scp.scu();
            for _ in 0..3 {
                assert_eq!(store(&mut scu, &Made(1)).await.unwrap(), Status::SUCCESS);
                idle_for(&scu, pause).await;
            }
            let stored: Vec<_> = scp.seen().iter().map(|seen| seen.stored.len()).collect();
            assert_eq!(stored, [1, 1, 1], "{ends:?} {pause:?}");
        }
    }
}

/// A PACS that dies on an instance has perhaps stored it: it is told, and not sent again behind the caller's back, also
/// when another association had been idle before.
#[tokio::test]
async fn an_instance_that_ends_its_association_is_sent_once() {
    for first in [None, Some(2)] {
        let scp = Scp::start(Manner {
            dies_on: "1.2.3.1",
            ..Manner::default()
        })
        .await;
        let mut scu = scp.scu();
        if let Some(number) = first {
            store(&mut scu, &Made(number)).await.unwrap();
            idle_for(&scu, Duration::from_millis(110)).await;
        }
        let died = store(&mut scu, &Made(1)).await;
        assert!(matches!(died, Err(StoreError::Interrupted(_))), "{died:?}");
        let seen = scp.seen();
        let sent = seen
            .iter()
            .flat_map(|seen| &seen.stored)
            .filter(|uid| *uid == "1.2.3.1")
            .count();
        assert_eq!(sent, 1);
    }
}

#[tokio::test]
async fn associations_run_in_parallel() {
    let scp = Scp::start(Manner {
        // Deadlocks with fewer.
        together: Some(Arc::new(Barrier::new(4))),
        ..Manner::default()
    })
    .await;
    let made: Vec<_> = (0..40).map(Made).collect();
    let four = NonZeroUsize::new(4).unwrap();
    let came = tokio::time::timeout(SOON, store_all(&scp.scu(), &made, four))
        .await
        .unwrap();
    assert!(came.iter().all(|came| matches!(came, Some(Ok(_)))));
    let seen = scp.seen();
    assert_eq!(seen.len(), 4);
    let mut stored: Vec<_> = seen.iter().flat_map(|seen| seen.stored.clone()).collect();
    stored.sort();
    let mut uids: Vec<_> = made.iter().map(Made::uid).collect();
    uids.sort();
    assert_eq!(stored, uids);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_told_from_one_that_refuses_a_class() {
    let scp = Scp::start(Manner {
        refuses: "*",
        ..Manner::default()
    })
    .await;
    let made = [Made(1), Made(2)];
    let came = store_all(&scp.scu(), &made, ONE).await;
    assert!(
        matches!(&came[..], [Some(Err(StoreError::NothingAccepted { .. })), None]),
        "{came:?}"
    );
    let error = came[0].as_ref().unwrap().as_ref().unwrap_err();
    assert!(
        error.to_string().ends_with("abstract syntax not supported (3)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_is_off_is_asked_once() {
    let (listener, address) = listen().await;
    drop(listener);
    let made = [Made(1), Made(2), Made(3)];
    let came = store_all(&StorageScu::new(address.to_string(), requestor_config()), &made, ONE).await;
    let off = matches!(
        &came[..],
        [
            Some(Err(StoreError::NoAssociation {
                error: AssociationError::Connect { .. },
                ..
            })),
            None,
            None
        ]
    );
    assert!(off, "{came:?}");
}
