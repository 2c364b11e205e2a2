//! The store of the cache's load run: `origin LISTEN LATENCY_MS JITTER_MS` answers as S3 does for
//! objects of zeros that it makes up by their keys, waits before each answer as told, and says at
//! `/-/counts` how many requests it saw and how many bytes of bodies it sent. Signatures it ignores.

mod keys;

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Every object was last changed then.
const CHANGED: &str = "Tue, 01 Jul 2025 12:00:00 GMT";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const ID: &str = "tx00000000000000000000a-0000000000-1234-default";
const NO_SUCH_KEY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code>\
    <BucketName>bucket</BucketName><RequestId>tx00000000000000000000a-0000000000-1234-default\
    </RequestId><HostId>1234-default-default</HostId></Error>";

struct Store {
    latency: Duration,
    jitter: Duration,
    zeros: Bytes,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A body that is counted as it is sent: text to begin with, then zeros.
struct Counted {
    store: Arc<Store>,
    text: Bytes,
    zeros: u64,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut piece = std::mem::take(&mut self.text);
        if piece.is_empty() {
            piece = self.store.zeros.clone();
            piece.truncate(usize::try_from(self.zeros).unwrap_or(usize::MAX));
            self.zeros -= piece.len() as u64;
        }
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        self.store.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_empty() && self.zeros == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.len() as u64 + self.zeros)
    }
}

impl Store {
    fn body(self: &Arc<Self>, text: Bytes, zeros: u64) -> Counted {
        Counted { store: Arc::clone(self), text, zeros }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Counted>, http::Error> {
        let path = request.uri().path();
        if path == "/-/counts" {
            let [requests, bytes] =
                [&self.requests, &self.bytes].map(|count| count.load(Ordering::Relaxed));
            let text = format!("{{\"requests\":{requests},\"bytes\":{bytes}}}");
            // Its own bytes are in the next counts; an object's are not, and they are what is asked for.
            self.bytes.fetch_sub(text.len() as u64, Ordering::Relaxed);
            return Response::builder().body(self.body(text.into(), 0));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let wait = self.latency + self.jitter.mul_f64(fastrand::f64());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_bucket, key)| key);
        let answer = Response::builder().header(REQUEST_ID, ID);
        let Some(length) = keys::length(key) else {
            let text = Bytes::from_static(NO_SUCH_KEY.as_bytes());
            let answer = answer.status(StatusCode::NOT_FOUND);
            return answer.header(CONTENT_TYPE, "application/xml").body(self.body(text, 0));
        };
        let mut answer = answer.header(LAST_MODIFIED, CHANGED).header(ACCEPT_RANGES, "bytes");
        if key.starts_with("short/") {
            answer = answer.header(CACHE_CONTROL, "max-age=1");
        }
        let etag = keys::etag(key);
        let asked = request.headers();
        let same = match (asked.get(IF_NONE_MATCH), asked.get(IF_MODIFIED_SINCE)) {
            (Some(listed), _) => listed.as_bytes() == etag.as_bytes(),
            (None, date) => date.is_some_and(|date| date == CHANGED),
        };
        if same {
            // Without an ETag, as Ceph RGW has it.
            return answer.status(StatusCode::NOT_MODIFIED).body(self.body(Bytes::new(), 0));
        }
        answer
            .header(ETAG, etag)
            .header(CONTENT_TYPE, "binary/octet-stream")
            .body(self.body(Bytes::new(), length))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, latency, jitter] = arguments.as_slice() else {
        return Err("usage: origin LISTEN LATENCY_MS JITTER_MS".into());
    };
    let store = Arc::new(Store {
        latency: Duration::from_millis(latency.parse()?),
        jitter: Duration::from_millis(jitter.parse()?),
        zeros: vec![0; 256 * 1024].into(),
        requests: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    });
    let listener = TcpListener::bind(listen.as_str()).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let answer = service_fn(|request| Arc::clone(&store).answer(request));
            // A peer that goes away is no concern of the store's.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
