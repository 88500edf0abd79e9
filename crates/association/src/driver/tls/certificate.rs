//! What a certificate says, for people; and its fingerprint, which is what a pin is.

use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use rustls::pki_types::UnixTime;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

const SECONDS_OF_DAY: i64 = 24 * 3600;
const PREFIX: &str = "sha256:";

/// SHA-256 of a certificate's DER, written `sha256:` and 64 hexadecimal digits. Of the whole certificate and not of its
/// key, for that is the fingerprint that `openssl x509 -fingerprint -sha256`, browsers and appliances show: an
/// administrator can compare it over the telephone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate's DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not \"sha256:\" and 64 hexadecimal digits")]
pub struct InvalidFingerprint;

/// Colons between the bytes and capital letters, as openssl prints them, are taken too.
impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(InvalidFingerprint)?;
        let digit = |c: char| {
            c.to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
                .ok_or(InvalidFingerprint)
        };
        let nibbles: Vec<u8> = digits
            .chars()
            .filter(|c| *c != ':')
            .map(digit)
            .collect::<Result<_, _>>()?;
        let pairs: Vec<u8> = nibbles
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble))
            .collect();
        if nibbles.len() != 64 {
            return Err(InvalidFingerprint);
        }
        pairs.try_into().map(Self).map_err(|_| InvalidFingerprint)
    }
}

/// What a certificate says. Its texts are the peer's: for people, never for decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's name, `CN=PACS, O=Hospital`.
    pub subject: String,
    /// The issuer's name.
    pub issuer: String,
    /// The subject's common names.
    pub common_names: Vec<String>,
    /// Subject alternative names that are DNS names or addresses.
    pub names: Vec<String>,
    /// Begin of validity, in seconds since 1970.
    pub not_before: i64,
    /// End of validity, in seconds since 1970.
    pub not_after: i64,
    /// Kind and length of the key, `RSA 2048`.
    pub key: String,
    /// Bits of an RSA key's modulus; `None` for another key.
    pub rsa_bits: Option<usize>,
    /// Whether it is its own issuer.
    pub is_self_signed: bool,
    /// Whether it says that it is a CA (basic constraints).
    pub is_ca: bool,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

impl Certificate {
    /// Reads a certificate's DER; `None` when it is none.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let texts = parsed.subject().iter_common_name();
        let (key, rsa_bits) = key_of(&parsed);
        Some(Self {
            subject: shown(&parsed.subject().to_string()),
            issuer: shown(&parsed.issuer().to_string()),
            common_names: texts.filter_map(|name| name.as_str().ok()).map(shown).collect(),
            names: names_of(&parsed).iter().map(|name| shown(name)).collect(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            key,
            rsa_bits,
            is_self_signed: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            is_ca: parsed.is_ca(),
            fingerprint: Fingerprint::of(der),
        })
    }

    /// Whole days until its end; negative once it has expired.
    #[must_use]
    pub fn days_left(&self, now: UnixTime) -> i64 {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.not_after.saturating_sub(now).div_euclid(SECONDS_OF_DAY)
    }

    /// Whether it has expired.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.days_left(now) < 0
    }

    /// Whether it is not valid yet.
    #[must_use]
    pub fn is_too_early(&self, now: UnixTime) -> bool {
        u64::try_from(self.not_before).is_ok_and(|begin| begin > now.as_secs())
    }

    /// `2027-01-31 12:00 UTC`, of a time as [`not_after`](Self::not_after) has it.
    #[must_use]
    pub fn date(seconds: i64) -> String {
        let Ok(time) = ASN1Time::from_timestamp(seconds) else {
            return format!("{seconds} s since 1970");
        };
        let time = time.to_datetime();
        let (month, minute) = (u8::from(time.month()), time.minute());
        format!(
            "{:04}-{month:02}-{:02} {:02}:{minute:02} UTC",
            time.year(),
            time.day(),
            time.hour()
        )
    }
}

fn key_of(certificate: &X509Certificate<'_>) -> (String, Option<usize>) {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => (format!("RSA {}", key.key_size()), Some(key.key_size())),
        Ok(PublicKey::EC(point)) => (format!("EC {}", point.key_size()), None),
        _ => (certificate.public_key().algorithm.algorithm.to_id_string(), None),
    }
}

/// A peer's text as it may be printed: without control characters, which could rewrite what stands beside it.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))))
        .ok()
}

/// `a, b, c`; at most `most` of them.
pub(super) fn listed<T: fmt::Display>(items: &[T], most: usize) -> String {
    let mut text = String::new();
    for item in items.iter().take(most) {
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{item}").expect("a string takes any text");
    }
    if items.len() > most {
        write!(text, " and {} more", items.len() - most).expect("a string takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_printed_and_as_openssl_prints_it() {
        let fingerprint = Fingerprint::of(b"a certificate");
        let text = fingerprint.to_string();
        assert_eq!(text.parse(), Ok(fingerprint));
        let hex = text.strip_prefix(PREFIX).unwrap().to_uppercase();
        let pairs: Vec<_> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap())
            .collect();
        assert_eq!(format!("sha256:{}", pairs.join(":")).parse(), Ok(fingerprint));
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        for text in [
            "",
            "sha256:",
            "sha1:00",
            "sha256:0g",
            &format!("sha256:{}", "0".repeat(63)),
            &"0".repeat(64),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(InvalidFingerprint), "{text}");
        }
    }
}
