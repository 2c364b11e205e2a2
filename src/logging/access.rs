//! The access log: one line for every request, with the field names of s3proxy 2 and further ones.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use log::Level;
use serde::{Serialize, Serializer};
use serde_json::json;
use serde_json::ser::Formatter;

use crate::config::LogFormat;
use crate::protocol::cache_status::{BlockCounts, CacheStatus};
use crate::protocol::request_check::BadRequest;
use crate::protocol::timestamp::rfc3339;

/// Lines with this target need no formatting; the logger writes them unchanged.
pub const TARGET: &str = "s3proxy::access";

/// The most bytes of a method, user or user agent in a line.
const MAX_CLIENT_TEXT: usize = 256;

/// The fields of the line of a request, in their order.
#[derive(Debug, Clone, Serialize)]
pub struct AccessRecord<'a> {
    pub event: &'static str,
    #[serde(rename = "httpRequest")]
    pub http_request: HttpRequestRecord<'a>,
    pub request_id: &'a str,
    #[serde(serialize_with = "maybe_capped", skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// The `s3://` name of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The `s3://` name of the object that an alias stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<&'a str>,
    /// `None` if the client left before the response began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How the cache handled the request; `None` if it is not for an object.
    #[serde(serialize_with = "cache_text")]
    pub cache: Option<CacheStatus>,
    /// The sources of its blocks, for an object in blocks.
    #[serde(flatten)]
    pub blocks: Option<BlocksRecord>,
    #[serde(rename = "duration_ms", serialize_with = "micros")]
    pub duration: Duration,
    #[serde(rename = "ttfb_ms", serialize_with = "maybe_micros")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttfb: Option<Duration>,
    pub bytes_sent: u64,
    /// The cause of the refusal or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'a str>,
    /// Details of a failure, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    #[serde(flatten)]
    pub upstream: Option<UpstreamRecord<'a>>,
}

/// The fields of the client's request.
#[derive(Debug, Clone, Serialize)]
pub struct HttpRequestRecord<'a> {
    #[serde(rename = "requestMethod", serialize_with = "method_text")]
    pub method: &'a Method,
    /// Scheme, host and raw path; never the query, which may contain a token.
    #[serde(rename = "requestUrl")]
    pub url: String,
    #[serde(serialize_with = "status_text", skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusCode>,
    #[serde(rename = "remoteIp", skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<IpAddr>,
    #[serde(rename = "userAgent", serialize_with = "maybe_capped")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<&'a str>,
}

/// The sources of the blocks of a response.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BlocksRecord {
    blocks_memory: u64,
    blocks_disk: u64,
    #[serde(skip_serializing_if = "is_zero")]
    blocks_shared: u64,
    blocks_store: u64,
}

impl From<BlockCounts> for BlocksRecord {
    fn from(BlockCounts { memory, disk, shared, store, .. }: BlockCounts) -> Self {
        Self {
            blocks_memory: memory,
            blocks_disk: disk,
            blocks_shared: shared,
            blocks_store: store,
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The fields of the request to the store.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct UpstreamRecord<'a> {
    /// From the first attempt to the head of the last answer, or its failure.
    #[serde(rename = "upstream_ms", serialize_with = "micros")]
    pub duration: Duration,
    #[serde(rename = "upstream_attempts")]
    pub attempts: u8,
    #[serde(rename = "upstream_status", skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(rename = "upstream_code", skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    #[serde(rename = "upstream_request_id", skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
}

/// The record with the fields that all lines of the log have.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: String,
    severity: &'static str,
    logger: &'static str,
    #[serde(flatten)]
    record: &'a AccessRecord<'a>,
}

/// The line as one JSON object.
#[must_use]
pub fn json_line(record: &AccessRecord<'_>, level: Level, now: SystemTime) -> String {
    let (timestamp, severity) = (rfc3339(now), severity(level));
    let line = JsonLine { timestamp, severity, logger: "s3proxy", record };
    let mut out = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, LogJson);
    // Writing to a Vec does not fail, and no field has an invalid form.
    let _never_fails = line.serialize(&mut serializer);
    String::from_utf8(out).unwrap_or_default()
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

/// Compact JSON with two rules of the log: unsafe characters in a text are escaped, and a `u128` of
/// microseconds is written as milliseconds with three decimals (durations are the only such numbers).
struct LogJson;

impl Formatter for LogJson {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Without an early end, so that the compiler can look at many bytes at once.
        let is_plain = fragment.bytes().fold(true, |all, byte| all & (b' '..=b'~').contains(&byte));
        if is_plain {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if is_unsafe(character) {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            } else {
                write!(writer, "{character}")?;
            }
        }
        Ok(())
    }

    fn write_u128<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        micros: u128,
    ) -> io::Result<()> {
        write!(writer, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

fn micros<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_micros())
}

fn maybe_micros<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    micros(&value.unwrap_or_default(), serializer)
}

fn method_text<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(capped(method.as_str()))
}

fn maybe_capped<S: Serializer>(value: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(capped(value.unwrap_or_default()))
}

fn status_text<S: Serializer>(
    status: &Option<StatusCode>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_ref().map_or("", StatusCode::as_str))
}

fn cache_text<S: Serializer>(
    status: &Option<CacheStatus>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(status) = status else { return serializer.serialize_str("none") };
    let mut text = String::with_capacity(64);
    status.push_to(&mut text, BlockCounts::default());
    serializer.serialize_str(&text)
}

/// The line for a terminal.
#[must_use]
pub fn text_line(record: &AccessRecord<'_>) -> String {
    let status = record.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
    let request = &record.http_request;
    let subject = record.path.as_deref().unwrap_or(&request.url);
    let mut line = format!(
        "{} {status} {:>9.3} ms {:>10} B  {subject}",
        capped(request.method.as_str()),
        millis(record.duration),
        record.bytes_sent,
    );
    if let Some(target) = &record.target {
        line.push_str(" -> ");
        line.push_str(target);
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
            let mut request = json!({ "status": status.to_string() });
            if let (Some(client), Some(fields)) = (client, request.as_object_mut()) {
                fields.insert("remoteIp".to_owned(), client.into());
            }
            let line = json!({
                "timestamp": rfc3339(now),
                "severity": severity(Level::Info),
                "logger": "s3proxy",
                "event": "refused request",
                "httpRequest": request,
                "request_id": id,
                "status": status,
                "cache": "none",
                "cause": cause,
            });
            log::info!(target: TARGET, "{line}");
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
            http_request: HttpRequestRecord {
                method: &Method::GET,
                url: "http://h/s3proxy/s3/hips@bk/k.png".to_owned(),
                status: Some(StatusCode::OK),
                remote_ip: Some(IpAddr::from([1, 2, 3, 4])),
                user_agent: Some("a\"b"),
            },
            user: Some("u1"),
            request_id: "id",
            path: Some("s3://hips@bk/k.png".to_owned()),
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
        record.http_request.user_agent = Some(&long);
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
