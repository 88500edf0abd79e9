//! `[[destination]]`: PACS of this site that other sites may send to.

use packhorse_association::driver::tls::TlsRequestor;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::SiteName;
use serde::Deserialize;

use super::problems::Problems;
use super::tls::RawDestinationTls;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawDestination {
    pub(super) ae_title: String,
    pub(super) address: String,
    pub(super) calling_ae_title: String,
    pub(super) accept_from: Vec<String>,
    pub(super) tls: Option<RawDestinationTls>,
}

/// A PACS we deliver to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its AE title, under which other sites know it.
    pub ae_title: AeTitle,
    /// `host:port`.
    pub address: String,
    /// The title that this PACS knows us by.
    pub calling_ae_title: AeTitle,
    /// Sites that may send to it.
    pub accept_from: Vec<SiteName>,
    /// `None`: without TLS.
    pub tls: Option<TlsRequestor>,
}

pub(super) fn destinations(
    raw: &[RawDestination],
    requestors: Vec<Option<TlsRequestor>>,
    problems: &mut Problems,
) -> Vec<Destination> {
    let mut all: Vec<Destination> = Vec::new();
    for ((destination, tls), number) in raw.iter().zip(requestors).zip(1..) {
        let path = |key: &str| format!("destination[{number}].{key}");
        let ae_title = problems.take(path("ae_title"), AeTitle::try_from(destination.ae_title.as_str()));
        let calling = problems.take(
            path("calling_ae_title"),
            AeTitle::try_from(destination.calling_ae_title.as_str()),
        );
        if !is_host_port(&destination.address) {
            let problem = format!("{:?} is no \"host:port\"", destination.address);
            problems.add(path("address"), problem);
        }
        let sites = destination.accept_from.iter().zip(1..);
        let accept_from = sites
            .filter_map(|(site, at)| {
                problems.take(
                    format!("{}[{at}]", path("accept_from")),
                    SiteName::try_from(site.as_str()),
                )
            })
            .collect();
        if let (Some(ae_title), Some(calling_ae_title)) = (ae_title, calling) {
            if all.iter().any(|other| other.ae_title == ae_title) {
                problems.add(path("ae_title"), format!("there is a destination {ae_title} already"));
            }
            all.push(Destination {
                ae_title,
                address: destination.address.clone(),
                calling_ae_title,
                accept_from,
                tls,
            });
        }
    }
    all
}

fn is_host_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}
