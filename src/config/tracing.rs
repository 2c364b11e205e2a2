//! Traces: the collector that they are sent to, and which requests are recorded.

use std::path::PathBuf;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
};
use http::{HeaderName, HeaderValue};

use crate::config::Profiles;
use crate::config::layers::{Layers, Location, Reported};
use crate::config::load::{Inputs, unreadable};
use crate::config::problem::Problem;
use crate::config::settings::paths;
use crate::config::settings::profile::store;
use crate::config::settings::tracing::{WrittenTracing, tracing};
use crate::config::value::{Written, optional, text};
use crate::protocol::trace_context::TRACEPARENT;
use crate::s3::endpoint::Endpoint;
use crate::s3::secret::Secret;

/// The port that collectors have for OTLP over gRPC; that for HTTP is 4318.
const GRPC_PORT: u16 = 4317;

/// The path of spans below an endpoint (OTLP, section "OTLP/HTTP Request").
pub const TRACES: &str = "/v1/traces";

/// Headers that the gateway sets itself.
const OWN: [HeaderName; 6] =
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING];

/// Where spans are sent, and of which requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracingConfig {
    /// Of the collector.
    pub endpoint: Endpoint,
    /// Read for each request to the collector, by [`collector_headers`].
    pub headers_file: Option<PathBuf>,
    /// Parts per million of the traces that begin at the gateway.
    pub sample: u32,
    pub trust_clients: bool,
    pub service_name: String,
    /// How many spans may wait for the collector.
    pub queue: usize,
}

/// Reads the settings; `None` if there are no traces.
pub(super) fn read(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
) -> Result<Option<TracingConfig>, Reported> {
    let written = WrittenTracing::read(layers, &Location::default())?;
    let WrittenTracing { endpoint, headers_file, sample, trust_clients, service_name, queue } =
        written;
    let (endpoint_key, row) = (tracing::endpoint().row.path, tracing::headers_file().row);
    if let Some(path) = &headers_file {
        let source = layers.report.source(row.path);
        let problems = match (inputs.read)(path) {
            Ok(text) => {
                let mistakes = collector_headers(&text).err().unwrap_or_default();
                mistakes.into_iter().map(|it| Problem::new(source.clone(), it)).collect()
            }
            Err(error) => vec![unreadable(source, path, &error)],
        };
        for problem in problems {
            layers.report.problem(problem.key(row.path).value(path.display().to_string()));
        }
    }
    let Some(endpoint) = endpoint else { return Ok(None) };
    if endpoint.port == GRPC_PORT {
        layers.report.warnings.push(format!(
            "{endpoint_key} has the port {GRPC_PORT}, where collectors accept gRPC: spans are sent over \
             HTTP, which collectors accept on port 4318"
        ));
    }
    if endpoint.base_path.ends_with(TRACES) {
        layers.report.warnings.push(format!(
            "{endpoint_key} ends with {TRACES}, to which the gateway adds {TRACES}: leave it out"
        ));
    }
    Ok(Some(TracingConfig { endpoint, headers_file, sample, trust_clients, service_name, queue }))
}

/// Warns of profiles that send a `traceparent` of their own, which is signed and so stays as it is.
pub(super) fn check_profiles(
    layers: &mut Layers<'_>,
    tracing: Option<&TracingConfig>,
    profiles: &Profiles,
) {
    for profile in profiles.iter().filter(|_| tracing.is_some()) {
        if !profile.upstream_headers.iter().any(|(name, _)| *name == TRACEPARENT) {
            continue;
        }
        let place = paths::written(&layers.profile_path(profile.name.as_deref()));
        layers.report.warnings.push(format!(
            "{place}.{} has {TRACEPARENT}, which is sent as it is: the spans of this store are not part of the \
             traces of the gateway",
            store::upstream_headers().row.path
        ));
    }
}

/// The headers in a file, one `Name: value` a line; blank lines and those that begin with `#` are passed over.
///
/// # Errors
/// Which lines are no headers. The messages show no value.
pub fn collector_headers(text: &str) -> Result<Vec<(HeaderName, Secret)>, Vec<String>> {
    // Some editors put a byte order mark before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let header = |(number, line): (usize, &str)| {
        let wrong = |what: &str| Err(format!("names a file whose line {number} {what}"));
        let Some((name, value)) = line.split_once(':') else {
            return wrong("is not a header: it has no colon");
        };
        let (Ok(name), value) = (HeaderName::try_from(name.trim()), value.trim()) else {
            return wrong("is not a header: its name has characters that no name may have");
        };
        if OWN.contains(&name) {
            return wrong("has a header that the gateway sets itself");
        }
        if value.is_empty() || HeaderValue::from_str(value).is_err() {
            return wrong("has a value that cannot be sent: visible ASCII characters are needed");
        }
        Ok((name, Secret::new(value.to_owned())))
    };
    let (headers, mistakes): (Vec<_>, Vec<_>) = lines.map(header).partition(Result::is_ok);
    match mistakes.is_empty() {
        true => Ok(headers.into_iter().flatten().collect()),
        false => Err(mistakes.into_iter().filter_map(Result::err).collect()),
    }
}

/// Reads the URL of a collector; nothing written is `None`.
pub(super) fn collector_url(written: Written<'_>) -> Result<Option<Endpoint>, String> {
    optional(written, |written| {
        let url = text(written)?;
        if url.contains('@') {
            return Err(
                "must be a URL without user info: put it into tracing.headers_file".to_owned()
            );
        }
        Endpoint::parse(&url).map_err(|error| format!("must be a URL: {error}"))
    })
}

/// Reads a ratio from 0 to 1 as parts per million.
pub(super) fn ratio(written: Written<'_>) -> Result<u32, String> {
    let text = written.scalar();
    let ratio = text.and_then(|text| text.parse::<f64>().ok());
    let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to a million"
    )]
    let parts = ratio.map(|ratio| (ratio * 1e6).round() as u32);
    parts.ok_or_else(|| "must be a number from 0 to 1, such as 0.01".to_owned())
}

/// Reads the name of a service: any line of text that is not blank.
pub(super) fn service_name(written: Written<'_>) -> Result<String, String> {
    let name = text(written)?;
    let is_line = !name.trim().is_empty() && name.len() <= 255;
    match is_line && !name.contains(char::is_control) {
        true => Ok(name),
        false => Err("must be a line of text, 1 to 255 bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::{Flags, Loaded, load};

    fn loaded(
        yaml: &str,
        variables: &[(&str, &str)],
        headers: Option<&str>,
    ) -> Result<Loaded, Vec<Problem>> {
        let read = |path: &Path| match (path.to_str(), headers) {
            (Some("s3proxy.yaml"), _) => Ok(yaml.to_owned()),
            (Some("headers"), Some(text)) => Ok(text.to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(&Inputs {
            environment: variables.collect::<BTreeMap<_, _>>(),
            flags: Flags { config: Some("s3proxy.yaml".to_owned()), ..Flags::default() },
            processors: 1,
            read: &read,
        })
    }

    #[test]
    fn traces_are_off_without_a_collector_and_follow_the_variables_of_opentelemetry() {
        assert!(loaded("", &[], None).expect("valid").config.tracing.is_none());
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example.org/otlp/"),
            ("OTEL_SERVICE_NAME", "sky"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ];
        let config = loaded("", &variables, None).expect("valid").config.tracing.expect("traces");
        assert_eq!(config.endpoint.to_string(), "https://collector.example.org/otlp");
        assert_eq!((config.sample, config.service_name.as_str()), (250_000, "sky"));
        assert!(!config.trust_clients);
        let yaml = "tracing: {endpoint: 'http://c:4317', headers_file: headers, sample: 1}";
        let found = loaded(yaml, &[], Some("\u{feff}# for us\nAuthorization: Bearer s3cret\n\n"));
        let found = found.expect("valid");
        assert_eq!(found.config.tracing.expect("traces").sample, 1_000_000);
        assert!(found.warnings.iter().any(|it| it.contains("4318")), "{:?}", found.warnings);
    }

    #[test]
    fn a_profile_with_a_traceparent_of_its_own_is_warned_of_where_there_are_traces() {
        let profiles = "profiles: {a: {endpoint: 'http://s', upstream_headers: {Traceparent: x}}, \
                        b: {endpoint: 'http://s', upstream_headers: {x-a: x}}}";
        for (tracing, expected) in [("", 0), ("\ntracing: {endpoint: 'http://c:4318'}", 1)] {
            let found = loaded(&format!("{profiles}{tracing}"), &[], None).expect("valid").warnings;
            let own = found.iter().filter(|it| {
                it.contains("profiles.a.upstream_headers has traceparent, which is sent as it is")
            });
            assert_eq!(own.count(), expected, "{found:?}");
        }
    }

    #[test]
    fn a_path_that_would_be_there_twice_is_a_warning() {
        for (path, is_warned) in [("", false), ("/v1/traces", true), ("/otlp/v1/traces/", true)] {
            let yaml = format!("tracing: {{endpoint: 'http://c:4318{path}'}}");
            let found = loaded(&yaml, &[], None).expect("valid").warnings;
            assert_eq!(found.iter().any(|it| it.contains("leave it out")), is_warned, "{found:?}");
        }
    }

    #[test]
    fn every_line_that_is_no_header_is_reported() {
        let yaml = "tracing: {headers_file: headers}";
        let found = loaded(yaml, &[], Some("a: b\ns3cret\nHost: x\nb: c\nc:")).err();
        let found: Vec<String> = found.iter().flatten().map(ToString::to_string).collect();
        for (problem, line) in found.iter().zip(["line 2 ", "line 3 ", "line 5 "]) {
            assert!(problem.contains(line) && !problem.contains("s3cret"), "{problem}");
        }
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn every_mistake_is_reported_and_no_secret() {
        for (yaml, headers, problem) in [
            ("tracing: {endpoint: 'http://u:s3cret@c'}", None, "without user info"),
            ("tracing: {endpoint: 'c:4318'}", None, "must be a URL"),
            ("tracing: {sample: 1.1}", None, "must be a number from 0 to 1"),
            ("tracing: {sample: -0.1}", None, "must be a number from 0 to 1"),
            ("tracing: {sample: .nan}", None, "must be a number from 0 to 1"),
            ("tracing: {service_name: ' '}", None, "must be a line of text"),
            ("tracing: {headers_file: headers}", None, "cannot be read"),
            ("tracing: {headers_file: headers}", Some("s3cret"), "line 1 is not a header"),
            (
                "tracing: {headers_file: headers}",
                Some("a: b\ns3 cret: x"),
                "line 2 is not a header",
            ),
            ("tracing: {headers_file: headers}", Some("a:"), "cannot be sent"),
            ("tracing: {headers_file: headers}", Some("a: s3cret\u{7f}"), "cannot be sent"),
            ("tracing: {headers_file: headers}", Some("Host: s3cret"), "the gateway sets itself"),
        ] {
            let found = loaded(yaml, &[], headers).err().unwrap_or_default();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert!(found.len() == 1 && found[0].contains(problem), "{yaml}: {found:?}");
            assert!(!found[0].contains("s3cret"), "{found:?}");
        }
    }
}
