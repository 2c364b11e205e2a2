//! Credentials that are issued for a limited time: each source, and renewal while clients read.

mod told;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::client::PATIENCE;
use crate::disk::eventually;
use crate::gateway::{ACCESS_KEY, Gateway, SECRET_KEY, Setup};
use crate::issuers::{Call, Issuer, json_answer, sts_answer};
use crate::origin::Origin;
use crate::tally::trials;

const HOUR: Duration = Duration::from_secs(3600);
const ISSUED: &str = "ASIAISSUEDISSUED";
const SECRET: &str = "canary/OfAnIssuedKey";

/// A store that accepts the issued access key alone.
fn origin() -> Origin {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    origin.refuse_key(ACCESS_KEY);
    accept_issued(&origin);
    origin
}

/// Lets the store accept the issued access key.
pub(crate) fn accept_issued(origin: &Origin) {
    origin.accept_key(ISSUED, SECRET);
}

fn profile(setup: Setup, origin: &Origin, credentials: &Value) -> Setup {
    setup
        .yaml(json!({"profiles": {"hips": {"endpoint": origin.url(), "credentials": credentials}}}))
}

/// A profile whose credentials are issued until the end of the century.
pub(crate) fn with_issued(setup: Setup, url: &str) -> Setup {
    let issued = json!({"Version": 1, "AccessKeyId": ISSUED, "SecretAccessKey": SECRET,
        "Expiration": "2099-01-01T00:00:00Z"});
    let credentials = json!({"from": "process", "process": format!("/bin/echo '{issued}'")});
    setup.yaml(json!({"profiles": {"issued": {"endpoint": url, "credentials": credentials}}}))
}

fn script(folder: &Path, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("issue me");
    // Written beside and renamed: a file that is open for writing cannot be run.
    let beside = folder.join("new");
    std::fs::write(&beside, format!("#!/bin/sh\n{text}\n")).expect("written");
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).expect("executable");
    std::fs::rename(&beside, &path).expect("renamed");
    path.to_str().expect("UTF-8").to_owned()
}

/// The state of the profile on the admin listener.
fn state(admin: Admin) -> Value {
    let answer = admin.send("GET", "/profiles").json();
    let all = answer.as_array().expect("a list");
    all.iter().find(|it| it["profile"] == "hips").expect("the profile").clone()
}

fn get(gateway: &Gateway) -> u16 {
    gateway.object("hips@sky/a.png").status()
}

#[test]
fn every_source_issues_credentials_that_sign_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "first-token\n").expect("written");
    let token_path = token_file.to_str().expect("UTF-8");
    let sts = Issuer::start(|call: &Call, _| match call.body.as_str() {
        body if body.contains("Action=AssumeRoleWithWebIdentity&")
            && body.contains("&WebIdentityToken=first-token")
            && call.header("authorization").is_empty() =>
        {
            (200, sts_answer(ISSUED, SECRET, HOUR))
        }
        body if body.contains("Action=AssumeRole&")
            && call.header("authorization").contains(&format!("Credential={ACCESS_KEY}/"))
            && call.header("authorization").contains("/sts/aws4_request") =>
        {
            (200, sts_answer(ISSUED, SECRET, HOUR))
        }
        _ => (403, "<Error><Code>AccessDenied</Code></Error>".to_owned()),
    });
    let container = Issuer::start(|call: &Call, _| match call.header("authorization") {
        "first-token" if call.path == "/v1/credentials" => {
            (200, json_answer(ISSUED, SECRET, HOUR, "Token"))
        }
        _ => (401, String::new()),
    });
    let instance = Issuer::start(|call: &Call, _| {
        let has_token = call.header("x-aws-ec2-metadata-token") == "metadata-token";
        match (call.method.as_str(), call.path.as_str()) {
            ("PUT", "/latest/api/token") => (200, "metadata-token".to_owned()),
            ("GET", "/latest/meta-data/iam/security-credentials/") if has_token => {
                (200, "role-of-pod\n".to_owned())
            }
            ("GET", "/latest/meta-data/iam/security-credentials/role-of-pod") if has_token => {
                (200, json_answer(ISSUED, SECRET, HOUR, "Token"))
            }
            // As version 1 would be asked.
            _ => (401, String::new()),
        }
    });
    let printed = json_answer(ISSUED, SECRET, HOUR, "SessionToken");
    let program = script(folder.path(), &format!("test \"$1\" = 'a b' && echo '{printed}'"));
    let origin = origin();
    let keys =
        format!("[hips]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    let uri = format!("{}/v1/credentials", container.url());
    let with = |credentials: Value| profile(Setup::bare(), &origin, &credentials);
    let with_section =
        |section: &str| with(json!({"anonymous": false})).ini(&format!("[hips]\n{section}\n"));
    let cases = [
        ("process", with(json!({"from": "process", "process": format!("'{program}' 'a b'")}))),
        ("process in the file", with_section(&format!("credential_process = '{program}' \"a b\""))),
        (
            "web identity",
            with(json!({"from": "web_identity", "role_arn": "arn:aws:iam::1:role/r",
                "web_identity_token_file": token_path, "sts_endpoint": sts.url()})),
        ),
        (
            "web identity of the pod",
            with(json!({"from": "web_identity", "sts_endpoint": sts.url()}))
                .env("AWS_WEB_IDENTITY_TOKEN_FILE", token_path)
                .env("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ),
        (
            "role",
            with(json!({"role_arn": "arn:aws:iam::1:role/r", "sts_endpoint": sts.url()}))
                .ini(&keys),
        ),
        ("container", with(json!({"from": "container", "uri": uri, "token_file": token_path}))),
        (
            "container of the pod",
            with(json!({"from": "container"}))
                .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri)
                .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_path),
        ),
        ("instance", with(json!({"from": "instance", "uri": instance.url()}))),
    ];
    for (name, setup) in cases {
        origin.clear();
        let (setup, admin) = Admin::of(setup);
        let gateway = setup.start();
        assert_eq!(get(&gateway), 200, "{name}");
        let asked = origin.requests();
        let request = asked.last().expect("a request");
        assert!(request.header("authorization").contains(ISSUED), "{name}: {request:?}");
        assert_eq!(request.header("x-amz-security-token"), format!("canary-token-of-{ISSUED}"));
        let state = state(admin);
        assert_eq!(
            (&state["key_id"], &state["renewal_error"]),
            (&"...SUED".into(), &Value::Null),
            "{name}"
        );
        assert!(state["expires"].as_str().is_some_and(|at| at.ends_with('Z')), "{name}: {state}");
        let metrics = admin.send("GET", "/metrics");
        let left = metrics.text().lines().find_map(|line| {
            line.strip_prefix("s3proxy_credentials_expiry_seconds{profile=\"hips\"} ")
        });
        let left: f64 = left.expect("the metric").parse().expect("a number");
        assert!((3000.0..3601.0).contains(&left), "{name}: {left}");
    }
    assert!(instance.calls().iter().all(|call| {
        call.method == "PUT" || !call.header("x-aws-ec2-metadata-token").is_empty()
    }));
    // The default profile uses what the environment of a pod names.
    origin.clear();
    let gateway = Setup::bare()
        .env("S3_ENDPOINT_URL", &origin.url())
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_path)
        .start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    assert!(origin.requests()[0].header("authorization").contains(ISSUED));
}

/// A refresh broke the traffic of peers of this gateway.
#[test]
fn ten_thousand_requests_over_five_expiries_of_a_slow_and_failing_sts_have_no_error() {
    const LIFE: Duration = Duration::from_secs(3);
    const REQUESTS: usize = 10_000;
    const CLIENTS: usize = 8;
    let origin = std::sync::Arc::new(Origin::start());
    origin.put("a.png", "tile");
    origin.refuse_key(ACCESS_KEY);
    let accepting = std::sync::Arc::clone(&origin);
    let sts = Issuer::start(move |_: &Call, nth| {
        std::thread::sleep(Duration::from_secs(1));
        if nth % 3 == 2 {
            return (503, "<Error><Code>ServiceUnavailable</Code></Error>".to_owned());
        }
        let id = format!("ASIARENEWED{nth:05}");
        accepting.accept_key(&id, SECRET);
        let answer = sts_answer(&id, SECRET, LIFE);
        let store = std::sync::Arc::clone(&accepting);
        std::thread::spawn(move || {
            // The expiration is rounded up to a second.
            std::thread::sleep(LIFE + Duration::from_secs(1));
            store.refuse_key(&id);
        });
        (200, answer)
    });
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "token").expect("written");
    let credentials = json!({"from": "web_identity", "role_arn": "arn:aws:iam::1:role/r",
        "web_identity_token_file": token.path(), "sts_endpoint": sts.url()});
    let setup = profile(Setup::bare(), &origin, &credentials).tolerate("no credentials issued by");
    let gateway = setup.start();
    let _trials = trials("requests while credentials are renewed", REQUESTS);
    let (made, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    let read = || {
        let (mut client, mut worst) = (gateway.connect(), Duration::ZERO);
        while made.fetch_add(1, Ordering::Relaxed) < REQUESTS || began.elapsed() < 6 * LIFE {
            let sent = Instant::now();
            let answer = client.exchange("GET", "/s3proxy/s3/hips@sky/a.png", &[]);
            worst = worst.max(sent.elapsed());
            if answer.status() != 200 {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        worst
    };
    let worst = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(read)).collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader")).max()
    });
    assert_eq!(failed.into_inner(), 0, "of {}", made.into_inner());
    // Who waited for STS waited a second.
    assert!(worst < Some(Duration::from_millis(900)), "{worst:?}");
    let mut ids: Vec<String> = origin
        .requests()
        .iter()
        .filter_map(|request| {
            let authorization = request.header("authorization").to_owned();
            authorization.split("Credential=").nth(1)?.split('/').next().map(str::to_owned)
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert!(ids.len() >= 6, "five expiries: {ids:?}");
    let failures = sts.calls().len() / 3;
    assert!(failures >= 2, "some renewals failed: {failures}");
}

#[test]
fn requests_are_refused_until_a_provider_issues_and_then_served() {
    let origin = origin();
    let folder = tempfile::tempdir().expect("a folder");
    let program = script(folder.path(), "echo 'vault is sealed' >&2; exit 3");
    let credentials = json!({"from": "process", "process": format!("'{program}' --token=canary")});
    let setup = profile(Setup::bare(), &origin, &credentials);
    let gateway = setup.tolerate("no credentials issued by").tolerate("s3://hips@sky").start();
    let answer = gateway.object("hips@sky/a.png");
    answer.refused("credentials_missing", "message");
    let detail = gateway.line_of(&answer)["detail"].as_str().unwrap_or_default().to_owned();
    assert!(
        detail.contains("has issued none: it ended with exit status: 3: vault is sealed"),
        "{detail}"
    );
    assert_eq!(origin.count(), 0);
    let printed = json_answer(ISSUED, SECRET, HOUR, "SessionToken");
    script(folder.path(), &format!("echo '{printed}'"));
    gateway.expect_log("the credentials", |line| {
        line["event"].as_str().is_some_and(|it| it.starts_with("credentials issued by the program"))
    });
    let began = Instant::now();
    while get(&gateway) != 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "issued and not used");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The start waited for the read of the token, without an end.
#[test]
fn a_token_file_that_hangs_does_not_hold_the_start() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("token");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let credentials = json!({"from": "web_identity", "role_arn": "arn:aws:iam::1:role/r",
        "web_identity_token_file": pipe, "sts_endpoint": "http://127.0.0.1:9"});
    let setup = profile(Setup::new(&origin.url()), &origin, &credentials);
    let gateway = setup.tolerate("no credentials issued by").tolerate("s3://hips@sky").start();
    assert_eq!(gateway.object("sky/a.png").status(), 200, "of the default profile");
    gateway.object("hips@sky/a.png").refused("credentials_missing", "message");
}

#[test]
fn an_access_key_that_the_store_refuses_is_renewed_at_once() {
    let origin = std::sync::Arc::new(origin());
    let accepting = std::sync::Arc::clone(&origin);
    let container = Issuer::start(move |_: &Call, nth| {
        if nth == 0 {
            return (200, json_answer(ISSUED, SECRET, HOUR, "Token"));
        }
        accepting.accept_key("ASIASECONDSECOND", SECRET);
        (200, json_answer("ASIASECONDSECOND", SECRET, HOUR, "Token"))
    });
    let credentials = json!({"from": "container", "uri": container.url()});
    let setup = profile(Setup::bare(), &origin, &credentials);
    let gateway = setup.tolerate("upstream_forbidden").start();
    assert_eq!(get(&gateway), 200);
    origin.refuse_key(ISSUED);
    assert_eq!(get(&gateway), 403);
    gateway.expect_log("the next credentials", |line| {
        line["event"].as_str().is_some_and(|it| it.contains("access key ...COND"))
    });
    let began = Instant::now();
    while get(&gateway) != 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "issued and not used");
    }
    assert_eq!(container.calls().len(), 2, "an hour is left");
}

#[test]
fn a_program_that_issues_credentials_does_not_outlive_the_gateway() {
    let origin = origin();
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let text = format!("echo $$ >> '{}'\nexec sleep 600", pids.display());
    let process = format!("\"{}\"", script(folder.path(), &text));
    let credentials = json!({"from": "process", "process": process});
    let setup = profile(Setup::new(&origin.url()), &origin, &credentials);
    let setup = setup.env("S3PROXY_SERVER_LAME_DUCK", "0s");
    for signal in ["TERM", "INT"] {
        std::fs::write(&pids, "").expect("written");
        let mut gateway = setup.clone().tolerate("no credentials issued by").start();
        let started = || -> Vec<String> {
            let text = std::fs::read_to_string(&pids).expect("a file");
            text.lines().map(str::to_owned).collect()
        };
        // The first one is given up by the start, the second renews in the background.
        eventually("the renewal", || started().len() >= 2);
        gateway.signal(signal);
        gateway.await_end(PATIENCE);
        for pid in started() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let is_over = status.is_empty() || status.contains(") Z ");
            assert!(is_over, "{signal}: {status}");
        }
    }
}
