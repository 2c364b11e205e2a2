//! Every reason for which a request gets no object. Each variant is a cause in logs and metrics; this
//! is the only place that maps causes to statuses and sentences.

use std::borrow::Cow;

use http::HeaderValue;
use serde_json::{Value, json};

use crate::archive::ArchiveFault;
use crate::protocol::request_check::BadRequest;
use crate::response::gateway_response::GatewayResponse;
use crate::s3::address::AddressError;

/// Why a request gets no object. Variants that begin with `Upstream` are faults of the store or of the
/// network between gateway and store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The path is no route of the gateway.
    RouteUnknown,
    MethodNotAllowed,
    BadRequest(BadRequest),
    /// The required header `X-Auth-Request-User` is missing.
    UserMissing,
    /// A user is required, and the certificate of the client has no common name. The cause is that of `UserMissing`.
    UserNotInCertificate,
    Address(AddressError),
    ProfileUnknown,
    /// The URL names no profile, and there is no default profile.
    NoDefaultProfile,
    BucketNotAllowed,
    /// The media type is not allowed; `None` when no rule determines one.
    MediaTypeDenied(Option<String>),
    ObjectNotFound,
    /// `If-Match` or `If-Unmodified-Since` failed.
    PreconditionFailed,
    /// No byte of the requested range exists. The length of the object, bytes, if known.
    RangeNotSatisfiable(Option<u64>),
    /// No credentials were found for the profile.
    CredentialsMissing,
    /// The archive of the requested member contradicts its format or itself, for this reason.
    ArchiveDamaged(&'static str),
    /// The archive, or the member, uses a part of the format that is not supported.
    ArchiveUnsupported(&'static str),
    /// The cache does not hold the archive, whose members are read through it.
    ArchiveNotCached,
    /// The store denies access to this object: `AccessDenied`.
    UpstreamForbidden,
    /// The store denies the listing of a folder: `AccessDenied`.
    ListingDenied,
    /// The store answered 401 or 403 for a reason that is not the object: the access key, the
    /// signature, the clock, or none that it names. The cause is that of `UpstreamForbidden`.
    UpstreamRejected,
    /// The store answered 429 or 503. The value of `Retry-After`, seconds.
    UpstreamBusy(u32),
    /// The store answered 301, 302, 303, 307 or 308; redirects are never followed.
    UpstreamRedirect,
    /// The store answered with another error.
    UpstreamError,
    /// The store's response is not valid HTTP or does not match the request.
    UpstreamProtocol,
    /// The host name of the endpoint does not resolve.
    UpstreamUnresolved,
    /// The proxy on the way to the store gives no connection.
    UpstreamProxy,
    /// The connection or the TLS handshake failed.
    UpstreamUnreachable,
    /// The store closed the connection before its response.
    UpstreamReset,
    /// The store did not answer in time.
    UpstreamTimeout,
    /// The limit of concurrent requests to the store is reached.
    UpstreamSaturated,
    /// The limit of concurrent requests of this user is reached.
    UserSaturated,
    /// The limit of client connections is reached.
    ConnectionsFull,
    /// A fault of the gateway itself.
    Internal,
}

impl From<ArchiveFault> for Refusal {
    fn from(fault: ArchiveFault) -> Self {
        match fault {
            ArchiveFault::Damaged(why) => Self::ArchiveDamaged(why),
            ArchiveFault::Unsupported(why) => Self::ArchiveUnsupported(why),
        }
    }
}

impl Refusal {
    /// The refusal of a URL whose profile, or whose lack of one, names no store.
    #[must_use]
    pub fn unknown_profile(name: Option<&str>) -> Self {
        if name.is_some() { Self::ProfileUnknown } else { Self::NoDefaultProfile }
    }

    /// The name in logs, metrics and error bodies.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::RouteUnknown => "route_unknown",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BadRequest(bad) => bad.cause(),
            Self::UserMissing | Self::UserNotInCertificate => "user_missing",
            Self::Address(_) => "address_invalid",
            Self::ProfileUnknown | Self::NoDefaultProfile => "profile_unknown",
            Self::BucketNotAllowed => "bucket_not_allowed",
            Self::MediaTypeDenied(_) => "media_type_denied",
            Self::ObjectNotFound => "object_not_found",
            Self::PreconditionFailed => "precondition_failed",
            Self::RangeNotSatisfiable(_) => "range_not_satisfiable",
            Self::CredentialsMissing => "credentials_missing",
            Self::ArchiveDamaged(_) => "archive_damaged",
            Self::ArchiveUnsupported(_) => "archive_unsupported",
            Self::ArchiveNotCached => "archive_not_cached",
            Self::UpstreamForbidden | Self::UpstreamRejected => "upstream_forbidden",
            Self::ListingDenied => "listing_denied",
            Self::UpstreamBusy(_) => "upstream_busy",
            Self::UpstreamRedirect => "upstream_redirect",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::UpstreamUnresolved => "upstream_unresolved",
            Self::UpstreamProxy => "upstream_proxy",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamSaturated => "upstream_saturated",
            Self::UserSaturated => "user_saturated",
            Self::ConnectionsFull => "connections_full",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(bad) => bad.status(),
            Self::Address(_) => 400,
            Self::BucketNotAllowed
            | Self::ListingDenied
            | Self::UpstreamForbidden
            | Self::UpstreamRejected => 403,
            Self::RouteUnknown
            | Self::ProfileUnknown
            | Self::NoDefaultProfile
            | Self::ObjectNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::PreconditionFailed => 412,
            Self::MediaTypeDenied(_) => 415,
            Self::RangeNotSatisfiable(_) => 416,
            Self::UserMissing | Self::UserNotInCertificate => 422,
            Self::UserSaturated => 429,
            Self::Internal => 500,
            Self::CredentialsMissing
            | Self::ArchiveDamaged(_)
            | Self::ArchiveUnsupported(_)
            | Self::UpstreamRedirect
            | Self::UpstreamError
            | Self::UpstreamProtocol
            | Self::UpstreamUnresolved
            | Self::UpstreamProxy
            | Self::UpstreamUnreachable
            | Self::UpstreamReset => 502,
            Self::UpstreamBusy(_)
            | Self::UpstreamSaturated
            | Self::ConnectionsFull
            | Self::ArchiveNotCached => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    /// Whether the gateway, the store or the configuration is at fault, and an operator should act.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        self.status() >= 500
            || matches!(
                self,
                Self::ListingDenied | Self::UpstreamForbidden | Self::UpstreamRejected
            )
    }

    /// Whether the answer says nothing about the object, so that a stale object may be served
    /// (stale-if-error) and stays cached.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::UpstreamBusy(_)
                | Self::UpstreamRejected
                | Self::UpstreamRedirect
                | Self::UpstreamError
                | Self::UpstreamProtocol
                | Self::UpstreamUnresolved
                | Self::UpstreamProxy
                | Self::UpstreamUnreachable
                | Self::UpstreamReset
                | Self::UpstreamTimeout
                | Self::UpstreamSaturated
        )
    }

    /// Whether it says that the store as a whole fails at the moment: it is out of reach, silent, broken
    /// or busy. Requests for other objects would probably fail as well.
    #[must_use]
    pub fn is_store_failure(&self) -> bool {
        matches!(
            self,
            Self::UpstreamBusy(_)
                | Self::UpstreamError
                | Self::UpstreamUnresolved
                | Self::UpstreamProxy
                | Self::UpstreamUnreachable
                | Self::UpstreamReset
                | Self::UpstreamTimeout
        )
    }

    /// The complete response. `object` is the `s3://` name of the requested object, if any; `allow` is
    /// the value of `Allow` for 405.
    #[must_use]
    pub fn response(
        &self,
        object: Option<&str>,
        allow: &'static str,
        request_id: &str,
    ) -> GatewayResponse {
        let object = object.unwrap_or_default();
        let body = match self {
            // s3proxy 2.0.1 had these fields; cause and request_id follow them.
            Self::RouteUnknown => self.body("detail", &json!("Not Found"), request_id),
            Self::MethodNotAllowed => self.body("detail", &json!("Method Not Allowed"), request_id),
            Self::UserMissing => self.body("detail", &user_missing(), request_id),
            Self::UserNotInCertificate => {
                self.body("detail", &user_not_in_certificate(), request_id)
            }
            Self::ObjectNotFound => {
                self.body("message", &json!(format!("Not found: {object}")), request_id)
            }
            Self::MediaTypeDenied(media_type) => {
                let media_type = media_type.as_deref().unwrap_or("None");
                let message = format!("Media type {media_type} is not browsable: {object}");
                self.body("message", &json!(message), request_id)
            }
            _ => self.body("message", &json!(self.sentence(object)), request_id),
        };
        GatewayResponse {
            status: self.status(),
            content_type: "application/json",
            body,
            headers: self.headers(allow),
        }
    }

    fn headers(&self, allow: &'static str) -> Vec<(http::HeaderName, HeaderValue)> {
        match self {
            Self::MethodNotAllowed => {
                vec![(http::header::ALLOW, HeaderValue::from_static(allow))]
            }
            Self::UpstreamBusy(seconds) => {
                vec![(http::header::RETRY_AFTER, HeaderValue::from(*seconds))]
            }
            Self::UpstreamSaturated | Self::UserSaturated | Self::ConnectionsFull => {
                vec![(http::header::RETRY_AFTER, HeaderValue::from(1))]
            }
            Self::RangeNotSatisfiable(Some(length)) => {
                HeaderValue::from_str(&format!("bytes */{length}"))
                    .map(|value| vec![(http::header::CONTENT_RANGE, value)])
                    .unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// The body `{"message":…,"cause":…,"request_id":…}`; some have `detail` in place of `message`.
    fn body(&self, field: &str, value: &Value, request_id: &str) -> Vec<u8> {
        let body = json!({ field: value, "cause": self.cause(), "request_id": request_id });
        body.to_string().into_bytes()
    }

    /// The message with the name of the object.
    fn sentence(&self, object: &str) -> Cow<'static, str> {
        let message = self.message();
        if object.is_empty() { message } else { Cow::Owned(format!("{message} ({object})")) }
    }

    /// The sentence for the client: what failed, who has to act, and how.
    #[must_use]
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::BadRequest(bad) => bad.message(),
            Self::Address(error) => return Cow::Owned(format!("Bad address: {error}")),
            Self::ProfileUnknown => {
                "The gateway has no such profile; check the name before the @ in the URL"
            }
            Self::NoDefaultProfile => {
                "The gateway has no default profile; put the name of a profile and @ before the \
                 bucket in the URL"
            }
            Self::BucketNotAllowed => {
                "The gateway is not configured to serve this bucket; check the bucket name"
            }
            Self::PreconditionFailed => "A precondition (If-Match or If-Unmodified-Since) failed",
            Self::RangeNotSatisfiable(_) => {
                "The requested range lies outside the object; request a range within its length"
            }
            Self::CredentialsMissing => {
                "The gateway has no credentials for this profile; the operator must configure them"
            }
            Self::ArchiveDamaged(why) => {
                return Cow::Owned(format!("The archive {why}; its owner must write it again"));
            }
            Self::ArchiveUnsupported(why) => {
                return Cow::Owned(format!("The archive {why}; the archive itself can be read"));
            }
            Self::ArchiveNotCached => {
                "The gateway reads members of archives through its cache, which cannot hold this archive now; \
                 if it persists, the operator must look for archive_not_cached in the documentation"
            }
            Self::UpstreamForbidden | Self::UpstreamRejected => {
                "The store denied access to the gateway; the operator must check the access key of \
                 the profile and its permissions"
            }
            Self::ListingDenied => {
                "The store does not allow the gateway to list this folder; the operator must give the \
                 access key of the profile the permission s3:ListBucket for the bucket"
            }
            Self::UpstreamBusy(_) => "The store is busy; try again later",
            Self::UpstreamRedirect => {
                "The store answered with a redirect; the operator must check the endpoint, region and \
                 addressing of the profile"
            }
            Self::UpstreamError => {
                "The store answered with an error; if it persists, report the request_id to the operator"
            }
            Self::UpstreamProtocol => {
                "The store sent an invalid response; if it persists, report the request_id to the operator"
            }
            Self::UpstreamUnresolved => {
                "The gateway cannot resolve the host name of the store; the operator must check the \
                 endpoint of the profile and DNS"
            }
            Self::UpstreamProxy => {
                "The proxy on the way to the store gives no connection to it; the operator must check the \
                 proxy"
            }
            Self::UpstreamUnreachable => "The gateway cannot connect to the store; try again later",
            Self::UpstreamReset => "The store closed the connection before it answered; try again",
            Self::UpstreamTimeout => "The store did not answer in time; try again later",
            Self::UpstreamSaturated => {
                "The gateway has reached its limit of concurrent requests to this store; try again later"
            }
            Self::UserSaturated => {
                "The gateway has reached its limit of concurrent requests of one user or client; try again when \
                 your earlier requests have finished"
            }
            Self::ConnectionsFull => {
                "The gateway has reached its limit of client connections; try again later"
            }
            Self::RouteUnknown
            | Self::MethodNotAllowed
            | Self::UserMissing
            | Self::UserNotInCertificate
            | Self::MediaTypeDenied(_)
            | Self::ObjectNotFound
            | Self::Internal => "The gateway failed; report the request_id to the operator",
        })
    }
}

fn user_missing() -> Value {
    json!([{
        "type": "missing",
        "loc": ["header", "x-auth-request-user"],
        "msg": "Field required",
        "input": null,
    }])
}

/// In the form of [`user_missing`].
fn user_not_in_certificate() -> Value {
    json!([{
        "type": "missing",
        "loc": ["client certificate", "subject", "common name"],
        "msg": "The subject of your client certificate has no common name (CN), by which this gateway knows its \
                users: use a certificate with one",
        "input": null,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(refusal: &Refusal, object: &str) -> String {
        let response = refusal.response(Some(object), "GET, HEAD", "id-1");
        String::from_utf8(response.body).expect("bodies are UTF-8")
    }

    #[test]
    fn the_fields_of_s3proxy_2_0_1_are_unchanged_and_cause_and_id_follow() {
        for (refusal, status, expected) in [
            (
                Refusal::RouteUnknown,
                404,
                r#"{"detail":"Not Found","cause":"route_unknown","request_id":"id-1"}"#,
            ),
            (
                Refusal::MethodNotAllowed,
                405,
                r#"{"detail":"Method Not Allowed","cause":"method_not_allowed","request_id":"id-1"}"#,
            ),
            (
                Refusal::ObjectNotFound,
                404,
                r#"{"message":"Not found: s3://hips@bk/é\u0000\"x","cause":"object_not_found","request_id":"id-1"}"#,
            ),
            (
                Refusal::MediaTypeDenied(None),
                415,
                r#"{"message":"Media type None is not browsable: s3://hips@bk/é\u0000\"x","cause":"media_type_denied","request_id":"id-1"}"#,
            ),
            (
                Refusal::UserMissing,
                422,
                r#"{"detail":[{"type":"missing","loc":["header","x-auth-request-user"],"msg":"Field required","input":null}],"cause":"user_missing","request_id":"id-1"}"#,
            ),
        ] {
            assert_eq!(refusal.status(), status);
            assert_eq!(body(&refusal, "s3://hips@bk/é\0\"x"), expected);
        }
    }

    #[test]
    fn new_refusals_name_cause_object_and_request() {
        assert_eq!(
            body(&Refusal::UpstreamTimeout, "s3://b/k"),
            r#"{"message":"The store did not answer in time; try again later (s3://b/k)","cause":"upstream_timeout","request_id":"id-1"}"#
        );
    }

    #[test]
    fn refusals_have_the_headers_that_their_status_requires() {
        let header = |refusal: Refusal| {
            let response = refusal.response(None, "GET, HEAD", "id");
            response.headers.first().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap_or("?")))
        };
        assert_eq!(header(Refusal::MethodNotAllowed).as_deref(), Some("allow: GET, HEAD"));
        assert_eq!(header(Refusal::UpstreamBusy(5)).as_deref(), Some("retry-after: 5"));
        for full in [Refusal::UpstreamSaturated, Refusal::UserSaturated, Refusal::ConnectionsFull] {
            assert_eq!(header(full).as_deref(), Some("retry-after: 1"));
        }
        assert_eq!(
            header(Refusal::RangeNotSatisfiable(Some(0))).as_deref(),
            Some("content-range: bytes */0")
        );
        assert_eq!(header(Refusal::RangeNotSatisfiable(None)), None);
    }
}
