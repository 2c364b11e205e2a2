//! A scrape of `/metrics`, read by parsers that are as strict as Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use openmetrics_parser::OpenMetricsValue;
use openmetrics_parser::openmetrics::parse_openmetrics;
use openmetrics_parser::prometheus::parse_prometheus;

use crate::client::Client;

/// Numbers by name and sorted labels, such as `a_total{b="c"}`.
pub(crate) type Numbers = BTreeMap<String, f64>;

/// Parses a scrape with a parser that is as strict as Prometheus.
pub(crate) fn parse(scraped: &str) -> Numbers {
    let parsed = parse_openmetrics(scraped).unwrap_or_else(|error| panic!("{error}\n{scraped}"));
    let mut numbers = Numbers::new();
    for (name, family) in &parsed.families {
        for sample in family.iter_samples() {
            let labels = sample.get_labelset().expect("labels");
            let labels: BTreeSet<_> =
                labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let labels = labels.into_iter().collect::<Vec<_>>().join(",");
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let (suffix, number) = match &sample.value {
                OpenMetricsValue::Counter(counter) => ("_total", counter.value.as_f64()),
                OpenMetricsValue::Gauge(value) => ("", value.as_f64()),
                OpenMetricsValue::Info => ("_info", 1.0),
                OpenMetricsValue::Histogram(histogram) => {
                    let count = histogram.count.expect("a count") as f64;
                    let last = histogram.buckets.last().expect("buckets");
                    assert_eq!(last.count.as_f64(), count, "{name}{labels}");
                    ("_count", count)
                }
                other => panic!("{name}: {other:?}"),
            };
            let name = format!("{name}{suffix}{labels}");
            assert_eq!(numbers.insert(name.clone(), number), None, "{name} is there twice");
        }
    }
    numbers
}

/// Parses the metrics of a running gateway in both formats, if it still answers.
pub(crate) fn check(admin: SocketAddr) {
    let scrape = |accept: &str| {
        let mut client = Client::try_connect(admin).ok()?;
        client.request("GET", "/metrics", &[("Accept", accept), ("Connection", "close")]);
        let answer = client.answer("GET")?;
        let kind = answer.header("content-type").unwrap_or_default();
        let wanted = if accept == "*/*" { "application/openmetrics-text" } else { accept };
        assert!(kind.starts_with(wanted), "{accept}: {kind}");
        Some(answer.text().to_owned())
    };
    if let Some(scraped) = scrape("*/*") {
        parse(&scraped);
    }
    if let Some(scraped) = scrape("text/plain") {
        if let Err(error) = parse_prometheus(&scraped) {
            panic!("{error}\n{scraped}");
        }
        let mut seen = BTreeSet::new();
        for line in scraped.lines().filter(|line| !line.starts_with('#')) {
            let name = line.rsplit_once(' ').map_or(line, |(name, _)| name);
            assert!(seen.insert(name), "{name} is there twice");
        }
    }
}
