//! The addresses that the process accepts connections on, and how those begin.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log::{info, warn};
use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::protocols::TcpKeepalive;
use tokio::net::TcpSocket;

use crate::config::{Config, Listen, TlsFiles};
use crate::downstream::tls::{TlsAcceptor, TlsAcceptors, TlsSide};
use crate::gateway::pages::VERSION;
use crate::protocol::forwarded::TrustedProxies;
use crate::reload::{certificate_line, not_valid_line};
use crate::server::StartError;

/// All public listeners, those with TLS last.
fn public(config: &Config) -> impl Iterator<Item = &Listen> {
    config.gateway.listen.iter().chain(config.tls.iter().flat_map(|tls| &tls.listen))
}

/// The addresses of all public listeners.
pub(super) fn public_addresses(config: &Config) -> impl Iterator<Item = SocketAddr> {
    public(config).map(|listen| listen.address)
}

/// Whether the connections of a listener begin with headers of the PROXY protocol.
pub(super) fn expect_proxy_headers(config: &Config) -> bool {
    public(config).any(|listen| listen.proxy_protocol)
}

/// Whose word on their clients is taken.
pub(super) fn trusted_proxies(config: &Config) -> Arc<TrustedProxies> {
    let networks = config.gateway.trusted_proxies.clone();
    Arc::new(TrustedProxies { networks, header: config.gateway.forwarded_header })
}

/// Tries whether all addresses can be bound.
///
/// # Errors
/// The first that cannot.
pub(super) fn try_all(config: &Config) -> Result<(), StartError> {
    let plain = config.gateway.listen.iter().map(|it| (it.address, "--listen or S3PROXY_LISTEN"));
    let tls = config.tls.iter().flat_map(|tls| &tls.listen);
    let tls = tls.map(|it| (it.address, "S3PROXY_TLS_LISTEN"));
    let admin = config.admin_listen.map(|address| (address, "S3PROXY_ADMIN_LISTEN"));
    for (address, setting) in plain.chain(tls).chain(admin) {
        try_bind(address).map_err(|error| StartError::Listen { address, setting, error })?;
    }
    Ok(())
}

/// Binds the address and releases it: where that fails, Pingora would panic on another thread. The socket
/// does not listen, so no client connects to it.
fn try_bind(address: SocketAddr) -> std::io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// What makes the handshakes of the listeners with TLS. A certificate that is not valid now is served all the
/// same: a client may accept it, and there is no other.
///
/// # Errors
/// Authorities of clients that cannot be used.
pub(super) fn tls_acceptors(config: &Config) -> Result<TlsAcceptors, StartError> {
    let http2 = config.tls.as_ref().is_some_and(|tls| tls.http2);
    let acceptor = |side: TlsSide, files: Option<&TlsFiles>| -> Result<_, StartError> {
        let Some(files) = files else { return Ok(None) };
        #[expect(clippy::disallowed_methods, reason = "a certificate is valid for some time")]
        let now = SystemTime::now();
        for identity in files.identities.iter().filter(|identity| !identity.is_valid(now)) {
            warn!("{}", not_valid_line(identity));
        }
        let setting = side.client_ca_setting();
        let acceptor = TlsAcceptor::new(side, files, http2 && side == TlsSide::Public);
        let acceptor = acceptor.map_err(|problem| StartError::Tls { setting, problem })?;
        Ok(Some(Arc::new(acceptor)))
    };
    Ok(TlsAcceptors {
        public: acceptor(TlsSide::Public, config.tls.as_ref().map(|tls| &tls.files))?,
        admin: acceptor(TlsSide::Admin, config.admin_tls.as_ref())?,
    })
}

/// A listener on this address.
pub(super) fn listener(config: &Config, address: SocketAddr) -> ListenerConfig {
    let mut options = socket_options(config);
    options.ipv6_only = leaves_ipv4(config, address).then_some(true);
    ListenerConfig::tcp(address.to_string())
        .tcp_socket_options(options)
        // `ClientConnection` has buffers, while it has bytes for them.
        .l4_buffer(L4BufferSettings::unbuffered())
}

/// Whether `[::]` is for IPv6 alone: another listener names an address of IPv4 at the same port. By itself it is for
/// both.
fn leaves_ipv4(config: &Config, address: SocketAddr) -> bool {
    let mut all = public_addresses(config).chain(config.admin_listen);
    let is_all_of_ipv6 = address.is_ipv6() && address.ip().is_unspecified();
    is_all_of_ipv6 && all.any(|other| other.is_ipv4() && other.port() == address.port())
}

/// A client that vanished is noticed within `downstream.tcp_user_timeout` while nothing is sent. While bytes
/// wait for it, its connection sees whether it acknowledges any.
fn socket_options(config: &Config) -> TcpSocketOptions {
    let timeout = config.downstream.tcp_user_timeout;
    let mut options = TcpSocketOptions::default();
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: (timeout / 2).max(Duration::from_secs(1)),
        interval: (timeout / 8).max(Duration::from_secs(1)),
        count: 4,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    });
    options
}

/// Logs the addresses and the certificates. The last line says that the gateway listens.
pub(super) fn log(config: &Config) {
    match config.admin_listen {
        Some(admin) => {
            let scheme = if config.admin_tls.is_some() { "https" } else { "http" };
            info!("admin listener on {scheme}://{admin}/, with the status page");
        }
        None => info!("no admin listener: admin.listen is off"),
    }
    for identity in config.admin_tls.iter().flat_map(|files| &files.identities) {
        info!("{}, of the admin listener", certificate_line(identity));
    }
    if let Some(tls) = &config.tls {
        let all: Vec<String> =
            tls.listen.iter().map(|it| format!("https://{}/", it.address)).collect();
        for identity in &tls.files.identities {
            info!("{}, on {}", certificate_line(identity), all.join(", "));
        }
    }
    let prefix = &config.gateway.path_prefix;
    let with_tls = config.tls.iter().flat_map(|tls| &tls.listen).map(|it| ("https", it));
    for (scheme, listen) in with_tls.chain(config.gateway.listen.iter().map(|it| ("http", it))) {
        let words = listen.words();
        let words = if words.is_empty() { words } else { format!(" ({words})") };
        info!("s3proxy {VERSION} listening on {scheme}://{}{prefix}/{words}", listen.address);
    }
}
