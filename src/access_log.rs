//! One line for every request: the field names operators of s3proxy search for, and what they had
//! to guess until now.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use log::Level;
use serde_json::{Map, Value, json};

use crate::hygiene::BadRequest;

/// Lines with this target are already whole; the logger writes them as they are.
pub const TARGET: &str = "s3proxy::access";

/// What is known of a request when it ends.
#[derive(Debug, Clone)]
pub struct Record<'a> {
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
    /// `None` where the client left before an answer began.
    pub status: Option<StatusCode>,
    /// What the cache did, in the words of RFC 9211.
    pub cache: &'static str,
    pub duration: Duration,
    pub ttfb: Option<Duration>,
    pub bytes_sent: u64,
    /// Name of the refusal or failure.
    pub cause: Option<&'a str>,
    /// More about a failure, for a person.
    pub detail: Option<&'a str>,
    pub upstream: Option<UpstreamRecord<'a>>,
}

/// What is known of the store's part.
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
pub fn json_line(record: &Record<'_>, level: Level, now: SystemTime) -> String {
    let mut http_request = Map::new();
    http_request.insert("requestMethod".into(), json!(record.method.as_str()));
    http_request.insert("requestUrl".into(), json!(record.url));
    if let Some(status) = record.status {
        http_request.insert("status".into(), json!(status.as_str()));
    }
    if let Some(ip) = record.remote_ip {
        http_request.insert("remoteIp".into(), json!(ip.to_string()));
    }
    if let Some(agent) = record.user_agent {
        http_request.insert("userAgent".into(), json!(agent));
    }
    let mut line = Map::new();
    line.insert("timestamp".into(), json!(timestamp(now)));
    line.insert("severity".into(), json!(severity(level)));
    line.insert("logger".into(), json!("s3proxy"));
    line.insert("event".into(), json!(record.event));
    line.insert("httpRequest".into(), Value::Object(http_request));
    line.insert("request_id".into(), json!(record.request_id));
    let mut optional = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            line.insert(name.into(), value);
        }
    };
    optional("user", record.user.map(Value::from));
    optional("path", record.path.as_deref().map(Value::from));
    optional("profile", record.profile.map(Value::from));
    optional("status", record.status.map(|status| json!(status.as_u16())));
    optional("cache", Some(json!(record.cache)));
    optional("duration_ms", Some(json!(millis(record.duration))));
    optional("ttfb_ms", record.ttfb.map(|ttfb| json!(millis(ttfb))));
    optional("bytes_sent", Some(json!(record.bytes_sent)));
    optional("cause", record.cause.map(Value::from));
    optional("detail", record.detail.map(Value::from));
    if let Some(upstream) = &record.upstream {
        optional("upstream_ms", Some(json!(millis(upstream.duration))));
        optional("upstream_attempts", Some(json!(upstream.attempts)));
        optional("upstream_status", upstream.status.map(Value::from));
        optional("upstream_code", upstream.code.map(Value::from));
        optional("upstream_request_id", upstream.request_id.map(Value::from));
    }
    Value::Object(line).to_string()
}

/// The line for a person at a terminal.
#[must_use]
pub fn text_line(record: &Record<'_>) -> String {
    let status =
        record.status.map_or_else(|| "---".to_owned(), |status| status.as_u16().to_string());
    let subject = record.path.as_deref().unwrap_or(&record.url);
    let mut line = format!(
        "{} {status} {:>9.3} ms {:>10} B  {subject}",
        record.method,
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
        line.push_str(&detail.escape_debug().to_string());
    }
    line
}

/// Notes a connection that ended over a bad request head, which never became a request.
pub fn refused_connection(client: Option<IpAddr>, error: BadRequest) {
    let client = client.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
    log::info!("refused a request of {client}: {} ({})", error.message(), error.cause());
}

/// RFC 3339 in UTC with microseconds.
#[must_use]
pub fn timestamp(now: SystemTime) -> String {
    let now = time::OffsetDateTime::from(now);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        now.microsecond()
    )
}

/// The severity names s3proxy always logged.
#[must_use]
pub fn severity(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

/// Milliseconds, rounded to a microsecond.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
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
            cache: "fwd=bypass",
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
                r#""duration_ms":8.123,"ttfb_ms":5.0,"bytes_sent":10000,"upstream_ms":4.0,"#,
                r#""upstream_attempts":1,"upstream_status":200,"upstream_request_id":"tx1"}"#
            )
        );
    }

    #[test]
    fn the_text_line_fits_one_line_whatever_the_key_holds() {
        let mut record = record();
        record.detail = Some("two\nlines");
        record.cause = Some("upstream_reset");
        let line = text_line(&record);
        assert!(!line.contains('\n'), "{line}");
        assert!(line.contains("GET 200") && line.contains("upstream_reset"), "{line}");
    }
}
