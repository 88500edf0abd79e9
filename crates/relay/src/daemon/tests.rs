//! Real relays in this process, with links of their own making.

use packhorse_hop::Hop;
use packhorse_identity::{Joining, SiteIdentity};
use packhorse_ids::{DeliveryId, Digest, Kind, PayloadId, Priority, Routing, Sequence};
use packhorse_spool::{Body, Custody, NewEntry, NewState, Settlement};
use packhorse_transport::LinkEnd;
use tempfile::TempDir;

use super::*;
use crate::commands::{failed_lines, init, site_line};

/// A relay that is bound to a free port and serves what a test lets it.
struct Bound {
    relay: Relay,
    client: Endpoint,
    _folder: TempDir,
}

impl Bound {
    async fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("relay");
        init(&folder, "127.0.0.1").unwrap();
        let configuration = "name = \"127.0.0.1\"\nquic = \"127.0.0.1:0\"\n";
        std::fs::write(folder.join(crate::config::FILE_NAME), configuration).unwrap();
        let client = Endpoint::client(([127, 0, 0, 1], 0).into(), TransportConfig::new("test")).unwrap();
        Self {
            relay: Relay::build(&folder).await.unwrap(),
            client,
            _folder: outer,
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.relay.shared
    }

    /// Joins as an edge does.
    async fn join(&self, name: &str, folder: &Path) -> SiteIdentity {
        let shared = self.shared();
        let expires = shared.clock.now().saturating_add(Duration::from_secs(60));
        let registry = &**shared.directory.registry();
        let made = invite(registry, &shared.authority, "127.0.0.1", 1, site(name), expires);
        let token = made.await.unwrap()["token"].as_str().unwrap().parse().unwrap();
        let joining = Joining::begin(token, folder, shared.clock.now()).unwrap();
        let tls = joining.client_config(&[ALPN_ENROLL]).unwrap();
        let request = |exporter: &[u8; 32]| joining.request(exporter, shared.clock.now());
        let (asked, ()) = tokio::join!(self.client.ask(shared.address, "127.0.0.1", tls, request), async {
            if let Some(Incoming::Exchange(exchange)) = shared.endpoint.accept().await {
                shared.enrolment.answer(exchange).await;
            }
        });
        joining.complete(&asked.unwrap()).unwrap()
    }

    async fn dial(&self, identity: &SiteIdentity) -> Connection {
        let tls = identity.client_config(&[ALPN_LINK]).unwrap();
        let dialled = self.client.connect(self.shared().address, "127.0.0.1", tls);
        dialled.await.unwrap()
    }
}

fn site(name: &str) -> SiteName {
    SiteName::try_from(name).unwrap()
}

fn waiting(id: u8, destination: &SiteName) -> NewEntry {
    let bytes = [id; 10];
    NewEntry {
        routing: Routing {
            delivery: DeliveryId::from_bytes([id; 16]),
            payload: PayloadId::from_bytes([id; 16]),
            source: site("clinic-a"),
            destination: destination.clone(),
            kind: Kind::Delivery,
            priority: Priority::Routine,
            sequence: Sequence(0),
            length: 10,
            blake3: Digest::from_bytes([0; 32]),
        },
        queue: queue_of(destination),
        body: Body::Inline(bytes.to_vec().into()),
        custody: Custody::UntilAcked,
        state: NewState::Ready,
    }
}

/// What an edge would run a link with.
fn hop(bound: &Bound) -> Arc<Hop> {
    bound.shared().sites.hop(&site("nobody"))
}

#[tokio::test]
async fn a_revocation_between_the_handshake_and_the_link_closes_the_link() {
    let (bound, folder) = (Bound::new().await, tempfile::tempdir().unwrap());
    let identity = bound.join("clinic-a", folder.path()).await;
    let (ours, accepted) = tokio::join!(bound.dial(&identity), bound.shared().endpoint.accept());
    let Some(Incoming::Link(theirs)) = accepted else {
        panic!("no link came")
    };
    bound.shared().revoke(identity.site()).await.unwrap();
    assert_eq!(bound.shared().sites.up(identity.site(), theirs.handle()), None);
    assert!(matches!(
        bound.shared().sites.state(identity.site()),
        LinkState::Down { .. }
    ));
    let end = ours.run(hop(&bound), CancellationToken::new()).await;
    let LinkEnd::ClosedByPeer { code, sentence } = end else {
        panic!("{end}")
    };
    assert_eq!((code, sentence.as_str()), (CLOSE_NOT_A_SITE.into(), NOT_A_SITE));
}

#[tokio::test]
async fn links_say_their_last_before_the_socket_closes() {
    let (bound, folder) = (Bound::new().await, tempfile::tempdir().unwrap());
    let identity = bound.join("clinic-a", folder.path()).await;
    let connection = bound.dial(&identity).await;
    let (handle, hop) = (connection.handle(), hop(&bound));
    let link = tokio::spawn(connection.run(hop, CancellationToken::new()));
    let running = bound.relay.spawn();
    assert!(handle.established().await.is_some());
    assert!(running.finish().await);
    // The session's own words, behind its last acknowledgements; not those of a socket that closes over them.
    let end = link.await.unwrap();
    let LinkEnd::ClosedByPeer { sentence, .. } = end else {
        panic!("{end}")
    };
    assert_eq!(sentence, "the other side stops");
}

#[tokio::test]
async fn status_keeps_what_waits_apart_from_what_was_given_up() {
    let (bound, folder) = (Bound::new().await, tempfile::tempdir().unwrap());
    let identity = bound.join("st-mary", folder.path()).await;
    let shared = bound.shared();
    let (st_mary, epoch) = (identity.site(), shared.sites.epoch());
    let entries = vec![waiting(1, st_mary), waiting(2, st_mary), waiting(3, st_mary)];
    shared.spool.commit(epoch, entries, Vec::new()).await.unwrap();
    let note = "no such destination here".to_owned();
    let given_up = (DeliveryId::from_bytes([2; 16]), Settlement::Failed { note });
    shared.spool.settle(epoch, vec![given_up], Vec::new()).await.unwrap();
    let status = shared.status().await.unwrap();
    let status = &status["sites"][0];
    assert_eq!((&status["waiting"], &status["waiting_bytes"]), (&json!(2), &json!(20)));
    assert_eq!((&status["failed"], &status["failed_bytes"]), (&json!(1), &json!(10)));
    let line = site_line(status);
    assert!(
        line.ends_with("2 waiting for it, 1 given up: no such destination here"),
        "{line}"
    );
}

#[tokio::test]
async fn what_was_given_up_is_listed_offered_again_or_dropped() {
    let (bound, folder) = (Bound::new().await, tempfile::tempdir().unwrap());
    let identity = bound.join("st-mary", folder.path()).await;
    let shared = bound.shared();
    let (st_mary, epoch) = (identity.site(), shared.sites.epoch());
    let entries = (1..=5).map(|id| waiting(id, st_mary)).collect();
    shared.spool.commit(epoch, entries, Vec::new()).await.unwrap();
    let id = |id: u8| DeliveryId::from_bytes([id; 16]);
    let note = || "this is st-mary, not x".to_owned();
    let given_up = (2..=5)
        .map(|number| (id(number), Settlement::Failed { note: note() }))
        .collect();
    shared.spool.settle(epoch, given_up, Vec::new()).await.unwrap();
    let ask = async |command: &str, args: Value| {
        let done = match command {
            "failed" => custody::failed(&shared.spool).await,
            "retry" => custody::retry(&shared.spool, epoch, &args).await,
            _ => custody::discard(&shared.spool, epoch, &args).await,
        };
        done.unwrap()
    };
    let listed = ask("failed", Value::Null).await;
    let first = &listed["failed"][0];
    assert_eq!(
        (&listed["count"], &first["delivery"]),
        (&json!(4), &json!(id(2).to_string()))
    );
    assert_eq!(
        (&first["from"], &first["to"], &first["bytes"]),
        (&json!("clinic-a"), &json!("st-mary"), &json!(10))
    );
    let lines = failed_lines(&listed);
    assert!(
        lines.contains("from clinic-a to st-mary, 10 bytes") && lines.contains("not x"),
        "{lines}"
    );
    let dropped = ask(
        "discard",
        json!({ "deliveries": [id(2).to_string(), id(1).to_string(), id(9).to_string()] }),
    )
    .await;
    assert_eq!(dropped["done"], 1);
    let why = |row: usize| dropped["not"][row]["why"].as_str().unwrap().to_owned();
    assert!(
        why(0).starts_with("it was not given up") && why(1).starts_with("it is not here"),
        "{dropped}"
    );
    assert_eq!(shared.spool.entry(id(2)).await.unwrap(), None);
    assert_eq!(
        ask("retry", json!({ "deliveries": [id(3).to_string()] })).await["done"],
        1
    );
    assert_eq!(ask("retry", json!({ "site": "clinic-a" })).await["done"], 0);
    assert_eq!(ask("retry", json!({ "site": "st-mary" })).await["done"], 2);
    let state = shared.spool.entry(id(4)).await.unwrap().unwrap().state;
    assert_eq!(
        (state, ask("failed", Value::Null).await["count"].clone()),
        (EntryState::Ready, json!(0))
    );
    assert_eq!(failed_lines(&ask("failed", Value::Null).await), "nothing was given up");
}

#[tokio::test]
async fn a_delivery_to_a_site_that_is_not_here_says_what_to_do() {
    let (bound, folder) = (Bound::new().await, tempfile::tempdir().unwrap());
    let identity = bound.join("clinic-a", folder.path()).await;
    let (shared, unknown) = (bound.shared(), waiting(1, &site("st-marry")).routing);
    let custodian: Arc<dyn packhorse_transport::Custodian> = shared.sites.hop(identity.site());
    let said = format!("{:?}", custodian.offered(&unknown).await);
    for words in ["no site st-marry has joined the relay", "`relay invite st-marry`"] {
        assert!(said.contains(words), "{said}");
    }
    // An edge drops what is longer than 256 bytes.
    let longest = site(&"x".repeat(SiteName::LEN_MAX));
    let said = format!("{:?}", custodian.offered(&waiting(2, &longest).routing).await);
    assert!(said.contains("then retry\""), "{said}");
    assert!(said.len() < 300, "{said}");
}
