//! Exponential backoff with jitter.

use std::time::Duration;

/// How long to wait before try number `attempt + 1`, when `attempt` (from 1) tries have failed: between half of and the
/// whole of `base * 2^(attempt - 1)`, at most `most`. `random` is in 0.0 to 1.0; without it many senders that failed
/// together would come back together.
#[must_use]
pub fn backoff(attempt: u32, base: Duration, most: Duration, random: f64) -> Duration {
    let doubled = base.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(most).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_most_and_jitters_by_half() {
        let (base, most) = (Duration::from_secs(1), Duration::from_secs(60));
        let full: Vec<_> = (1..=8)
            .map(|attempt| backoff(attempt, base, most, 1.0).as_secs())
            .collect();
        assert_eq!(full, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff(3, base, most, 0.0), Duration::from_secs(2));
        assert_eq!(backoff(u32::MAX, base, most, 1.0), most);
    }
}
