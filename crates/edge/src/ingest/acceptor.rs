//! Associations as they come in.

use std::sync::Arc;

use bytes::Bytes;
use packhorse_association::{AcceptedAssociation, AssociationError, Request, StoreRequest, accept};
use packhorse_daemon::exit::chain;
use packhorse_dicom::status::Status;
use packhorse_ledger::Origin;
use packhorse_spool::stopping;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::record::{EdgeDecide, Record};
use super::take::{Data, Offered, Taken, take};
use crate::shared::Shared;

/// Accepts associations on one listener until the edge drains.
pub(crate) async fn serve(shared: Arc<Shared>, name: String, listener: TcpListener, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (shared, name) = (Arc::clone(&shared), name.clone());
                tasks.spawn(async move { connection(shared, stream, &name).await });
            }
            Err(error) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, listener: &str) {
    let Ok(peer) = stream.peer_addr() else { return };
    let place = shared.count_in(peer.ip());
    let decide = EdgeDecide {
        shared: &shared,
        has_place: place.is_some(),
    };
    match accept(stream, listener, &shared.config.acceptor, &decide).await {
        Ok(association) => serve_association(&shared, association).await,
        // Said already, with its reason.
        Err(AssociationError::Refused(_)) => {}
        Err(error) => tracing::info!(%peer, error = chain(&error), "no association"),
    }
    drop(place);
}

async fn serve_association(shared: &Arc<Shared>, mut association: AcceptedAssociation) {
    let mut record = Record::open(shared, association.proposal());
    let ended = tokio::select! {
        ended = requests(shared, &mut association, &mut record) => ended,
        () = shared.stop.cancelled() => Err(AssociationError::Unanswered),
    };
    if let Err(error) = &ended {
        let peer = association.proposal().peer;
        tracing::info!(association = %record.id, %peer, error = chain(error), "association ended without release");
        if matches!(error, AssociationError::Unanswered) {
            association.abort().await;
        }
    }
    record.close(ended.as_ref().copied()).await;
}

async fn requests(
    shared: &Arc<Shared>,
    association: &mut AcceptedAssociation,
    record: &mut Record,
) -> Result<(), AssociationError> {
    let proposal = association.proposal().clone();
    while let Some(request) = association.next().await? {
        match request {
            Request::Echo(echo) => {
                // 0000 if an instance would be taken into custody now.
                let status = if shared.spool.is_poisoned() {
                    Status::PROCESSING_FAILURE
                } else {
                    Status::SUCCESS
                };
                echo.respond(status, None).await?;
            }
            Request::Store(mut store) => {
                let offered = Offered {
                    origin: Origin::Association(record.id),
                    source: record.source.clone(),
                    proposal: &proposal,
                    context_class: store.abstract_syntax().clone(),
                    transfer_syntax: store.transfer_syntax().clone(),
                    command: store.command().clone(),
                    command_set: store.command_bytes().clone(),
                };
                let Taken { status, comment } =
                    take(shared, offered, record.take_pending(), &mut Fragments(&mut store)).await?;
                store.respond(status, comment.as_deref()).await?;
                stopping::at("after_answer");
            }
        }
    }
    Ok(())
}

/// A request's fragments as a source of data.
struct Fragments<'a, 'b>(&'a mut StoreRequest<'b>);

impl Data for Fragments<'_, '_> {
    type Error = AssociationError;

    async fn next(&mut self) -> Result<Option<Bytes>, AssociationError> {
        self.0.data().await
    }
}
