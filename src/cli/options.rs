//! Options of commands. A command accepts those that do something for it.

use std::net::SocketAddr;

use clap::Args;

use crate::admin::replicas::{self, Replica, Replicas};
use crate::cli::tls::CommandTlsOptions;
use crate::config::Flags;

/// Options that override settings, for the commands that show or use them.
#[derive(Debug, Default, Args)]
pub(super) struct Overrides {
    /// Address to listen on, such as 0.0.0.0:8080 or `[::]:8080`
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Log level: DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log format: development (text) or production (one JSON object per line)
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Options of `serve`.
#[derive(Debug, Default, Args)]
pub(super) struct ServeOptions {
    #[command(flatten)]
    pub(super) overrides: Overrides,
    /// Take over the sockets of a running s3proxy; then send SIGQUIT to that process
    #[arg(long)]
    pub(super) upgrade: bool,
    /// Serve the store at this URL alone, without a configuration file: http://host/s3proxy/s3/BUCKET/KEY
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    endpoint: Option<String>,
    /// File with its access key, in the format of ~/.aws/credentials; default: AWS_ACCESS_KEY_ID, or section `default` of
    /// ~/.aws/credentials
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    access_key_file: Option<String>,
    /// Serve this bucket alone; may be repeated
    #[arg(long = "bucket", value_name = "BUCKET", requires = "endpoint")]
    buckets: Vec<String>,
}

impl Overrides {
    /// These, and those of `other` that are not given here.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            log_level: self.log_level.or(other.log_level),
            log_format: self.log_format.or(other.log_format),
        }
    }

    /// As settings, added to these.
    pub(super) fn flags(&self, flags: Flags) -> Flags {
        Flags {
            listen: self.listen.clone(),
            log_level: self.log_level.clone(),
            log_format: self.log_format.clone(),
            ..flags
        }
    }

    /// The first that is given.
    fn given(&self) -> Option<&'static str> {
        let Self { listen, log_level, log_format } = self;
        let options =
            [("--listen", listen), ("--log-level", log_level), ("--log-format", log_format)];
        options.into_iter().find(|(_, value)| value.is_some()).map(|(name, _)| name)
    }
}

impl ServeOptions {
    /// These, and those of `other` that are not given here.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            overrides: self.overrides.or(other.overrides),
            upgrade: self.upgrade || other.upgrade,
            endpoint: self.endpoint.or(other.endpoint),
            access_key_file: self.access_key_file.or(other.access_key_file),
            buckets: [self.buckets, other.buckets].concat(),
        }
    }

    /// As settings, added to these.
    pub(super) fn flags(&self, flags: Flags) -> Flags {
        let buckets = (!self.buckets.is_empty()).then(|| serde_json::json!(self.buckets));
        Flags {
            endpoint: self.endpoint.clone(),
            access_key_file: self.access_key_file.clone(),
            buckets: buckets.map(|buckets| buckets.to_string()),
            ..self.overrides.flags(flags)
        }
    }

    /// Whether one store is to be served, without a configuration file.
    pub(super) fn names_store(&self) -> bool {
        self.endpoint.is_some()
    }

    /// The first that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        self.overrides.given().or_else(|| self.beside_overrides())
    }

    /// The first that is given and is not an override.
    pub(super) fn beside_overrides(&self) -> Option<&'static str> {
        let options = [
            ("--upgrade", self.upgrade),
            ("--endpoint", self.endpoint.is_some()),
            ("--access-key-file", self.access_key_file.is_some()),
            ("--bucket", !self.buckets.is_empty()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusOptions {
    /// Admin address of a running s3proxy, such as http://127.0.0.1:9090 or https://s3proxy-admin:9090; default:
    /// admin.listen of the configuration
    #[arg(value_name = "URL", conflicts_with = "replicas")]
    urls: Vec<String>,
    /// All replicas: dns:NAME:PORT for every address of a name, or ADDRESS:PORT; may be repeated
    #[arg(long, value_name = "dns:NAME:PORT")]
    replicas: Vec<Replicas>,
    #[command(flatten)]
    pub(super) tls: CommandTlsOptions,
    /// Show it again every two seconds, until Ctrl-C
    #[arg(long)]
    pub(super) watch: bool,
    /// Print one JSON object for each process
    #[arg(long)]
    pub(super) json: bool,
}

impl StatusOptions {
    pub(super) fn names_replicas(&self) -> bool {
        !self.urls.is_empty() || self.is_everywhere()
    }

    /// Whether the processes are one line each, however many there are.
    pub(super) fn is_everywhere(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// The processes that the command line names, or else `own`. Resolves names.
    ///
    /// # Errors
    /// A name that cannot be resolved, or a URL of another form.
    pub(super) fn replicas(&self, own: Option<&Replica>) -> Result<Vec<Replica>, String> {
        match self.urls.is_empty() {
            true => found(&self.replicas, own),
            false => self.urls.iter().map(|url| url.parse()).collect(),
        }
    }
}

/// These replicas, or else `own`.
fn found(places: &[Replicas], own: Option<&Replica>) -> Result<Vec<Replica>, String> {
    match own {
        Some(own) if places.is_empty() => Ok(vec![own.clone()]),
        _ => replicas::find(places),
    }
}

/// Options of `purge`.
#[derive(Debug, Args)]
pub(super) struct PurgeOptions {
    /// PROFILE@BUCKET/KEY, or PROFILE@BUCKET/PREFIX/ for all objects below it
    #[arg(value_name = "TARGET", required = true)]
    pub(super) targets: Vec<String>,
    /// Admin address of the running s3proxy; default: admin.listen of the configuration
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "replicas")]
    admin: Option<SocketAddr>,
    /// All replicas: dns:NAME:PORT for every address of a name, or ADDRESS:PORT; may be repeated
    #[arg(long, value_name = "dns:NAME:PORT")]
    replicas: Vec<Replicas>,
    #[command(flatten)]
    pub(super) tls: CommandTlsOptions,
}

impl PurgeOptions {
    pub(super) fn names_replicas(&self) -> bool {
        self.admin.is_some() || !self.replicas.is_empty()
    }

    /// Whether the answers of several processes are summed up.
    pub(super) fn is_everywhere(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// The processes that the command line names, or else `own`. Resolves names.
    ///
    /// # Errors
    /// A name that cannot be resolved.
    pub(super) fn replicas(&self, own: Option<&Replica>) -> Result<Vec<Replica>, String> {
        let named = self.admin.map(Replica::from);
        found(&self.replicas, named.as_ref().or(own))
    }
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainOptions {
    /// A URL as reported by a user, its path, or PROFILE@BUCKET/KEY
    #[arg(value_name = "URL", required = true)]
    pub(super) urls: Vec<String>,
    /// Print one JSON object for each URL
    #[arg(long)]
    pub(super) json: bool,
    /// Admin address of the running s3proxy; default: admin.listen of the configuration
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) admin: Option<SocketAddr>,
    #[command(flatten)]
    pub(super) tls: CommandTlsOptions,
    /// Send no request to the running s3proxy or to a store
    #[arg(
        long,
        conflicts_with_all = ["admin", "ca_file", "server_certificate_file", "client_certificate_file"]
    )]
    pub(super) offline: bool,
}
