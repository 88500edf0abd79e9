//! `[echo]`: how often and for how long PACS are checked by C-ECHO.

use std::time::Duration;

use packhorse_daemon::Span;
use serde::Deserialize;

use super::problems::Problems;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawEcho {
    pub(super) pace: Option<Span>,
    pub(super) answer: Option<Span>,
    pub(super) fresh: Option<Span>,
    pub(super) wait: Option<Span>,
}

/// How often and for how long PACS are checked by C-ECHO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoTimes {
    /// How long a check counts for all who ask, here for the far PACS of routes and for our own PACS: at most one
    /// association in this time is opened for them at a PACS. Default 60 s.
    pub pace: Duration,
    /// How long a caller of a route with `echo = "end-to-end"` waits for his answer at most. Default 5 s.
    pub answer: Duration,
    /// How old a check may be for `edge-gateway echo`. Default 5 s.
    pub fresh: Duration,
    /// How long `edge-gateway echo` waits for the far gateway. Default 10 s.
    pub wait: Duration,
}

pub(super) fn times(raw: &RawEcho, problems: &mut Problems) -> EchoTimes {
    let mut span =
        |key: &str, span: Option<Span>, default| problems.span("echo", key, span, Duration::from_secs(default));
    let times = EchoTimes {
        pace: span("pace", raw.pace, 60),
        answer: span("answer", raw.answer, 5),
        fresh: span("fresh", raw.fresh, 5),
        wait: span("wait", raw.wait, 10),
    };
    if times.fresh > times.pace {
        let problem = format!("{:?} is longer than pace, {:?}", times.fresh, times.pace);
        problems.add("echo.fresh".to_owned(), problem);
    }
    times
}
