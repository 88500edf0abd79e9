//! Joining with real processes: each thing that can be wrong has its own words, no secret is logged, and what both
//! programs write is their user's alone.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use packhorse_identity::Token;
use packhorse_testkit::process::{Daemon, Finished, binary, run, spawn_ready};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);
const EDGE: &str = "[[listener]]\nname = \"lan\"\naddress = \"127.0.0.1:0\"\n";

/// A relay that runs, and a folder for edges.
struct Relay {
    folder: TempDir,
    daemon: Daemon,
}

impl Relay {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("relay");
        let program = binary("relay").unwrap();
        let init = ["init", "--name", "127.0.0.1"];
        assert!(ended(&mut command(&program, &dir, &init)).status.success());
        let configuration = "name = \"127.0.0.1\"\nquic = \"127.0.0.1:0\"\n";
        fs::write(dir.join("relay.toml"), configuration).unwrap();
        let mut serve = command(&program, &dir, &["run"]);
        let daemon = spawn_ready(serve.env("PACKHORSE_LOG", "trace")).unwrap();
        Self { folder, daemon }
    }

    fn address(&self) -> SocketAddr {
        self.daemon.address("quic").unwrap()
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn invite(&self, site: &str, expires: &str) -> String {
        let arguments = ["invite", site, "--expires", expires];
        let invited = ended(&mut command(&binary("relay").unwrap(), &self.dir("relay"), &arguments));
        assert!(invited.status.success(), "{}", invited.said());
        invited.stdout.concat()
    }

    fn join(&self, name: &str, token: &str) -> Finished {
        ended(&mut command(&edge_gateway(), &self.dir(name), &["join", token]))
    }

    /// Joins, which must fail with these words and this exit code.
    fn cannot_join(&self, token: &str, code: i32, words: &str) {
        let refused = self.join("nobody", token);
        assert_eq!(refused.status.code(), Some(code), "{}", refused.said());
        assert!(refused.said().contains(words), "{words}: {}", refused.said());
        assert!(!self.dir("nobody").join("identity/identity.json").exists());
    }
}

fn edge_gateway() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_edge-gateway")).to_path_buf()
}

/// A command of ours, as from a shell whose files everybody may read.
fn command(program: &Path, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 022 && exec \"$0\" \"$@\""]);
    command.arg(program).args(arguments).arg("--dir").arg(dir);
    command
}

fn ended(command: &mut Command) -> Finished {
    run(command, PATIENCE).unwrap()
}

/// The token with other parts: addresses or secret.
fn changed(token: &str, addresses: Option<String>, secret: Option<[u8; 32]>) -> String {
    let token: Token = token.parse().unwrap();
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&secret_of(&token));
    let addresses = addresses.map_or_else(|| token.addresses.clone(), |address| vec![address]);
    let secret = secret.unwrap_or(bytes);
    Token::new(
        addresses,
        token.pin,
        token.id,
        token.site.clone(),
        token.expires,
        secret,
    )
    .reveal()
}

/// The secret as it stands in the text: the last 32 bytes before the checksum.
fn secret_of(token: &Token) -> Vec<u8> {
    use base64::Engine as _;
    let text = token.reveal();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text.trim_start_matches("ph1_"));
    let bytes = bytes.unwrap();
    bytes[bytes.len() - 36..bytes.len() - 4].to_vec()
}

#[test]
fn each_thing_that_is_wrong_with_a_token_has_its_own_words_and_costs_no_good_one() {
    let (relay, another) = (Relay::start(), Relay::start());
    let good = relay.invite("clinic-a", "1h");
    let port = relay.address().port();
    let mistyped = good.replacen(good.split_at(20).1.split_at(4).0, "AAAA", 1);
    relay.cannot_join(&mistyped, 64, "mistyped or cut short");
    relay.cannot_join("relay.example", 64, "a join token begins with ph1_");
    relay.cannot_join(&relay.invite("clinic-x", "0s"), 1, "the join token expired at");
    let forged = changed(&good, None, Some([7; 32]));
    relay.cannot_join(&forged, 1, "is not one of this relay");
    let nowhere = changed(&good, Some("relay.invalid:443".to_owned()), None);
    relay.cannot_join(
        &nowhere,
        69,
        "the relay's name in relay.invalid:443 cannot be looked up",
    );
    let other_name = changed(&good, Some(format!("localhost:{port}")), None);
    relay.cannot_join(&other_name, 69, "is for another name");
    let other_relay = changed(&good, Some(another.address().to_string()), None);
    relay.cannot_join(&other_relay, 69, "is from an unknown authority");

    let joined = relay.join("clinic-a", &good);
    assert!(joined.status.success(), "{}", joined.said());
    relay.cannot_join(&good, 1, "this join token was used already");
    let again = relay.join("clinic-a", &relay.invite("clinic-a", "1h"));
    let advice = format!(
        "remove {} and nothing else",
        relay.dir("clinic-a/identity/identity.json").display()
    );
    assert!(again.said().contains(&advice), "{}", again.said());
}

#[test]
fn no_secret_is_in_any_output_at_the_finest_log_level() {
    let mut relay = Relay::start();
    let token = relay.invite("clinic-a", "1h");
    let forged = changed(&token, None, Some([7; 32]));
    let mut said = relay.join("nobody", &forged).said() + &relay.join("clinic-a", &token).said();
    relay.daemon.process.terminate(PATIENCE).unwrap();
    said += &[relay.daemon.process.stdout(), relay.daemon.process.stderr()]
        .concat()
        .join("\n");
    assert!(said.contains("a certificate is issued"), "{said}");
    let secret = secret_of(&token.parse().unwrap());
    let hexadecimal: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = format!("{secret:?}");
    let of_text = token.split_at(token.len() - 24).1;
    for form in [of_text, &hexadecimal, listed.trim_matches(['[', ']']), "ph1_"] {
        assert!(!said.contains(form), "{form}");
    }
}

#[test]
fn files_and_folders_are_their_users_alone_and_become_so_again() {
    let relay = Relay::start();
    assert!(relay.join("clinic-a", &relay.invite("clinic-a", "1h")).status.success());
    let edge = relay.dir("clinic-a");
    fs::write(edge.join("edge.toml"), EDGE).unwrap();
    fs::set_permissions(edge.join("edge.toml"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(relay.dir("relay").join("relay.toml"), Permissions::from_mode(0o600)).unwrap();
    // As an older version left it.
    fs::set_permissions(&edge, Permissions::from_mode(0o755)).unwrap();
    let running = spawn_ready(&mut command(&edge_gateway(), &edge, &["run"])).unwrap();
    let all = [everything_in(&edge), everything_in(&relay.dir("relay"))].concat();
    for path in &all {
        let mode = fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
    }
    for name in [
        "ledger.sqlite",
        "registry.sqlite",
        "index.sqlite",
        "signing-key.pem",
        "admin.sock",
    ] {
        assert!(
            all.iter().any(|path| path.ends_with(name)),
            "{name} is not among {all:?}"
        );
    }
    drop(running);
}

#[test]
fn a_gateway_raises_its_limit_of_open_files_and_says_so() {
    let relay = Relay::start();
    assert!(relay.join("clinic-a", &relay.invite("clinic-a", "1h")).status.success());
    fs::write(relay.dir("clinic-a").join("edge.toml"), EDGE).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -S -n 256 && exec \"$0\" run --dir \"$1\""]);
    let mut edge = spawn_ready(shell.arg(edge_gateway()).arg(relay.dir("clinic-a"))).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", edge.process.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let values: Vec<_> = files.split_whitespace().collect();
    assert_eq!(values[3], values[4], "{files}");
    edge.process.stderr_line("limit of open files", PATIENCE).unwrap();
}

fn everything_in(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_path_buf()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything_in(&path));
        } else {
            all.push(path);
        }
    }
    all
}
