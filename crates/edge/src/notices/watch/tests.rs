use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

use packhorse_ids::DeliveryId;
use packhorse_ledger::Fact;
use packhorse_ledger::fact::{CustodyReceived, Failed, Held, Reopened};
use packhorse_ledger::view::NoticeView;
use packhorse_spool::{Index as _, RealDisk, Settlement};

use super::*;
use crate::shared::{Health, fact_bytes};
use crate::testing::{Edge, eventually, parcel, site, title};

const TIMES: &str = "[notices]\ngather = \"10ms\"\nlink_down = \"50ms\"\ndisk_low = \"1B\"\n\
                     [late]\nstat = \"100ms\"\nroutine = \"100ms\"\nbulk = \"100ms\"\n";

#[test]
fn what_is_so_stays_so_until_it_has_clearly_ended() {
    let at = WallTime::from_unix_micros;
    let mut since = Since::default();
    assert_eq!(since.so(false, true, at(1)), None);
    assert_eq!(since.so(true, false, at(2)), Some(at(2)));
    assert_eq!(since.so(false, false, at(3)), Some(at(2)));
    assert_eq!(since.so(true, false, at(4)), Some(at(2)));
    assert_eq!(since.so(false, true, at(5)), None);
    assert_eq!(since.so(true, false, at(6)), Some(at(6)));
}

async fn write(edge: &Edge, fact: &Fact) {
    let shared = &edge.shared;
    let facts = fact_bytes(fact).into_iter().collect();
    shared.spool.commit(shared.epoch, Vec::new(), facts).await.unwrap();
}

/// Notices of one kind, the oldest first.
async fn noticed(edge: &Edge, kind: &str) -> Vec<NoticeView> {
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let all = edge.shared.ledger(|projection| projection.notices(100)).await.unwrap();
    let mut all = all.unwrap();
    all.retain(|notice| notice.kind == kind);
    all.reverse();
    all
}

/// Looks until so many were noticed.
async fn look_until(edge: &Edge, kind: &str, many: usize) -> Vec<NoticeView> {
    let watching = tokio::spawn(keep(Arc::clone(&edge.shared)));
    eventually(kind, async || noticed(edge, kind).await.len() >= many).await;
    watching.abort();
    noticed(edge, kind).await
}

fn is_up(edge: &Edge) {
    edge.shared.link.send_replace(LinkStatus::Up {
        since: edge.shared.clock.now(),
        path: "QUIC".to_owned(),
        peer_build: "relay".to_owned(),
    });
}

#[tokio::test]
async fn what_is_late_is_told_once_with_where_it_hangs() {
    let edge = Edge::new("a", TIMES);
    let down = LinkStatus::Down {
        since: edge.shared.clock.now(),
        why: "no route to host".to_owned(),
        next_dial: Duration::ZERO,
    };
    edge.shared.link.send_replace(down);
    let deliveries: Vec<DeliveryId> = vec![edge.spool_outgoing("b").await, edge.spool_outgoing("b").await];
    let late = look_until(&edge, "late", 1).await;
    assert!(
        late[0]
            .what
            .contains("2 of study 1.2.3 for b/PACS, routine, are not delivered, the first since")
            && late[0]
                .what
                .contains("2 here, waiting for the link, which is down since")
            && late[0].what.contains("no route to host"),
        "{}",
        late[0].what
    );
    assert!(late[0].remedy.contains("bring the link up"), "{}", late[0].remedy);
    assert_eq!(
        (&late[0].fields["count"], &late[0].fields["waits_for_link"]),
        (&2.into(), &2.into())
    );
    // It is the same as long as one of them is late.
    write(&edge, &delivered(deliveries[0])).await;
    let mut more = noticed(&edge, "late").await.len();
    for _ in 0..3 {
        late::look(&edge.shared).await;
        more = more.max(noticed(&edge, "late").await.len());
    }
    assert_eq!(more, 1);
    // All are through; what comes then and hangs is another time.
    write(&edge, &delivered(deliveries[1])).await;
    let again = edge.spool_outgoing("b").await;
    let shared = &edge.shared;
    shared
        .spool
        .settle(
            shared.epoch,
            vec![(
                again,
                Settlement::Acked {
                    again: WallTime::from_unix_micros(i64::MAX),
                },
            )],
            Vec::new(),
        )
        .await
        .unwrap();
    is_up(&edge);
    let late = look_until(&edge, "late", 2).await;
    assert!(
        late[1].what.contains("1 at the relay, where b has not fetched them"),
        "{}",
        late[1].what
    );
    // The far site has it now.
    write(&edge, &delivered(again)).await;
    let far = edge.spool_outgoing("b").await;
    write(
        &edge,
        &Fact::CustodyReceived(CustodyReceived {
            delivery: far,
            by: site("b"),
            at: shared.clock.now(),
        }),
    )
    .await;
    let late = look_until(&edge, "late", 3).await;
    assert!(
        late[2].what.contains("1 at b, waiting for PACS there"),
        "{}",
        late[2].what
    );
    assert!(
        late[2].remedy.contains("at b, run `edge-gateway doctor`"),
        "{}",
        late[2].remedy
    );
}

fn delivered(delivery: DeliveryId) -> Fact {
    Fact::OutcomeKnown(packhorse_ledger::fact::OutcomeKnown {
        delivery,
        status: Some(0),
        reason: None,
        sha256: packhorse_ids::Digest::from_bytes([1; 32]),
        at: WallTime::from_unix_micros(1),
        converted: None,
    })
}

#[tokio::test]
async fn at_the_far_site_what_is_late_says_how_its_pacs_is() {
    let toml = format!(
        "[[destination]]\nae_title = \"PACS\"\naddress = \"h:1\"\ncalling_ae_title = \"U\"\naccept_from = [\"a\"]\n{TIMES}"
    );
    let edge = Edge::new("b", &toml);
    let (routing, body) = parcel(&site("a"), &site("b"), "PACS");
    edge.arrive((routing, body)).await;
    let why = "answered A700 (refused: out of resources): DOE^JOHN".to_owned();
    let now = edge.shared.clock.now();
    let health = Health::Down {
        since: now,
        why,
        next: now,
    };
    edge.shared.health.lock().unwrap().insert(title("PACS"), health);
    let late = look_until(&edge, "late", 1).await;
    let what = &late[0].what;
    assert!(what.contains("1 here, waiting for PACS, which is down since"), "{what}");
    assert!(
        what.contains("answered A700 (refused: out of resources)") && !what.contains("DOE"),
        "{what}"
    );
}

#[tokio::test]
async fn what_is_held_is_not_late_and_is_told_of_as_held() {
    let edge = Edge::new("b", TIMES);
    let (routing, body) = parcel(&site("a"), &site("b"), "PACS");
    edge.arrive((routing, body)).await;
    let held = look_until(&edge, "held", 1).await;
    assert!(
        held[0].what.contains("no consent: PACS does not accept from a"),
        "{}",
        held[0].what
    );
    assert_eq!(noticed(&edge, "late").await, []);
}

#[tokio::test]
async fn what_fails_is_told_once_for_a_study_and_reason_and_again_when_it_fails_again() {
    let edge = Edge::new("a", TIMES);
    is_up(&edge);
    let fail = |delivery, comment: &str| {
        Fact::Failed(Failed {
            delivery,
            reason: format!("answered A900 (error: data set does not match SOP class): {comment}"),
            at: edge.shared.clock.now(),
        })
    };
    let deliveries = [edge.spool_outgoing("b").await, edge.spool_outgoing("b").await];
    for (delivery, comment) in deliveries.iter().zip(["DOE^JOHN", "DOE^JANE"]) {
        write(&edge, &fail(*delivery, comment)).await;
    }
    let failed = look_until(&edge, "failed", 1).await;
    assert_eq!(failed.len(), 1);
    let what = &failed[0].what;
    assert!(
        what.starts_with("2 of study 1.2.3 for b/PACS failed: answered A900"),
        "{what}"
    );
    assert!(!what.contains("DOE"), "{what}");
    for delivery in deliveries {
        let (by, at) = ("retry".to_owned(), edge.shared.clock.now());
        write(&edge, &Fact::Reopened(Reopened { delivery, by, at })).await;
    }
    write(&edge, &fail(deliveries[0], "again")).await;
    let failed = look_until(&edge, "failed", 2).await;
    assert!(failed[1].what.starts_with("1 of study"), "{}", failed[1].what);
    let held = Held {
        delivery: deliveries[1],
        by: "rule 3".to_owned(),
        at: edge.shared.clock.now(),
    };
    write(&edge, &Fact::Held(held)).await;
    let held = look_until(&edge, "held", 1).await;
    assert!(held[0].what.contains("is held: held by rule 3"), "{}", held[0].what);
}

#[tokio::test]
async fn a_link_that_is_down_for_long_is_told_of_once_each_time() {
    let edge = Edge::new("a", TIMES);
    let mut link = Link::default();
    for _ in 0..2 {
        edge.shared.link.send_replace(LinkStatus::Connecting {
            since: edge.shared.clock.now(),
        });
        let seen = noticed(&edge, "link-down").await.len();
        link.look(&edge.shared).await;
        assert_eq!(noticed(&edge, "link-down").await.len(), seen, "not at once");
        eventually("a notice of the link", async || {
            link.look(&edge.shared).await;
            noticed(&edge, "link-down").await.len() > seen
        })
        .await;
        link.look(&edge.shared).await;
        is_up(&edge);
        link.look(&edge.shared).await;
    }
    let told = noticed(&edge, "link-down").await;
    assert_eq!(told.len(), 2);
    assert!(
        told[0].what.contains("the relay at relay.example:443 is down since"),
        "{}",
        told[0].what
    );
}

#[tokio::test]
async fn a_disk_without_room_above_the_reserve_is_told_of_once() {
    // Nobody has so much room.
    let edge = Edge::new("a", "[notices]\ndisk_low = \"1000000TiB\"\n");
    let mut disk = Disk::default();
    for _ in 0..3 {
        disk.look(&edge.shared).await;
    }
    let told = noticed(&edge, "disk-low").await;
    assert_eq!(told.len(), 1);
    assert!(
        told[0].what.starts_with("the disk of the spool is nearly full"),
        "{}",
        told[0].what
    );
}

/// A disk that has room for nothing new.
#[derive(Debug)]
struct FullDisk;

impl packhorse_spool::Disk for FullDisk {
    fn write(&self, file: &File, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        RealDisk.write(file, pieces, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        RealDisk.sync(file)
    }

    fn sync_folder(&self, folder: &File) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(0)
    }
}

#[tokio::test]
async fn a_disk_that_refuses_instances_still_takes_the_notice_that_says_so() {
    let edge = Edge::on_disk("a", "", Arc::new(FullDisk));
    assert!(!edge.shared.spool.takes());
    Disk::default().look(&edge.shared).await;
    let told = noticed(&edge, "disk-low").await;
    assert!(
        told.iter()
            .any(|notice| notice.what.contains("instances are refused (A700)")),
        "{told:?}"
    );
}
