//! TLS with clients: the handshake of a new connection, with limits that Pingora's own listener does not
//! have, and with certificates that are replaced while the process runs.

use std::cmp::min_by_key;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use log::debug;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{ALPN, Peek as _, Ssl as _};
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::certificate::by_name::CertificatesByName;
use crate::certificate::{Identity, common_name};
use crate::config::TlsFiles;
use crate::downstream::lent_stream::Lender;
use crate::downstream::limits::ConnectionPermit;
use crate::downstream::linger::Linger;
use crate::downstream::opening::{Ended, before_requests};
use crate::downstream::transport::{Transport, peer_of, shown};
use crate::logging::reasons::last_reason;

/// Whose handshakes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSide {
    /// Clients, by `tls`. A client certificate is required where authorities are named.
    Public,
    /// Operators, by `admin.tls`. A client may leave its certificate out, and then sees probes only.
    Admin,
}

impl TlsSide {
    /// The label of metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }

    /// The setting that names the authorities of clients.
    #[must_use]
    pub fn client_ca_setting(self) -> &'static str {
        match self {
            Self::Public => "tls.client_ca_file",
            Self::Admin => "admin.tls.client_ca_file",
        }
    }
}

/// What came of a new connection to a port for TLS.
pub(super) enum Handshake {
    Done(Stream, Transport),
    /// The first byte is a letter: a client that speaks plain HTTP.
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
    /// A new connection took the place.
    pub displaced: AtomicU64,
}

/// Makes the handshakes of the ports for TLS.
pub struct TlsAcceptor {
    pub side: TlsSide,
    /// HTTP/2 is offered besides HTTP/1.1 (ALPN, RFC 7301).
    http2: bool,
    in_force: ArcSwap<InForce>,
    pub handshakes: HandshakeCounts,
}

/// The acceptors of the process.
#[derive(Debug, Clone, Default)]
pub struct TlsAcceptors {
    pub public: Option<Arc<TlsAcceptor>>,
    pub admin: Option<Arc<TlsAcceptor>>,
}

struct InForce {
    acceptor: Acceptor,
    identities: Vec<Identity>,
    client_authorities: Option<Arc<RootCertStore>>,
}

impl std::fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsAcceptor").field("side", &self.side).finish_non_exhaustive()
    }
}

impl TlsAcceptors {
    /// Those that there are.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TlsAcceptor>> {
        self.public.iter().chain(&self.admin)
    }
}

impl TlsAcceptor {
    /// An acceptor with these certificates and authorities, which offers HTTP/2 or not.
    ///
    /// # Errors
    /// When the authorities of clients cannot be used.
    pub fn new(side: TlsSide, files: &TlsFiles, http2: bool) -> Result<Self, String> {
        let in_force = ArcSwap::from_pointee(in_force(side, files, http2)?);
        Ok(Self { side, http2, in_force, handshakes: HandshakeCounts::default() })
    }

    /// Later handshakes use these certificates and these authorities. Open connections keep theirs.
    ///
    /// # Errors
    /// When the authorities of clients cannot be used; nothing has changed then.
    pub fn replace(&self, files: &TlsFiles) -> Result<(), String> {
        self.in_force.store(Arc::new(in_force(self.side, files, self.http2)?));
        Ok(())
    }

    /// Whether this certificate is among those in force.
    #[must_use]
    pub fn shows(&self, identity: &Identity) -> bool {
        self.in_force.load().identities.iter().any(|it| it.is_same(identity))
    }

    /// Whether this certificate is among those in force, with the same chain.
    #[must_use]
    pub fn shows_chain(&self, identity: &Identity) -> bool {
        self.in_force.load().identities.iter().any(|it| it.key.cert == identity.key.cert)
    }

    /// Whether clients are asked for certificates.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        self.in_force.load().client_authorities.is_some()
    }

    /// Whether the authorities of clients in force are these.
    #[must_use]
    pub fn accepts_clients_of(&self, authorities: Option<&RootCertStore>) -> bool {
        let in_force = self.in_force.load();
        in_force.client_authorities.as_deref().map(|it| &it.roots)
            == authorities.map(|it| &it.roots)
    }

    /// From when until when certificates are valid, by the first name of each; of two with one name that of the one which
    /// expires earlier.
    #[must_use]
    pub fn validities(&self) -> BTreeMap<String, (SystemTime, SystemTime)> {
        let mut validities = BTreeMap::new();
        for identity in &self.in_force.load().identities {
            let name = identity.names.first().map_or("", String::as_str).to_owned();
            let own = (identity.not_before, identity.not_after);
            let earliest = validities.entry(name).or_insert(own);
            *earliest = min_by_key(own, *earliest, |(_, not_after)| *not_after);
        }
        validities
    }

    /// Makes the handshake of a new connection until this time.
    pub(super) async fn accept(
        &self,
        stream: Stream,
        permit: &ConnectionPermit,
        deadline: Instant,
    ) -> Handshake {
        let peer = peer_of(&stream);
        let Ok(mut stream) = stream.into_any().downcast::<TcpStream>() else {
            return Handshake::Failed;
        };
        let counts = &self.handshakes;
        let lender = Arc::new(Lender::default());
        // Boxed: rustls needs much room, which would be there once more for each future around it.
        let handshake = Box::pin(async {
            let mut first = [0];
            match stream.try_peek(&mut first).await {
                // Other bytes come from scanners of ports: they are a failed handshake, without a log line.
                Ok(_) if first.iter().all(u8::is_ascii_alphabetic) => {
                    return Ok(Handshake::Plain(stream));
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
            let in_force = self.in_force.load_full();
            let handshake = in_force.acceptor.tls_handshake(lender.lend(*stream)).await;
            let stream = handshake.map_err(|error| error.to_string())?;
            let certificate = stream.get_ssl().and_then(|tls| tls.peer_certificate_der());
            let transport = Transport {
                is_tls: true,
                is_http2: stream.selected_alpn_proto() == Some(ALPN::H2),
                has_certificate: certificate.is_some(),
                user: certificate.and_then(common_name).map(Arc::from),
                ..Transport::default()
            };
            Ok(Handshake::Done(Box::new(stream), transport))
        });
        let done = before_requests(permit, deadline, handshake).await;
        let is_refused = matches!(done, Ok(Err(_)));
        let (counter, outcome) = match done {
            Ok(Ok(outcome @ Handshake::Plain(_))) => (&counts.plain, outcome),
            Ok(Ok(outcome)) => (&counts.done, outcome),
            Ok(Err(error)) => {
                // At this level only: a port scanner must not fill the log.
                let reason = last_reason(&error);
                debug!("TLS handshake with {} failed: {reason}", shown(peer));
                (&counts.failed, Handshake::Failed)
            }
            Err(Ended::Late) => (&counts.timed_out, Handshake::Failed),
            Err(Ended::Displaced) => (&counts.displaced, Handshake::Failed),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if is_refused && let Some(stream) = lender.take_back() {
            // The alert is sent. Another connection may have the place meanwhile.
            let (mut stream, mut linger): (Stream, _) = (Box::new(stream), Linger::default());
            let closed = poll_fn(|context| linger.poll(&mut stream, context));
            let _closed_or_late = before_requests(permit, deadline, closed).await;
        }
        outcome
    }
}

fn in_force(side: TlsSide, files: &TlsFiles, http2: bool) -> Result<InForce, String> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?;
    let builder = match &files.client_authorities {
        Some(authorities) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(authorities), provider);
            let verifier = match side {
                TlsSide::Public => verifier,
                TlsSide::Admin => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
        }
        None => builder.with_no_client_auth(),
    };
    let certificates = CertificatesByName::new(&files.identities);
    let mut tls = builder.with_cert_resolver(Arc::new(certificates));
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    if files.client_authorities.is_some() {
        // No sessions: one that is resumed brings the certificate of its client without its verification, and the
        // certificate may have expired since. Each client makes a full handshake each time.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
    } else if let Ok(tickets) = Ticketer::new() {
        // Its own keys: a session from before is none of a listener that asks for certificates now.
        tls.ticketer = tickets;
    }
    Ok(InForce {
        acceptor: Acceptor::from_server_config(Arc::new(tls)),
        identities: files.identities.clone(),
        client_authorities: files.client_authorities.clone(),
    })
}
