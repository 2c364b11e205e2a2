//! The access log: one line for every request, with the field names of s3proxy 2 and further ones.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use log::Level;

use crate::config::LogFormat;
use crate::protocol::cache_status::{BlockCounts, CacheStatus};
use crate::protocol::request_check::BadRequest;
use crate::protocol::timestamp::{push_decimal, rfc3339};

/// Lines with this target need no formatting; the logger writes them unchanged.
pub const TARGET: &str = "s3proxy::access";

/// The most bytes of a method, user or user agent in a line.
const MAX_CLIENT_TEXT: usize = 256;

/// The fields of the line of a request.
#[derive(Debug, Clone)]
pub struct AccessRecord<'a> {
    pub event: &'static str,
    pub method: &'a Method,
    /// Scheme, host and raw path; never the query, which may hold a token.
    pub url: String,
    pub remote_ip: Option<IpAddr>,
    pub user_agent: Option<&'a str>,
    pub user: Option<&'a str>,
    pub request_id: &'a str,
    /// The `s3://` name of the object.
    pub path: Option<String>,
    pub profile: Option<&'a str>,
    /// `None` if the client left before the response began.
    pub status: Option<StatusCode>,
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

/// The fields of the request to the store.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamRecord<'a> {
    /// From the first attempt to the head of the last answer, or its failure.
    pub duration: Duration,
    pub attempts: u8,
    pub status: Option<u16>,
    pub code: Option<&'a str>,
    pub request_id: Option<&'a str>,
}

/// The line as one JSON object.
#[must_use]
pub fn json_line(record: &AccessRecord<'_>, level: Level, now: SystemTime) -> String {
    let mut line = JsonObject::new(512);
    line.text("timestamp", &rfc3339(now));
    line.text("severity", severity(level));
    line.text("logger", "s3proxy");
    line.text("event", record.event);
    line.begin_object("httpRequest");
    line.text("requestMethod", capped(record.method.as_str()));
    line.text("requestUrl", &record.url);
    line.maybe_text("status", record.status.as_ref().map(StatusCode::as_str));
    line.maybe_text("remoteIp", record.remote_ip.map(ip_text).as_deref());
    line.maybe_text("userAgent", record.user_agent.map(capped));
    line.end_object();
    line.text("request_id", record.request_id);
    line.maybe_text("user", record.user.map(capped));
    line.maybe_text("path", record.path.as_deref());
    line.maybe_text("profile", record.profile);
    line.maybe_number("status", record.status.map(|status| status.as_u16()));
    let mut did = String::with_capacity(64);
    match record.cache {
        Some(status) => status.push_to(&mut did, BlockCounts::default()),
        None => did.push_str("none"),
    }
    line.text("cache", &did);
    if let Some(blocks) = &record.blocks {
        line.maybe_number("blocks_memory", Some(blocks.memory));
        line.maybe_number("blocks_disk", Some(blocks.disk));
        line.maybe_number("blocks_store", Some(blocks.store));
    }
    line.maybe_millis("duration_ms", Some(record.duration));
    line.maybe_millis("ttfb_ms", record.ttfb);
    line.maybe_number("bytes_sent", Some(record.bytes_sent));
    line.maybe_text("cause", record.cause);
    line.maybe_text("detail", record.detail);
    if let Some(upstream) = &record.upstream {
        line.maybe_millis("upstream_ms", Some(upstream.duration));
        line.maybe_number("upstream_attempts", Some(upstream.attempts));
        line.maybe_number("upstream_status", upstream.status);
        line.maybe_text("upstream_code", upstream.code);
        line.maybe_text("upstream_request_id", upstream.request_id);
    }
    line.finish()
}

/// The first [`MAX_CLIENT_TEXT`] bytes of a value that a client sends.
fn capped(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX_CLIENT_TEXT)).unwrap_or_default()
}

/// Whether a character moves the cursor of a terminal, breaks a line or changes the direction of text: C0
/// and C1 controls, line and paragraph separators, and the controls of bidirectional text.
fn is_unsafe(character: char) -> bool {
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
    // Text has a JSON form, always.
    let json = serde_json::to_string(value).unwrap_or_else(|_| "\"\"".to_owned());
    if !json.chars().any(is_unsafe) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_unsafe(character) {
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    safe
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

/// A JSON object in the making: the line of every request is written once, without a tree.
struct JsonObject {
    out: Vec<u8>,
    first: bool,
}

impl JsonObject {
    fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        // Without an early end, which lets the compiler look at many bytes at once.
        let special = |byte| !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\';
        if !value.bytes().fold(false, |any, byte| any | special(byte)) {
            self.out.push(b'"');
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        } else {
            self.out.extend_from_slice(json_text(value).as_bytes());
        }
    }

    fn maybe_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn maybe_number(&mut self, name: &str, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            self.key(name);
            let _written = serde_json::to_writer(&mut self.out, &value.into());
        }
    }

    /// Milliseconds with three decimals.
    fn maybe_millis(&mut self, name: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.key(name);
            let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
            let _written = serde_json::to_writer(&mut self.out, &(micros / 1000));
            self.out.push(b'.');
            for place in [100, 10, 1] {
                self.out.extend(u8::try_from(micros / place % 10).map(|digit| b'0' + digit));
            }
        }
    }

    fn begin_object(&mut self, name: &str) {
        self.key(name);
        self.out.push(b'{');
        self.first = true;
    }

    fn end_object(&mut self) {
        self.out.push(b'}');
        self.first = false;
    }

    fn finish(mut self) -> String {
        self.out.push(b'}');
        String::from_utf8(self.out).unwrap_or_default()
    }
}

/// The text of an address.
fn ip_text(ip: IpAddr) -> String {
    let IpAddr::V4(ip) = ip else { return ip.to_string() };
    let mut text = String::with_capacity(15);
    for octet in ip.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        push_decimal(&mut text, octet.into());
    }
    text
}

/// The line for a terminal.
#[must_use]
pub fn text_line(record: &AccessRecord<'_>) -> String {
    let status =
        record.status.map_or_else(|| "---".to_owned(), |status| status.as_u16().to_string());
    let subject = record.path.as_deref().unwrap_or(&record.url);
    let mut line = format!(
        "{} {status} {:>9.3} ms {:>10} B  {subject}",
        capped(record.method.as_str()),
        millis(record.duration),
        record.bytes_sent,
    );
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
    }
    if let Some(detail) = record.detail {
        line.push_str("  ");
        line.push_str(detail);
    }
    // A key may contain line breaks and escape sequences of a terminal.
    terminal_text(&line).replace('\n', "\\n")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Logs an invalid request head, which was refused before it became a request.
pub fn refused_head(format: LogFormat, client: Option<IpAddr>, error: BadRequest, id: &str) {
    refused(format, client, (error.status(), error.cause()), id);
}

/// Logs a refusal that was sent without reading a request: its status and cause, and the id that the
/// client has.
pub fn refused(format: LogFormat, client: Option<IpAddr>, (status, cause): (u16, &str), id: &str) {
    #[expect(clippy::disallowed_methods, reason = "log lines carry the time")]
    let now = SystemTime::now();
    let client = client.map(|ip| ip.to_string());
    match format {
        LogFormat::Production => {
            let mut line = JsonObject::new(256);
            line.text("timestamp", &rfc3339(now));
            line.text("severity", severity(Level::Info));
            line.text("logger", "s3proxy");
            line.text("event", "refused request");
            line.begin_object("httpRequest");
            line.text("status", &status.to_string());
            line.maybe_text("remoteIp", client.as_deref());
            line.end_object();
            line.text("request_id", id);
            line.maybe_number("status", Some(status));
            line.text("cache", "none");
            line.text("cause", cause);
            log::info!(target: TARGET, "{}", line.finish());
        }
        LogFormat::Development => {
            let client = client.as_deref().unwrap_or("unknown");
            log::info!(target: TARGET, "{status} {cause} from {client}  {id}");
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

    fn record() -> AccessRecord<'static> {
        AccessRecord {
            event: "s3 response",
            method: &Method::GET,
            url: "http://h/s3proxy/s3/hips@bk/k.png".to_owned(),
            remote_ip: Some(IpAddr::from([1, 2, 3, 4])),
            user_agent: Some("a\"b"),
            user: Some("u1"),
            request_id: "id",
            path: Some("s3://hips@bk/k.png".to_owned()),
            profile: Some("hips"),
            status: Some(StatusCode::OK),
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
            }),
        }
    }

    #[test]
    fn the_json_line_has_the_fields_operators_search_for() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_369_353_600_000_042);
        assert_eq!(
            json_line(&record(), Level::Info, now),
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
    fn values_of_a_client_are_capped_and_cannot_disturb_the_reader_of_the_log() {
        let long = "x".repeat(10_000);
        let mut record = record();
        record.user = Some(&long);
        record.user_agent = Some(&long);
        let now = SystemTime::UNIX_EPOCH;
        assert!(json_line(&record, Level::Info, now).len() < 2 * MAX_CLIENT_TEXT + 600);

        let key =
            "s3://bk/\u{85}\u{9b}31m\u{2028}\u{2029}\u{202e}gnp.\u{2066}\u{200f}\u{61c}\u{7f}é.png";
        record.path = Some(key.to_owned());
        let line = json_line(&record, Level::Info, now);
        assert!(!line.chars().any(is_unsafe), "{line}");
        assert!(
            line.contains(r"\u2028") && line.contains(r"\u202e") && line.contains('é'),
            "{line}"
        );
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["path"], key, "readers of JSON see the same text");
        let line = text_line(&record);
        assert!(!line.chars().any(is_unsafe), "{line}");
    }

    #[test]
    fn the_text_line_is_one_line_for_every_key() {
        let mut record = record();
        record.detail = Some("two\nlines");
        record.path = Some("s3://bk/a\u{1b}[31mred\r\nx.png".to_owned());
        record.cause = Some("upstream_reset");
        let line = text_line(&record);
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.contains("GET 200") && line.contains("upstream_reset"), "{line}");
    }
}
