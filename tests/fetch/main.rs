//! Fetches for the cache from a store that verifies every signature with an independent
//! implementation, and from a store behind TLS.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "clippy knows test functions as tests, not what they call"
)]

#[path = "../support/authority.rs"]
mod authority;
#[cfg(test)]
#[path = "../support/hard_keys.rs"]
mod hard_keys;
#[path = "../support/store.rs"]
#[expect(dead_code, reason = "shared with the quickstart and the benchmarks")]
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use s3proxy::config::UpstreamConfig;
use s3proxy::profile::Profile;
use s3proxy::protocol::range::ByteRange;
use s3proxy::response::refusal::Refusal;
use s3proxy::s3::credentials::{CredentialSource, Credentials, Keys};
use s3proxy::s3::endpoint::{Addressing, Endpoint};
use s3proxy::s3::secret::Secret;
use s3proxy::upstream::Store as Upstream;
use s3proxy::upstream::client::{FetchRequest, FetchResponse, FetchResult, StoreClient};
use s3proxy::upstream::endpoints::StoreEndpoints;
use s3proxy::upstream::resolve::EndpointAddresses;
use store::{Manners, Object, Serving, Store};
use tokio::net::{TcpListener, TcpStream};

use crate::authority::Authority;

const ACCESS_KEY: &str = "AKIDFETCHTESTS";
const SECRET_KEY: &str = "fetch/tests+secret";
const PATIENCE: Duration = Duration::from_secs(10);

fn config(ca_file: Option<PathBuf>) -> UpstreamConfig {
    UpstreamConfig {
        connect_timeout: PATIENCE,
        first_byte_timeout: PATIENCE,
        read_timeout: PATIENCE,
        total_timeout: PATIENCE,
        retries: 0,
        idle_timeout: PATIENCE,
        keepalive_pool_size: 4,
        probe: false,
        dns_refresh: PATIENCE,
        max_in_flight: 16,
        client_share: 50,
        queue_timeout: Duration::from_secs(1),
        ca_file,
        proxy: None,
    }
}

fn upstream(url: &str, secret: &str) -> Upstream {
    let keys = Keys {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: Secret::new(secret.to_owned()),
        session_token: None,
    };
    let profile = Profile {
        credentials: Credentials::Keys { keys, source: CredentialSource::Environment },
        ..Profile::unsigned(None, Endpoint::parse(url).expect("a URL"))
    };
    let endpoints = StoreEndpoints::new(&profile, None, |way| {
        Arc::new(EndpointAddresses::new(&way.endpoint, None))
    });
    Upstream::new(Arc::new(profile), endpoints, s3proxy::upstream::limits_of(&config(None)))
}

/// A running store with the objects of the bucket `sky`.
async fn serve(manners: Manners, objects: &[(&str, &'static str)]) -> (Store, Serving) {
    let store = Store::new();
    store.set_manners(manners);
    store.create_bucket("sky");
    for (key, body) in objects {
        store.put("sky", key, Object::new(*body));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let serving = store.serve(listener, ACCESS_KEY, SECRET_KEY).expect("the store serves");
    (store, serving)
}

async fn ask(
    fetcher: &StoreClient,
    store: &Upstream,
    key: &str,
    question: &FetchRequest,
) -> FetchResult {
    let target = store.profile.endpoint.target(Addressing::Path, "sky", key.as_bytes());
    let fetch = fetcher.fetch(store, &target, question);
    tokio::time::timeout(PATIENCE, fetch).await.expect("an outcome in time")
}

/// Status, entity tag and body of an object.
async fn object(fetched: FetchResult) -> (StatusCode, HeaderValue, String) {
    let reply = fetched.outcome.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let FetchResponse::Object { status, headers, mut body } = reply else { panic!("{reply:?}") };
    let mut pieces: Vec<Bytes> = Vec::new();
    while let Some(piece) = body.next().await.expect("a whole body") {
        pieces.push(piece);
    }
    let text = String::from_utf8(pieces.concat()).expect("UTF-8");
    (status, headers.get("etag").expect("an entity tag").clone(), text)
}

#[tokio::test]
async fn every_key_is_signed_as_it_is_sent() {
    let (store, serving) = serve(Manners::rgw(), &[]).await;
    let (fetcher, upstream) =
        (StoreClient::new(&config(None)), upstream(&serving.endpoint(), SECRET_KEY));
    for key in hard_keys::HARD_KEYS.into_iter().chain(hard_keys::DOTTED_KEYS) {
        store.put("sky", key, Object::new(format!("body of {key}")));
        let (status, _, body) =
            object(ask(&fetcher, &upstream, key, &FetchRequest::default()).await).await;
        assert_eq!((status, body), (StatusCode::OK, format!("body of {key}")), "{key:?}");
    }
}

#[tokio::test]
async fn stores_with_rgw_and_aws_behaviour_answer_requests() {
    for manners in [Manners::rgw(), Manners::aws()] {
        let (store, serving) = serve(manners, &[("a.png", "0123456789")]).await;
        let (fetcher, upstream) =
            (StoreClient::new(&config(None)), upstream(&serving.endpoint(), SECRET_KEY));
        let ask = |question| {
            let (fetcher, upstream) = (&fetcher, &upstream);
            async move { ask(fetcher, upstream, "a.png", &question).await }
        };
        let (_, tag, _) = object(ask(FetchRequest::default()).await).await;

        let tagged = || Some(tag.clone());
        let date = HeaderValue::from_static("Tue, 01 Jul 2025 12:00:00 GMT");
        for question in [
            FetchRequest { if_none_match: tagged(), ..FetchRequest::default() },
            FetchRequest { if_modified_since: Some(date), ..FetchRequest::default() },
        ] {
            let outcome = ask(question).await.outcome;
            assert!(matches!(outcome, Ok(FetchResponse::NotModified(_))), "{outcome:?}");
        }

        let range = Some(ByteRange::FromTo { first: 2, last: Some(4) });
        let part = FetchRequest { range, if_match: tagged(), ..FetchRequest::default() };
        let (status, _, body) = object(ask(part).await).await;
        assert_eq!((status, body.as_str()), (StatusCode::PARTIAL_CONTENT, "234"));

        let (status, same, body) =
            object(ask(FetchRequest { head_only: true, ..FetchRequest::default() }).await).await;
        assert_eq!((status, same, body.as_str()), (StatusCode::OK, tag, ""));

        let other = Some(HeaderValue::from_static("\"0123456789abcdef0123456789abcdef\""));
        let changed = ask(FetchRequest { range, if_match: other, ..FetchRequest::default() }).await;
        assert_eq!(changed.outcome.expect_err("another object"), Refusal::PreconditionFailed);
        assert_eq!(changed.report.code.as_deref(), Some("PreconditionFailed"));

        let beyond = Some(ByteRange::FromTo { first: 99, last: None });
        let refusal = ask(FetchRequest { range: beyond, ..FetchRequest::default() }).await.outcome;
        assert!(matches!(refusal, Err(Refusal::RangeNotSatisfiable(_))), "{refusal:?}");

        store.delete("sky", "a.png");
        let missing = ask(FetchRequest::default()).await;
        assert_eq!(missing.outcome.expect_err("no object"), Refusal::ObjectNotFound);
        assert_eq!(missing.report.code.as_deref(), Some("NoSuchKey"));
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_by_its_name() {
    let (_store, serving) = serve(Manners::rgw(), &[("a.png", "tile")]).await;
    let fetcher = StoreClient::new(&config(None));
    let upstream = upstream(&serving.endpoint(), "another secret");
    let fetched = ask(&fetcher, &upstream, "a.png", &FetchRequest::default()).await;
    let refusal = fetched.outcome.expect_err("refused");
    assert_eq!(refusal, Refusal::UpstreamRejected);
    assert!(refusal.is_outage() && refusal.cause() == "upstream_forbidden", "{refusal:?}");
    assert_eq!(fetched.report.code.as_deref(), Some("SignatureDoesNotMatch"));
    assert_eq!(fetched.report.status, Some(403));
}

/// Terminates TLS as 127.0.0.1 and passes everything to the plain store behind; returns its port,
/// and the number of connections.
async fn front(authority: &Authority, plain: SocketAddr) -> (u16, Arc<tokio::sync::Semaphore>) {
    let acceptor = authority.acceptor("127.0.0.1", false);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let taken = Arc::new(tokio::sync::Semaphore::new(0));
    let count = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.add_permits(1);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut plain = TcpStream::connect(plain).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut plain).await
            });
        }
    });
    (port, taken)
}

#[tokio::test]
async fn only_certificates_of_the_configured_authority_are_trusted() {
    let (store, serving) = serve(Manners::rgw(), &[("a.png", "tile")]).await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (port, connections) = front(&authority, serving.address()).await;
    let upstream = upstream(&format!("https://127.0.0.1:{port}"), SECRET_KEY);

    let fetcher = StoreClient::new(&config(Some(authority.file())));
    for _ in 0..3 {
        let fetched = ask(&fetcher, &upstream, "a.png", &FetchRequest::default()).await;
        assert_eq!(object(fetched).await.2, "tile");
    }
    assert_eq!(connections.available_permits(), 1, "a connection with TLS is kept too");

    store.clear_log();
    let fetcher = StoreClient::new(&config(Some(stranger.file())));
    let fetched = ask(&fetcher, &upstream, "a.png", &FetchRequest::default()).await;
    assert_eq!(fetched.outcome.expect_err("refused"), Refusal::UpstreamUnreachable);
    assert_eq!(store.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetches_in_tasks_of_their_own_do_not_mix_up_their_bodies() {
    let (store, serving) = serve(Manners::rgw(), &[]).await;
    let fetcher = Arc::new(StoreClient::new(&config(None)));
    let upstream = Arc::new(upstream(&serving.endpoint(), SECRET_KEY));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..32_usize {
        let (key, body) = (format!("{number}.png"), format!("<{number}>").repeat(number * 1000));
        store.put("sky", &key, Object::new(body.clone()));
        let (fetcher, upstream) = (Arc::clone(&fetcher), Arc::clone(&upstream));
        tasks.spawn(async move {
            for _ in 0..4 {
                let fetched = ask(&fetcher, &upstream, &key, &FetchRequest::default()).await;
                assert!(object(fetched).await.2 == body, "{key}");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("every body is its own");
    }
}
