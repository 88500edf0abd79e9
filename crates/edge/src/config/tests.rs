use packhorse_ids::Priority;
use packhorse_testkit::certs::CertSpec;

use super::*;

fn check(text: &str) -> Result<Config, Vec<ConfigProblem>> {
    check_in(Path::new("/nowhere"), text)
}

fn check_in(folder: &Path, text: &str) -> Result<Config, Vec<ConfigProblem>> {
    packhorse_daemon::config::parse(text, |raw| Config::check(raw, folder))
}

#[test]
fn the_shipped_example_is_a_configuration() {
    assert!(check(EXAMPLE).is_ok());
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tls")).unwrap();
    let cert = CertSpec::new("edge").self_signed();
    cert.write(&folder.path().join("tls"), "edge").unwrap();
    std::fs::copy(folder.path().join("tls/edge.pem"), folder.path().join("hook-ca.pem")).unwrap();
    for secret in ["hook.token", "mail.password"] {
        std::fs::write(folder.path().join(secret), "secret\n").unwrap();
    }
    let config = check_in(folder.path(), &uncommented).unwrap();
    assert_eq!(config.certificates.len(), 1);
    assert_eq!(config.notices.channels.len(), 3);
    let late = [(config.late.of(Priority::Stat), 10), (config.late.shortest(), 10)];
    assert!(
        late.iter()
            .all(|(time, minutes)| *time == Duration::from_secs(minutes * 60))
    );
    assert_eq!(config.late.routes()["ST_MARY"], Duration::from_secs(1800));
    assert_eq!(
        (
            config.listeners.len(),
            config.destinations.len(),
            config.engine.routes().len()
        ),
        (2, 1, 1)
    );
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let text = r#"
        [[destination]]
        ae_title = "P"
        address = "nowhere"
        calling_ae_title = ""
        accept_from = ["Clinic A"]
        mirror = "on"
        [[route]]
        called_ae_title = "X"
        to = "b/P"
        listener = "dmz"
        echo = "remote"
        [[rule]]
        outcome = "drop"
        [[source]]
        ae_titles = ["S"]
        hosts = ["10.0.0.1"]
        async_operations = 0
        [limits]
        max_pdu_length = "1KiB"
        [delivery]
        idle = "5m"
        [echo]
        fresh = "2m"
        [mirror]
        confirm = "8d"
    "#;
    let paths: Vec<_> = check(text)
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.path)
        .collect();
    let expected = [
        "route[1].echo",
        "rule[1].outcome",
        "source[1].async_operations",
        "route[1].listener",
        "destination[1].calling_ae_title",
        "destination[1].address",
        "destination[1].accept_from[1]",
        "destination[1].mirror",
        "delivery.idle",
        "limits.max_pdu_length",
        "echo.fresh",
        "mirror.confirm",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn impossible_times_and_counts_are_reported_with_their_paths() {
    let paths = |text: &str| -> Vec<String> {
        let problems = check(text).unwrap_err();
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let zeros = "[delivery]\nretry_min = \"0s\"\nretry_max = \"0s\"\ntry_again = \"0s\"\npaused_again = \"0s\"\n\
                 answer = \"0s\"\ntries = 0\n\
                 [limits]\nartim = \"0s\"\nidle = \"0s\"\ndimse = \"0s\"\ntls_handshake = \"0s\"\nassociations = 0\nassociations_per_peer = 0\n";
    let expected = [
        "delivery.retry_min",
        "delivery.retry_max",
        "delivery.try_again",
        "delivery.paused_again",
        "delivery.answer",
        "delivery.tries",
        "limits.artim",
        "limits.idle",
        "limits.dimse",
        "limits.tls_handshake",
        "limits.associations",
        "limits.associations_per_peer",
    ];
    assert_eq!(paths(zeros), expected);
    assert_eq!(
        paths("[delivery]\nretry_min = \"10m\"\nretry_max = \"1m\"\n"),
        ["delivery.retry_min"]
    );
}

#[test]
fn a_route_to_ones_own_site_is_an_error() {
    let config = check("[[route]]\ncalled_ae_title = \"X\"\nto = \"b/P\"\n").unwrap();
    let site = |name| SiteName::try_from(name).unwrap();
    assert!(config.check_site(&site("a")).is_ok());
    assert_eq!(config.check_site(&site("b")).unwrap_err()[0].path, "route[1].to");
}

/// A folder with `own.pem`, `own.key` and, of somebody else, `other.key`.
fn with_certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    CertSpec::new("own").self_signed().write(folder.path(), "own").unwrap();
    CertSpec::new("other")
        .self_signed()
        .write(folder.path(), "other")
        .unwrap();
    folder
}

#[test]
fn tls_of_listeners_sources_and_destinations_is_read_from_files_beside_the_configuration() {
    let pin = format!("sha256:{}", "a".repeat(64));
    let text = format!(
        r#"
        [[listener]]
        name = "plain"
        address = "0.0.0.0:11112"
        [[listener]]
        name = "tls"
        address = "0.0.0.0:2762"
        tls = {{ certificate = "own.pem", key = "own.key", client = "required" }}
        [[source]]
        ae_titles = ["CT1"]
        hosts = ["10.0.0.5"]
        tls = {{ pin = "{pin}" }}
        [[source]]
        ae_titles = ["CT2"]
        hosts = ["10.0.0.6"]
        [[destination]]
        ae_title = "P"
        address = "10.1.0.9:2762"
        calling_ae_title = "US"
        tls = {{ trust = "other.pem", name = "pacs.example", certificate = "own.pem", key = "own.key" }}
        [[destination]]
        ae_title = "Q"
        address = "10.1.0.9:104"
        calling_ae_title = "US"
    "#
    );
    let folder = with_certificates();
    let config = check_in(folder.path(), &text).unwrap();
    let is_tls: Vec<_> = config.listeners.iter().map(|listener| listener.tls.is_some()).collect();
    assert_eq!(is_tls, [false, true]);
    let is_tls: Vec<_> = config.destinations.iter().map(|to| to.tls.is_some()).collect();
    assert_eq!(is_tls, [true, false]);
    assert_eq!(
        config.source_trust.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false]
    );
    let dated: Vec<_> = config.certificates.iter().map(|dated| dated.path.as_str()).collect();
    let expected = [
        "listener[2].tls.certificate",
        "destination[1].tls.trust",
        "destination[1].tls.certificate",
    ];
    assert_eq!(dated, expected);
}

#[test]
fn everything_that_is_wrong_with_tls_is_reported_at_once() {
    let text = r#"
        [[listener]]
        name = "a"
        address = "0.0.0.0:2762"
        tls = { certificate = "nowhere.pem" }
        [[listener]]
        name = "b"
        address = "0.0.0.0:2763"
        tls = { certificate = "own.pem", key = "other.key" }
        [[listener]]
        name = "c"
        address = "0.0.0.0:2764"
        tls = { certificate = "own.pem", key = "own.key", client = "maybe" }
        [[listener]]
        name = "d"
        address = "0.0.0.0:2765"
        tls = { certificate = "own.pem", key = "own.key", client_trust = "own.pem" }
        [[source]]
        ae_titles = ["CT1"]
        hosts = ["10.0.0.5"]
        tls = { trust = "own.key" }
        [[source]]
        ae_titles = ["CT2"]
        hosts = ["10.0.0.6"]
        tls = { pin = "sha256:12" }
        [[source]]
        ae_titles = ["CT3"]
        hosts = ["10.0.0.7"]
        tls = { trust = "own.pem" }
        [[destination]]
        ae_title = "P"
        address = "10.1.0.9:2762"
        calling_ae_title = "US"
        tls = { }
        [[destination]]
        ae_title = "Q"
        address = "10.1.0.9:2762"
        calling_ae_title = "US"
        tls = { trust = "own.pem", name = "no name", certificate = "own.pem", pins = [] }
    "#;
    let folder = with_certificates();
    let problems = check_in(folder.path(), text).unwrap_err();
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    let expected = [
        "destination[2].tls.pins",
        "source[1].tls.trust",
        "source[2].tls.pin",
        "listener[1].tls.certificate",
        "listener[1].tls.key",
        "listener[2].tls",
        "listener[3].tls.client",
        "listener[4].tls.client_trust",
        "source[3].tls",
        "destination[1].tls",
        "destination[2].tls.name",
        "destination[2].tls.key",
    ];
    assert_eq!(paths, expected, "{problems:?}");
}

#[test]
fn a_listener_that_nobody_could_come_in_by_is_an_error() {
    let folder = with_certificates();
    let text = "[[listener]]\nname = \"a\"\naddress = \"0.0.0.0:2762\"\n\
                tls = { certificate = \"own.pem\", key = \"own.key\", client = \"required\" }\n";
    let problems = check_in(folder.path(), text).unwrap_err();
    assert_eq!(problems[0].path, "listener[1].tls.client");
}

#[test]
fn everything_that_is_wrong_with_channels_is_reported_at_once() {
    let text = r#"
        [[notify]]
        name = "a/b"
        kinds = ["late", "later"]
        webhook = "ftp://x"
        authorization_file = "none"
        [[notify]]
        name = "ops"
        [[notify]]
        name = "ops"
        webhook = "https://x/"
        command = ["/bin/true"]
        [[notify]]
        name = "mail"
        email = { smtp = "x", security = "none", from = "nobody", to = [], user = "u" }
        trust = "none.pem"
        [[notify]]
        name = "run"
        timeout = "0s"
        command = ["true"]
        [[route]]
        called_ae_title = "X"
        to = "b/P"
        late = "soon"
        [notices]
        disk_low = "101%"
        retry_min = "1h"
        [late]
        stat = "0s"
    "#;
    let problems = check(text).unwrap_err();
    let paths: Vec<_> = problems.into_iter().map(|problem| problem.path).collect();
    let expected = [
        "notify[1].name",
        "notify[1].kinds[2]",
        "notify[1].webhook",
        "notify[1].authorization_file",
        "notify[2].webhook",
        "notify[3].name",
        "notify[3].webhook",
        "notify[4].email.smtp",
        "notify[4].email.from",
        "notify[4].email.to",
        "notify[4].email.user",
        "notify[4].trust",
        "notify[5].timeout",
        "notify[5].command",
        "notices.retry_min",
        "notices.disk_low",
        "late.stat",
        "route[1].late",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_password_is_not_sent_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p"), "secret").unwrap();
    let with = |security: &str| {
        let text = format!(
            "[[notify]]\nname = \"m\"\nemail = {{ smtp = \"h:25\", security = \"{security}\", from = \"a@b.example\", \
             to = [\"c@d.example\"], user = \"u\", password_file = \"p\" }}\n"
        );
        check_in(folder.path(), &text).map(drop)
    };
    assert!(with("starttls").is_ok() && with("tls").is_ok());
    assert_eq!(with("none").unwrap_err()[0].path, "notify[1].email.security");
}
