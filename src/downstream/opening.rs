//! How a connection begins, before its first request: by the port that it came to, and within which limits. One
//! that has not begun a request is idle: at the limit of connections a new one takes its place, so that clients
//! that never finish a handshake keep no others out.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use pingora::protocols::Stream;
use tokio::time::timeout_at;

use crate::config::{Config, Listen};
use crate::downstream::limits::ConnectionPermit;

/// What a connection begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Opening {
    /// A header of the PROXY protocol, before anything else.
    pub(super) proxy_header: bool,
    pub(super) tls: bool,
    /// Without TLS: perhaps HTTP/2, as the first bytes say.
    pub(super) http2: bool,
}

/// How the connections to each port begin.
#[derive(Debug, Clone, Default)]
pub struct Openings {
    /// Ports whose connections do not begin with a request.
    by_port: Vec<(u16, Opening)>,
}

impl Openings {
    /// Those of the public listeners.
    #[must_use]
    pub fn public(config: &Config) -> Self {
        let opening = |tls: bool| {
            move |Listen { address, proxy_protocol, http2 }: &Listen| {
                (address.port(), Opening { proxy_header: *proxy_protocol, tls, http2: *http2 })
            }
        };
        let with_tls = config.tls.iter().flat_map(|tls| &tls.listen).map(opening(true));
        let all = config.gateway.listen.iter().map(opening(false)).chain(with_tls);
        Self { by_port: all.filter(|(_, opening)| *opening != Opening::default()).collect() }
    }

    /// Those of the admin listener.
    #[must_use]
    pub fn admin(config: &Config) -> Self {
        let address = config.admin_listen.filter(|_| config.admin_tls.is_some());
        let opening = Opening { tls: true, ..Opening::default() };
        Self { by_port: address.map(|address| (address.port(), opening)).into_iter().collect() }
    }

    /// How this connection begins.
    pub(super) fn of(&self, stream: &Stream) -> Opening {
        if self.by_port.is_empty() {
            return Opening::default();
        }
        let digest = stream.get_socket_digest();
        let local = digest.as_ref().and_then(|digest| digest.local_addr()?.as_inet());
        let found = local.and_then(|local| {
            self.by_port.iter().find(|(port, _)| *port == local.port()).map(|(_, opening)| *opening)
        });
        found.unwrap_or_default()
    }
}

/// Why a connection ends before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It took too long.
    Late,
    /// A new connection has its place.
    Displaced,
}

/// Does the work that precedes the first request of a connection.
pub(super) async fn before_requests<T>(
    permit: &ConnectionPermit,
    deadline: Instant,
    work: impl Future<Output = T>,
) -> Result<T, Ended> {
    let began = Instant::now();
    let mut work = pin!(timeout_at(deadline.into(), work));
    let done = poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done.map_err(|_| Ended::Late));
        }
        permit.poll_idle(context, began).map(|()| Err(Ended::Displaced))
    });
    let done = done.await;
    if permit.end_idle() { done } else { Err(Ended::Displaced) }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;
    use crate::downstream::limits::ClientLimits;

    #[tokio::test]
    async fn a_connection_without_a_request_gives_its_place_to_a_new_one() {
        let limits = ClientLimits::new(1, 0);
        let permit = limits.try_connect().expect("a place");
        let deadline = Instant::now() + Duration::from_secs(60);
        let new = async {
            tokio::task::yield_now().await;
            limits.try_connect()
        };
        let (ended, new) = tokio::join!(before_requests(&permit, deadline, pending::<()>()), new);
        assert_eq!(ended, Err(Ended::Displaced));
        assert!(new.is_some());
        drop(permit);
        assert_eq!(limits.connections(), 1);
    }

    #[tokio::test]
    async fn the_work_has_until_the_deadline_and_the_place_is_kept() {
        let limits = ClientLimits::new(1, 0);
        let permit = limits.try_connect().expect("a place");
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(before_requests(&permit, soon, pending::<()>()).await, Err(Ended::Late));
        let later = Instant::now() + Duration::from_secs(60);
        let work = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(before_requests(&permit, later, work).await, Ok(7));
        assert!(limits.try_connect().is_none(), "it is busy again");
    }
}
