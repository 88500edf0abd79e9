//! `edge-gateway`: the DICOM node on a site's LAN. Everything is in `packhorse_edge`; this only reads arguments.

use std::process::ExitCode;

use clap::Parser as _;
use packhorse_edge::{Cli, run, told};

#[tokio::main]
async fn main() -> ExitCode {
    packhorse_daemon::process::start();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            packhorse_daemon::output::error_line(&told(&error));
            error.failure().code()
        }
    }
}
