//! A spool that survives a kill: `cargo run -p spool-queue`. A child process commits payloads and prints each one that is
//! acknowledged; it is killed while it works; whatever it had printed is in the folder, byte for byte. Ends with an error
//! if anything acknowledged is missing.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

mod commit;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use packhorse_ids::{Clock as _, SystemClock};
use packhorse_spool::{Body, Entry, Index as _, Payloads as _, QueueName, Settlement, Spool, SpoolConfig};

/// The child's first argument; the folder follows.
const COMMIT: &str = "commit";
/// The child is killed behind this many acknowledgements.
const KILLED_AFTER: usize = 200;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.as_slice() {
        [] => {
            let folder = tempfile::tempdir()?;
            let acknowledged = commit_until_killed(folder.path())?;
            runtime.block_on(take_all(folder.path(), acknowledged))
        }
        [command, folder] if command == COMMIT => runtime.block_on(commit::commit_all(Path::new(folder))),
        _ => anyhow::bail!("spool-queue takes no arguments"),
    }
}

fn queue() -> Result<QueueName> {
    Ok(QueueName::try_from("work")?)
}

/// Runs the child and kills it. Gives the ids it printed, with the BLAKE3 of their bytes.
fn commit_until_killed(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(COMMIT)
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut acknowledged = BTreeMap::new();
    for line in BufReader::new(child.stdout.take().context("it is piped")?).lines() {
        let line = line?;
        let (id, blake3) = line.split_once(' ').context("the child prints an id and a digest")?;
        acknowledged.insert(id.to_owned(), blake3.to_owned());
        if acknowledged.len() == KILLED_AFTER {
            child.kill()?;
        }
    }
    let status = child.wait()?;
    ensure!(status.code().is_none(), "the child ended by itself: {status}");
    println!("a process committed payloads and was killed ({status}):");
    println!("  {} were acknowledged before it died", acknowledged.len());
    Ok(acknowledged)
}

/// Opens the folder again, takes everything out of it, and compares it with what was acknowledged.
async fn take_all(folder: &Path, mut acknowledged: BTreeMap<String, String>) -> Result<()> {
    let (spool, epoch) = Spool::open(folder, SpoolConfig::default(), Arc::new(SystemClock))?;
    let (mut taken, mut large, mut unheard) = (0, 0, 0);
    loop {
        let claimed = spool.claim(epoch, &queue()?, 64, Duration::from_secs(60)).await?;
        if claimed.is_empty() {
            break;
        }
        let mut settlements = Vec::new();
        for entry in claimed {
            let blake3 = blake3_of(&spool, &entry).await?;
            match acknowledged.remove(&entry.routing.delivery.to_string()) {
                Some(expected) => ensure!(blake3 == expected, "{} has other bytes", entry.routing.delivery),
                None => unheard += 1,
            }
            taken += 1;
            large += u32::from(matches!(entry.body, Body::Stored(_)));
            settlements.push((
                entry.routing.delivery,
                Settlement::Acked {
                    again: SystemClock.now(),
                },
            ));
        }
        spool.settle(epoch, settlements, vec![]).await?;
    }
    ensure!(acknowledged.is_empty(), "acknowledged and lost: {acknowledged:?}");
    let left: u64 = spool.counts().iter().map(|count| count.entries).sum();
    ensure!(left == 0, "{left} entries are left");
    println!("the folder was opened again:");
    println!("  all of them were there with their bytes, and {unheard} more that it had no time to acknowledge");
    println!("  {taken} were claimed and settled, {large} of them from slabs; the queue is empty");
    Ok(())
}

async fn blake3_of(spool: &Spool, entry: &Entry) -> Result<String> {
    let bytes = spool.read(&entry.body, 0..entry.routing.length).await?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}
