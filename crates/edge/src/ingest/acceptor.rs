//! Associations as they come in.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use packhorse_association::{AcceptedAssociation, AssociationError, Request, StoreRequest, accept};
use packhorse_daemon::exit::chain;
use packhorse_dicom::status::Status;
use packhorse_ledger::Origin;
use packhorse_spool::stopping;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::record::{EdgeDecide, Record};
use super::take::{Data, Offered, Taken, take};
use crate::shared::{Place, Shared};

/// How often it is told that connections are dropped.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Accepts associations on one listener until the edge drains.
pub(crate) async fn serve(shared: Arc<Shared>, name: String, listener: TcpListener, tasks: TaskTracker) {
    let mut dropped = Dropped::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => match Seat::take(&shared, peer.ip()) {
                Some(seat) => {
                    let (shared, name) = (Arc::clone(&shared), name.clone());
                    tasks.spawn(async move { Box::pin(connection(shared, stream, &name, seat)).await });
                }
                None => dropped.count(peer, &name),
            },
            Err(error) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What a connection takes up while it lasts. So sockets are bounded: by the limits of associations, and by the room for
/// those that are rejected.
#[derive(Debug)]
enum Seat {
    /// It may become an association.
    Place { _counted: Place },
    /// It is told that there is no place.
    Rejected { _permit: OwnedSemaphorePermit },
}

impl Seat {
    /// `None`: even telling it would take a socket too many.
    fn take(shared: &Arc<Shared>, peer: IpAddr) -> Option<Self> {
        if let Some(counted) = shared.count_in(peer) {
            return Some(Self::Place { _counted: counted });
        }
        let permit = Arc::clone(&shared.waiting_room).try_acquire_owned().ok()?;
        Some(Self::Rejected { _permit: permit })
    }
}

/// Connections that were dropped unanswered, told now and then.
#[derive(Debug, Default)]
struct Dropped {
    untold: u64,
    told: Option<Instant>,
}

impl Dropped {
    fn count(&mut self, peer: SocketAddr, listener: &str) {
        self.untold += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            let dropped = std::mem::take(&mut self.untold);
            tracing::warn!(%peer, listener, dropped, "connections are dropped: far more than limits.associations in edge.toml");
            self.told = Some(Instant::now());
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, listener: &str, seat: Seat) {
    let Ok(peer) = stream.peer_addr() else { return };
    let decide = EdgeDecide {
        shared: &shared,
        has_place: matches!(seat, Seat::Place { .. }),
        admission: OnceLock::new(),
    };
    match accept(stream, listener, &shared.config.acceptor, &decide).await {
        Ok(association) => {
            let source = decide.admission.get().map(|admission| admission.source.to_string());
            serve_association(&shared, association, &source.unwrap_or_default()).await;
        }
        // Said already, with its reason.
        Err(AssociationError::Refused(_)) => {}
        Err(error) => tracing::info!(%peer, error = chain(&error), "no association"),
    }
    drop(seat);
}

async fn serve_association(shared: &Arc<Shared>, mut association: AcceptedAssociation, source: &str) {
    let mut record = Record::open(shared, association.proposal(), source);
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
                let status = if shared.spool.takes() {
                    Status::SUCCESS
                } else {
                    Status::PROCESSING_FAILURE
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
                    take(shared, offered, &mut record.pending, &mut Fragments(&mut store)).await?;
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

#[cfg(test)]
mod tests;
