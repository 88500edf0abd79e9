//! `edge-gateway policy` needs a configuration and nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use packhorse_testkit::process::run;

use crate::support::PATIENCE;

const TOML: &str = r#"
source = [{ ae_titles = ["PACS_A"], hosts = ["10.0.0.5"] }]
route = [{ called_ae_title = "ST_MARY", to = "st-mary/PACS_B" }]
"#;

/// The exit code, and what was said.
fn policy(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-gateway"));
    let finished = run(command.arg("policy").args(args).arg("--dir").arg(folder), PATIENCE).unwrap();
    (finished.status.code(), finished.said())
}

#[test]
fn the_exit_code_says_whether_everything_would_be_taken() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("edge.toml"), TOML).unwrap();
    assert_eq!(policy(folder.path(), &["show"]).0, Some(0));
    let (code, said) = policy(
        folder.path(),
        &["test", "--class", "CTImageStorage", "--from", "PACS_A"],
    );
    assert!(
        code == Some(0)
            && said.contains("accepted, by rule 5 (storage), shipped")
            && said.contains("what its PACS takes are not considered"),
        "{said}"
    );
    let (code, said) = policy(folder.path(), &["test", "--class", "raw-data"]);
    assert!(
        code == Some(1) && said.contains("abstract syntax not supported (3), by rule 1 (raw data)"),
        "{said}"
    );
    let contradicting = format!(
        "{TOML}rule = [{{ class = [\"raw-data\"], outcome = \"accept\" }}, {{ class = [\"raw-data\"], outcome = \"hold\" }}]"
    );
    fs::write(folder.path().join("edge.toml"), contradicting).unwrap();
    let (code, said) = policy(folder.path(), &["show"]);
    assert!(
        code == Some(78) && said.contains("rule[2]: contradicts rule[1]"),
        "{said}"
    );
}
