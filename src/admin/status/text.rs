//! A status as text for a terminal: one process in detail, several as a table.

use serde_json::Value;

use crate::terminal::{Paint, Table, Tone, escaped};

/// The status of one process, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaStatus {
    /// The name that an operator knows the process by.
    pub label: String,
    pub status: Result<Value, String>,
}

/// Lines for a terminal: the process in detail if there is one and it is not `as_table`, else a line for each
/// and what is wrong.
#[must_use]
pub fn text(replicas: &[ReplicaStatus], as_table: bool, paint: Paint) -> String {
    match replicas {
        [ReplicaStatus { label, status: Ok(status) }] if !as_table => detail(label, status, paint),
        replicas => overview(replicas, paint),
    }
}

/// One JSON object for each process and line: `{"replica", "error", "status"}`. `error` or `status` is
/// `null`; `status` is the answer of `GET /status`.
#[must_use]
pub fn json(replicas: &[ReplicaStatus]) -> String {
    let line = |ReplicaStatus { label, status }: &ReplicaStatus| {
        let (status, error) = (status.as_ref().ok(), status.as_ref().err());
        let document = serde_json::json!({ "replica": label, "error": error, "status": status });
        format!("{document}\n")
    };
    replicas.iter().map(line).collect()
}

fn detail(label: &str, status: &Value, paint: Paint) -> String {
    let state = word(status, "/state");
    let tone = if state == "ready" { Tone::Good } else { Tone::Bad };
    let mut out = format!(
        "{} at {}: {}, up {}\n",
        paint.paint(Tone::Heading, &format!("s3proxy {}", word(status, "/version"))),
        escaped(label),
        paint.paint(tone, &state),
        duration(status.pointer("/uptime_seconds").and_then(Value::as_u64).unwrap_or_default()),
    );
    let mut line = |name: &str, tone: Tone, text: &str| {
        let name = paint.paint(Tone::Faint, &format!("{name:<12}"));
        out.push_str(&format!("  {name} {}\n", paint.paint(tone, text)));
    };
    let requests = format!(
        "{}/s, {} in flight, hit rate {}, first byte p50 {}, p99 {}, {}/s sent",
        number(float(status, "/requests/per_second")),
        word(status, "/requests/in_flight"),
        percent(float(status, "/requests/hit_rate")),
        milliseconds(float(status, "/requests/p50_milliseconds")),
        milliseconds(float(status, "/requests/p99_milliseconds")),
        bytes(float(status, "/requests/bytes_per_second")),
    );
    line("requests", Tone::Normal, &requests);
    let failures = float(status, "/requests/failures_per_second");
    let tone = if failures.is_some_and(|it| it > 0.0) { Tone::Bad } else { Tone::Normal };
    line("failures", tone, &format!("{}/s", number(failures)));
    let stores = format!(
        "{}/s, {} in flight",
        number(float(status, "/stores/requests_per_second")),
        word(status, "/stores/in_flight"),
    );
    line("stores", Tone::Normal, &stores);
    let connections =
        format!("{} of {}", word(status, "/connections/open"), word(status, "/connections/limit"));
    line("connections", Tone::Normal, &connections);
    line("memory", Tone::Normal, &fill(status, false));
    let down = status.pointer("/cache/disk_up") == Some(&Value::Bool(false));
    let tone = if down { Tone::Bad } else { Tone::Normal };
    let remark = if down { ", out of service" } else { "" };
    line("disk", tone, &format!("{}{remark}", fill(status, true)));
    match status.pointer("/cache/shared_up") {
        Some(Value::Bool(true)) => line("shared", Tone::Normal, "in use"),
        Some(Value::Bool(false)) => line("shared", Tone::Bad, "out of service"),
        _ => {}
    }
    let failing = is_reload_failing(status);
    let reloads = format!(
        "{} succeeded, {} failed{}",
        word(status, "/reloads/succeeded"),
        word(status, "/reloads/failed"),
        if failing {
            "; the files are invalid, the previous configuration stays in force"
        } else {
            ""
        },
    );
    line("reloads", if failing { Tone::Bad } else { Tone::Normal }, &reloads);
    out.push('\n');
    out.push_str(&profiles(status).text("", paint));
    if let Some(errors) = errors(status) {
        out.push('\n');
        out.push_str(&errors.text("", paint));
    }
    out
}

fn profiles(status: &Value) -> Table {
    let columns =
        ["profile", "state", "endpoint", "access key", "last success", "last error", "in flight"];
    let mut table = Table::new(&columns);
    for profile in list(status, "/profiles") {
        let (state, tone) = profile_state(profile);
        let error = match word(profile, "/last_error/cause") {
            cause if cause == NOTHING => "none".to_owned(),
            cause => format!("{cause}, {}", time(status, &word(profile, "/last_error/at"))),
        };
        let normal = |text: String| (Tone::Normal, text);
        table.row([
            normal(word(profile, "/profile")),
            (tone, state.to_owned()),
            normal(endpoints(profile)),
            normal(word(profile, "/key_id")),
            normal(time(status, &word(profile, "/last_success"))),
            normal(error),
            normal(format!(
                "{} of {}",
                word(profile, "/in_flight"),
                word(profile, "/in_flight_limit")
            )),
        ]);
    }
    table
}

/// The endpoint of a profile; of several each, with the fault of those that requests do not go to.
fn endpoints(profile: &Value) -> String {
    let all = list(profile, "/endpoints");
    if all.is_empty() {
        return word(profile, "/endpoint");
    }
    let one = |endpoint: &Value| match word(endpoint, "/fault") {
        fault if fault == NOTHING => word(endpoint, "/endpoint"),
        fault => format!("{} ({fault})", word(endpoint, "/endpoint")),
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The state of a profile by its last success and its last error, whose times compare as text.
fn profile_state(profile: &Value) -> (&'static str, Tone) {
    let at = |path| profile.pointer(path).and_then(Value::as_str);
    if word(profile, "/credentials").starts_with("missing") {
        return ("no access key", Tone::Bad);
    }
    if at("/renewal_error").is_some() {
        return ("credentials not renewed", Tone::Bad);
    }
    let is_degraded = || {
        let mut endpoints = list(profile, "/endpoints").iter();
        endpoints.any(|endpoint| word(endpoint, "/breaker") == "open")
    };
    match (at("/last_success"), at("/last_error/at")) {
        (success, Some(error)) if success.is_none_or(|success| error > success) => {
            ("failing", Tone::Bad)
        }
        _ if is_degraded() => ("endpoint left out", Tone::Bad),
        (Some(_), _) => ("ok", Tone::Good),
        (None, _) => ("not used yet", Tone::Faint),
    }
}

fn errors(status: &Value) -> Option<Table> {
    let causes = list(status, "/errors");
    if causes.is_empty() {
        return None;
    }
    let mut table = Table::new(&["cause", "last minute", "since the start"]);
    for cause in causes {
        let recent = cause.pointer("/last_minute").and_then(Value::as_u64).unwrap_or_default();
        let failure = cause.pointer("/failure") == Some(&Value::Bool(true));
        let tone = if failure && recent > 0 { Tone::Bad } else { Tone::Normal };
        table.row([
            (tone, word(cause, "/cause")),
            (tone, recent.to_string()),
            (Tone::Normal, word(cause, "/total")),
        ]);
    }
    Some(table)
}

fn overview(replicas: &[ReplicaStatus], paint: Paint) -> String {
    const COLUMNS: [&str; 9] = [
        "replica",
        "state",
        "requests/s",
        "hit rate",
        "p99",
        "failures/s",
        "to stores",
        "connections",
        "memory",
    ];
    let mut table = Table::new(&COLUMNS);
    let mut problems = String::new();
    for ReplicaStatus { label, status } in replicas {
        let normal = |text: String| (Tone::Normal, text);
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                let mut row = [const { (Tone::Normal, String::new()) }; COLUMNS.len()];
                row[0].1.clone_from(label);
                row[1] = (Tone::Bad, "no answer".to_owned());
                table.row(row);
                problems.push_str(&format!("{}: {}\n", escaped(label), escaped(error)));
                continue;
            }
        };
        let state = word(status, "/state");
        let failures = float(status, "/requests/failures_per_second");
        table.row([
            normal(label.clone()),
            (if state == "ready" { Tone::Good } else { Tone::Bad }, state),
            normal(number(float(status, "/requests/per_second"))),
            normal(percent(float(status, "/requests/hit_rate"))),
            normal(milliseconds(float(status, "/requests/p99_milliseconds"))),
            (
                if failures.is_some_and(|it| it > 0.0) { Tone::Bad } else { Tone::Normal },
                number(failures),
            ),
            normal(word(status, "/stores/in_flight")),
            normal(word(status, "/connections/open")),
            normal(fill(status, false)),
        ]);
        for profile in list(status, "/profiles") {
            for endpoint in list(profile, "/endpoints") {
                if word(endpoint, "/breaker") == "open" {
                    problems.push_str(&format!(
                        "{}: profile {}: endpoint {} is left out: {}\n",
                        escaped(label),
                        word(profile, "/profile"),
                        word(endpoint, "/endpoint"),
                        word(endpoint, "/fault"),
                    ));
                }
            }
            if profile_state(profile).0 == "failing" {
                problems.push_str(&format!(
                    "{}: profile {} fails: {}\n",
                    escaped(label),
                    word(profile, "/profile"),
                    word(profile, "/last_error/cause"),
                ));
            }
        }
        if is_reload_failing(status) {
            let label = escaped(label);
            problems.push_str(&format!("{label}: the files of the configuration are invalid\n"));
        }
    }
    let table = table.text("", paint);
    if problems.is_empty() { table } else { format!("{table}\n{problems}") }
}

fn is_reload_failing(status: &Value) -> bool {
    status.pointer("/reloads/failing") == Some(&Value::Bool(true))
}

/// Where there is no number.
const NOTHING: &str = "-";

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn word(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        Some(Value::String(text)) => escaped(text),
        None | Some(Value::Null) => NOTHING.to_owned(),
        Some(other) => other.to_string(),
    }
}

fn float(value: &Value, path: &str) -> Option<f64> {
    value.pointer(path).and_then(Value::as_f64)
}

/// A time as it is read at night: without the date if it is that of the gateway now.
fn time(status: &Value, rfc3339: &str) -> String {
    let now = word(status, "/now");
    let parts = |text: &str| {
        let (date, time) = text.split_once('T')?;
        Some((date.to_owned(), time.split('.').next()?.to_owned()))
    };
    match (parts(rfc3339), parts(&now)) {
        (Some((date, time)), Some((today, _))) if date == today => format!("{time} UTC"),
        (Some((date, time)), _) => format!("{date} {time} UTC"),
        (None, _) => "never".to_owned(),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(
        || NOTHING.to_owned(),
        |value| match value {
            value if value >= 100.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        },
    )
}

fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| NOTHING.to_owned(), |part| format!("{:.1} %", part * 100.0))
}

fn milliseconds(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 1000.0 => format!("{} s", number(Some(value / 1000.0))),
        Some(value) => format!("{} ms", number(Some(value))),
        None => NOTHING.to_owned(),
    }
}

fn bytes(value: Option<f64>) -> String {
    let Some(mut value) = value else { return NOTHING.to_owned() };
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") }
}

/// How full memory or disk is.
fn fill(status: &Value, disk: bool) -> String {
    let tiers = list(status, "/cache/tiers").iter();
    let tiers: Vec<&Value> = tiers.filter(|tier| (word(tier, "/tier") == "disk") == disk).collect();
    if tiers.is_empty() {
        return "off".to_owned();
    }
    let sum = |path: &str| tiers.iter().filter_map(|tier| float(tier, path)).sum::<f64>();
    let (held, limit) = (sum("/bytes"), sum("/limit"));
    let part = if limit > 0.0 { held / limit } else { 0.0 };
    format!("{} of {} ({})", bytes(Some(held)), bytes(Some(limit)), percent(Some(part)))
}

/// The largest unit that fits, and the next one.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "version": "3.0.0", "now": "2026-11-29T02:00:00.000000Z", "state": "ready",
            "uptime_seconds": 3_700,
            "requests": {
                "per_second": 12.3, "bytes_per_second": 1_572_864.0, "hit_rate": 0.912,
                "p50_milliseconds": 0.4, "p99_milliseconds": 1_200.0,
                "failures_per_second": 0.5, "in_flight": 3, "total": 9,
            },
            "errors": [
                { "cause": "upstream_timeout", "failure": true, "last_minute": 3, "total": 12 },
            ],
            "stores": { "requests_per_second": 1.0, "in_flight": 2 },
            "connections": { "open": 5, "limit": 100 },
            "cache": {
                "tiers": [
                    { "tier": "memory", "bytes": 1_048_576, "limit": 3_145_728, "entries": 4 },
                    { "tier": "blocks", "bytes": 0, "limit": 1_048_576, "entries": 0 },
                ],
                "disk_up": null,
                "shared_up": false,
            },
            "profiles": [
                {
                    "profile": "hips", "endpoint": "https://s3.example.org", "credentials": "x",
                    "key_id": "...7QXM", "last_success": "2026-11-28T23:00:01.5Z",
                    "last_error": { "at": "2026-11-29T01:00:00.0Z", "cause": "upstream_timeout" },
                    "in_flight": 2, "in_flight_limit": 64,
                },
            ],
            "reloads": { "succeeded": 2, "failed": 0, "failing": false },
        })
    }

    #[test]
    fn an_endpoint_that_is_left_out_is_named() {
        let mut status = status();
        status["profiles"][0]["last_error"] = json!(null);
        status["profiles"][0]["endpoints"] = json!([
            { "endpoint": "https://a", "breaker": "open", "fault": "no connection" },
            { "endpoint": "https://b", "breaker": "closed", "fault": null },
        ]);
        let replica = ReplicaStatus { label: "127.0.0.1:9090".to_owned(), status: Ok(status) };
        let table = text(std::slice::from_ref(&replica), true, Paint::Plain);
        assert!(
            table.contains("profile hips: endpoint https://a is left out: no connection\n"),
            "{table}"
        );
        let text = text(&[replica], false, Paint::Plain);
        assert!(
            text.contains("hips     endpoint left out  https://a (no connection), https://b"),
            "{text}"
        );
    }

    #[test]
    fn one_process_is_shown_in_detail() {
        let replica = ReplicaStatus { label: "127.0.0.1:9090".to_owned(), status: Ok(status()) };
        let table = text(std::slice::from_ref(&replica), true, Paint::Plain);
        assert!(table.lines().nth(1).is_some_and(|line| line.starts_with("127.0.0.1:9090  ready")));
        let text = text(&[replica], false, Paint::Plain);
        for line in [
            "s3proxy 3.0.0 at 127.0.0.1:9090: ready, up 1 h 1 min\n",
            "  requests     12.3/s, 3 in flight, hit rate 91.2 %, first byte p50 0.40 ms, p99 1.20 s, \
             1.5 MiB/s sent\n",
            "  failures     0.50/s\n",
            "  memory       1.0 MiB of 4.0 MiB (25.0 %)\n",
            "  disk         off\n",
            "  shared       out of service\n",
            "hips     failing  https://s3.example.org  ...7QXM     2026-11-28 23:00:01 UTC  \
             upstream_timeout, 01:00:00 UTC  2 of 64\n",
            "upstream_timeout  3            12\n",
        ] {
            assert!(text.contains(line), "{line}\nin\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn several_processes_are_a_table_that_names_what_is_wrong() {
        let replicas = [
            ReplicaStatus { label: "10.0.0.1:9090".to_owned(), status: Ok(status()) },
            ReplicaStatus {
                label: "10.0.0.2:9090".to_owned(),
                status: Err("refused \u{1b}[2J".to_owned()),
            },
        ];
        let text = text(&replicas, false, Paint::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("10.0.0.1:9090  ready      12.3"), "{text}");
        assert!(lines[2].starts_with("10.0.0.2:9090  no answer"), "{text}");
        assert!(text.contains("10.0.0.1:9090: profile hips fails: upstream_timeout\n"), "{text}");
        assert!(text.contains("10.0.0.2:9090: refused \\u{1b}[2J\n"), "{text}");
        let json = json(&replicas);
        let lines: Vec<Value> =
            json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines[0]["status"], status());
        assert_eq!((&lines[1]["status"], lines[1]["error"].is_string()), (&Value::Null, true));
    }

    #[test]
    fn an_answer_of_another_form_is_no_panic() {
        for status in [json!(null), json!([]), json!({ "profiles": 1, "requests": [], "now": 5 })] {
            let replica = ReplicaStatus { label: "a:1".to_owned(), status: Ok(status) };
            assert!(!text(std::slice::from_ref(&replica), false, Paint::Colour).is_empty());
            assert!(!text(&[replica.clone(), replica], false, Paint::Plain).is_empty());
        }
    }
}
