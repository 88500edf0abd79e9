//! The command line of `relay`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use packhorse_daemon::Span;
use packhorse_ids::SiteName;

/// Stores and forwards DICOM studies between sites, without being able to read them.
#[derive(Debug, Parser)]
#[command(name = "relay", version, max_term_width = 100)]
pub struct Cli {
    /// The relay's folder: configuration, CA, registry, spool.
    #[arg(long, global = true, env = "PACKHORSE_DIR", default_value = "/var/lib/packhorse")]
    pub dir: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Print JSON, for programs.
    #[arg(long)]
    pub json: bool,
}

/// What `relay` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the CA, the database and relay.toml; prints the next command.
    Init {
        /// The name that sites reach this relay by, with the port if it is not the one it listens on.
        #[arg(long, value_name = "HOST[:PORT]")]
        name: String,
    },
    /// Serve until SIGTERM or SIGINT. Ready when it prints one line: `ready {...}`.
    Run {
        /// Log as JSON lines.
        #[arg(long)]
        log_json: bool,
    },
    /// Print one join token for a site, and nothing else, on standard output.
    Invite {
        /// The site's name: a-z, 0-9 and '-'.
        site: SiteName,
        /// How long the token can be used: 30m, 1h, 7d.
        #[arg(long, default_value = "1h", value_parser = Span::parse)]
        expires: Span,
    },
    /// The sites that have joined.
    Sites(Output),
    /// Links and queues.
    Status(Output),
    /// Revoke a site: its link is closed, its certificate is of no more use. What waits for it stays.
    Revoke {
        /// The site.
        site: SiteName,
    },
    /// What its site refuses, with the reason: it goes on no more by itself.
    Failed(Output),
    /// Offer what was given up once more.
    Retry {
        /// Delivery ids, as `failed` prints them; all that was given up when nothing is said.
        #[arg(value_name = "DELIVERY", conflicts_with = "site")]
        deliveries: Vec<String>,
        /// What is for this site.
        #[arg(long)]
        site: Option<SiteName>,
        /// How to print it.
        #[command(flatten)]
        output: Output,
    },
    /// Drop what was given up. The site it comes from still has it, and offers it again within the hour unless it is
    /// discarded there too.
    Discard {
        /// Delivery ids, as `failed` prints them.
        #[arg(value_name = "DELIVERY", required = true)]
        deliveries: Vec<String>,
        /// For good.
        #[arg(long, required = true)]
        yes: bool,
        /// How to print it.
        #[command(flatten)]
        output: Output,
    },
}
