//! Where a caller may be.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// An entry of `hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// One address.
    Address(IpAddr),
    /// A network in CIDR notation.
    Network(IpNet),
    /// A name, which the caller of [`Engine::admit`](crate::Engine::admit) resolves.
    Name(Box<str>),
}

impl HostPattern {
    /// Reads an address, a CIDR or a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        let is_label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let looks_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !looks_numeric && text.len() <= 253 && text.split('.').all(is_label) {
            return Ok(Self::Name(text.into()));
        }
        Err(format!("{text:?} is no address, CIDR (10.0.0.0/8) or host name"))
    }

    /// Whether `peer` is there; `resolve` gives the addresses of a name.
    pub(crate) fn matches(&self, peer: IpAddr, resolve: &dyn Fn(&str) -> Vec<IpAddr>) -> bool {
        let peer = peer.to_canonical();
        match self {
            Self::Address(address) => address.to_canonical() == peer,
            Self::Network(network) => network.contains(&peer),
            Self::Name(name) => resolve(name).into_iter().any(|address| address.to_canonical() == peer),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}
