//! Tables of answers and the verdicts on them.

use super::*;
use crate::check::report::StepState;
use crate::s3::credentials::Keys;
use crate::s3::secret::Secret;

const ALL: [Probe; 3] = [Probe::Service, Probe::Bucket, Probe::Object];

fn signed() -> Profile {
    Profile {
        credentials: Credentials::Keys {
            keys: Keys {
                access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
                secret_access_key: Secret::new("secretsecret".to_owned()),
                session_token: None,
            },
            source: CredentialSource::File {
                path: "/secrets/aws-credentials.ini".into(),
                section: "hips".to_owned(),
            },
        },
        ..Profile::unsigned(Some("hips"), Endpoint::parse("http://s3.example.org").unwrap())
    }
}

fn anonymous() -> Profile {
    Profile { credentials: Credentials::Anonymous, ..signed() }
}

fn lenient() -> Profile {
    Profile { missing_on_403: true, ..signed() }
}

fn reply(status: u16, code: &str) -> StoreReply {
    let code = (!code.is_empty()).then(|| code.to_owned());
    StoreReply { status, code, request_id: Some("tx01".to_owned()), ..StoreReply::default() }
}

fn list() -> StoreReply {
    StoreReply { is_list: true, ..reply(200, "") }
}

#[track_caller]
fn assert_finding(finding: &Finding, state: StepState, detail: &str, fix: &str) {
    assert_eq!(finding.state, state, "{finding:?}");
    assert!(finding.detail.contains(detail), "{detail}: {finding:?}");
    assert!(finding.fix.as_deref().unwrap_or_default().contains(fix), "{fix}: {finding:?}");
    assert_eq!(finding.fix.is_some(), state != StepState::Ok && state != StepState::Skipped);
}

#[test]
fn codes_have_the_same_meaning_for_every_request() {
    for (status, code, detail, fix) in [
        (
            403,
            "SignatureDoesNotMatch",
            "the secret access key is wrong",
            "section [hips] of /secrets/aws-",
        ),
        (403, "InvalidAccessKeyId", "does not know the access key id", "section [hips]"),
        (403, "RequestTimeTooSkewed", "clocks", "NTP"),
        (403, "RequestExpired", "clocks", "NTP"),
        (400, "AuthorizationHeaderMalformed", "region us-east-1", "region"),
        (400, "IllegalLocationConstraintException", "region us-east-1", "region"),
        (301, "PermanentRedirect", "redirects", "endpoint"),
        (307, "TemporaryRedirect", "redirects", "endpoint"),
        (400, "ExpiredToken", "expired", "section [hips]"),
        (400, "InvalidToken", "token is wrong", "section [hips]"),
        (403, "UserSuspended", "account", "operators"),
        (403, "AllAccessDisabled", "account", "operators"),
        (404, "NoSuchBucket", "no such bucket", "name of the bucket"),
        (400, "InvalidBucketName", "name of a bucket", "addressing"),
        (404, "NoSuchKey", "no such key", "spelling"),
        (403, "InvalidObjectState", "archived", "restore"),
        (400, "InvalidRequest", "header", "upstream_headers"),
        (400, "InvalidArgument", "header", "upstream_headers"),
        (503, "SlowDown", "too busy", "load"),
        (503, "ServiceUnavailable", "too busy", "load"),
        (429, "TooManyRequests", "too busy", "load"),
        (500, "InternalError", "failed", "log"),
    ] {
        for question in ALL {
            let finding = judge(question, &signed(), &reply(status, code));
            assert_finding(&finding, StepState::Failed, detail, fix);
            let said = format!("{status} {code}, request tx01: ");
            assert!(finding.detail.starts_with(&said), "{finding:?}");
        }
    }
}

#[test]
fn some_verdicts_depend_on_the_request() {
    use Probe::{Bucket, Object, Service};
    use StepState::{Failed, Ok, Warning};
    for (question, profile, reply, state, detail, fix) in [
        (Service, signed(), list(), Ok, "accepts the signature", ""),
        (Service, anonymous(), list(), Ok, "requests are unsigned", ""),
        (Service, signed(), reply(200, ""), Warning, "not an answer of an S3 store", "console"),
        (Service, signed(), reply(403, "AccessDenied"), Ok, "knows the access key", ""),
        (Service, anonymous(), reply(403, "AccessDenied"), Ok, "requests are unsigned", ""),
        (Service, anonymous(), reply(307, ""), Ok, "requests are unsigned", ""),
        (Service, anonymous(), reply(404, ""), Ok, "requests are unsigned", ""),
        (Service, signed(), reply(403, ""), Failed, "without an S3 error code", "the store itself"),
        (Service, signed(), reply(404, ""), Warning, "access key is not tested", "name an object"),
        (Service, signed(), reply(405, "MethodNotAllowed"), Warning, "not tested", "name an obj"),
        (Service, signed(), reply(501, "NotImplemented"), Warning, "not tested", "name an object"),
        (Bucket, signed(), list(), Ok, "may be listed", ""),
        (
            Bucket,
            signed(),
            reply(403, "AccessDenied"),
            Warning,
            "403 for missing",
            "missing_on_403",
        ),
        (Bucket, anonymous(), reply(403, "AccessDenied"), Warning, "403 for missing", "public"),
        (Object, anonymous(), reply(403, "AccessDenied"), Failed, "without cred", "public"),
        (Bucket, lenient(), reply(403, "AccessDenied"), Ok, "answered as 404", ""),
        (Bucket, signed(), reply(404, ""), Failed, "no such bucket", "name of the bucket"),
        (Object, signed(), reply(200, ""), Ok, "has the object", ""),
        (Object, signed(), reply(206, ""), Ok, "has the object", ""),
        (Object, signed(), reply(416, "InvalidRange"), Ok, "empty", ""),
        (Object, signed(), reply(403, "AccessDenied"), Failed, "may not be read", "s3:GetObject"),
        (Object, signed(), reply(404, ""), Failed, "no such key", "spelling"),
        (Object, signed(), reply(405, "MethodNotAllowed"), Failed, "GET", "delete marker"),
        (Object, signed(), reply(401, ""), Failed, "without an S3 error code", "the store itself"),
        (Object, signed(), reply(429, ""), Failed, "busy", "load"),
        (Object, signed(), reply(503, ""), Failed, "busy", "load"),
        (Object, signed(), reply(502, ""), Failed, "the store failed", "log"),
        (Object, signed(), reply(400, "NeverHeardOf"), Failed, "unexpected answer", "S3 port"),
        (Object, signed(), reply(400, ""), Failed, "unexpected answer", "S3 port"),
    ] {
        assert_finding(&judge(question, &profile, &reply), state, detail, fix);
    }
}

#[test]
fn a_denied_object_is_explained_by_its_bucket() {
    let denied = || reply(403, "AccessDenied");
    for (profile, bucket, detail, fix) in [
        (signed(), list(), "the object exists, but may not be read", "s3:GetObject"),
        (signed(), denied(), "missing, or may not be read", "missing_on_403: true"),
        (lenient(), denied(), "missing, or may not be read", "spelling of the key"),
        (signed(), reply(404, "NoSuchBucket"), "no such bucket", "name of the bucket"),
        (anonymous(), denied(), "may not be read without credentials", "public"),
        (signed(), reply(503, "SlowDown"), "may not be read", "s3:GetObject"),
    ] {
        assert_finding(&judge_denied(&profile, &denied(), &bucket), StepState::Failed, detail, fix);
    }
    let fix = judge_denied(&lenient(), &denied(), &denied()).fix.unwrap_or_default();
    assert!(!fix.contains("missing_on_403"), "it is set already: {fix}");
}

#[test]
fn redirects_and_regions_name_where_to_go() {
    let to = |url: &str| Some(Endpoint::parse(url).unwrap());
    let region = |name: &str| Some(name.to_owned());
    for (reply, detail, fix) in [
        (
            StoreReply { location: to("https://s3.example.org"), ..reply(301, "") },
            "redirects to https://s3.example.org",
            "https:// instead of http://",
        ),
        (
            StoreReply {
                location: to("http://other.example.org"),
                ..reply(307, "TemporaryRedirect")
            },
            "redirects to http://other.example.org",
            "endpoint to the store of the bucket",
        ),
        (
            StoreReply { location: to("http://s3.example.org"), ..reply(302, "") },
            "redirects; the gateway",
            "addressing",
        ),
        (
            StoreReply { region: region("eu-west-1"), ..reply(301, "PermanentRedirect") },
            "in region eu-west-1, not in us-east-1",
            "region to eu-west-1",
        ),
        (
            StoreReply {
                region: region("eu-west-1"),
                ..reply(400, "AuthorizationHeaderMalformed")
            },
            "the store expects eu-west-1",
            "region to eu-west-1",
        ),
        (
            StoreReply {
                region: region("us-east-1"),
                ..reply(400, "AuthorizationHeaderMalformed")
            },
            "does not accept a signature",
            "stray character",
        ),
    ] {
        let finding = judge(Probe::Object, &signed(), &reply);
        assert_finding(&finding, StepState::Failed, detail, fix);
    }
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for (seconds, state, detail) in [
        (0, StepState::Ok, "0 s ahead of"),
        (60, StepState::Ok, "60 s ahead of"),
        (-60, StepState::Ok, "60 s behind"),
        (61, StepState::Warning, "61 s ahead of"),
        (-61, StepState::Warning, "61 s behind"),
        (300, StepState::Warning, "300 s ahead of"),
        (301, StepState::Failed, "301 s ahead of"),
        (-1200, StepState::Failed, "1200 s behind"),
    ] {
        let difference = Duration::from_secs(i64::unsigned_abs(seconds));
        let store = if seconds < 0 { now + difference } else { now - difference };
        let finding = judge_clock(Some(store), now);
        assert_finding(&finding, state, detail, if state == StepState::Ok { "" } else { "NTP" });
    }
    assert_eq!(judge_clock(None, now).state, StepState::Skipped);
}

#[test]
fn every_source_of_access_keys_is_named_as_it_was_written() {
    let from = |source| {
        let Credentials::Keys { keys, .. } = signed().credentials else { panic!("it has keys") };
        key_source(&Profile { credentials: Credentials::Keys { keys, source }, ..signed() })
    };
    let variable = "LSST_RESOURCES_S3_PROFILE_hips".to_owned();
    assert_eq!(
        from(CredentialSource::EndpointUrl(variable)),
        "the URL of LSST_RESOURCES_S3_PROFILE_hips"
    );
    assert!(from(CredentialSource::Environment).contains("AWS_ACCESS_KEY_ID"));
}
