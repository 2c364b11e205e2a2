//! The disk tier in the running gateway: the entries it has after a restart, after a crash, and
//! when memory is full.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::admin::Admin;
use crate::cached::{status, with_cache};
use crate::client::{Answer, Ending, PATIENCE};
use crate::gateway::{Gateway, Setup, free_port};
use crate::origin::Origin;
use crate::tally::trial;

/// A folder for the tier, which several gateways use one after the other, and their admin address.
pub(crate) struct Bench {
    dir: TempDir,
    admin: SocketAddr,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { dir, admin: SocketAddr::from(([127, 0, 0, 1], free_port())) }
    }

    /// The tier creates it.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// A gateway with its disk tier in this folder, which ends immediately on SIGTERM.
    pub(crate) fn setup(&self, store: &str) -> Setup {
        self.setup_at(store, &self.folder())
    }

    pub(crate) fn setup_at(&self, store: &str, folder: &Path) -> Setup {
        with_cache(store)
            .env("S3PROXY_CACHE_DISK_PATH", folder.to_str().expect("a path of UTF-8"))
            .env("S3PROXY_CACHE_DISK_SIZE", "64MiB")
            .env("S3PROXY_ADMIN_LISTEN", &self.admin.to_string())
            .env("S3PROXY_SERVER_LAME_DUCK", "0s")
    }

    /// The admin listener may be ready a moment after the public one.
    fn ask(&self, method: &str, path: &str) -> Answer {
        Admin { address: self.admin }.send(method, path)
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin { address: self.admin }
    }

    /// A counter of the cache.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let report = self.ask("GET", "/cache").json();
        report[name].as_u64().unwrap_or_else(|| panic!("no counter {name}: {report}"))
    }

    pub(crate) fn purge(&self, target: &str) {
        let answer = self.ask("PURGE", target);
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }

    /// The record files.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let folders = folders.map(|entry| entry.path()).filter(|path| path.is_dir());
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        let mut files: Vec<_> = files.flatten().map(|entry| entry.path()).collect();
        files.sort();
        files
    }

    /// Waits until this many records are on disk.
    pub(crate) fn await_records(&self, number: usize) {
        eventually(&format!("{number} records"), || self.records().len() == number);
    }
}

pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts the gateway, and waits until it has loaded its index of the disk.
pub(crate) fn start_scanned(setup: &Setup) -> Gateway {
    let gateway = setup.clone().start();
    gateway.expect_log("the end of the scan", |line| message(line).contains(" objects, "));
    gateway
}

pub(crate) fn message(line: &Value) -> &str {
    line["event"].as_str().unwrap_or_default()
}

/// Ends it as Kubernetes does.
pub(crate) fn stop(mut gateway: Gateway) {
    gateway.signal("TERM");
    let ended = gateway.await_end(PATIENCE);
    assert_eq!(ended.code(), Some(0), "{ended}");
}

/// Kills it as the out-of-memory killer does.
pub(crate) fn kill(mut gateway: Gateway) {
    gateway.signal("KILL");
    gateway.await_end(PATIENCE);
}

/// Bytes that identify the tile and the position in it.
pub(crate) fn tile(number: usize, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    while bytes.len() < size {
        bytes.extend_from_slice(format!("tile {number} at {}\n", bytes.len()).as_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Tiles `tiles/0.png`, `tiles/1.png` ... at the store.
pub(crate) fn put_tiles(origin: &Origin, tiles: usize, size: impl Fn(usize) -> usize) {
    for number in 0..tiles {
        origin.put(&format!("tiles/{number}.png"), tile(number, size(number)));
    }
}

/// Gets every tile, on one connection, and checks it.
pub(crate) fn get_tiles(
    gateway: &Gateway,
    tiles: usize,
    size: impl Fn(usize) -> usize,
) -> Vec<Answer> {
    let mut client = gateway.connect();
    let get = |number: usize| {
        let path = format!("/s3proxy/s3/sky/tiles/{number}.png");
        let answer = client.exchange("GET", &path, &[]);
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole), "tile {number}");
        assert!(answer.body == tile(number, size(number)), "tile {number}: other bytes");
        answer
    };
    (0..tiles).map(get).collect()
}

pub(crate) fn is_hit(answer: &Answer) -> bool {
    status(answer).starts_with("s3proxy; hit; ttl=")
}

/// The parts of an answer by which a client can distinguish two objects.
fn identity(answer: &Answer) -> [Option<&str>; 5] {
    ["etag", "last-modified", "content-type", "content-length", "cache-control"]
        .map(|name| answer.header(name))
}

#[test]
fn a_tile_survives_a_restart() {
    for end in [stop, kill] {
        let (bench, origin) = (Bench::new(), Origin::start());
        origin.put("a.png", tile(1, 70_000));
        let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_MAX_AGE", "60");
        let gateway = start_scanned(&setup);
        let first = gateway.object("sky/a.png");
        bench.await_records(1);
        end(gateway);
        origin.clear();

        let gateway = start_scanned(&setup);
        let again = gateway.object("sky/a.png");
        assert!(again.body == tile(1, 70_000), "{} bytes", again.body.len());
        assert!(is_hit(&again), "{}", status(&again));
        assert_eq!(identity(&again), identity(&first));
        let part = gateway.object_with("sky/a.png", &[("range", "bytes=65530-65545")]);
        assert!(part.body == tile(1, 70_000)[65_530..=65_545], "{}", part.text());
        assert_eq!((bench.counter("disk_hits"), bench.counter("misses")), (1, 0));
        end(gateway);

        // Configured response headers follow the current configuration.
        let gateway = start_scanned(&setup.env("S3PROXY_CACHE_MAX_AGE", "7"));
        let head = gateway.send("HEAD", "/s3proxy/s3/sky/a.png", &[]);
        assert!(is_hit(&head), "the first touch by HEAD: {}", status(&head));
        assert_eq!(head.header("cache-control"), Some("public, max-age=7"));
        assert_eq!(identity(&head)[..4], identity(&first)[..4]);
        assert_eq!(origin.count(), 0, "{:?}", origin.requests());
    }
}

#[test]
fn queued_records_are_written_before_exit() {
    const TILES: usize = 160;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, |_| 256_000);
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_MEMORY", "256MiB");
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, TILES, |_| 256_000);
    stop(gateway);
    origin.clear();
    assert_eq!(bench.records().len(), TILES);
    get_tiles(&start_scanned(&setup), TILES, |_| 256_000);
    assert_eq!(origin.count(), 0, "tiles that were asked of the store again");
}

#[test]
fn tiles_evicted_from_memory_are_served_from_disk() {
    const TILES: usize = 40;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, |_| 100_000);
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_MEMORY", "1MiB");
    let gateway = start_scanned(&setup);
    let first = get_tiles(&gateway, TILES, |_| 100_000);
    bench.await_records(TILES);
    origin.clear();
    let again = get_tiles(&gateway, TILES, |_| 100_000);
    for (first, again) in first.iter().zip(&again) {
        assert!(is_hit(again), "{}", status(again));
        assert_eq!(identity(again), identity(first));
    }
    assert_eq!(origin.count(), 0, "{:?}", origin.requests());
    // A memory of 1 MiB holds ten.
    assert!(bench.counter("disk_hits") >= 30, "{}", bench.counter("disk_hits"));
    assert!(bench.counter("memory_evictions") >= 30, "{}", bench.counter("memory_evictions"));
}

#[test]
fn confirmed_freshness_survives_a_crash() {
    let (bench, origin) = (Bench::new(), Origin::start());
    origin.put("a.png", "a tile");
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "0");
    let stale = setup.clone().env("S3PROXY_CACHE_TTL", "0");
    let gateway = start_scanned(&stale);
    gateway.object("sky/a.png");
    bench.await_records(1);
    kill(gateway);
    let record = |bench: &Bench| std::fs::read(&bench.records()[0]).expect("the record");
    let before = record(&bench);

    let gateway = start_scanned(&setup.env("S3PROXY_CACHE_TTL", "1h"));
    let confirmed = gateway.object("sky/a.png");
    assert_eq!(status(&confirmed), "s3proxy; fwd=stale; fwd-status=200; ttl=3600; stored");
    eventually("the freshness on disk", || record(&bench) != before);
    kill(gateway);
    origin.clear();

    let gateway = start_scanned(&stale);
    let answer = gateway.object("sky/a.png");
    assert_eq!(answer.text(), "a tile");
    assert!(is_hit(&answer), "{}", status(&answer));
    assert_eq!(origin.count(), 0, "{:?}", origin.requests());
}

#[test]
fn a_changed_or_deleted_object_is_not_served_from_disk() {
    for now in [Some("a newer tile"), None] {
        let (bench, origin) = (Bench::new(), Origin::start());
        origin.put("a.png", "a tile");
        let setup = bench
            .setup(&origin.url())
            .env("S3PROXY_CACHE_TTL", "0")
            .env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "0");
        let gateway = start_scanned(&setup);
        assert_eq!(gateway.object("sky/a.png").text(), "a tile");
        bench.await_records(1);
        stop(gateway);
        match now {
            Some(body) => drop(origin.put("a.png", body)),
            None => assert!(origin.delete("a.png")),
        }
        let gateway = start_scanned(&setup);
        for _ in 0..2 {
            let answer = gateway.object("sky/a.png");
            let expected = if now.is_some() { 200 } else { 404 };
            assert_eq!(answer.status(), expected, "{}", status(&answer));
            assert!(now.is_none_or(|body| answer.text() == body), "{}", answer.text());
        }
        if now.is_none() {
            bench.await_records(0);
        }
    }
}

#[test]
fn thirty_crashes_while_writing_leave_no_wrong_record() {
    const TILES: usize = 400;
    const CLIENTS: u64 = 4;
    let size = |number: usize| 1000 + number * 97 % 60_000;
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, TILES, size);
    let setup = bench
        .setup(&origin.url())
        .env("S3PROXY_CACHE_MEMORY", "2MiB")
        // Records are rewritten all the time, and their freshness too.
        .env("S3PROXY_CACHE_TTL", "0")
        .env("S3PROXY_CACHE_STALE_WHILE_REVALIDATE", "0");
    for crash in 0..30_u64 {
        let _trial = trial("crashes");
        let gateway = setup.clone().start();
        let (answers, crashed) = (AtomicU64::new(0), AtomicBool::new(false));
        let run = |seed: u64| {
            let mut client = gateway.connect();
            let mut random = fastrand::Rng::with_seed(crash * CLIENTS + seed);
            loop {
                let number = random.usize(..TILES);
                client.request("GET", &format!("/s3proxy/s3/sky/tiles/{number}.png"), &[]);
                let Some(answer) = client.answer("GET") else { break };
                assert_eq!(answer.status(), 200, "{}", answer.text());
                let expected = tile(number, size(number));
                if answer.ending != Ending::Whole {
                    assert!(expected.starts_with(&answer.body), "tile {number}: other bytes");
                    break;
                }
                assert!(answer.body == expected, "tile {number}: other bytes");
                answers.fetch_add(1, Ordering::SeqCst);
            }
            assert!(crashed.load(Ordering::SeqCst), "a connection ended before the crash");
        };
        std::thread::scope(|scope| {
            let run = &run;
            let clients: Vec<_> = (0..CLIENTS).map(|seed| scope.spawn(move || run(seed))).collect();
            // The disk tier writes all the time: any moment will do.
            eventually("answers before a crash", || {
                answers.load(Ordering::SeqCst) > 20 + crash
                    || clients.iter().any(|client| client.is_finished())
            });
            crashed.store(true, Ordering::SeqCst);
            gateway.signal("KILL");
        });
        kill(gateway);
    }
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, TILES, size);
    assert_eq!(bench.counter("disk_errors"), 0);
    let kept = std::fs::read_dir(bench.folder()).expect("the folder").flatten();
    let loose: Vec<_> = kept.map(|e| e.path()).filter(|path| !path.is_dir()).collect();
    // The lock, and a record that is being written.
    assert!(loose.len() <= 2, "{loose:?}");
    assert!(bench.records().len() <= TILES, "{} records", bench.records().len());
}

#[test]
fn the_folder_and_its_files_are_the_users_own() {
    let (bench, origin) = (Bench::new(), Origin::start());
    origin.put("a.png", "embargoed");
    let gateway = start_scanned(&bench.setup(&origin.url()));
    gateway.object("sky/a.png");
    bench.await_records(1);
    let mode = |path: &Path| {
        std::fs::metadata(path).expect("what the tier made").permissions().mode() & 0o7777
    };
    let mut seen = 0;
    assert_eq!(mode(&bench.folder()), 0o700);
    for entry in std::fs::read_dir(bench.folder()).expect("the folder").flatten() {
        let expected = if entry.path().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&entry.path()), expected, "{entry:?}");
        seen += 1;
    }
    assert!(seen > 256, "{seen}");
    assert_eq!(mode(&bench.records()[0]), 0o600);
}

#[test]
fn a_second_gateway_on_the_same_folder_serves_without_it() {
    let (bench, origin) = (Bench::new(), Origin::start());
    origin.put("a.png", "a tile");
    let first = start_scanned(&bench.setup(&origin.url()));
    first.object("sky/a.png");
    bench.await_records(1);
    let second = Bench::new();
    let other = second.setup_at(&origin.url(), &bench.folder()).start();
    // Any other warning fails the test.
    other.expect_log("the warning", |line| {
        line["severity"] == "warning"
            && message(line).contains("another process uses it")
            && message(line).contains("the service goes on without it")
    });
    for nth in 0..3 {
        let answer = other.object("sky/a.png");
        assert_eq!((answer.status(), answer.text()), (200, "a tile"));
        assert_eq!(is_hit(&answer), nth > 0, "{}", status(&answer));
    }
    assert_eq!((second.counter("disk_hits"), second.counter("disk_errors")), (0, 0));
    assert!(is_hit(&first.object("sky/a.png")));
    assert_eq!(origin.count(), 2, "each asked once: {:?}", origin.requests());
}

#[test]
fn a_folder_that_other_users_can_write_to_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let bench = Bench::new();
    let shared = bench.dir.path().join("shared");
    std::fs::create_dir(&shared).expect("a folder");
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).expect("a mode");
    let gateway = bench.setup_at(&origin.url(), &shared).start();
    gateway.expect_log("a warning", |line| {
        let event = line["event"].as_str().unwrap_or_default();
        event.contains("other users can write to") && line["severity"] == "warning"
    });
    assert_eq!(gateway.object("sky/a.png").text(), "tile");
    drop(gateway);
    // A folder that the gateway makes is for its user alone.
    let gateway = bench.setup_at(&origin.url(), &shared.join("own")).start();
    assert_eq!(gateway.object("sky/a.png").text(), "tile");
}
