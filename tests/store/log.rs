//! The log records each request that reached the store, and how much of its answer was sent.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Ask, get, start};
use crate::store::{Manners, Object, Store};

#[tokio::test]
async fn refused_requests_are_logged_as_they_came() {
    let store = Store::new();
    store.put("sky", "o.png", Object::new("tile"));
    let serving = start(&store, Manners::rgw()).await;
    assert_eq!(serving.endpoint(), format!("http://{}", serving.address()));
    Ask { keys: None, ..get("/sky/a%2fb?acl=&x") }.send(&serving).await;
    get("/sky/o.png").with("x-amz-checksum-mode", "ENABLED").send(&serving).await;

    let [refused, served] = &store.requests()[..] else { panic!("{:?}", store.requests()) };
    assert_eq!(refused.status.map(|status| status.as_u16()), Some(403));
    assert_eq!((refused.path.as_str(), refused.query.as_deref()), ("/sky/a%2fb", Some("acl=&x")));
    assert_eq!(refused.signed_headers, [""; 0]);
    assert_eq!(served.method, "GET");
    assert_eq!(served.header("x-amz-checksum-mode"), "ENABLED");
    assert!(served.header("authorization").starts_with("AWS4-HMAC-SHA256 "));
    assert_eq!(
        served.signed_headers,
        ["host", "x-amz-checksum-mode", "x-amz-content-sha256", "x-amz-date"]
    );
    assert_eq!((served.bytes_sent, served.complete), (4, true));

    assert_eq!((store.count("GET", "/sky/"), store.count("GET", "/sky/o")), (2, 1));
    assert_eq!(store.count("HEAD", "/"), 0);
    store.clear_log();
    assert_eq!(store.requests().len(), 0);
}

#[tokio::test]
async fn an_answer_given_up_by_its_reader_stays_incomplete() {
    let store = Store::new();
    let length = 1 << 30;
    store.put("sky", "big.fits", Object::repeated("0123456789", length));
    let serving = start(&store, Manners::rgw()).await;

    let tail = get("/sky/big.fits").with("range", "bytes=-14").send(&serving).await;
    assert_eq!((tail.status, tail.text()), (206, "01234567890123"));

    let mut stream = TcpStream::connect(serving.address()).await.unwrap();
    stream.write_all(&get("/sky/big.fits").wire(&serving)).await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    drop(stream);
    let logged = store.requests().pop().unwrap();
    assert!(logged.bytes_sent > 0 && logged.bytes_sent < length && !logged.complete, "{logged:?}");
}

#[tokio::test]
async fn an_object_of_runs_is_read_across_them() {
    let store = Store::new();
    let runs = [("head", 4), ("abc", 1 << 30), ("", 2), ("z", 3)];
    store.put("sky", "runs.fits", Object::of_runs(runs));
    let serving = start(&store, Manners::rgw()).await;
    for (range, bytes) in [
        ("bytes=0-9", &b"headabcabc"[..]),
        ("bytes=3-4", b"da"),
        ("bytes=1073741824-1073741832", b"abca\0\0zzz"),
        ("bytes=-3", b"zzz"),
    ] {
        let part = get("/sky/runs.fits").with("range", range).send(&serving).await;
        assert_eq!((part.status, &part.body[..]), (206, bytes), "{range}");
    }
}

#[tokio::test]
async fn an_aborted_store_ends_its_connections() {
    let store = Store::new();
    store.put("sky", "big.fits", Object::repeated("", 1 << 30));
    let serving = start(&store, Manners::rgw()).await;
    let mut stream = TcpStream::connect(serving.address()).await.unwrap();
    stream.write_all(&get("/sky/big.fits").wire(&serving)).await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    serving.abort();
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest).await;
    assert!(ended.is_err() || rest.len() < 1 << 30);
    assert!(TcpStream::connect(serving.address()).await.is_err());
}
