//! Who would send, and where to.

use std::net::{IpAddr, Ipv4Addr};

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::Proposal;
use packhorse_policy::{Engine, HostPattern, Refused, Route};

use crate::commands::CommandError;
use crate::config::Config;
use crate::conformance::{Caller, callers};

/// A caller and the title it calls.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    pub(super) from: Caller,
    pub(super) to: AeTitle,
    /// Where that leads, or why the association would be rejected.
    pub(super) admitted: Result<&'a Route, Refused>,
}

/// The route of this title, or all of them.
pub(super) fn routes<'a>(config: &'a Config, to: Option<&AeTitle>) -> Result<Vec<&'a Route>, CommandError> {
    let routes = config.engine.routes();
    let Some(to) = to else {
        return Ok(routes.iter().collect());
    };
    let found: Vec<_> = routes.iter().filter(|route| route.called_ae_title == *to).collect();
    if found.is_empty() {
        let known: Vec<_> = routes.iter().map(|route| route.called_ae_title.as_str()).collect();
        let why = format!(
            "no [[route]] with called_ae_title = \"{to}\"; there are: {}",
            known.join(", ")
        );
        return Err(CommandError::No(why));
    }
    Ok(found)
}

/// Every pair of these; where none is named, every kind of caller that the configuration tells apart, and every route.
pub(super) fn ways<'a>(config: &'a Config, from: Option<&AeTitle>, to: Option<&AeTitle>) -> Vec<Way<'a>> {
    let named = |title: &AeTitle| Caller {
        pattern: title.to_string(),
        title: title.clone(),
    };
    let callers = from.map_or_else(|| callers(&config.engine), |from| vec![named(from)]);
    let called: Vec<AeTitle> = match to {
        Some(to) => vec![to.clone()],
        None => {
            let mut called = Vec::new();
            for route in config.engine.routes() {
                if !called.contains(&route.called_ae_title) {
                    called.push(route.called_ae_title.clone());
                }
            }
            called
        }
    };
    let pairs = callers.iter().flat_map(|from| called.iter().map(move |to| (from, to)));
    pairs
        .map(|(from, to)| Way {
            from: from.clone(),
            to: to.clone(),
            admitted: admitted(config, &from.title, to),
        })
        .collect()
}

/// Whether the caller may send there, from an address that is its own.
fn admitted<'a>(config: &'a Config, from: &AeTitle, to: &AeTitle) -> Result<&'a Route, Refused> {
    let engine = &config.engine;
    let route = engine.routes().iter().find(|route| route.called_ae_title == *to);
    // `edge-gateway send` asks under its own title, and calls nobody.
    if let Some(route) = route.filter(|_| *from == config.send_ae_title) {
        return Ok(route);
    }
    let peer = address(engine, from);
    let listener = route.and_then(|route| route.listener.clone()).unwrap_or_default();
    let proposal = Proposal::of_contexts((peer, &listener), from.clone(), to.clone(), Vec::new());
    engine.admit(&proposal, &|_| vec![peer])?;
    Ok(engine
        .route(to, &proposal.listener)
        .expect("who is admitted calls a route"))
}

/// An address that the caller may have; any when nothing is known of it.
fn address(engine: &Engine, from: &AeTitle) -> IpAddr {
    let titled = engine.sources().iter().filter(|source| source.has_ae_title(from));
    let addresses = titled.flat_map(|source| source.hosts()).map(|host| match host {
        HostPattern::Address(address) => *address,
        HostPattern::Network(network) => network.addr(),
        HostPattern::Name(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    });
    addresses
        .into_iter()
        .next()
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
