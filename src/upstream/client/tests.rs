//! Fetches from stores that answer by script, well or not.

use std::net::SocketAddr;
use std::time::Instant;

use crate::profile::Profile;
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::upstream::endpoints::StoreEndpoints;
use crate::upstream::resolve::EndpointAddresses;

use super::*;
use script::{PATIENCE, Script, Step, answer, error, send, whole};

mod addresses;
mod bodies;
mod script;

fn config() -> UpstreamConfig {
    UpstreamConfig {
        connect_timeout: PATIENCE,
        first_byte_timeout: PATIENCE,
        read_timeout: PATIENCE,
        total_timeout: PATIENCE,
        retries: 1,
        idle_timeout: PATIENCE,
        keepalive_pool_size: 4,
        probe: false,
        dns_refresh: PATIENCE,
        max_in_flight: 16,
        client_share: 50,
        queue_timeout: Duration::from_secs(1),
        ca_file: None,
        proxy: None,
    }
}

/// A short while, for what is to run out.
const SHORT: Duration = Duration::from_millis(100);

/// A store without credentials at these addresses.
fn store_at(sockets: &[SocketAddr]) -> Store {
    let endpoint = Endpoint::parse(&format!("http://{}", sockets[0])).unwrap();
    let profile = Profile::unsigned(None, endpoint);
    let known = || Arc::new(EndpointAddresses::known(sockets));
    let endpoints = StoreEndpoints::new(&profile, None, |_| known());
    Store::new(Arc::new(profile), endpoints, crate::upstream::limits_of(&config()))
}

async fn ask(fetcher: &StoreClient, store: &Store, question: &FetchRequest) -> FetchResult {
    let endpoint = &store.profile.endpoint;
    let target = endpoint.target(Addressing::Path, "sky", b"a b.png");
    let fetch = fetcher.fetch(store, &target, question);
    tokio::time::timeout(PATIENCE, fetch).await.expect("an outcome in time")
}

/// One question to this store by a fetcher of its own.
async fn once(script: &Script, config: &UpstreamConfig, question: &FetchRequest) -> FetchResult {
    ask(&StoreClient::new(config), &store_at(&[script.address]), question).await
}

async fn plainly(script: &Script) -> FetchResult {
    once(script, &config(), &FetchRequest::default()).await
}

/// The body of an object to its end, or what it ended in.
async fn read(outcome: Result<FetchResponse, Refusal>) -> Result<String, Refusal> {
    let FetchResponse::Object { mut body, .. } = outcome? else { panic!("an object") };
    let mut text = Vec::new();
    while let Some(piece) = body.next().await? {
        assert!(!piece.is_empty());
        text.extend_from_slice(&piece);
    }
    assert_eq!(body.next().await, Ok(None), "the end is the end");
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn the_request_holds_what_was_asked_and_nothing_else() {
    let script = Script::always(vec![whole(200, "tile")]).await;
    let question = FetchRequest {
        if_none_match: Some(HeaderValue::from_static("\"v1\"")),
        if_modified_since: Some(HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
        if_match: Some(HeaderValue::from_static("\"v2\"")),
        range: Some(ByteRange::FromTo { first: 5, last: None }),
        head_only: false,
        ..FetchRequest::default()
    };
    let host = script.address;
    for (question, expected) in [
        (FetchRequest::default(), format!("GET /sky/a%20b.png HTTP/1.1\r\nhost: {host}\r\n\r\n")),
        (
            FetchRequest { head_only: true, ..FetchRequest::default() },
            format!("HEAD /sky/a%20b.png HTTP/1.1\r\nhost: {host}\r\n\r\n"),
        ),
        (
            question,
            format!(
                "GET /sky/a%20b.png HTTP/1.1\r\nhost: {host}\r\nrange: bytes=5-\r\n\
                 if-match: \"v2\"\r\nif-none-match: \"v1\"\r\n\
                 if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
            ),
        ),
    ] {
        once(&script, &config(), &question).await.outcome.unwrap();
        let mut sent: Vec<_> =
            script.seen().requests.pop().unwrap().lines().map(str::to_lowercase).collect();
        let mut expected: Vec<_> = expected.lines().map(str::to_lowercase).collect();
        sent.sort();
        expected.sort();
        assert_eq!(sent, expected);
    }
}

#[tokio::test]
async fn answers_without_an_object_are_refused_and_keep_the_connection() {
    let head = |lines: &str| vec![answer(lines, "")];
    for (steps, refusal, code) in [
        (vec![error(404, "NoSuchKey")], Refusal::ObjectNotFound, Some("NoSuchKey")),
        (vec![error(403, "AccessDenied")], Refusal::UpstreamForbidden, Some("AccessDenied")),
        (vec![error(429, "SlowDown")], Refusal::UpstreamBusy(5), Some("SlowDown")),
        (head("503 Busy\nRetry-After: 7\nContent-Length: 0"), Refusal::UpstreamBusy(7), None),
        (head("307 There\nLocation: /\nContent-Length: 0"), Refusal::UpstreamRedirect, None),
        (head("304 Same"), Refusal::UpstreamProtocol, None),
        (vec![whole(412, "")], Refusal::UpstreamProtocol, None),
        (vec![whole(416, "")], Refusal::UpstreamProtocol, None),
        (head("204 Nothing"), Refusal::UpstreamError, None),
    ] {
        let script = Script::always(steps).await;
        let (fetcher, store) = (StoreClient::new(&config()), store_at(&[script.address]));
        for attempt in 1..=2 {
            let fetched = ask(&fetcher, &store, &FetchRequest::default()).await;
            assert_eq!(fetched.outcome.unwrap_err(), refusal);
            assert_eq!(fetched.report.code.as_deref(), code, "{refusal:?}");
            assert_eq!(fetched.report.attempts, 1, "{refusal:?}");
            assert_eq!(script.seen().requests.len(), attempt, "{refusal:?}");
        }
        let kept = if refusal == Refusal::UpstreamError { 2 } else { 1 };
        assert_eq!(script.seen().connections, kept, "{refusal:?}");
    }
}

#[tokio::test]
async fn the_report_says_what_the_log_needs() {
    let head = "404 Not Found\nx-amz-request-id: tx0-1\nContent-Length: 37";
    let steps = vec![answer(head, "<Error><Code>NoSuchKey</Code></Error>")];
    let report = plainly(&Script::always(steps).await).await.report;
    assert!(report.duration > Duration::ZERO && report.duration < PATIENCE);
    assert_eq!(
        report,
        FetchReport {
            duration: report.duration,
            attempts: 1,
            status: Some(404),
            code: Some("NoSuchKey".to_owned()),
            request_id: Some("tx0-1".to_owned()),
            detail: None,
            head_by_get: false,
            endpoint: Some(0),
            hedge: None,
        }
    );
}

#[tokio::test]
async fn a_304_counts_only_where_it_was_asked_for() {
    let script = Script::always(vec![answer("304 Same\nETag: \"v1\"", "")]).await;
    let (fetcher, store) = (StoreClient::new(&config()), store_at(&[script.address]));
    let tag = HeaderValue::from_static("\"v1\"");
    let by_tag = FetchRequest { if_none_match: Some(tag.clone()), ..FetchRequest::default() };
    let by_date = FetchRequest {
        if_modified_since: Some(HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
        ..FetchRequest::default()
    };
    for question in [by_tag, by_date] {
        let outcome = ask(&fetcher, &store, &question).await.outcome;
        let Ok(FetchResponse::NotModified(headers)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(headers.get("etag"), Some(&tag));
    }
    for question in
        [FetchRequest::default(), FetchRequest { if_match: Some(tag), ..FetchRequest::default() }]
    {
        let outcome = ask(&fetcher, &store, &question).await.outcome;
        assert_eq!(outcome.unwrap_err(), Refusal::UpstreamProtocol);
    }
    assert_eq!(script.seen().connections, 1, "a 304 keeps its connection");
}

#[tokio::test]
async fn a_busy_store_is_asked_once_more() {
    for (retries, answers, attempts, expected) in [
        (1, [503, 200, 200], 2, Ok("tile")),
        (1, [500, 404, 200], 2, Err(Refusal::ObjectNotFound)),
        (1, [502, 504, 200], 2, Err(Refusal::UpstreamError)),
        (0, [503, 200, 200], 1, Err(Refusal::UpstreamBusy(5))),
    ] {
        let script = Script::run(move |nth| match answers[nth] {
            200 => vec![whole(200, "tile")],
            status => vec![error(status, "Trouble")],
        })
        .await;
        let config = UpstreamConfig { retries, ..config() };
        let fetched = once(&script, &config, &FetchRequest::default()).await;
        assert_eq!(fetched.report.attempts, attempts, "{answers:?}");
        assert_eq!(fetched.report.status, Some(answers[usize::from(attempts) - 1]));
        let code = fetched.outcome.is_err().then_some("Trouble");
        assert_eq!(fetched.report.code.as_deref(), code, "of the last answer: {answers:?}");
        assert_eq!(read(fetched.outcome).await.as_deref(), expected.as_deref(), "{answers:?}");
        assert_eq!(script.seen().connections, 1, "{answers:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_followed_by_another_address() {
    let script = Script::always(vec![whole(200, "tile")]).await;
    // Nobody listens on the same port of another address.
    let closed = SocketAddr::new([127, 0, 0, 2].into(), script.address.port());
    let store = store_at(&[closed, script.address]);
    let fetcher = StoreClient::new(&config());
    for _ in 0..4 {
        let fetched = ask(&fetcher, &store, &FetchRequest::default()).await;
        assert_eq!(read(fetched.outcome).await.unwrap(), "tile");
        assert_eq!(fetched.report.attempts, 1, "nothing was sent to the refusing address");
    }
    let states: Vec<_> =
        store.endpoints.at(0).addresses.report().iter().map(|it| it.state.as_str()).collect();
    assert_eq!(states, ["passed_over", "healthy"]);
    let fetched = ask(&fetcher, &store_at(&[closed]), &FetchRequest::default()).await;
    assert_eq!(fetched.outcome.unwrap_err(), Refusal::UpstreamUnreachable);
    assert_eq!(fetched.report.attempts, 2);
    let detail = fetched.report.detail.unwrap();
    assert!(detail.contains(&closed.to_string()), "{detail}");
}

#[tokio::test]
async fn a_kept_connection_that_the_store_closed_is_replaced_for_free() {
    let tile = || vec![whole(200, "tile")];
    for (retries, second, attempts) in [(0, tile(), 2), (1, vec![whole(503, "")], 3)] {
        let script = Script::run(move |nth| match nth {
            1 => vec![Step::Close],
            2 => second.clone(),
            _ => tile(),
        })
        .await;
        let fetcher = StoreClient::new(&UpstreamConfig { retries, ..config() });
        let store = store_at(&[script.address]);
        for attempts in [1, attempts] {
            let fetched = ask(&fetcher, &store, &FetchRequest::default()).await;
            assert_eq!(read(fetched.outcome).await.unwrap(), "tile");
            assert_eq!(fetched.report.attempts, attempts);
            assert_eq!(fetched.report.detail, None);
        }
        assert_eq!(
            script.seen().connections,
            usize::from(attempts),
            "each on a connection of its own"
        );
    }
}

#[tokio::test]
async fn a_new_connection_that_is_closed_counts_as_a_failure() {
    for (retries, attempts) in [(0, 1), (1, 2)] {
        let script = Script::always(vec![send("HTTP/1.1 20"), Step::Close]).await;
        let config = UpstreamConfig { retries, ..config() };
        let fetched = once(&script, &config, &FetchRequest::default()).await;
        assert_eq!(fetched.outcome.unwrap_err(), Refusal::UpstreamReset);
        assert_eq!(fetched.report.attempts, attempts);
        assert!(fetched.report.detail.is_some());
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up_in_time() {
    let slow = UpstreamConfig { first_byte_timeout: SHORT, ..config() };
    let out_of_time = UpstreamConfig { total_timeout: SHORT, ..config() };
    let half = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Le";
    for config in [slow, out_of_time] {
        for steps in [vec![Step::Stall], vec![send(half), Step::Stall]] {
            let script = Script::always(steps).await;
            let began = Instant::now();
            let fetched = once(&script, &config, &FetchRequest::default()).await;
            assert_eq!(fetched.outcome.unwrap_err(), Refusal::UpstreamTimeout);
            assert!((SHORT..PATIENCE / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
            assert!(fetched.report.duration >= SHORT, "{:?}", fetched.report);
            assert_eq!(fetched.report.attempts, 1, "the time is not spent twice");
            assert!(fetched.report.detail.unwrap().starts_with("timed out"));
            script.await_hung_up(1).await;
        }
    }
}

#[tokio::test]
async fn an_error_document_that_stalls_is_given_up_and_the_refusal_stands() {
    let head = "404 Not Found\nContent-Length: 1000";
    let steps = vec![answer(head, "<Error><Code>NoSuchKey</Code>"), Step::Stall];
    let script = Script::always(steps).await;
    let config = UpstreamConfig { read_timeout: SHORT, ..config() };
    let fetched = once(&script, &config, &FetchRequest::default()).await;
    assert_eq!(fetched.outcome.unwrap_err(), Refusal::ObjectNotFound);
    assert_eq!(fetched.report.code.as_deref(), Some("NoSuchKey"));
    script.await_hung_up(1).await;
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let script = Script::always(vec![send(interim), whole(200, "tile")]).await;
    let fetched = plainly(&script).await;
    assert_eq!(fetched.report.status, Some(200));
    assert_eq!(read(fetched.outcome).await.unwrap(), "tile");
    let switch = Script::always(vec![answer("101 Switch\nUpgrade: x", ""), Step::Stall]).await;
    assert_eq!(plainly(&switch).await.outcome.unwrap_err(), Refusal::UpstreamError);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let script = Script::always(vec![send("SSH-2.0-OpenSSH_9\r\n\r\n"), Step::Stall]).await;
    assert_eq!(plainly(&script).await.outcome.unwrap_err(), Refusal::UpstreamProtocol);
}

#[tokio::test]
async fn a_fetch_nobody_waits_for_closes_its_connection() {
    let script = Script::always(vec![Step::Stall]).await;
    let (fetcher, store) = (StoreClient::new(&config()), store_at(&[script.address]));
    let question = FetchRequest::default();
    let fetch = ask(&fetcher, &store, &question);
    tokio::time::timeout(SHORT, fetch).await.unwrap_err();
    script.await_hung_up(1).await;
}
