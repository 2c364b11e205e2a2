//! Loads a [`Config`], or lists every problem of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::aliases;
use crate::config::archives;
use crate::config::cache;
use crate::config::env::{Environment, OWN};
use crate::config::file::File;
use crate::config::ignored;
use crate::config::ini::{self, CredentialsFile};
use crate::config::layers::{Effective, Flags, Layers, LoadReport, Location, NOT_USED, Reported};
use crate::config::misspelt;
use crate::config::problem::{Problem, ValueSource};
use crate::config::profiles;
use crate::config::proxy::Proxies;
use crate::config::settings::connections::upstream;
use crate::config::settings::gateway::{WrittenCors, WrittenMime, cors, gateway, mime};
use crate::config::settings::process::{AdminConfig, server};
use crate::config::settings::variable;
use crate::config::shape;
use crate::config::tls;
use crate::config::tracing;
use crate::config::value::{Written, size};
use crate::config::without_effect;
use crate::config::{
    Config, DownstreamConfig, GatewayConfig, LogConfig, ServerConfig, UpstreamConfig,
};
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
    /// About values that are allowed, but probably not intended.
    pub warnings: Vec<String>,
    /// Sections of the credentials file without an endpoint.
    pub orphan_sections: Vec<String>,
    /// The YAML file that was read.
    pub config_file: Option<PathBuf>,
    /// The credentials file that was read.
    pub credentials_file: Option<PathBuf>,
}

/// Reads defaults, file, environment and options. The last place wins.
///
/// # Errors
/// Every problem, sorted by files and lines, then variables, then options.
pub fn load(inputs: &Inputs<'_>) -> Result<Loaded, Vec<Problem>> {
    let mut layers = Layers {
        flags: &inputs.flags,
        env: Environment(&inputs.environment),
        file: None,
        report: LoadReport::default(),
    };
    let config_file = read_config_file(&mut layers, inputs);
    report_not_utf_8(&mut layers);
    layers.report.warnings.extend(misspelt::warnings(layers.env));
    layers.report.warnings.extend(ignored::warnings(layers.env));
    check_stream_chunk_size(&mut layers);
    let resolved = resolve(&mut layers, inputs);
    let LoadReport { mut problems, settings, warnings, .. } = layers.report;
    match resolved {
        Ok(ResolvedConfig { config, orphan_sections, credentials_file }) if problems.is_empty() => {
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
    let flag = inputs.flags.config.as_deref().map(|path| (ValueSource::Flag("--config"), path));
    if inputs.flags.endpoint.is_some() {
        if layers.env.get(variable::CONFIG_FILE).is_some() {
            let warning = format!("{} {NOT_USED}", variable::CONFIG_FILE);
            layers.report.warnings.push(warning);
        }
        return None;
    }
    let variable = || {
        let (name, path) = layers.env.get(variable::CONFIG_FILE)?;
        (!path.is_empty()).then(|| (ValueSource::Variable(name.to_owned()), path))
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
                layers.report.problems.extend(shape::problems(&file));
                layers.file = Some(file);
            }
        },
    }
    Some(path)
}

pub(super) fn unreadable(source: ValueSource, path: &Path, error: &io::Error) -> Problem {
    Problem::new(source, format!("cannot be read: {error}")).value(path.display().to_string())
}

/// Reports variables whose text cannot be read. Those of other programs are not of interest, but the home
/// directory may hold access keys.
fn report_not_utf_8(layers: &mut Layers<'_>) {
    for name in layers.env.not_utf_8() {
        if name == "HOME" {
            let warning = "HOME is not UTF-8: no access key is looked for in ~/.aws/credentials";
            layers.report.warnings.push(warning.to_owned());
        } else if misspelt::is_read(name) || name.to_ascii_uppercase().starts_with(OWN) {
            let source = ValueSource::Variable(name.to_owned());
            layers.report.problem(Problem::new(source, "must be text in UTF-8"));
        }
    }
}

/// Checks a variable of s3proxy 2.0.1 that is otherwise ignored.
fn check_stream_chunk_size(layers: &mut Layers<'_>) {
    let Some((name, text)) = layers.env.get(variable::STREAM_CHUNK_SIZE) else { return };
    match size::<u64, 4096, { u64::MAX }>(Written::Text(text)) {
        Ok(_) => layers
            .report
            .warnings
            .push(format!("{name} is ignored: bodies are forwarded as they arrive")),
        Err(_) => {
            let source = ValueSource::Variable(name.to_owned());
            let message = "must be a whole number from 4096 (the variable is otherwise ignored)";
            layers.report.problem(Problem::new(source, message).value(text));
        }
    }
}

struct ResolvedConfig {
    config: Config,
    orphan_sections: Vec<String>,
    credentials_file: Option<PathBuf>,
}

/// A `?` here ends on a wrong default only: a mistake is reported and its default used, so that it
/// does not hide another.
fn resolve(layers: &mut Layers<'_>, inputs: &Inputs<'_>) -> Result<ResolvedConfig, Reported> {
    let file = Location::default();
    let gateway = GatewayConfig::read(layers, &file)?;
    let log = LogConfig::read(layers, &file)?;
    let mime = mime(layers);
    let cors = cors(layers)?;
    let upstream = upstream(layers, inputs)?;
    let downstream = DownstreamConfig::read(layers, &file)?;
    let server = server(layers, inputs.processors)?;
    let tracing = tracing::read(layers, inputs)?;
    let AdminConfig { listen: admin_listen, hosts: admin_hosts } =
        AdminConfig::read(layers, &file)?;
    let admin_tls = tls::admin(layers, inputs, admin_listen.is_some())?;
    let tls = tls::read(layers, inputs, &gateway, admin_listen)?;
    let credentials = read_credentials_file(layers, inputs, gateway.credentials_file.as_deref());
    let cache = cache::tiers(layers, inputs)?;
    let rules = cache::shared(layers, &cache)?;
    let sandbox = gateway.content_security_policy;
    let proxies = Proxies::read(layers, upstream.proxy.clone());
    let ways = proxies.as_ref().cloned().unwrap_or_default();
    let common = profiles::Common {
        region: &gateway.region,
        content_security_policy: sandbox,
        cache: &rules,
        proxies: &ways,
        inputs,
    };
    let profiles = profiles::resolve(layers, &credentials, &common);
    let aliases = aliases::resolve(layers, &profiles, gateway.bucket_validation);
    cache::shared::check_profiles(layers, cache.shared.as_ref(), &profiles);
    archives::check(layers, &cache, &profiles.profiles);
    tracing::check_profiles(layers, tracing.as_ref(), &profiles.profiles);
    let profiles::ResolvedProfiles { mut profiles, orphan_sections, wrong } = profiles;
    proxies?;
    if !wrong.is_empty() {
        return Err(Reported);
    }
    profiles.aliases = Arc::new(aliases?);
    let config = Config {
        gateway,
        log,
        mime: mime?,
        cors,
        profiles,
        upstream,
        downstream,
        server,
        tls,
        tracing,
        cache,
        admin_listen,
        admin_hosts,
        admin_tls,
    };
    without_effect::warn(layers, &config);
    Ok(ResolvedConfig { config, orphan_sections, credentials_file: credentials.path })
}

/// Reads the named credentials file, which must be readable, or the one in the home directory where
/// AWS's tools look for it, which need not exist.
fn read_credentials_file(
    layers: &mut Layers<'_>,
    inputs: &Inputs<'_>,
    named: Option<&Path>,
) -> CredentialsFile {
    let key = gateway::credentials_file().row.path;
    if layers.report.is_unread(key) {
        return CredentialsFile::default();
    }
    let home = layers.env.get("HOME").map(|(_, home)| PathBuf::from(home));
    let path = match (named, home) {
        (Some(path), Some(home)) => match path.strip_prefix("~") {
            Ok(below) => home.join(below),
            Err(_) => path.to_owned(),
        },
        (Some(path), None) => path.to_owned(),
        (None, Some(home)) => home.join(".aws/credentials"),
        (None, None) => return CredentialsFile::default(),
    };
    match (inputs.read)(&path) {
        Ok(text) => {
            let (file, problems) = ini::parse(&path, &text);
            layers.report.problems.extend(problems);
            layers.report.warnings.extend(file.warnings.iter().cloned());
            layers.report.show(key, path.display().to_string());
            file
        }
        Err(error) if named.is_some() => {
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

fn mime(layers: &mut Layers<'_>) -> Result<MimePolicy, Reported> {
    let written = WrittenMime::read(layers, &Location::default())?;
    let built_in = MimeSettings::default();
    let mime = MimeSettings {
        accept: written.accept.unwrap_or(built_in.accept),
        also_allow: written.also_allow,
        disallow: written.disallow,
        extensionless: written.extensionless.unwrap_or(built_in.extensionless),
        also_extensionless: written.also_extensionless.unwrap_or_default(),
        suffixes: written.suffixes.unwrap_or(built_in.suffixes),
        also_suffixes: written.also_suffixes.unwrap_or_default(),
        default: written.default,
    };
    let report = &mut layers.report;
    report.show(mime::accept().row.path, json(&mime.accept));
    report.show(mime::extensionless().row.path, json_object(&mime.extensionless));
    report.show(mime::suffixes().row.path, json_object(&mime.suffixes));
    let policy = MimePolicy::new(&mime);
    if let (Some(default), Ok(policy)) = (&mime.default, &policy)
        && !policy.allows(default)
    {
        let (key, also) = (mime::default().row.path, mime::also_allow().row.path);
        report.warnings.push(format!(
            "{key} is {default}, which is not an accepted type: object keys without a known type are \
             answered 415 unless {also} contains it"
        ));
    }
    policy.map_err(|kind| {
        let key = mime::accept().row.path;
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
    let written = WrittenCors::read(layers, &Location::default())?;
    let WrittenCors { origins, credentials, max_age } = written;
    if credentials && origins.iter().any(|origin| origin == "*") {
        layers.report.contradiction(
            &cors::credentials().row,
            &cors::origins().row,
            "browsers refuse cors.credentials together with the origin *: name the origins",
        );
    }
    Ok((!origins.is_empty()).then_some(Cors { origins, credentials, max_age }))
}

fn upstream(layers: &mut Layers<'_>, inputs: &Inputs<'_>) -> Result<UpstreamConfig, Reported> {
    let mut config = UpstreamConfig::read(layers, &Location::default())?;
    let key = upstream::ca_file().row.path;
    if config.ca_file.is_none()
        && !layers.report.is_unread(key)
        && let Some((name, path)) = layers.env.get(variable::CA_BUNDLE)
    {
        config.ca_file = Some(path.into());
        layers.report.show_from(key, path.to_owned(), ValueSource::Variable(name.to_owned()));
    }
    if let Some(path) = &config.ca_file {
        cache::shared::check_certificates(layers, inputs, &upstream::ca_file().row, path);
    }
    let UpstreamConfig { first_byte_timeout, read_timeout, .. } = config;
    if first_byte_timeout > read_timeout {
        let message = format!(
            "upstream.first_byte_timeout ({first_byte_timeout:?}) must not be longer than \
             upstream.read_timeout ({read_timeout:?})"
        );
        let (first, second) = (upstream::first_byte_timeout().row, upstream::read_timeout().row);
        layers.report.contradiction(&first, &second, &message);
    }
    Ok(config)
}

fn server(layers: &mut Layers<'_>, processors: usize) -> Result<ServerConfig, Reported> {
    /// Kubernetes kills a pod 30 s after SIGTERM, and some of that time passes before and after.
    const LONGEST_END: Duration = Duration::from_secs(25);
    let mut server = ServerConfig::read(layers, &Location::default())?;
    if server.threads == 0 {
        server.threads = processors.max(1);
    }
    layers.report.show(server::threads().row.path, server.threads.to_string());
    let end = server.lame_duck.saturating_add(server.grace_period);
    if end > LONGEST_END {
        layers.report.warnings.push(format!(
            "server.lame_duck and server.grace_period make {end:?} together: above \
             {LONGEST_END:?} Kubernetes may kill the process first, unless \
             terminationGracePeriodSeconds is raised from its default of 30"
        ));
    }
    Ok(server)
}

#[cfg(test)]
mod tests;
