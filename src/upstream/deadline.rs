//! How long a store may take. One set of limits for requests that pass through the proxy, fetches of
//! the cache and `s3proxy check`.
//!
//! | what | limit | what follows |
//! |---|---|---|
//! | a connection, TLS included | `connect_timeout` | another address, or another attempt, if one is left |
//! | the head of an answer, after the request | `first_byte_timeout` | another address, if a retry is left; the address is passed over |
//! | the pause between two pieces of a body | `read_timeout`, at most 5 s if the rest can be requested | the rest is requested ([`rest`](crate::upstream::rest)), else the body is cut |
//! | an error document, all of it | `read_timeout`, at most 2 s | the answer is given without its code |
//! | all attempts, up to the head of the answer | `total_timeout` | 504 |
//!
//! Every limit but those of bodies ends with the time for all attempts.

use std::time::Duration;

use crate::config::UpstreamConfig;

/// How long an error document may take. The status is known by then, and a client waits for it.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a store may be silent in the middle of a body whose rest can be requested.
const BODY_PATIENCE: Duration = Duration::from_secs(5);

/// The shortest time a connection gets: Pingora takes zero for no limit.
const SHORTEST_CONNECT: Duration = Duration::from_millis(1);

/// The limits of one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    connect: Duration,
    first_byte: Duration,
    read: Duration,
}

impl Deadlines {
    /// The limits of this configuration.
    #[must_use]
    pub fn of(config: &UpstreamConfig) -> Self {
        let UpstreamConfig { connect_timeout, first_byte_timeout, read_timeout, .. } = config;
        Self { connect: *connect_timeout, first_byte: *first_byte_timeout, read: *read_timeout }
    }

    /// For the first look-up of a name. `left` is the rest of the time for all attempts.
    #[must_use]
    pub fn lookup(&self, left: Duration) -> Duration {
        self.connect.min(left)
    }

    /// For a connection, TLS included.
    #[must_use]
    pub fn connect(&self, left: Duration) -> Duration {
        self.connect.min(left).max(SHORTEST_CONNECT)
    }

    /// For the head of the answer, from the moment the request is sent.
    #[must_use]
    pub fn head(&self, left: Duration) -> Duration {
        self.first_byte.min(left)
    }

    /// For the pause between two pieces of a body, if its rest `may_be_requested`.
    #[must_use]
    pub fn pause(&self, may_be_requested: bool) -> Duration {
        if may_be_requested { self.read.min(BODY_PATIENCE) } else { self.read }
    }

    /// For all of an error document. `left`: the rest of the time for all attempts, if another
    /// attempt follows, which must not wait for a document that does not arrive.
    #[must_use]
    pub fn document(&self, left: Option<Duration>) -> Duration {
        let document = self.read.min(DOCUMENT_TIMEOUT);
        left.map_or(document, |left| document.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_its_own_or_the_rest_of_the_time() {
        let second = Duration::from_secs;
        let limits = Deadlines { connect: second(2), first_byte: second(15), read: second(30) };
        assert_eq!((limits.lookup(second(9)), limits.lookup(second(1))), (second(2), second(1)));
        assert_eq!((limits.connect(second(9)), limits.connect(second(1))), (second(2), second(1)));
        assert_eq!((limits.head(second(20)), limits.head(second(3))), (second(15), second(3)));
        assert_eq!(limits.connect(Duration::ZERO), SHORTEST_CONNECT);
        assert_eq!(limits.document(None), DOCUMENT_TIMEOUT);
        assert_eq!(limits.document(Some(second(1))), second(1));
        let hasty = Deadlines { read: second(1), ..limits };
        assert_eq!(hasty.document(None), second(1));
        assert_eq!((limits.pause(true), limits.pause(false)), (second(5), second(30)));
        assert_eq!(hasty.pause(true), second(1));
    }
}
