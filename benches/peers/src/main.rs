//! Packhorse beside real DICOM receivers: rates, the whole way, memory. All of it in one run on one machine, the receivers
//! taking turns, so that the ratios hold where the figures do not. Prints Markdown; progress goes to standard error.

mod bare;
mod facts;
mod large;
mod load;
mod many;
mod ours;
mod peers;
mod receiver;
mod rounds;
mod scu;
mod senders;
mod table;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use packhorse_daemon::output;
use packhorse_testkit::instances::ImageSize;

use load::Nagle;
use receiver::Receivers;
use rounds::Course;

/// Measures edge-gateway beside storescp, Orthanc and dicom-rs.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
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
    /// Instances of each size over 1, 4, 16 and 64 associations of our SCU; 0: none.
    #[arg(long, default_value_t = 640)]
    many: u32,
    /// Instances of each size from storescu and from our SCU into storescp; 0: none.
    #[arg(long, default_value_t = 200)]
    senders: u32,
    /// Only receivers whose name has this in it; may be given again. Default: all.
    #[arg(long)]
    only: Vec<String>,
    /// Folder for instances, spools and what is received: the disk that is measured. Default: for temporary files.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What this program runs itself as.
#[derive(Debug, Subcommand)]
enum Part {
    /// Our SCU.
    Send(scu::Send),
    /// The bare durable receiver.
    Bare(bare::Bare),
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if let Some(part) = args.part.take() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(async {
            match part {
                Part::Send(send) => send.run().await,
                Part::Bare(bare) => bare.run().await,
            }
        });
    }
    measure(&args)
}

fn measure(args: &Args) -> anyhow::Result<()> {
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("bench-peers-").tempdir_in(parent)?;
    output::line(&facts::machine(folder.path())?);
    let mut receivers = Receivers::start(folder.path())?;
    receivers.keep(&args.only);
    for skipped in &receivers.skipped {
        output::line(&format!("Skipped: {skipped}\n"));
    }
    for course in courses(args).iter().filter(|course| course.instances > 0) {
        let turns = rounds::run(course, args.rounds, folder.path(), &mut receivers)?;
        output::line(&rounds::report(course, args.rounds, &turns));
    }
    if args.large + args.small + args.nagle > 0 {
        output::line(&receivers.memory_report());
    }
    let sizes = [
        ("0.5 MB", args.many, ImageSize::square(512)),
        ("4 KB", args.many, ImageSize::square(40)),
    ];
    for size in sizes.into_iter().filter(|(_, instances, _)| *instances > 0) {
        if let Some(table) = many::run(size, args.rounds, folder.path(), &mut receivers)? {
            output::line(&table);
        }
    }
    for course in sender_courses(args).iter().filter(|course| course.instances > 0) {
        if let Some(table) = senders::run(course, args.rounds, folder.path(), &mut receivers)? {
            output::line(&table);
        }
    }
    if args.one > 0 {
        output::line(&large::run(args.one, folder.path(), &mut receivers)?);
    }
    Ok(())
}

/// With Nagle's algorithm off in DCMTK, and as its users have it.
fn sender_courses(args: &Args) -> [Course; 4] {
    let course = |title, size, nagle, instances| Course {
        title,
        instances,
        size: ImageSize::square(size),
        nagle,
    };
    let few = args.senders / 4;
    [
        course("0.5 MB", 512, Nagle::Off, args.senders),
        course("4 KB", 40, Nagle::Off, args.senders),
        course("0.5 MB, Nagle's algorithm on in DCMTK", 512, Nagle::On, few),
        course("4 KB, Nagle's algorithm on in DCMTK", 40, Nagle::On, few),
    ]
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
