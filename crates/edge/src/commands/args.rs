//! The command line of `edge-gateway`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::SiteName;

/// Carries DICOM studies between this site's PACS and others, through a relay.
#[derive(Debug, Parser)]
#[command(name = "edge-gateway", version, max_term_width = 100)]
pub struct Cli {
    /// The gateway's folder: configuration, identity, spool, ledger.
    #[arg(long, global = true, env = "PACKHORSE_DIR", default_value = "/var/lib/packhorse")]
    pub dir: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `edge-gateway` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a relay with the token that `relay invite` printed: makes keys, gets a certificate, writes edge.toml.
    Join {
        /// The one-use token.
        token: String,
    },
    /// Serve until SIGTERM or SIGINT. Ready when it prints one line: `ready {...}`.
    Run {
        /// Log as JSON lines.
        #[arg(long)]
        log_json: bool,
    },
    /// Consent: let a site send to one of our destinations. Written to edge.toml (comments kept) and in force at once.
    Accept {
        /// The site that may send.
        site: SiteName,
        /// AE title of our destination.
        #[arg(long = "for", value_name = "AE")]
        destination: AeTitle,
    },
    /// Send files and folders, through the same policy, ledger and spool as a C-STORE.
    Send(Send),
    /// The accounts of the studies, newest first.
    Studies(Studies),
    /// Link, queues, destinations, and what needs a hand.
    Status(Output),
    /// The AE titles we answer as, where they lead, and what is known of the PACS there.
    Routes(Routes),
    /// What the two PACS teams and the firewall team have to enter, for one route.
    Sheet {
        /// The route: its called AE title.
        route: AeTitle,
    },
    /// The DICOM conformance statement (PS3.2) of this configuration, as Markdown.
    Conformance,
    /// One study: its account, its instances, and what was refused.
    Study {
        /// Study Instance UID.
        uid: String,
        /// How to print it.
        #[command(flatten)]
        output: Output,
    },
    /// Look at everything that this gateway needs, and say what is wrong and what to do. Exit code 1 when something is.
    #[command(args_conflicts_with_subcommands = true)]
    Doctor {
        /// How to print it.
        #[command(flatten)]
        output: Output,
        /// Look at somebody in particular. Works without the daemon.
        #[command(subcommand)]
        at: Option<Doctor>,
    },
    /// Instances that were given up, with the destination's answer, and those that are held, with the reason.
    #[command(visible_alias = "held")]
    Failed(Output),
    /// Try failed instances again, and those that wait for their next try, now. All failed ones when nothing is said.
    Retry(Which),
    /// Keep queued instances back until `release`: here before they go to the relay, at the far site before its PACS.
    Hold(Which),
    /// Send on what a rule, `on_arrival` or a person holds. What lacks consent is let go by `accept`.
    Release(Which),
    /// Give instances up for good. It goes on record, with who did it and why, at both sites.
    Discard(Discard),
    /// Send delivered instances to their PACS again, from what the site that delivered them still has. Run where they came
    /// from it asks that site (`--study`, and `--to`).
    Resend(Which),
    /// C-ECHO the whole way to a PACS, each leg with its time; exit code 1 when it does not get there.
    Echo {
        /// A route's called AE title, or the AE title of a destination of this site.
        #[arg(value_name = "AE")]
        ae_title: AeTitle,
        /// How to print it.
        #[command(flatten)]
        output: Output,
    },
    /// What a person should hear of, the newest first, who was told, and how the channels do.
    Notices(Notices),
    /// Who is told: the channels of `[[notify]]`.
    #[command(subcommand)]
    Notify(Notify),
    /// The rules in words, and what they would do. Reads edge.toml only: works without the daemon, and disturbs none.
    #[command(subcommand)]
    Policy(Policy),
}

/// Which deliveries a command is for. All that is given must hold together.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// Delivery ids, as `failed` prints them.
    #[arg(value_name = "DELIVERY")]
    pub deliveries: Vec<String>,
    /// Study Instance UID; empty: the instances without one.
    #[arg(long, value_name = "UID")]
    pub study: Option<String>,
    /// SOP Instance UID.
    #[arg(long, value_name = "UID")]
    pub instance: Option<String>,
    /// SOP class: a UID, a keyword, or a group as in rules (images, raw-data, ...).
    #[arg(long, value_name = "NAME|UID")]
    pub class: Option<String>,
    /// What the PACS answered: C000, A9xx.
    #[arg(long, value_name = "HEX")]
    pub status: Option<String>,
    /// The destination's AE title, or SITE/AE, or the route's called AE title.
    #[arg(long, alias = "route", value_name = "AE")]
    pub to: Option<String>,
    /// The site they came from, or the name of the source.
    #[arg(long, value_name = "SITE")]
    pub from: Option<String>,
    /// Held by this rule: its number or name.
    #[arg(long, value_name = "N|NAME")]
    pub rule: Option<String>,
    /// Everything that the command can be done to.
    #[arg(long)]
    pub all: bool,
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// How to print it.
    #[command(flatten)]
    pub output: Output,
}

/// What to give up, and why.
#[derive(Clone, Debug, Args)]
pub struct Discard {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Why, for the record: 1 to 200 characters.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub reason: Option<String>,
    /// However many they are.
    #[arg(long)]
    pub yes: bool,
    /// Only if they are so many.
    #[arg(long, value_name = "N")]
    pub expect: Option<u64>,
    /// Also what was handed to the relay: only the copy here is given up, and what the far site does counts.
    #[arg(long)]
    pub force: bool,
}

/// What can be looked at.
#[derive(Clone, Debug, Subcommand)]
pub enum Doctor {
    /// What a peer presents on its TLS port, and the line to paste into edge.toml. Nothing is sent to it.
    Tls {
        /// HOST:PORT of the peer.
        address: String,
        /// Whether this file of trusted certificates would do.
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
        /// How to print it.
        #[command(flatten)]
        output: Output,
    },
}

/// How a command prints.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Output {
    /// Print JSON, for programs.
    #[arg(long)]
    pub json: bool,
}

/// What to send, and to whom.
#[derive(Clone, Debug, Args)]
pub struct Send {
    /// DICOM files, or folders of them.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// A route's called AE title.
    #[arg(long, value_name = "AE")]
    pub to: AeTitle,
    /// No progress bar.
    #[arg(long)]
    pub quiet: bool,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output,
}

/// Which routes to show.
#[derive(Clone, Debug, Args)]
pub struct Routes {
    /// Only of this AE title: a route's called AE title, or one of our destinations. With everything that is known.
    #[arg(value_name = "AE")]
    pub ae_title: Option<AeTitle>,
    /// Everything that is known of what each PACS takes, with its age and where it is from.
    #[arg(long)]
    pub facts: bool,
    /// How to print them.
    #[command(flatten)]
    pub output: Output,
}

/// Which studies to show.
#[derive(Clone, Debug, Args)]
pub struct Studies {
    /// Patient ID.
    #[arg(long)]
    pub patient: Option<String>,
    /// Accession number.
    #[arg(long)]
    pub accession: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// How to print them.
    #[command(flatten)]
    pub output: Output,
}

/// Which notices to show.
#[derive(Clone, Copy, Debug, Args)]
pub struct Notices {
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// How to print them.
    #[command(flatten)]
    pub output: Output,
}

/// What can be done with channels.
#[derive(Clone, Debug, Subcommand)]
pub enum Notify {
    /// Send a test through every channel now, or through one, and print what each answered.
    Test(NotifyTest),
}

/// Which channel to try.
#[derive(Clone, Debug, Args)]
pub struct NotifyTest {
    /// Its name; all when none is given.
    pub name: Option<String>,
    /// How to print the answers.
    #[command(flatten)]
    pub output: Output,
}

/// What can be asked of the rules.
#[derive(Clone, Debug, Subcommand)]
pub enum Policy {
    /// The rules in force on each route, in their order, the shipped ones last.
    Show {
        /// Only this route: its called AE title.
        #[arg(long, value_name = "AE")]
        to: Option<AeTitle>,
        /// How to print it.
        #[command(flatten)]
        output: Output,
    },
    /// What would become of files, or of a class, and by which rule. Exit code 1 when something would be refused.
    Test(PolicyTest),
}

/// What to try.
#[derive(Clone, Debug, Args)]
pub struct PolicyTest {
    /// DICOM files, or folders of them; each in its own transfer syntax. Files without file meta information, too.
    #[arg(required_unless_present = "class")]
    pub paths: Vec<PathBuf>,
    /// Who would send: a calling AE title. Every kind of caller in edge.toml when none is given.
    #[arg(long, value_name = "AE")]
    pub from: Option<AeTitle>,
    /// Where to: a route's called AE title. Every route when none is given.
    #[arg(long, value_name = "AE")]
    pub to: Option<AeTitle>,
    /// Instead of files: a SOP class by UID or keyword (RawDataStorage), or a group of them (raw-data). May be repeated.
    #[arg(long, conflicts_with = "paths")]
    pub class: Vec<String>,
    /// With --class: a transfer syntax by UID or keyword. May be repeated. Explicit and Implicit VR Little Endian when none
    /// is given.
    #[arg(long, requires = "class")]
    pub syntax: Vec<String>,
    /// With --class: what the header says, such as PatientName=TEST^1. May be repeated; what is not given is absent then.
    #[arg(long, requires = "class", value_name = "KEYWORD=VALUE")]
    pub header: Vec<String>,
    /// With --class: how large the data set is, such as 2MiB.
    #[arg(long, requires = "class")]
    pub size: Option<String>,
    /// Name every file.
    #[arg(long, short)]
    pub verbose: bool,
    /// How to print it.
    #[command(flatten)]
    pub output: Output,
}
