//! What the cache did for a request, in the words of RFC 9211: the value of `Cache-Status`, and the
//! `cache` field of the log.

use std::fmt;

use crate::date_text::push_decimal;

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

impl CacheStatus {
    /// Adds its text, without the machinery of `format!`: every answer has one, and its line in the
    /// log another.
    pub fn push_to(&self, text: &mut String) {
        match *self {
            Self::Hit { ttl, stale } => {
                text.push_str("hit; ttl=");
                push_number(text, ttl);
                text.push_str(match stale {
                    None => "",
                    Some(Stale::WhileRevalidate) => "; detail=stale-while-revalidate",
                    Some(Stale::IfError) => "; detail=stale-if-error",
                });
            }
            Self::Forwarded { why, status, ttl, stored, collapsed } => {
                text.push_str(match why {
                    Why::Miss => "fwd=miss",
                    Why::Stale => "fwd=stale",
                    Why::Request => "fwd=request",
                });
                if let Some(status) = status {
                    text.push_str("; fwd-status=");
                    push_number(text, status.into());
                }
                if let Some(ttl) = ttl {
                    text.push_str("; ttl=");
                    push_number(text, ttl);
                }
                text.push_str(if stored { "; stored" } else { "" });
                text.push_str(if collapsed { "; collapsed" } else { "" });
            }
            Self::Bypass => text.push_str("fwd=bypass"),
        }
    }
}

fn push_number(text: &mut String, number: i64) {
    if number < 0 {
        text.push('-');
    }
    push_decimal(text, number.unsigned_abs());
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        self.push_to(&mut text);
        f.write_str(&text)
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
            (CacheStatus::Hit { ttl: 0, stale: None }, "hit; ttl=0"),
            (CacheStatus::Hit { ttl: i64::MIN, stale: None }, "hit; ttl=-9223372036854775808"),
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
