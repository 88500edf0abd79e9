//! Packhorse beside real DICOM receivers: rates, the whole way, memory. All of it in one run on one machine, the receivers
//! taking turns, so that the ratios hold where the figures do not. Prints Markdown; progress goes to standard error.

mod facts;
mod large;
mod load;
mod ours;
mod peers;
mod receiver;
mod rounds;
mod table;

use std::path::PathBuf;

use clap::Parser;
use packhorse_daemon::output;
use packhorse_testkit::instances::ImageSize;

use load::Nagle;
use receiver::Receivers;
use rounds::Course;

/// Measures edge-gateway beside storescp, Orthanc and dicom-rs.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds; in each of them every receiver has one turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Instances of 0.5 MB in a turn; 0: none.
    #[arg(long, default_value_t = 200)]
    large: u32,
    /// Instances of 4 KB in a turn; 0: none.
    #[arg(long, default_value_t = 1000)]
    small: u32,
    /// Instances of 4 KB in a turn with Nagle's algorithm left on, as DCMTK does by default; 0: none.
    #[arg(long, default_value_t = 50)]
    nagle: u32,
    /// MiB of the one instance for which memory is measured; 0: none.
    #[arg(long, default_value_t = 256)]
    one: u64,
    /// Folder for instances, spools and what is received: the disk that is measured. Default: for temporary files.
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("bench-peers-").tempdir_in(parent)?;
    output::line(&facts::machine(folder.path())?);
    let mut receivers = Receivers::start(folder.path())?;
    for skipped in &receivers.skipped {
        output::line(&format!("Skipped: {skipped}\n"));
    }
    for course in courses(&args).iter().filter(|course| course.instances > 0) {
        let turns = rounds::run(course, args.rounds, folder.path(), &mut receivers)?;
        output::line(&rounds::report(course, args.rounds, &turns));
    }
    if args.large + args.small + args.nagle > 0 {
        output::line(&receivers.memory_report());
    }
    if args.one > 0 {
        output::line(&large::run(args.one, folder.path(), &mut receivers)?);
    }
    Ok(())
}

fn courses(args: &Args) -> [Course; 3] {
    let small = ImageSize::square(40);
    [
        Course {
            title: "0.5 MB",
            instances: args.large,
            size: ImageSize::square(512),
            nagle: Nagle::Off,
        },
        Course {
            title: "4 KB",
            instances: args.small,
            size: small,
            nagle: Nagle::Off,
        },
        Course {
            title: "4 KB, Nagle's algorithm on",
            instances: args.nagle,
            size: small,
            nagle: Nagle::On,
        },
    ]
}
