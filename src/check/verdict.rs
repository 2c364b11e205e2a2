//! The meaning of a store's answer for an operator: whether all is well, why not, and the likely fix.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use std::time::{Duration, SystemTime};

use crate::check::report::Finding;
use crate::profile::Profile;
use crate::s3::credentials::{CredentialSource, Credentials};
use crate::s3::endpoint::Endpoint;

/// A clock that is off by more is worth a warning.
const CLOCK_WARNING: Duration = Duration::from_secs(60);
/// A clock that is off by more is a failure: stores refuse requests from 15 minutes on.
const CLOCK_FAILURE: Duration = Duration::from_secs(5 * 60);

/// The fix for an anonymous profile that is denied an object.
const NOT_PUBLIC: &str = "make the bucket readable by everybody, or give the profile credentials";

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
    let unexpected = "nothing is known of this answer";
    match (question, reply.status) {
        (Probe::Service, 400..=499) if !is_signed(profile) => {
            reply.ok("the store answers; nothing is signed, so name an object to check further")
        }
        (_, 401 | 403) => reply.failed(
            "refused without a code of S3, perhaps by something in front of the store",
            "check that the endpoint is the store itself and its S3 port",
        ),
        (Probe::Service, 404 | 405 | 501) => reply.warning(
            "the store has no list of buckets, so the access key is not tested",
            "name an object: s3proxy check profile@bucket/path/to/file",
        ),
        (Probe::Object, 404) => not_found(reply),
        (_, 404) => reply.failed("the store has no such bucket", "check the name of the bucket"),
        (_, 429 | 503) => busy(reply),
        (_, 500..) => reply.failed("the store has failed", "look at the store's own log"),
        _ => reply.failed(unexpected, "check that the endpoint is an S3 port, and look at its log"),
    }
}

fn good(question: Probe, profile: &Profile, reply: &StoreReply) -> Finding {
    match question {
        Probe::Object => reply.ok("the store has the object"),
        _ if !reply.is_list => reply.warning(
            "this is no answer of an S3 store",
            "check the port of the endpoint: it may be a console or another web server",
        ),
        Probe::Service if is_signed(profile) => {
            reply.ok("the store knows the access key and accepts the signature")
        }
        Probe::Service => reply.ok("the store answers; nothing is signed"),
        Probe::Bucket => reply.ok("it exists and may be listed, so missing keys are 404"),
    }
}

/// `AccessDenied`: the signature was good, but the access key may not do this.
fn denied(question: Probe, profile: &Profile, reply: &StoreReply) -> Finding {
    match question {
        Probe::Service if is_signed(profile) => {
            reply.ok("the store knows the access key; a denied list of all buckets is usual")
        }
        Probe::Service => reply.ok("the store answers; nothing is signed"),
        Probe::Bucket if profile.missing_on_403 => {
            reply.ok("it may not be listed; missing keys are answered 404 (missing_on_403)")
        }
        Probe::Bucket if !is_signed(profile) => reply.warning(
            "it may not be listed, so the store says 403 for missing keys too",
            "let everybody list the bucket, or set missing_on_403: true in the profile",
        ),
        Probe::Bucket => reply.warning(
            "it may not be listed, so the store says 403 for missing keys too",
            "grant s3:ListBucket to the access key, or set missing_on_403: true in the profile",
        ),
        Probe::Object if !is_signed(profile) => {
            reply.failed("the object may not be read without credentials", NOT_PUBLIC)
        }
        Probe::Object => reply.failed(
            "the object may not be read",
            "grant s3:GetObject on the bucket to the profile's access key",
        ),
    }
}

/// The verdict on a denied object, from the answer for its bucket.
#[must_use]
pub(super) fn judge_denied(profile: &Profile, object: &StoreReply, bucket: &StoreReply) -> Finding {
    match (bucket.status, bucket.code()) {
        (200..=299, _) => object.failed(
            "the bucket may be listed, so the object exists, but may not be read",
            "grant s3:GetObject on the bucket to the profile's access key; look at the object's own \
             access list and encryption too",
        ),
        (_, "NoSuchBucket") => object.failed(
            "there is no such bucket",
            "check the name of the bucket, and that it is in this store",
        ),
        _ if !is_signed(profile) => denied(Probe::Object, profile, object),
        (403, "AccessDenied") if profile.missing_on_403 => object.failed(
            "the object is missing, or may not be read; without s3:ListBucket the store does not \
             tell which",
            "check the spelling of the key, and that the profile's access key has s3:GetObject",
        ),
        (403, "AccessDenied") => object.failed(
            "the object is missing, or may not be read; without s3:ListBucket the store does not \
             tell which",
            "grant s3:ListBucket to the access key, or set missing_on_403: true in the profile; check the \
             spelling of the key, and that the profile's access key has s3:GetObject",
        ),
        _ => denied(Probe::Object, profile, object),
    }
}

/// Codes with one meaning for every kind of request.
fn by_code(question: Probe, profile: &Profile, reply: &StoreReply) -> Option<Finding> {
    let source = key_source(profile);
    Some(match reply.code() {
        "SignatureDoesNotMatch" => reply.failed(
            "the store knows the access key id, but the secret is wrong",
            format!(
                "correct the secret access key in {source}; if it is right, something before the \
                 store changes the Host or the path"
            ),
        ),
        "InvalidAccessKeyId" => reply.failed(
            "the store does not know the access key id",
            format!(
                "correct the access key id in {source}, or the endpoint: it may be another store's \
                 access key"
            ),
        ),
        "ExpiredToken" | "TokenRefreshRequired" => reply.failed(
            "the session token has expired",
            format!("put new temporary access keys, or a permanent access key without token, into {source}"),
        ),
        "InvalidToken" => reply.failed(
            "the session token is wrong",
            format!("in {source}, a session token must belong to its access key; permanent access keys have none"),
        ),
        "RequestTimeTooSkewed" | "RequestExpired" => reply.failed(
            "the clocks of this machine and the store differ too much",
            "set the clock that is wrong (NTP); the clock step shows the difference",
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
            "the store does not take this for the name of a bucket",
            "check the name of the bucket and the profile's addressing (path or virtual)",
        ),
        "NoSuchKey" => not_found(reply),
        "InvalidObjectState" => reply.failed(
            "the object is archived and must be restored before it can be read",
            "restore it, or move it to a class of storage that can be read at once",
        ),
        "InvalidRequest" | "InvalidArgument" => reply.failed(
            "the store does not accept a header of the request",
            "check upstream_headers of the profile: an object stored with SSE-C needs its key, \
             others must not get one; a very old store may not know SigV4",
        ),
        "MethodNotAllowed" | "NotImplemented" if question == Probe::Service => reply.warning(
            "the store has no list of buckets, so the access key is not tested",
            "name an object: s3proxy check profile@bucket/path/to/file",
        ),
        "MethodNotAllowed" | "NotImplemented" => reply.failed(
            "the store does not answer GET here",
            "check that the endpoint is an S3 port, and that the object is no delete marker",
        ),
        "SlowDown"
        | "ServiceUnavailable"
        | "Busy"
        | "TooManyRequests"
        | "Throttling"
        | "RequestLimitExceeded" => busy(reply),
        "InternalError" | "RequestTimeout" => {
            reply.failed("the store has failed", "try again; if it stays, look at the store's log")
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
        "try again; if it stays, ask fewer at a time or look at the store's load",
    )
}

fn wrong_region(profile: &Profile, reply: &StoreReply) -> Finding {
    let ours = &profile.region;
    match &reply.region {
        Some(theirs) if theirs != ours => reply.failed(
            &format!("the request is signed for region {ours}, the store wants {theirs}"),
            format!("set the profile's region to {theirs}"),
        ),
        _ => reply.failed(
            &format!("the store does not accept a signature for region {ours}"),
            format!(
                "set the profile's region to the store's; check that the access key id in {} has \
                 no stray character",
                key_source(profile)
            ),
        ),
    }
}

/// A redirect, which the gateway never follows: it would sign requests for another host.
fn redirected(question: Probe, profile: &Profile, reply: &StoreReply) -> Finding {
    let ours = &profile.endpoint;
    if question == Probe::Service && !is_signed(profile) {
        return reply
            .ok("the store answers; nothing is signed, so name an object to check further");
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
            "write the endpoint with https:// in place of http://",
        ),
        Some(to) if to != ours => reply.failed(
            &format!("the store redirects to {to}, where the gateway does not follow"),
            "set the profile's endpoint to where the bucket is",
        ),
        _ => reply.failed(
            "the store redirects elsewhere, where the gateway does not follow",
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
    let fix = "set the clock that is wrong (NTP); stores refuse signatures from 15 minutes on";
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

/// The place of the profile's access key, as an operator finds it.
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
        Credentials::Anonymous | Credentials::Missing(_) => "the configuration".to_owned(),
    }
}

#[cfg(test)]
mod tests;
