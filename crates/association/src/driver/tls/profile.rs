//! What is negotiated: PS3.15 §B.12, that is RFC 8996 (nothing below TLS 1.2) and RFC 9325.
//!
//! - Versions: TLS 1.3, preferred, and TLS 1.2 (PS3.15 §B.12: both roles shall have 1.2; who has 1.3 shall attempt and
//!   prefer it). There is no fallback to anything older, so nothing can be downgraded to it.
//! - Suites of TLS 1.2: ECDHE with AES-GCM (RFC 9325 §4.2), and with ChaCha20-Poly1305 (RFC 7905). No static RSA, no CBC,
//!   no DHE (RFC 9325 §4.1). Written out here, so that another version of rustls brings no others.
//! - Groups: X25519, P-256, P-384, and X25519MLKEM768 for whoever has it.
//! - Keys: RSA of 2048 bits at least (RFC 9325 §4.5), checked in `verify`.
//! - No resumption: no ticket is given, none is used. Each association authenticates both sides anew, and a pin that was
//!   taken away is gone.

use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::names;

/// TLS 1.3 first.
pub(super) const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Every suite that is ever negotiated.
pub(super) const SUITES: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// An acceptor takes the post-quantum group from whoever offers it.
const ACCEPTOR_GROUPS: &[&dyn SupportedKxGroup] = &[
    kx_group::X25519MLKEM768,
    kx_group::X25519,
    kx_group::SECP256R1,
    kx_group::SECP384R1,
];

/// A requestor names it last: the first group's key share goes into the ClientHello, and with one of 1.2 KB the hello no
/// longer fits one TCP segment, on which old appliances hang. An acceptor that wants it asks for it.
const REQUESTOR_GROUPS: &[&dyn SupportedKxGroup] = &[
    kx_group::X25519,
    kx_group::SECP256R1,
    kx_group::SECP384R1,
    kx_group::X25519MLKEM768,
];

/// Names of the versions that are ever negotiated, best first: `TLS 1.3`.
pub fn versions() -> impl Iterator<Item = String> {
    VERSIONS
        .iter()
        .map(|version| names::version(u16::from(version.version)))
}

/// Names of the suites that are ever negotiated, best first: `TLS_AES_256_GCM_SHA384`.
pub fn suites() -> impl Iterator<Item = String> {
    SUITES.iter().map(|suite| names::suite(u16::from(suite.suite())))
}

fn provider(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        kx_groups: groups.to_vec(),
        ..aws_lc_rs::default_provider()
    })
}

/// aws-lc-rs, for acceptors.
pub(super) static ACCEPTOR: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| provider(ACCEPTOR_GROUPS));
/// aws-lc-rs, for requestors.
pub(super) static REQUESTOR: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| provider(REQUESTOR_GROUPS));

/// An acceptor's settings beyond the suites.
pub(super) fn harden_acceptor(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

/// A requestor's settings beyond the suites.
pub(super) fn harden_requestor(config: &mut ClientConfig) {
    config.resumption = Resumption::disabled();
}

/// Whether a suite, by its number, is one of ours.
pub(super) fn is_ours(suite: u16) -> bool {
    SUITES.iter().any(|ours| u16::from(ours.suite()) == suite)
}
