//! The store of the cache's load runs: `origin LISTEN LATENCY_MS JITTER_MS` answers like S3,
//! including `Range` and `If-Match`, for objects of any size, which it generates from their keys.
//! It delays each answer by the given latency, and reports at `/-/counts` the number of requests
//! and of body bytes sent. It ignores signatures.

mod keys;
mod part;

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::response::Builder;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RANGE,
};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use part::Part;
use tokio::net::TcpListener;

/// The last modification of every object.
const CHANGED: &str = "Tue, 01 Jul 2025 12:00:00 GMT";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const ID: &str = "tx00000000000000000000a-0000000000-1234-default";
/// The period after which an object's bytes repeat: a prime, so that no two blocks are the same.
const PERIOD: usize = 262_139;

struct Store {
    latency: Duration,
    jitter: Duration,
    /// Two periods, so that a piece of one can begin anywhere.
    pattern: Bytes,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A body that is counted while it is sent: a text first, then bytes of an object.
struct Counted {
    store: Arc<Store>,
    text: Bytes,
    /// The position of the object's next byte in the period.
    phase: usize,
    left: u64,
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
            // A piece is as long as the period, so that all pieces begin at the same position of
            // it.
            piece = self.store.pattern.clone();
            piece.advance(self.phase);
            piece.truncate(usize::try_from(self.left).map_or(PERIOD, |left| left.min(PERIOD)));
            self.left -= piece.len() as u64;
        }
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        self.store.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_empty() && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.len() as u64 + self.left)
    }
}

impl Store {
    fn text(self: &Arc<Self>, text: Bytes) -> Counted {
        Counted { store: Arc::clone(self), text, phase: 0, left: 0 }
    }

    /// This part of the object under this key; each object begins at another position of the
    /// period.
    fn object(self: &Arc<Self>, key: &str, first: u64, length: u64) -> Counted {
        let start = keys::hash(key) % PERIOD as u64;
        let phase = usize::try_from((start + first) % PERIOD as u64).unwrap_or_default();
        Counted { store: Arc::clone(self), text: Bytes::new(), phase, left: length }
    }

    /// An error as S3 writes it.
    fn refusal(
        self: &Arc<Self>,
        answer: Builder,
        status: StatusCode,
        code: &str,
    ) -> Result<Response<Counted>, http::Error> {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><BucketName>bucket\
             </BucketName><RequestId>{ID}</RequestId><HostId>1234-default-default</HostId></Error>"
        );
        let answer = answer.status(status).header(CONTENT_TYPE, "application/xml");
        answer.body(self.text(text.into()))
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
            // This answer's bytes are added when they are sent; subtracted here, so that only bytes
            // of objects count.
            self.bytes.fetch_sub(text.len() as u64, Ordering::Relaxed);
            return Response::builder().body(self.text(text.into()));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let wait = self.latency + self.jitter.mul_f64(fastrand::f64());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_bucket, key)| key);
        let answer = Response::builder().header(REQUEST_ID, ID);
        let Some(length) = keys::length(key) else {
            return self.refusal(answer, StatusCode::NOT_FOUND, "NoSuchKey");
        };
        let mut answer = answer.header(LAST_MODIFIED, CHANGED).header(ACCEPT_RANGES, "bytes");
        if key.starts_with("short/") {
            answer = answer.header(CACHE_CONTROL, "max-age=1");
        }
        let etag = keys::etag(key);
        let asked = request.headers();
        if asked.get(IF_MATCH).is_some_and(|listed| listed.as_bytes() != etag.as_bytes()) {
            return self.refusal(answer, StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        if unchanged(asked, &etag) {
            // Without an ETag, as Ceph RGW does.
            return answer.status(StatusCode::NOT_MODIFIED).body(self.text(Bytes::new()));
        }
        let range = asked.get(RANGE).and_then(|range| range.to_str().ok());
        let (answer, first, length) = match part::asked(range, length) {
            Part::Whole => (answer, 0, length),
            Part::Bytes { first, length: part } => {
                let range = format!("bytes {first}-{}/{length}", first + part - 1);
                let answer = answer.status(StatusCode::PARTIAL_CONTENT);
                (answer.header(CONTENT_RANGE, range), first, part)
            }
            Part::Beyond => {
                let answer = answer.header(CONTENT_RANGE, format!("bytes */{length}"));
                return self.refusal(answer, StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
            }
        };
        let body = self.object(key, first, length);
        answer.header(ETAG, etag).header(CONTENT_TYPE, "binary/octet-stream").body(body)
    }
}

/// Whether the client has the current object.
fn unchanged(asked: &HeaderMap, etag: &str) -> bool {
    match (asked.get(IF_NONE_MATCH), asked.get(IF_MODIFIED_SINCE)) {
        (Some(listed), _) => listed.as_bytes() == etag.as_bytes(),
        (None, date) => date.is_some_and(|date| date == CHANGED),
    }
}

/// Two periods of what every object consists of: numbers without a visible order.
fn pattern() -> Bytes {
    let mut state = 1_u32;
    let mut one = Vec::with_capacity(PERIOD);
    one.resize_with(PERIOD, || {
        // A linear congruential generator; its high bits are the random ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    one.repeat(2).into()
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
        pattern: pattern(),
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
            // A client that disconnects is not an error of the store.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
