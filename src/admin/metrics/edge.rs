//! Metrics of what precedes a request: handshakes of TLS, certificates, headers of the PROXY protocol.

use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::admin::metrics::family;
use crate::downstream::http2::Http2Counts;
use crate::downstream::proxy_protocol::ProxyHeaderCounts;
use crate::downstream::tls::TlsAcceptors;

fn counted(times: &AtomicU64) -> ConstCounter<u64> {
    ConstCounter::new(times.load(Ordering::Relaxed))
}

pub(super) fn handshakes(
    page: &mut DescriptorEncoder<'_>,
    tls: &TlsAcceptors,
) -> Result<(), Error> {
    if tls.iter().next().is_none() {
        return Ok(());
    }
    let counters = tls.iter().flat_map(|acceptor| {
        let (listener, counts) = (acceptor.side.name(), &acceptor.handshakes);
        [
            ("done", &counts.done),
            ("failed", &counts.failed),
            ("timeout", &counts.timed_out),
            ("plain_http", &counts.plain),
            ("displaced", &counts.displaced),
        ]
        .map(|(outcome, times)| ([("listener", listener), ("outcome", outcome)], counted(times)))
    });
    family(
        page,
        "s3proxy_tls_handshakes",
        "New connections to the ports for TLS, by the outcome of the handshake.",
        counters,
    )
}

pub(super) fn expiries(page: &mut DescriptorEncoder<'_>, tls: &TlsAcceptors) -> Result<(), Error> {
    let all: Vec<_> = tls.iter().map(|it| (it.side.name(), it.expiries())).collect();
    if all.is_empty() {
        return Ok(());
    }
    let gauges = all.iter().flat_map(|(listener, expiries)| {
        expiries.iter().map(|(name, seconds)| {
            ([("listener", *listener), ("name", name.as_str())], ConstGauge::new(*seconds))
        })
    });
    family(
        page,
        "s3proxy_tls_certificate_not_after_timestamp_seconds",
        "When a certificate of the gateway expires, by its first name.",
        gauges,
    )
}

pub(super) fn http2(
    page: &mut DescriptorEncoder<'_>,
    counts: Option<&Http2Counts>,
) -> Result<(), Error> {
    let Some(counts) = counts else { return Ok(()) };
    family(
        page,
        "s3proxy_http2_connections",
        "Connections of HTTP/2 that have ended, by how they ended.",
        counts.ends().map(|(end, times)| ([("end", end.label())], ConstCounter::new(times))),
    )
}

pub(super) fn proxy_headers(
    page: &mut DescriptorEncoder<'_>,
    counts: &ProxyHeaderCounts,
) -> Result<(), Error> {
    let outcomes = [
        ("done", &counts.done),
        ("local", &counts.local),
        ("missing", &counts.missing),
        ("malformed", &counts.malformed),
        ("timeout", &counts.timed_out),
        ("closed", &counts.closed),
        ("untrusted", &counts.untrusted),
        ("displaced", &counts.displaced),
    ];
    family(
        page,
        "s3proxy_proxy_headers",
        "New connections to listeners with the PROXY protocol, by what came of the header.",
        outcomes.map(|(outcome, times)| ([("outcome", outcome)], counted(times))),
    )
}
