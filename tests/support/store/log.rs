//! The requests that reached the store, in order of arrival.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use ::http::request::Parts;
use ::http::{HeaderMap, StatusCode};

use super::{read, write};

/// One request as the server received it, and how much of its answer was sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path as it was on the wire.
    pub(crate) path: String,
    /// The text after the `?` as it was on the wire.
    pub(crate) query: Option<String>,
    /// All headers, in the order of the wire for repeated names.
    pub(crate) headers: HeaderMap,
    /// The names in `SignedHeaders`, in lower case.
    pub(crate) signed_headers: Vec<String>,
    /// `None` until the answer has begun.
    pub(crate) status: Option<StatusCode>,
    /// Bytes of the body handed to the connection so far.
    pub(crate) bytes_sent: u64,
    /// Whether the whole body was sent. False for an aborted answer.
    pub(crate) complete: bool,
}

impl Request {
    /// A header as text; empty where it is absent or not text.
    #[must_use]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The record of one request, which its answer goes on filling in.
#[derive(Debug)]
pub(crate) struct Entry {
    request: Request,
    status: AtomicU16,
    bytes_sent: AtomicU64,
    complete: AtomicBool,
}

impl Entry {
    pub(crate) fn answered(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn completed(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Request {
        Request {
            status: StatusCode::from_u16(self.status.load(Ordering::Relaxed)).ok(),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            complete: self.complete.load(Ordering::Relaxed),
            ..self.request.clone()
        }
    }
}

#[derive(Default)]
pub(crate) struct Log(RwLock<Vec<Arc<Entry>>>);

impl Log {
    pub(crate) fn record(&self, parts: &Parts) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            request: Request {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().map(str::to_owned),
                headers: parts.headers.clone(),
                signed_headers: signed_headers(&parts.headers),
                status: None,
                bytes_sent: 0,
                complete: false,
            },
            status: AtomicU16::new(0),
            bytes_sent: AtomicU64::new(0),
            complete: AtomicBool::new(false),
        });
        write(&self.0).push(Arc::clone(&entry));
        entry
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        read(&self.0).iter().map(|entry| entry.snapshot()).collect()
    }

    pub(crate) fn clear(&self) {
        write(&self.0).clear();
    }
}

/// The names that an `Authorization` header says are signed.
pub(crate) fn signed_headers(headers: &HeaderMap) -> Vec<String> {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let names = authorization
        .and_then(|text| text.split_once("SignedHeaders="))
        .and_then(|(_, rest)| rest.split(',').next());
    names.map_or_else(Vec::new, |names| names.trim().split(';').map(str::to_owned).collect())
}
