//! A PACS that does as it is told, and remembers what it was asked.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packhorse_association::{AcceptorConfig, Request, accept};
use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal, ProposedContext, Rejection};
use packhorse_dicom::status::Status;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does with an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Answer(Status),
    /// Success after this time.
    Slow(Duration),
    /// Drops the association.
    Drop,
    /// Never answers.
    Hang,
}

#[derive(Debug, Default)]
struct Seen {
    /// Calling titles.
    associations: Vec<String>,
    proposed: Vec<usize>,
    /// SOP Instance UIDs with the association they came on.
    asked: Vec<(String, usize)>,
    stored: Vec<String>,
    now: HashSet<String>,
    /// What was under way each time that something began.
    together: Vec<HashSet<String>>,
}

#[derive(Debug)]
pub(crate) struct Pacs {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    serving: JoinHandle<()>,
}

impl Drop for Pacs {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Pacs {
    /// It rejects whoever calls as `STRANGER`, and every context of `NOBODY`.
    pub(crate) async fn start(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, act) = (Arc::<Mutex<Seen>>::default(), Arc::new(act));
        let theirs = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, act) = (Arc::clone(&theirs), Arc::clone(&act));
                tokio::spawn(async move { serve(stream, &seen, &*act).await });
            }
        });
        Self { address, seen, serving }
    }

    /// Calling titles of the associations.
    pub(crate) fn associations(&self) -> Vec<String> {
        self.seen.lock().unwrap().associations.clone()
    }

    /// How many contexts each association proposed.
    pub(crate) fn proposed(&self) -> Vec<usize> {
        self.seen.lock().unwrap().proposed.clone()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen
            .lock()
            .unwrap()
            .asked
            .iter()
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    pub(crate) fn stored(&self) -> Vec<String> {
        self.seen.lock().unwrap().stored.clone()
    }

    pub(crate) fn together(&self) -> Vec<HashSet<String>> {
        self.seen.lock().unwrap().together.clone()
    }

    /// The associations on which what has the same of something came.
    pub(crate) fn associations_by(&self, of: impl Fn(&str) -> &'static str) -> HashMap<&'static str, HashSet<usize>> {
        let mut all: HashMap<_, HashSet<usize>> = HashMap::new();
        for (uid, association) in &self.seen.lock().unwrap().asked {
            all.entry(of(uid)).or_default().insert(*association);
        }
        all
    }
}

async fn serve(stream: TcpStream, seen: &Mutex<Seen>, act: &(dyn Fn(&str) -> Act + Send + Sync)) {
    let decide = |proposal: &Proposal| {
        if proposal.calling_ae_title.as_str() == "STRANGER" {
            return Answer::Reject(Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED);
        }
        if proposal.calling_ae_title.as_str() == "NOBODY" {
            return proposal.answer_each(|_| ContextAnswer::Rejected(ContextResult::NO_REASON));
        }
        proposal.answer_each(ProposedContext::accept_first)
    };
    let Ok(mut association) = accept(stream, "", &AcceptorConfig::default(), &decide).await else {
        return;
    };
    let number = {
        let mut seen = seen.lock().unwrap();
        let proposal = association.proposal();
        seen.associations.push(proposal.calling_ae_title.to_string());
        seen.proposed.push(proposal.contexts.len());
        seen.associations.len()
    };
    while let Ok(Some(Request::Store(mut store))) = association.next().await {
        while let Ok(Some(_)) = store.data().await {}
        let uid = store.command().sop_instance_uid().unwrap().to_string();
        {
            let mut seen = seen.lock().unwrap();
            seen.asked.push((uid.clone(), number));
            seen.now.insert(uid.clone());
            let now = seen.now.clone();
            seen.together.push(now);
        }
        let act = act(&uid);
        if let Act::Slow(time) = act {
            tokio::time::sleep(time).await;
        }
        seen.lock().unwrap().now.remove(&uid);
        let status = match act {
            Act::Answer(status) => status,
            Act::Slow(_) => Status::SUCCESS,
            Act::Drop => return,
            Act::Hang => std::future::pending().await,
        };
        if status == Status::SUCCESS {
            seen.lock().unwrap().stored.push(uid);
        }
        if store.respond(status, None).await.is_err() {
            return;
        }
    }
}
