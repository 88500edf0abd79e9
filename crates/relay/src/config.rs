//! `relay.toml`.

use std::net::SocketAddr;
use std::path::Path;

use packhorse_daemon::config::{ConfigError, ConfigProblem, load};
use packhorse_daemon::{ByteSize, Span};
use serde::Deserialize;

/// Name of the configuration file in the relay's folder.
pub(crate) const FILE_NAME: &str = "relay.toml";

/// `relay.toml` as it stands.
#[derive(Clone, Debug, Deserialize)]
pub struct RawConfig {
    /// The name that sites reach this relay by: `HOST[:PORT]`.
    pub name: String,
    /// The UDP address it listens on. Default `0.0.0.0:443`.
    #[serde(default = "default_quic")]
    pub quic: SocketAddr,
    /// Bytes of the disk that are never used. Default 256MiB.
    pub reserve: Option<ByteSize>,
    /// How long a shutdown waits for what is under way. Default 10s.
    pub grace: Option<Span>,
}

fn default_quic() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 443))
}

/// The relay's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Host name or address that sites use.
    pub host: String,
    /// The port they use; `None`: the one it listens on.
    pub port: Option<u16>,
    /// Where it listens.
    pub quic: SocketAddr,
    /// Bytes of the disk that are never used.
    pub reserve: u64,
    /// How long a shutdown waits.
    pub grace: std::time::Duration,
}

impl Config {
    /// Reads `relay.toml` in `folder`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        load(&folder.join(FILE_NAME), Self::check)
    }

    /// Checks a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(raw: &RawConfig) -> Result<Self, Vec<ConfigProblem>> {
        let wrong = |problem: String| {
            vec![ConfigProblem {
                path: "name".to_owned(),
                problem,
            }]
        };
        let (host, port) = split_name(&raw.name).map_err(wrong)?;
        Ok(Self {
            host,
            port,
            quic: raw.quic,
            reserve: raw.reserve.map_or(256 << 20, |size| size.0),
            grace: raw.grace.map_or(std::time::Duration::from_secs(10), |span| span.0),
        })
    }
}

/// Host and port of an advertised name. An IPv6 address with a port stands in brackets.
pub(crate) fn split_name(name: &str) -> Result<(String, Option<u16>), String> {
    let wrong = || format!("{name:?} is no HOST or HOST:PORT (an IPv6 address with a port stands in brackets)");
    if name.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((name.to_owned(), None));
    }
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
        None => (name, None),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_host = host.parse::<std::net::IpAddr>().is_ok() || host.split('.').all(is_label);
    if is_host && port != Some(0) {
        Ok((host.to_owned(), port))
    } else {
        Err(wrong())
    }
}

/// The file that `relay init` writes.
pub(crate) fn template(name: &str) -> String {
    format!(
        "# Packhorse relay. Every key with its default is here; unknown keys are errors.\n\
         \n\
         # The name that sites reach this relay by; it stands in join tokens and in the relay's certificate.\n\
         # Add :PORT when sites use another port than the one below (behind a NAT).\n\
         name = \"{name}\"\n\
         \n\
         # The UDP address it listens on. Port 0: any free one, printed behind `ready`.\n\
         quic = \"0.0.0.0:443\"\n\
         \n\
         # Bytes of the disk that are never used.\n\
         # reserve = \"256MiB\"\n\
         \n\
         # How long a shutdown waits for what is under way.\n\
         # grace = \"10s\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_host_and_maybe_a_port() {
        assert_eq!(split_name("relay.example"), Ok(("relay.example".to_owned(), None)));
        assert_eq!(
            split_name("relay.example:4433"),
            Ok(("relay.example".to_owned(), Some(4433)))
        );
        assert_eq!(
            split_name("[2001:db8::1]:443"),
            Ok(("2001:db8::1".to_owned(), Some(443)))
        );
        assert_eq!(split_name("2001:db8::1"), Ok(("2001:db8::1".to_owned(), None)));
        for name in ["", "a b", "relay:0", "relay:x", "http://relay"] {
            assert!(split_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_template_is_a_configuration() {
        let config = packhorse_daemon::config::parse(&template("relay.example"), Config::check).unwrap();
        assert_eq!((config.host.as_str(), config.quic), ("relay.example", default_quic()));
    }
}
