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
    let config = check_in(folder.path(), &uncommented).unwrap();
    assert_eq!(config.certificates.len(), 1);
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
        [[route]]
        called_ae_title = "X"
        to = "b/P"
        listener = "dmz"
        [[rule]]
        outcome = "drop"
        [delivery]
        idle = "5m"
    "#;
    let paths: Vec<_> = check(text)
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.path)
        .collect();
    let expected = [
        "rule[1].outcome",
        "route[1].listener",
        "destination[1].calling_ae_title",
        "destination[1].address",
        "destination[1].accept_from[1]",
        "delivery.idle",
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
