//! The number of requests in progress and of connections that have sent none yet, and whether the process is
//! draining before shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long a new connection has for its first request when the process ends: its client has been accepted, and does
/// not expect to send the request again.
pub const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Shared by the gateway, which counts requests, and the server, which waits for them.
#[derive(Debug, Default)]
pub struct Lifecycle {
    running: AtomicUsize,
    new: AtomicUsize,
    draining: AtomicBool,
}

impl Lifecycle {
    /// Counts a request until the returned value is dropped.
    #[must_use]
    pub fn start_request(self: &Arc<Self>) -> RunningRequest {
        self.running.fetch_add(1, Ordering::AcqRel);
        RunningRequest(Arc::clone(self))
    }

    /// The number of requests in progress.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Counts a connection as new until the returned value is dropped.
    #[must_use]
    pub fn open_connection(self: &Arc<Self>) -> NewConnection {
        self.new.fetch_add(1, Ordering::AcqRel);
        NewConnection(Arc::clone(self))
    }

    /// Whether a connection has sent no request yet.
    #[must_use]
    pub fn awaits_first_requests(&self) -> bool {
        self.new.load(Ordering::Acquire) > 0
    }

    /// From now on responses carry `Connection: close`, so that clients reconnect to another replica.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether shutdown has started.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// Counts one request in progress until it is dropped.
#[derive(Debug)]
pub struct RunningRequest(Arc<Lifecycle>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts one connection that has sent no request, until it is dropped.
#[derive(Debug)]
pub struct NewConnection(Arc<Lifecycle>);

impl Drop for NewConnection {
    fn drop(&mut self) {
        self.0.new.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_progress_are_counted() {
        let lifecycle = Arc::new(Lifecycle::default());
        let first = lifecycle.start_request();
        let second = lifecycle.start_request();
        assert_eq!(lifecycle.running(), 2);
        drop(first);
        assert_eq!(lifecycle.running(), 1);
        drop(second);
        assert_eq!(lifecycle.running(), 0);
    }
}
