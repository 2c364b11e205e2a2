//! Disks that are full, read-only, failing, or not there: clients notice nothing, the log has one
//! warning, and the service goes on from memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::cached::status;
use crate::disk::{
    Bench, eventually, get_tiles, is_hit, message, put_tiles, start_scanned, stop, tile,
};
use crate::gateway::Gateway;
use crate::origin::Origin;
use crate::tally::trials;

/// Answers of a gateway whose disk fails or misbehaves.
const ON_FAULTS: &str = "answers on disk faults";

/// A file system of its own; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None`, and a message, where this user may not mount.
    fn new(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(at);
        let done = mount.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if done.is_ok_and(|done| done.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: no file system can be mounted here");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Unmounts even if a process still has a file open there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn is_warning(line: &Value) -> bool {
    line["severity"] == "warning" && message(line).contains("the service goes on without it")
}

/// One warning with the reason; a second one fails the test when the gateway is dropped.
fn expect_warning(gateway: &Gateway, why: &str) {
    gateway.expect_log(why, |line| is_warning(line) && message(line).contains(why));
}

/// The tier is off: clients notice nothing.
fn goes_on_from_memory(gateway: &Gateway, origin: &Origin) {
    let _trials = trials(ON_FAULTS, 100);
    put_tiles(origin, 50, |_| 3000);
    get_tiles(gateway, 50, |_| 3000);
    origin.clear();
    for answer in get_tiles(gateway, 50, |_| 3000) {
        assert!(is_hit(&answer), "{}", status(&answer));
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_unusable_folder_is_one_warning() {
    let bench = Bench::new();
    let file = bench.folder();
    fs::write(&file, "a regular file").expect("a file");
    let origin = Origin::start();
    for (folder, why) in [
        (file.join("cache"), "Not a directory"),
        (file.clone(), "File exists"),
        (PathBuf::from("/proc/s3proxy/cache"), "No such file"),
        (PathBuf::from("/dev/null"), "File exists"),
    ] {
        let gateway = bench.setup_at(&origin.url(), &folder).start();
        expect_warning(&gateway, why);
        goes_on_from_memory(&gateway, &origin);
        assert_eq!(bench.counter("disk_hits"), 0);
        stop(gateway);
    }
}

#[test]
fn a_read_only_disk_is_one_warning() {
    let bench = Bench::new();
    let Some(mount) = Mount::new(&bench.folder(), "ro,size=1m") else { return };
    let origin = Origin::start();
    let gateway = bench.setup_at(&origin.url(), &mount.0.join("cache")).start();
    expect_warning(&gateway, "Read-only file system");
    goes_on_from_memory(&gateway, &origin);
    stop(gateway);
}

#[test]
fn a_disk_that_becomes_read_only_is_one_warning() {
    let bench = Bench::new();
    let origin = Origin::start();
    let gateway = start_scanned(&bench.setup(&origin.url()));
    origin.put("a.png", "a tile");
    gateway.object("sky/a.png");
    bench.await_records(1);
    // Mounted over the folder: a file system cannot become read-only while files in it are being
    // written.
    let Some(_mount) = Mount::new(&bench.folder(), "ro,size=1m") else { return };
    origin.put("b.png", "a tile");
    gateway.object("sky/b.png");
    expect_warning(&gateway, "Read-only file system");
    goes_on_from_memory(&gateway, &origin);
    stop(gateway);
}

#[test]
fn a_small_disk_that_fills_up_makes_room_by_itself() {
    const TILES: usize = 200;
    let bench = Bench::new();
    // Less than the smallest tier that can be configured.
    let Some(_mount) = Mount::new(&bench.folder(), "size=8m,mode=700") else { return };
    let origin = Origin::start();
    put_tiles(&origin, TILES, |_| 100_000);
    let setup = bench.setup(&origin.url()).env("S3PROXY_CACHE_MEMORY", "1MiB");
    let gateway = start_scanned(&setup);
    let _trials = trials(ON_FAULTS, 2 * TILES);
    for _ in 0..2 {
        // 20 MB.
        get_tiles(&gateway, TILES, |_| 100_000);
    }
    assert!(bench.counter("disk_evictions") > 0);
    // Without a warning: the tier is on.
    origin.put("last.png", tile(1, 50_000));
    let before = bench.records();
    gateway.object("sky/last.png");
    eventually("the last tile on disk", || bench.records().iter().any(|f| !before.contains(f)));
    stop(gateway);
    origin.clear();
    let gateway = start_scanned(&setup);
    assert!(is_hit(&gateway.object("sky/last.png")));
    stop(gateway);
}

#[test]
fn a_disk_filled_by_others_is_one_warning() {
    let bench = Bench::new();
    let Some(_mount) = Mount::new(&bench.folder(), "size=4m,mode=700") else { return };
    let origin = Origin::start();
    let gateway = start_scanned(&bench.setup(&origin.url()));
    let hog = bench.folder().join("hog");
    let filled = fs::write(&hog, vec![1; 8 << 20]);
    assert!(filled.is_err(), "the disk is larger than it should be");
    let _trials = trials(ON_FAULTS, 50);
    put_tiles(&origin, 50, |_| 3000);
    get_tiles(&gateway, 50, |_| 3000);
    expect_warning(&gateway, "No space left on device");
    goes_on_from_memory(&gateway, &origin);
    assert!(bench.counter("disk_errors") > 0);
    stop(gateway);

    // A gateway that starts on the full disk.
    let gateway = bench.setup(&origin.url()).tolerate("the service goes on without it").start();
    goes_on_from_memory(&gateway, &origin);
    let warnings = gateway.lines().into_iter().filter_map(|line| line.json).filter(is_warning);
    assert!(warnings.count() <= 1);
    stop(gateway);

    // And once there is room again.
    fs::remove_file(&hog).expect("the file that fills the disk");
    let setup = bench.setup(&origin.url());
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, 50, |_| 3000);
    bench.await_records(50);
    stop(gateway);
}

#[test]
fn a_folder_that_is_removed_is_one_warning() {
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, 50, |_| 3000);
    let gateway = start_scanned(&bench.setup(&origin.url()));
    get_tiles(&gateway, 50, |_| 3000);
    bench.await_records(50);
    fs::remove_dir_all(bench.folder()).expect("the folder");
    let _trials = trials(ON_FAULTS, 60);
    put_tiles(&origin, 60, |_| 4000);
    bench.purge("/sky/tiles/");
    get_tiles(&gateway, 60, |_| 4000);
    expect_warning(&gateway, "No such file");
    bench.purge("/sky/tiles/");
    goes_on_from_memory(&gateway, &origin);
    stop(gateway);
}

/// Injects faults into a running process; detached when dropped.
struct Injector(Child);

impl Injector {
    /// `None`, and a message, where there is no strace or it may not attach.
    fn attach(bench: &Bench, gateway: &Gateway, faults: &str) -> Option<Self> {
        let log = bench.folder().with_extension("strace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(&log).args(["-e", faults]);
        strace.args(["-p", &gateway.pid().to_string()]).stderr(Stdio::null());
        let Ok(child) = strace.spawn() else {
            eprintln!("SKIPPED: there is no strace here");
            return None;
        };
        let mut injector = Self(child);
        let tracer = format!("TracerPid:\t{}", injector.0.id());
        let status = format!("/proc/{}/status", gateway.pid());
        for _ in 0..500 {
            if fs::read_to_string(&status).is_ok_and(|status| status.contains(&tracer)) {
                return Some(injector);
            }
            if !matches!(injector.0.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("SKIPPED: strace may not attach here");
        None
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        // It detaches on SIGTERM; killed, it would leave the gateway stopped.
        let end = format!("kill -TERM {}", self.0.id());
        let _ = Command::new("sh").args(["-c", &end]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn a_disk_that_fails_to_write_is_one_warning() {
    let (bench, origin) = (Bench::new(), Origin::start());
    let gateway = start_scanned(&bench.setup(&origin.url()));
    // Only files are written to with an offset.
    let Some(injector) = Injector::attach(&bench, &gateway, "inject=pwrite64:error=EIO") else {
        return;
    };
    let _trials = trials(ON_FAULTS, 50);
    put_tiles(&origin, 50, |_| 3000);
    get_tiles(&gateway, 50, |_| 3000);
    expect_warning(&gateway, "Input/output error");
    goes_on_from_memory(&gateway, &origin);
    assert_eq!(bench.records(), Vec::<PathBuf>::new());
    assert!(bench.counter("disk_errors") >= 3);
    drop(injector);
    stop(gateway);
}

#[test]
fn a_disk_that_fails_to_read_is_one_warning() {
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, 50, |_| 3000);
    let setup = bench.setup(&origin.url());
    let gateway = start_scanned(&setup);
    get_tiles(&gateway, 50, |_| 3000);
    bench.await_records(50);
    stop(gateway);
    let gateway = start_scanned(&setup);
    let Some(injector) = Injector::attach(&bench, &gateway, "inject=openat,openat2:error=EIO")
    else {
        return;
    };
    let _trials = trials(ON_FAULTS, 50);
    get_tiles(&gateway, 50, |_| 3000);
    expect_warning(&gateway, "Input/output error");
    goes_on_from_memory(&gateway, &origin);
    drop(injector);
    stop(gateway);
}

#[test]
fn shutdown_waits_for_a_slow_disk() {
    let (bench, origin) = (Bench::new(), Origin::start());
    put_tiles(&origin, 50, |_| 3000);
    let setup = bench.setup(&origin.url());
    let gateway = start_scanned(&setup);
    // Two writes per tile: one second in total.
    let slow = "inject=pwrite64:delay_enter=10000";
    let Some(injector) = Injector::attach(&bench, &gateway, slow) else { return };
    let _trials = trials(ON_FAULTS, 50);
    get_tiles(&gateway, 50, |_| 3000);
    stop(gateway);
    drop(injector);
    assert_eq!(bench.records().len(), 50);
}
