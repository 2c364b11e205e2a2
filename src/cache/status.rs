//! What the cache did for a request, in the words of RFC 9211: the value of `Cache-Status`, and the
//! `cache` field of the log.

use std::fmt;

/// What the cache did for one request. Its text leaves out the name of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// Served from what was kept; `ttl` in seconds, below zero when it was served stale.
    Hit { ttl: i64, stale: Option<Stale> },
    /// The store was asked.
    Forwarded { why: Why, status: Option<u16>, ttl: Option<i64>, stored: bool, collapsed: bool },
    /// The cache had no part in it.
    Bypass,
}

/// Why the store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing was kept.
    Miss,
    /// What was kept was no longer fresh.
    Stale,
    /// The client asked for it.
    Request,
}

/// Why something stale was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    WhileRevalidate,
    IfError,
}

impl CacheStatus {
    /// The store was asked, and nothing was kept of its answer.
    #[must_use]
    pub fn passed(why: Why) -> Self {
        Self::Forwarded { why, status: None, ttl: None, stored: false, collapsed: false }
    }

    /// Whether what is served was kept from before, so that it has an `Age`.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit { .. })
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { ttl, stale } => {
                write!(f, "hit; ttl={ttl}")?;
                match stale {
                    None => Ok(()),
                    Some(Stale::WhileRevalidate) => f.write_str("; detail=stale-while-revalidate"),
                    Some(Stale::IfError) => f.write_str("; detail=stale-if-error"),
                }
            }
            Self::Forwarded { why, status, ttl, stored, collapsed } => {
                f.write_str(match why {
                    Why::Miss => "fwd=miss",
                    Why::Stale => "fwd=stale",
                    Why::Request => "fwd=request",
                })?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                if let Some(ttl) = ttl {
                    write!(f, "; ttl={ttl}")?;
                }
                if *stored {
                    f.write_str("; stored")?;
                }
                if *collapsed {
                    f.write_str("; collapsed")?;
                }
                Ok(())
            }
            Self::Bypass => f.write_str("fwd=bypass"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_rfc_9211() {
        let forwarded = |why, status, ttl, stored, collapsed| CacheStatus::Forwarded {
            why,
            status,
            ttl,
            stored,
            collapsed,
        };
        for (status, text) in [
            (CacheStatus::Hit { ttl: 30, stale: None }, "hit; ttl=30"),
            (
                CacheStatus::Hit { ttl: -3, stale: Some(Stale::WhileRevalidate) },
                "hit; ttl=-3; detail=stale-while-revalidate",
            ),
            (
                CacheStatus::Hit { ttl: -400, stale: Some(Stale::IfError) },
                "hit; ttl=-400; detail=stale-if-error",
            ),
            (
                forwarded(Why::Miss, Some(200), Some(300), true, false),
                "fwd=miss; fwd-status=200; ttl=300; stored",
            ),
            (
                forwarded(Why::Miss, None, Some(300), true, true),
                "fwd=miss; ttl=300; stored; collapsed",
            ),
            (
                forwarded(Why::Stale, Some(304), Some(300), true, false),
                "fwd=stale; fwd-status=304; ttl=300; stored",
            ),
            (CacheStatus::passed(Why::Request), "fwd=request"),
            (CacheStatus::passed(Why::Miss), "fwd=miss"),
            (CacheStatus::Bypass, "fwd=bypass"),
        ] {
            assert_eq!(status.to_string(), text);
        }
    }
}
