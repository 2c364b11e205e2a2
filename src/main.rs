//! The `s3proxy` program: passes the command line and the environment to [`s3proxy::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use s3proxy::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // No variable of s3proxy has a name or value that is not UTF-8.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Cli::parse().run(environment)
}
