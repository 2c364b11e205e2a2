//! The two formats of a scrape: OpenMetrics text, and the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>) for clients that ask for `text/plain`.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::ACCEPT;

/// A format of a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScrapeFormat {
    OpenMetrics,
    Prometheus,
}

impl ScrapeFormat {
    /// The format that `Accept` prefers; OpenMetrics if it prefers neither.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let ranges: Vec<_> = lines.flat_map(|line| line.split(',')).map(quality).collect();
        let best = |kinds: [&str; 2]| {
            let of_kinds = ranges.iter().filter(|(range, _)| kinds.contains(&range.as_str()));
            of_kinds.map(|(_, quality)| *quality).fold(0.0, f32::max)
        };
        let plain = best(["text/plain", "text/*"]);
        let open = best(["application/openmetrics-text", "application/*"]);
        if plain > open { Self::Prometheus } else { Self::OpenMetrics }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// OpenMetrics text in this format.
    pub(super) fn text(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus(&open_metrics),
        }
    }
}

/// A media range in lower case, and its quality from 0 to 1.
fn quality(range: &str) -> (String, f32) {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (name, quality.unwrap_or(1.0))
}

/// The same metrics in the text format of Prometheus: there the suffix of a counter or of an info is part
/// of its name, an info is a gauge, and nothing follows the last metric.
fn prometheus(open_metrics: &str) -> String {
    let kinds: BTreeMap<&str, &str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let named = |name: &str| match kinds.get(name) {
        Some(&"counter") => format!("{name}_total"),
        Some(&"info") => format!("{name}_info"),
        _ => name.to_owned(),
    };
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            let kind = match kind {
                "info" => "gauge",
                "unknown" => "untyped",
                kind => kind,
            };
            text.push_str(&format!("# TYPE {} {kind}\n", named(name)));
        } else if let Some((name, help)) =
            line.strip_prefix("# HELP ").and_then(|it| it.split_once(' '))
        {
            text.push_str(&format!("# HELP {} {help}\n", named(name)));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_format_is_the_one_that_accept_prefers() {
        use ScrapeFormat::{OpenMetrics, Prometheus};
        for (accept, format) in [
            ("", OpenMetrics),
            ("*/*", OpenMetrics),
            ("text/html", OpenMetrics),
            ("text/plain", Prometheus),
            ("Text/Plain; version=0.0.4", Prometheus),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Prometheus),
            ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.5", OpenMetrics),
            ("application/openmetrics-text;q=0.5,text/plain;version=0.0.4;q=0.6", Prometheus),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(ScrapeFormat::of(&headers), format, "{accept}");
        }
    }

    #[test]
    fn the_text_of_prometheus_has_whole_names_and_no_end() {
        let open = "# HELP a A.\n# TYPE a counter\na_total{b=\"# c\"} 1\n# HELP v V.\n\
                    # TYPE v info\nv_info{x=\"1\"} 1\n# HELP g G.\n# TYPE g gauge\n# UNIT g s\ng 2\n# EOF\n";
        let plain = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"# c\"} 1\n# HELP v_info V.\n\
                     # TYPE v_info gauge\nv_info{x=\"1\"} 1\n# HELP g G.\n# TYPE g gauge\ng 2\n";
        assert_eq!(ScrapeFormat::Prometheus.text(open.to_owned()), plain);
        assert_eq!(ScrapeFormat::OpenMetrics.text(open.to_owned()), open);
    }
}
