//! Counts the trials of tests and their failures, for `tests/reliability/run`: each line of `tally`
//! in the folder that `S3PROXY_TALLY` names holds a name, a number of trials and a number of
//! failures, separated by tabs. Without the variable nothing is written.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;

static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "no setting of the gateway")]
    let folder = std::env::var("S3PROXY_TALLY").ok()?;
    Some(PathBuf::from(folder).join("tally"))
});

/// Adds trials and failures under a name.
pub(crate) fn add(what: &str, tried: usize, bad: usize) {
    let Some(path) = FILE.as_ref().filter(|_| tried + bad > 0) else { return };
    // Other threads and processes write too: a line is written in one call.
    let line = format!("{what}\t{tried}\t{bad}\n");
    let file = OpenOptions::new().append(true).create(true).open(path);
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// This number of trials, counted when the value is dropped; a panic before that makes one of them
/// bad.
#[must_use = "it counts when it is dropped"]
pub(crate) fn trials(what: &'static str, tried: usize) -> Trials {
    Trials { what, tried }
}

/// One trial, as [`trials`].
#[must_use = "it counts when it is dropped"]
pub(crate) fn trial(what: &'static str) -> Trials {
    trials(what, 1)
}

/// Trials in progress.
pub(crate) struct Trials {
    what: &'static str,
    tried: usize,
}

impl Drop for Trials {
    fn drop(&mut self) {
        add(self.what, self.tried, usize::from(std::thread::panicking()));
    }
}
