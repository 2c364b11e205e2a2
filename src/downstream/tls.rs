//! TLS with clients: the handshake of a new connection, with limits that Pingora's own listener does not
//! have, and with a certificate that is replaced while the process runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use log::debug;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{Peek as _, Ssl as _};
use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use tokio::time::timeout;

use crate::certificate::common_name;
use crate::config::TlsConfig;

/// The first byte of a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// How a client is connected.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    /// Through TLS of the gateway's own.
    pub is_tls: bool,
    /// The common name of the client's certificate, if it had to present one.
    pub user: Option<Arc<str>>,
}

/// What came of a new connection to the port for TLS.
pub(super) enum Handshake {
    Done(Stream, Transport),
    /// The first byte is of something else than a handshake: a client that speaks plain HTTP.
    Plain(Stream),
    /// It failed, took too long, or the client has left.
    Failed,
}

/// Handshakes by their outcome, since the start.
#[derive(Debug, Default)]
pub struct HandshakeCounts {
    pub done: AtomicU64,
    pub failed: AtomicU64,
    pub timed_out: AtomicU64,
    pub plain: AtomicU64,
}

/// The port for TLS.
pub struct TlsPort {
    port: u16,
    time_limit: Duration,
    acceptor: ArcSwap<Acceptor>,
    /// Seconds since the Unix epoch.
    not_after: AtomicU64,
    pub handshakes: HandshakeCounts,
}

impl std::fmt::Debug for TlsPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsPort").field("port", &self.port).finish_non_exhaustive()
    }
}

impl TlsPort {
    /// A port whose handshakes may take `time_limit`, from the accepted connection to their end.
    ///
    /// # Errors
    /// When the authorities of clients cannot be used.
    pub fn new(config: &TlsConfig, time_limit: Duration) -> Result<Self, String> {
        let port = Self {
            port: config.listen.port(),
            time_limit,
            acceptor: ArcSwap::from_pointee(acceptor(config)?),
            not_after: AtomicU64::new(0),
            handshakes: HandshakeCounts::default(),
        };
        port.note_expiry(config);
        Ok(port)
    }

    /// Later handshakes use this certificate and these authorities. Open connections keep theirs.
    ///
    /// # Errors
    /// When the authorities of clients cannot be used; nothing has changed then.
    pub fn replace(&self, config: &TlsConfig) -> Result<(), String> {
        self.acceptor.store(Arc::new(acceptor(config)?));
        self.note_expiry(config);
        Ok(())
    }

    /// When the certificate expires, seconds since the Unix epoch.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after.load(Ordering::Relaxed)
    }

    fn note_expiry(&self, config: &TlsConfig) {
        let seconds = config.identity.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.not_after.store(seconds.as_secs(), Ordering::Relaxed);
    }

    /// Whether this connection came to the port for TLS.
    pub(super) fn is_of(&self, stream: &Stream) -> bool {
        let digest = stream.get_socket_digest();
        let local = digest.as_ref().and_then(|digest| digest.local_addr()?.as_inet());
        local.is_some_and(|local| local.port() == self.port)
    }

    /// Makes the handshake of a new connection.
    pub(super) async fn accept(&self, stream: Stream) -> Handshake {
        let Ok(mut stream) = stream.into_any().downcast::<TcpStream>() else {
            return Handshake::Failed;
        };
        let counts = &self.handshakes;
        let handshake = async {
            let mut first = [0];
            match stream.try_peek(&mut first).await {
                Ok(_) if first != [HANDSHAKE] => return Ok(Handshake::Plain(stream)),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
            let acceptor = self.acceptor.load_full();
            let stream =
                acceptor.tls_handshake(*stream).await.map_err(|error| error.to_string())?;
            let user = stream.get_ssl().and_then(|tls| common_name(tls.peer_certificate_der()?));
            let transport = Transport { is_tls: true, user: user.map(Arc::from) };
            Ok(Handshake::Done(Box::new(stream), transport))
        };
        let (counter, outcome) = match timeout(self.time_limit, handshake).await {
            Ok(Ok(outcome @ Handshake::Plain(_))) => (&counts.plain, outcome),
            Ok(Ok(outcome)) => (&counts.done, outcome),
            Ok(Err(error)) => {
                // At this level only: a port scanner must not fill the log.
                debug!("TLS handshake failed: {error}");
                (&counts.failed, Handshake::Failed)
            }
            Err(_) => (&counts.timed_out, Handshake::Failed),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }
}

fn acceptor(config: &TlsConfig) -> Result<Acceptor, String> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?;
    let builder = match &config.client_authorities {
        Some(authorities) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(authorities), provider)
                    .build()
                    .map_err(|error| error.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let key = SingleCertAndKey::from(Arc::clone(&config.identity.key));
    let mut tls = builder.with_cert_resolver(Arc::new(key));
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Its own keys: a ticket holds the certificate of its client, which is not verified again, so it must
    // not outlive the authorities. Without tickets a client makes a full handshake each time.
    if let Ok(tickets) = Ticketer::new() {
        tls.ticketer = tickets;
    }
    Ok(Acceptor::from_server_config(Arc::new(tls)))
}
