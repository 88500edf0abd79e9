//! An edge without sockets, for unit tests.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packhorse_association::CStoreRq;
use packhorse_association::dimse::MoveOriginator;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{PresentationContextId, Proposal, ProposedContext};
use packhorse_dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use packhorse_envelope::{AssociatedData, Original, TrailerFields, Writer};
use packhorse_hop::Place as _;
use packhorse_identity::SigningKey;
use packhorse_ids::{Clock, DeliveryId, Kind, Priority, Routing, Sequence, SiteName, SystemClock};
use packhorse_ledger::fact::{Fact, InstanceReceived, ReceivedDetails};
use packhorse_ledger::{Identity, Origin, Projection, ReceiptBatch};
use packhorse_spool::{Body, Custody, Disk, Filter, Index as _, NewEntry, NewState, RealDisk, Spool, SpoolConfig};
use tempfile::TempDir;

use crate::config::Config;
use crate::directory::{Directory, Published, SiteEntry};
use crate::messages::{self, Message};
use crate::names::Names;
use crate::place::EdgePlace;
use crate::shared::{LINK_QUEUE, MESSAGES_QUEUE, Parts, Shared, draw, fact_bytes, queue};

/// What the edge of `site` shares, in a folder of its own.
pub(crate) struct Edge {
    pub(crate) shared: Arc<Shared>,
    pub(crate) folder: TempDir,
}

pub(crate) fn site(name: &str) -> SiteName {
    SiteName::try_from(name).unwrap()
}

pub(crate) fn title(text: &str) -> AeTitle {
    AeTitle::try_from(text).unwrap()
}

impl Edge {
    /// An edge with this `edge.toml`.
    pub(crate) fn new(name: &str, toml: &str) -> Self {
        Self::on_disk(name, toml, Arc::new(RealDisk))
    }

    pub(crate) fn on_disk(name: &str, toml: &str, disk: Arc<dyn Disk>) -> Self {
        Self::open(name, toml, disk, Names::of_system)
    }

    /// An edge for which every name has this address, once it is looked up.
    pub(crate) fn with_names(name: &str, toml: &str, address: IpAddr) -> Self {
        let looked_up = move |names| Names::new(names, move |_| Box::pin(async move { Ok(vec![address]) }));
        Self::open(name, toml, Arc::new(RealDisk), looked_up)
    }

    fn open(name: &str, toml: &str, disk: Arc<dyn Disk>, names: impl FnOnce(Vec<String>) -> Names) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(crate::config::FILE_NAME), toml).unwrap();
        let shared = open(name, folder.path(), disk, names);
        Self { shared, folder }
    }

    /// A delivery of ours to `to`, in the spool and in the facts.
    pub(crate) async fn spool_outgoing(&self, to: &str) -> DeliveryId {
        let shared = &*self.shared;
        let (routing, body) = envelope(&shared.site, &site(to), Kind::Delivery, b"abcd");
        let delivery = routing.delivery;
        let received = InstanceReceived {
            delivery,
            origin: Origin::Send,
            route: title("ROUTE"),
            to_site: site(to),
            to_ae_title: title("PACS"),
            source: "send".to_owned(),
            sop_class: SopClassUid::try_from("1.2.840.10008.5.1.4.1.1.2").unwrap(),
            sop_instance: SopInstanceUid::try_from(format!("1.2.{}", rand::random::<u32>()).as_str()).unwrap(),
            study: Some("1.2.3".to_owned()),
            series: None,
            modality: None,
            transfer_syntax: TransferSyntaxUid::try_from("1.2.840.10008.1.2").unwrap(),
            length: 4,
            sha256: packhorse_ids::Digest::from_bytes([1; 32]),
            declared: None,
            identity: Identity::default(),
            at: shared.clock.now(),
            repeat: false,
            replaces: None,
            held_by: None,
            details: ReceivedDetails::default(),
            priority: Some(Priority::Routine),
        };
        let entry = NewEntry {
            routing,
            queue: queue(LINK_QUEUE),
            body,
            custody: Custody::UntilReleased,
            state: NewState::Ready,
        };
        let facts = fact_bytes(&Fact::InstanceReceived(Box::new(received)))
            .into_iter()
            .collect();
        shared.spool.commit(shared.epoch, vec![entry], facts).await.unwrap();
        delivery
    }

    /// A delivery that arrives, as the hop commits it.
    pub(crate) async fn arrive(&self, (routing, body): (Routing, Body)) -> DeliveryId {
        let shared = &self.shared;
        let place = EdgePlace {
            shared: Arc::clone(shared),
        };
        let placed = place.place(&routing, &body, &*shared.store()).await.unwrap();
        let delivery = routing.delivery;
        let entry = NewEntry {
            routing,
            queue: placed.queue,
            body,
            custody: placed.custody,
            state: placed.state,
        };
        shared
            .spool
            .commit(shared.epoch, vec![entry], placed.facts)
            .await
            .unwrap();
        delivery
    }

    /// A message that has come from `from`.
    pub(crate) async fn spool_message(&self, from: &str, message: &Message) {
        let shared = &*self.shared;
        let bytes = message.to_bytes().unwrap();
        let (routing, body) = envelope(&site(from), &shared.site, Kind::Message, &bytes);
        let entry = NewEntry {
            routing,
            queue: queue(MESSAGES_QUEUE),
            body,
            custody: Custody::UntilAcked,
            state: NewState::Ready,
        };
        shared
            .spool
            .commit(shared.epoch, vec![entry], Vec::new())
            .await
            .unwrap();
    }

    /// Works on all messages that have come.
    pub(crate) async fn receive(&self) {
        let stop = self.shared.stop.clone();
        let working = tokio::spawn(messages::receive(Arc::clone(&self.shared)));
        let spool = Arc::clone(&self.shared.spool);
        eventually("an end of the messages", async || {
            spool
                .counts()
                .iter()
                .all(|count| count.queue.as_str() != MESSAGES_QUEUE)
        })
        .await;
        stop.cancel();
        working.await.unwrap();
    }

    /// The messages that wait for the link, with whom they are for.
    pub(crate) async fn sent(&self) -> Vec<(SiteName, Message)> {
        let filter = Filter {
            queue: Some(queue(LINK_QUEUE)),
            state: None,
        };
        let mut sent = Vec::new();
        for (_, entry) in self.shared.spool.page(0, filter, 1000).await.unwrap() {
            if entry.routing.kind == Kind::Message {
                let message = messages::read(&self.shared, &entry).await.unwrap();
                sent.push((entry.routing.destination.clone(), message));
            }
        }
        sent
    }
}

fn open(name: &str, folder: &Path, disk: Arc<dyn Disk>, names: impl FnOnce(Vec<String>) -> Names) -> Arc<Shared> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let spool_config = SpoolConfig {
        slab_len: 1 << 20,
        reserve: 1,
        disk,
        kept_for: Duration::from_secs(3600),
        ..SpoolConfig::default()
    };
    let (spool, epoch) = Spool::open(&folder.join("spool"), spool_config, Arc::clone(&clock)).unwrap();
    let config = Config::load(folder).unwrap();
    let names = Arc::new(names(config.host_names.clone()));
    Arc::new(Shared::new(Parts {
        site: site(name),
        folder: folder.into(),
        config,
        spool,
        epoch,
        clock,
        directory: Directory::open(folder).unwrap(),
        signing: SigningKey::open_or_create(folder).unwrap(),
        relay: vec!["relay.example:443".to_owned()],
        projection: Projection::open(&folder.join("ledger.sqlite")).unwrap(),
        names,
    }))
}

/// CT images in Implicit VR LE, proposed from this host.
pub(crate) fn proposal(calling: &str, called: &str) -> Proposal {
    Proposal::of_contexts(
        (IpAddr::V4(Ipv4Addr::LOCALHOST), "lan"),
        title(calling),
        title(called),
        vec![ProposedContext {
            id: PresentationContextId::nth(0).unwrap(),
            abstract_syntax: "1.2.840.10008.5.1.4.1.1.2".try_into().unwrap(),
            transfer_syntaxes: vec!["1.2.840.10008.1.2".try_into().unwrap()],
        }],
    )
}

/// A delivery for the PACS `to`.
pub(crate) fn parcel(source: &SiteName, destination: &SiteName, to: &str) -> (Routing, Body) {
    let uid = format!("1.2.{}", rand::random::<u32>());
    parcel_of(source, destination, to, &Sent::new(&uid))
}

/// What a source sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) uid: String,
    /// Patient ID.
    pub(crate) patient: String,
    /// Study Instance UID.
    pub(crate) study: String,
    /// Calling AE title.
    pub(crate) calling: String,
    /// SOP class.
    pub(crate) class: &'static str,
}

impl Sent {
    /// An instance of no patient.
    pub(crate) fn new(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            patient: String::new(),
            study: String::new(),
            calling: "SOURCE".to_owned(),
            class: "1.2.840.10008.5.1.4.1.1.2",
        }
    }

    pub(crate) fn of(uid: &str, patient: &str, study: &str) -> Self {
        Self {
            patient: patient.to_owned(),
            study: study.to_owned(),
            ..Self::new(uid)
        }
    }

    /// In Implicit VR LE.
    fn data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for (group, element, value) in [(0x10_u16, 0x20_u16, &self.patient), (0x20, 0x0d, &self.study)] {
            if value.is_empty() {
                continue;
            }
            let value = padded(value);
            data.extend_from_slice(&group.to_le_bytes());
            data.extend_from_slice(&element.to_le_bytes());
            data.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
            data.extend_from_slice(&value);
        }
        data
    }
}

fn padded(text: &str) -> Bytes {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    Bytes::from(bytes)
}

/// A delivery of `sent` for the PACS `to`.
pub(crate) fn parcel_of(source: &SiteName, destination: &SiteName, to: &str, sent: &Sent) -> (Routing, Body) {
    let command = CStoreRq {
        message_id: 1,
        affected_sop_class_uid: padded(sent.class),
        affected_sop_instance_uid: padded(&sent.uid),
        priority: 0,
        move_originator: Some(MoveOriginator {
            ae_title: Bytes::from_static(b"MOVER "),
            message_id: 3,
        }),
    };
    let fields = TrailerFields {
        command_set: command.to_bytes(),
        calling_ae_title: sent.calling.clone(),
        called_ae_title: "ROUTE".to_owned(),
        destination_ae_title: to.to_owned(),
        transfer_syntax: "1.2.840.10008.1.2".to_owned(),
    };
    sealed(source, destination, Kind::Delivery, fields, &sent.data())
}

/// An envelope around `original`, in memory.
pub(crate) fn envelope(source: &SiteName, destination: &SiteName, kind: Kind, original: &[u8]) -> (Routing, Body) {
    sealed(source, destination, kind, TrailerFields::default(), original)
}

fn sealed(
    source: &SiteName,
    destination: &SiteName,
    kind: Kind,
    fields: TrailerFields,
    original: &[u8],
) -> (Routing, Body) {
    let associated = AssociatedData {
        payload: draw::payload(),
        source: source.clone(),
        destination: destination.clone(),
        kind,
    };
    let (mut pieces, mut measured) = (Vec::new(), Original::default());
    measured.push(original);
    let mut writer = Writer::new(&associated, &mut pieces);
    writer.push(Bytes::copy_from_slice(original), &mut pieces);
    let sealed = writer.finish(measured, fields, &mut pieces);
    let routing = Routing {
        delivery: draw::delivery(),
        payload: associated.payload,
        source: source.clone(),
        destination: destination.clone(),
        kind,
        priority: Priority::Routine,
        sequence: Sequence(0),
        length: sealed.length,
        blake3: sealed.blake3,
    };
    (routing, Body::Inline(Bytes::from(pieces.concat())))
}

/// A site that speaks for itself: its signing key.
pub(crate) struct Far {
    site: SiteName,
    key: SigningKey,
    _folder: TempDir,
}

impl Far {
    pub(crate) fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            site: site(name),
            key: SigningKey::open_or_create(folder.path()).unwrap(),
            _folder: folder,
        }
    }

    pub(crate) fn announcement(&self) -> Message {
        Message::Announce {
            at: 1,
            signing_key: self.key.verifying_key().to_text(),
            destinations: vec![Published {
                ae_title: "PACS".to_owned(),
                accepts: true,
                calling_ae_title: None,
                whole_study: false,
                mirror: None,
            }],
        }
    }

    /// Its entry in a directory.
    pub(crate) fn entry(&self) -> SiteEntry {
        let Message::Announce {
            at,
            signing_key,
            destinations,
        } = self.announcement()
        else {
            unreachable!()
        };
        SiteEntry {
            announced_at: at,
            destinations,
            signing_key,
        }
    }

    pub(crate) fn receipts(&self, receipts: Vec<packhorse_ledger::Receipt>) -> Message {
        let fingerprint = self.key.verifying_key().fingerprint();
        let batch = ReceiptBatch::new(self.site.clone(), fingerprint, receipts);
        let signature = self.key.sign(&batch.signed_bytes().unwrap()).unwrap();
        Message::Receipts { batch, signature }
    }
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed().as_secs() < 60, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
