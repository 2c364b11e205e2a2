//! The connections of the store: accept, record, hand to `s3s`, answer.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::Store;
use super::access::{KnownKeys, LocalHost, SignedOnly};
use super::body::{Counted, PIECE};
use super::operations::Operations;
use super::reads::Reads;

/// A listening store. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub(crate) struct Serving {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Serving {
    pub(crate) fn start(store: &Store, listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let host = LocalHost::new(address.port());
        let mut builder = S3ServiceBuilder::new(Operations(store.clone()));
        builder.set_auth(KnownKeys(store.clone()));
        builder.set_access(SignedOnly(store.clone()));
        builder.set_route(Reads::new(store.clone(), LocalHost::new(address.port())));
        builder.set_host(host);
        builder.set_validation(CephNames);
        let service = builder.build();
        let task = tokio::spawn(accept(listener, service, store.clone()));
        Ok(Self { address, task })
    }

    /// Where the store listens.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`, as an endpoint is configured.
    #[must_use]
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the listener and every connection at once, mid-answer too.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Ceph's bucket names: S3's, and those of tenants, of old clusters and of one letter.
struct CephNames;

impl NameValidation for CephNames {
    fn validate_bucket_name(&self, name: &str) -> bool {
        (1..=255).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b))
    }
}

async fn accept(listener: TcpListener, service: S3Service, store: Store) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, service.clone(), store.clone()));
                }
                // Out of file descriptors, say: some connection must end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, service: S3Service, store: Store) {
    // Without this the last, short piece of an answer waits for the client's delayed ACK.
    let _ = stream.set_nodelay(true);
    let answering = service_fn(move |request: Request<Incoming>| {
        answer(request, service.clone(), store.clone())
    });
    let mut builder = http1::Builder::new();
    // By default hyper takes up to 400 KiB of a body before they are sent, which would be counted.
    builder.max_buf_size(PIECE);
    // A client that goes away is no concern of the store.
    let _ = builder.serve_connection(TokioIo::new(stream), answering).await;
}

async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    store: Store,
) -> Result<Response<Counted>, s3s::HttpError> {
    let (parts, body) = request.into_parts();
    let entry = store.0.log.record(&parts);
    let request = Request::from_parts(parts, s3s::Body::from(body));
    let mut response = service.call(request).await?;
    entry.answered(response.status());
    response.headers_mut().insert("x-amz-request-id", request_id());
    Ok(response.map(|body| Counted::new(body, entry)))
}

/// In the form of RGW's transaction ids.
fn request_id() -> HeaderValue {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    HeaderValue::from_str(&format!("tx{serial:021x}-0-store"))
        .unwrap_or_else(|_| HeaderValue::from_static("tx0"))
}
