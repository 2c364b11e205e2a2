//! The outcome of the cache for a request, in the terms of RFC 9211: the value of `Cache-Status`, the
//! `cache` field of the log, and the label of metrics.

use std::fmt;

use crate::protocol::timestamp::push_decimal;

/// The outcome of the cache for one request. Its text has no cache name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// Served from the cache; `ttl` in seconds, negative when stale. `shared`: from the tier that replicas
    /// share.
    Hit { ttl: i64, stale: Option<Stale>, shared: bool },
    /// Forwarded to the store (`fwd`); `status` is the store's (`fwd-status`).
    Forwarded {
        why: ForwardReason,
        status: Option<u16>,
        ttl: Option<i64>,
        stored: bool,
        collapsed: bool,
    },
    /// The coverage map of a survey, which is cached, says that there is no such object.
    Excluded,
    /// The cache was bypassed.
    Bypass,
}

/// Why a request was forwarded (RFC 9211, section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardReason {
    /// Not cached.
    Miss,
    /// Cached, but not fresh.
    Stale,
    /// Because of a directive of the client, such as `no-cache`.
    Request,
    /// Some blocks were not cached.
    Partial,
}

/// Where the blocks of a response come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockCounts {
    pub memory: u64,
    pub disk: u64,
    pub shared: u64,
    pub store: u64,
    /// Blocks that were not looked up, because the response has more than are counted.
    pub uncounted: u64,
}

impl BlockCounts {
    /// Appends the counts that are not zero, such as `memory=2, store=1`.
    fn push_to(self, text: &mut String) {
        let mut first = true;
        for (name, count) in [
            ("memory=", self.memory),
            ("disk=", self.disk),
            ("shared=", self.shared),
            ("store=", self.store),
            ("uncounted=", self.uncounted),
        ] {
            if count > 0 {
                text.push_str(if first { "" } else { ", " });
                text.push_str(name);
                push_decimal(text, count);
                first = false;
            }
        }
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Why a stale object was served (RFC 5861).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    WhileRevalidate,
    IfError,
}

impl CacheStatus {
    /// Forwarded, without storing the response.
    #[must_use]
    pub fn passed(why: ForwardReason) -> Self {
        Self::Forwarded { why, status: None, ttl: None, stored: false, collapsed: false }
    }

    /// Whether the response was stored before this request, so that it has an `Age`.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit { .. } | Self::Forwarded { why: ForwardReason::Partial, .. })
    }

    /// The same status for a response from these blocks: a hit becomes `fwd=partial` when blocks have
    /// to be fetched; `stored` says whether they are then cached.
    #[must_use]
    pub fn of_blocks(self, blocks: BlockCounts, stored: bool) -> Self {
        match self {
            Self::Hit { ttl, .. } if blocks.store > 0 => Self::Forwarded {
                why: ForwardReason::Partial,
                status: None,
                ttl: Some(ttl),
                stored,
                collapsed: false,
            },
            status => status,
        }
    }
}

impl CacheStatus {
    /// Appends the text. Written without `format!`, because every response and every log line has one.
    pub fn push_to(&self, text: &mut String, blocks: BlockCounts) {
        let mut detail = None;
        match *self {
            Self::Hit { ttl, stale, shared } => {
                text.push_str("hit; ttl=");
                push_number(text, ttl);
                // A stale object says why it was served; that says more than where it came from.
                detail = match stale {
                    Some(Stale::WhileRevalidate) => Some("stale-while-revalidate"),
                    Some(Stale::IfError) => Some("stale-if-error"),
                    None => shared.then_some("shared"),
                };
            }
            Self::Forwarded { why, status, ttl, stored, collapsed } => {
                text.push_str(match why {
                    ForwardReason::Miss => "fwd=miss",
                    ForwardReason::Stale => "fwd=stale",
                    ForwardReason::Request => "fwd=request",
                    ForwardReason::Partial => "fwd=partial",
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
            Self::Excluded => {
                text.push_str("hit");
                detail = Some("moc");
            }
            Self::Bypass => text.push_str("fwd=bypass"),
        }
        match (detail, blocks.is_empty()) {
            (None, true) => {}
            (Some(detail), true) => {
                text.push_str("; detail=");
                text.push_str(detail);
            }
            (detail, false) => {
                text.push_str("; detail=\"");
                if let Some(detail) = detail {
                    text.push_str(detail);
                    text.push_str(", ");
                }
                blocks.push_to(text);
                text.push('"');
            }
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
        self.push_to(&mut text, BlockCounts::default());
        f.write_str(&text)
    }
}

/// The outcome of the cache in one word, for metrics and `Server-Timing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// Served from the cache, fresh.
    Hit,
    /// Served from the cache, stale.
    Stale,
    /// Fetched from the store.
    Miss,
    /// Some blocks were fetched from the store.
    Partial,
    /// Revalidated with the store (304).
    Revalidated,
    /// Coalesced with the fetch of another request.
    Collapsed,
    /// The cache was bypassed.
    Pass,
}

impl CacheResult {
    /// All results, in the order of their discriminants.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Miss,
        Self::Partial,
        Self::Revalidated,
        Self::Collapsed,
        Self::Pass,
    ];

    /// The label of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Partial => "partial",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Pass => "pass",
        }
    }
}

impl From<CacheStatus> for CacheResult {
    fn from(status: CacheStatus) -> Self {
        match status {
            CacheStatus::Hit { stale: None, .. } | CacheStatus::Excluded => Self::Hit,
            CacheStatus::Hit { stale: Some(_), .. } => Self::Stale,
            CacheStatus::Forwarded { why: ForwardReason::Partial, .. } => Self::Partial,
            CacheStatus::Forwarded { collapsed: true, .. } => Self::Collapsed,
            CacheStatus::Forwarded { status: Some(304), .. } => Self::Revalidated,
            CacheStatus::Forwarded { .. } => Self::Miss,
            CacheStatus::Bypass => Self::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_are_those_of_rfc_9211() {
        let forwarded = |why, status, ttl, stored, collapsed| CacheStatus::Forwarded {
            why,
            status,
            ttl,
            stored,
            collapsed,
        };
        for (status, text) in [
            (CacheStatus::Hit { ttl: 30, stale: None, shared: false }, "hit; ttl=30"),
            (CacheStatus::Hit { ttl: 0, stale: None, shared: false }, "hit; ttl=0"),
            (
                CacheStatus::Hit { ttl: i64::MIN, stale: None, shared: false },
                "hit; ttl=-9223372036854775808",
            ),
            (CacheStatus::Hit { ttl: 9, stale: None, shared: true }, "hit; ttl=9; detail=shared"),
            (
                CacheStatus::Hit { ttl: -1, stale: Some(Stale::IfError), shared: true },
                "hit; ttl=-1; detail=stale-if-error",
            ),
            (
                CacheStatus::Hit { ttl: -3, stale: Some(Stale::WhileRevalidate), shared: false },
                "hit; ttl=-3; detail=stale-while-revalidate",
            ),
            (
                CacheStatus::Hit { ttl: -400, stale: Some(Stale::IfError), shared: false },
                "hit; ttl=-400; detail=stale-if-error",
            ),
            (
                forwarded(ForwardReason::Miss, Some(200), Some(300), true, false),
                "fwd=miss; fwd-status=200; ttl=300; stored",
            ),
            (
                forwarded(ForwardReason::Miss, None, Some(300), true, true),
                "fwd=miss; ttl=300; stored; collapsed",
            ),
            (
                forwarded(ForwardReason::Stale, Some(304), Some(300), true, false),
                "fwd=stale; fwd-status=304; ttl=300; stored",
            ),
            (CacheStatus::passed(ForwardReason::Request), "fwd=request"),
            (CacheStatus::passed(ForwardReason::Miss), "fwd=miss"),
            (CacheStatus::Excluded, "hit; detail=moc"),
            (CacheStatus::Bypass, "fwd=bypass"),
        ] {
            assert_eq!(status.to_string(), text);
        }
    }

    #[test]
    fn blocks_are_counted_by_where_they_come_from() {
        let blocks =
            |memory, disk, store| BlockCounts { memory, disk, store, ..BlockCounts::default() };
        let shared = BlockCounts { shared: 2, ..blocks(1, 0, 1) };
        let hit = CacheStatus::Hit { ttl: 30, stale: None, shared: false };
        let stale = CacheStatus::Hit { ttl: -3, stale: Some(Stale::IfError), shared: false };
        for (status, blocks, text) in [
            (hit, blocks(2, 0, 0), "hit; ttl=30; detail=\"memory=2\""),
            (hit, blocks(2, 1, 0), "hit; ttl=30; detail=\"memory=2, disk=1\""),
            (hit, shared, "fwd=partial; ttl=30; stored; detail=\"memory=1, shared=2, store=1\""),
            (hit, blocks(2, 0, 3), "fwd=partial; ttl=30; stored; detail=\"memory=2, store=3\""),
            (stale, blocks(1, 0, 0), "hit; ttl=-3; detail=\"stale-if-error, memory=1\""),
            (
                CacheStatus::passed(ForwardReason::Miss),
                blocks(0, 0, 1),
                "fwd=miss; detail=\"store=1\"",
            ),
        ] {
            let mut pushed = String::new();
            let status = status.of_blocks(blocks, true);
            status.push_to(&mut pushed, blocks);
            assert_eq!(pushed, text);
            assert_eq!(status.is_hit(), !text.starts_with("fwd=miss"), "{text}");
        }
    }

    #[test]
    fn every_status_has_one_result() {
        let forwarded = |why, status, collapsed| CacheStatus::Forwarded {
            why,
            status,
            ttl: None,
            stored: true,
            collapsed,
        };
        for (status, word) in [
            (CacheStatus::Hit { ttl: 1, stale: None, shared: false }, "hit"),
            (CacheStatus::Hit { ttl: -1, stale: Some(Stale::IfError), shared: false }, "stale"),
            (
                CacheStatus::Hit { ttl: -1, stale: Some(Stale::WhileRevalidate), shared: false },
                "stale",
            ),
            (forwarded(ForwardReason::Miss, Some(200), false), "miss"),
            (forwarded(ForwardReason::Stale, Some(200), false), "miss"),
            (forwarded(ForwardReason::Stale, Some(304), false), "revalidated"),
            (forwarded(ForwardReason::Request, Some(304), true), "collapsed"),
            (forwarded(ForwardReason::Partial, None, false), "partial"),
            (CacheStatus::Excluded, "hit"),
            (CacheStatus::Bypass, "pass"),
        ] {
            assert_eq!(CacheResult::from(status).label(), word, "{status:?}");
        }
        for (place, result) in CacheResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, place);
        }
    }
}
