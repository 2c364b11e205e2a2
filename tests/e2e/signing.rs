//! Requests to the store: signatures, credentials, regions, addressing, endpoints, host names.

use serde_json::json;

use crate::faulty::Faulty;
use crate::gateway::{ACCESS_KEY, SECRET_KEY, Setup};
use crate::origin::{Manners, Origin};

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn every_request_carries_a_complete_version_4_signature() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    for method in ["GET", "HEAD"] {
        spy.clear();
        gateway.send(method, "/s3proxy/s3/sky/a.png", &[]);
        let request = spy.only();
        let authorization = request.header("authorization").expect("signed").to_owned();
        let start = format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/");
        assert!(authorization.starts_with(&start), "{authorization}");
        assert!(authorization.contains("/us-east-1/s3/aws4_request"), "{authorization}");
        let signed = request.signed_headers();
        assert_eq!(signed, ["host", "x-amz-content-sha256", "x-amz-date"]);
        let payload = request.header("x-amz-content-sha256").expect("a payload hash");
        assert!(["UNSIGNED-PAYLOAD", EMPTY_SHA256].contains(&payload), "{payload}");
        assert_eq!(request.header("host"), Some(spy.address.to_string().as_str()));
    }
}

#[test]
fn a_wrong_secret_is_forbidden_with_the_cause() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = Setup::new(&origin.url()).env("AWS_SECRET_ACCESS_KEY", "of-yesterday").start();
    let answer = gateway.object("sky/a.png");
    assert_eq!(answer.status(), 403);
    assert!(answer.json()["cause"].as_str().is_some_and(|c| !c.is_empty()), "{answer:?}");
    let line = gateway.line_of(&answer).to_string();
    assert!(line.contains("SignatureDoesNotMatch"), "{line}");
    let head = gateway.send("HEAD", "/s3proxy/s3/sky/a.png", &[]);
    assert_eq!(head.status(), 403);
    gateway.line_of(&head);
}

#[test]
fn an_unknown_access_key_is_forbidden_with_the_cause() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = Setup::new(&origin.url()).env("AWS_ACCESS_KEY_ID", "AKIDNOBODY").start();
    let answer = gateway.object("sky/a.png");
    assert_eq!(answer.status(), 403);
    let line = gateway.line_of(&answer).to_string();
    assert!(line.contains("\"upstream_code\":\"InvalidAccessKeyId\""), "{line}");
}

#[test]
fn a_session_token_is_sent_and_signed() {
    let mut manners = Manners::rgw();
    manners.session_token = Some("canary-of-the-session".to_owned());
    let origin = Origin::with(manners);
    origin.put("a.png", "tile");
    let from_ini = Setup::bare()
        .env("LSST_RESOURCES_S3_PROFILE_sts", &origin.url())
        .ini(&format!(
            "[sts]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n\
             aws_session_token = canary-of-the-session"
        ))
        .start();
    assert_eq!(from_ini.object("sts@sky/a.png").text(), "tile");
    let from_environment =
        Setup::new(&origin.url()).env("AWS_SESSION_TOKEN", "canary-of-the-session").start();
    assert_eq!(from_environment.object("sky/a.png").text(), "tile");
    for request in origin.requests() {
        assert!(request.signed_headers.iter().any(|n| n == "x-amz-security-token"), "{request:?}");
    }
}

#[test]
fn the_region_comes_from_the_same_sources_as_before() {
    let spy = Faulty::spy();
    let keys = format!("aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    let gateway = Setup::new(&spy.url())
        .env("AWS_DEFAULT_REGION", "eu-north-1")
        .env("AWS_REGION", "ignored-1")
        .env("LSST_RESOURCES_S3_PROFILE_ini", &spy.url())
        .env("LSST_RESOURCES_S3_PROFILE_file", &spy.url())
        .ini(&format!("[ini]\n{keys}region = us-west-2\n[file]\n{keys}"))
        .profile_settings("file", &json!({"region": "ap-southeast-2"}))
        .start();
    for (tail, region) in [
        ("sky/a.png", "eu-north-1"),
        ("ini@sky/a.png", "us-west-2"),
        ("file@sky/a.png", "ap-southeast-2"),
    ] {
        spy.clear();
        assert_eq!(gateway.object(tail).status(), 200, "{tail}");
        let authorization = spy.only().header("authorization").unwrap_or_default().to_owned();
        assert!(authorization.contains(&format!("/{region}/s3/")), "{tail}: {authorization}");
    }
}

#[test]
fn a_region_the_store_does_not_accept_is_a_bad_gateway_with_the_cause() {
    let mut manners = Manners::aws();
    manners.region = Some("eu-west-1".to_owned());
    let origin = Origin::with(manners);
    origin.put("a.png", "tile");
    let wrong = Setup::new(&origin.url()).start();
    let answer = wrong.object("sky/a.png");
    assert!(matches!(answer.status(), 502 | 403), "{answer:?}");
    let line = wrong.line_of(&answer).to_string();
    assert!(line.contains("AuthorizationHeaderMalformed"), "{line}");
    let right = Setup::new(&origin.url()).env("AWS_DEFAULT_REGION", "eu-west-1").start();
    assert_eq!(right.object("sky/a.png").text(), "tile");
}

#[test]
fn an_anonymous_profile_signs_nothing() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .env("LSST_RESOURCES_S3_PROFILE_open", &spy.url())
        .profile_settings("open", &json!({"credentials": {"anonymous": true}}))
        .start();
    assert_eq!(gateway.object("open@sky/a.png").status(), 200);
    assert_eq!(spy.only().names(), ["host"]);
}

#[test]
fn credentials_in_the_endpoint_url_are_used_and_never_shown() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let secret = SECRET_KEY.replace('/', "%2F").replace('+', "%2B");
    let url = format!("http://{ACCESS_KEY}:{secret}@{}/", origin.address());
    let gateway = Setup::bare()
        .env("S3_ENDPOINT_URL", &url)
        .env("LSST_RESOURCES_S3_PROFILE_hips", &url)
        .start();
    assert_eq!(gateway.object("sky/a.png").text(), "tile");
    assert_eq!(gateway.object("hips@sky/a.png").text(), "tile");
    let log = gateway.log_text();
    assert!(!log.contains(SECRET_KEY) && !log.contains(&secret), "{log}");
}

#[test]
fn each_profile_signs_with_its_own_keys_at_its_own_store() {
    let (first, second) = (Faulty::spy(), Faulty::spy());
    let gateway = Setup::bare()
        .env("LSST_RESOURCES_S3_PROFILE_one", &first.url())
        .env("LSST_RESOURCES_S3_PROFILE_two", &second.url())
        .ini("[one]\naws_access_key_id = AKONE\naws_secret_access_key = s1\n")
        .ini("[two]\naws_access_key_id = AKTWO\naws_secret_access_key = s2\n")
        .start();
    gateway.object("one@sky/a.png");
    gateway.object("two@sky/a.png");
    for (spy, key) in [(&first, "AKONE"), (&second, "AKTWO")] {
        let authorization = spy.only().header("authorization").unwrap_or_default().to_owned();
        assert!(authorization.contains(&format!("Credential={key}/")), "{authorization}");
    }
}

#[test]
fn aws_profile_names_the_section_of_urls_without_profile() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
        .env("AWS_PROFILE", "chosen")
        .ini("[default]\naws_access_key_id = AKDEFAULT\naws_secret_access_key = s\n")
        .ini("[chosen]\naws_access_key_id = AKCHOSEN\naws_secret_access_key = s\n")
        .tolerate("section")
        .start();
    gateway.object("sky/a.png");
    let authorization = spy.only().header("authorization").unwrap_or_default().to_owned();
    assert!(authorization.contains("Credential=AKCHOSEN/"), "{authorization}");
}

#[test]
fn upstream_headers_are_added_and_signed() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .profile("payer", &spy.url())
        .profile_settings(
            "payer",
            &json!({"upstream_headers": {"x-amz-request-payer": "requester"}}),
        )
        .start();
    gateway.object("payer@sky/a.png");
    let request = spy.only();
    assert_eq!(request.header("x-amz-request-payer"), Some("requester"));
    assert!(request.signed_headers().contains(&"x-amz-request-payer"), "{request:?}");
}

#[test]
fn upstream_headers_satisfy_a_store_that_checks_signatures() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = Setup::bare()
        .profile("payer", &origin.url())
        .profile_settings(
            "payer",
            &json!({"upstream_headers": {"x-amz-request-payer": "requester"}}),
        )
        .start();
    assert_eq!(gateway.object("payer@sky/a.png").text(), "tile");
}

#[test]
fn a_bucket_allow_list_admits_what_its_globs_match() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .profile("hips", &spy.url())
        .profile_settings("hips", &json!({"buckets": ["rubin-*", "exact"]}))
        .start();
    for (tail, served) in [
        ("hips@rubin-hips/a.png", true),
        ("hips@exact/a.png", true),
        ("hips@exactly/a.png", false),
        ("hips@private/a.png", false),
        ("private/a.png", true),
    ] {
        spy.clear();
        let answer = gateway.object(tail);
        if served {
            assert_eq!(answer.status(), 200, "{tail}");
        } else {
            assert!(matches!(answer.status(), 403 | 404), "{tail}: {answer:?}");
            assert_eq!(spy.count(), 0, "{tail}");
        }
    }
}

#[test]
fn virtual_addressing_puts_the_bucket_into_the_host() {
    let spy = Faulty::spy();
    let port = spy.address.port();
    let endpoint = format!("http://localhost:{port}");
    let gateway = Setup::bare()
        .profile("virt", &endpoint)
        .profile_settings("virt", &json!({"addressing": "virtual"}))
        .start();
    for (tail, host, target) in [
        ("virt@sky/a%20b.png", format!("sky.localhost:{port}"), "/a%20b.png"),
        ("virt@sky.dotted/a.png", format!("localhost:{port}"), "/sky.dotted/a.png"),
    ] {
        spy.clear();
        assert_eq!(gateway.object(tail).status(), 200, "{tail}");
        let request = spy.only();
        assert_eq!(request.header("host"), Some(host.as_str()), "{tail}");
        assert_eq!(request.target, target, "{tail}");
    }
}

#[test]
fn virtual_addressing_satisfies_a_store_that_checks_signatures() {
    let origin = Origin::start();
    origin.put("a b.png", "tile");
    let gateway = Setup::bare()
        .profile("virt", &format!("http://localhost:{}", origin.address().port()))
        .profile_settings("virt", &json!({"addressing": "virtual"}))
        .start();
    assert_eq!(gateway.object("virt@sky/a%20b.png").text(), "tile");
}

#[test]
fn an_explicit_endpoint_is_addressed_by_path() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&format!("http://localhost:{}", spy.address.port())).start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    let request = spy.only();
    assert_eq!(request.target, "/sky/a.png");
    assert_eq!(request.header("host"), Some(format!("localhost:{}", spy.address.port()).as_str()));
}

#[test]
fn the_path_of_an_endpoint_stays_before_the_bucket() {
    let spy = Faulty::spy();
    for base in ["/base/path", "/base/path/"] {
        spy.clear();
        let gateway = Setup::new(&format!("{}{base}", spy.url())).start();
        assert_eq!(gateway.object("sky/a%2Bb.png").status(), 200, "{base}");
        assert_eq!(spy.only().target, "/base/path/sky/a%2Bb.png", "{base}");
    }
}

/// Containers often have no IPv6 at all.
fn has_ipv6() -> bool {
    let has = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("SKIPPED: this machine has no IPv6 loopback");
    }
    has
}

#[test]
fn an_ipv6_endpoint_works() {
    if !has_ipv6() {
        return;
    }
    let origin = Origin::on("[::1]:0", Manners::rgw());
    origin.put("a.png", "tile");
    let gateway = Setup::new(&origin.url()).start();
    assert_eq!(gateway.object("sky/a.png").text(), "tile");
    let host = origin.requests()[0].header("host").to_owned();
    assert_eq!(host, origin.address().to_string(), "brackets and port");
}

#[test]
fn a_name_is_looked_up_and_every_address_of_it_tried() {
    // Where `localhost` has both families, ::1 refuses and 127.0.0.1 is tried next.
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = Setup::new(&format!("http://LocalHost:{}", origin.address().port()))
        .tolerate("retry")
        .tolerate("efused")
        .start();
    for _ in 0..5 {
        assert_eq!(gateway.object("sky/a.png").text(), "tile");
    }
}

#[test]
fn a_host_name_that_does_not_exist_fails_at_once() {
    let gateway = Setup::new("http://nonexistent.invalid").tolerate("nonexistent.invalid").start();
    let began = std::time::Instant::now();
    let answer = gateway.object("sky/a.png");
    assert!(matches!(answer.status(), 502 | 504), "{answer:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(6), "{:?}", began.elapsed());
    gateway.line_of(&answer);
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn ipv6_is_listened_on_where_configured() {
    if !has_ipv6() {
        return;
    }
    let spy = Faulty::spy();
    let port = crate::gateway::free_port();
    let listen = format!("[::1]:{port}");
    let gateway = Setup::new(&spy.url()).listen(&listen).start();
    assert!(gateway.address.is_ipv6());
    assert_eq!(gateway.object("sky/a.png").status(), 200);
}
