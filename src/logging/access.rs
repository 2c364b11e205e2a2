//! The access log: one line for every request, with the field names of s3proxy 2 and further ones.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use log::Level;
use serde_json::json;

use crate::config::LogFormat;
use crate::logging::json_line::push_escaped;
use crate::protocol::cache_status::{BlockCounts, CacheStatus};
use crate::protocol::head_ids::HeadIds;
use crate::protocol::request_check::BadRequest;
use crate::protocol::timestamp::rfc3339;
use crate::protocol::trace_context::TraceContext;
use crate::s3::address::ObjectAddress;
use crate::s3::endpoint::Endpoint;

/// Lines with this target need no formatting; the logger writes them unchanged.
pub const TARGET: &str = "s3proxy::access";

/// The most bytes of a method, user or user agent in a line.
const MAX_CLIENT_TEXT: usize = 256;

/// The fields of the line of a request, in their order.
#[derive(Debug, Clone)]
pub struct AccessRecord<'a> {
    pub event: &'static str,
    pub http_request: HttpRequestRecord<'a>,
    pub request_id: &'a str,
    /// The span of the request; `None` without traces.
    pub trace: Option<TraceContext>,
    pub user: Option<&'a str>,
    /// The object.
    pub path: Option<&'a ObjectAddress>,
    /// The object that an alias stands for.
    pub target: Option<&'a ObjectAddress>,
    pub profile: Option<&'a str>,
    /// `None` if the client left before the response began.
    pub status: Option<u16>,
    /// How the cache handled the request; `None` if it is not for an object.
    pub cache: Option<CacheStatus>,
    /// The sources of its blocks, for an object in blocks.
    pub blocks: Option<BlockCounts>,
    pub duration: Duration,
    pub ttfb: Option<Duration>,
    pub bytes_sent: u64,
    /// The cause of the refusal or failure.
    pub cause: Option<&'a str>,
    /// Details of a failure, as text.
    pub detail: Option<&'a str>,
    pub upstream: Option<UpstreamRecord<'a>>,
}

/// The fields of the client's request.
#[derive(Debug, Clone)]
pub struct HttpRequestRecord<'a> {
    pub method: &'a Method,
    pub url: RequestUrl<'a>,
    pub status: Option<StatusCode>,
    pub remote_ip: Option<IpAddr>,
    pub user_agent: Option<&'a str>,
    /// If it is not HTTP/1.
    pub protocol: Option<&'static str>,
}

/// Scheme, host and raw path; never the query, which may contain a token.
#[derive(Debug, Clone)]
pub struct RequestUrl<'a> {
    pub scheme: &'a str,
    pub host: &'a str,
    pub path: Cow<'a, str>,
}

impl RequestUrl<'_> {
    /// The parts of its text.
    #[must_use]
    pub fn parts(&self) -> [&str; 4] {
        [self.scheme, "://", self.host, &self.path]
    }
}

/// The fields of the request to the store.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamRecord<'a> {
    /// From the first attempt to the head of the last answer, or its failure.
    pub duration: Duration,
    pub attempts: u8,
    pub status: Option<u16>,
    pub code: Option<&'a str>,
    pub request_id: Option<&'a str>,
    /// Of several, the endpoint of the last attempt, and what came of a hedge.
    pub endpoint: Option<&'a Endpoint>,
    pub hedge: Option<&'static str>,
}

/// The first [`MAX_CLIENT_TEXT`] bytes of a value that a client sends.
pub(super) fn capped(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX_CLIENT_TEXT)).unwrap_or_default()
}

/// Whether a character moves the cursor of a terminal, breaks a line or changes the direction of text: C0
/// and C1 controls, line and paragraph separators, and the controls of bidirectional text.
pub(super) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// The text as a JSON string, in quotes, with unsafe characters escaped.
pub(super) fn json_text(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 16);
    text.push('"');
    push_escaped(&mut text, value);
    text.push('"');
    text
}

/// The text with unsafe characters other than line breaks escaped, for a terminal.
pub(super) fn terminal_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) && character != '\n' {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// The line for a terminal.
#[must_use]
pub fn text_line(record: &AccessRecord<'_>) -> String {
    let status = record.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
    let request = &record.http_request;
    let url = || request.url.parts().concat();
    let subject = record.path.map_or_else(url, ObjectAddress::name);
    let mut line = format!(
        "{} {status} {:>9.3} ms {:>10} B  {subject}",
        capped(request.method.as_str()),
        millis(record.duration),
        record.bytes_sent,
    );
    if let Some(target) = record.target {
        line.push_str(" -> ");
        line.push_str(&target.name());
    }
    if let Some(cause) = record.cause {
        line.push_str("  ");
        line.push_str(cause);
    }
    if let Some(upstream) = &record.upstream {
        let status = upstream.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        line.push_str(&format!("  store {status} {:.3} ms", millis(upstream.duration)));
        if let Some(code) = upstream.code {
            line.push(' ');
            line.push_str(code);
        }
        if let Some(endpoint) = upstream.endpoint {
            line.push_str(&format!(" by {endpoint}"));
        }
        if let Some(hedge) = upstream.hedge {
            line.push_str(" hedge ");
            line.push_str(hedge);
        }
    }
    if let Some(detail) = record.detail {
        line.push_str("  ");
        line.push_str(detail);
    }
    if let Some(trace) = &record.trace {
        line.push_str("  trace ");
        trace.push_trace_id(&mut line);
    }
    // A key may contain line breaks and escape sequences of a terminal.
    terminal_text(&line).replace('\n', "\\n")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Logs an invalid request head, which was refused before it became a request.
pub fn refused_head(format: LogFormat, client: Option<IpAddr>, error: BadRequest, ids: &HeadIds) {
    refused(format, client, (error.status(), error.cause()), ids);
}

/// Logs a refusal that was sent without reading a request: its status and cause, and the ids that the
/// client has.
pub fn refused(
    format: LogFormat,
    client: Option<IpAddr>,
    (status, cause): (u16, &str),
    ids: &HeadIds,
) {
    #[expect(clippy::disallowed_methods, reason = "log lines carry the time")]
    let now = SystemTime::now();
    let client = client.map(|ip| ip.to_string());
    match format {
        LogFormat::Production => {
            let mut request = json!({ "status": status.to_string() });
            if let (Some(client), Some(fields)) = (client, request.as_object_mut()) {
                fields.insert("remoteIp".to_owned(), client.into());
            }
            let mut line = json!({
                "timestamp": rfc3339(now),
                "severity": severity(Level::Info),
                "logger": "s3proxy",
                "event": "refused request",
                "httpRequest": request,
                "status": status,
                "cache": "none",
                "cause": cause,
            });
            ids.add_to(&mut line);
            log::info!(target: TARGET, "{line}");
        }
        LogFormat::Development => {
            let client = client.as_deref().unwrap_or("unknown");
            let trace = ids.trace_id().map_or_else(String::new, |trace| format!("  trace {trace}"));
            let id = &ids.request_id;
            log::info!(target: TARGET, "{status} {cause} from {client}  {id}{trace}");
        }
    }
}

/// The severity names of s3proxy 2.
#[must_use]
pub fn severity(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::json_line::json_line;

    fn address(key: &str) -> ObjectAddress {
        ObjectAddress { profile: Some("hips".into()), bucket: "bk".into(), key: key.into() }
    }

    fn record(object: &ObjectAddress) -> AccessRecord<'_> {
        AccessRecord {
            event: "s3 response",
            http_request: HttpRequestRecord {
                method: &Method::GET,
                url: RequestUrl {
                    scheme: "http",
                    host: "h",
                    path: "/s3proxy/s3/hips@bk/k.png".into(),
                },
                status: Some(StatusCode::OK),
                remote_ip: Some(IpAddr::from([1, 2, 3, 4])),
                user_agent: Some("a\"b"),
                protocol: None,
            },
            user: Some("u1"),
            request_id: "id",
            trace: None,
            path: Some(object),
            target: None,
            profile: Some("hips"),
            status: Some(200),
            cache: Some(CacheStatus::Bypass),
            blocks: None,
            duration: Duration::from_micros(8123),
            ttfb: Some(Duration::from_millis(5)),
            bytes_sent: 10_000,
            cause: None,
            detail: None,
            upstream: Some(UpstreamRecord {
                duration: Duration::from_millis(4),
                attempts: 1,
                status: Some(200),
                code: None,
                request_id: Some("tx1"),
                endpoint: None,
                hedge: None,
            }),
        }
    }

    #[test]
    fn the_json_line_has_the_fields_operators_search_for() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_369_353_600_000_042);
        assert_eq!(
            json_line(&record(&address("k.png")), Level::Info, now),
            concat!(
                r#"{"timestamp":"2013-05-24T00:00:00.000042Z","severity":"info","logger":"s3proxy","#,
                r#""event":"s3 response","httpRequest":{"requestMethod":"GET","#,
                r#""requestUrl":"http://h/s3proxy/s3/hips@bk/k.png","status":"200","#,
                r#""remoteIp":"1.2.3.4","userAgent":"a\"b"},"request_id":"id","user":"u1","#,
                r#""path":"s3://hips@bk/k.png","profile":"hips","status":200,"cache":"fwd=bypass","#,
                r#""duration_ms":8.123,"ttfb_ms":5.000,"bytes_sent":10000,"upstream_ms":4.000,"#,
                r#""upstream_attempts":1,"upstream_status":200,"upstream_request_id":"tx1"}"#
            )
        );
    }

    #[test]
    fn a_request_with_a_span_has_its_ids_in_its_line() {
        let object = address("k.png");
        let mut record = record(&object);
        record.trace = Some(TraceContext { trace_id: 0xab, span_id: 0xcd, sampled: false });
        let line = json_line(&record, Level::Info, SystemTime::UNIX_EPOCH);
        let ids =
            format!(r#""request_id":"id","trace_id":"{:032x}","span_id":"{:016x}","#, 0xab, 0xcd);
        assert!(line.contains(&ids), "{line}");
        assert!(text_line(&record).ends_with(&format!("  trace {:032x}", 0xab)));
    }

    #[test]
    fn of_several_endpoints_the_line_names_the_one_that_answered() {
        let object = address("k.png");
        let mut record = record(&object);
        let endpoint = Endpoint::parse("https://b.example:9000/x").expect("an endpoint");
        if let Some(upstream) = &mut record.upstream {
            upstream.endpoint = Some(&endpoint);
            upstream.hedge = Some("won");
        }
        let line = json_line(&record, Level::Info, SystemTime::UNIX_EPOCH);
        let fields = r#","upstream_endpoint":"https://b.example:9000/x","upstream_hedge":"won"}"#;
        assert!(line.ends_with(fields), "{line}");
        let line = text_line(&record);
        assert!(line.ends_with("by https://b.example:9000/x hedge won"), "{line}");
    }

    #[test]
    fn values_of_a_client_are_capped_and_cannot_disturb_the_reader_of_the_log() {
        let long = "x".repeat(10_000);
        let key =
            "\u{85}\u{9b}31m\u{2028}\u{2029}\u{202e}gnp.\u{2066}\u{200f}\u{61c}\u{7f}é\n\t\r.png";
        let object = address(key);
        let mut record = record(&object);
        record.user = Some(&long);
        record.http_request.user_agent = Some(&long);
        let now = SystemTime::UNIX_EPOCH;
        assert!(json_line(&record, Level::Info, now).len() < 2 * MAX_CLIENT_TEXT + 600);

        let line = json_line(&record, Level::Info, now);
        assert!(!line.chars().any(is_unsafe), "{line}");
        assert!(
            line.contains(r"\u2028") && line.contains(r"\u202e") && line.contains('é'),
            "{line}"
        );
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["path"], object.name(), "readers of JSON see the same text");
        let line = text_line(&record);
        assert!(!line.chars().any(is_unsafe), "{line}");
    }

    #[test]
    fn the_text_line_is_one_line_for_every_key() {
        let object = address("a\u{1b}[31mred\r\nx.png");
        let mut record = record(&object);
        record.detail = Some("two\nlines");
        record.cause = Some("upstream_reset");
        let line = text_line(&record);
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.contains("GET 200") && line.contains("upstream_reset"), "{line}");
    }
}
