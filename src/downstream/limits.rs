//! Limits on clients: open connections, and concurrent requests per user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use crate::downstream::idle::{IdleMark, OpenConnections};

/// Current counts and their limits.
#[derive(Debug)]
pub struct ClientLimits {
    connections: Arc<AtomicUsize>,
    max_connections: usize,
    open: Arc<OpenConnections>,
    users: Arc<UserCounts>,
    /// 0 is unlimited.
    max_requests_per_user: usize,
}

/// Requests in progress by user; users without any have no entry.
#[derive(Debug, Default)]
struct UserCounts(Mutex<HashMap<Box<[u8]>, usize>>);

impl ClientLimits {
    /// Limits with all counts at zero. A `max_requests_per_user` of 0 is unlimited.
    #[must_use]
    pub fn new(max_connections: usize, max_requests_per_user: usize) -> Self {
        Self {
            connections: Arc::default(),
            max_connections,
            open: OpenConnections::new(),
            users: Arc::default(),
            max_requests_per_user,
        }
    }

    /// Counts a connection until the permit is dropped. At the limit it gets the place of the connection
    /// that has been idle for the longest time, which is then closed; `None` if no connection is idle.
    #[must_use]
    pub fn try_connect(&self) -> Option<ConnectionPermit> {
        if !self.count() {
            let closed = self.open.claim_longest(Instant::now());
            self.connections.fetch_sub(closed, Ordering::Relaxed);
            if !self.count() {
                return None;
            }
        }
        Some(ConnectionPermit { connections: Arc::clone(&self.connections), idle: self.open.add() })
    }

    fn count(&self) -> bool {
        let counted = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < self.max_connections).then_some(open + 1)
        });
        counted.is_ok()
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The limit of open connections.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Counts a request of this user until the permit is dropped; `None` without a user or a limit.
    ///
    /// # Errors
    /// When the user has reached the limit.
    pub fn start_request(&self, user: Option<&[u8]>) -> Result<Option<UserPermit>, UserSaturated> {
        let Some(user) = user.filter(|_| self.max_requests_per_user > 0) else { return Ok(None) };
        let mut users = self.users.lock();
        match users.get_mut(user) {
            Some(requests) if *requests >= self.max_requests_per_user => return Err(UserSaturated),
            Some(requests) => *requests += 1,
            None => {
                users.insert(user.into(), 1);
            }
        }
        drop(users);
        Ok(Some(UserPermit { users: Arc::clone(&self.users), user: user.into() }))
    }
}

impl UserCounts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The user has reached the limit of concurrent requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserSaturated;

/// Counts one open connection until it is dropped, or until its place is given to a new one.
#[derive(Debug)]
pub struct ConnectionPermit {
    connections: Arc<AtomicUsize>,
    idle: IdleMark,
}

impl ConnectionPermit {
    /// The connection waits for a request since `since`. Ready when its place was given to a new one.
    pub fn poll_idle(&self, context: &mut Context<'_>, since: Instant) -> Poll<()> {
        self.idle.poll_idle(context, since)
    }

    /// The wait is over; false if the place was given to a new connection.
    #[must_use]
    pub fn end_idle(&self) -> bool {
        self.idle.end_idle()
    }

    /// Whether the place was given to a new connection.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.idle.is_claimed()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        // The new connection has counted out a place that it was given.
        if self.idle.end_idle() {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Counts one request of a user until it is dropped.
#[derive(Debug)]
pub struct UserPermit {
    users: Arc<UserCounts>,
    user: Box<[u8]>,
}

impl Drop for UserPermit {
    fn drop(&mut self) {
        let mut users = self.users.lock();
        match users.get_mut(&self.user) {
            Some(requests) if *requests > 1 => *requests -= 1,
            _ => {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_beyond_the_limit_are_refused_and_do_not_count() {
        let limits = ClientLimits::new(4, 0);
        let mut open: Vec<_> = (0..4).filter_map(|_| limits.try_connect()).collect();
        assert_eq!((open.len(), limits.connections()), (4, 4));
        assert!(limits.try_connect().is_none());
        assert_eq!(limits.connections(), 4);
        open.pop();
        assert!(limits.try_connect().is_some());
        open.clear();
        assert_eq!(limits.connections(), 0);
    }

    #[test]
    fn at_the_limit_an_idle_connection_gives_its_place_to_a_new_one() {
        let limits = ClientLimits::new(2, 0);
        let permits: Vec<_> = (0..2).filter_map(|_| limits.try_connect()).collect();
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(permits[1].poll_idle(&mut context, Instant::now()).is_pending());
        let new = limits.try_connect().expect("a place");
        assert!(permits[1].is_claimed() && !permits[0].is_claimed());
        assert_eq!(limits.connections(), 2);
        assert!(limits.try_connect().is_none(), "the others are busy");
        drop(permits);
        assert_eq!(limits.connections(), 1, "the claimed place counts once");
        drop(new);
        assert_eq!(limits.connections(), 0);
    }

    #[test]
    fn a_user_at_the_limit_does_not_affect_other_users() {
        let limits = ClientLimits::new(1, 2);
        let first = limits.start_request(Some(b"a"));
        let second = limits.start_request(Some(b"a"));
        assert!(matches!((&first, &second), (Ok(Some(_)), Ok(Some(_)))));
        assert_eq!(limits.start_request(Some(b"a")).err(), Some(UserSaturated));
        assert!(limits.start_request(Some(b"b")).is_ok());
        assert!(limits.start_request(None).is_ok_and(|request| request.is_none()));
        drop(first);
        assert!(limits.start_request(Some(b"a")).is_ok());
        drop(second);
        assert!(limits.users.lock().is_empty());
    }

    #[test]
    fn users_are_not_counted_where_there_is_no_limit() {
        let limits = ClientLimits::new(1, 0);
        assert!(limits.start_request(Some(b"a")).is_ok_and(|request| request.is_none()));
    }
}
