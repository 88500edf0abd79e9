//! Placeholder until this binary's first commit.
fn main() {}
