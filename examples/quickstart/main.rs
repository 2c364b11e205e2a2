//! The gateway on a laptop: a private, signature-checking S3 server in this process, filled with a
//! computed survey of the sky, and the gateway in front of it.
//!
//! `cargo run --release --example quickstart`
//!
//! With `-- s3proxy COMMAND...` it runs that command of s3proxy instead: the lines of the tour need no further build.

mod gateway;
mod survey;
mod tour;

#[expect(dead_code, reason = "only tests use the log and the manners")]
#[path = "../../tests/support/store.rs"]
mod store;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;

use store::{Object, Serving, Store};

/// Start an S3 server with a small survey of the sky, and the gateway in front of it.
#[derive(Parser)]
#[command(name = "quickstart")]
struct Options {
    /// Port of the gateway on 127.0.0.1.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port of the S3 server on 127.0.0.1; 0 for any free port.
    #[arg(long, default_value_t = 0)]
    store_port: u16,
}

fn main() -> ExitCode {
    let arguments = || std::env::args_os().skip(1);
    if arguments().next().is_some_and(|first| first == "s3proxy") {
        return s3proxy::cli::run(arguments());
    }
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "quickstart: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, String> {
    // Before the sky is computed, so that a taken port is reported at once.
    drop(bind(options.port, "--port")?);
    let listener = bind(options.store_port, "--store-port")?;
    let keys = AccessKey::new();
    let store = Store::new();
    // On separate threads: the gateway starts its own runtime and blocks this thread.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("store")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the S3 server: {error}"))?;
    let serving = runtime
        .block_on(serve(&store, listener, &keys))
        .map_err(|error| format!("cannot start the S3 server: {error}"))?;

    print_line(&format!("S3 server on {}, verifies signatures", serving.endpoint()));
    let filled = fill(&store).map_err(|error| format!("cannot make the survey: {error}"))?;
    print_line(&filled);

    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let folder = tempfile::Builder::new()
        .prefix("s3proxy-quickstart-")
        .tempdir()
        .map_err(|error| format!("no temporary folder: {error}"))?;
    let admin = free_address().map_err(|error| format!("no free port: {error}"))?;
    let addresses = gateway::Addresses { listen, admin, store: serving.address() };
    let config = gateway::write_files(folder.path(), addresses, &keys.access, &keys.secret)
        .map_err(|error| format!("cannot write into {}: {error}", folder.path().display()))?;
    print_line(&tour::text(addresses, survey::deep_cell(), &config));
    let code = gateway::run(&config)?;
    drop(serving);
    runtime.shutdown_background();
    Ok(code)
}

/// An address on loopback that nothing listens on.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A listener on loopback.
fn bind(port: u16, flag: &str) -> Result<TcpListener, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is in use; choose another, for example {flag} {}", port ^ 1)
        }
        _ => format!("cannot listen on {address}: {error}; choose another with {flag}"),
    })
}

async fn serve(store: &Store, listener: TcpListener, keys: &AccessKey) -> io::Result<Serving> {
    listener.set_nonblocking(true)?;
    store.serve(tokio::net::TcpListener::from_std(listener)?, &keys.access, &keys.secret)
}

/// An access key and a secret key that are valid for this run only.
struct AccessKey {
    access: String,
    secret: String,
}

impl AccessKey {
    fn new() -> Self {
        let text = |length| -> String { (0..length).map(|_| fastrand::alphanumeric()).collect() };
        Self { access: format!("AKIA{}", text(16).to_uppercase()), secret: text(40) }
    }
}

/// Computes the survey into the bucket, and reports its size.
fn fill(store: &Store) -> io::Result<String> {
    let begun = Instant::now();
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let (objects, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    print_line("Computing a sky survey, as each run does; this takes some seconds ...");
    survey::generate(threads, &|piece| {
        objects.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(piece.body.len() as u64, Ordering::Relaxed);
        store.put(tour::BUCKET, &piece.key, Object::new(piece.body).typed(piece.content_type));
    })?;
    Ok(format!(
        "Survey in bucket {:?}: {} objects, {} MB, computed in {:.1} s",
        tour::BUCKET,
        objects.into_inner(),
        bytes.into_inner() / 1_000_000,
        begun.elapsed().as_secs_f64(),
    ))
}

/// Prints a line. A closed standard output is not an error.
fn print_line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_one_line_that_names_the_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let problem = bind(port, "--port").unwrap_err();
        assert!(problem.contains(&port.to_string()) && problem.contains("--port"), "{problem}");
        assert!(!problem.contains('\n'));
    }

    /// With blank pictures: to compute the sky takes minutes in a debug build.
    #[test]
    fn the_check_of_both_surveys_is_clean() {
        use s3proxy::terminal::Paint;

        let store = Store::new();
        let keys = AccessKey::new();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let serving =
            runtime.block_on(serve(&store, bind(0, "--store-port").unwrap(), &keys)).unwrap();
        survey::outline(&|piece| {
            let object = Object::new(piece.body).typed(piece.content_type);
            store.put(tour::BUCKET, &piece.key, object);
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let addresses = gateway::Addresses {
            listen: free_address().unwrap(),
            admin: free_address().unwrap(),
            store: serving.address(),
        };
        let written =
            gateway::write_files(folder.path(), addresses, &keys.access, &keys.secret).unwrap();
        let config = &gateway::sources(&written).load().unwrap().loaded.config;
        for place in ["hips@sky/", "hips@sky/intensity/"] {
            let place = s3proxy::check::SurveyPlace::of(place);
            let check = s3proxy::check::check_survey(config, &place, 1000, &|_, _| ());
            let report = runtime.block_on(check).to_text(Paint::Plain);
            assert!(report.ends_with("All checks passed.\n"), "{report}");
        }
    }

    #[test]
    fn access_keys_differ_from_run_to_run_and_fit_into_a_url() {
        let (one, other) = (AccessKey::new(), AccessKey::new());
        assert_ne!(one.secret, other.secret);
        assert_eq!((one.access.len(), one.secret.len()), (20, 40));
        assert!(format!("{}{}", one.access, one.secret).bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
