//! Named stopping points for crash tests: `PACKHORSE_ABORT_AT=point:n` aborts the process the nth time it comes to the
//! point. Compiled in debug builds only; in release builds [`at`] is empty.
//!
//! Points: `after_payload` (payload written, not committed), `after_commit` (committed, not answered), `after_answer`
//! (C-STORE-RSP sent), `after_ack_sent` (what came over a link is committed, its acknowledgement on the way out),
//! `before_settle` (the next hop or the destination has it, not yet written down), `after_order` (a person's order is
//! committed, not answered).

/// Comes to the stopping point `point`.
#[cfg(debug_assertions)]
pub fn at(point: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHOSEN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let chosen = CHOSEN.get_or_init(|| {
        let value = std::env::var("PACKHORSE_ABORT_AT").ok()?;
        let (name, count) = value.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    if let Some((name, nth)) = chosen
        && name == point
        && COUNT.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        std::process::abort();
    }
}

/// Comes to the stopping point `point`: nothing happens in a release build.
#[cfg(not(debug_assertions))]
pub const fn at(_point: &str) {}
