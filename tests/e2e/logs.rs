//! The production log: one line per request, the old field names, and never a secret.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::client::PATIENCE;
use crate::faulty::{self, Faulty, runtime};
use crate::gateway::{ACCESS_KEY, SECRET_KEY, Setup};
use crate::origin::Origin;

fn access_lines(lines: &[crate::log::Line], id: &str) -> Vec<Value> {
    let about = |json: &&Value| json["request_id"] == id && json.get("httpRequest").is_some();
    lines.iter().filter_map(|line| line.json.as_ref()).filter(about).cloned().collect()
}

#[test]
fn an_object_request_is_one_line_with_the_old_names_and_the_new_ones() {
    let origin = Origin::start();
    origin.put("a b.png", "ten bytes!");
    let gateway = Setup::new(&origin.url()).profile("hips", &origin.url()).start();
    let answer = gateway.object_with(
        "hips@sky/a%20b.png?q=1",
        &[("X-Auth-Request-User", "ada"), ("User-Agent", "curl/8"), ("X-Request-ID", "one-line")],
    );
    assert_eq!(answer.status(), 200);
    let line = gateway.line_of_id("one-line");
    assert_eq!(line["event"], "s3 response", "{line}");
    assert_eq!(line["logger"], "s3proxy", "{line}");
    assert_eq!(line["severity"], "info", "{line}");
    assert_eq!(line["user"], "ada", "{line}");
    assert_eq!(line["path"], "s3://hips@sky/a b.png", "{line}");
    assert_eq!(line["bytes_sent"], 10, "{line}");
    assert_eq!(line["profile"], "hips", "{line}");
    assert_eq!(line["status"], 200, "{line}");
    let request = &line["httpRequest"];
    assert_eq!(request["requestMethod"], "GET", "{line}");
    assert_eq!(request["userAgent"], "curl/8", "{line}");
    assert_eq!(request["remoteIp"], "127.0.0.1", "{line}");
    let url = request["requestUrl"].as_str().unwrap_or_default();
    assert!(url.contains("/s3proxy/s3/hips@sky/a"), "{line}");
    for number in ["duration_ms", "ttfb_ms", "upstream_ms"] {
        assert!(line[number].is_number(), "{number} in {line}");
    }
    assert!(line.get("cache").is_some(), "{line}");
    let timestamp = line["timestamp"].as_str().or_else(|| line["time"].as_str());
    assert!(timestamp.is_some_and(|t| t.starts_with("20") && t.ends_with('Z')), "{line}");
    assert_eq!(access_lines(&gateway.lines(), "one-line").len(), 1);
}

#[test]
fn every_line_is_one_json_object_and_every_request_one_line() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let gateway = Setup::new(&origin.url()).start();
    let requests = [
        ("GET", "/s3proxy/s3/sky/a.png", 200),
        ("HEAD", "/s3proxy/s3/sky/a.png", 200),
        ("GET", "/s3proxy/s3/sky/missing.png", 404),
        ("GET", "/s3proxy/s3/sky/a.exe", 415),
        ("GET", "/s3proxy/s3/sky/..", 400),
        ("POST", "/s3proxy/s3/sky/a.png", 405),
        ("GET", "/s3proxy/", 200),
        ("GET", "/s3proxy", 307),
        ("GET", "/foo", 404),
        ("GET", "/s3proxy/s3/none@sky/a.png", 404),
    ];
    for (nth, (method, path, status)) in requests.iter().enumerate() {
        let id = format!("request-{nth}");
        let answer = gateway.send(method, path, &[("X-Request-ID", &id)]);
        assert_eq!(answer.status(), *status, "{method} {path}");
    }
    let lines = gateway.lines();
    for line in &lines {
        assert!(line.json.is_some(), "not JSON: {}", line.text);
    }
    for (nth, (method, path, status)) in requests.iter().enumerate() {
        let found = access_lines(&lines, &format!("request-{nth}"));
        assert_eq!(found.len(), 1, "{method} {path}: {found:?}");
        assert_eq!(found[0]["status"], json!(status), "{method} {path}: {found:?}");
        assert_eq!(found[0]["httpRequest"]["requestMethod"], json!(method), "{found:?}");
    }
}

#[test]
fn probes_are_logged_only_at_debug() {
    let spy = Faulty::spy();
    for (level, logged) in [("INFO", 0), ("info", 0), ("DEBUG", 1)] {
        let gateway = Setup::new(&spy.url()).env("S3PROXY_LOG_LEVEL", level).start();
        gateway.send("GET", "/", &[("X-Request-ID", "the-probe")]);
        let found = access_lines(&gateway.lines(), "the-probe");
        assert_eq!(found.len(), logged, "{level}: {found:?}");
        if level == "DEBUG" {
            assert_eq!(found[0]["severity"], "debug", "{found:?}");
        }
    }
}

#[test]
fn at_error_level_ordinary_requests_are_silent() {
    let spy = Faulty::spy();
    let mut gateway = Setup::new(&spy.url()).env("S3PROXY_LOG_LEVEL", "error").start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    gateway.signal("INT");
    gateway.await_end(PATIENCE);
    assert_eq!(gateway.log_text(), "");
}

#[test]
fn development_log_lines_are_readable() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .env("S3PROXY_PROFILE", "development")
        .tolerate("")
        .tolerate("sky/a.png");
    let mut gateway = gateway.start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    gateway.signal("INT");
    gateway.await_end(PATIENCE);
    let log = gateway.log_text();
    let line = log.lines().find(|l| l.contains("s3://sky/a.png"));
    let line = line.unwrap_or_else(|| panic!("the request in {log}"));
    assert!(line.contains("200") && !line.starts_with('{'), "{line}");
}

#[test]
fn a_client_cannot_forge_a_log_line() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let forged = "x\",\"severity\":\"error\",\"x\":\"";
    let answer = gateway.object_with(
        "sky/a%0A%7B%22event%22%3A%22forged%22%7D.png",
        &[("User-Agent", forged), ("X-Auth-Request-User", "a\u{e9}\u{ff}"), ("Referer", forged)],
    );
    assert_eq!(answer.status(), 200);
    for line in gateway.lines() {
        let json = line.json.unwrap_or_else(|| panic!("not JSON: {}", line.text));
        assert_ne!(json["event"], "forged");
        assert_ne!(json["severity"], "error");
    }
    let line = gateway.line_of(&answer);
    assert_eq!(line["httpRequest"]["userAgent"], forged, "{line}");
}

#[test]
fn bytes_sent_are_those_of_the_body_on_the_wire() {
    let origin = Origin::start();
    origin.put("a.png", "x".repeat(100_000));
    let gateway = Setup::new(&origin.url()).start();
    for (method, headers, sent) in [
        ("GET", &[][..], 100_000),
        ("HEAD", &[], 0),
        ("GET", &[("Range", "bytes=0-9")], 10),
        ("GET", &[("If-None-Match", "*")], 0),
    ] {
        let answer = gateway.send(method, "/s3proxy/s3/sky/a.png", headers);
        let line = gateway.line_of(&answer);
        assert_eq!(line["bytes_sent"], sent, "{method} {headers:?}: {line}");
        assert_eq!(line["status"], answer.status(), "{method} {headers:?}: {line}");
    }
}

#[test]
fn a_client_that_disconnects_is_not_an_error() {
    let upstream = Faulty::always(vec![
        faulty::head(200, &[("Content-Length", "1000000")]),
        faulty::Step::Flood(faulty::MORE_THAN_A_BUFFER),
        faulty::Step::Stall,
    ]);
    let gateway = Setup::new(&upstream.url()).start();
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[("X-Request-ID", "gone")]);
    assert!(client.head().is_some());
    drop(client);
    let line = gateway.line_of_id("gone");
    assert!(matches!(line["severity"].as_str(), Some("info" | "warning")), "{line}");
}

#[test]
fn no_secret_is_in_any_log_or_answer() {
    let token = "canary-session-token-of-the-suite";
    let header = "canary-upstream-header-of-the-suite";
    let upstream = Faulty::scripted(|request, _| match request.target.as_str() {
        "/sky/denied.png" => {
            // AWS's own error document repeats the string that was signed.
            let echo = String::from_utf8_lossy(&request.raw).into_owned();
            faulty::answer(403, &[("x-amz-echo", "y")], echo.as_bytes())
        }
        "/sky/broken.png" => vec![faulty::Step::Reset],
        "/sky/moved.png" => {
            let target = request.header("authorization").unwrap_or_default().to_owned();
            faulty::answer(301, &[("Location", &format!("/{target}"))], b"")
        }
        _ => faulty::object(b"tile"),
    });
    let keys = format!("aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    let setup = Setup::new(&upstream.url())
        .env("S3PROXY_LOG_LEVEL", "DEBUG")
        .env("LSST_RESOURCES_S3_PROFILE_hips", &upstream.url())
        .env("LSST_RESOURCES_S3_PROFILE_orphan", "http://who:canary%2FSecretKey@127.0.0.1:9")
        .ini(&format!("[hips]\n{keys}aws_session_token = {token}\n"))
        .ini(&format!("[unused]\n{keys}"))
        .yaml(json!({"profiles": {"hips": {"upstream_headers": {"x-amz-customer-key": header}}}}))
        .tolerate("");
    let printed = setup.clone().args(&["config"]).run();
    let mut seen = format!("{}{}", printed.stdout, printed.stderr);
    let mut gateway = setup.start();
    for tail in [
        "hips@sky/a.png",
        "hips@sky/denied.png",
        "hips@sky/broken.png",
        "hips@sky/moved.png",
        "hips@sky/..",
        "hips@sky/a.exe",
        "sky/a.png",
        "sky/denied.png",
        "orphan@sky/a.png",
    ] {
        for method in ["GET", "HEAD"] {
            let answer = gateway.send(method, &format!("/s3proxy/s3/{tail}"), &[]);
            seen.push_str(&format!("{:?} {}", answer.head, String::from_utf8_lossy(&answer.body)));
        }
    }
    gateway.signal("TERM");
    gateway.signal("INT");
    gateway.await_end(PATIENCE);
    let log = gateway.log_text();
    assert!(log.contains("denied.png"), "the log was read: {log}");
    seen.push_str(&log);
    let encoded = SECRET_KEY.replace('/', "%2F").replace('+', "%2B");
    let hexadecimal: String = SECRET_KEY.bytes().map(|b| format!("{b:02x}")).collect();
    for secret in [
        SECRET_KEY,
        &encoded,
        &hexadecimal,
        "canary/SecretKey",
        "canary%2FSecretKey",
        token,
        header,
        "Signature=",
    ] {
        if let Some(at) = seen.find(secret) {
            let from = at.saturating_sub(200);
            panic!("{secret} was shown: {}", String::from_utf8_lossy(&seen.as_bytes()[from..at]));
        }
    }
}

#[test]
fn control_characters_of_a_key_are_escaped_in_the_log() {
    let spy = Faulty::spy();
    let setup = Setup::new(&spy.url()).env("S3PROXY_PROFILE", "development").tolerate("");
    let mut gateway = setup.start();
    let answer = gateway.object("sky/a%1B%5B31mred%0D%0Aforged%07%7F%C2%9B.png");
    assert_eq!(answer.status(), 200);
    gateway.signal("INT");
    gateway.await_end(PATIENCE);
    let log = gateway.log_text();
    let about: Vec<_> = log.lines().filter(|l| l.contains("red") || l.contains("forged")).collect();
    assert_eq!(about.len(), 1, "{log:?}");
    assert!(about[0].contains("s3://sky/a") && about[0].contains(".png"), "{about:?}");
    assert!(!log.chars().any(|c| c.is_control() && c != '\n'), "{log:?}");
}

#[test]
fn a_client_that_resets_while_we_refuse_is_no_warning() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).start();
    let deadline = Instant::now() + PATIENCE;
    let mut sent = 0;
    let gone = |lines: &[crate::log::Line]| {
        lines.iter().any(|l| l.json.as_ref().is_some_and(|json| json["cause"] == "client_gone"))
    };
    // Whether the reset arrives before the answer is a race.
    while !gone(&gateway.lines()) {
        assert!(Instant::now() < deadline, "{sent} resets, all unnoticed");
        for _ in 0..20 {
            sent += 1;
            let head = format!(
                "GET /no-such-page HTTP/1.1\r\nHost: a.test\r\nX-Request-ID: reset-{sent}\r\n\r\n"
            );
            runtime().block_on(async {
                let mut stream =
                    tokio::net::TcpStream::connect(gateway.address).await.expect("accepted");
                stream.write_all(head.as_bytes()).await.expect("written");
                stream.set_zero_linger().expect("a reset when dropped");
            });
        }
    }
    let lines = gateway.lines();
    for nth in 1..=sent {
        for line in access_lines(&lines, &format!("reset-{nth}")) {
            assert_eq!(line["severity"], "info", "{line}");
        }
        let times = access_lines(&lines, &format!("reset-{nth}")).len();
        assert!(times <= 1, "reset-{nth} was logged {times} times");
    }
}

#[test]
fn an_unread_log_delays_no_request() {
    const PROBES: usize = 6000;
    const CLIENTS: usize = 4;
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .env("S3PROXY_LOG_LEVEL", "DEBUG")
        .tolerate("lines were dropped")
        .log_unread()
        .start();
    let before = gateway.peak_memory();
    // Long lines, which first fill the pipe, then the gateway's log buffer.
    let path = format!("/{}", "a".repeat(2000));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = gateway.connect();
                for nth in 0..PROBES / CLIENTS {
                    let began = Instant::now();
                    let answer = client.exchange("GET", &path, &[]);
                    assert_eq!(answer.status(), 404);
                    let took = began.elapsed();
                    assert!(took < Duration::from_secs(1), "probe {nth}: {took:?}");
                }
            });
        }
    });
    let added = gateway.peak_memory().saturating_sub(before);
    assert!(added < 32 << 20, "{added} bytes");
    gateway.read_log();
    gateway.expect_log("the loss", |line| {
        line["severity"] == "warning"
            && line["event"].as_str().is_some_and(|event| event.contains("lines were dropped"))
    });
}

#[test]
fn an_ipv4_client_of_a_listener_on_every_address_is_logged_by_its_ipv4_address() {
    let spy = Faulty::spy();
    let port = crate::gateway::free_port();
    let gateway = Setup::new(&spy.url()).listen(&format!("[::]:{port}")).start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    for (forwarded, ip) in [
        (None, "127.0.0.1"),
        (Some("::ffff:192.0.2.7"), "192.0.2.7"),
        (Some("2001:db8::7"), "2001:db8::7"),
    ] {
        let headers: Vec<_> = forwarded.iter().map(|from| ("X-Forwarded-For", *from)).collect();
        let answer = crate::client::send(address, "GET", "/s3proxy/s3/sky/a.png", &headers);
        assert_eq!(gateway.line_of(&answer)["httpRequest"]["remoteIp"], ip);
    }
}
