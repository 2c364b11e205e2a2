//! What is counted for `/metrics`: by requests as they end, read by whoever scrapes. Counting is a few
//! additions to numbers that exist from the start; labels never hold a key, a bucket or a user.

use crate::metrics::counter::Named;
use crate::metrics::requests::ByStatus;

pub mod counter;
pub mod histogram;
pub mod requests;
pub mod store;

/// Every cause a request can end with, in the order of the log's documentation.
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
    "credentials_invalid",
    "upstream_forbidden",
    "upstream_busy",
    "upstream_redirect",
    "upstream_error",
    "upstream_protocol",
    "upstream_unresolved",
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
    "host_repeated",
    "host_invalid",
    "request_target",
    "request_line",
    "request_malformed",
    "headers_too_large",
    "headers_too_slow",
];

/// Which part of the gateway a request was for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Page {
    Object,
    /// `/s3proxy/`.
    Metadata,
    /// `/`, which probes ask for.
    Index,
    /// The description of the interface, for people and programs.
    Docs,
    /// Anything else, heads that are no requests included.
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

/// The numbers of the whole process; those of a profile are in [`store::StoreMetrics`].
#[derive(Debug)]
pub struct Metrics {
    /// Requests that got to no profile.
    pages: [ByStatus; Page::ALL.len()],
    causes: Named,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { pages: Default::default(), causes: Named::new(CAUSES) }
    }
}

impl Metrics {
    /// Counts a request that got to no profile; `None` where no answer began.
    pub fn page(&self, page: Page, status: Option<u16>) {
        // The order of the variants is that of `ALL`.
        if let Some(statuses) = self.pages.get(page as usize) {
            statuses.count(status);
        }
    }

    /// Requests without a profile, by page and status.
    pub fn pages(&self) -> impl Iterator<Item = (Page, &ByStatus)> {
        Page::ALL.into_iter().zip(&self.pages)
    }

    /// Requests by cause.
    pub fn causes(&self) -> &Named {
        &self.causes
    }

    /// Counts a request that ended otherwise than with what it asked for.
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
    fn pages_are_told_by_their_labels() {
        let metrics = Metrics::default();
        metrics.page(Page::Docs, Some(200));
        let counted = Page::ALL.iter().zip(&metrics.pages);
        let counted = counted.filter(|(_, statuses)| statuses.numbers().any(|(_, n)| n > 0));
        assert_eq!(counted.map(|(page, _)| page.label()).collect::<Vec<_>>(), ["docs"]);
    }
}
