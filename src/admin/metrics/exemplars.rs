//! Exemplars: each bucket of a latency histogram names the last recorded trace that fell into it
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars>). They are added to the text of a scrape: the
//! exemplars of prometheus-client can only be made by its own histograms.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use crate::metrics::histogram::TracedDuration;

/// The exemplars of one series.
#[derive(Debug)]
pub(super) struct SeriesExemplars {
    /// Name and labels but `le`, as in [`series_of`].
    series: String,
    traced: Vec<(usize, TracedDuration)>,
}

impl SeriesExemplars {
    /// The exemplars of the buckets of the histogram with this name and these labels, whose values need no
    /// escapes.
    pub(super) fn new(
        name: &str,
        labels: &[(&str, &str)],
        traced: Vec<(usize, TracedDuration)>,
    ) -> Self {
        let mut series = name.to_owned();
        for (label, value) in labels {
            let _never_fails = write!(series, ",{label}=\"{value}\"");
        }
        Self { series, traced }
    }
}

/// Name and labels but `le` of the line of a bucket: `NAME,LABEL="VALUE"`.
fn series_of(line: &str) -> Option<String> {
    let (name, rest) = line.split_once("_bucket{le=\"")?;
    let (_, rest) = rest.split_once('"')?;
    let (labels, _) = rest.split_once("} ")?;
    Some([name, labels].concat())
}

/// The page with these exemplars.
pub(super) fn with_exemplars(page: &str, exemplars: Vec<SeriesExemplars>) -> String {
    let traced = exemplars.into_iter().filter(|it| !it.traced.is_empty());
    // With the number of the bucket whose line comes next.
    let mut by_series: HashMap<String, (usize, Vec<(usize, TracedDuration)>)> =
        traced.map(|it| (it.series, (0, it.traced))).collect();
    if by_series.is_empty() {
        return page.to_owned();
    }
    let mut text = String::with_capacity(page.len() + 4096);
    for line in page.lines() {
        text.push_str(line);
        let series = series_of(line);
        if let Some((bucket, traced)) = series.and_then(|series| by_series.get_mut(&series)) {
            let found = traced.iter().find(|(index, _)| index == bucket);
            *bucket += 1;
            if let Some((_, TracedDuration { trace_id, seconds, at })) = found {
                let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                let _never_fails =
                    write!(text, " # {{trace_id=\"{trace_id:032x}\"}} {seconds} {at:.3}");
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_line_of_a_bucket_names_its_trace() {
        let page = "# TYPE a histogram\na_sum{p=\"x\"} 1.5\na_bucket{le=\"0.1\",p=\"x\"} 1\n\
                    a_bucket{le=\"+Inf\",p=\"x\"} 2\na_bucket{le=\"0.1\",p=\"y\"} 1\n# EOF\n";
        let at = UNIX_EPOCH + Duration::from_millis(1500);
        let traced = TracedDuration { trace_id: 0xab, seconds: 1.25, at };
        let exemplars =
            |index| vec![SeriesExemplars::new("a", &[("p", "x")], vec![(index, traced)])];
        let id = format!("{:032x}", 0xab);
        for (index, line) in
            [(0, "a_bucket{le=\"0.1\",p=\"x\"} 1"), (1, "a_bucket{le=\"+Inf\",p=\"x\"} 2")]
        {
            let expected = format!("{line} # {{trace_id=\"{id}\"}} 1.25 1.500\n");
            let made = with_exemplars(page, exemplars(index));
            assert_eq!(made, page.replace(&format!("{line}\n"), &expected));
        }
        assert_eq!(with_exemplars(page, exemplars(7)), page);
        assert_eq!(with_exemplars(page, Vec::new()), page);
    }
}
