//! A collector of traces: it decodes what it gets with the types of OpenTelemetry's own schema, and answers as the
//! test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{PATIENCE, find};
use crate::faulty::{Gate, Recorded, runtime};

/// How the collector answers.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    Takes,
    /// It takes all but this number of spans.
    Rejects(i64),
    Answers(u16),
    /// It takes them once the gate is open.
    Waits(Gate),
}

#[derive(Debug, Default)]
struct Received {
    heads: Vec<Recorded>,
    /// The attributes of the resource of each request.
    resources: Vec<Vec<KeyValue>>,
    spans: Vec<Span>,
}

#[derive(Debug, Default)]
struct Desk {
    received: Mutex<Received>,
    changed: Condvar,
}

/// A running collector. It stops when dropped.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Takes every span.
    pub(crate) fn start() -> Self {
        Self::with(|_| Manner::Takes)
    }

    /// Answers the request with this number in this manner.
    pub(crate) fn with(manner: impl Fn(usize) -> Manner + Send + Sync + 'static) -> Self {
        let (desk, manner) = (Arc::new(Desk::default()), Arc::new(manner));
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let notes = Arc::clone(&desk);
        let task = runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (notes, manner) = (Arc::clone(&notes), Arc::clone(&manner));
                tokio::spawn(async move { receive(stream, &notes, &*manner).await });
            }
        });
        Self { address, desk, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.desk.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<Recorded> {
        self.received().heads.clone()
    }

    /// The resource of the last request.
    pub(crate) fn resource(&self) -> Vec<KeyValue> {
        self.received().resources.last().cloned().expect("a request")
    }

    /// The spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.received().spans.clone()
    }

    /// Waits for this number of spans in all.
    pub(crate) fn await_spans(&self, number: usize) -> Vec<Span> {
        self.await_that(&format!("{number} spans"), |received| received.spans.len() >= number);
        self.spans()
    }

    /// Waits for this number of requests in all.
    pub(crate) fn await_requests(&self, number: usize) {
        self.await_that(&format!("{number} requests"), |received| received.heads.len() >= number);
    }

    fn await_that(&self, what: &str, is_so: impl Fn(&Received) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut received = self.received();
        while !is_so(&received) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {PATIENCE:?} for {what}: {:?}", received.spans);
            let woken = self.desk.changed.wait_timeout(received, left);
            received = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

async fn receive(mut stream: TcpStream, desk: &Desk, manner: &(dyn Fn(usize) -> Manner + Sync)) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(n) if n > 0) {
            return;
        }
    };
    let head = Recorded::parse(bytes[..end].to_vec(), 0);
    let length: usize = head.header("content-length").expect("a length").parse().expect("a number");
    while bytes.len() < end + length {
        if !matches!(stream.read_buf(&mut bytes).await, Ok(n) if n > 0) {
            return;
        }
    }
    assert_eq!(
        (head.method.as_str(), head.header("content-type")),
        ("POST", Some("application/x-protobuf"))
    );
    let body = &bytes[end..];
    let request = ExportTraceServiceRequest::decode(body).expect("the schema of OTLP");
    // What the schema does not know would be lost.
    assert_eq!(request.encode_to_vec(), body, "{request:?}");
    let number = {
        let mut received = desk.received.lock().unwrap_or_else(PoisonError::into_inner);
        for spans in request.resource_spans {
            received.resources.push(spans.resource.expect("a resource").attributes);
            received.spans.extend(spans.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        received.heads.push(head);
        received.heads.len() - 1
    };
    desk.changed.notify_all();
    let (mut status, mut rejected) = (200, 0);
    match manner(number) {
        Manner::Takes => {}
        Manner::Rejects(spans) => rejected = spans,
        Manner::Answers(other) => status = other,
        Manner::Waits(gate) => gate.pass().await,
    }
    let partial = ExportTracePartialSuccess {
        rejected_spans: rejected,
        error_message: "too many".to_owned(),
    };
    let reply = ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) };
    let body = reply.encode_to_vec();
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _closed = stream.write_all(&[head.as_bytes(), &body].concat()).await;
}

/// The text of an attribute, or its number as text.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found: Vec<_> = attributes.iter().filter(|it| it.key == name).collect();
    assert!(found.len() <= 1, "{name} is there twice: {attributes:?}");
    match found.first()?.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}
