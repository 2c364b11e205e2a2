//! The `s3proxy` program: passes the command line and the environment to [`s3proxy::cli`].

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use s3proxy::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Bytes that are not UTF-8 become U+FFFD, which the configuration reports.
    let text = |bytes: OsString| bytes.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    Cli::parse().run(environment)
}
