//! What an owner of endpoints chooses.

use std::sync::Arc;
use std::time::Duration;

use packhorse_ids::{Clock, SystemClock};

use super::memory::MemoryBudget;

/// TLS application protocol of a link.
pub const ALPN_LINK: &[u8] = b"packhorse/1";
/// TLS application protocol of one request with one answer, without a client certificate: enrolment.
pub const ALPN_ENROLL: &[u8] = b"packhorse-enroll/1";
/// Silence after which a keep-alive is sent. UDP bindings of NATs last about 30 s.
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Silence after which a link counts as lost: four keep-alives.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(20);
/// Memory that all links of a process may use for their receive windows.
pub const DEFAULT_RECEIVE_MEMORY: u64 = 512 << 20;

/// What an owner of endpoints chooses. One value is shared by all endpoints of a process, so that they share the memory
/// budget.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// What we call ourselves to the peer and in sentences about versions, such as `relay 0.1.0`. At most 64 printable
    /// ASCII characters are sent.
    pub build: String,
    /// Silence after which a keep-alive is sent. Default 5 s.
    pub keep_alive: Duration,
    /// Silence after which a link counts as lost. Default 20 s.
    pub idle: Duration,
    /// What all links together may use for receive windows. Default 512 MiB. A link starts with 2 MiB.
    pub memory: Arc<MemoryBudget>,
    /// Where times in a status come from. Default: the host's clock.
    pub clock: Arc<dyn Clock>,
    /// The secret of connection ids and stateless resets (RFC 9000 §10.3). An endpoint that is started again with the same
    /// one tells its peers at their next packet that it knows them no more; with another, or with `None` (default: drawn at
    /// each start), they wait until `idle` is over.
    pub reset_secret: Option<[u8; 32]>,
}

impl TransportConfig {
    /// The defaults, under the name `build`.
    #[must_use]
    pub fn new(build: impl Into<String>) -> Self {
        Self {
            build: build.into(),
            keep_alive: DEFAULT_KEEP_ALIVE,
            idle: DEFAULT_IDLE,
            memory: Arc::new(MemoryBudget::new(DEFAULT_RECEIVE_MEMORY)),
            clock: Arc::new(SystemClock),
            reset_secret: None,
        }
    }
}
