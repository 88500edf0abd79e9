//! What an auditor's scanner finds on our port: the suites of the profile and nothing else, no known weakness.

use std::process::Command;

use packhorse_testkit::certs::CertSpec;
use packhorse_testkit::peers::{Peer, require};
use packhorse_testkit::process::run;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::support::*;

/// All but `--certinfo`, whose numbers no JSON reader takes.
const SCANS: [&str; 14] = [
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--heartbleed",
    "--openssl_ccs",
    "--robot",
    "--compression",
    "--early_data",
    "--reneg",
    "--resum",
    "--ems",
];

/// What a scan found for one command.
fn result<'a>(scan: &'a Value, command: &str) -> &'a Value {
    let attempt = &scan["server_scan_results"][0]["scan_result"][command];
    assert_eq!(attempt["status"], "COMPLETED", "{command}: {attempt}");
    &attempt["result"]
}

fn suites(scan: &Value, version: &str) -> Vec<String> {
    let accepted = &result(scan, &format!("{version}_cipher_suites"))["accepted_cipher_suites"];
    let name = |suite: &Value| suite["cipher_suite"]["name"].as_str().unwrap().to_owned();
    accepted.as_array().unwrap().iter().map(name).collect()
}

async fn scan(scp: &Scp, python: std::path::PathBuf) -> Value {
    let address = scp.address.to_string();
    let scanning = spawn_blocking(move || {
        let mut command = Command::new(python);
        command.args(["-m", "sslyze", "--json_out=-"]).args(SCANS).arg(&address);
        run(&mut command, SOON)
    });
    let finished = scanning.await.unwrap().unwrap();
    serde_json::from_str(&finished.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {}", finished.said()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_finds_the_profile_and_nothing_else() {
    let Some(python) = require(Peer::Sslyze) else { return };
    let cert = CertSpec::new("OURS").name("127.0.0.1").rsa().self_signed();
    let scp = Scp::start(Some(acceptor(&cert))).await;
    let scan = scan(&scp, python).await;
    for retired in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert_eq!(suites(&scan, retired), Vec::<String>::new(), "{retired}");
    }
    let mut of_1_2 = suites(&scan, "tls_1_2");
    of_1_2.sort();
    let expected = [
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ];
    assert_eq!(of_1_2, expected);
    let mut of_1_3 = suites(&scan, "tls_1_3");
    of_1_3.sort();
    let expected = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ];
    assert_eq!(of_1_3, expected);
    assert_eq!(result(&scan, "heartbleed")["is_vulnerable_to_heartbleed"], false);
    assert_eq!(
        result(&scan, "openssl_ccs_injection")["is_vulnerable_to_ccs_injection"],
        false
    );
    assert_eq!(
        result(&scan, "robot")["robot_result"],
        "NOT_VULNERABLE_RSA_NOT_SUPPORTED"
    );
    assert_eq!(result(&scan, "tls_compression")["supports_compression"], false);
    assert_eq!(result(&scan, "tls_1_3_early_data")["supports_early_data"], false);
    let renegotiation = result(&scan, "session_renegotiation");
    assert_eq!(renegotiation["is_vulnerable_to_client_renegotiation_dos"], false);
    assert_eq!(renegotiation["supports_secure_renegotiation"], true);
    assert_eq!(
        result(&scan, "tls_extended_master_secret")["supports_ems_extension"],
        true
    );
    let resumption = result(&scan, "session_resumption");
    assert_eq!(resumption["session_id_resumption_result"], "NOT_SUPPORTED");
    assert_eq!(resumption["tls_ticket_resumption_result"], "NOT_SUPPORTED");
}
