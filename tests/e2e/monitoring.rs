//! Dashboard and alerts use only metrics, labels, and values of labels that exist in a scrape.
//! `tests/deploy/run` checks that Prometheus can read them, and that the alerts fire.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cached::with_cache;
use crate::credentials::with_issued;
use crate::crowd::{Watched, await_that, numbered};
use crate::endpoints::with_two;
use crate::metrics::{parse, with_silent_engine};
use crate::origin::Origin;

/// Metrics that Prometheus itself adds for each scraped target.
const OF_TARGETS: [&str; 4] = ["namespace", "job", "instance", "pod"];
/// Metrics of kube-state-metrics.
const OF_OTHERS: [&str; 1] = ["deployment"];

/// A metric of the gateway with its label conditions, in an expression or in a line of a scrape.
#[derive(Debug, Clone, PartialEq)]
struct Selector {
    name: String,
    /// Label, operator, value.
    labels: Vec<(String, String, String)>,
}

/// The metrics of the gateway in a text. Names with a colon are those of recording rules.
fn selectors(text: &str) -> Vec<Selector> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if letter == '"' {
            rest = quoted(rest).1;
        } else if is_word(letter) {
            let (word, after) = rest.split_at(rest.find(|at| !is_word(at)).unwrap_or(rest.len()));
            rest = after;
            let is_ours = word.starts_with("s3proxy_") || word.starts_with("process_");
            if is_ours && !word.contains(':') {
                let labels;
                (labels, rest) = braced(rest);
                found.push(Selector { name: word.to_owned(), labels });
            }
        } else {
            rest = rest.split_at(letter.len_utf8()).1;
        }
    }
    found
}

/// A text in double quotes, and the text after it.
fn quoted(text: &str) -> (String, &str) {
    let inside = text.strip_prefix('"').expect("a quote");
    let mut value = String::new();
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return (value, letters.as_str()),
            '\\' => value.extend(letters.next()),
            _ => value.push(letter),
        }
    }
    panic!("a quote without an end: {text}");
}

/// The text in braces at the start of a text, if there is one, and the text after it.
fn braced(text: &str) -> (Vec<(String, String, String)>, &str) {
    let mut labels = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (labels, text) };
    loop {
        rest = rest.trim_start_matches([',', ' ', '\n']);
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        let at = rest.find('"').unwrap_or_else(|| panic!("no value in {rest}"));
        let (said, value) = rest.split_at(at);
        let label = said.trim_end_matches(['=', '!', '~', ' ']);
        let operator = said.trim_start_matches(label).trim();
        let (value, after) = quoted(value);
        labels.push((label.to_owned(), operator.to_owned(), value));
        rest = after;
    }
}

/// The labels that an expression groups or joins by.
fn groupings(expression: &str) -> BTreeSet<&str> {
    let words = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    let mut parts = expression.split('(');
    let mut before = parts.next().unwrap_or_default();
    let mut labels = BTreeSet::new();
    for part in parts {
        if before.split_whitespace().next_back().is_some_and(|word| words.contains(&word)) {
            let inside = part.split(')').next().unwrap_or_default();
            labels.extend(inside.split(',').map(str::trim).filter(|label| !label.is_empty()));
        }
        before = part;
    }
    labels
}

/// The metrics and labels that an expression uses and the scrape does not have.
fn missing(expression: &str, scraped: &[Selector]) -> Vec<String> {
    let mut missing = Vec::new();
    for Selector { name, labels } in selectors(expression) {
        let samples: Vec<_> = scraped.iter().filter(|sample| sample.name == name).collect();
        if samples.is_empty() {
            missing.push(name);
            continue;
        }
        for (label, _, value) in labels {
            if OF_TARGETS.contains(&label.as_str()) {
                continue;
            }
            let there: BTreeSet<&str> = samples
                .iter()
                .flat_map(|sample| &sample.labels)
                .filter(|(has, ..)| *has == label)
                .map(|(.., value)| value.as_str())
                .collect();
            if there.is_empty() {
                missing.push(format!("{name}: {label}"));
            }
            // A dashboard variable, or a pattern, matches anything.
            let plain = value.split('|').filter(|one| !one.contains(['$', '.', '*', '+']));
            let unheard = plain.filter(|one| !there.contains(one));
            missing.extend(unheard.map(|one| format!("{name}: {label}={one}")));
        }
    }
    let has =
        |label: &str| scraped.iter().any(|sample| sample.labels.iter().any(|(of, ..)| of == label));
    let unknown = groupings(expression)
        .into_iter()
        .filter(|label| !OF_TARGETS.contains(label) && !OF_OTHERS.contains(label) && !has(label));
    missing.extend(unknown.map(|label| format!("by {label}")));
    missing
}

/// Every text under one of these keys, at any depth.
fn texts<'a>(value: &'a serde_yaml::Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        serde_yaml::Value::Sequence(list) => {
            list.iter().for_each(|value| texts(value, keys, found));
        }
        serde_yaml::Value::Mapping(mapping) => {
            for (key, value) in mapping {
                match value.as_str() {
                    Some(text) if key.as_str().is_some_and(|key| keys.contains(&key)) => {
                        found.push(text);
                    }
                    _ => texts(value, keys, found),
                }
            }
        }
        _ => {}
    }
}

/// The expressions of a file; JSON is valid YAML.
fn expressions(path: &str, keys: &[&str]) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let value = serde_yaml::from_str(&text).expect("YAML");
    let mut found = Vec::new();
    texts(&value, keys, &mut found);
    found.into_iter().map(str::to_owned).collect()
}

/// The scrape of a gateway with a disk tier that has cached an object and a block of another one.
fn scrape() -> Vec<Selector> {
    let origin = Origin::start();
    origin.put("a.png", "a tile");
    origin.put("big.fits", numbered(300_000));
    let folder = tempfile::tempdir().expect("a folder");
    let setup = with_issued(with_cache(&origin.url()), &origin.url());
    let setup = with_two(setup, &origin.url());
    let edge = crate::tls_port::Edge::new();
    let setup = edge.with_client_certificate(setup, "issued");
    let setup = edge
        .setup_behind(with_silent_engine(setup))
        .env("S3PROXY_CACHE_DISK_PATH", folder.path().to_str().expect("UTF-8"))
        .env("S3PROXY_CACHE_MAX_OBJECT", "100000")
        .env("S3PROXY_CACHE_BLOCKS_SIZE", "64KiB")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_TRACES_SAMPLER_ARG", "0");
    let watched = Watched::start(setup);
    for (tail, status) in [("sky/a.png", 200), ("sky/a.png", 200), ("sky/none.png", 404)] {
        assert_eq!(watched.gateway.object(tail).status(), status);
    }
    let part = watched.gateway.object_with("sky/big.fits", &[("Range", "bytes=0-9")]);
    assert_eq!(part.status(), 206);
    let hits = "s3proxy_request_ttfb_seconds_count{profile=\"default\",cache=\"hit\"}";
    await_that("the hit has ended", || watched.metric(hits) == 1);
    let scraped = watched.scrape();
    parse(&scraped);
    scraped.lines().filter(|line| !line.starts_with('#')).flat_map(selectors).collect()
}

#[test]
fn dashboard_and_alerts_use_existing_metrics() {
    let scraped = scrape();
    for (path, keys, least) in [
        ("deploy/prometheus/rules.yaml", &["expr"][..], 15),
        ("deploy/grafana/s3proxy.json", &["expr", "query"][..], 40),
    ] {
        let expressions = expressions(path, keys);
        let asked = expressions.iter().filter(|text| !selectors(text).is_empty()).count();
        assert!(asked >= least, "{path}: {asked} of {expressions:#?}");
        for expression in expressions {
            let missing = missing(&expression, &scraped);
            assert!(missing.is_empty(), "{path}: {missing:?} in {expression}");
        }
    }
}

#[test]
fn metrics_missing_from_a_scrape_are_reported() {
    let scraped = selectors("s3proxy_a_total{cause=\"x\",le=\"+Inf\"} 1\nprocess_b 2\n");
    for (expression, expected) in [
        ("sum by (cause) (rate(s3proxy_a_total{namespace=~\"$n\", cause=~\"x|y.*\"}[5m]))", ""),
        ("process_b > 0.5 and on (job, instance) s3proxy_a_total", ""),
        ("a:s3proxy_c:rate5m + s3proxy_d:x / up{container=\"s3proxy_e\"}", ""),
        ("rate(s3proxy_invented_total[5m]) / process_b", "s3proxy_invented_total"),
        ("s3proxy_a_totals", "s3proxy_a_totals"),
        ("s3proxy_a_total{bucket=\"\"}", "s3proxy_a_total: bucket; s3proxy_a_total: bucket="),
        ("s3proxy_a_total{cause!~\"x|z\"}", "s3proxy_a_total: cause=z"),
        ("sum by (namespace, user) (process_b)", "by user"),
        ("label_values(process_c{namespace=~\"$n\"}, pod)", "process_c"),
    ] {
        assert_eq!(missing(expression, &scraped).join("; "), expected, "{expression}");
    }
}

#[test]
fn metrics_are_parsed_out_of_expressions() {
    let found =
        selectors("f(s3proxy_a{b=\"}\\\"c\", d!~ \"e\"}[5m]) / s3proxy_f{} + \"s3proxy_g\"");
    let label = |label: &str, operator: &str, value: &str| {
        (label.to_owned(), operator.to_owned(), value.to_owned())
    };
    let first = vec![label("b", "=", "}\"c"), label("d", "!~", "e")];
    let expected = [("s3proxy_a", first), ("s3proxy_f", vec![])];
    let expected = expected.map(|(name, labels)| Selector { name: name.to_owned(), labels });
    assert_eq!(found, expected);
    assert_eq!(
        groupings("sum by (a, b) (x) / on (c) group_left () sum without(d) (y)"),
        BTreeSet::from(["a", "b", "c", "d"])
    );
}
