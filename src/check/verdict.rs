//! The verdict on a store's answer: ok or not, the reason, and the likely fix.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use std::time::{Duration, SystemTime};

use crate::check::report::Finding;
use crate::profile::Profile;
use crate::s3::credentials::{CredentialSource, Credentials};
use crate::s3::endpoint::Endpoint;

/// A larger difference of the clocks is a warning.
const CLOCK_WARNING: Duration = Duration::from_secs(60);
/// A larger difference is a failure: stores refuse requests from 15 minutes on.
const CLOCK_FAILURE: Duration = Duration::from_secs(5 * 60);

/// The fix for an anonymous profile that is denied an object.
const NOT_PUBLIC: &str = "make the bucket public, or add credentials for the profile";

/// The kind of a request to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// The list of buckets: needs no bucket, and shows whether the store knows the access key.
    Service,
    /// The first key of a bucket: shows whether the bucket exists and may be listed.
    Bucket,
    /// One object.
    Object,
}

/// A store's answer, as far as a verdict depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoreReply {
    pub status: u16,
    /// The code of the error document.
    pub code: Option<String>,
    /// The region the store names, in a header or in the error document.
    pub region: Option<String>,
    /// Scheme, host and port of `Location`.
    pub location: Option<Endpoint>,
    /// The store's request id.
    pub request_id: Option<String>,
    /// Whether the document is a list of buckets or keys.
    pub is_list: bool,
}

impl StoreReply {
    fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    /// `403 AccessDenied, request tx01`
    pub(super) fn said(&self) -> String {
        let mut said = self.status.to_string();
        if let Some(code) = &self.code {
            said.push(' ');
            said.push_str(code);
        }
        if let Some(id) = &self.request_id {
            said.push_str(", request ");
            said.push_str(id);
        }
        said
    }

    fn ok(&self, what: &str) -> Finding {
        Finding::ok(format!("{}: {what}", self.said()))
    }

    fn warning(&self, what: &str, fix: impl Into<String>) -> Finding {
        Finding::warning(format!("{}: {what}", self.said()), fix)
    }

    fn failed(&self, what: &str, fix: impl Into<String>) -> Finding {
        Finding::failed(format!("{}: {what}", self.said()), fix)
    }
}

/// The verdict on one answer.
#[must_use]
pub(super) fn judge(question: Probe, profile: &Profile, reply: &StoreReply) -> Finding {
    match reply.status {
        200..=299 => return good(question, profile, reply),
        // The request is for the first byte, which only an empty object lacks.
        416 if question == Probe::Object => return reply.ok("the object is empty"),
        300..=399 => return redirected(question, profile, reply),
        403 if reply.code() == "AccessDenied" => return denied(question, profile, reply),
        _ => {}
    }
    if let Some(finding) = by_code(question, profile, reply) {
        return finding;
    }
    let unexpected = "unexpected answer";
    match (question, reply.status) {
        (Probe::Service, 400..=499) if !is_signed(profile) => {
            reply.ok("the store answers; requests are unsigned, so name an object to test more")
        }
        (_, 401 | 403) => reply.failed(
            "refused without an S3 error code, possibly by a proxy in front of the store",
            "check that the endpoint is the store itself and its S3 port",
        ),
        (Probe::Service, 404 | 405 | 501) => reply.warning(
            "the store does not list buckets: the access key is not tested",
            "name an object: s3proxy check profile@bucket/path/to/file",
        ),
        (Probe::Object, 404) => not_found(reply),
        (_, 404) => reply.failed("the store has no such bucket", "check the name of the bucket"),
        (_, 429 | 503) => busy(reply),
        (_, 500..) => reply.failed("the store failed", "see the log of the store"),
        _ => reply
            .failed(unexpected, "check that the endpoint is an S3 port; see the log of the store"),
    }
}

fn good(question: Probe, profile: &Profile, reply: &StoreReply) -> Finding {
    match question {
        Probe::Object => reply.ok("the store has the object"),
        _ if !reply.is_list => reply.warning(
            "not an answer of an S3 store",
            "check the port of the endpoint: it may be a console or another web server",
        ),
        Probe::Service if is_signed(profile) => {
            reply.ok("the store knows the access key and accepts the signature")
        }
        Probe::Service => reply.ok("the store answers; requests are unsigned"),
        Probe::Bucket => reply.ok("the bucket may be listed: missing objects are 404"),
    }
}

/// `AccessDenied`: the signature is valid, but the access key lacks the permission.
fn denied(question: Probe, profile: &Profile, reply: &StoreReply) -> Finding {
    match question {
        Probe::Service if is_signed(profile) => {
            reply.ok("the store knows the access key; it may not list all buckets, which is normal")
        }
        Probe::Service => reply.ok("the store answers; requests are unsigned"),
        Probe::Bucket if profile.listing => reply.failed(
            "the bucket may not be listed: the listing of every folder is refused with 403",
            "grant s3:ListBucket to the access key, or set listing: false in the profile",
        ),
        Probe::Bucket if profile.missing_on_403 => {
            reply.ok("the bucket may not be listed; 403 is answered as 404 (missing_on_403)")
        }
        Probe::Bucket if !is_signed(profile) => reply.warning(
            "the bucket may not be listed: the store answers 403 for missing objects too",
            "make the list of the bucket public, or set missing_on_403: true in the profile",
        ),
        Probe::Bucket => reply.warning(
            "the bucket may not be listed: the store answers 403 for missing objects too",
            "grant s3:ListBucket to the access key, or set missing_on_403: true in the profile",
        ),
        Probe::Object if !is_signed(profile) => {
            reply.failed("the object may not be read without credentials", NOT_PUBLIC)
        }
        Probe::Object => reply.failed(
            "the object may not be read",
            "grant s3:GetObject on the bucket to the access key of the profile",
        ),
    }
}

/// The verdict on a denied object, from the answer for its bucket.
#[must_use]
pub(super) fn judge_denied(profile: &Profile, object: &StoreReply, bucket: &StoreReply) -> Finding {
    match (bucket.status, bucket.code()) {
        (200..=299, _) => object.failed(
            "the bucket may be listed, so the object exists, but may not be read",
            "grant s3:GetObject on the bucket to the access key of the profile; check the ACL and \
             the encryption of the object too",
        ),
        (_, "NoSuchBucket") => object.failed(
            "there is no such bucket",
            "check the name of the bucket, and that it is in this store",
        ),
        _ if !is_signed(profile) => denied(Probe::Object, profile, object),
        (403, "AccessDenied") if profile.missing_on_403 => object.failed(
            "the object is missing, or may not be read; without s3:ListBucket the store does not \
             say which",
            "check the spelling of the key, and that the access key of the profile has s3:GetObject",
        ),
        (403, "AccessDenied") => object.failed(
            "the object is missing, or may not be read; without s3:ListBucket the store does not \
             say which",
            "grant s3:ListBucket to the access key, or set missing_on_403: true in the profile; check \
             the spelling of the key, and that the access key has s3:GetObject",
        ),
        _ => denied(Probe::Object, profile, object),
    }
}

/// Codes with the same meaning for every request.
fn by_code(question: Probe, profile: &Profile, reply: &StoreReply) -> Option<Finding> {
    let source = key_source(profile);
    Some(match reply.code() {
        "SignatureDoesNotMatch" => reply.failed(
            "the store knows the access key id, but the secret access key is wrong",
            format!(
                "correct the secret access key in {source}; if it is right, a proxy in front of the \
                 store changes the Host or the path"
            ),
        ),
        "InvalidAccessKeyId" => reply.failed(
            "the store does not know the access key id",
            format!(
                "correct the access key id in {source}, or the endpoint: the access key may belong \
                 to a different store"
            ),
        ),
        "ExpiredToken" | "TokenRefreshRequired" => reply.failed(
            "the session token has expired",
            format!("put a new temporary access key, or a permanent one without token, into {source}"),
        ),
        "InvalidToken" => reply.failed(
            "the session token is wrong",
            format!("in {source}, the token must belong to the access key; permanent access keys have none"),
        ),
        "RequestTimeTooSkewed" | "RequestExpired" => reply.failed(
            "the clocks of this machine and the store differ too much",
            "correct the clock that is wrong (NTP); the clock step shows the difference",
        ),
        "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            wrong_region(profile, reply)
        }
        "PermanentRedirect" | "TemporaryRedirect" | "Redirect" => {
            redirected(question, profile, reply)
        }
        "UserSuspended" | "AccountProblem" | "AllAccessDisabled" | "NotSignedUp" => reply.failed(
            "the account of the access key may not use the store",
            "ask the store's operators to enable the account",
        ),
        "NoSuchBucket" => reply.failed(
            "there is no such bucket",
            "check the name of the bucket, and that it is in this store",
        ),
        "InvalidBucketName" => reply.failed(
            "the store does not accept this name of a bucket",
            "check the name of the bucket and the profile's addressing (path or virtual)",
        ),
        "NoSuchKey" => not_found(reply),
        "InvalidObjectState" => reply.failed(
            "the object is archived and must be restored before it can be read",
            "restore the object, or move it to a storage class with immediate access",
        ),
        "InvalidRequest" | "InvalidArgument" => reply.failed(
            "the store does not accept a header of the request",
            "check upstream_headers of the profile: an object with SSE-C needs its encryption key, \
             other objects must not get one; a very old store may not support SigV4",
        ),
        "MethodNotAllowed" | "NotImplemented" if question == Probe::Service => reply.warning(
            "the store does not list buckets: the access key is not tested",
            "name an object: s3proxy check profile@bucket/path/to/file",
        ),
        "MethodNotAllowed" | "NotImplemented" => reply.failed(
            "the store does not answer GET here",
            "check that the endpoint is an S3 port, and that the object is not a delete marker",
        ),
        "SlowDown"
        | "ServiceUnavailable"
        | "Busy"
        | "TooManyRequests"
        | "Throttling"
        | "RequestLimitExceeded" => busy(reply),
        "InternalError" | "RequestTimeout" => {
            reply.failed("the store failed", "try again; if it persists, see the log of the store")
        }
        _ => return None,
    })
}

fn not_found(reply: &StoreReply) -> Finding {
    reply.failed(
        "the bucket has no such key",
        "check the spelling of the key: case counts, and keys are compared byte for byte",
    )
}

fn busy(reply: &StoreReply) -> Finding {
    reply.failed(
        "the store is too busy to answer",
        "try again; if it persists, reduce the load or see the metrics of the store",
    )
}

fn wrong_region(profile: &Profile, reply: &StoreReply) -> Finding {
    let ours = &profile.region;
    match &reply.region {
        Some(theirs) if theirs != ours => reply.failed(
            &format!("the request is signed for region {ours}, the store expects {theirs}"),
            format!("set the profile's region to {theirs}"),
        ),
        _ => reply.failed(
            &format!("the store does not accept a signature for region {ours}"),
            format!(
                "set the profile's region to that of the store; check that the access key id in {} \
                 has no stray character",
                key_source(profile)
            ),
        ),
    }
}

/// A redirect, which the gateway never follows: it would sign requests to a server that only an answer names.
fn redirected(question: Probe, profile: &Profile, reply: &StoreReply) -> Finding {
    let ours = &profile.endpoint;
    if question == Probe::Service && !is_signed(profile) {
        return reply
            .ok("the store answers; requests are unsigned, so name an object to test more");
    }
    if let Some(region) = reply.region.as_ref().filter(|region| **region != profile.region) {
        return reply.failed(
            &format!("the bucket is in region {region}, not in {}", profile.region),
            format!("set the profile's region to {region}, and its endpoint to that of the region"),
        );
    }
    match &reply.location {
        Some(to) if to.tls && !ours.tls && to.host == ours.host => reply.failed(
            &format!("the store redirects to {to}"),
            "write https:// instead of http:// in the endpoint",
        ),
        Some(to) if to != ours => reply.failed(
            &format!("the store redirects to {to}; the gateway does not follow redirects"),
            "set the profile's endpoint to the store of the bucket",
        ),
        _ => reply.failed(
            "the store redirects; the gateway does not follow redirects",
            "check the profile's endpoint, region and addressing",
        ),
    }
}

/// The verdict on the difference between this machine's clock and the store's `Date`.
#[must_use]
pub(super) fn judge_clock(store: Option<SystemTime>, now: SystemTime) -> Finding {
    let Some(store) = store else { return Finding::skipped("the store sends no Date") };
    let (difference, direction) = match now.duration_since(store) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let detail = format!("this clock is {} s {direction} the store's", difference.as_secs());
    let fix = "correct the clock that is wrong (NTP); stores refuse a difference of 15 minutes";
    if difference > CLOCK_FAILURE {
        Finding::failed(detail, fix)
    } else if difference > CLOCK_WARNING {
        Finding::warning(detail, fix)
    } else {
        Finding::ok(detail)
    }
}

fn is_signed(profile: &Profile) -> bool {
    matches!(profile.credentials, Credentials::Keys { .. })
}

/// The source of the access key, as the operator wrote it.
#[must_use]
pub(crate) fn key_source(profile: &Profile) -> String {
    match &profile.credentials {
        Credentials::Keys { source: CredentialSource::EndpointUrl(written), .. } => {
            format!("the URL of {written}")
        }
        Credentials::Keys { source: CredentialSource::Environment, .. } => {
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()
        }
        Credentials::Keys { source: CredentialSource::File { path, section }, .. } => {
            format!("section [{section}] of {}", path.display())
        }
        Credentials::Keys { source: CredentialSource::Provider { provider, .. }, .. } => {
            provider.to_string()
        }
        Credentials::Anonymous | Credentials::Missing(_) => "the configuration".to_owned(),
    }
}

#[cfg(test)]
mod tests;
