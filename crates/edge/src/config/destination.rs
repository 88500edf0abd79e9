//! `[[destination]]`: PACS of this site that other sites may send to.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use packhorse_association::driver::tls::TlsRequestor;
use packhorse_daemon::Span;
use packhorse_dicom::ae_title::{AeTitle, InvalidAeTitle};
use packhorse_ids::SiteName;
use packhorse_policy::MirrorMode;
use serde::Deserialize;

use super::mirror;
use super::problems::Problems;
use super::tls::RawDestinationTls;

/// The word in configuration for the title of whoever sent.
const ORIGINAL: &str = "original";
/// Our title where the source's is to be passed on and there is none: at a question of our own.
const OWN_CALLING: &str = "PACKHORSE";
/// Associations with one destination at a time, at most.
const ASSOCIATIONS_MAX: usize = 16;
/// How long a study is waited for, unless configured.
const MAX_WAIT: Duration = Duration::from_secs(30 * 60);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawDestination {
    pub(super) ae_title: String,
    pub(super) address: String,
    pub(super) calling_ae_title: String,
    pub(super) accept_from: Vec<String>,
    pub(super) tls: Option<RawDestinationTls>,
    pub(super) calling_ae_titles: BTreeMap<String, String>,
    pub(super) associations: Option<usize>,
    pub(super) deliver: Option<String>,
    pub(super) max_wait: Option<Span>,
    pub(super) on_arrival: Option<String>,
    pub(super) mirror: Option<String>,
    pub(super) on_refused_syntax: Option<String>,
}

/// A PACS we deliver to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its AE title, under which other sites know it.
    pub ae_title: AeTitle,
    /// `host:port`.
    pub address: String,
    /// The title that this PACS knows us by.
    pub calling_ae_title: CallingTitle,
    /// Sites that may send to it.
    pub accept_from: Vec<SiteName>,
    /// `None`: without TLS.
    pub tls: Option<TlsRequestor>,
    /// The titles that it knows us by for what comes from these sites.
    pub calling_ae_titles: BTreeMap<SiteName, CallingTitle>,
    /// Associations at a time, 1 to 16, for different patients. Default 1.
    pub associations: NonZeroUsize,
    /// When it is delivered to.
    pub deliver: Deliver,
    /// What becomes of an arrival.
    pub on_arrival: OnArrival,
    /// What is done with what it is known to take. `None`: nothing, and it is not asked either.
    pub mirror: Option<MirrorMode>,
    /// What becomes of an instance whose transfer syntax it does not take.
    pub on_refused_syntax: OnRefusedSyntax,
}

/// The title that a destination is called by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallingTitle {
    /// One of ours.
    Own(AeTitle),
    /// That of whoever sent the instance.
    Original,
}

/// When a destination is delivered to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliver {
    /// Each instance once it is here.
    #[default]
    AsItComes,
    /// A study once it is quiet at its source and all of it is here, over one association.
    WholeStudy {
        /// What is here of it goes all the same so long after its first instance came. Default 30 min.
        max_wait: Duration,
    },
}

/// What becomes of an arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnArrival {
    /// It is delivered.
    #[default]
    Deliver,
    /// It is held until somebody releases it.
    Hold,
}

/// What becomes of an instance whose transfer syntax the destination does not take (result 4, PS3.8 Table 9-18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefusedSyntax {
    /// The failed list.
    #[default]
    Fail,
    /// It is sent in an uncompressed syntax, when that can be done without loss.
    Convert,
}

impl Destination {
    /// The title to call it by, for what comes from `site`. `original` is the calling AE title that the source used there;
    /// `None` for what no source asked for: where the source's title is to be passed on, it is `PACKHORSE` then.
    #[must_use]
    pub fn calling_ae_title_for(&self, site: &SiteName, original: Option<&AeTitle>) -> AeTitle {
        match self.calling_title(site) {
            CallingTitle::Own(title) => title.clone(),
            CallingTitle::Original => original.cloned().unwrap_or_else(own_calling),
        }
    }

    /// What is configured for `site`.
    #[must_use]
    pub fn calling_title(&self, site: &SiteName) -> &CallingTitle {
        self.calling_ae_titles.get(site).unwrap_or(&self.calling_ae_title)
    }
}

fn own_calling() -> AeTitle {
    AeTitle::try_from(OWN_CALLING).expect("it is nine letters")
}

impl CallingTitle {
    /// The word in configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Own(title) => title.as_str(),
            Self::Original => ORIGINAL,
        }
    }
}

impl fmt::Display for CallingTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<&str> for CallingTitle {
    type Error = InvalidAeTitle;

    fn try_from(text: &str) -> Result<Self, InvalidAeTitle> {
        match text {
            ORIGINAL => Ok(Self::Original),
            title => AeTitle::try_from(title).map(Self::Own),
        }
    }
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
            CallingTitle::try_from(destination.calling_ae_title.as_str()),
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
        let calling_ae_titles = titles(&destination.calling_ae_titles, &path("calling_ae_titles"), problems);
        let associations = associations(destination.associations, &path("associations"), problems);
        let deliver = deliver(destination, path, problems);
        let on_arrival = on_arrival(destination.on_arrival.as_deref(), &path("on_arrival"), problems);
        let mirror = mirror::mode(destination.mirror.as_deref(), path("mirror"), problems);
        let on_refused_syntax = on_refused_syntax(
            destination.on_refused_syntax.as_deref(),
            &path("on_refused_syntax"),
            problems,
        );
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
                calling_ae_titles,
                associations,
                deliver,
                on_arrival,
                mirror,
                on_refused_syntax,
            });
        }
    }
    all
}

fn titles(raw: &BTreeMap<String, String>, path: &str, problems: &mut Problems) -> BTreeMap<SiteName, CallingTitle> {
    let one = |(site, title): (&String, &String)| {
        let path = format!("{path}.{site}");
        let title = problems.take(path.clone(), CallingTitle::try_from(title.as_str()));
        let site = problems.take(path, SiteName::try_from(site.as_str()));
        site.zip(title)
    };
    raw.iter().filter_map(one).collect()
}

fn associations(raw: Option<usize>, path: &str, problems: &mut Problems) -> NonZeroUsize {
    let given = raw.unwrap_or(1);
    match NonZeroUsize::new(given) {
        Some(number) if given <= ASSOCIATIONS_MAX => number,
        _ => {
            problems.add(
                path.to_owned(),
                format!("{given} is not within 1 to {ASSOCIATIONS_MAX}"),
            );
            NonZeroUsize::MIN
        }
    }
}

fn deliver(raw: &RawDestination, path: impl Fn(&str) -> String, problems: &mut Problems) -> Deliver {
    match (raw.deliver.as_deref(), raw.max_wait) {
        (Some("whole-study"), max_wait) => Deliver::WholeStudy {
            max_wait: max_wait.map_or(MAX_WAIT, |span| span.0),
        },
        (None | Some("as-it-comes"), max_wait) => {
            if max_wait.is_some() {
                problems.add(path("max_wait"), "it is for deliver = \"whole-study\" only".to_owned());
            }
            Deliver::AsItComes
        }
        (Some(other), _) => {
            problems.add(
                path("deliver"),
                format!("{other:?} is none of as-it-comes, whole-study"),
            );
            Deliver::AsItComes
        }
    }
}

fn on_arrival(raw: Option<&str>, path: &str, problems: &mut Problems) -> OnArrival {
    match raw {
        None | Some("deliver") => OnArrival::Deliver,
        Some("hold") => OnArrival::Hold,
        Some(other) => {
            problems.add(path.to_owned(), format!("{other:?} is none of deliver, hold"));
            OnArrival::Deliver
        }
    }
}

fn on_refused_syntax(raw: Option<&str>, path: &str, problems: &mut Problems) -> OnRefusedSyntax {
    match raw {
        None | Some("fail") => OnRefusedSyntax::Fail,
        Some("convert") => OnRefusedSyntax::Convert,
        Some(other) => {
            problems.add(path.to_owned(), format!("{other:?} is none of fail, convert"));
            OnRefusedSyntax::Fail
        }
    }
}

fn is_host_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    /// The destinations, or the paths of what is wrong.
    fn read(text: &str) -> (Vec<Destination>, Vec<String>) {
        let checked = packhorse_daemon::config::parse(text, |raw| Config::check(raw, Path::new("/nowhere")));
        match checked {
            Ok(config) => (config.destinations, Vec::new()),
            Err(problems) => (Vec::new(), problems.into_iter().map(|problem| problem.path).collect()),
        }
    }

    const PACS: &str = "[[destination]]\nae_title = \"P\"\naddress = \"h:1\"\n";

    #[test]
    fn the_calling_title_is_the_sites_own_or_the_sources() {
        let (read, problems) = read(&format!(
            "{PACS}calling_ae_title = \"US\"\ncalling_ae_titles = {{ clinic-a = \"PH_A\", clinic-b = \"original\" }}\n"
        ));
        assert_eq!(problems, Vec::<String>::new());
        let (site, ct) = (
            |name| SiteName::try_from(name).unwrap(),
            AeTitle::try_from("CT1").unwrap(),
        );
        let title = |name, original| read[0].calling_ae_title_for(&site(name), original).to_string();
        assert_eq!(title("clinic-a", Some(&ct)), "PH_A");
        assert_eq!(title("clinic-b", Some(&ct)), "CT1");
        assert_eq!(title("clinic-b", None), "PACKHORSE");
        assert_eq!(title("clinic-c", Some(&ct)), "US");
    }

    #[test]
    fn every_key_of_a_destination_is_checked() {
        let (_, problems) = read(&format!(
            "{PACS}calling_ae_title = \"US\"\nassociations = 17\ndeliver = \"later\"\non_arrival = \"drop\"\n\
             on_refused_syntax = \"lossy\"\n\
             calling_ae_titles = {{ Clinic = \"A\\\\B\" }}\n"
        ));
        let expected = [
            "calling_ae_titles.Clinic",
            "calling_ae_titles.Clinic",
            "associations",
            "deliver",
            "on_arrival",
            "on_refused_syntax",
        ];
        assert_eq!(problems, expected.map(|key| format!("destination[1].{key}")));
        let (_, problems) = read(&format!("{PACS}calling_ae_title = \"US\"\nmax_wait = \"1h\"\n"));
        assert_eq!(problems, ["destination[1].max_wait"]);
    }

    #[test]
    fn a_study_is_waited_for_half_an_hour_unless_it_says_otherwise() {
        let text = format!("{PACS}calling_ae_title = \"US\"\ndeliver = \"whole-study\"\n");
        let whole = |seconds| Deliver::WholeStudy {
            max_wait: Duration::from_secs(seconds),
        };
        assert_eq!(read(&text).0[0].deliver, whole(1800));
        assert_eq!(read(&format!("{text}max_wait = \"5s\"\n")).0[0].deliver, whole(5));
    }
}
