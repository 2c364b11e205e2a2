//! The command line: what may be typed, and what each command does.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::admin;
use crate::check;
use crate::config::{self, Flags, Loaded, Problem};
use crate::explain::{Options, explain};
use crate::logging;
use crate::reload::{Sources, Start};
use crate::server::{self, StartError};

/// Everything went well.
const WELL: u8 = 0;
/// The command ran, and found or met something wrong.
const FAILED: u8 = 1;
/// The configuration or the command line is wrong; nothing was started.
const BAD_CONFIGURATION: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  s3proxy                                     serve, configured by the environment alone
  s3proxy serve --config conf/s3proxy.yaml    serve, with a file below the environment
  s3proxy config --config conf/s3proxy.yaml   the effective values, and where each comes from
  s3proxy config --schema                     the JSON Schema of the file, for editors
  s3proxy check                               does every profile work?
  s3proxy check hips@sky/Norder3/Allsky.png   what would the gateway answer, and why?
  s3proxy explain https://data.example.org/s3proxy/s3/hips@sky/Norder3/Allsky.png
                                              all that is known of a URL that was complained of

Without a profile@ in the URL the store of S3_ENDPOINT_URL is asked. A profile is an endpoint,
LSST_RESOURCES_S3_PROFILE_hips=https://s3.example.org, and a section [hips] in the file that
AWS_SHARED_CREDENTIALS_FILE names. docs/configuration.md lists every variable and key.";

/// A read gateway from plain HTTP to private S3 buckets:
/// http://host/s3proxy/s3/profile@bucket/path/to/file
#[derive(Debug, Parser)]
#[command(name = "s3proxy", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// YAML file of settings; the environment and the other options come before it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<String>,
    /// Address to accept requests on, such as 0.0.0.0:8080 or `[::]:8080`
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// development (text) or production (one JSON object a line)
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// When serving, take over the sockets of a running s3proxy, which then needs a SIGQUIT
    #[arg(long, global = true)]
    upgrade: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve requests until SIGTERM (this is also what no command at all does)
    Serve,
    /// Print the effective configuration and where each value comes from, without secrets
    Config {
        /// As one JSON object
        #[arg(long)]
        json: bool,
        /// Print the JSON Schema of the YAML file instead, for editors
        #[arg(long, conflicts_with = "json")]
        schema: bool,
    },
    /// Ask every store, or explain one object, as the gateway would; exit code 0 if all is well
    Check {
        /// PROFILE@BUCKET/KEY or the URL of an object; without it every profile is checked
        #[arg(value_name = "OBJECT")]
        object: Option<String>,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Explain what becomes of URLs: key, rules, what is kept, the request to the store and its answer
    Explain {
        /// The URL as a user has it, its path, or PROFILE@BUCKET/KEY
        #[arg(value_name = "URL", required = true)]
        urls: Vec<String>,
        /// As one JSON object for each
        #[arg(long)]
        json: bool,
        /// The admin address of the s3proxy that runs; else that of the configuration
        #[arg(long, value_name = "ADDRESS:PORT")]
        admin: Option<SocketAddr>,
        /// Ask neither that s3proxy nor a store
        #[arg(long)]
        offline: bool,
    },
    /// Have a running s3proxy forget objects it keeps, at once
    Purge {
        /// PROFILE@BUCKET/KEY, or PROFILE@BUCKET/PREFIX/ for everything below it
        #[arg(value_name = "TARGET", required = true)]
        targets: Vec<String>,
        /// Its admin address; else that of the configuration
        #[arg(long, value_name = "ADDRESS:PORT")]
        admin: Option<SocketAddr>,
    },
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

impl Cli {
    /// Does what was typed.
    #[must_use]
    pub fn run(self, environment: BTreeMap<String, String>) -> ExitCode {
        let Self { command, config, listen, log_level, log_format, upgrade } = self;
        let flags = Flags { config, listen, log_level, log_format };
        let command = command.unwrap_or(Command::Serve);
        let code = match command {
            Command::Completions { shell } => {
                clap_complete::generate(
                    shell,
                    &mut Self::command(),
                    "s3proxy",
                    &mut std::io::stdout(),
                );
                WELL
            }
            Command::Serve => {
                with_start(environment, flags, |start| serve_requests(start, upgrade))
            }
            Command::Config { schema: true, .. } => {
                print(&config::schema());
                WELL
            }
            Command::Config { json, schema: false } => {
                with_configuration(environment, flags, |loaded| {
                    print(&if json { config::show_json(loaded) } else { config::show(loaded) });
                    WELL
                })
            }
            Command::Check { object, json } => with_configuration(environment, flags, |loaded| {
                check_stores(loaded, object.as_deref(), json)
            }),
            Command::Explain { urls, json, admin, offline } => {
                with_configuration(environment, flags, |loaded| {
                    let admin = admin.or(loaded.config.admin_listen);
                    explain_urls(loaded, &urls, json, Options { admin, offline })
                })
            }
            Command::Purge { targets, admin: Some(admin) } => purge(admin, &targets),
            Command::Purge { targets, admin: None } => {
                with_configuration(environment, flags, |loaded| match loaded.config.admin_listen {
                    Some(admin) => purge(admin, &targets),
                    None => {
                        tell("s3proxy: admin.listen is off; --admin names a running s3proxy\n");
                        BAD_CONFIGURATION
                    }
                })
            }
        };
        ExitCode::from(code)
    }
}

/// Loads the configuration and hands it on, or tells every mistake in it.
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
            complain(&problems);
            BAD_CONFIGURATION
        }
    }
}

fn complain(problems: &[Problem]) {
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
    let _nobody_to_tell = std::io::stderr().write_all(text.as_bytes());
}

fn serve_requests(start: &Start, upgrade: bool) -> u8 {
    let loaded = &start.loaded;
    let writer = match logging::install(loaded.config.log) {
        Ok(writer) => writer,
        Err(error) => {
            let text = format!("s3proxy: the log cannot be started: {error}\n");
            let _nobody_to_tell = std::io::stderr().write_all(text.as_bytes());
            return FAILED;
        }
    };
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let code = match server::run(start, upgrade) {
        Ok(()) => WELL,
        Err(error) => {
            log::error!("{error}");
            match error {
                StartError::Certificates(_) => BAD_CONFIGURATION,
                StartError::Listen { .. } | StartError::Signals(_) => FAILED,
            }
        }
    };
    writer.flush();
    code
}

fn check_stores(loaded: &Loaded, object: Option<&str>, json: bool) -> u8 {
    asking(async {
        let report = match object {
            Some(object) => check::check_object(&loaded.config, object).await,
            None => check::check_all(&loaded.config, &loaded.warnings).await,
        };
        print(&if json { report.to_json() } else { report.to_text() });
        if report.is_well() { WELL } else { FAILED }
    })
}

fn explain_urls(loaded: &Loaded, urls: &[String], json: bool, options: Options) -> u8 {
    asking(async {
        let mut code = WELL;
        for (number, url) in urls.iter().enumerate() {
            let explanation = explain(&loaded.config, url, options).await;
            let between = if number > 0 && !json { "\n" } else { "" };
            let text = if json { explanation.to_json() } else { explanation.to_text() };
            print(&format!("{between}{text}"));
            if !explanation.is_served() {
                code = FAILED;
            }
        }
        code
    })
}

/// Runs what asks stores.
fn asking(work: impl Future<Output = u8>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("s3proxy: no threads to ask with: {error}\n"));
            return FAILED;
        }
    };
    let code = runtime.block_on(work);
    // A name lookup that hangs in the system must not hold up the end.
    runtime.shutdown_background();
    code
}

fn purge(admin: SocketAddr, targets: &[String]) -> u8 {
    if let Some(target) = targets.iter().find(|target| !target.contains('/')) {
        tell(&format!("s3proxy: {target}: {}\n", admin::purge::TARGET));
        return BAD_CONFIGURATION;
    }
    let mut code = WELL;
    for target in targets {
        match admin::purge::purge(admin, target) {
            Ok(said) => print(&format!("{said}\n")),
            Err(error) => {
                tell(&format!("s3proxy: {error}\n"));
                code = FAILED;
            }
        }
    }
    code
}

/// To standard error.
fn tell(text: &str) {
    let _nobody_to_tell = std::io::stderr().write_all(text.as_bytes());
}

/// To standard output; a reader that has left is no error.
fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let _reader_left = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_count_before_and_after_the_command_and_without_one() {
        for line in [
            &["--listen", "127.0.0.1:1", "--config", "x"][..],
            &["serve", "--listen", "127.0.0.1:1", "--config", "x"],
            &["--listen", "127.0.0.1:1", "serve", "--config", "x"],
            &["--listen", "127.0.0.1:1", "--config", "x", "config"],
            &["check", "--config", "x", "--listen", "127.0.0.1:1", "hips@b/k"],
        ] {
            let words = std::iter::once("s3proxy").chain(line.iter().copied());
            let cli = Cli::try_parse_from(words).expect("a valid line");
            assert_eq!(cli.listen.as_deref(), Some("127.0.0.1:1"), "{line:?}");
            assert_eq!(cli.config.as_deref(), Some("x"), "{line:?}");
        }
    }
}
