//! The limits of a user, and of a client, are those of HTTP/1.1: the same status, body and cause in the log.

use serde_json::Value;

use super::{Http2, answer, start};
use crate::cached::with_cache;
use crate::client::{Answer, Client};
use crate::faulty::{Gate, runtime};
use crate::gateway::{Gateway, Setup};
use crate::overload::{narrow, slow_behind};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// What the client, and the log, are told of a refusal.
fn told(gateway: &Gateway, refused: &Answer) -> (u16, Option<String>, Value, Value) {
    let body = refused.json();
    let retry = refused.header("retry-after").map(str::to_owned);
    let logged = gateway.line_of(refused)["cause"].clone();
    assert_eq!(body["cause"], logged);
    (refused.status(), retry, body["message"].clone(), logged)
}

/// Holds `most` requests of this client and asks for one more, then, as another, for the same. Returns what the
/// first is told.
fn over_http_1(
    gateway: &Gateway,
    most: usize,
    greedy: Fields<'_>,
    modest: Fields<'_>,
    held: impl Fn(),
) -> Answer {
    let mut clients: Vec<_> = (0..most).map(|_| Client::connect(gateway.address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.request("GET", &format!("/s3proxy/s3/sky/slow-{number}.png"), greedy);
    }
    held();
    let refused = gateway.object_with("sky/more.png", greedy);
    assert_eq!(gateway.object_with("sky/more.png", modest).status(), 200);
    refused
}

/// The same over HTTP/2: all on one connection, as those of a browser.
fn over_http_2(
    gateway: &Gateway,
    most: usize,
    greedy: Fields<'_>,
    modest: Fields<'_>,
    held: impl Fn(),
    release: impl Fn(),
) -> Answer {
    let mut http2 = Http2::plain(gateway.address);
    let waiting: Vec<_> = (0..most)
        .map(|number| http2.begin("GET", &format!("/s3proxy/s3/sky/slow-{number}.png"), greedy))
        .collect();
    held();
    let refused = http2.exchange("GET", "/s3proxy/s3/sky/more.png", greedy);
    let other = http2.exchange("GET", "/s3proxy/s3/sky/more.png", modest);
    assert_eq!(other.status(), 200, "another one, on the same connection");
    release();
    for response in waiting {
        assert_eq!(runtime().block_on(answer(response)).expect("an answer").status(), 200);
    }
    let after = http2.exchange("GET", "/s3proxy/s3/sky/more.png", greedy);
    assert_eq!(after.status(), 200, "its requests have ended");
    refused
}

#[test]
fn a_user_or_address_at_its_limit_is_refused_as_over_http_1() {
    let user = [("x-auth-request-user", "greedy")];
    let address = [("x-forwarded-for", "192.0.2.7")];
    let modest = [("x-auth-request-user", "modest")];
    let of_user: fn(&str) -> Setup =
        |store| with_cache(store).env("S3PROXY_DOWNSTREAM_MAX_REQUESTS_PER_USER", "3");
    let of_store: fn(&str) -> Setup =
        |store| narrow(store, false).env("S3PROXY_UPSTREAM_CLIENT_SHARE", "50");
    for (setup, most, greedy) in
        [(of_user, 3, &user), (of_store, 4, &user), (of_store, 4, &address)]
    {
        let [first, second] = [1, 2].map(|version| {
            let gate = Gate::new();
            let store = slow_behind(&gate);
            let gateway = start(setup(&store.url()).tolerate("client_gone"));
            let held = || store.await_requests(most);
            let refused = match version {
                1 => over_http_1(&gateway, most, greedy, &modest, held),
                _ => over_http_2(&gateway, most, greedy, &modest, held, || gate.open()),
            };
            gate.open();
            told(&gateway, &refused)
        });
        assert_eq!((first.0, &first.3), (429, &Value::from("user_saturated")), "{greedy:?}");
        assert_eq!(second, first, "{greedy:?}");
    }
}
