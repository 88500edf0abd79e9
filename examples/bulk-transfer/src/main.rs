//! Moves a folder, or generated payloads, over one link between two endpoints on loopback, and prints the rate.
//!
//! `cargo run --release -p bulk-transfer -- --count 64 --length-mib 16`, or `-- --from DIR --to DIR`.

mod certificates;
mod shelf;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Parser;
use packhorse_transport::{Endpoint, Incoming, TransportConfig};
use tokio_util::sync::CancellationToken;

use crate::shelf::{Receiver, Sender, Work};

#[derive(Parser)]
struct Args {
    /// The folder whose files are moved; without it, payloads are generated in memory and dropped on arrival.
    #[arg(long, requires = "to")]
    from: Option<PathBuf>,
    /// The folder where they go.
    #[arg(long, requires = "from")]
    to: Option<PathBuf>,
    /// How many payloads are generated.
    #[arg(long, default_value_t = 64)]
    count: u32,
    /// Length of each in MiB.
    #[arg(long, default_value_t = 16)]
    length_mib: u32,
    /// Length of each in bytes, in place of MiB.
    #[arg(long)]
    length: Option<usize>,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a command for people to read")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let work = match &args.from {
        Some(folder) => Work::of_folder(folder)?,
        None => Work::generated(args.count, args.length.unwrap_or(args.length_mib as usize * (1 << 20))),
    };
    let (count, bytes) = (work.count(), work.bytes());
    let work = Arc::new(work);
    let (sender, receiver) = (Sender::new(Arc::clone(&work)), Receiver::new(work, args.to)?);

    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (server_tls, client_tls) = certificates::pair()?;
    let server = Endpoint::server(loopback, server_tls, TransportConfig::new("receiver"))?;
    let client = Endpoint::client(loopback, TransportConfig::new("sender"))?;
    let stop = CancellationToken::new();

    let begun = tokio::time::Instant::now();
    let connecting = client.connect(server.local_addr()?, certificates::SERVER_NAME, client_tls);
    let (dialled, accepted) = tokio::join!(connecting, server.accept());
    let Some(Incoming::Link(accepted)) = accepted else {
        bail!("no link came in");
    };
    let dialled = dialled.context("cannot connect")?;
    let handle = dialled.handle();
    let receiving = tokio::spawn(accepted.run(receiver, stop.clone()));
    let sending = tokio::spawn(dialled.run(Arc::clone(&sender) as _, stop.clone()));
    sender.all_settled().await;
    let elapsed = begun.elapsed();
    stop.cancel();
    sending.await?;
    receiving.await?;

    let stats = handle.stats();
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{count} payloads, {megabytes:.1} MB in {elapsed:.2?}: {:.0} MB/s, {:.0} payloads/s",
        megabytes / elapsed.as_secs_f64(),
        f64::from(count) / elapsed.as_secs_f64(),
    );
    println!(
        "wire {:.1} MB in {} datagrams, {} packets lost, round trip {:.2?}",
        stats.wire_bytes_sent as f64 / 1e6,
        stats.datagrams_sent,
        stats.packets_lost,
        stats.rtt,
    );
    Ok(())
}
