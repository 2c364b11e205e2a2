//! Behaviour of the store in which real S3 servers differ.

use ::http::{HeaderName, HeaderValue};

/// The behaviour in which S3 servers differ. [`Manners::default`] is Ceph RGW.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    /// Answer the whole object when `If-Range` does not match (RFC 9110, section 13.1.5).
    /// RGW does not look at it.
    pub(crate) honours_if_range: bool,
    /// Repeat `ETag` and `Last-Modified` in a 304 (RFC 9110, section 15.4.5). RGW does not.
    pub(crate) validators_on_304: bool,
    /// Understand lists, weak tags and `*` in `If-None-Match` and `If-Match` (RFC 9110,
    /// sections 13.1.1 and 13.1.2). RGW compares the whole header to its tag, quotes aside.
    pub(crate) understands_tag_lists: bool,
    /// Name the length in a 416, `Content-Range: bytes */N` (RFC 9110, section 15.5.17).
    pub(crate) content_range_on_416: bool,
    /// Answer a malformed or multiple `Range` with the whole object, as AWS does. RGW answers
    /// 416 to the first and the first part alone to the second.
    pub(crate) ignores_odd_ranges: bool,
    /// The credentials may list buckets. Where they may not, a missing key is a 403, not a 404,
    /// and so is a listing.
    pub(crate) may_list: bool,
    /// Unsigned reads are allowed.
    pub(crate) anonymous_reads: bool,
    /// Refuse signatures for another region with 400, as AWS does. RGW accepts any.
    pub(crate) region: Option<String>,
    /// Refuse requests without this signed `x-amz-security-token`, as temporary credentials need.
    pub(crate) session_token: Option<String>,
    /// Sent with every answer to a read; for headers that must not reach a client.
    pub(crate) extra_headers: Vec<(HeaderName, HeaderValue)>,
}

impl Manners {
    /// The behaviour of Ceph RGW 16.2.
    #[must_use]
    pub(crate) fn rgw() -> Self {
        Self {
            honours_if_range: false,
            validators_on_304: false,
            understands_tag_lists: false,
            content_range_on_416: false,
            ignores_odd_ranges: false,
            may_list: true,
            anonymous_reads: false,
            region: None,
            session_token: None,
            extra_headers: Vec::new(),
        }
    }

    /// A server that follows RFC 9110 to the letter, with AWS's leniency towards odd ranges.
    #[must_use]
    pub(crate) fn aws() -> Self {
        Self {
            honours_if_range: true,
            validators_on_304: true,
            understands_tag_lists: true,
            content_range_on_416: true,
            ignores_odd_ranges: true,
            ..Self::rgw()
        }
    }
}

impl Default for Manners {
    fn default() -> Self {
        Self::rgw()
    }
}
