//! What was acknowledged is there after any failure, and nothing else is.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod common;
#[path = "common/failing_disk.rs"]
mod failing_disk;

use std::sync::Arc;

use common::{commit, entry, open, queue, runtime, stored};
use failing_disk::FailingDisk;
use packhorse_ids::{Clock as _, DeliveryId, PayloadId, SystemClock, WallTime};
use packhorse_spool::{
    Body, Custody, EntryState, Filter, Index as _, OpenError, Payloads as _, Seen, Settlement, Spool, SpoolConfig,
    StoreError,
};

async fn deliveries(spool: &Spool) -> Vec<DeliveryId> {
    let page = spool.page(0, Filter::default(), 1000).await.unwrap();
    page.into_iter().map(|(_, entry)| entry.routing.delivery).collect()
}

fn fill(id: u16) -> u8 {
    u8::try_from(id).unwrap()
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        {
            let (spool, epoch) = open(folder.path());
            let small = commit(&spool, epoch, entry(1, Body::Inline(vec![7; 100].into()))).await;
            let body = stored(&spool, 2, &vec![9; 300_000]).await.unwrap();
            commit(&spool, epoch, entry(2, body)).await;
            assert_eq!(small.sequence.0, 1);
        }
        let (spool, epoch) = open(folder.path());
        let claimed = spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap();
        assert_eq!(claimed.len(), 2);
        assert_eq!(spool.read(&claimed[0].body, 0..100).await.unwrap(), vec![7; 100]);
        assert_eq!(
            spool.read(&claimed[1].body, 0..300_000).await.unwrap(),
            vec![9; 300_000]
        );
        assert!(matches!(
            spool.read(&claimed[1].body, 0..300_001).await,
            Err(StoreError::NotFound(_))
        ));
    });
}

/// SQLite closes the log when it ends in order, so a folder is copied while it is open: what a crash leaves.
#[test]
fn a_log_that_is_laid_out_ahead_keeps_what_was_committed_when_nobody_closes_it() {
    let (folder, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let log = folder.path().join("index.sqlite-wal");
        let laid_out = log.metadata().unwrap().len();
        assert!(laid_out >= common::config().slab_len / 2, "{laid_out}");
        for id in 1..=3 {
            commit(&spool, epoch, entry(id, Body::Inline(vec![fill(id)].into()))).await;
        }
        assert_eq!(log.metadata().unwrap().len(), laid_out, "commits do not let it grow");
        for name in ["index.sqlite", "index.sqlite-wal"] {
            std::fs::copy(folder.path().join(name), left.path().join(name)).unwrap();
        }
        let (spool, _) = open(left.path());
        assert_eq!(deliveries(&spool).await.len(), 3);
    });
}

#[test]
fn pieces_of_any_length_make_one_payload() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..300_000_u32)
        .map(|at| fill(u16::try_from(at % 251).unwrap()))
        .collect();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        for (id, length) in (1..).zip([100, 4095, 4096, 4097, 65_536, 70_001, 300_000]) {
            let mut writer = spool.begin(PayloadId::from_bytes([fill(id); 16]), None).await.unwrap();
            for piece in bytes.chunks(length) {
                writer.append(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
            }
            let body = Body::Stored(writer.finish().await.unwrap());
            commit(&spool, epoch, entry(id, body.clone())).await;
            assert_eq!(
                spool.read(&body, 0..300_000).await.unwrap(),
                bytes,
                "pieces of {length}"
            );
        }
    });
}

#[test]
fn a_payload_of_any_length_comes_back_and_its_space_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        for (round, length) in [1_usize, 65_536, 65_537, 5_000_000, 70_000, 5_000_000]
            .into_iter()
            .enumerate()
        {
            let id = u16::try_from(round).unwrap() + 1;
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let body = stored(&spool, id, &bytes).await.unwrap();
            commit(&spool, epoch, entry(id, body.clone())).await;
            assert_eq!(spool.read(&body, 0..length as u64).await.unwrap(), bytes);
            spool
                .settle(
                    epoch,
                    vec![(entry(id, body).routing.delivery, Settlement::Released)],
                    vec![],
                )
                .await
                .unwrap();
        }
        drop(spool);
        let used: u64 = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|file| file.unwrap())
            .filter(|file| file.file_name().to_str().unwrap().starts_with("payload-"))
            .map(|file| file.metadata().unwrap().len())
            .sum();
        assert_eq!(used, 0, "files of their own go with their rows");
    });
}

/// What a spool whose `nth` write or sync fails acknowledged; `None` when so many are not done at all.
async fn acknowledged_until(folder: &std::path::Path, nth: usize) -> Option<Vec<(DeliveryId, u16, usize)>> {
    let disk = Arc::new(FailingDisk::at(nth));
    let config = SpoolConfig {
        disk: disk.clone(),
        ..common::config()
    };
    let Ok((spool, epoch)) = Spool::open(folder, config, Arc::new(SystemClock)) else {
        return Some(vec![]);
    };
    let mut acknowledged = Vec::new();
    // Inline, in a slab, and in a file of its own.
    for (id, length) in [(1, 10), (2, 40_000), (3, 40_000), (4, 2_500_000), (5, 40_000), (6, 10)] {
        let body = match length {
            10 => Ok(Body::Inline(vec![fill(id); length].into())),
            _ => stored(&spool, id, &vec![fill(id); length]).await,
        };
        let Ok(body) = body else {
            continue;
        };
        let new = entry(id, body);
        let delivery = new.routing.delivery;
        match spool.commit(epoch, vec![new], vec![]).await {
            Ok(_) => acknowledged.push((delivery, id, length)),
            Err(error) => assert!(matches!(error, StoreError::Poisoned), "{error}"),
        }
    }
    let is_whole = acknowledged.len() == 6;
    assert!(
        is_whole || spool.is_poisoned(),
        "what a failed write or sync keeps back poisons the spool"
    );
    disk.has_failed().then_some(acknowledged)
}

/// Each write and each sync of payload files fails in turn. Whatever was acknowledged before and after is there after
/// opening again, whole, and nothing else is.
#[test]
fn after_any_failed_write_or_sync_nothing_acknowledged_is_lost() {
    for nth in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let Some(acknowledged) = runtime().block_on(acknowledged_until(folder.path(), nth)) else {
            // About forty: slabs are made ahead of need beside the commits, and may come a little later.
            assert!(nth > 30, "only {nth} writes and syncs");
            return;
        };
        runtime().block_on(async {
            let (spool, epoch) = open(folder.path());
            for (delivery, id, length) in &acknowledged {
                let entry = spool.entry(*delivery).await.unwrap().expect("it was acknowledged");
                assert_eq!(
                    spool.read(&entry.body, 0..*length as u64).await.unwrap(),
                    vec![fill(*id); *length],
                    "failure {nth}"
                );
            }
            assert_eq!(deliveries(&spool).await.len(), acknowledged.len(), "failure {nth}");
            commit(&spool, epoch, entry(7, Body::Inline(vec![7].into()))).await;
        });
    }
}

#[test]
fn a_failed_entry_does_not_hold_up_those_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        for id in 1..=3 {
            commit(&spool, epoch, entry(id, Body::Inline(vec![fill(id)].into()))).await;
        }
        let first = spool.claim(epoch, &queue(), 1, common::LEASE).await.unwrap().remove(0);
        let at = SystemClock.now().saturating_add(common::LEASE);
        let retry = Settlement::Retry {
            at,
            note: "answered C000".to_owned(),
        };
        spool
            .settle(epoch, vec![(first.routing.delivery, retry)], vec![])
            .await
            .unwrap();
        let rest = spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap();
        assert_eq!(
            rest.iter().map(|entry| entry.routing.sequence.0).collect::<Vec<_>>(),
            [2, 3]
        );
        let waiting = spool.entry(first.routing.delivery).await.unwrap().unwrap();
        assert_eq!((waiting.attempts, waiting.note.as_str()), (1, "answered C000"));
    });
}

#[test]
fn leases_keep_others_away_and_are_given_back_or_end_with_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let old = {
            let (spool, epoch) = open(folder.path());
            commit(&spool, epoch, entry(1, Body::Inline(vec![1].into()))).await;
            let claimed = spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap();
            assert_eq!(spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap(), []);
            spool.unclaim(epoch, vec![claimed[0].routing.delivery]).await.unwrap();
            assert_eq!(spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap().len(), 1);
            epoch
        };
        let (spool, epoch) = open(folder.path());
        assert_eq!(spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap().len(), 1);
        let stale = spool
            .commit(old, vec![entry(2, Body::Inline(vec![2].into()))], vec![])
            .await;
        assert!(matches!(stale, Err(StoreError::Stale)));
    });
}

#[test]
fn custody_until_released_outlives_the_acknowledgement() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let mut new = entry(1, Body::Inline(vec![1].into()));
        new.custody = Custody::UntilReleased;
        let delivery = new.routing.delivery;
        commit(&spool, epoch, new).await;
        let later = SystemClock.now().saturating_add(common::LEASE);
        spool
            .settle(epoch, vec![(delivery, Settlement::Acked { again: later })], vec![])
            .await
            .unwrap();
        assert_eq!(spool.entry(delivery).await.unwrap().unwrap().state, EntryState::Acked);
        assert_eq!(spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap(), []);
        let past = Settlement::Acked {
            again: WallTime::default(),
        };
        spool.settle(epoch, vec![(delivery, past)], vec![]).await.unwrap();
        assert_eq!(
            spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap().len(),
            1,
            "offered again"
        );
        spool
            .settle(epoch, vec![(delivery, Settlement::Released)], vec![])
            .await
            .unwrap();
        assert!(matches!(spool.seen(&[delivery]).await.unwrap()[0], Some(Seen::Gone(_))));
        assert_eq!(spool.counts(), []);
    });
}

#[test]
fn a_repeated_commit_changes_nothing_and_facts_are_numbered_in_order() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let facts = |text: &str| vec![bytes::Bytes::from(text.to_owned())];
        let new = entry(1, Body::Inline(vec![1].into()));
        spool.commit(epoch, vec![new.clone()], facts("one")).await.unwrap();
        let again = spool.commit(epoch, vec![new], facts("two")).await.unwrap();
        assert!(again[0].is_duplicate);
        spool.commit(epoch, vec![], facts("three")).await.unwrap();
        let all = spool.facts_after(1, 10).await.unwrap();
        assert_eq!(all, [(2, "two".into()), (3, "three".into())]);
        spool.trim_facts(epoch, 2).await.unwrap();
        assert_eq!(spool.facts_after(0, 10).await.unwrap().len(), 1);
    });
}

#[test]
fn segments_in_any_order_survive_a_restart_once_saved() {
    let folder = tempfile::tempdir().unwrap();
    let payload = PayloadId::from_bytes([9; 16]);
    let length = 3 * u64::from(packhorse_ids::SEGMENT_LEN) + 5;
    let segment = |byte: u8, length: usize| bytes::Bytes::from(vec![byte; length]);
    runtime().block_on(async {
        {
            let (spool, _) = open(folder.path());
            let mut writer = spool.begin(payload, Some(length)).await.unwrap();
            writer.write_segment(2, segment(2, 1 << 20)).await.unwrap();
            writer.write_segment(0, segment(0, 1 << 20)).await.unwrap();
            writer.save().await.unwrap();
            assert!(writer.write_segment(4, segment(4, 1)).await.is_err());
        }
        let (spool, epoch) = open(folder.path());
        assert_eq!(
            spool.have(payload).await.unwrap().missing(4).collect::<Vec<_>>(),
            [1, 3]
        );
        let mut writer = spool.begin(payload, Some(length)).await.unwrap();
        writer.write_segment(1, segment(1, 1 << 20)).await.unwrap();
        writer.write_segment(3, segment(3, 5)).await.unwrap();
        let body = Body::Stored(writer.finish().await.unwrap());
        let mut new = entry(9, body.clone());
        new.routing.length = length;
        new.routing.payload = payload;
        commit(&spool, epoch, new).await;
        for (index, byte) in [0_u8, 1, 2].into_iter().enumerate() {
            let at = index as u64 * (1 << 20);
            assert_eq!(spool.read(&body, at..at + 1).await.unwrap(), vec![byte]);
        }
        assert!(spool.have(payload).await.unwrap().is_empty());
    });
}

#[test]
fn sixteen_committers_share_commits() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let tasks: Vec<_> = (0..16)
            .map(|task| {
                let spool = Arc::clone(&spool);
                tokio::spawn(async move {
                    for round in 0..20 {
                        commit(&spool, epoch, entry(task * 20 + round, Body::Inline(vec![1].into()))).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let stats = spool.stats();
        assert_eq!(stats.entries, 320);
        assert!(stats.commits < 200, "{stats:?}");
    });
}

#[test]
fn a_second_opener_and_a_later_version_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let second = Spool::open(folder.path(), common::config(), Arc::new(SystemClock));
    assert!(matches!(second, Err(OpenError::Locked(_))));
    drop(first);
    let index = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
    index.pragma_update(None, "user_version", 99).unwrap();
    drop(index);
    let newer = Spool::open(folder.path(), common::config(), Arc::new(SystemClock));
    assert!(matches!(newer, Err(OpenError::Newer { found: 99, .. })));
}

#[test]
fn a_full_disk_is_known_before_a_payload_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let config = SpoolConfig {
            reserve: u64::MAX,
            ..common::config()
        };
        let (spool, epoch) = Spool::open(folder.path(), config, Arc::new(SystemClock)).unwrap();
        assert!(matches!(
            stored(&spool, 1, &[0; 10]).await,
            Err(StoreError::Full { .. })
        ));
        let small = spool
            .commit(epoch, vec![entry(1, Body::Inline(vec![1].into()))], vec![])
            .await;
        assert!(matches!(small, Err(StoreError::Full { .. })));
        assert!(!spool.is_poisoned());
    });
}
