//! Where what the link brings belongs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_association::dimse::{self, Command};
use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::header::{Header, HeaderScan};
use packhorse_dicom::transfer_syntax::encoding_of;
use packhorse_dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use packhorse_envelope::{RangeReader as _, ReadError, Reader, Trailer, read_block};
use packhorse_hop::{Place, Placement};
use packhorse_ids::{Kind, Routing, WallTime};
use packhorse_ledger::fact::{Arrived, ArrivedUnread, Fact, Failed, Held};
use packhorse_ledger::identity::{Identity, printable};
use packhorse_spool::{Body, Custody, Entry, NewState, Store, StoreError};
use packhorse_transport::{CustodianError, Refusal};

use crate::config::OnArrival;
use crate::consent;
use crate::hold::HeldBy;
use crate::messages::{EntryBytes, receipts};
use crate::shared::{MESSAGES_QUEUE, Shared, fact_bytes, queue, queue_to};

/// Refusal of a delivery for another site.
const REFUSE_NOT_OURS: u16 = 32;
/// The relay's refusal of what is for a site that has not joined it.
const REFUSED_UNKNOWN_SITE: u16 = 17;
/// Ids are remembered for 30 days. A source that has had no custody receipt for longer, and whose copy is offered all the
/// same, is delivered once more.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// What waits here has an envelope that this edge cannot open: somebody must look.
pub(crate) const STRAY_QUEUE: &str = "stray";
/// What to do about it.
pub(crate) const STRAY_HELP: &str = "update this edge if the sender's is newer, and have the instance sent again";

/// The edge's side of its link.
#[derive(Debug)]
pub(crate) struct EdgePlace {
    pub(crate) shared: Arc<Shared>,
}

/// What an arrived envelope says of itself.
struct Opened {
    trailer: Trailer,
    header: Header,
    class: SopClassUid,
    instance: SopInstanceUid,
    syntax: TransferSyntaxUid,
    destination: AeTitle,
}

/// Why an envelope was not opened.
#[derive(Debug, PartialEq, Eq)]
enum NotOpened {
    /// Its bytes cannot be read now.
    Unread(String),
    /// They are no envelope that this edge can open, and never will be.
    Never(String),
}

impl NotOpened {
    fn never(error: &dyn std::fmt::Display) -> Self {
        Self::Never(error.to_string())
    }
}

impl From<ReadError<StoreError>> for NotOpened {
    fn from(error: ReadError<StoreError>) -> Self {
        match error {
            ReadError::Read(_) => Self::Unread(chain(&error)),
            ReadError::Format(error) => Self::never(&error),
        }
    }
}

/// What the data set in an envelope says of itself, up to the last attribute that is looked for.
///
/// # Errors
/// [`ReadError`]: the spool's, or a block that is no block.
pub(crate) async fn read_header(
    bytes: &EntryBytes,
    trailer: &Trailer,
    syntax: &TransferSyntaxUid,
) -> Result<Header, ReadError<StoreError>> {
    let mut scan = HeaderScan::new(encoding_of(syntax));
    for entry in &trailer.blocks {
        if scan.has_passed_identity() {
            break;
        }
        let block = bytes.read(entry.range()).await.map_err(ReadError::Read)?;
        scan.push(&read_block(entry, block).map_err(ReadError::Format)?);
    }
    Ok(scan.finish())
}

impl EdgePlace {
    async fn open(&self, routing: &Routing, body: &Body) -> Result<Opened, NotOpened> {
        let bytes = EntryBytes {
            spool: Arc::clone(&self.shared.spool),
            body: body.clone(),
        };
        let reader = Reader::open(bytes.clone(), routing.length).await?;
        let trailer = reader.trailer().clone();
        let fields = &trailer.fields;
        let syntax =
            TransferSyntaxUid::try_from(fields.transfer_syntax.as_str()).map_err(|error| NotOpened::never(&error))?;
        let destination =
            AeTitle::try_from(fields.destination_ae_title.as_str()).map_err(|error| NotOpened::never(&error))?;
        let command = dimse::decode(fields.command_set.clone()).map_err(|error| NotOpened::never(&error))?;
        let Command::CStoreRq(command) = command else {
            return Err(NotOpened::Never("its command is no C-STORE-RQ".to_owned()));
        };
        let class = command.sop_class_uid().map_err(|error| NotOpened::never(&error))?;
        let instance = command.sop_instance_uid().map_err(|error| NotOpened::never(&error))?;
        let header = read_header(&bytes, &trailer, &syntax).await?;
        Ok(Opened {
            header,
            trailer,
            class,
            instance,
            syntax,
            destination,
        })
    }

    /// Where an envelope waits that cannot be opened. It is in our custody all the same, for the other hops have found its
    /// bytes to be those that were sealed: nothing that was answered Success is thrown away. The fact makes a custody
    /// receipt and a failed outcome of it.
    fn stray(&self, routing: &Routing, why: &str) -> Placement {
        tracing::error!(delivery = %routing.delivery, site = %routing.source, why, "an envelope cannot be opened; it is on the failed list");
        let arrived = Fact::ArrivedUnread(ArrivedUnread {
            delivery: routing.delivery,
            from_site: routing.source.clone(),
            length: routing.length,
            reason: format!("{why}: {} cannot open the envelope; {STRAY_HELP}", self.shared.site),
            at: self.shared.clock.now(),
        });
        Placement {
            queue: queue(STRAY_QUEUE),
            custody: Custody::UntilAcked,
            state: HeldBy::Stray.new_state(),
            facts: fact_bytes(&arrived).into_iter().collect(),
        }
    }

    /// The state that an arrival begins in, and who holds it, if somebody does.
    fn state_of(&self, routing: &Routing, title: &AeTitle) -> (NewState, Option<String>) {
        let (shared, site) = (&self.shared, &routing.source);
        let destinations = shared.destinations();
        if !consent::accepts(&destinations, title, site) {
            tracing::warn!(%site, destination = %title, "a delivery without consent is held");
            let by = consent::held_by(shared, title, site);
            return (HeldBy::Consent.new_state(), Some(by));
        }
        let mut known = destinations.iter().filter(|known| known.ae_title == *title);
        if known.any(|known| known.on_arrival == OnArrival::Hold) {
            let by = consent::held_on_arrival_by(shared, title);
            return (HeldBy::Arrival.new_state(), Some(by));
        }
        (NewState::Ready, None)
    }

    fn arrived(&self, routing: &Routing, opened: &Opened) -> Fact {
        let header = &opened.header;
        Fact::Arrived(Box::new(Arrived {
            delivery: routing.delivery,
            from_site: routing.source.clone(),
            to_ae_title: opened.destination.clone(),
            sop_class: opened.class.clone(),
            sop_instance: opened.instance.clone(),
            study: printable(header.study_instance_uid.as_deref()),
            series: printable(header.series_instance_uid.as_deref()),
            modality: printable(header.modality.as_deref()),
            transfer_syntax: opened.syntax.clone(),
            length: opened.trailer.original_length,
            sha256: opened.trailer.sha256,
            declared: header.number_of_study_related_instances,
            identity: Identity::from_header(header, self.shared.config.ledger_identity),
            at: self.shared.clock.now(),
            priority: Some(routing.priority),
        }))
    }
}

#[async_trait]
impl Place for EdgePlace {
    fn admit(&self, routing: &Routing) -> Result<(), Refusal> {
        if routing.destination == self.shared.site {
            return Ok(());
        }
        let text = format!("this is {}, not {}", self.shared.site, routing.destination);
        Err(Refusal {
            code: REFUSE_NOT_OURS,
            text,
        })
    }

    async fn place(&self, routing: &Routing, body: &Body, _store: &dyn Store) -> Result<Placement, CustodianError> {
        let custody = Custody::UntilAcked;
        if routing.kind == Kind::Message {
            return Ok(Placement {
                queue: queue(MESSAGES_QUEUE),
                custody,
                state: NewState::Ready,
                facts: Vec::new(),
            });
        }
        let opened = match self.open(routing, body).await {
            Ok(opened) => opened,
            Err(NotOpened::Unread(why)) => return Err(CustodianError::Later(why)),
            Err(NotOpened::Never(why)) => return Ok(self.stray(routing, &why)),
        };
        let mut facts = vec![self.arrived(routing, &opened)];
        let (state, held_by) = self.state_of(routing, &opened.destination);
        facts.extend(held_by.map(|by| {
            Fact::Held(Held {
                delivery: routing.delivery,
                by,
                at: self.shared.clock.now(),
            })
        }));
        let facts = facts.iter().filter_map(fact_bytes).collect();
        Ok(Placement {
            queue: queue_to(&opened.destination),
            custody,
            state,
            facts,
        })
    }

    fn placed(&self, routing: &Routing) {
        self.shared.arrivals.came(routing);
    }

    fn remembers(&self) -> Duration {
        REMEMBERED
    }

    async fn repeated(&self, routing: &Routing) {
        if routing.kind == Kind::Delivery {
            receipts::again(&self.shared, &routing.source, routing.delivery).await;
        }
    }

    fn is_only_a_stop(&self) -> bool {
        false
    }

    fn acked(&self, entry: &Entry, _at: WallTime) -> Vec<Bytes> {
        if entry.routing.kind == Kind::Message {
            self.shared.unknown_sites.forget(&entry.routing.destination);
            self.shared.asking.acked(entry.routing.delivery);
        }
        Vec::new()
    }

    fn refused(&self, entry: &Entry, why: &Refusal) -> Vec<Bytes> {
        if entry.routing.kind == Kind::Message {
            if why.code == REFUSED_UNKNOWN_SITE {
                self.shared
                    .unknown_sites
                    .remember(&entry.routing.destination, &why.text);
            }
            self.shared.asking.refused(entry.routing.delivery, &why.text);
            return Vec::new();
        }
        let failed = Failed {
            delivery: entry.routing.delivery,
            reason: why.text.clone(),
            at: self.shared.clock.now(),
        };
        fact_bytes(&Fact::Failed(failed)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
