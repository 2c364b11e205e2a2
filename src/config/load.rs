//! From what was written to a [`Config`], or to the list of everything that is wrong with it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::cache;
use crate::config::env::Environment;
use crate::config::file::File;
use crate::config::ini::{self, CredentialsFile};
use crate::config::layers::{Effective, Flags, Layers, Report, Reported};
use crate::config::problem::{Problem, Source};
use crate::config::profiles;
use crate::config::settings::{self, gateway};
use crate::config::value::{Written, size};
use crate::config::{Config, DownstreamConfig, LogConfig, ServerConfig, UpstreamConfig};
use crate::mime::{MimePolicy, MimeSettings};
use crate::protocol::cors::Cors;

/// Everything a configuration depends on.
pub struct Inputs<'a> {
    /// The environment of the process.
    pub environment: BTreeMap<String, String>,
    pub flags: Flags,
    /// How many processors the process may use: the default number of threads.
    pub processors: usize,
    /// Reads a file as UTF-8 text; [`read_file`] outside of tests.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// Reads a file from the disk.
///
/// # Errors
/// As [`fs::read_to_string`].
pub fn read_file(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

/// A configuration without mistakes.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Every setting, in the order of the documentation.
    pub settings: Vec<Effective>,
    /// What is allowed, but was hardly meant.
    pub warnings: Vec<String>,
    /// Sections of the credentials file for which no endpoint was written.
    pub orphan_sections: Vec<String>,
    /// The YAML file that was read.
    pub config_file: Option<PathBuf>,
    /// The credentials file that was read.
    pub credentials_file: Option<PathBuf>,
}

/// Reads defaults, file, environment and options, the later over the earlier.
///
/// # Errors
/// Every mistake there is, in the order of files and lines, then variables, then options.
pub fn load(inputs: &Inputs<'_>) -> Result<Loaded, Vec<Problem>> {
    let mut layers = Layers {
        flags: &inputs.flags,
        env: Environment(&inputs.environment),
        file: None,
        report: Report::default(),
    };
    let config_file = read_config_file(&mut layers, inputs);
    layers.report.warnings.extend(layers.env.near_misses());
    check_stream_chunk_size(&mut layers);
    let resolved = resolve(&mut layers, inputs);
    let Report { mut problems, settings, warnings } = layers.report;
    match resolved {
        Ok(Resolved { config, orphan_sections, credentials_file }) if problems.is_empty() => {
            Ok(Loaded {
                config,
                settings,
                warnings,
                orphan_sections,
                config_file,
                credentials_file,
            })
        }
        _ => {
            problems.sort_by(|a, b| a.source.cmp(&b.source));
            Err(problems)
        }
    }
}

/// Reads the YAML file that `--config` or `S3PROXY_CONFIG` names.
fn read_config_file(layers: &mut Layers<'_>, inputs: &Inputs<'_>) -> Option<PathBuf> {
    let flag = inputs.flags.config.as_deref().map(|path| (Source::Flag("--config"), path));
    let variable = || {
        let (name, path) = layers.env.get(settings::CONFIG_FILE)?;
        (!path.is_empty()).then(|| (Source::Variable(name.to_owned()), path))
    };
    let (source, path) = flag.or_else(variable)?;
    let path = PathBuf::from(path);
    match (inputs.read)(&path) {
        Err(error) => {
            layers.report.problem(unreadable(source, &path, &error));
        }
        Ok(text) => match File::parse(&path, &text) {
            Err(problem) => {
                layers.report.problem(problem);
            }
            Ok(file) => {
                layers.report.problems.extend(file.shape_problems());
                layers.file = Some(file);
            }
        },
    }
    Some(path)
}

fn unreadable(source: Source, path: &Path, error: &io::Error) -> Problem {
    Problem::new(source, format!("cannot be read: {error}")).value(path.display().to_string())
}

/// Accepts what the Python service wanted, though nothing depends on it.
fn check_stream_chunk_size(layers: &mut Layers<'_>) {
    let Some((name, text)) = layers.env.get(settings::STREAM_CHUNK_SIZE) else { return };
    match size::<4096, { u64::MAX }>(Written::Text(text)) {
        Ok(_) => layers
            .report
            .warnings
            .push(format!("{name} has no effect any more: bodies are passed on as they arrive")),
        Err(_) => {
            let source = Source::Variable(name.to_owned());
            let message = "must be a whole number from 4096 (it has no effect any more)";
            layers.report.problem(Problem::new(source, message).value(text));
        }
    }
}

struct Resolved {
    config: Config,
    orphan_sections: Vec<String>,
    credentials_file: Option<PathBuf>,
}

/// Every setting is read before the first `?`, so that no mistake hides another.
fn resolve(layers: &mut Layers<'_>, inputs: &Inputs<'_>) -> Result<Resolved, Reported> {
    let listen = layers.read(&gateway::LISTEN);
    let name = layers.read(&gateway::NAME);
    let path_prefix = layers.read(&gateway::PATH_PREFIX);
    let require_user = layers.read(&gateway::REQUIRE_USER);
    let cache_max_age = layers.read(&gateway::CACHE_MAX_AGE);
    let content_security_policy = layers.read(&gateway::CONTENT_SECURITY_POLICY);
    let server_timing = layers.read(&gateway::SERVER_TIMING);
    let bucket_validation = layers.read(&gateway::BUCKET_VALIDATION);
    let credentials = read_credentials_file(layers, inputs);
    let region = layers.read(&gateway::REGION);
    let log = log(layers);
    let mime = mime(layers);
    let cors = cors(layers);
    let upstream = upstream(layers, inputs);
    let downstream = downstream(layers);
    let server = server(layers, inputs.processors);
    let admin_listen = admin_listen(layers, listen);
    let cache = cache::tiers(layers);
    let cache_rules = cache::shared(layers, cache.as_ref().map_err(|reported| *reported));
    let fallback = gateway::REGION.row.default;
    let no_rules = cache::Shared::default();
    let profiles = profiles::resolve(
        layers,
        &credentials,
        region.as_deref().unwrap_or(fallback),
        cache_rules.as_ref().unwrap_or(&no_rules),
    );

    let profiles::Resolved { profiles, orphan_sections } = profiles?;
    let config = Config {
        listen: listen?,
        name: name?,
        path_prefix: path_prefix?,
        log: log?,
        require_user: require_user?,
        mime: mime?,
        cache_max_age: cache_max_age?,
        content_security_policy: content_security_policy?,
        server_timing: server_timing?,
        cors: cors?,
        bucket_validation: bucket_validation?,
        profiles,
        upstream: upstream?,
        downstream: downstream?,
        server: server?,
        cache: cache?,
        admin_listen: admin_listen?,
    };
    region?;
    cache_rules?;
    Ok(Resolved { config, orphan_sections, credentials_file: credentials.path })
}

fn admin_listen(
    layers: &mut Layers<'_>,
    listen: Result<SocketAddr, Reported>,
) -> Result<Option<SocketAddr>, Reported> {
    let Some(admin) = layers.read(&gateway::ADMIN_LISTEN)? else { return Ok(None) };
    // Where `listen` cannot be read, that is a mistake of its own.
    let Ok(listen) = listen else { return Ok(Some(admin)) };
    let same_host =
        admin.ip() == listen.ip() || admin.ip().is_unspecified() || listen.ip().is_unspecified();
    if same_host && admin.port() == listen.port() && listen.port() != 0 {
        let message = format!("listen ({listen}) and admin.listen ({admin}) need different ports");
        return Err(layers.report.contradiction(
            &gateway::LISTEN.row,
            &gateway::ADMIN_LISTEN.row,
            &message,
        ));
    }
    Ok(Some(admin))
}

/// The credentials file that was named, which must be readable, or the one AWS's tools would look
/// for in the home directory, which need not be there.
fn read_credentials_file(layers: &mut Layers<'_>, inputs: &Inputs<'_>) -> CredentialsFile {
    let home = layers.env.get("HOME").map(|(_, home)| PathBuf::from(home));
    let Ok(named) = layers.read(&gateway::CREDENTIALS_FILE) else {
        return CredentialsFile::default();
    };
    let is_named = named.is_some();
    let path = match (named, home) {
        (Some(path), Some(home)) => match path.strip_prefix("~") {
            Ok(below) => home.join(below),
            Err(_) => path,
        },
        (Some(path), None) => path,
        (None, Some(home)) => home.join(".aws/credentials"),
        (None, None) => return CredentialsFile::default(),
    };
    match (inputs.read)(&path) {
        Ok(text) => {
            let (file, problems) = ini::parse(&path, &text);
            layers.report.problems.extend(problems);
            layers.report.show(gateway::CREDENTIALS_FILE.row.path, path.display().to_string());
            file
        }
        Err(error) if is_named => {
            let key = gateway::CREDENTIALS_FILE.row.path;
            let problem = unreadable(layers.report.source(key), &path, &error);
            layers.report.problem(problem.key(key));
            CredentialsFile::default()
        }
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                layers.report.warnings.push(format!("{} cannot be read: {error}", path.display()));
            }
            CredentialsFile::default()
        }
    }
}

fn log(layers: &mut Layers<'_>) -> Result<LogConfig, Reported> {
    let format = layers.read(&gateway::LOG_FORMAT);
    let level = layers.read(&gateway::LOG_LEVEL);
    Ok(LogConfig { format: format?, level: level? })
}

fn mime(layers: &mut Layers<'_>) -> Result<MimePolicy, Reported> {
    let accept = layers.read(&gateway::ACCEPT);
    let also_allow = layers.read(&gateway::ALSO_ALLOW);
    let disallow = layers.read(&gateway::DISALLOW);
    let extensionless = layers.read(&gateway::EXTENSIONLESS);
    let suffixes = layers.read(&gateway::SUFFIXES);
    let default = layers.read(&gateway::DEFAULT_MIMETYPE);

    let built_in = MimeSettings::default();
    let mime = MimeSettings {
        accept: accept?.unwrap_or(built_in.accept),
        also_allow: also_allow?,
        disallow: disallow?,
        extensionless: extensionless?.unwrap_or(built_in.extensionless),
        suffixes: suffixes?.unwrap_or(built_in.suffixes),
        default: default?,
    };
    let report = &mut layers.report;
    report.show(gateway::ACCEPT.row.path, json(&mime.accept));
    report.show(gateway::EXTENSIONLESS.row.path, json_object(&mime.extensionless));
    report.show(gateway::SUFFIXES.row.path, json_object(&mime.suffixes));
    if let Some(default) = &mime.default
        && (!mime.accept.iter().chain(&mime.also_allow).any(|kind| kind == default)
            || mime.disallow.contains(default))
    {
        let (key, also) = (gateway::DEFAULT_MIMETYPE.row.path, gateway::ALSO_ALLOW.row.path);
        report.warnings.push(format!(
            "{key} is {default}, which may not be served: unknown keys stay 415 unless {also} \
             has it"
        ));
    }
    MimePolicy::new(&mime).map_err(|kind| {
        let key = gateway::ACCEPT.row.path;
        let message = format!("{kind:?} cannot be used as a media type");
        report.problem(Problem::new(report.source(key), message).key("mime"))
    })
}

fn json(list: &[String]) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

fn json_object(pairs: &[(String, String)]) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    serde_json::Value::Object(object).to_string()
}

fn cors(layers: &mut Layers<'_>) -> Result<Option<Cors>, Reported> {
    let origins = layers.read(&gateway::CORS_ORIGINS);
    let credentials = layers.read(&gateway::CORS_CREDENTIALS);
    let max_age = layers.read(&gateway::CORS_MAX_AGE);
    let cors = Cors { origins: origins?, credentials: credentials?, max_age: max_age? };
    if cors.credentials && cors.origins.iter().any(|origin| origin == "*") {
        return Err(layers.report.contradiction(
            &gateway::CORS_CREDENTIALS.row,
            &gateway::CORS_ORIGINS.row,
            "browsers refuse cors.credentials together with the origin *: name the origins",
        ));
    }
    Ok((!cors.origins.is_empty()).then_some(cors))
}

fn upstream(layers: &mut Layers<'_>, inputs: &Inputs<'_>) -> Result<UpstreamConfig, Reported> {
    let connect_timeout = layers.read(&gateway::CONNECT_TIMEOUT);
    let first_byte_timeout = layers.read(&gateway::FIRST_BYTE_TIMEOUT);
    let read_timeout = layers.read(&gateway::READ_TIMEOUT);
    let total_timeout = layers.read(&gateway::TOTAL_TIMEOUT);
    let retries = layers.read(&gateway::RETRIES);
    let idle_timeout = layers.read(&gateway::IDLE_TIMEOUT);
    let keepalive_pool_size = layers.read(&gateway::KEEPALIVE_POOL_SIZE);
    let dns_refresh = layers.read(&gateway::DNS_REFRESH);
    let max_in_flight = layers.read(&gateway::MAX_IN_FLIGHT);
    let queue_timeout = layers.read(&gateway::QUEUE_TIMEOUT);
    let ca_file =
        layers.read(&gateway::CA_FILE).and_then(|path| check_ca_file(layers, inputs, path));
    let upstream = UpstreamConfig {
        connect_timeout: connect_timeout?,
        first_byte_timeout: first_byte_timeout?,
        read_timeout: read_timeout?,
        total_timeout: total_timeout?,
        retries: u8::try_from(retries?).unwrap_or(1),
        idle_timeout: idle_timeout?,
        keepalive_pool_size: keepalive_pool_size?,
        dns_refresh: dns_refresh?,
        max_in_flight: max_in_flight?,
        queue_timeout: queue_timeout?,
        ca_file: ca_file?,
    };
    let UpstreamConfig { first_byte_timeout, read_timeout, .. } = upstream;
    if first_byte_timeout > read_timeout {
        let message = format!(
            "upstream.first_byte_timeout ({first_byte_timeout:?}) must not be longer than \
             upstream.read_timeout ({read_timeout:?})"
        );
        let (first, second) = (&gateway::FIRST_BYTE_TIMEOUT.row, &gateway::READ_TIMEOUT.row);
        return Err(layers.report.contradiction(first, second, &message));
    }
    Ok(upstream)
}

fn check_ca_file(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    path: Option<PathBuf>,
) -> Result<Option<PathBuf>, Reported> {
    let Some(path) = path else { return Ok(None) };
    let key = gateway::CA_FILE.row.path;
    let source = layers.report.source(key);
    let problem = match (inputs.read)(&path) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => return Ok(Some(path)),
        Ok(_) => Problem::new(source, "holds no PEM certificate").value(path.display().to_string()),
        Err(error) => unreadable(source, &path, &error),
    };
    Err(layers.report.problem(problem.key(key)))
}

fn downstream(layers: &mut Layers<'_>) -> Result<DownstreamConfig, Reported> {
    let header_timeout = layers.read(&gateway::HEADER_TIMEOUT);
    let header_max_bytes = layers.read(&gateway::HEADER_MAX_BYTES);
    let keepalive_timeout = layers.read(&gateway::KEEPALIVE_TIMEOUT);
    let write_timeout = layers.read(&gateway::WRITE_TIMEOUT);
    let max_connections = layers.read(&gateway::MAX_CONNECTIONS);
    let max_requests_per_user = layers.read(&gateway::MAX_REQUESTS_PER_USER);
    Ok(DownstreamConfig {
        header_timeout: header_timeout?,
        header_max_bytes: usize::try_from(header_max_bytes?).unwrap_or(usize::MAX),
        keepalive_timeout: keepalive_timeout?,
        write_timeout: write_timeout?,
        max_connections: max_connections?,
        max_requests_per_user: max_requests_per_user?,
    })
}

fn server(layers: &mut Layers<'_>, processors: usize) -> Result<ServerConfig, Reported> {
    /// Kubernetes kills a pod 30 s after SIGTERM; some of that is spent before and after.
    const LONGEST_END: Duration = Duration::from_secs(25);
    let threads = layers.read(&gateway::THREADS);
    let lame_duck = layers.read(&gateway::LAME_DUCK);
    let grace_period = layers.read(&gateway::GRACE_PERIOD);
    let reload_interval = layers.read(&gateway::RELOAD_INTERVAL);
    let upgrade_sock = layers.read(&gateway::UPGRADE_SOCK);
    let server = ServerConfig {
        threads: threads?.unwrap_or(processors.max(1)),
        lame_duck: lame_duck?,
        grace_period: grace_period?,
        reload_interval: reload_interval?,
        upgrade_sock: upgrade_sock?,
    };
    layers.report.show(gateway::THREADS.row.path, server.threads.to_string());
    let end = server.lame_duck.saturating_add(server.grace_period);
    if end > LONGEST_END {
        layers.report.warnings.push(format!(
            "server.lame_duck and server.grace_period make {end:?} together: above \
             {LONGEST_END:?} Kubernetes may kill the process first, unless \
             terminationGracePeriodSeconds is raised from its 30"
        ));
    }
    Ok(server)
}

#[cfg(test)]
mod tests;
