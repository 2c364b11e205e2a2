//! What operators are told of credentials that are issued: by the log, the admin listener, `check` and `explain`, and
//! of mistakes in the settings.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{HOUR, ISSUED, SECRET, get, origin, profile, script, state};
use crate::admin::Admin;
use crate::configuration::assert_mistakes;
use crate::gateway::{ACCESS_KEY, SECRET_KEY, Setup, free_port};
use crate::issuers::{Call, Issuer, sts_answer};

/// The same answer with credentials that have expired.
fn of_2001(answer: &str) -> String {
    let (start, expiration) = answer.split_once("<Expiration>").expect("an expiration");
    format!("{start}<Expiration>2001{}", expiration.get(4..).unwrap_or_default())
}

#[test]
fn a_failed_renewal_leaves_valid_credentials_in_force_and_is_reported() {
    let origin = origin();
    for (name, status, body, said) in [
        (
            "refused",
            403,
            "<Error><Code>AccessDenied</Code><Message>no trust</Message></Error>".to_owned(),
            "403 AccessDenied no trust",
        ),
        ("garbage", 200, "<html>canary</html>".to_owned(), "no AccessKeyId"),
        ("expired", 200, of_2001(&sts_answer(ISSUED, SECRET, HOUR)), "expired already"),
        ("another key", 200, sts_answer("has space", SECRET, HOUR), "cannot be sent in a header"),
    ] {
        let failing = body.clone();
        let sts = Issuer::start(move |_: &Call, nth| match nth {
            0 => (200, sts_answer(ISSUED, SECRET, Duration::from_secs(2))),
            _ => (status, failing.clone()),
        });
        let token = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(token.path(), "token").expect("written");
        let credentials = json!({"from": "web_identity", "role_arn": "arn:aws:iam::1:role/r",
            "web_identity_token_file": token.path(), "sts_endpoint": sts.url()});
        let (setup, admin) = Admin::of(profile(Setup::bare(), &origin, &credentials));
        let gateway = setup.tolerate("no credentials issued by").start();
        assert_eq!(get(&gateway), 200, "{name}");
        let line = gateway.expect_log("a failed renewal", |line| {
            let event = line["event"].as_str().unwrap_or_default();
            event.starts_with("no credentials issued by the token ") && event.contains(said)
        });
        assert_eq!(line["severity"], "warning", "{name}");
        assert!(line["event"].as_str().is_some_and(|it| it.contains("check that the token file")));
        assert_eq!(get(&gateway), 200, "{name}: the store still accepts the access key");
        let state = state(admin);
        assert_eq!(state["key_id"], "...SUED", "{name}");
        assert!(
            state["renewal_error"].as_str().is_some_and(|it| it.contains(said)),
            "{name}: {state}"
        );
        let metrics = admin.send("GET", "/metrics");
        let failures = "s3proxy_credentials_renewals_total{profile=\"hips\",result=\"failure\"} ";
        assert!(
            metrics
                .text()
                .lines()
                .any(|line| { line.strip_prefix(failures).is_some_and(|times| times != "0") }),
            "{name}: {}",
            metrics.text()
        );
    }
}

#[test]
fn check_and_explain_say_what_a_provider_said_and_what_to_do() {
    let origin = origin();
    let sts = Issuer::start(|_: &Call, _| {
        (403, "<Error><Code>AccessDenied</Code><Message>no trust</Message></Error>".to_owned())
    });
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "token").expect("written");
    let credentials = |url: &str| {
        json!({"from": "web_identity", "role_arn": "arn:aws:iam::1:role/r",
            "web_identity_token_file": token.path(), "sts_endpoint": url})
    };
    let failing = profile(Setup::bare(), &origin, &credentials(sts.url()));
    for arguments in
        [&["check", "hips"][..], &["check", "hips@sky/a.png"], &["explain", "hips@sky/a.png"]]
    {
        let run = failing.clone().args(arguments).run();
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        for words in [
            "has issued none: it answered 403 AccessDenied no trust",
            "arn:aws:iam::1:role/r",
            "fix: check that the token file exists",
        ] {
            assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
        }
    }
    let offline = failing.args(&["explain", "--offline", "hips@sky/a.png"]).run();
    assert!(offline.stdout.contains("is not asked"), "{}", offline.stdout);
    let sts = Issuer::start(|_: &Call, _| (200, sts_answer(ISSUED, SECRET, HOUR)));
    let working = profile(Setup::bare(), &origin, &credentials(sts.url()));
    let run = working.args(&["check", "hips@sky/a.png"]).run();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert!(run.stdout.contains("access key ...SUED from the token"), "{}", run.stdout);
    assert!(run.stdout.contains("valid for 3"), "{}", run.stdout);
}

/// One source after the other, each with a fault of its own.
#[test]
fn check_says_of_each_source_which_it_was_what_it_said_and_the_fix() {
    let origin = origin();
    let folder = tempfile::tempdir().expect("a folder");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "token").expect("written");
    let denies = Issuer::start(|_: &Call, _| {
        (403, "<Error><Code>AccessDenied</Code><Message>no trust</Message></Error>".to_owned())
    });
    let refuses = Issuer::start(|_: &Call, _| (401, "who are you".to_owned()));
    let program = script(folder.path(), "echo 'no ticket' >&2; exit 3");
    let closed = format!("http://127.0.0.1:{}", free_port());
    let keys =
        format!("[hips]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    let with = |credentials: Value| profile(Setup::bare(), &origin, &credentials);
    let web = |token: &Path, url: &str| {
        with(json!({"from": "web_identity", "role_arn": "arn:aws:iam::1:role/r",
            "web_identity_token_file": token, "sts_endpoint": url}))
    };
    let role = json!({"role_arn": "arn:aws:iam::1:role/r", "sts_endpoint": denies.url()});
    let container = json!({"from": "container", "uri": refuses.url(), "token_file": token_file});
    for (setup, source, said, fix) in [
        (with(role).ini(&keys), "arn:aws:iam::1:role/r", "403 AccessDenied no trust", "trust"),
        (web(&token_file, denies.url()), "the token", "403 AccessDenied no trust", "trust"),
        (
            web(&folder.path().join("none"), denies.url()),
            "the token",
            "cannot be read",
            "token file",
        ),
        (web(&token_file, &closed), "the token", "no connection", "sts_endpoint"),
        (with(container), "container", "it answered 401", "network policy"),
        (
            with(json!({"from": "instance", "uri": closed})),
            "instance",
            "no connection",
            "hop limit",
        ),
        (
            with(json!({"from": "process", "process": format!("'{program}'")})),
            "program",
            "no ticket",
            "by hand",
        ),
    ] {
        let run = setup.args(&["check", "hips"]).run();
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        let mut lines =
            run.stdout.lines().skip_while(|line| !line.contains("FAILED   credentials"));
        let (failed, advice) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        assert!(
            failed.contains(source) && failed.contains(said),
            "{source}, {said}: {}",
            run.stdout
        );
        assert!(
            advice.contains("fix: ") && advice.contains(fix),
            "{source}, {fix}: {}",
            run.stdout
        );
    }
}

/// It took 30 s.
#[test]
fn a_check_does_not_wait_longer_for_a_provider_than_it_says() {
    let origin = origin();
    let credentials = json!({"from": "process", "process": "/bin/sleep 100"});
    let setup = profile(Setup::bare(), &origin, &credentials);
    std::thread::scope(|scope| {
        for arguments in [&["check"][..], &["check", "hips@sky/a.png"]] {
            let setup = setup.clone();
            scope.spawn(move || {
                let began = Instant::now();
                let run = setup.args(arguments).run();
                assert_eq!(run.status.code(), Some(1), "{run:?}");
                assert!(run.stdout.contains("no answer within 7 s"), "{}", run.stdout);
                assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
            });
        }
    });
}

#[test]
fn mistakes_of_providers_are_reported_at_start() {
    let text = "\
profiles:
  a:
    endpoint: http://127.0.0.1:9
    credentials: {from: web_identity}
  b:
    endpoint: http://store.example:9
    credentials: {from: web_identity, role_arn: r, web_identity_token_file: /t}
  c:
    endpoint: http://127.0.0.1:9
    credentials: {from: container, uri: \"http://10.0.0.1/x\"}
  d:
    endpoint: http://127.0.0.1:9
    credentials: {from: process, process: \"a 'b\"}
  e:
    endpoint: http://127.0.0.1:9
    credentials: {role_arn: r}
  f:
    endpoint: http://key:canary@127.0.0.1:9
    credentials: {from: instance}
  g:
    endpoint: http://127.0.0.1:9
    credentials: {from: instance, token_file: /t}
";
    assert_mistakes(
        text,
        &[
            (4, "needs web_identity_token_file, or AWS_WEB_IDENTITY_TOKEN_FILE"),
            (7, "needs credentials.sts_endpoint"),
            (10, "must begin with https://, or be an address of this machine"),
            (13, "quotes must be closed"),
            (16, "needs an access key that assumes the role"),
            (19, "has keys in the endpoint URL: choose one"),
            (22, "is not used: it needs from: container"),
        ],
    );
}
