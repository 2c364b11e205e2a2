//! How long an answer may be served: RFC 9111, section 4.2, and RFC 5861.

use std::time::{Duration, SystemTime};

/// When an answer was made, and how long it may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When the store made the answer, its own `Age` taken off: `Age` counts from here.
    pub born: SystemTime,
    /// Until then it is served without asking.
    pub fresh_until: SystemTime,
    /// How long after that it is served while it is asked for again.
    pub stale_while_revalidate: Duration,
    /// How long after `fresh_until` it is served when the store fails.
    pub stale_if_error: Duration,
}
