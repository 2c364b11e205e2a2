//! A store that fails: the client's answer, the number of attempts, and the deadlines.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Ending};
use crate::faulty::{self, Faulty, Gate, Step};
use crate::gateway::{Gateway, Setup, free_port};
use crate::tally::trial;

/// Exchanges in which the store fails.
pub(crate) const FAULTS: &str = "faults of the store";

/// Short deadlines, so that a matrix of stalls takes seconds.
pub(crate) fn hasty(store: &str) -> Setup {
    Setup::new(store).yaml(json!({"upstream": {
        "connect_timeout": "500ms",
        "first_byte_timeout": "500ms",
        "read_timeout": "500ms",
        "total_timeout": "2s",
    }}))
}

/// The JSON refusal of a failed object request; its line in the log is taken as expected.
pub(crate) fn assert_failed(gateway: &Gateway, answer: &Answer, statuses: &[u16]) -> Value {
    let _trial = trial(FAULTS);
    assert!(statuses.contains(&answer.status()), "{answer:?}, not one of {statuses:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.ending, Ending::Whole, "{answer:?}");
    let body = answer.json();
    assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    assert!(body["cause"].as_str().is_some_and(|c| !c.is_empty()), "{body}");
    assert_eq!(body["request_id"], json!(answer.request_id()));
    let line = gateway.line_of(answer);
    assert_eq!(line["status"].to_string().trim_matches('"'), answer.status().to_string(), "{line}");
    assert_eq!(answer.header("cache-control").unwrap_or("no-store"), "no-store", "{answer:?}");
    line
}

#[test]
fn a_refused_connection_fails_at_once_after_at_most_two_attempts() {
    let gateway = hasty(&format!("http://127.0.0.1:{}", free_port())).tolerate("efused").start();
    let began = Instant::now();
    let answer = gateway.object("sky/a.png");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_failed(&gateway, &answer, &[502, 504]);
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn a_store_whose_process_hangs_is_given_up_in_time() {
    // The kernel accepts the connection; no process reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gateway = hasty(&format!("http://{}", listener.local_addr().expect("an address")))
        .tolerate("imed")
        .start();
    let began = Instant::now();
    let answer = gateway.object("sky/a.png");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_failed(&gateway, &answer, &[504]);
}

#[test]
fn a_store_that_never_answers_is_a_timeout_within_the_deadline() {
    for (what, steps) in [
        ("nothing", vec![Step::Stall]),
        ("half a head", vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Step::Stall]),
    ] {
        let upstream = Faulty::always(steps);
        let gateway = hasty(&upstream.url()).tolerate("imed").start();
        for method in ["GET", "HEAD"] {
            let _trial = trial(FAULTS);
            upstream.clear();
            let began = Instant::now();
            let answer = gateway.send(method, "/s3proxy/s3/sky/a.png", &[]);
            let took = began.elapsed();
            assert_eq!(answer.status(), 504, "{what} {method}");
            assert!(took >= Duration::from_millis(400), "{what} {method}: {took:?}");
            assert!(took < Duration::from_secs(3), "{what} {method}: {took:?}");
            assert!(upstream.count() <= 2, "{what} {method}: {} attempts", upstream.count());
        }
        assert_eq!(gateway.get("/").status(), 200);
    }
}

#[test]
fn a_head_that_trickles_in_is_cut_at_the_total_deadline() {
    let upstream = Faulty::scripted(|_, _| {
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\nX-Slow: ".to_vec())];
        for _ in 0..100 {
            steps.push(Step::Pause(Duration::from_millis(100)));
            steps.push(Step::Send(b"x".to_vec()));
        }
        steps
    });
    let gateway = hasty(&upstream.url()).tolerate("imed").start();
    let began = Instant::now();
    let answer = gateway.object("sky/a.png");
    assert_failed(&gateway, &answer, &[504]);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn a_connection_that_breaks_before_the_answer_is_tried_once_more() {
    for (what, step) in [("close", Step::Close), ("reset", Step::Reset)] {
        let first = step.clone();
        let upstream = Faulty::scripted(move |_, nth| match nth {
            0 => vec![first.clone()],
            _ => faulty::object(b"tile"),
        });
        let gateway = Setup::new(&upstream.url()).tolerate("retry").tolerate("Upstream").start();
        {
            let _trial = trial(FAULTS);
            let answer = gateway.object("sky/a.png");
            assert_eq!((answer.status(), answer.text()), (200, "tile"), "{what}");
            assert_eq!(upstream.count(), 2, "{what}");
        }

        let upstream = Faulty::always(vec![step]);
        let gateway = Setup::new(&upstream.url()).tolerate("retry").tolerate("Upstream").start();
        let answer = gateway.object("sky/a.png");
        assert_failed(&gateway, &answer, &[502]);
        assert_eq!(upstream.count(), 2, "{what}: one retry at most");
    }
}

#[test]
fn every_attempt_is_signed_again() {
    let upstream = Faulty::scripted(|_, nth| match nth {
        0 => vec![Step::Close],
        _ => faulty::object(b"tile"),
    });
    let gateway = Setup::new(&upstream.url()).tolerate("retry").tolerate("Upstream").start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
    for request in upstream.requests() {
        assert_eq!(
            request.names(),
            ["authorization", "host", "x-amz-content-sha256", "x-amz-date"],
            "{request:?}"
        );
    }
}

#[test]
fn retries_can_be_switched_off() {
    let upstream = Faulty::always(vec![Step::Close]);
    let gateway = Setup::new(&upstream.url())
        .yaml(json!({"upstream": {"retries": 0}}))
        .tolerate("Upstream")
        .start();
    let answer = gateway.object("sky/a.png");
    assert_failed(&gateway, &answer, &[502]);
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_kept_connection_that_the_store_has_closed_is_not_an_error() {
    let upstream = Faulty::scripted(|_, _| {
        let mut steps = faulty::object(b"tile");
        steps.push(Step::Close);
        steps
    });
    let gateway = Setup::new(&upstream.url()).tolerate("retry").tolerate("Upstream").start();
    for _ in 0..10 {
        let _trial = trial(FAULTS);
        assert_eq!(gateway.object("sky/a.png").text(), "tile");
    }
}

#[test]
fn a_pool_of_dead_connections_fails_no_request() {
    const CONNECTIONS: usize = 4;
    for memory in ["0", "64MiB"] {
        let gate = Gate::new();
        let held = gate.clone();
        // Each connection serves one request and is reset by the next.
        let upstream = Faulty::scripted(move |request, _| match request.before {
            0 => [vec![Step::Wait(held.clone())], faulty::object(b"tile")].concat(),
            _ => vec![Step::Reset],
        });
        let gateway = Setup::new(&upstream.url()).env("S3PROXY_CACHE_MEMORY", memory).start();
        let mut waiting: Vec<_> = (0..CONNECTIONS)
            .map(|nth| {
                let mut client = gateway.connect();
                client.request("GET", &format!("/s3proxy/s3/sky/warm{nth}.png"), &[]);
                client
            })
            .collect();
        upstream.await_requests(CONNECTIONS);
        gate.open();
        for client in &mut waiting {
            assert_eq!(client.answer("GET").expect("an answer").text(), "tile");
        }
        for nth in 0..CONNECTIONS {
            let _trial = trial(FAULTS);
            let answer = gateway.object(&format!("sky/{nth}.png"));
            assert_eq!((answer.status(), answer.text()), (200, "tile"), "{memory} {nth}");
            assert!(gateway.line_of(&answer)["upstream_attempts"].as_u64() <= Some(2));
        }
        assert!(upstream.requests().iter().any(|request| request.before > 0), "none was reused");
    }
}

#[test]
fn statuses_of_the_store_become_the_gateways_own() {
    for (store, code, client, attempts) in [
        (400, "InvalidRequest", 502, 1),
        (400, "AuthorizationHeaderMalformed", 502, 1),
        (401, "Unauthorized", 403, 1),
        (403, "AccessDenied", 403, 1),
        (403, "SignatureDoesNotMatch", 403, 1),
        (403, "InvalidAccessKeyId", 403, 1),
        (403, "RequestTimeTooSkewed", 403, 1),
        (404, "NoSuchKey", 404, 1),
        (404, "NoSuchBucket", 404, 1),
        (405, "MethodNotAllowed", 502, 1),
        (409, "OperationAborted", 502, 1),
        (429, "TooManyRequests", 503, 2),
        (500, "InternalError", 502, 2),
        (501, "NotImplemented", 502, 2),
        (502, "BadGateway", 502, 2),
        (503, "SlowDown", 503, 2),
        (504, "GatewayTimeout", 502, 2),
    ] {
        let upstream = Faulty::always(faulty::s3_error(store, code));
        let gateway = Setup::new(&upstream.url()).start();
        let answer = gateway.object("sky/a.png");
        assert_eq!(answer.status(), client, "{store} {code}");
        let line = if client == 404 {
            let _trial = trial(FAULTS);
            gateway.line_of(&answer)
        } else {
            let line = assert_failed(&gateway, &answer, &[client]);
            let text = line.to_string();
            assert!(text.contains(code), "{store} {code}: the log names the store's code: {text}");
            line
        };
        let text = line.to_string();
        assert!(text.contains("tx000scripted"), "{store} {code}: the store's request id: {text}");
        if client == 503 {
            let after = answer.header("retry-after").and_then(|s| s.parse::<u32>().ok());
            assert!(after.is_some_and(|s| (1..=60).contains(&s)), "{store}: {answer:?}");
        } else {
            assert_eq!(answer.header("retry-after"), None, "{store} {code}");
        }
        let asked = upstream.count();
        assert!((1..=attempts).contains(&asked), "{store} {code}: {asked} attempts");
    }
}

#[test]
fn redirects_of_the_store_are_never_followed() {
    let elsewhere = Faulty::spy();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/sky/a.png", elsewhere.url());
        let upstream = Faulty::scripted(move |_, _| {
            let headers = [("Location", location.as_str()), ("x-amz-bucket-region", "eu-west-1")];
            faulty::answer(status, &headers, b"<Error><Code>PermanentRedirect</Code></Error>")
        });
        let gateway = Setup::new(&upstream.url()).start();
        for method in ["GET", "HEAD"] {
            let _trial = trial(FAULTS);
            let answer = gateway.send(method, "/s3proxy/s3/sky/a.png", &[]);
            assert_eq!(answer.status(), 502, "{method} {status}");
            assert_eq!(answer.header("location"), None, "{method} {status}");
            gateway.line_of(&answer);
        }
        assert!(upstream.count() <= 4, "{status}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_profile_may_take_403_for_missing() {
    let upstream = Faulty::always(faulty::s3_error(403, "AccessDenied"));
    let gateway = Setup::new(&upstream.url())
        .profile("hips", &upstream.url())
        .profile_settings("hips", &json!({"missing_on_403": true}))
        .start();
    let missing = gateway.object("hips@sky/a.png");
    assert_eq!(missing.status(), 404);
    let message = missing.refused("object_not_found", "message");
    assert_eq!(message, "Not found: s3://hips@sky/a.png");
    let denied = gateway.object("sky/a.png");
    assert_failed(&gateway, &denied, &[403]);
}

#[test]
fn an_endless_head_of_the_store_is_given_up() {
    let upstream = Faulty::scripted(|_, _| {
        let line = format!("X-Padding: {}\r\n", "x".repeat(1000)).into_bytes();
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n".to_vec())];
        steps.extend((0..4000).map(|_| Step::Send(line.clone())));
        steps
    });
    let gateway = hasty(&upstream.url()).start();
    let answer = gateway.object("sky/a.png");
    assert_failed(&gateway, &answer, &[502, 504]);
}

#[test]
fn a_range_other_than_the_one_asked_for_is_not_passed_on() {
    for content_range in ["bytes 4-7/100", "bytes 0-7/100", "bytes 0-3/2", "items 0-3/100", ""] {
        let upstream = Faulty::scripted(move |_, _| {
            let mut headers = faulty::OBJECT_HEADERS.to_vec();
            headers.push(("Content-Range", content_range));
            faulty::answer(206, &headers, b"tile")
        });
        let gateway = Setup::new(&upstream.url()).start();
        let answer = gateway.object_with("sky/a.png", &[("Range", "bytes=0-3")]);
        assert_failed(&gateway, &answer, &[502]);
    }
    let upstream = Faulty::scripted(|_, _| {
        let mut headers = faulty::OBJECT_HEADERS.to_vec();
        headers.push(("Content-Range", "bytes 0-3/100"));
        faulty::answer(206, &headers, b"tile")
    });
    let gateway = Setup::new(&upstream.url()).start();
    let answer = gateway.object("sky/a.png");
    assert_failed(&gateway, &answer, &[502]);
}

#[test]
fn an_answer_that_is_not_http_is_a_bad_gateway() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\ntiles",
        "HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\ntiles",
    ] {
        let upstream = Faulty::always(vec![Step::Send(garbage.as_bytes().to_vec()), Step::Close]);
        let gateway = Setup::new(&upstream.url()).tolerate("Upstream").tolerate("Invalid").start();
        let mut client = gateway.connect();
        client.request("GET", "/s3proxy/s3/sky/a.png", &[("X-Request-ID", "garbage")]);
        let _trial = trial(FAULTS);
        let answer = client.answer("GET");
        let acceptable =
            answer.as_ref().is_none_or(|a| a.status() == 502 || a.ending == Ending::Cut);
        assert!(acceptable, "{garbage:?}: {answer:?}");
        gateway.line_of_id("garbage");
        assert!(upstream.count() <= 2, "{garbage:?}");
    }
}

#[test]
fn the_start_of_a_next_request_does_not_lengthen_the_wait_for_a_dead_store() {
    let upstream = Faulty::always(vec![Step::Stall]);
    let gateway = Setup::new(&upstream.url())
        .yaml(json!({"upstream": {
            "first_byte_timeout": "500ms",
            "read_timeout": "8s",
            "total_timeout": "9s",
        }}))
        .start();
    let mut client = gateway.connect();
    let began = Instant::now();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
    upstream.await_requests(1);
    client.send("GET /s3p");
    let answer = client.answer("GET").expect("an answer");
    let took = began.elapsed();
    assert_failed(&gateway, &answer, &[504]);
    // Less than `read_timeout`.
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(7), "{took:?}");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_store_that_sent_retry_after_receives_no_request_until_then() {
    for (headers, attempts, expected) in
        [(&[("Retry-After", "7")][..], 1, Some("7")), (&[][..], 2, None)]
    {
        let upstream = Faulty::always(faulty::answer(503, headers, b""));
        let gateway = Setup::new(&upstream.url()).start();
        let answer = gateway.object("sky/a.png");
        assert_failed(&gateway, &answer, &[503]);
        assert_eq!(upstream.count(), attempts, "{headers:?}");
        let after = answer.header("retry-after");
        assert!(
            after.is_some() && (expected.is_none() || after == expected),
            "{headers:?}: {answer:?}"
        );
    }
}

#[test]
fn a_refused_connection_to_the_only_address_is_not_tried_again_at_once() {
    let gateway = hasty(&format!("http://127.0.0.1:{}", free_port())).start();
    for _ in 0..5 {
        let began = Instant::now();
        let answer = gateway.object("sky/a.png");
        let took = began.elapsed();
        let line = assert_failed(&gateway, &answer, &[502]);
        assert_eq!(line["upstream_attempts"], 2, "{line}");
        assert_eq!(line["cause"], "upstream_unreachable", "{line}");
        assert!(took >= Duration::from_millis(20), "{took:?}");
    }
}
