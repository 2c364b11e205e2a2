//! How connections of HTTP/2 end: counted by name, and in the log where a client asked too much.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use h2::Reason;
use log::info;

use crate::downstream::rare_line::RareLine;
use crate::downstream::transport::shown;
use crate::protocol::frame_scan::Flood;

/// The least time between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client has closed it, or left.
    Closed,
    /// No request came for `downstream.keepalive_timeout`.
    Idle,
    /// It reached `downstream.http2_max_age`.
    Age,
    /// The process ends.
    Shutdown,
    /// At the limit of connections a new one has its place.
    Displaced,
    /// The preface did not come in time, or something else came.
    NoPreface,
    /// The head of a request took longer than `downstream.header_timeout`.
    SlowHead,
    /// It took less than `downstream.min_rate` of what was to be sent.
    SlowReader,
    /// PING, SETTINGS and others without need.
    Controls,
    /// Requests that are cancelled at once.
    Resets,
    /// Another limit of the protocol's implementation: CONTINUATION, malformed requests, heads.
    Excess,
    /// Frames that the protocol does not allow.
    Protocol,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Closed,
        Self::Idle,
        Self::Age,
        Self::Shutdown,
        Self::Displaced,
        Self::NoPreface,
        Self::SlowHead,
        Self::SlowReader,
        Self::Controls,
        Self::Resets,
        Self::Excess,
        Self::Protocol,
    ];

    /// The label of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Shutdown => "shutdown",
            Self::Displaced => "displaced",
            Self::NoPreface => "no_preface",
            Self::SlowHead => "slow_head",
            Self::SlowReader => "slow_reader",
            Self::Controls => "control_flood",
            Self::Resets => "reset_flood",
            Self::Excess => "excess",
            Self::Protocol => "protocol_error",
        }
    }

    /// Whether the client asked for more than any client needs, or held up what others want: the operator may want to
    /// know who it is.
    pub(super) fn asks_too_much(self) -> bool {
        matches!(
            self,
            Self::SlowHead | Self::SlowReader | Self::Controls | Self::Resets | Self::Excess
        )
    }

    pub(super) fn of(error: &h2::Error) -> Self {
        match error.reason() {
            _ if error.is_io() || error.is_remote() => Self::Closed,
            Some(Reason::ENHANCE_YOUR_CALM | Reason::COMPRESSION_ERROR) => Self::Excess,
            Some(Reason::NO_ERROR) => Self::Closed,
            _ => Self::Protocol,
        }
    }
}

impl From<Flood> for End {
    fn from(flood: Flood) -> Self {
        match flood {
            Flood::Controls => Self::Controls,
            Flood::Resets => Self::Resets,
        }
    }
}

/// Connections of HTTP/2 by how they ended, and their requests, since the start.
#[derive(Debug)]
pub struct Http2Counts {
    ends: [AtomicU64; End::ALL.len()],
    line: RareLine,
}

impl Default for Http2Counts {
    fn default() -> Self {
        Self { ends: Default::default(), line: RareLine::new(LOG_INTERVAL) }
    }
}

impl Http2Counts {
    pub(super) fn count(&self, end: End) {
        // The order of the variants is that of `ALL`.
        if let Some(count) = self.ends.get(end as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Logs who asked too much, at most one line per [`LOG_INTERVAL`]: an attack must not fill the log.
    pub(super) fn log(&self, end: End, client: Option<IpAddr>) {
        if let Some(ended) = self.line.note(Instant::now()) {
            info!(
                "HTTP/2: a connection of {} was ended: {}; connections ended because they asked too much \
                 since the last such line: {ended}",
                shown(client),
                end.label()
            );
        }
    }

    /// How many ended so.
    pub fn ends(&self) -> impl Iterator<Item = (End, u64)> {
        End::ALL.into_iter().zip(self.ends.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_label_and_a_count_of_its_own() {
        let counts = Http2Counts::default();
        for (place, end) in End::ALL.into_iter().enumerate() {
            for _ in 0..=place {
                counts.count(end);
            }
        }
        let counted: Vec<_> = counts.ends().map(|(end, count)| (end.label(), count)).collect();
        assert_eq!(counted.len(), End::ALL.len());
        for (place, (label, count)) in counted.iter().enumerate() {
            assert_eq!(*count, place as u64 + 1, "{label}");
            assert!(counted.iter().skip(place + 1).all(|(other, _)| other != label), "{label}");
        }
    }
}
