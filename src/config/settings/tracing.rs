//! The settings of traces.

use std::path::PathBuf;

use crate::config::kind::{self, Kind};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::settings::row::{Row, Setting, Shown};
use crate::s3::endpoint::Endpoint;

settings! {
    /// Traces, as written.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::config) struct WrittenTracing, tracing at "tracing." {
        endpoint: Option<Endpoint> {
            kind: kind::collector_url(),
            variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
            default: "null",
            shown: Shown::Url,
            text: "The URL of a collector of traces that accepts OTLP over HTTP, such as `http://localhost:4318`. Spans are sent to `/v1/traces` below it. Unset: there are no traces.",
        }
        headers_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_TRACING_HEADERS_FILE",
            default: "null",
            text: "A file of headers for the collector, one `Name: value` a line, such as `Authorization: Bearer ...`. Read again for each request to the collector.",
        }
        sample: u32 {
            kind: kind::ratio(),
            variable: "OTEL_TRACES_SAMPLER_ARG",
            default: "0.01",
            reload: "true",
            text: "Which part of the traces that begin at the gateway is recorded: `0.01` is one of a hundred requests, `1` is all.",
        }
        trust_clients: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_TRACING_TRUST_CLIENTS",
            default: "false",
            reload: "true",
            text: "Whether the `traceparent` of a request is continued and decides whether the request is recorded: for a gateway behind an ingress that takes part in traces. `false`: each request begins a trace, with a link to that of the client.",
        }
        service_name: String {
            kind: kind::service_name(),
            variable: "OTEL_SERVICE_NAME",
            default: "s3proxy",
            text: "The name of the gateway in traces (`service.name`).",
        }
        queue: usize {
            kind: kind::count::<usize, 1, 100_000>(),
            variable: "OTEL_BSP_MAX_QUEUE_SIZE",
            default: "2048",
            text: "How many spans may wait for the collector; further ones are dropped and counted. A span takes about 2 KiB.",
        }
    }
}
