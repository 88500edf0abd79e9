//! The check of one of our PACS: connect, associate with the calling title that deliveries use, C-ECHO.

use std::sync::Arc;
use std::time::Duration;

use packhorse_association::driver::tls::TlsError;
use packhorse_association::{AssociationError, Connection, RequestedAssociation, RequestorConfig};
use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, PresentationContextId, ProposedContext, Rejection};
use packhorse_dicom::sop_class::VERIFICATION;
use packhorse_dicom::status::Status;
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::report::{Leg, LegTime, PacsCheck, Stop, micros, millis};
use crate::config::Destination;
use crate::deliver::requestor_config;
use crate::pacs::CheckTurn;
use crate::shared::Shared;

/// How long a PACS may take to agree to the release behind a check.
const RELEASE: Duration = Duration::from_secs(1);

/// The check of one of our PACS. It is one for all who ask: `fresh` for a person, who will have an older one only if it is a
/// few seconds old.
pub(crate) async fn of_our_pacs(shared: &Arc<Shared>, title: &AeTitle, fresh: bool) -> PacsCheck {
    let destinations = shared.destinations();
    let known = destinations.into_iter().find(|known| known.ae_title == *title);
    let (Some(destination), Some(pacs)) = (known, shared.pacs.get(title)) else {
        return stopped_at_once(title, None, "there is no such [[destination]]", "add it to edge.toml");
    };
    let times = &shared.config.echo;
    if let Some(answered) = pacs.delivering() {
        return delivering(&destination, answered);
    }
    let age_max = if fresh { times.fresh } else { times.pace };
    // The asker's own time is for the way here and back too.
    let within = times.answer * 4 / 5;
    let (kept, turn, called) = (Arc::clone(shared), Arc::clone(pacs), destination.clone());
    let check = move || async move {
        let deadline = Instant::now() + within;
        match timeout_at(deadline, turn.check_turn()).await {
            Ok(CheckTurn::Alone(_turn)) => (check(&kept, &called, deadline).await, Duration::ZERO),
            Ok(CheckTurn::Delivering(answered)) => (delivering(&called, answered), answered),
            Err(_) => {
                let why = "it is being called already, and has not answered yet";
                let stopped = stopped_at_once(&called.ae_title, Some(&called), why, "see `status` there");
                (stopped, Duration::ZERO)
            }
        }
    };
    match pacs.check.get(age_max, times.answer, check).await {
        Some((found, age)) => PacsCheck {
            age_ms: millis(age),
            ..found
        },
        None => {
            let why = format!("the check did not end within {:?}", times.answer);
            stopped_at_once(title, Some(&destination), &why, "see `status` there")
        }
    }
}

fn begin(destination: &Destination) -> PacsCheck {
    PacsCheck {
        called_ae_title: destination.ae_title.to_string(),
        calling_ae_title: destination.calling_ae_title.to_string(),
        legs: Vec::new(),
        stopped: None,
        age_ms: 0,
        delivering_ms: None,
    }
}

/// Nothing is asked: the PACS has accepted the association of a delivery, and was so well when it answered that last.
fn delivering(destination: &Destination, answered: Duration) -> PacsCheck {
    PacsCheck {
        age_ms: millis(answered),
        delivering_ms: Some(millis(answered)),
        ..begin(destination)
    }
}

fn stopped_at_once(title: &AeTitle, destination: Option<&Destination>, why: &str, remedy: &str) -> PacsCheck {
    let stop = Stop {
        leg: Leg::Connect,
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    };
    PacsCheck {
        called_ae_title: title.to_string(),
        calling_ae_title: destination.map_or_else(String::new, |known| known.calling_ae_title.to_string()),
        legs: Vec::new(),
        stopped: Some(stop),
        age_ms: 0,
        delivering_ms: None,
    }
}

async fn check(shared: &Shared, destination: &Destination, deadline: Instant) -> PacsCheck {
    let calling = destination.calling_ae_title_for(&shared.site, None);
    let mut check = begin(destination);
    check.calling_ae_title = calling.to_string();
    let mut walk = Walk {
        destination,
        config: requestor_config(shared, destination, calling),
        deadline,
        legs: &mut check.legs,
    };
    check.stopped = walk.walk().await.err();
    match &check.stopped {
        None => tracing::debug!(destination = %destination.ae_title, "C-ECHO answered"),
        Some(stop) => {
            let (leg, why) = (stop.leg.words(), &stop.why);
            tracing::warn!(destination = %destination.ae_title, leg, why, "a check of a PACS failed");
        }
    }
    check
}

struct Walk<'a> {
    destination: &'a Destination,
    config: RequestorConfig,
    deadline: Instant,
    legs: &'a mut Vec<LegTime>,
}

impl Walk<'_> {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn passed(&mut self, leg: Leg, begun: Instant, said: String) {
        let micros = micros(begun.elapsed());
        self.legs.push(LegTime { leg, micros, said });
    }

    fn stop(leg: Leg, why: String, remedy: String) -> Stop {
        Stop { leg, why, remedy }
    }

    async fn walk(&mut self) -> Result<(), Stop> {
        let connection = self.connect().await?;
        let mut association = self.associate(connection).await?;
        let begun = Instant::now();
        let echoed = timeout_at(self.deadline, association.echo()).await;
        let result = self.echoed(echoed.ok(), begun);
        // Whatever it answered, it is left in order. What does not end in time is closed.
        drop(timeout(RELEASE, association.release()).await);
        result
    }

    async fn connect(&mut self) -> Result<Connection, Stop> {
        let (begun, address) = (Instant::now(), self.destination.address.clone());
        let host = format!(
            "is the PACS running, and is {address} its address? The firewall between it and the gateway must let us connect"
        );
        let socket = match timeout_at(self.deadline, TcpStream::connect(&address)).await {
            Ok(Ok(socket)) => socket,
            // The system's kind says it shorter: a sender shows little of an Error Comment. A name that is not found has none.
            Ok(Err(error)) => {
                let said = error.raw_os_error().map(|_| error.kind().to_string());
                let why = format!("{} ({address})", said.unwrap_or_else(|| error.to_string()));
                return Err(Self::stop(Leg::Connect, why, host));
            }
            Err(_) => {
                let why = format!("no connection in time ({address})");
                return Err(Self::stop(Leg::Connect, why, host));
            }
        };
        self.passed(Leg::Connect, begun, address.clone());
        let Some(tls) = &self.destination.tls else {
            return Ok(socket.into());
        };
        let begun = Instant::now();
        let stop = |error: Option<TlsError>| {
            let why = error.map_or_else(|| "no handshake in time".to_owned(), |error| chain(&error));
            let remedy = format!("there: edge-gateway doctor tls {address}");
            Self::stop(Leg::Tls, why, remedy)
        };
        let secured = timeout_at(self.deadline, tls.secure(socket, &address)).await;
        let connection = secured.map_err(|_| stop(None))?.map_err(|error| stop(Some(error)))?;
        let said = connection.tls().map(ToString::to_string).unwrap_or_default();
        self.passed(Leg::Tls, begun, said);
        Ok(connection)
    }

    async fn associate(&mut self, connection: Connection) -> Result<RequestedAssociation, Stop> {
        let begun = Instant::now();
        // Aborted in order before our time is over.
        self.config.artim = self.left() * 7 / 8;
        let calling = self.config.calling.clone();
        let requested = RequestedAssociation::request_over(connection, &self.config, vec![verification()]);
        let Ok(requested) = timeout_at(self.deadline, requested).await else {
            let why = format!("called as {calling}: no answer to the A-ASSOCIATE-RQ in time");
            return Err(Self::stop(Leg::Associate, why, self.silent()));
        };
        match requested {
            Ok(association) => {
                let peer = association.peer().implementation_version_name.as_deref();
                let peer = peer.map_or_else(String::new, |name| format!(" by {name}"));
                let answer = association.contexts().first().map(|context| &context.answer);
                let said = match answer {
                    Some(ContextAnswer::Rejected(result)) => {
                        format!("as {calling}: accepted{peer}, Verification {result}")
                    }
                    Some(ContextAnswer::Accepted(_)) | None => format!("as {calling}: accepted{peer}"),
                };
                self.passed(Leg::Associate, begun, said);
                Ok(association)
            }
            Err(error) => {
                let why = format!("called as {calling}: {}", chain(&error));
                Err(Self::stop(Leg::Associate, why, self.remedy(&error)))
            }
        }
    }

    fn silent(&self) -> String {
        let calling = &self.config.calling;
        format!("something listens there and does not answer as a PACS: look at its log for {calling}")
    }

    /// What to do when no association came about.
    fn remedy(&self, error: &AssociationError) -> String {
        let (called, calling) = (&self.config.called, &self.config.calling);
        match error {
            AssociationError::Rejected { rejection, .. }
                if *rejection == Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED =>
            {
                format!(
                    "at {called}, let the AE title {calling} in from this gateway's address; or correct calling_ae_title"
                )
            }
            AssociationError::Rejected { rejection, .. } if *rejection == Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED => {
                format!("the PACS does not call itself {called}: correct ae_title of the [[destination]]")
            }
            AssociationError::Rejected { rejection, .. } if rejection.is_transient() => {
                "it takes no association now: raise its limit of associations, or try again".to_owned()
            }
            AssociationError::TimedOut { .. } | AssociationError::Lost | AssociationError::Io(_) => self.silent(),
            _ => format!("look at the log of {called} for {calling}"),
        }
    }

    fn echoed(&mut self, echoed: Option<Result<Status, AssociationError>>, begun: Instant) -> Result<(), Stop> {
        let called = &self.config.called;
        let log = format!("look at the log of {called}: it takes the association and not the C-ECHO");
        match echoed {
            Some(Ok(status)) if status == Status::SUCCESS => {
                self.passed(Leg::Echo, begun, status.to_string());
                Ok(())
            }
            Some(Ok(status)) => Err(Self::stop(Leg::Echo, format!("answered {status}"), log)),
            Some(Err(error)) => Err(Self::stop(Leg::Echo, chain(&error), log)),
            None => Err(Self::stop(Leg::Echo, "no answer in time".to_owned(), log)),
        }
    }
}

/// Verification, as deliveries propose it.
fn verification() -> ProposedContext {
    ProposedContext {
        id: PresentationContextId::nth(0).expect("there are 128"),
        abstract_syntax: AbstractSyntaxUid::try_from(VERIFICATION).expect("a UID of the standard"),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from(IMPLICIT_VR_LE).expect("a UID of the standard")],
    }
}
