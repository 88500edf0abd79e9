//! The target PACS: a storage SCP that takes everything and remembers hashes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_association::{AcceptorConfig, AssociationError, Request, accept};
use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal, ProposedContext};
use packhorse_dicom::status::Status;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};

/// SOP instances by UID, each with the SHA-256 of what came.
type Stored = Arc<Mutex<HashMap<String, Vec<[u8; 32]>>>>;

/// A PACS that takes everything.
#[derive(Debug)]
pub(crate) struct Target {
    port: u16,
    stored: Stored,
}

impl Target {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, stored) = (listener.local_addr()?.port(), Stored::default());
        let kept = Arc::clone(&stored);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Ok(Self { port, stored })
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// How often, and with which bytes, an instance arrived.
    pub(crate) fn arrivals(&self, sop_instance: &str) -> Vec<[u8; 32]> {
        self.stored
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(sop_instance)
            .cloned()
            .unwrap_or_default()
    }
}

fn everything(proposal: &Proposal) -> Answer {
    let answer = |context: &ProposedContext| match context.transfer_syntaxes.first() {
        Some(syntax) => ContextAnswer::Accepted(syntax.clone()),
        None => ContextAnswer::Rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED),
    };
    Answer::Accept(
        proposal
            .contexts
            .iter()
            .map(|context| (context.id, answer(context)))
            .collect(),
    )
}

async fn serve(stream: TcpStream, stored: Stored) -> Result<(), AssociationError> {
    let mut association = accept(stream, "", &AcceptorConfig::default(), &everything).await?;
    while let Some(request) = association.next().await? {
        match request {
            Request::Echo(echo) => echo.respond(Status::SUCCESS, None).await?,
            Request::Store(mut store) => {
                let mut sha256 = Sha256::new();
                while let Some(fragment) = store.data().await? {
                    sha256.update(&fragment);
                }
                let uid = store
                    .command()
                    .sop_instance_uid()
                    .map(|uid| uid.to_string())
                    .unwrap_or_default();
                let digest = sha256.finalize().into();
                stored
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(uid)
                    .or_default()
                    .push(digest);
                store.respond(Status::SUCCESS, None).await?;
            }
        }
    }
    Ok(())
}
