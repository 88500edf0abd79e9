//! What a peer said first, read for people when a handshake has failed: what it offers or chose, or that it speaks no TLS
//! at all. rustls says only that there is nothing in common.

use std::fmt;

use rustls::AlertDescription;

use super::certificate::listed;
use super::error::Alert;
use super::{names, profile};

/// Suites that are named in a message; an old peer offers a hundred.
const NAMED_MAX: usize = 10;
/// TLS record types (RFC 8446 §5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// Handshake types (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// The extension that names the versions since TLS 1.3.
const SUPPORTED_VERSIONS: u16 = 43;
/// No suites but signals (RFC 5746, RFC 7507).
const SIGNALS: [u16; 2] = [0x00FF, 0x5600];

/// What a requestor's ClientHello offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Protocol versions, `0x0303` for TLS 1.2; before TLS 1.3 only the highest is told.
    pub versions: Vec<u16>,
    /// Cipher suites, in its order.
    pub suites: Vec<u16>,
}

/// What an acceptor's ServerHello chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The protocol version.
    pub version: u16,
    /// The cipher suite.
    pub suite: u16,
}

/// What a peer's first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Offer(Offer),
    Choice(Choice),
    Alert(Alert),
    /// A PDU of the DICOM upper layer (PS3.8 §9.3.1).
    Dicom,
    /// Some other record of TLS, or the begin of one.
    OtherTls,
    /// Neither.
    Other(Vec<u8>),
}

impl Offer {
    /// Whether none of its versions or none of its suites is one of ours.
    pub(super) fn is_retired(&self) -> bool {
        !self.versions.iter().any(|version| matches!(version, 0x0303 | 0x0304))
            || !self.suites.iter().any(|suite| profile::is_ours(*suite))
    }
}

impl Choice {
    pub(super) fn is_retired(self) -> bool {
        self.version < 0x0303 || !profile::is_ours(self.suite)
    }
}

/// `TLS 1.0 with TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_RC4_128_MD5`.
impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> = self.versions.iter().map(|version| names::version(*version)).collect();
        let suites: Vec<_> = self.suites.iter().map(|suite| names::suite(*suite)).collect();
        write!(
            f,
            "{} with {}",
            listed(&versions, NAMED_MAX),
            listed(&suites, NAMED_MAX)
        )
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", names::version(self.version), names::suite(self.suite))
    }
}

/// Reads a peer's first bytes.
pub(super) fn read(bytes: &[u8]) -> Said {
    match bytes {
        [] => Said::Nothing,
        [HANDSHAKE | ALERT, 3, ..] => read_records(bytes),
        // SSL 2's ClientHello: two bytes of length, type 1.
        [0x80..=0xFF, _, CLIENT_HELLO, ..] => Said::Offer(Offer {
            versions: vec![0x0002],
            suites: Vec::new(),
        }),
        // PDU types 01H to 07H, a reserved byte, a length.
        [1..=7, 0, ..] => Said::Dicom,
        other => Said::Other(other.iter().take(8).copied().collect()),
    }
}

fn read_records(bytes: &[u8]) -> Said {
    let mut rest = Reader(bytes);
    let mut handshake = Vec::new();
    while let Some((kind, body)) = rest.record() {
        match kind {
            HANDSHAKE => handshake.extend_from_slice(body),
            ALERT if handshake.is_empty() => {
                return match body {
                    [_, description, ..] => Said::Alert(Alert(*description)),
                    _ => Said::OtherTls,
                };
            }
            _ => break,
        }
    }
    let mut message = Reader(&handshake);
    let (kind, _length) = (message.u8(), message.take(3));
    match kind {
        Some(CLIENT_HELLO) => client_hello(message).map_or(Said::OtherTls, Said::Offer),
        Some(SERVER_HELLO) => server_hello(message).map_or(Said::OtherTls, Said::Choice),
        _ => Said::OtherTls,
    }
}

fn client_hello(mut message: Reader<'_>) -> Option<Offer> {
    let version = message.u16()?;
    message.take(32)?;
    message.short()?;
    let suites = numbers(message.long()?)
        .filter(|suite| !SIGNALS.contains(suite))
        .collect();
    let mut offer = Offer {
        versions: vec![version],
        suites,
    };
    // Compression methods; SSL 3 and TLS 1.0 end here.
    message.short();
    if let Some(versions) = extension(&mut message, SUPPORTED_VERSIONS).and_then(|body| Reader(body).short()) {
        // Reserved values are sent to keep others tolerant (RFC 8701).
        offer.versions = numbers(versions).filter(|version| version >> 8 == 3).collect();
    }
    Some(offer)
}

fn server_hello(mut message: Reader<'_>) -> Option<Choice> {
    let mut version = message.u16()?;
    message.take(32)?;
    message.short()?;
    let suite = message.u16()?;
    message.u8();
    if let Some(chosen) = extension(&mut message, SUPPORTED_VERSIONS).and_then(|body| Reader(body).u16()) {
        version = chosen;
    }
    Some(Choice { version, suite })
}

fn extension<'a>(message: &mut Reader<'a>, wanted: u16) -> Option<&'a [u8]> {
    let mut extensions = Reader(message.long()?);
    loop {
        let (kind, body) = (extensions.u16()?, extensions.long()?);
        if kind == wanted {
            return Some(body);
        }
    }
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let pairs = bytes.chunks_exact(2);
    pairs.filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)))
}

/// Bytes from the front, as far as there are.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// What a length of one byte announces.
    fn short(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// What a length of two bytes announces.
    fn long(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// The next record; the last may be cut.
    fn record(&mut self) -> Option<(u8, &'a [u8])> {
        let (kind, _version) = (self.u8()?, self.u16()?);
        let len = usize::from(self.u16()?).min(self.0.len());
        Some((kind, self.take(len)?))
    }
}

impl Alert {
    /// `HandshakeFailure`, as rustls calls it.
    pub(super) fn name(self) -> String {
        format!("{:?}", AlertDescription::from(self.0))
    }
}

/// A ClientHello as an appliance of 2005 sends it: TLS 1.0 at most, nothing but retired suites, no extensions.
pub(super) fn retired_client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    // Not secret, and never used: no handshake follows.
    body.extend_from_slice(&[0x5A; 32]);
    body.push(0);
    body.extend_from_slice(&u16::try_from(suites.len() * 2).unwrap_or_default().to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend_from_slice(&[1, 0]);
    let len = |len: usize| u32::try_from(len).unwrap_or_default().to_be_bytes();
    let [_, hello_len @ ..] = len(body.len());
    let [_, _, record_len @ ..] = len(body.len() + 4);
    let mut hello = vec![HANDSHAKE, 3, 1];
    hello.extend_from_slice(&record_len);
    hello.push(CLIENT_HELLO);
    hello.extend_from_slice(&hello_len);
    hello.extend(body);
    hello
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_hello_is_named() {
        let hello = retired_client_hello(0x0301, &[0x002F, 0x000A, 0x00FF]);
        let Said::Offer(offer) = read(&hello) else { panic!() };
        assert!(offer.is_retired());
        assert_eq!(
            offer.to_string(),
            "TLS 1.0 with TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_3DES_EDE_CBC_SHA"
        );
    }

    #[test]
    fn a_cut_hello_is_still_tls_and_never_a_panic() {
        let hello = retired_client_hello(0x0303, &[0xC02F]);
        for cut in 2..hello.len() {
            let said = read(&hello[..cut]);
            assert!(matches!(said, Said::OtherTls | Said::Offer(_)), "{cut}: {said:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), front in 0..3_usize) {
            let front: &[u8] = [&[][..], &[22, 3, 1, 0, 150, 1, 0, 0, 146, 3, 3], &[22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3]][front];
            let said = read(&[front, bytes.as_slice()].concat());
            if let Said::Offer(offer) = said {
                assert!(!offer.to_string().is_empty());
            }
        }
    }

    #[test]
    fn first_bytes_are_told_apart() {
        assert_eq!(read(&[]), Said::Nothing);
        assert_eq!(read(&[1, 0, 0, 0, 0, 200]), Said::Dicom);
        assert_eq!(read(&[21, 3, 1, 0, 2, 2, 70]), Said::Alert(Alert(70)));
        assert_eq!(read(b"GET / HTTP"), Said::Other(b"GET / HT".to_vec()));
        assert!(matches!(read(&[0x80, 0x2E, 1, 3, 1]), Said::Offer(_)));
    }
}
