//! Join tokens.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use packhorse_ids::{SiteName, WallTime};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What a token's text begins with.
const PREFIX: &str = "ph1_";
/// Relay addresses in a token.
const ADDRESSES_MAX: usize = 4;

/// A one-use invitation: where the relay is, how to know its CA, and a secret. The text form fits one line and has a
/// checksum against typing errors. Debug shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// `host:port` of the relay; the first that answers is taken. 1 to 4.
    pub addresses: Vec<String>,
    /// SHA-256 of the root certificate's SubjectPublicKeyInfo.
    pub pin: [u8; 32],
    /// Which invitation it is.
    pub id: [u8; 8],
    /// The site it makes.
    pub site: SiteName,
    /// When it ends.
    pub expires: WallTime,
    secret: Zeroizing<[u8; 32]>,
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It does not begin like one.
    #[error("a join token begins with {PREFIX}; copy all that `relay invite` printed")]
    Prefix,
    /// Something is missing or mistyped.
    #[error("the join token is mistyped or cut short; copy all that `relay invite` printed")]
    Checksum,
    /// It is whole, and makes no sense to this version.
    #[error("the join token is of another version; use an edge-gateway as new as the relay")]
    Version,
}

impl Token {
    /// A token of these parts.
    #[must_use]
    pub fn new(
        addresses: Vec<String>,
        pin: [u8; 32],
        id: [u8; 8],
        site: SiteName,
        expires: WallTime,
        secret: [u8; 32],
    ) -> Self {
        Self {
            addresses,
            pin,
            id,
            site,
            expires,
            secret: Zeroizing::new(secret),
        }
    }

    /// The token's text: a secret. Print it once, log it never.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut bytes = Vec::with_capacity(192);
        put(&mut bytes, self.site.as_str());
        bytes.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        self.addresses.iter().for_each(|address| put(&mut bytes, address));
        bytes.extend_from_slice(&self.pin);
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.expires.unix_micros().to_be_bytes());
        bytes.extend_from_slice(&*self.secret);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The key that both sides use; the relay keeps only this, never the secret.
    #[must_use]
    pub fn mac_key(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"packhorse join 1")
            .chain_update(*self.secret)
            .finalize()
            .into()
    }
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend(text.bytes().take(255));
}

/// Takes parts off the front.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let [length] = self.array()?;
        str::from_utf8(self.take(usize::from(length))?).ok()
    }
}

fn read(bytes: &[u8]) -> Option<Token> {
    let mut parts = Parts(bytes);
    let site = SiteName::try_from(parts.text()?).ok()?;
    let [count] = parts.array()?;
    let addresses: Option<Vec<_>> = (0..count).map(|_| parts.text().map(str::to_owned)).collect();
    let addresses = addresses.filter(|all| (1..=ADDRESSES_MAX).contains(&all.len()))?;
    let (pin, id) = (parts.array()?, parts.array()?);
    let expires = WallTime::from_unix_micros(i64::from_be_bytes(parts.array()?));
    let secret = parts.array()?;
    parts
        .0
        .is_empty()
        .then(|| Token::new(addresses, pin, id, site, expires, secret))
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let coded = text.trim().strip_prefix(PREFIX).ok_or(InvalidToken::Prefix)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(coded).map_err(|_| InvalidToken::Checksum)?);
        let (parts, checksum) = bytes.split_last_chunk::<4>().ok_or(InvalidToken::Checksum)?;
        if crc32fast::hash(parts) != u32::from_be_bytes(*checksum) {
            return Err(InvalidToken::Checksum);
        }
        read(parts).ok_or(InvalidToken::Version)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("site", &self.site)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        let site = SiteName::try_from("clinic-a").unwrap();
        let addresses = vec!["relay.example:443".to_owned()];
        Token::new(addresses, [1; 32], [2; 8], site, WallTime::from_unix_micros(7), [3; 32])
    }

    #[test]
    fn a_token_reads_back_and_every_changed_character_is_found() {
        let text = token().reveal();
        assert_eq!(text.parse(), Ok(token()));
        for at in 4..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert!(
                String::from_utf8(wrong).unwrap().parse::<Token>().is_err(),
                "character {at}"
            );
        }
        assert_eq!(text.split_at(40).0.parse::<Token>(), Err(InvalidToken::Checksum));
        assert_eq!("eyJhbGciOi".parse::<Token>(), Err(InvalidToken::Prefix));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", token());
        assert!(
            !shown.contains("3, 3, 3") && !shown.contains(token().reveal().split_at(20).1),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_token_or_an_error(text in ".{0,200}") {
            let _either = text.parse::<Token>();
            let _either = format!("{PREFIX}{text}").parse::<Token>();
        }
    }
}
