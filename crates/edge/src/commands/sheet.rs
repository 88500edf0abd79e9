//! `edge-gateway sheet`: what has to be entered for one route, and by whom.

use packhorse_policy::{Outcome, Route, Rule};

use crate::config::CallingTitle;
use crate::shared::Shared;

/// One part for each PACS team, one for the firewall team.
pub(crate) fn sheet(shared: &Shared, route: &Route) -> String {
    let (called, site) = (&route.called_ae_title, &shared.site);
    let (to_ae, to_site) = (&route.to_ae_title, &route.to_site);
    format!(
        "ROUTE {called}: from {site} to {to_ae} at {to_site}\n\
         \n\
         For the PACS team at {site} (the sender)\n\
         Called AE title       {called}\n\
         Address               {address}\n\
         Protocol              DICOM C-STORE and C-ECHO, TCP\n\
         SOP classes           every storage class of the standard, retired ones too, but for:\n{refused}\n\
         Transfer syntaxes     any; data sets arrive byte for byte\n\
         Time-outs             60 s or more for the answer to a C-STORE\n\
         Storage commitment    off: this version does not give it\n\
         A refused class       most senders abort the association at the first object of it; DCMTK goes on with -nh,\n\
         \x20                     Orthanc with Permissive\n\
         \n\
         For the PACS team at {to_site} (the receiver)\n\
         Its AE title          {to_ae}\n\
         Calling AE title      {calling}\n\
         Identifiers           arrive as they were: keep Patient ID domains of {site} apart\n\
         Duplicates            an instance may come again when its answer was lost\n\
         \n\
         For the firewall team at both sites\n\
         Outbound              UDP to the relay, {relay}\n\
         Inbound               nothing\n",
        address = addresses(shared, route).join(", "),
        refused = refused(shared, route).join("\n"),
        calling = calling(shared, route),
        relay = relay(shared),
    )
}

/// Where the route can be called: as bound, or as configured when nothing listens now.
fn addresses(shared: &Shared, route: &Route) -> Vec<String> {
    let is_ours = |name: &str| route.listener.as_deref().is_none_or(|bound| bound == name);
    let with_tls = |name: &str| {
        if shared.config.listener_tls(name).is_some() {
            " (TLS)"
        } else {
            ""
        }
    };
    if let Some(bound) = shared.bound.get() {
        let ours = bound.iter().filter(|(name, _)| is_ours(name));
        return ours
            .map(|(name, address)| format!("{address}{}", with_tls(name)))
            .collect();
    }
    let configured = shared.config.listeners.iter();
    configured
        .filter(|listener| is_ours(&listener.name))
        .map(|listener| format!("{}{}", listener.address, with_tls(&listener.name)))
        .collect()
}

/// The rules that keep something from going through.
fn refused(shared: &Shared, route: &Route) -> Vec<String> {
    let rules = shared.config.engine.rules().iter();
    let words = |rule: &Rule| {
        let what = match rule.outcome {
            Outcome::Accept => return None,
            Outcome::RefuseContext => "refused at negotiation",
            Outcome::RefuseInstance => "answered with a failure",
            Outcome::Hold => "answered Success and held here",
        };
        let conditions = rule.conditions();
        let only = if conditions.is_empty() {
            String::new()
        } else {
            format!(", only {conditions}")
        };
        Some(format!("  {}: {what}{only}", rule.name))
    };
    rules
        .filter(|rule| !rule.shadow && rule.is_for_route(&route.called_ae_title))
        .filter_map(words)
        .collect()
}

/// The title that the far PACS will be called by, as its site has announced it.
fn calling(shared: &Shared, route: &Route) -> String {
    let entry = shared.directory.site(&route.to_site);
    let published = entry.and_then(|entry| {
        let mut all = entry.destinations.into_iter();
        all.find(|published| published.ae_title == route.to_ae_title.as_str())
    });
    published
        .and_then(|published| published.calling_ae_title)
        .map(|title| match CallingTitle::try_from(title.as_str()) {
            Ok(CallingTitle::Original) => "the title that the source calls with".to_owned(),
            _ => title,
        })
        .unwrap_or_else(|| format!("as configured at {}, which has not announced it yet", route.to_site))
}

fn relay(shared: &Shared) -> String {
    match &shared.config.relay {
        Some(configured) => configured.clone(),
        None => shared.relay.join(", "),
    }
}
