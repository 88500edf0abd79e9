//! Sources, routes and rules as they stand in `edge.toml`, and what may be wrong with them. All errors are reported at
//! once, each with its path.

use std::collections::BTreeMap;
use std::fmt;

use packhorse_dicom::uid::TransferSyntaxUid;
use serde::Deserialize;

/// `[[source]]`: who may send to us.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSource {
    /// What to call it in reports; default the first title.
    pub name: String,
    /// Calling AE titles; `*` and `?` stand for any characters and one. At least one.
    pub ae_titles: Vec<String>,
    /// Addresses, CIDRs or names. At least one.
    pub hosts: Vec<String>,
    /// Operations that it may have under way at a time where it asks for more than one (PS3.7 §D.3.3.3). Default 1. Policy
    /// only carries this.
    pub async_operations: Option<u16>,
    /// The certificate it must come with. Policy only carries this: whoever has the connection checks it.
    pub tls: Option<RawSourceTls>,
    /// Whether its command's Priority (0000,0700) counts: HIGH makes an instance STAT. Default: no, priority is by rule. Policy
    /// only carries this ([`Source::trusts_dimse_priority`](crate::Source::trusts_dimse_priority)).
    pub trust_dimse_priority: bool,
}

/// `[[source]] tls`: at least one of the two.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSourceTls {
    /// Fingerprint of its certificate.
    pub pin: Option<String>,
    /// File of trusted certificates.
    pub trust: Option<String>,
}

/// `[[route]]`: an AE title we answer as, and where it leads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRoute {
    /// The title.
    pub called_ae_title: String,
    /// `site/AE title`.
    pub to: String,
    /// Only on this listener.
    pub listener: Option<String>,
    /// Only these transfer syntaxes, UIDs or keywords, in this order of preference. Implicit VR Little Endian is taken in
    /// any case.
    pub transfer_syntaxes: Vec<String>,
    /// `local` (the default) or `end-to-end`: what a C-ECHO on it is about.
    pub echo: Option<String>,
    /// After which time what goes here and is not delivered is late. Policy only carries this.
    pub late: Option<String>,
}

/// `[[rule]]`: the first that matches decides. A list that is empty matches everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRule {
    /// What to call it; default its number.
    pub name: String,
    /// Calling AE titles or patterns.
    pub source: Vec<String>,
    /// Called AE titles.
    pub route: Vec<String>,
    /// UIDs, keywords, groups (`raw-data`, `images`, …), or `retired`.
    pub class: Vec<String>,
    /// UIDs or keywords.
    pub transfer_syntax: Vec<String>,
    /// `accept`, `refuse-context`, `refuse-instance` or `hold`.
    pub outcome: String,
    /// `stat`, `routine` or `bulk`, for what is accepted. Default `routine`.
    pub priority: Option<String>,
    /// Modalities (0008,0060), as patterns in which case does not count. This and the following three ask for what only an
    /// instance shows, so they do not go with `refuse-context`.
    pub modality: Vec<String>,
    /// Header attributes by keyword ([`Attribute`](crate::Attribute)), and patterns of which one has to match. `""` is for
    /// absent or empty.
    pub header: BTreeMap<String, Vec<String>>,
    /// Data sets of more bytes than this: `"64MiB"`.
    pub larger_than: Option<String>,
    /// Data sets of fewer bytes than this.
    pub smaller_than: Option<String>,
    /// For `outcome = "hold"`: `until-released` (the default), or a time such as `30d` after which it is discarded.
    pub hold: Option<String>,
    /// For `outcome = "hold"`: how much the rule may hold: `"20GiB"`. Default: no quota of its own.
    pub quota: Option<String>,
    /// It decides nothing; what it would have done is told.
    pub shadow: bool,
}

/// A transfer syntax by UID or keyword.
///
/// # Errors
/// What is wrong with it, and what may have been meant.
pub fn transfer_syntax(text: &str) -> Result<TransferSyntaxUid, String> {
    crate::route::syntax(text)
}

/// Something in the configuration that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Where, such as `rule[2].class[0]`; counted from 1.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// Gathers errors with their paths.
#[derive(Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<ConfigError>);

impl Errors {
    pub(crate) fn add(&mut self, path: String, problem: impl Into<String>) {
        self.0.push(ConfigError {
            path,
            problem: problem.into(),
        });
    }

    /// The value, or an error under `path`.
    pub(crate) fn take<T, E: fmt::Display>(&mut self, path: String, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(path, error.to_string())).ok()
    }

    /// Every value of a list, each under `path[number]`.
    pub(crate) fn take_all<T, E: fmt::Display>(
        &mut self,
        path: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let numbered = texts.iter().zip(1..);
        numbered
            .filter_map(|(text, number)| self.take(format!("{path}[{number}]"), read(text)))
            .collect()
    }
}
