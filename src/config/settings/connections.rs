//! The settings of connections: to stores, and of clients.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::kind::{self, Kind};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::proxy::ProxyChoice;
use crate::config::settings::row::{Row, Setting, Shown};
use crate::config::value::{DAY, HOUR};

settings! {
    /// How the stores are reached.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UpstreamConfig, upstream at "upstream." {
        connect_timeout: Duration {
            kind: kind::time::<1, HOUR>(),
            variable: "S3PROXY_UPSTREAM_CONNECT_TIMEOUT",
            default: "2s",
            text: "Maximum time of the TCP connect and TLS handshake of one attempt.",
        }
        first_byte_timeout: Duration {
            kind: kind::time::<1, HOUR>(),
            variable: "S3PROXY_UPSTREAM_FIRST_BYTE_TIMEOUT",
            default: "15s",
            text: "Maximum time from a sent request to the first byte of the response. Not longer than `upstream.read_timeout`.",
        }
        read_timeout: Duration {
            kind: kind::time::<1, HOUR>(),
            variable: "S3PROXY_UPSTREAM_READ_TIMEOUT",
            default: "30s",
            text: "Maximum time between two reads of a response.",
        }
        total_timeout: Duration {
            kind: kind::time::<1, HOUR>(),
            variable: "S3PROXY_UPSTREAM_TOTAL_TIMEOUT",
            default: "20s",
            text: "Maximum time of all attempts of one request together, until the response headers arrive.",
        }
        retries: u8 {
            kind: kind::count::<u8, 0, 1>(),
            variable: "S3PROXY_UPSTREAM_RETRIES",
            default: "1",
            text: "How often a failed request is retried, by the same rules with and without the cache: no connection, a connection that ends before an answer, 500, 502, 504, or 503 without `Retry-After`. Only a request whose reused connection has ended is repeated besides.",
        }
        idle_timeout: Duration {
            kind: kind::time::<1, HOUR>(),
            variable: "S3PROXY_UPSTREAM_IDLE_TIMEOUT",
            default: "60s",
            text: "How long an idle connection to a store stays open.",
        }
        keepalive_pool_size: usize {
            kind: kind::count::<usize, 1, 100_000>(),
            variable: "S3PROXY_UPSTREAM_KEEPALIVE_POOL_SIZE",
            default: "512",
            text: "Maximum number of idle connections to all stores. There are two such pools: one for fetches of the cache, one for requests that bypass it.",
        }
        probe: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_UPSTREAM_PROBE",
            default: "true",
            text: "Send one signed request to the store of each profile at start, and again when its access key or another of its settings changes, so that `/profiles` shows whether the store accepts the access key before any client asks.",
        }
        dns_refresh: Duration {
            kind: kind::time::<1000, DAY>(),
            variable: "S3PROXY_UPSTREAM_DNS_REFRESH",
            default: "30s",
            text: "How often the host names of the stores are resolved again.",
        }
        max_in_flight: usize {
            kind: kind::count::<usize, 1, 100_000>(),
            variable: "S3PROXY_UPSTREAM_MAX_IN_FLIGHT",
            default: "256",
            text: "Maximum number of concurrent requests to the store of one profile. Range requests get at most three quarters of them, which leaves room for tiles.",
        }
        client_share: u8 {
            kind: kind::percent::<100>(),
            variable: "S3PROXY_UPSTREAM_CLIENT_SHARE",
            default: "50",
            text: "The percentage of `upstream.max_in_flight` that one client may hold with requests that bypass the cache: one `X-Auth-Request-User`, else one address. Further requests of the client wait for `upstream.queue_timeout`, then are answered 429. `100` is no limit.",
        }
        queue_timeout: Duration {
            kind: kind::time::<0, HOUR>(),
            variable: "S3PROXY_UPSTREAM_QUEUE_TIMEOUT",
            default: "1s",
            text: "How long a request over `upstream.max_in_flight` waits before it is answered 503. Cached objects are still served.",
        }
        ca_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_UPSTREAM_CA_FILE",
            default: "null",
            text: "A PEM file of CA certificates to trust instead of the system's.",
        }
        proxy: Option<ProxyChoice> {
            kind: kind::proxy(),
            variable: "S3PROXY_UPSTREAM_PROXY",
            default: "null",
            shown: Shown::Url,
            reload: "true",
            text: "The proxy on the way to the stores, such as `http://user:password@proxy:3128`, or `off`. Hosts of `NO_PROXY` are reached without it. Unset: `HTTPS_PROXY` for endpoints with `https`, `HTTP_PROXY` for those with `http`.",
        }
    }
}

settings! {
    /// How clients are treated.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct DownstreamConfig, downstream at "downstream." {
        header_timeout: Duration {
            kind: kind::time::<100, HOUR>(),
            variable: "S3PROXY_DOWNSTREAM_HEADER_TIMEOUT",
            default: "10s",
            text: "Maximum time from the first byte of a request to the end of its headers.",
        }
        header_max_bytes: usize {
            kind: kind::size::<usize, 4096, { 1 << 20 }>(),
            variable: "S3PROXY_DOWNSTREAM_HEADER_MAX_BYTES",
            default: "32KiB",
            text: "Maximum size of the request line and the headers together.",
        }
        keepalive_timeout: Duration {
            kind: kind::time::<1000, HOUR>(),
            variable: "S3PROXY_DOWNSTREAM_KEEPALIVE_TIMEOUT",
            default: "75s",
            text: "How long an idle connection of a client stays open. It must be longer than the ingress keeps its connections (60 s for ingress-nginx), or the ingress occasionally answers 502.",
        }
        write_timeout: Duration {
            kind: kind::time::<100, HOUR>(),
            variable: "S3PROXY_DOWNSTREAM_WRITE_TIMEOUT",
            default: "60s",
            text: "Maximum time of one write to a client.",
        }
        min_rate: u64 {
            kind: kind::size::<u64, 0, { 1 << 20 }>(),
            variable: "S3PROXY_DOWNSTREAM_MIN_RATE",
            default: "8KiB",
            text: "The least bytes per second at which a client reads an answer that holds a permit of a store, or any answer over HTTP/2, averaged over at least 30 s in which the gateway waited for the client. A slower client is disconnected. The answers of one connection of HTTP/2 share this rate. `0` is no limit.",
        }
        tcp_user_timeout: Duration {
            kind: kind::time::<1000, HOUR>(),
            variable: "S3PROXY_DOWNSTREAM_TCP_USER_TIMEOUT",
            default: "20s",
            text: "How long a client may acknowledge none of the bytes that wait for it before its connection is closed (the user timeout of TCP, RFC 5482): the time for which a client that vanished holds its place. A client that reads slowly acknowledges.",
        }
        max_connections: usize {
            kind: kind::count::<usize, 16, 1_000_000>(),
            variable: "S3PROXY_DOWNSTREAM_MAX_CONNECTIONS",
            default: "4096",
            text: "Maximum number of client connections. At the limit a new connection takes the place of the one that has been idle for the longest time; if none is idle, it is answered 503 and closed. A request over HTTP/2 counts like a connection while it is answered.",
        }
        http2_max_streams: u32 {
            kind: kind::count::<u32, 1, 1000>(),
            variable: "S3PROXY_DOWNSTREAM_HTTP2_MAX_STREAMS",
            default: "128",
            text: "Maximum number of concurrent requests of one connection of HTTP/2. A client waits with further ones.",
        }
        http2_max_age: Duration {
            kind: kind::time::<1000, DAY>(),
            variable: "S3PROXY_DOWNSTREAM_HTTP2_MAX_AGE",
            default: "1h",
            text: "How long a connection of HTTP/2 may be used for new requests. The client then opens another one, perhaps to another replica; requests on their way are answered. Of a client that does not acknowledge this, requests are accepted for `downstream.header_timeout` more.",
        }
        max_requests_per_user: usize {
            kind: kind::count::<usize, 0, 1_000_000>(),
            variable: "S3PROXY_DOWNSTREAM_MAX_REQUESTS_PER_USER",
            default: "0",
            text: "Maximum number of concurrent requests of one `X-Auth-Request-User`. Further requests are answered 429. `0` is no limit.",
        }
    }
}
