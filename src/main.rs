//! The `s3proxy` program: hands the command line and the environment to [`s3proxy::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use s3proxy::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Variables that are not UTF-8 cannot be any of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Cli::parse().run(environment)
}
