//! Without descriptors nothing new is taken for now; what is written is not in doubt. Alone in its process: it uses up all
//! of them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod common;

use std::fs::File;

use common::{LEASE, commit, entry, open, queue, runtime, stored};
use packhorse_ids::PayloadId;
use packhorse_spool::{Body, Index as _, Payloads as _, StoreError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Opens files until no more can be.
fn use_up() -> Vec<File> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(128);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn a_file_that_cannot_be_opened_is_not_now_and_poisons_nothing() {
    const LONG: usize = 5_000_000;
    let folder = tempfile::tempdir().unwrap();
    let is_busy = |result: Result<Body, StoreError>| matches!(result, Err(StoreError::Busy(_)));
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let body = stored(&spool, 1, &vec![1; LONG]).await.unwrap();
        let files = use_up();
        // A file of its own from the beginning; one that a payload grows into; slabs, once those that are there are full.
        let begun = spool.begin(PayloadId::from_bytes([9; 16]), Some(LONG as u64)).await;
        assert!(matches!(begun, Err(StoreError::Busy(_))));
        assert!(is_busy(stored(&spool, 2, &vec![2; LONG]).await));
        let mut bodies = Vec::new();
        while let Ok(body) = stored(&spool, 100 + u16::try_from(bodies.len()).unwrap(), &vec![3; 900_000]).await {
            bodies.push(body);
        }
        assert!(is_busy(stored(&spool, 99, &vec![3; 900_000]).await));
        // The folder's name of the first file is synced all the same.
        commit(&spool, epoch, entry(1, body.clone())).await;
        assert!(matches!(spool.read(&body, 0..10).await, Err(StoreError::Busy(_))));
        assert!(!spool.is_poisoned());

        drop(files);
        assert_eq!(spool.read(&body, 0..10).await.unwrap(), vec![1; 10]);
        let body = stored(&spool, 2, &vec![2; LONG]).await.unwrap();
        commit(&spool, epoch, entry(2, body)).await;
        let claimed = spool.claim(epoch, &queue(), 10, LEASE).await.unwrap();
        assert_eq!(claimed.len(), 2);
    });
}
