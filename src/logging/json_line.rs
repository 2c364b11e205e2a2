//! The access log line as JSON, written field by field: every request has one, and what serde needs for
//! flattened records costs more than the text.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use log::Level;

use crate::logging::access::{AccessRecord, capped, is_unsafe, severity};
use crate::protocol::cache_status::BlockCounts;
use crate::protocol::timestamp::{push_decimal, push_rfc3339};

/// Room for the line of a usual request, bytes.
const USUAL: usize = 1024;

/// The line as one JSON object.
#[must_use]
pub fn json_line(record: &AccessRecord<'_>, level: Level, now: SystemTime) -> String {
    let request = &record.http_request;
    let mut line = JsonObject::new();
    line.key("timestamp");
    line.quoted(|text| push_rfc3339(text, now));
    line.text("severity", &[severity(level)]);
    line.text("logger", &["s3proxy"]);
    line.text("event", &[record.event]);
    line.begin("httpRequest");
    line.text("requestMethod", &[capped(request.method.as_str())]);
    line.text("requestUrl", &request.url.parts());
    if let Some(status) = &request.status {
        line.text("status", &[status.as_str()]);
    }
    if let Some(address) = request.remote_ip {
        line.key("remoteIp");
        line.quoted(|text| push_address(text, address));
    }
    if let Some(agent) = request.user_agent {
        line.text("userAgent", &[capped(agent)]);
    }
    if let Some(protocol) = request.protocol {
        line.text("protocol", &[protocol]);
    }
    line.end();
    line.text("request_id", &[record.request_id]);
    if let Some(trace) = &record.trace {
        line.key("trace_id");
        line.quoted(|text| trace.push_trace_id(text));
        line.key("span_id");
        line.quoted(|text| trace.push_span_id(text));
    }
    if let Some(user) = record.user {
        line.text("user", &[capped(user)]);
    }
    if let Some(object) = record.path {
        line.text("path", &object.name_parts());
    }
    if let Some(object) = record.target {
        line.text("target", &object.name_parts());
    }
    if let Some(profile) = record.profile {
        line.text("profile", &[profile]);
    }
    line.maybe_number("status", record.status.map(u64::from));
    line.key("cache");
    // Without counts of blocks it needs no escapes.
    line.quoted(|text| match &record.cache {
        Some(status) => status.push_to(text, BlockCounts::default()),
        None => text.push_str("none"),
    });
    if let Some(blocks) = record.blocks {
        line.maybe_number("blocks_memory", Some(blocks.memory));
        line.maybe_number("blocks_disk", Some(blocks.disk));
        line.maybe_number("blocks_shared", Some(blocks.shared).filter(|count| *count > 0));
        line.maybe_number("blocks_store", Some(blocks.store));
    }
    line.millis("duration_ms", record.duration);
    if let Some(ttfb) = record.ttfb {
        line.millis("ttfb_ms", ttfb);
    }
    line.maybe_number("bytes_sent", Some(record.bytes_sent));
    line.maybe_text("cause", record.cause);
    line.maybe_text("detail", record.detail);
    if let Some(upstream) = &record.upstream {
        line.millis("upstream_ms", upstream.duration);
        line.maybe_number("upstream_attempts", Some(upstream.attempts.into()));
        line.maybe_number("upstream_status", upstream.status.map(u64::from));
        line.maybe_text("upstream_code", upstream.code);
        line.maybe_text("upstream_request_id", upstream.request_id);
        if let Some(endpoint) = upstream.endpoint {
            line.text("upstream_endpoint", &[&endpoint.to_string()]);
        }
        line.maybe_text("upstream_hedge", upstream.hedge);
    }
    line.finish()
}

/// A JSON object that is being written.
struct JsonObject {
    out: String,
    /// The next field is the first of its object.
    first: bool,
}

impl JsonObject {
    fn new() -> Self {
        let mut out = String::with_capacity(USUAL);
        out.push('{');
        Self { out, first: true }
    }

    /// The names of fields need no escapes.
    fn key(&mut self, name: &str) {
        self.out.push_str(if std::mem::take(&mut self.first) { "\"" } else { ",\"" });
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    /// A text that needs no escapes.
    fn quoted(&mut self, push: impl FnOnce(&mut String)) {
        self.out.push('"');
        push(&mut self.out);
        self.out.push('"');
    }

    /// A text in parts.
    fn text(&mut self, name: &str, parts: &[&str]) {
        self.key(name);
        self.out.push('"');
        for part in parts {
            if is_plain(part) {
                self.out.push_str(part);
            } else {
                push_escaped(&mut self.out, part);
            }
        }
        self.out.push('"');
    }

    fn maybe_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, &[value]);
        }
    }

    fn maybe_number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.key(name);
            push_decimal(&mut self.out, value);
        }
    }

    /// Milliseconds with three decimals.
    fn millis(&mut self, name: &str, value: Duration) {
        self.key(name);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        push_decimal(&mut self.out, micros / 1000);
        self.out.push('.');
        for unit in [100, 10, 1] {
            push_decimal(&mut self.out, micros / unit % 10);
        }
    }

    fn begin(&mut self, name: &str) {
        self.key(name);
        self.out.push('{');
        self.first = true;
    }

    fn end(&mut self) {
        self.out.push('}');
        self.first = false;
    }

    fn finish(mut self) -> String {
        self.out.push('}');
        self.out
    }
}

/// Whether JSON has the text as it is, and no character of it is unsafe. Without an early end, so that the
/// compiler can look at many bytes at once.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\');
    text.bytes().fold(true, |all, byte| all & is_plain(byte))
}

/// Appends a text as JSON has it within quotes (RFC 8259, section 7), with unsafe characters escaped.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if is_unsafe(character) => {
                // All of them lie below U+10000.
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
}

fn push_address(text: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        return text.push_str(&address.to_string());
    };
    for (place, octet) in address.octets().into_iter().enumerate() {
        text.push_str(if place == 0 { "" } else { "." });
        push_decimal(text, octet.into());
    }
}
