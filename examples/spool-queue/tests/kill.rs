//! The example does what it says.

use std::process::Command;

#[test]
fn what_was_acknowledged_before_the_kill_is_there_after_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_spool-queue")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("signal: 9"), "{said}");
    assert!(said.contains("all of them were there with their bytes"), "{said}");
    assert!(said.ends_with("the queue is empty\n"), "{said}");
}
