//! The ids in a request head that is refused before it is a request: one that is not valid, or not complete.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::protocol::request_id::{X_REQUEST_ID, new_request_id, sane_request_id};
use crate::protocol::trace_context::{TRACEPARENT, TraceContext};

/// By what the log and the client name a request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadIds {
    /// The client's own (`X-Request-ID`), or a new one.
    pub request_id: String,
    /// The client's span, if its `traceparent` has arrived and is well-formed.
    pub trace: Option<TraceContext>,
}

impl HeadIds {
    /// The ids in the first bytes of a head. A line without its end does not count, nor does a header that is there
    /// twice.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        let mut headers = HeaderMap::new();
        // The first line is the request line.
        for line in head.split_inclusive(|byte| *byte == b'\n').skip(1) {
            let Some(line) = line.strip_suffix(b"\n").map(<[u8]>::trim_ascii) else { break };
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = id_header(line) {
                headers.append(name, value);
            }
        }
        let mut ids = headers.get_all(X_REQUEST_ID).iter();
        let id = ids.next().filter(|_| ids.next().is_none());
        Self {
            request_id: sane_request_id(id).map_or_else(new_request_id, str::to_owned),
            trace: TraceContext::of(&headers),
        }
    }

    /// Those of a request of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self { request_id: new_request_id(), trace: None }
    }

    /// The trace id, as in a log line.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        self.trace.map(|trace| {
            let mut text = String::with_capacity(32);
            trace.push_trace_id(&mut text);
            text
        })
    }

    /// Adds `request_id`, and `trace_id` if there is one, to the fields of a JSON object.
    pub fn add_to(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        fields.insert("request_id".to_owned(), self.request_id.as_str().into());
        if let Some(trace) = self.trace_id() {
            fields.insert("trace_id".to_owned(), trace.into());
        }
    }
}

/// A header with an id.
fn id_header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
    let name = [X_REQUEST_ID, TRACEPARENT]
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(known.as_str().as_bytes()))?;
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn ids_that_have_arrived_are_found() {
        let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
        let line = "GET / HTTP/1.1\r\n";
        for (head, id, has_trace) in [
            (String::new(), None, false),
            (line.to_owned(), None, false),
            (format!("{line}X-Request-ID: a-1\r\n{parent}\r\n"), Some("a-1"), true),
            (format!("{line}x-request-id:\ta-1 \n{parent}"), Some("a-1"), true),
            // The last line has not arrived as a whole.
            (format!("{line}{parent}X-Request-ID: a-1"), None, true),
            (format!("{line}{}", parent.trim_end()), None, false),
            // The first line is no header, and what follows a head is none of it.
            ("X-Request-ID: a-1\r\n".to_owned(), None, false),
            (format!("{line}\r\n{parent}X-Request-ID: a-1\r\n"), None, false),
            // Twice, or not fit for a log.
            (format!("{line}X-Request-ID: a\r\nX-Request-ID: a\r\n{parent}{parent}"), None, false),
            (format!("{line}X-Request-ID: a\x1b[2J\r\n"), None, false),
            (format!("{line}X-Request-ID : a\r\ntraceparent: 00-{TRACE}\r\n"), None, false),
            (format!("{line}Bad\r\n: x\r\nA: \u{e9}\r\nX-Request-ID: a\r\n"), Some("a"), false),
        ] {
            let ids = HeadIds::of(head.as_bytes());
            match id {
                Some(id) => assert_eq!(ids.request_id, id, "{head:?}"),
                None => assert_eq!(ids.request_id.len(), 36, "{head:?}: {}", ids.request_id),
            }
            assert_eq!(ids.trace_id().as_deref(), has_trace.then_some(TRACE), "{head:?}");
            let mut object = serde_json::json!({"cause": "x"});
            ids.add_to(&mut object);
            assert_eq!(object["request_id"], *ids.request_id, "{head:?}");
            assert_eq!(object.get("trace_id").is_some(), has_trace, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_arrives_the_id_is_fit_for_a_log(
            bytes in prop::collection::vec(any::<u8>(), 0..200), more in "[ -~\r\n]{0,80}",
        ) {
            let line = b"G / HTTP/1.1\r\nX-Request-ID:".as_slice();
            let ids = HeadIds::of(&[line, &bytes, more.as_bytes()].concat());
            let value = HeaderValue::from_str(&ids.request_id).expect("a value");
            prop_assert!(sane_request_id(Some(&value)).is_some());
        }
    }
}
