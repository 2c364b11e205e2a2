//! Metrics of what precedes a request: handshakes of TLS, certificates, headers of the PROXY protocol.

use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::admin::metrics::family;
use crate::certificate::store_tls::ClientCertificate;
use crate::downstream::http2::Http2Counts;
use crate::downstream::proxy_protocol::ProxyHeaderCounts;
use crate::downstream::tls::TlsAcceptors;
use crate::upstream::Stores;

fn counted(times: &AtomicU64) -> ConstCounter<u64> {
    ConstCounter::new(times.load(Ordering::Relaxed))
}

fn timestamp(time: SystemTime) -> ConstGauge<u64> {
    ConstGauge::new(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
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

pub(super) fn validities(
    page: &mut DescriptorEncoder<'_>,
    tls: &TlsAcceptors,
) -> Result<(), Error> {
    let all: Vec<_> = tls.iter().map(|it| (it.side.name(), it.validities())).collect();
    if all.is_empty() {
        return Ok(());
    }
    let gauges = |of: fn(&(SystemTime, SystemTime)) -> SystemTime| {
        all.iter().flat_map(move |(listener, validities)| {
            validities.iter().map(move |(name, validity)| {
                ([("listener", *listener), ("name", name.as_str())], timestamp(of(validity)))
            })
        })
    };
    family(
        page,
        "s3proxy_tls_certificate_not_before_timestamp_seconds",
        "From when on a certificate of the gateway is valid, by its first name.",
        gauges(|(not_before, _)| *not_before),
    )?;
    family(
        page,
        "s3proxy_tls_certificate_not_after_timestamp_seconds",
        "When a certificate of the gateway expires, by its first name.",
        gauges(|(_, not_after)| *not_after),
    )
}

/// The certificates that the gateway presents to stores.
pub(super) fn client_certificates(
    page: &mut DescriptorEncoder<'_>,
    stores: &Stores,
) -> Result<(), Error> {
    let certificates = |of: fn(&ClientCertificate) -> SystemTime| {
        stores.iter().filter_map(move |store| {
            let client = store.profile.tls.as_ref()?.client()?;
            Some(([("profile", store.profile.label())], timestamp(of(client))))
        })
    };
    family(
        page,
        "s3proxy_upstream_certificate_not_before_timestamp_seconds",
        "From when on the client certificate towards the store is valid.",
        certificates(|client| client.not_before),
    )?;
    family(
        page,
        "s3proxy_upstream_certificate_not_after_timestamp_seconds",
        "When the client certificate towards the store expires.",
        certificates(|client| client.not_after),
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
