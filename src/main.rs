//! The `s3proxy` program: passes the command line to [`s3proxy::cli`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    s3proxy::cli::run(std::env::args_os())
}
