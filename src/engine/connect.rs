//! The connections to the engine: where, with which password, and whose certificates are trusted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::rustls::{ClientConfig, RootCertStore};
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, CredentialProvider, ReconnectPolicy, Server,
    ServerConfig, TlsConfig, TlsConnector, UnresponsiveConfig,
};
use fred::types::{Builder, RespVersion};
use pingora::tls::{load_ca_file_into_store, load_platform_certs_incl_env_into_store};

use crate::config::{EngineConfig, EngineUrl, Topology};

/// How long a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection without an answer for this long is given up.
const UNRESPONSIVE: Duration = Duration::from_secs(5);
/// Commands that wait to be written, at most. None waits longer than its time.
const MAX_QUEUED: usize = 4096;
/// Between attempts to connect, milliseconds: the first pause, and the longest.
const PAUSES: (u32, u32) = (200, 5000);

/// Messages that wait to be read, at most. Who misses some is told so.
const MAX_MESSAGES: usize = 256;

/// A client for commands, which is not connected yet.
///
/// # Errors
/// The CA certificates cannot be read, in words.
pub(super) fn client(config: &EngineConfig) -> Result<Client, String> {
    build(config, RespVersion::RESP2)
}

/// A client for subscriptions, which is not connected yet. Only in version 3 of the protocol can a connection with
/// subscriptions answer what the crate asks for itself.
///
/// # Errors
/// The CA certificates cannot be read, in words.
pub(super) fn listener(config: &EngineConfig) -> Result<Client, String> {
    build(config, RespVersion::RESP3)
}

fn build(config: &EngineConfig, version: RespVersion) -> Result<Client, String> {
    let EngineConfig { url, password_file, ca_file, timeout } = config;
    let tls = if url.tls { Some(tls(ca_file.as_ref())?) } else { None };
    let provider: Option<Arc<dyn CredentialProvider>> = match password_file {
        Some(path) => {
            let (path, user) = (path.clone(), url.user.clone());
            Some(Arc::new(PasswordFile { path, user }))
        }
        None => None,
    };
    let is_for_commands = version == RespVersion::RESP2;
    let config = Config {
        // The gateway starts without the engine, and connects when it is there.
        fail_fast: false,
        username: url.user.clone(),
        server: server(url),
        database: (url.database > 0).then_some(url.database),
        tls,
        credential_provider: provider,
        version,
        ..Config::default()
    };
    let connection = ConnectionConfig {
        connection_timeout: CONNECT_TIMEOUT,
        internal_command_timeout: CONNECT_TIMEOUT,
        max_command_attempts: 1,
        max_command_buffer_len: MAX_QUEUED,
        // A subscription that is forbidden would be so again.
        reconnect_on_auth_error: is_for_commands,
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(UNRESPONSIVE),
            interval: UNRESPONSIVE / 5,
        },
        tcp: fred::types::config::TcpConfig { nodelay: Some(true), ..Default::default() },
        ..ConnectionConfig::default()
    };
    let mut builder = Builder::from_config(config);
    builder.with_performance_config(|it| {
        it.default_command_timeout = *timeout;
        if !is_for_commands {
            it.broadcast_channel_capacity = MAX_MESSAGES;
        }
    });
    builder.set_connection_config(connection);
    builder.set_policy(ReconnectPolicy::new_exponential(0, PAUSES.0, PAUSES.1, 2));
    builder.build().map_err(|error| error.details().to_owned())
}

fn server(url: &EngineUrl) -> ServerConfig {
    let hosts = url.hosts.iter().map(|(host, port)| Server::new(host.clone(), *port));
    let mut hosts: Vec<Server> = hosts.collect();
    match &url.topology {
        Topology::Cluster => {
            ServerConfig::Clustered { hosts, policy: ClusterDiscoveryPolicy::UseCache }
        }
        Topology::Sentinel { service } => {
            ServerConfig::Sentinel { hosts, service_name: service.clone() }
        }
        Topology::Single => match hosts.pop() {
            Some(server) => ServerConfig::Centralized { server },
            None => ServerConfig::default(),
        },
    }
}

fn tls(ca_file: Option<&PathBuf>) -> Result<TlsConfig, String> {
    let mut store = RootCertStore::empty();
    let (read, place) = match ca_file {
        Some(path) => (load_ca_file_into_store(path, &mut store), path.display().to_string()),
        None => (load_platform_certs_incl_env_into_store(&mut store), "the system".to_owned()),
    };
    read.map_err(|error| format!("the trusted certificates of {place} cannot be read: {error}"))?;
    let config = ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
    Ok(TlsConfig::from(TlsConnector::from(config)))
}

/// Keeps a client connected. Ends with the process only.
pub(super) async fn keep(client: &Client) {
    loop {
        // It connects again by itself; it ends on what it takes for a mistake in its configuration.
        let _ended = client.connect().await;
        tokio::time::sleep(Duration::from_millis(PAUSES.1.into())).await;
    }
}

/// The password, read for each connection: a new one needs no restart.
#[derive(Debug)]
struct PasswordFile {
    path: PathBuf,
    user: Option<String>,
}

#[async_trait]
impl CredentialProvider for PasswordFile {
    async fn fetch(
        &self,
        _server: Option<&Server>,
    ) -> Result<(Option<String>, Option<String>), Error> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        match read {
            Ok(Ok(password)) => Ok((self.user.clone(), Some(password.trim().to_owned()))),
            _ => Err(Error::new(ErrorKind::Auth, "the password file cannot be read")),
        }
    }
}
