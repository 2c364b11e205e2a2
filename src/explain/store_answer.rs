//! The answer of a store to the request for an object.

use http::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName};
use serde::Serialize;

use crate::check::{CheckExchange, ProbeAnswer, whole_length};

/// The parts of an answer that concern the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct StoreAnswer {
    pub status: u16,
    /// The code of its error document, such as `NoSuchKey`.
    pub code: Option<String>,
    /// The request id of the store, for its operator.
    pub request_id: Option<String>,
    /// Bytes of the whole object.
    pub content_length: Option<u64>,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub content_type: Option<String>,
    pub milliseconds: u64,
}

pub(super) fn facts(answer: &ProbeAnswer, exchange: &CheckExchange) -> StoreAnswer {
    let reply = &answer.reply;
    let is_object = (200..300).contains(&reply.status);
    let of_object = |name| text(&answer.headers, &name).filter(|_| is_object);
    let length = whole_length(&answer.headers).filter(|_| is_object);
    StoreAnswer {
        status: reply.status,
        code: reply.code.clone(),
        request_id: reply.request_id.clone(),
        content_length: length.and_then(|length| length.parse().ok()),
        etag: of_object(ETAG),
        last_modified: of_object(LAST_MODIFIED),
        content_type: of_object(CONTENT_TYPE),
        milliseconds: u64::try_from(exchange.took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The same as lines of text.
pub(super) fn lines(answer: &ProbeAnswer) -> Vec<String> {
    let mut lines = Vec::new();
    if answer.reply.status < 300 {
        let length = whole_length(&answer.headers);
        lines.extend(length.map(|length| format!("object length: {length} bytes")));
    }
    let of = |name: HeaderName| Some(format!("{name}: {}", text(&answer.headers, &name)?));
    lines.extend([ETAG, LAST_MODIFIED, CONTENT_TYPE].into_iter().filter_map(of));
    lines
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
