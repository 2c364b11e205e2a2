//! The time of day is set while the gateway runs, by libfaketime. Without that library (Debian's
//! package `libfaketime`) the tests of this file end at once; `src/cache/clock.rs` and
//! `src/cache/disk/record/tests.rs` test the same with clocks of their own.

use std::path::PathBuf;
use std::time::Duration;

use crate::cached::status;
use crate::disk::{Bench, kill, start_scanned};
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::tally::trial;

/// Steps of the time of day.
const STEPS: &str = "steps of the clock";

/// The library, if it is installed.
pub(crate) fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let found = found.find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: the clock is not set, because libfaketime is not installed");
    }
    found
}

/// A gateway whose time of day is `offset` beside the right one, such as `+1d`: it follows the file.
pub(crate) struct Clock(pub(crate) PathBuf);

impl Clock {
    pub(crate) fn set(&self, offset: &str) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, offset).expect("a file for the offset");
        std::fs::rename(next, &self.0).expect("the offset in its place");
    }

    pub(crate) fn setup(&self, library: &std::path::Path, setup: Setup) -> Setup {
        let path = |path: &std::path::Path| path.to_str().expect("a path of UTF-8").to_owned();
        setup
            .env("LD_PRELOAD", &path(library))
            .env("FAKETIME_TIMESTAMP_FILE", &path(&self.0))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "0")
    }
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_fresh_and_no_purge_in_force() {
    let Some(library) = library() else { return };
    let (bench, origin) = (Bench::new(), Origin::start());
    origin.put("a.png", "a tile");
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock(folder.path().join("offset"));
    clock.set("+0");
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_TTL", "2s");
    let gateway = start_scanned(&clock.setup(&library, setup));
    gateway.object("sky/a.png");
    let back = trial(STEPS);
    clock.set("-600");
    let stored = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(2100).saturating_sub(stored.elapsed()));
    let revalidated = gateway.object("sky/a.png");
    assert!(status(&revalidated).contains("fwd=stale"), "{}", status(&revalidated));
    drop(back);

    // What is fetched after a purge is cached, whatever the time of day.
    let further = trial(STEPS);
    clock.set("-800");
    bench.purge("/sky/a.png");
    gateway.object("sky/a.png");
    let again = gateway.object("sky/a.png");
    assert!(status(&again).contains("hit"), "{}", status(&again));
    drop(further);

    // Nor does it age at once.
    let _ahead = trial(STEPS);
    clock.set("+800");
    let ahead = gateway.object("sky/a.png");
    assert!(status(&ahead).contains("hit"), "{}", status(&ahead));
}

/// Pingora panicked at every request.
#[test]
fn a_clock_that_http_cannot_say_is_refused_at_the_start() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock(folder.path().join("offset"));
    for offset in ["-60y", "+8000y"] {
        let _trial = trial(STEPS);
        clock.set(offset);
        let run = clock.setup(&library, Setup::new("http://127.0.0.1:9")).run();
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        let said = run.stdout + &run.stderr;
        assert!(said.contains("the clock of this machine is before 1970"), "{offset}: {said}");
    }
}

#[test]
fn a_record_made_in_the_future_is_revalidated_and_not_lost() {
    let Some(library) = library() else { return };
    let (bench, origin) = (Bench::new(), Origin::start());
    origin.put("a.png", "a tile");
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock(folder.path().join("offset"));
    clock.set("+600");
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_TTL", "1h");
    let setup = clock.setup(&library, setup);
    let gateway = start_scanned(&setup);
    gateway.object("sky/a.png");
    bench.await_records(1);
    kill(gateway);

    let future = trial(STEPS);
    clock.set("+0");
    let gateway = start_scanned(&setup);
    let confirmed = gateway.object("sky/a.png");
    assert_eq!(status(&confirmed), "s3proxy; fwd=stale; fwd-status=200; ttl=3600; stored");
    let again = gateway.object("sky/a.png");
    assert!(status(&again).contains("hit"), "{}", status(&again));
    kill(gateway);
    drop(future);

    // A purge by the next process covers it.
    let _past = trial(STEPS);
    clock.set("-600");
    let gateway = start_scanned(&setup);
    bench.purge("/sky/");
    let fetched = gateway.object("sky/a.png");
    assert!(status(&fetched).contains("fwd=miss"), "{}", status(&fetched));
}
