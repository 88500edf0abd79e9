use std::sync::Arc;

use clap::Parser as _;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_hop::{Place as _, Placement};
use packhorse_ids::SiteName;
use packhorse_ledger::{Receipt, State};
use packhorse_spool::{EntryState, Index as _, NewEntry};

use super::*;
use crate::config::Config;
use crate::messages::Message;
use crate::messages::receipts::Receipts;
use crate::place::EdgePlace;
use crate::testing::{Edge, parcel, site, title};

const B: &str = "[[destination]]\nae_title = \"PACS_B\"\naddress = \"h:1\"\ncalling_ae_title = \"US\"\n\
                 [[destination]]\nae_title = \"PACS_C\"\naddress = \"h:2\"\ncalling_ae_title = \"US\"\n";

/// A delivery that arrives, as the hop commits it.
async fn arrive(edge: &Edge, from: &str, to: &str) -> DeliveryId {
    let shared = &edge.shared;
    let (routing, body) = parcel(&site(from), &shared.site, to);
    let place = EdgePlace {
        shared: Arc::clone(shared),
    };
    let placed = place.place(&routing, &body, &*shared.store()).await.unwrap();
    let Placement {
        queue,
        custody,
        state,
        facts,
    } = placed;
    let delivery = routing.delivery;
    let entry = NewEntry {
        routing,
        queue,
        body,
        custody,
        state,
    };
    shared.spool.commit(shared.epoch, vec![entry], facts).await.unwrap();
    delivery
}

async fn state(edge: &Edge, delivery: DeliveryId) -> EntryState {
    edge.shared.spool.entry(delivery).await.unwrap().unwrap().state
}

#[tokio::test]
async fn consent_releases_what_that_site_has_sent_to_that_destination_and_nothing_else() {
    let edge = Edge::new("b", B);
    let delivery = arrive(&edge, "clinic-a", "PACS_B").await;
    let other_site = arrive(&edge, "clinic-x", "PACS_B").await;
    let other_destination = arrive(&edge, "clinic-a", "PACS_C").await;
    let given = give(&edge.shared, &site("clinic-a"), &title("PACS_B")).await;
    assert_eq!(given, Ok((true, 1)));
    assert_eq!(state(&edge, delivery).await, EntryState::Ready);
    assert_eq!(state(&edge, other_site).await, EntryState::Held);
    assert_eq!(state(&edge, other_destination).await, EntryState::Held);
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let view = edge
        .shared
        .ledger(move |projection| projection.delivery(delivery))
        .await;
    assert_eq!(view.unwrap().unwrap().unwrap().state, State::InFlight);
}

/// A person has discarded one, and works on another, since they were listed.
#[tokio::test]
async fn only_what_is_still_held_for_lack_of_consent_is_released() {
    let edge = Edge::new("b", B);
    let (spool, epoch) = (&edge.shared.spool, edge.shared.epoch);
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        deliveries.push(arrive(&edge, "clinic-a", "PACS_B").await);
    }
    let settlements = vec![
        (deliveries[0], packhorse_spool::Settlement::Discarded),
        (deliveries[1], HeldBy::Operator("root".to_owned()).settlement()),
    ];
    spool.settle(epoch, settlements, Vec::new()).await.unwrap();
    let leased = spool.lease(epoch, vec![deliveries[2]], LEASE).await.unwrap();
    assert_eq!(leased.len(), 1);
    let held = still_held(&edge.shared, deliveries.clone()).await.unwrap();
    let held: Vec<_> = held.iter().map(|entry| entry.routing.delivery).collect();
    assert_eq!(held, [deliveries[3]]);
    // What is not released is given back.
    let leased = spool.lease(epoch, vec![deliveries[1]], LEASE).await.unwrap();
    assert_eq!(leased.len(), 1);
}

#[tokio::test]
async fn the_sending_site_is_told_that_its_delivery_is_held_and_that_it_goes_on() {
    let edge = Edge::new("b", B);
    arrive(&edge, "clinic-a", "PACS_B").await;
    give(&edge.shared, &site("clinic-a"), &title("PACS_B")).await.unwrap();
    let mut receipts = Receipts::default();
    receipts.keep_up(&edge.shared).await.unwrap();
    receipts.send(&edge.shared).await.unwrap();
    let sent = edge.sent().await;
    let [(to, Message::Receipts { batch, .. })] = sent.as_slice() else {
        panic!("one batch of receipts: {sent:?}")
    };
    assert_eq!(*to, site("clinic-a"));
    let [Receipt::Custody(_), Receipt::Held(held), Receipt::Resumed(_)] = batch.receipts.as_slice() else {
        panic!("custody, held, resumed: {batch:?}")
    };
    assert!(
        held.reason
            .starts_with("no consent: PACS_B does not accept from clinic-a"),
        "{}",
        held.reason
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sites_accepted_at_the_same_time_are_all_accepted() {
    let edge = Edge::new("b", B);
    let names: Vec<_> = (0..16).map(|number| site(&format!("clinic-{number}"))).collect();
    let tasks: Vec<_> = names
        .iter()
        .cloned()
        .map(|name| {
            let shared = Arc::clone(&edge.shared);
            tokio::spawn(async move { give(&shared, &name, &title("PACS_B")).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok((true, 0)));
    }
    let mut accepted = Config::load(edge.folder.path())
        .unwrap()
        .destinations
        .remove(0)
        .accept_from;
    accepted.sort();
    let mut expected = names;
    expected.sort();
    assert_eq!(accepted, expected);
    assert_eq!(edge.shared.destinations()[0].accept_from.len(), 16);
}

#[test]
fn consent_is_written_with_all_comments_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    std::fs::write(
        &path,
        "# ours\n[[destination]]\nae_title = \"P\" # the PACS\naddress = \"h:1\"\ncalling_ae_title = \"U\"\n",
    )
    .unwrap();
    let (site, title) = (SiteName::try_from("clinic-a").unwrap(), AeTitle::try_from("P").unwrap());
    assert_eq!(write_down(folder.path(), &site, &title), Ok(true));
    assert_eq!(write_down(folder.path(), &site, &title), Ok(false));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("# ours") && text.contains("# the PACS"), "{text}");
    let accepted = Config::load(folder.path()).unwrap().destinations.remove(0).accept_from;
    assert_eq!(accepted, std::slice::from_ref(&site));
    assert!(
        write_down(folder.path(), &site, &AeTitle::try_from("Q").unwrap())
            .unwrap_err()
            .contains("[[destination]]")
    );
}

#[tokio::test]
async fn a_new_consent_is_announced_also_when_nobody_waits_for_it_just_then() {
    let edge = Edge::new("b", B);
    give(&edge.shared, &site("clinic-a"), &title("PACS_B")).await.unwrap();
    let noticed = tokio::time::timeout(Duration::from_secs(5), edge.shared.announce.notified());
    assert!(noticed.await.is_ok());
}

#[tokio::test]
async fn accept_without_a_daemon_takes_the_folders_lock() {
    let edge = Edge::new("b", B);
    let dir = edge.folder.path();
    let accept = async || {
        let arguments = ["edge-gateway", "accept", "clinic-a", "--for", "PACS_B", "--dir"];
        let arguments = arguments
            .into_iter()
            .map(Into::into)
            .chain([dir.as_os_str().to_owned()]);
        crate::run(crate::Cli::try_parse_from(arguments).unwrap()).await
    };
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let lock = packhorse_daemon::FolderLock::take(dir).unwrap();
    let refused = accept().await;
    assert!(
        matches!(refused, Err(crate::CommandError::Start(crate::StartError::Lock(_)))),
        "{refused:?}"
    );
    drop(lock);
    accept().await.unwrap();
    let accepted = Config::load(dir).unwrap().destinations.remove(0).accept_from;
    assert_eq!(accepted, [site("clinic-a")]);
}

#[tokio::test]
async fn what_is_held_on_arrival_or_by_hand_is_not_released_by_consent() {
    let holding = B.replacen("calling_ae_title", "on_arrival = \"hold\"\ncalling_ae_title", 1);
    let edge = Edge::new("b", &holding);
    // Without consent first: given, it is held as everything else that arrives there.
    let before = arrive(&edge, "clinic-a", "PACS_B").await;
    let held_by = async |delivery| HeldBy::of(&edge.shared.spool.entry(delivery).await.unwrap().unwrap());
    assert_eq!(held_by(before).await, HeldBy::Consent);
    assert_eq!(
        give(&edge.shared, &site("clinic-a"), &title("PACS_B")).await,
        Ok((true, 0))
    );
    let behind = arrive(&edge, "clinic-a", "PACS_B").await;
    give(&edge.shared, &site("clinic-a"), &title("PACS_C")).await.unwrap();
    let by_hand = arrive(&edge, "clinic-a", "PACS_C").await;
    let somebody = HeldBy::Operator("root".to_owned());
    let held = vec![(by_hand, somebody.settlement())];
    let shared = &edge.shared;
    shared.spool.settle(shared.epoch, held, Vec::new()).await.unwrap();
    assert_eq!(release(shared).await.unwrap(), 0);
    for (delivery, by) in [
        (before, HeldBy::Arrival),
        (behind, HeldBy::Arrival),
        (by_hand, somebody),
    ] {
        assert_eq!(state(&edge, delivery).await, EntryState::Held);
        assert_eq!(held_by(delivery).await, by);
    }
    crate::ledger::catch_up(shared).await.unwrap();
    let held = shared.ledger(|projection| projection.held(10)).await.unwrap().unwrap();
    let reasons: Vec<_> = held.iter().filter_map(|view| view.reason.as_deref()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons.iter().all(|reason| reason.contains("held on arrival")),
        "{reasons:?}"
    );
}
