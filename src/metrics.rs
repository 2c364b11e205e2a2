//! Counters and histograms of `/metrics`, updated when a request ends; `admin/metrics.rs` writes them.
//! They exist from the start, so that counting needs no lookup. Labels never hold a key, a bucket or a
//! user.

use crate::metrics::causes::CauseCounters;
use crate::metrics::requests::StatusCounters;

pub mod causes;
pub mod histogram;
pub mod requests;
pub mod store;

/// Every cause of a refused or failed request; `docs/http.md` and `docs/logs.md` describe them.
const CAUSES: &[&str] = &[
    "route_unknown",
    "method_not_allowed",
    "user_missing",
    "address_invalid",
    "profile_unknown",
    "bucket_not_allowed",
    "media_type_denied",
    "object_not_found",
    "precondition_failed",
    "range_not_satisfiable",
    "credentials_missing",
    "archive_damaged",
    "archive_unsupported",
    "archive_not_cached",
    "upstream_forbidden",
    "listing_denied",
    "upstream_busy",
    "upstream_redirect",
    "upstream_error",
    "upstream_protocol",
    "upstream_unresolved",
    "upstream_proxy",
    "upstream_unreachable",
    "upstream_reset",
    "upstream_timeout",
    "upstream_saturated",
    "user_saturated",
    "connections_full",
    "upstream_cut",
    "internal",
    "client_gone",
    "request_body",
    "host_missing",
    "host_invalid",
    "request_target",
    "request_line",
    "request_malformed",
    "headers_too_large",
    "headers_too_slow",
    "tls_required",
];

/// The part of the gateway that a request is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Page {
    Object,
    /// `/s3proxy/`.
    Metadata,
    /// `/`, for health probes.
    Index,
    /// The documentation of the interface.
    Docs,
    /// Anything else, including invalid request heads.
    #[default]
    Other,
}

impl Page {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Object, Self::Metadata, Self::Index, Self::Docs, Self::Other];

    /// The label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Metadata => "metadata",
            Self::Index => "index",
            Self::Docs => "docs",
            Self::Other => "other",
        }
    }
}

/// The metrics of the whole process; those of a profile are in [`store::StoreMetrics`].
#[derive(Debug)]
pub struct Metrics {
    /// Requests without a profile.
    pages: [StatusCounters; Page::ALL.len()],
    causes: CauseCounters,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { pages: Default::default(), causes: CauseCounters::new(CAUSES) }
    }
}

impl Metrics {
    /// Counts a request without a profile; `None` if no response began.
    pub fn page(&self, page: Page, status: Option<u16>) {
        // The order of the variants is that of `ALL`.
        if let Some(statuses) = self.pages.get(page as usize) {
            statuses.count(status);
        }
    }

    /// Requests without a profile, by page and status.
    pub fn pages(&self) -> impl Iterator<Item = (Page, &StatusCounters)> {
        Page::ALL.into_iter().zip(&self.pages)
    }

    /// Requests by cause.
    pub fn causes(&self) -> &CauseCounters {
        &self.causes
    }

    /// Counts a refused or failed request.
    pub fn cause(&self, cause: &str) {
        self.causes.count(cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_counter() {
        let sources =
            [include_str!("response/refusal.rs"), include_str!("protocol/request_check.rs")];
        let mut seen = 0;
        for source in sources {
            let (_, rest) = source.split_once("fn cause(").expect("a function of causes");
            let (body, _) = rest.split_once("\n    }\n").expect("its end");
            for cause in body.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(CAUSES.contains(&cause), "{cause}");
                seen += 1;
            }
        }
        assert!(seen > 25, "{seen}");
    }

    #[test]
    fn pages_have_a_label_each() {
        let metrics = Metrics::default();
        metrics.page(Page::Docs, Some(200));
        let counted = Page::ALL.iter().zip(&metrics.pages);
        let counted = counted.filter(|(_, statuses)| statuses.counters().any(|(_, n)| n.get() > 0));
        assert_eq!(counted.map(|(page, _)| page.label()).collect::<Vec<_>>(), ["docs"]);
    }
}
