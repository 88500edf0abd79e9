//! Associations as they come in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use packhorse_association::driver::tls::TlsError;
use packhorse_association::{AcceptedAssociation, AssociationError, Connection, Request, StoreRequest, accept};
use packhorse_daemon::exit::chain;
use packhorse_ledger::Origin;
use packhorse_spool::stopping;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::hall::{Guest, HALL_MAX};
use super::record::{EdgeDecide, Record};
use super::take::{Data, Offered, Taken, take};
use crate::mirror::Known;
use crate::shared::Shared;

/// How often it is told that connections are dropped.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Accepts associations on one listener until the edge drains.
pub(crate) async fn serve(shared: Arc<Shared>, name: String, listener: TcpListener, tasks: TaskTracker) {
    let mut ousted = Ousted::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (guest, another_went) = shared.hall.enter(peer.ip());
                if another_went {
                    ousted.count(&name);
                }
                let (shared, name) = (Arc::clone(&shared), name.clone());
                tasks.spawn(async move { connection(shared, stream, &name, guest).await });
            }
            Err(error) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Connections that were dropped for newer ones, told now and then.
#[derive(Debug, Default)]
struct Ousted {
    untold: u64,
    told: Option<Instant>,
}

impl Ousted {
    fn count(&mut self, listener: &str) {
        self.untold += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            let dropped = std::mem::take(&mut self.untold);
            tracing::warn!(
                listener,
                dropped,
                "connections that ask for no association are dropped: {HALL_MAX} wait already"
            );
            self.told = Some(Instant::now());
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, listener: &str, guest: Guest) {
    let Ok(peer) = stream.peer_addr() else { return };
    let connection = match shared.config.listener_tls(listener) {
        None => Connection::from(stream),
        Some(tls) => {
            let shaken = tokio::select! {
                shaken = tls.accept(stream) => shaken,
                () = guest.ousted() => return,
            };
            match shaken {
                Ok(connection) => connection,
                Err(error) => return tell_no_tls(&error, peer, listener),
            }
        }
    };
    let decide = EdgeDecide {
        shared: &shared,
        guest: &guest,
        tls: connection.tls().cloned(),
        asked: AtomicBool::new(false),
        admitted: OnceLock::new(),
    };
    let accepted = tokio::select! {
        accepted = accept(connection, listener, &shared.config.acceptor, &decide) => accepted,
        () = guest.ousted() => return,
    };
    match accepted {
        Ok(association) => {
            let admitted = decide.admitted.get();
            let admitted = admitted.map(|admitted| (admitted.source.clone(), Arc::clone(&admitted.known)));
            let (source, known) = admitted.unwrap_or_default();
            Box::pin(serve_association(&shared, association, &source, &known)).await;
        }
        // Said already, with its reason.
        Err(AssociationError::Refused(_)) if decide.asked.load(Ordering::Relaxed) => {}
        Err(error @ (AssociationError::PeerSpeaksTls | AssociationError::Refused(_))) => {
            tracing::warn!(%peer, listener, error = chain(&error), "no association");
        }
        Err(error) => tracing::info!(%peer, error = chain(&error), "no association"),
    }
}

/// A port that is only knocked at is no news; everything else somebody has to put right.
fn tell_no_tls(error: &TlsError, peer: SocketAddr, listener: &str) {
    if *error == TlsError::Closed {
        tracing::debug!(%peer, listener, error = chain(error), "no TLS connection");
    } else {
        tracing::warn!(%peer, listener, error = chain(error), "no TLS connection");
    }
}

async fn serve_association(shared: &Arc<Shared>, mut association: AcceptedAssociation, source: &str, known: &Known) {
    let mut record = Record::open(shared, association.proposal(), source, known);
    if let Some(tls) = association.tls() {
        let certificate = tls.certificate().map(|certificate| certificate.fingerprint.to_string());
        tracing::info!(association = %record.id, peer = %association.proposal().peer, %tls, certificate, "association over TLS");
    }
    let ended = tokio::select! {
        ended = requests(shared, &mut association, &mut record) => ended,
        () = shared.stop.cancelled() => Err(AssociationError::Unanswered),
    };
    if let Err(error) = &ended {
        let peer = association.proposal().peer;
        tracing::info!(association = %record.id, %peer, error = chain(error), "association ended without release");
        if let Some(class) = association.refused_context_used() {
            record.refused_context_used(class);
        }
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
                let (status, comment) = crate::echo::answer(shared, &proposal).await;
                echo.respond(status, comment.as_deref()).await?;
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
                    told: Arc::clone(&record.told),
                };
                let Taken { status, comment } =
                    take(shared, offered, &mut record.journal, &mut Fragments(&mut store)).await?;
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

    fn is_whole(&self) -> bool {
        self.0.is_whole()
    }
}

#[cfg(test)]
mod tests;
