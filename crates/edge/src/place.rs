//! Where what the link brings belongs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_association::dimse::{self, Command};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::header::{Header, HeaderScan};
use packhorse_dicom::transfer_syntax::encoding_of;
use packhorse_dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use packhorse_envelope::{RangeReader as _, Reader, Trailer, read_block};
use packhorse_hop::{Place, Placement};
use packhorse_ids::{Kind, Routing, WallTime};
use packhorse_ledger::fact::{Arrived, Fact, Failed, Held};
use packhorse_ledger::identity::{Identity, printable};
use packhorse_spool::{Body, Custody, Entry, NewState, Store};
use packhorse_transport::Refusal;

use crate::messages::{EntryBytes, receipts};
use crate::shared::{MESSAGES_QUEUE, Shared, fact_bytes, queue, queue_to};

/// Refusal of a delivery for another site.
const REFUSE_NOT_OURS: u16 = 32;
/// Ids are remembered for 30 days; a source never offers one older than 20 days again.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// What waits here when its envelope names no destination of ours: somebody must look.
const STRAY_QUEUE: &str = "stray";

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

impl EdgePlace {
    async fn open(&self, routing: &Routing, body: &Body) -> Result<Opened, String> {
        let bytes = EntryBytes {
            spool: Arc::clone(&self.shared.spool),
            body: body.clone(),
        };
        let reader = Reader::open(bytes.clone(), routing.length)
            .await
            .map_err(|error| error.to_string())?;
        let trailer = reader.trailer().clone();
        let fields = &trailer.fields;
        let syntax = TransferSyntaxUid::try_from(fields.transfer_syntax.as_str()).map_err(|error| error.to_string())?;
        let destination = AeTitle::try_from(fields.destination_ae_title.as_str()).map_err(|error| error.to_string())?;
        let command = dimse::decode(fields.command_set.clone()).map_err(|error| error.to_string())?;
        let Command::StoreRq(command) = command else {
            return Err("its command is no C-STORE-RQ".to_owned());
        };
        let class = command.sop_class_uid().map_err(|error| error.to_string())?;
        let instance = command.sop_instance_uid().map_err(|error| error.to_string())?;
        let mut scan = HeaderScan::new(encoding_of(&syntax));
        for entry in &trailer.blocks {
            if scan.is_done() {
                break;
            }
            let block = bytes.read(entry.range()).await.map_err(|error| error.to_string())?;
            scan.push(&read_block(entry, block).map_err(|error| error.to_string())?);
        }
        Ok(Opened {
            header: scan.finish(),
            trailer,
            class,
            instance,
            syntax,
            destination,
        })
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

    async fn place(&self, routing: &Routing, body: &Body, _store: &dyn Store) -> Result<Placement, Refusal> {
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
            // It is in our custody all the same: nothing that was answered Success is thrown away.
            Err(why) => {
                tracing::error!(delivery = %routing.delivery, why, "an envelope cannot be opened; it is held");
                return Ok(Placement {
                    queue: queue(STRAY_QUEUE),
                    custody,
                    state: NewState::Held,
                    facts: Vec::new(),
                });
            }
        };
        let mut facts = vec![self.arrived(routing, &opened)];
        let consents = self.shared.destinations().into_iter().any(|destination| {
            destination.ae_title == opened.destination && destination.accept_from.contains(&routing.source)
        });
        let state = if consents {
            NewState::Ready
        } else {
            let by = format!(
                "no consent: {} does not accept from {}; edge-gateway accept {} --for {}",
                opened.destination, routing.source, routing.source, opened.destination
            );
            tracing::warn!(site = %routing.source, destination = %opened.destination, "a delivery without consent is held");
            facts.push(Fact::Held(Held {
                delivery: routing.delivery,
                by,
                at: self.shared.clock.now(),
            }));
            NewState::Held
        };
        let facts = facts.iter().filter_map(fact_bytes).collect();
        Ok(Placement {
            queue: queue_to(&opened.destination),
            custody,
            state,
            facts,
        })
    }

    fn remembers(&self) -> Duration {
        REMEMBERED
    }

    async fn repeated(&self, routing: &Routing) {
        if routing.kind == Kind::Delivery {
            receipts::again(&self.shared, &routing.source, routing.delivery).await;
        }
    }

    fn acked(&self, _entry: &Entry, _at: WallTime) -> Vec<Bytes> {
        Vec::new()
    }

    fn refused(&self, entry: &Entry, why: &Refusal) -> Vec<Bytes> {
        if entry.routing.kind == Kind::Message {
            return Vec::new();
        }
        let failed = Failed {
            delivery: entry.routing.delivery,
            reason: format!("refused on the way: {}", why.text),
            at: self.shared.clock.now(),
        };
        fact_bytes(&Fact::Failed(failed)).into_iter().collect()
    }
}
