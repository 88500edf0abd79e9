//! Placeholder until this example's first commit.
fn main() {}
