//! `edge-gateway policy`: the rules in words, and what they would do. Reads `edge.toml` and nothing else, so that it may be
//! asked beside a running daemon, or before there is one.

mod callers;
mod show;
mod subjects;
mod trial;
mod words;

use std::path::Path;

use packhorse_daemon::output;

use super::CommandError;
use super::args::Policy;
use crate::config::Config;
use crate::gateway::StartError;

/// What only a daemon knows of a route is no part of this.
const NOT_CONSIDERED: &str = "the far site's consent and what its PACS takes are not considered: edge-gateway routes";

pub(super) fn run(dir: &Path, what: &Policy) -> Result<(), CommandError> {
    let config = Config::load(dir).map_err(StartError::Config)?;
    match what {
        Policy::Show { to, output: format } => {
            let routes = callers::routes(&config, to.as_ref())?;
            print(&show::show(&config, &routes, format.json), format.json);
            Ok(())
        }
        Policy::Test(asked) => {
            let trials = trial::run(&config, asked)?;
            print(&trials.show(asked.verbose, asked.output.json), asked.output.json);
            trials.verdict()
        }
    }
}

fn print(said: &str, json: bool) {
    output::line(said);
    if !json {
        output::line(NOT_CONSIDERED);
    }
}

#[cfg(test)]
mod tests;
