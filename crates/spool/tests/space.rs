//! Whose space is whose: payloads never share it, and none is lost.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod common;
#[path = "common/small_disk.rs"]
mod small_disk;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{commit, entry, open, queue, runtime, stored};
use packhorse_ids::{DeliveryId, FakeClock, Kind, PayloadId, SystemClock, WallTime};
use packhorse_spool::{
    Body, Disk, Index as _, NewEntry, Payloads as _, RealDisk, Settlement, Spool, SpoolConfig, StoreError,
};
use small_disk::SmallDisk;

const MIB: usize = 1 << 20;

fn slabs(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap();
    let is_slab = |file: &std::fs::DirEntry| file.file_name().to_str().unwrap().starts_with("slab-");
    files.map(Result::unwrap).filter(is_slab).count()
}

async fn segments(spool: &Spool, payload: u8, bytes: &[Bytes]) -> Result<Body, StoreError> {
    let length = bytes.iter().map(|bytes| bytes.len() as u64).sum();
    let mut writer = spool.begin(PayloadId::from_bytes([payload; 16]), Some(length)).await?;
    for (segment, bytes) in (0..).zip(bytes) {
        writer.write_segment(segment, bytes.clone()).await?;
    }
    writer.save().await?;
    writer.finish().await.map(Body::Stored)
}

fn of(byte: u8, length: usize) -> Bytes {
    vec![byte; length].into()
}

#[test]
fn a_second_payload_of_the_same_id_leaves_the_first_alone() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let first = segments(&spool, 1, &[of(1, MIB), of(1, MIB)]).await.unwrap();
        commit(&spool, epoch, entry(1, first.clone())).await;
        let second = segments(&spool, 1, &[of(2, MIB), of(2, MIB), of(2, 5)]).await.unwrap();
        commit(&spool, epoch, entry(2, second.clone())).await;
        assert_eq!(spool.read(&first, 0..2 * MIB as u64).await.unwrap(), of(1, 2 * MIB));
        assert_eq!(spool.read(&second, 0..5).await.unwrap(), of(2, 5));
    });
}

#[test]
fn segments_saved_of_a_repeated_delivery_are_forgotten_with_its_space() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        commit(&spool, epoch, entry(1, Body::Inline(of(1, 1)))).await;
        let again = segments(&spool, 2, &[of(2, 100_000)]).await.unwrap();
        assert!(commit(&spool, epoch, entry(1, again)).await.is_duplicate);
        assert!(spool.have(PayloadId::from_bytes([2; 16])).await.unwrap().is_empty());
        // The space is somebody else's now, and the payload begins anew.
        let other = segments(&spool, 3, &[of(3, 100_000)]).await.unwrap();
        commit(&spool, epoch, entry(3, other.clone())).await;
        let payload = PayloadId::from_bytes([2; 16]);
        let mut writer = spool.begin(payload, Some(100_000)).await.unwrap();
        writer.write_segment(0, of(9, 100_000)).await.unwrap();
        assert_eq!(spool.read(&other, 0..100_000).await.unwrap(), of(3, 100_000));
    });
}

#[test]
fn a_finished_payload_that_is_not_committed_leaves_its_space_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, _) = open(folder.path());
        for _ in 0..20 {
            let body = stored(&spool, 1, &vec![1; 600_000]).await.unwrap();
            let again = stored(&spool, 1, &[1]).await;
            assert!(
                matches!(again, Err(StoreError::NotFound(_))),
                "its id is taken until then"
            );
            drop(body);
        }
        assert!(slabs(folder.path()) <= 2);
    });
}

#[test]
fn a_body_is_committed_once_and_only_in_the_opening_it_was_written_in() {
    let folder = tempfile::tempdir().unwrap();
    let not_held = |result| matches!(result, Err(StoreError::NotFound(_)));
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let body = stored(&spool, 1, &[1; 40_000]).await.unwrap();
        commit(&spool, epoch, entry(1, body.clone())).await;
        assert!(commit(&spool, epoch, entry(1, body.clone())).await.is_duplicate);
        let facts = vec![Bytes::from_static(b"fact")];
        let both = vec![entry(2, Body::Inline(of(2, 1))), entry(3, body.clone())];
        assert!(not_held(spool.commit(epoch, both, facts).await.map(drop)));
        let two = DeliveryId::from_bytes(*entry(2, body.clone()).routing.delivery.as_bytes());
        assert_eq!(spool.entry(two).await.unwrap(), None, "all or nothing");
        assert_eq!(spool.facts_after(0, 10).await.unwrap(), []);

        let old = stored(&spool, 4, &[4; 40_000]).await.unwrap();
        drop(spool);
        let (spool, epoch) = open(folder.path());
        assert!(not_held(
            spool.commit(epoch, vec![entry(4, old)], vec![]).await.map(drop)
        ));
    });
}

#[test]
fn an_old_payload_that_did_not_go_on_is_forgotten_and_a_new_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::at(WallTime::from_unix_micros(1)));
    let payload = |byte| PayloadId::from_bytes([byte; 16]);
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), common::config(), Arc::clone(&clock) as _).unwrap();
        let save = async |byte| {
            let mut writer = spool.begin(payload(byte), Some(2 * MIB as u64)).await.unwrap();
            writer.write_segment(0, of(byte, MIB)).await.unwrap();
            writer.save().await.unwrap();
            writer
        };
        drop(save(1).await);
        let kept = save(2).await;
        clock.advance(Duration::from_secs(8 * 86_400));
        drop(save(3).await);
        // The committer looks when it has nothing to do, after it has answered.
        for id in 0.. {
            commit(&spool, epoch, entry(id, Body::Inline(of(1, 1)))).await;
            if spool.have(payload(1)).await.unwrap().is_empty() {
                break;
            }
            assert!(id < 1000);
        }
        assert_eq!(spool.have(payload(2)).await.unwrap().len(), 1, "it is being written");
        assert_eq!(spool.have(payload(3)).await.unwrap().len(), 1);
        drop(kept);
    });
}

#[test]
fn a_full_spool_takes_again_when_it_has_been_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(SmallDisk {
        length: AtomicU64::new(10 * MIB as u64),
    });
    let config = SpoolConfig {
        slab_len: MIB as u64,
        reserve: 2 * MIB as u64,
        disk: disk.clone(),
        ..SpoolConfig::default()
    };
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), config, Arc::new(SystemClock)).unwrap();
        let mut taken = 0;
        let full = loop {
            match stored(&spool, taken, &vec![1; MIB]).await {
                Ok(body) => commit(&spool, epoch, entry(taken, body)).await,
                Err(error) => break error,
            };
            taken += 1;
        };
        assert!(matches!(full, StoreError::Full { .. }), "{full}");
        assert_eq!(taken, 8, "all but the reserve");
        // Somebody else uses some of the reserve: rows still go, new bytes do not.
        disk.length.fetch_sub(MIB as u64 / 2, Ordering::SeqCst);
        let inline = spool
            .commit(epoch, vec![entry(100, Body::Inline(of(1, 1)))], vec![])
            .await;
        assert!(matches!(inline, Err(StoreError::Full { .. })));

        let all = spool.claim(epoch, &queue(), 256, common::LEASE).await.unwrap();
        let released = all.iter().map(|entry| (entry.routing.delivery, Settlement::Released));
        spool.settle(epoch, released.collect(), vec![]).await.unwrap();
        drop(all);
        commit(&spool, epoch, entry(100, Body::Inline(of(1, 1)))).await;
        let body = stored(&spool, 101, &vec![1; MIB]).await.unwrap();
        commit(&spool, epoch, entry(101, body)).await;
    });
}

#[test]
fn a_full_spool_takes_messages_and_settlements_but_no_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(SmallDisk {
        length: AtomicU64::new(10 * MIB as u64),
    });
    let config = SpoolConfig {
        slab_len: MIB as u64,
        reserve: 4 * MIB as u64,
        disk: disk.clone(),
        ..SpoolConfig::default()
    };
    let inline = |id, kind| {
        let mut new = entry(id, Body::Inline(of(1, 1)));
        new.routing.kind = kind;
        new
    };
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), config, Arc::new(SystemClock)).unwrap();
        let body = stored(&spool, 1, &vec![1; 100_000]).await.unwrap();
        commit(&spool, epoch, entry(1, body)).await;
        let free_is = |free: usize| {
            disk.length.store(u64::MAX, Ordering::SeqCst);
            let used = u64::MAX - disk.free(folder.path()).unwrap();
            disk.length.store(used + free as u64, Ordering::SeqCst);
        };
        let is_full = |result: Result<_, StoreError>| matches!(result, Err(StoreError::Full { .. }));
        free_is(3 * MIB / 2);
        let take = |new: NewEntry| spool.commit(epoch, vec![new], vec![]);
        assert!(is_full(take(inline(2, Kind::Delivery)).await));
        take(inline(3, Kind::Message)).await.unwrap();
        let both = vec![inline(4, Kind::Message), inline(5, Kind::Delivery)];
        assert!(is_full(spool.commit(epoch, both, vec![]).await));
        free_is(MIB / 2);
        assert!(
            is_full(take(inline(6, Kind::Message)).await),
            "a quarter is not for messages"
        );
        let released = (entry(1, Body::Inline(of(1, 1))).routing.delivery, Settlement::Released);
        spool.settle(epoch, vec![released], vec![of(9, 9)]).await.unwrap();
        assert_eq!(spool.counts().iter().map(|count| count.entries).sum::<u64>(), 1);
    });
}

#[test]
fn what_is_left_in_a_sparse_slab_is_moved_and_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::at(WallTime::from_unix_micros(1)));
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), common::config(), Arc::clone(&clock) as _).unwrap();
        let bytes = |id: u16| vec![u8::try_from(id).unwrap(); 100_000];
        for id in 0..40 {
            let sized = PayloadId::from_bytes([u8::try_from(id).unwrap() + 1; 16]);
            let mut writer = spool.begin(sized, Some(100_000)).await.unwrap();
            writer.write_segment(0, bytes(id).into()).await.unwrap();
            let body = Body::Stored(writer.finish().await.unwrap());
            commit(&spool, epoch, entry(id, body)).await;
        }
        // One of ten stays.
        let all = spool.page(0, packhorse_spool::Filter::default(), 100).await.unwrap();
        let gone = all.iter().filter(|(n, _)| n % 10 != 1);
        let gone = gone.map(|(_, entry)| (entry.routing.delivery, Settlement::Released));
        spool.settle(epoch, gone.collect(), vec![]).await.unwrap();
        for id in 100.. {
            clock.advance(Duration::from_secs(61));
            commit(&spool, epoch, entry(id, Body::Inline(of(1, 1)))).await;
            if spool.stats().moved >= 2 {
                break;
            }
            assert!(id < 1000);
        }
        for (n, before) in all.iter().filter(|(n, _)| n % 10 == 1) {
            let now = spool.entry(before.routing.delivery).await.unwrap().unwrap();
            let id = u16::try_from(n - 1).unwrap();
            assert_eq!(spool.read(&now.body, 0..100_000).await.unwrap(), bytes(id));
            assert_eq!(
                spool.read(&before.body, 0..100_000).await.unwrap(),
                bytes(id),
                "for who read it before"
            );
        }
        drop(spool);
        let (spool, _) = open(folder.path());
        let left = spool.page(0, packhorse_spool::Filter::default(), 4).await.unwrap();
        for (n, entry) in left {
            assert_eq!(
                spool.read(&entry.body, 0..100_000).await.unwrap(),
                bytes(u16::try_from(n - 1).unwrap())
            );
        }
    });
}

#[test]
fn the_log_is_checkpointed_now_and_then_and_not_after_each_commit() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        for id in 0..1500 {
            commit(&spool, epoch, entry(id, Body::Inline(of(1, 30_000)))).await;
        }
        let checkpoints = spool.stats().checkpoints;
        assert!((1..20).contains(&checkpoints), "{checkpoints}");
        let log = std::fs::metadata(folder.path().join("index.sqlite-wal")).unwrap().len();
        assert!(log < 80 << 20, "{log}");
    });
}

/// A disk whose syncs take until somebody lets them go, once it is slow.
#[derive(Debug, Default)]
struct SlowDisk {
    is_slow: Mutex<bool>,
    changed: Condvar,
    was_stuck: AtomicBool,
}

impl SlowDisk {
    fn be_slow(&self, is_slow: bool) {
        *self.is_slow.lock().unwrap() = is_slow;
        self.changed.notify_all();
    }
}

impl Disk for SlowDisk {
    fn write(&self, file: &std::fs::File, pieces: &mut [std::io::IoSlice<'_>], offset: u64) -> std::io::Result<()> {
        RealDisk.write(file, pieces, offset)
    }

    fn sync(&self, file: &std::fs::File) -> std::io::Result<()> {
        let (is_slow, enough) = (self.is_slow.lock().unwrap(), Duration::from_secs(10));
        let waited = self.changed.wait_timeout_while(is_slow, enough, |slow| *slow).unwrap();
        self.was_stuck.fetch_or(waited.1.timed_out(), Ordering::SeqCst);
        RealDisk.sync(file)
    }

    fn sync_folder(&self, folder: &std::fs::File) -> std::io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn free(&self, folder: &Path) -> std::io::Result<u64> {
        RealDisk.free(folder)
    }
}

#[test]
fn the_making_of_a_slab_does_not_hold_up_others() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(SlowDisk::default());
    let config = SpoolConfig {
        disk: disk.clone(),
        ..common::config()
    };
    // One thread: whoever blocks it blocks everybody.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), config, Arc::new(SystemClock)).unwrap();
        let first = stored(&spool, 1, &[1; 900_000]).await.unwrap();
        disk.be_slow(true);
        let let_go = async { disk.be_slow(false) };
        let (second, ()) = tokio::join!(stored(&spool, 2, &[2; 900_000]), let_go);
        commit(&spool, epoch, entry(1, first)).await;
        commit(&spool, epoch, entry(2, second.unwrap())).await;
        assert_eq!(spool.claim(epoch, &queue(), 10, common::LEASE).await.unwrap().len(), 2);
        assert!(!disk.was_stuck.load(Ordering::SeqCst));
    });
}
