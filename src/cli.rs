//! The command line: its commands, options and exit codes.

mod operate;
mod options;
mod progress;
mod survey;
mod tls;
mod validity;
mod warm;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::admin::replicas::Replica;
use crate::check;
use crate::cli::operate::{purge, status, unusable};
use crate::cli::options::{ExplainOptions, Overrides, PurgeOptions, ServeOptions, StatusOptions};
use crate::cli::survey::{CheckOptions, check_hips};
use crate::cli::warm::{WarmOptions, warm};
use crate::config::{self, Config, Flags, Loaded, Problem};
use crate::explain::{Options, explain};
use crate::logging;
use crate::reload::{Sources, Start};
use crate::server::{self, StartError};
use crate::terminal::Paint;
use crate::upstream::issue::TIMEOUT;

/// The command succeeded.
const SUCCESS: u8 = 0;
/// The command ran and found a failure.
const FAILED: u8 = 1;
/// The configuration or the command line is invalid; the command did not run.
const BAD_CONFIGURATION: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  s3proxy                                     serve, configured by environment variables
  s3proxy serve --config conf/s3proxy.yaml    serve; environment variables override the file
  s3proxy config --config conf/s3proxy.yaml   print every setting and where its value comes from
  s3proxy serve --endpoint https://s3.example.org --bucket sky --access-key-file keys.ini
                                              serve one bucket of one store, without a configuration
  s3proxy status --watch                      how the running gateway does, every two seconds
  s3proxy purge --replicas dns:s3proxy-admin:9090 hips@sky/survey/
                                              purge a prefix in every replica
  s3proxy check                               test every profile
  s3proxy check hips@sky/Norder3/Allsky.png   test one object: the response, and the reason for it
  s3proxy check --hips ./survey               check a HiPS survey before it is uploaded
  s3proxy check --hips hips@sky/survey/       check it in its bucket, with the rules of the gateway
  s3proxy warm --orders 3-6 hips@sky/survey/  fill the cache of the running gateway with a survey
  s3proxy explain https://data.example.org/s3proxy/s3/hips@sky/Norder3/Allsky.png
                                              trace a URL that a user reported

A URL without profile@ uses the store of S3_ENDPOINT_URL. A profile is an endpoint, such as
LSST_RESOURCES_S3_PROFILE_hips=https://s3.example.org, and a section [hips] in the file that
AWS_SHARED_CREDENTIALS_FILE names. docs/configuration.md lists every variable and setting.";

/// A read gateway from plain HTTP to private S3 buckets:
/// http://host/s3proxy/s3/profile@bucket/path/to/file
#[derive(Debug, Parser)]
#[command(name = "s3proxy", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// YAML file of settings; environment variables and options override it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<String>,
    #[command(flatten)]
    serve: ServeOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve requests until SIGTERM; the default command
    Serve(ServeOptions),
    /// Print the effective configuration and the source of each value, without secrets
    Config {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Print the JSON Schema of the YAML file instead, for editors
        #[arg(long, conflicts_with = "json")]
        schema: bool,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Test every profile, one profile or one object, with the requests of the gateway; exit code 0 if no test fails
    Check(CheckOptions),
    /// Trace how a URL is handled: key, cache rules, cached copy, the signed request and the store's
    /// answer
    Explain(ExplainOptions),
    /// Show how a running s3proxy does, or all replicas: rates, failures, profiles, cache
    Status(StatusOptions),
    /// Purge objects from the cache of a running s3proxy, or of all replicas
    Purge(PurgeOptions),
    /// Ask a running s3proxy for the tiles of a survey, or for any list of keys, to fill its cache before a release
    Warm(WarmOptions),
    /// Print the completion script of a shell
    #[command(alias = "completion")]
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Runs the program with this command line, whose first word is its name, and the environment of the process.
#[must_use]
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // Bytes that are not UTF-8 become U+FFFD, which the configuration reports.
    let text = |bytes: OsString| bytes.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    Cli::parse_from(arguments).run(environment)
}

impl Cli {
    /// Runs the command.
    #[must_use]
    pub fn run(self, environment: BTreeMap<String, String>) -> ExitCode {
        if let Some(option) = self.useless_option() {
            print_error(&format!("s3proxy: {option} does nothing for this command\n"));
            return ExitCode::from(BAD_CONFIGURATION);
        }
        let Self { command, config, serve } = self;
        let paint = paint(&environment);
        let flags = Flags { config, ..Flags::default() };
        let code = match command.unwrap_or_else(|| Command::Serve(ServeOptions::default())) {
            Command::Completions { shell } => {
                clap_complete::generate(
                    shell,
                    &mut Self::command(),
                    "s3proxy",
                    &mut std::io::stdout(),
                );
                SUCCESS
            }
            Command::Serve(options) => {
                let options = options.or(serve);
                let flags = options.flags(flags);
                with_start(environment, flags, |start| serve_requests(start, options.upgrade))
            }
            Command::Config { schema: true, .. } => {
                print(&config::schema());
                SUCCESS
            }
            Command::Config { json, schema: false, overrides } => {
                let flags = overrides.or(serve.overrides).flags(flags);
                with_configuration(environment, flags, |loaded| {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "a certificate is valid for some time"
                    )]
                    let more = validity::warnings(&loaded.config, SystemTime::now());
                    print(&match json {
                        true => config::show_json(loaded, &more),
                        false => config::show(loaded, &more),
                    });
                    SUCCESS
                })
            }
            Command::Check(options) => with_configuration(environment, flags, |loaded| {
                if options.hips {
                    return check_hips(loaded, &options, paint);
                }
                check_stores(loaded, options.object.as_deref(), options.json, paint)
            }),
            Command::Explain(options) => with_configuration(environment, flags, |loaded| {
                explain_urls(loaded, &options, paint)
            }),
            Command::Warm(options) => {
                with_configuration(environment, flags, |loaded| warm(&loaded.config, &options))
            }
            Command::Status(options) if options.names_replicas() => status(&options, None, paint),
            Command::Status(options) => with_admin(environment, flags, "its URL", |admin| {
                status(&options, Some(&admin), paint)
            }),
            Command::Purge(options) if options.names_replicas() => purge(&options, None),
            Command::Purge(options) => {
                with_admin(environment, flags, "--admin", |admin| purge(&options, Some(&admin)))
            }
        };
        ExitCode::from(code)
    }

    /// An option that was given before a command, and that the command does not use. Options after a
    /// command are its own.
    fn useless_option(&self) -> Option<&'static str> {
        let Self { command, config, serve } = self;
        let names_store = match command {
            Some(Command::Serve(options)) => options.names_store() || serve.names_store(),
            _ => serve.names_store(),
        };
        // clap does not see this conflict if they stand on two sides of the command.
        if names_store && config.is_some() {
            return Some("--config");
        }
        let command = command.as_ref()?;
        let of_serve = match command {
            Command::Serve(_) => None,
            Command::Config { schema: false, .. } => serve.beside_overrides(),
            _ => serve.given(),
        };
        let reads_config = match command {
            Command::Completions { .. } | Command::Config { schema: true, .. } => false,
            Command::Status(options) => !options.names_replicas(),
            Command::Purge(options) => !options.names_replicas(),
            _ => true,
        };
        let of_config = config.as_ref().filter(|_| !reads_config).map(|_| "--config");
        of_serve.or(of_config)
    }
}

/// Colours for this standard output.
fn paint(environment: &BTreeMap<String, String>) -> Paint {
    let variable = |name: &str| environment.get(name).map(String::as_str);
    Paint::of(std::io::stdout().is_terminal(), variable("NO_COLOR"), variable("TERM"))
}

/// Runs `then` with the admin address of the configuration. `option` is the way to name another one.
fn with_admin(
    environment: BTreeMap<String, String>,
    flags: Flags,
    option: &str,
    then: impl FnOnce(Replica) -> u8,
) -> u8 {
    with_configuration(environment, flags, |loaded| match Replica::own(&loaded.config) {
        Some(admin) => then(admin),
        None => {
            print_error(&format!(
                "s3proxy: admin.listen is off; name a running s3proxy with {option}\n"
            ));
            BAD_CONFIGURATION
        }
    })
}

/// Loads the configuration and runs `then` with it, or prints every mistake in it.
fn with_configuration(
    environment: BTreeMap<String, String>,
    flags: Flags,
    then: impl FnOnce(&Loaded) -> u8,
) -> u8 {
    with_start(environment, flags, |start| then(&start.loaded))
}

fn with_start(
    environment: BTreeMap<String, String>,
    flags: Flags,
    then: impl FnOnce(&Start) -> u8,
) -> u8 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match (Sources { environment, flags, processors }).load() {
        Ok(start) => then(&start),
        Err(problems) => {
            print_problems(&problems);
            BAD_CONFIGURATION
        }
    }
}

fn print_problems(problems: &[Problem]) {
    let mut text = String::new();
    for problem in problems {
        text.push_str(&format!("s3proxy: {problem}\n"));
    }
    text.push_str(&format!(
        "s3proxy: {} in the configuration, nothing was started\n",
        match problems.len() {
            1 => "1 mistake".to_owned(),
            number => format!("{number} mistakes"),
        }
    ));
    let _stderr_closed = std::io::stderr().write_all(text.as_bytes());
}

fn serve_requests(start: &Start, upgrade: bool) -> u8 {
    let loaded = &start.loaded;
    let writer = match logging::install(loaded.config.log) {
        Ok(writer) => writer,
        Err(error) => {
            let text = format!("s3proxy: cannot start the log: {error}\n");
            let _stderr_closed = std::io::stderr().write_all(text.as_bytes());
            return FAILED;
        }
    };
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let code = match server::run(start, upgrade) {
        Ok(()) => SUCCESS,
        Err(error) => {
            log::error!("{error}");
            match error {
                StartError::Certificates(_) | StartError::Engine(_) | StartError::Tls { .. } => {
                    BAD_CONFIGURATION
                }
                StartError::Clock
                | StartError::Listen { .. }
                | StartError::Signals(_)
                | StartError::Runtime(_)
                | StartError::UpgradeSock(_) => FAILED,
            }
        }
    };
    writer.flush();
    code
}

fn check_stores(loaded: &Loaded, object: Option<&str>, json: bool, paint: Paint) -> u8 {
    let profiles = &loaded.config.profiles;
    let name = object.map(|object| object.strip_suffix('@').unwrap_or(object));
    if let Some(name) = name.filter(|name| !name.contains(['/', '@']))
        && profiles.only(name).is_none()
    {
        let known: Vec<_> = profiles.iter().map(|profile| profile.label()).collect();
        print_error(&format!(
            "s3proxy: {name}: no profile has this name (known: {}); an object is PROFILE@BUCKET/KEY\n",
            known.join(", ")
        ));
        return BAD_CONFIGURATION;
    }
    block_on(async {
        let profile = name.and_then(|name| profiles.only(name));
        let report = match object {
            Some(object) => match profile {
                Some(profiles) => {
                    let mut config = Config { profiles, ..loaded.config.clone() };
                    config.cache.shared = None;
                    check::check_all(&config, &loaded.warnings).await
                }
                None => check::check_object(&loaded.config, object).await,
            },
            None => check::check_all(&loaded.config, &loaded.warnings).await,
        };
        print(&if json { report.to_json() } else { report.to_text(paint) });
        if report.is_well() { SUCCESS } else { FAILED }
    })
}

fn explain_urls(loaded: &Loaded, options: &ExplainOptions, paint: Paint) -> u8 {
    let ExplainOptions { urls, json, admin, tls, offline } = options;
    let (json, offline) = (*json, *offline);
    let admin = admin.map(Replica::from).or_else(|| Replica::own(&loaded.config));
    let admin = tls.read().and_then(|tls| admin.map(|admin| tls.with(admin)).transpose());
    let options = match admin {
        Ok(admin) => Options { admin, offline },
        Err(error) => return unusable(&error),
    };
    block_on(async {
        let config = &loaded.config;
        // Once for all URLs: a provider may be slow.
        let issued = match offline {
            true => None,
            false => Some(check::with_credentials(config, TIMEOUT).await),
        };
        let config = issued.as_ref().unwrap_or(config);
        let mut code = SUCCESS;
        for (number, url) in urls.iter().enumerate() {
            let explanation = explain(config, url, &options).await;
            let between = if number > 0 && !json { "\n" } else { "" };
            let text = if json { explanation.to_json() } else { explanation.to_text(paint) };
            print(&format!("{between}{text}"));
            if !explanation.is_served() {
                code = FAILED;
            }
        }
        code
    })
}

/// Runs a command that sends requests to stores.
fn block_on(work: impl Future<Output = u8>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("s3proxy: cannot start threads: {error}\n"));
            return FAILED;
        }
    };
    let code = runtime.block_on(work);
    // A DNS lookup that hangs in the system must not delay the exit.
    runtime.shutdown_background();
    code
}

/// Prints to standard error.
fn print_error(text: &str) {
    let _stderr_closed = std::io::stderr().write_all(text.as_bytes());
}

/// Prints to standard output; a closed pipe is not an error. Returns whether the output is open.
fn print(text: &str) -> bool {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn parsed(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("s3proxy").chain(line.iter().copied()))
    }

    #[test]
    fn options_are_accepted_before_and_after_the_command_and_without_one() {
        for line in [
            &["--listen", "127.0.0.1:1", "--config", "x"][..],
            &["serve", "--listen", "127.0.0.1:1", "--config", "x"],
            &["--listen", "127.0.0.1:1", "serve", "--config", "x"],
            &["--listen", "127.0.0.1:1", "--config", "x", "config"],
            &["config", "--listen", "127.0.0.1:1", "--config", "x"],
        ] {
            let cli = parsed(line).expect("a valid line");
            assert_eq!(cli.useless_option(), None, "{line:?}");
            assert_eq!(cli.config.as_deref(), Some("x"), "{line:?}");
            let listen = match cli.command {
                Some(Command::Serve(options)) => options.or(cli.serve).flags(Flags::default()),
                Some(Command::Config { overrides, .. }) => {
                    overrides.or(cli.serve.overrides).flags(Flags::default())
                }
                _ => cli.serve.flags(Flags::default()),
            };
            assert_eq!(listen.listen.as_deref(), Some("127.0.0.1:1"), "{line:?}");
        }
    }

    /// `s3proxy check --listen` and `s3proxy purge --upgrade` were accepted and did nothing.
    #[test]
    fn options_are_refused_where_they_do_nothing() {
        for line in [
            &["check", "--listen", "127.0.0.1:1"][..],
            &["check", "--log-level", "DEBUG"],
            &["config", "--upgrade"],
            &["purge", "--upgrade", "b/k"],
            &["explain", "--listen", "127.0.0.1:1", "b/k"],
            &["explain", "--offline", "--admin", "127.0.0.1:1", "b/k"],
            &["explain", "--offline", "--ca-file", "f", "b/k"],
            &["purge", "--ca-file", "f", "--server-certificate-file", "f", "b/k"],
            &["status", "--client-certificate-file", "f"],
            &["warm", "--client-key-file", "f", "b/k/"],
            &["check", "--ca-file", "f"],
            &["status", "--admin", "127.0.0.1:1"],
            &["serve", "--bucket", "b"],
            &["check", "--hips"],
            &["check", "--samples", "100", "hips@b/k"],
            &["check", "--hips", "--samples", "9", "./survey"],
            &["serve", "--access-key-file", "f"],
            &["serve", "--endpoint", "http://h", "--config", "x"],
            &["status", "--replicas", "dns:a:1", "127.0.0.1:1"],
            &["purge", "--replicas", "dns:a:1", "--admin", "127.0.0.1:1", "b/k"],
        ] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
        for (line, option) in [
            (&["--listen", "127.0.0.1:1", "check"][..], "--listen"),
            (&["--upgrade", "purge", "b/k"], "--upgrade"),
            (&["--upgrade", "config"], "--upgrade"),
            (&["--endpoint", "http://h", "status"], "--endpoint"),
            (&["--log-format", "production", "completions", "bash"], "--log-format"),
            (&["--config", "x", "completions", "bash"], "--config"),
            (&["--config", "x", "serve", "--endpoint", "http://h"], "--config"),
            (&["config", "--schema", "--config", "x"], "--config"),
            (&["purge", "--admin", "127.0.0.1:1", "--config", "x", "b/k"], "--config"),
            (&["status", "127.0.0.1:1", "--config", "x"], "--config"),
        ] {
            let cli = parsed(line).expect("a line that clap accepts");
            assert_eq!(cli.useless_option(), Some(option), "{line:?}");
        }
        let cli = parsed(&["--config", "x", "check"]).expect("a valid line");
        assert_eq!(cli.useless_option(), None);
    }
}
