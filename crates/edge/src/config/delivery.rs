//! `[delivery]`: how deliveries to PACS are tried.

use std::time::Duration;

use packhorse_daemon::{ByteSize, Span};
use serde::Deserialize;

use super::problems::Problems;

/// Longest data set that is converted, unless configured: an hour of ultrasound, or a slide's largest level, is longer.
const CONVERT_MAX: usize = 512 << 20;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawDelivery {
    pub(super) retry_min: Option<Span>,
    pub(super) retry_max: Option<Span>,
    pub(super) tries: Option<u32>,
    pub(super) try_again: Option<Span>,
    pub(super) paused_again: Option<Span>,
    pub(super) idle: Option<Span>,
    pub(super) answer: Option<Span>,
    pub(super) order_wait: Option<Span>,
    pub(super) keep: Option<Span>,
    pub(super) keep_quota: Option<ByteSize>,
    pub(super) convert_max: Option<ByteSize>,
}

/// How deliveries to PACS are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryTimes {
    /// Pause after the first failure of a destination. Default 1 s.
    pub retry_min: Duration,
    /// Longest pause. Default 5 min.
    pub retry_max: Duration,
    /// Tries of one instance that the PACS answers with a failure which may pass. Default 3.
    pub tries: u32,
    /// Between those tries. Default 20 min.
    pub try_again: Duration,
    /// How often a paused destination is tried again. Default 1 min.
    pub paused_again: Duration,
    /// How long an association is kept for the next instance. Default 10 s, at most 1 min.
    pub idle: Duration,
    /// How long a PACS may take to answer a C-STORE. Default 5 min.
    pub answer: Duration,
    /// How long an instance waits for one that its source took before it and that is not here yet; zero: not at all.
    /// Default 2 s.
    pub order_wait: Duration,
    /// How long a delivered instance is kept, to be sent again. Default 24 h; 0: not at all.
    pub keep: Duration,
    /// Bytes that are kept so at most. Default `None`: a tenth of what the disk has for the spool.
    pub keep_quota: Option<u64>,
    /// Longest data set in bytes that is converted, before, decoded and after; a conversion takes up to three times as much
    /// memory, and there is one at a time. Default 512 MiB.
    pub convert_max: usize,
}

pub(super) fn times(raw: &RawDelivery, problems: &mut Problems) -> DeliveryTimes {
    let mut span =
        |key: &str, span: Option<Span>, default| problems.span("delivery", key, span, Duration::from_secs(default));
    let times = DeliveryTimes {
        retry_min: span("retry_min", raw.retry_min, 1),
        retry_max: span("retry_max", raw.retry_max, 300),
        tries: raw.tries.unwrap_or(3),
        try_again: span("try_again", raw.try_again, 1200),
        paused_again: span("paused_again", raw.paused_again, 60),
        idle: raw.idle.map_or(Duration::from_secs(10), |span| span.0),
        answer: span("answer", raw.answer, 300),
        order_wait: raw.order_wait.map_or(Duration::from_secs(2), |span| span.0),
        keep: raw.keep.map_or(Duration::from_secs(86_400), |span| span.0),
        keep_quota: raw.keep_quota.map(|size| size.0),
        convert_max: raw
            .convert_max
            .map_or(CONVERT_MAX, |size| usize::try_from(size.0).unwrap_or(usize::MAX)),
    };
    if times.retry_min > times.retry_max {
        let problem = format!("{:?} is longer than retry_max, {:?}", times.retry_min, times.retry_max);
        problems.add("delivery.retry_min".to_owned(), problem);
    }
    if times.idle > Duration::from_secs(60) {
        problems.add(
            "delivery.idle".to_owned(),
            "an association is kept for a minute (60s) at most".to_owned(),
        );
    }
    problems.count("delivery.convert_max", raw.convert_max.map(|_| times.convert_max));
    problems.count(
        "delivery.tries",
        raw.tries.and_then(|tries| usize::try_from(tries).ok()),
    );
    times
}
