//! `edge-gateway conformance`: the conformance statement (PS3.2) of the configuration that runs, as Markdown. Networking
//! only: there are no media.
//!
//! Nothing here knows a rule. What is accepted is found out by asking policy, class by class and syntax by syntax; what our
//! user information says, by the answer to a request that proposes everything; what becomes of a status, by asking about
//! every status there is.

mod acceptor;
mod asked;
mod classes;
mod markdown;
mod requestor;
mod security;

use std::sync::Arc;

use packhorse_dicom::implementation::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use packhorse_dicom::sop_class::VERIFICATION;

use crate::config::CallingTitle;
use crate::gateway::BUILD;
use crate::shared::Shared;
pub(crate) use asked::{Caller, callers};
use markdown::Document;

/// The statement.
pub(crate) fn statement(shared: &Arc<Shared>) -> String {
    let mut document = Document::default();
    document.heading(1, "DICOM Conformance Statement");
    document.paragraph(format!(
        "{BUILD} at {}, as configured now. Implementation class UID {IMPLEMENTATION_CLASS_UID}, version name \
         {IMPLEMENTATION_VERSION_NAME}.",
        shared.site
    ));
    overview(&mut document, shared);
    introduction(&mut document);
    document.heading(2, "4 Networking");
    model(&mut document, shared);
    document.heading(2, "4.2 Application entity specifications");
    document.heading(3, "4.2.1 As acceptor, under every called AE title");
    acceptor::common(&mut document, shared);
    document.heading(3, "4.2.2 As acceptor, by called AE title");
    classes::called_titles(&mut document, shared);
    document.heading(3, "4.2.4 As requestor, by destination");
    requestor::common(&mut document, shared);
    for (destination, number) in shared.destinations().iter().zip(1..) {
        requestor::destination(&mut document, shared, destination, number);
    }
    interfaces(&mut document, shared);
    configuration(&mut document);
    document.heading(2, "5 Media interchange");
    document.paragraph("None.");
    document.heading(2, "6 Support of character sets");
    document.paragraph(
        "Data sets are passed on as they came, in whichever character set. For the accounts of studies Specific Character Set \
         (0008,0005) is decoded: the ISO 8859 parts, ISO 2022 with its Japanese, Korean and Chinese sets, GB18030, GBK and \
         UTF-8; what cannot be decoded is shown escaped and never fails an instance.",
    );
    security::section(&mut document, shared);
    document.finish()
}

fn overview(document: &mut Document, shared: &Shared) {
    document.heading(2, "1 Overview");
    document.paragraph(
        "Takes instances from PACS of this site and delivers them, byte for byte, to PACS of other sites, and theirs to PACS \
         of this site. It displays, changes and archives nothing.",
    );
    let yes = |is_so: bool| if is_so { "Yes" } else { "No" }.to_owned();
    let (routes, destinations) = (shared.config.engine.routes(), shared.destinations());
    let (takes, gives) = (yes(!routes.is_empty()), yes(!destinations.is_empty()));
    let rows = [
        [
            "Verification".to_owned(),
            VERIFICATION.to_owned(),
            gives.clone(),
            takes.clone(),
        ],
        [
            "Storage, classes as in 4.2.2".to_owned(),
            "section 4.2.2".to_owned(),
            gives,
            takes,
        ],
        [
            "Storage Commitment".to_owned(),
            "1.2.840.10008.1.20.1".to_owned(),
            yes(false),
            yes(false),
        ],
        [
            "Query/Retrieve, worklist, print and every other".to_owned(),
            "-".to_owned(),
            yes(false),
            yes(false),
        ],
    ];
    document.table(["Network service", "UID", "User (SCU)", "Provider (SCP)"], rows);
}

fn introduction(document: &mut Document) {
    document.heading(2, "3 Introduction");
    document.paragraph(
        "For those who connect a PACS or a modality. Terms are the standard's. `Now` and the tables of callers and classes are \
         of the moment at which this was printed: another configuration gives another statement.",
    );
}

fn model(document: &mut Document, shared: &Shared) {
    document.heading(3, "4.1 Implementation model");
    document.paragraph(
        "Each `[[route]]` of edge.toml is an application entity that is called (acceptor, SCP); each `[[destination]]` one that \
         calls (requestor, SCU). They have nothing in common but the process.",
    );
    let routes = shared.config.engine.routes().iter().map(|route| {
        let leads_to = format!("{} at {}", route.to_ae_title, route.to_site);
        [route.called_ae_title.to_string(), "acceptor".to_owned(), leads_to]
    });
    let destinations = shared.destinations();
    let destinations = destinations.iter().map(|destination| {
        let calls = format!("{} at {}", destination.ae_title, destination.address);
        [calling_titles(destination), "requestor".to_owned(), calls]
    });
    document.table(["AE title", "Role", "Leads to"], routes.chain(destinations));
}

/// Every title that a destination is called by.
fn calling_titles(destination: &crate::config::Destination) -> String {
    let words = |title: &CallingTitle| match title {
        CallingTitle::Own(title) => title.to_string(),
        CallingTitle::Original => "the source's".to_owned(),
    };
    let others = destination.calling_ae_titles.iter();
    let others = others.map(|(site, title)| format!("{} for {site}", words(title)));
    let all: Vec<_> = std::iter::once(words(&destination.calling_ae_title))
        .chain(others)
        .collect();
    all.join(", ")
}

fn interfaces(document: &mut Document, shared: &Shared) {
    document.heading(2, "4.3 Network interfaces");
    document.paragraph("TCP over IPv4 and IPv6, as the address says. Towards the relay only outbound connections, which carry no DICOM.");
    let bound = shared.bound.get();
    let rows = shared.config.listeners.iter().map(|listener| {
        let bound = bound.and_then(|bound| bound.iter().find(|(name, _)| *name == listener.name));
        let address = bound.map_or(listener.address, |(_, address)| *address);
        let state = if bound.is_some() { "listening" } else { "not running" };
        [listener.name.clone(), address.to_string(), state.to_owned()]
    });
    document.table(["Listener", "Address", "Now"], rows);
}

fn configuration(document: &mut Document) {
    document.heading(2, "4.4 Configuration");
    document.paragraph(
        "All of it is in edge.toml: listeners, sources (who may call), routes (called AE titles), rules (what is accepted), \
         destinations, and the limits and times that the tables above show. AE titles and addresses of remote application \
         entities are in `[[source]]` and `[[destination]]`.",
    );
}
