//! The main job, end to end, on one machine: a relay, two edge gateways, a source and a target PACS, with real sockets,
//! real QUIC and real spools in a temporary folder.
//!
//! `cargo run --release -p two-sites` sends a study of two CT images, one Raw Data instance and one dose report.
//! `cargo run --release -p two-sites -- FOLDER` sends that folder. `--keep` leaves everything running to try by hand.

mod sites;
mod source;
mod story;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Sends a study from one site to another, and tells what became of it.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// A folder of DICOM files to send; without it a study is made.
    folder: Option<PathBuf>,
    /// Leave everything running afterwards, and say how to try it by hand.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let objects = match &args.folder {
        Some(folder) => source::from_folder(folder)?,
        None => source::made_study()?,
    };
    let target = target::Target::start().await?;
    let sites = sites::Sites::start(target.port()).await?;
    story::opening(&sites, &target);
    let sent = source::send(&objects, sites.dicom_port()?, args.folder.is_some()).await?;
    sites.wait_until_delivered(sent.accepted().count()).await?;
    let good = story::closing(&sites, &sent, &target).await?;
    if args.keep {
        story::by_hand(&sites)?;
        packhorse_daemon::shutdown_signal().await?;
    }
    sites.finish().await;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
