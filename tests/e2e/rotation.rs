//! Fifty rotations of access keys while clients read: no request fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::admin::Admin;
use crate::cached::{status, with_cache};
use crate::client::{Client, Ending, PATIENCE};
use crate::files::{Files, INI, Way, section};
use crate::gateway::Gateway;
use crate::origin::Origin;
use crate::reload::count;
use crate::tally;

const ROTATIONS: usize = 50;
const CLIENTS: usize = 8;
const TILES: usize = 40;
/// Larger than the largest object cached whole, so that a reader asks the store again and again.
const LARGE: usize = 24 << 20;

/// The number of requests so far, and of those that failed.
#[derive(Default)]
struct Tally {
    made: AtomicUsize,
    kept: AtomicUsize,
    /// Bodies that were in transfer while access keys were replaced.
    large: AtomicUsize,
    failed: std::sync::Mutex<Vec<String>>,
}

impl Tally {
    fn judge(&self, what: &str, well: bool, is: impl FnOnce() -> String) {
        self.made.fetch_add(1, Ordering::Relaxed);
        if !well {
            self.failed.lock().expect("no panic").push(format!("{what}: {}", is()));
        }
    }
}

fn tile(nth: usize) -> String {
    format!("tile {nth} of the sky")
}

fn large() -> Bytes {
    (0..LARGE / 4).flat_map(|nth| u32::try_from(nth).expect("small").to_le_bytes()).collect()
}

fn key(nth: usize) -> (String, String) {
    (format!("AKIAROTATION{nth:04}"), format!("canary/OfRotation/{nth:04}"))
}

fn sections((id, secret): &(String, String)) -> String {
    section("kept", id, secret) + &section("passed", id, secret)
}

/// Tiles, cached and not, on one connection.
fn read_tiles(gateway: &Gateway, seed: usize, done: &AtomicBool, tally: &Tally) {
    let mut client = gateway.connect();
    for nth in (seed * 7..).take_while(|_| !done.load(Ordering::Acquire)) {
        let profile = if nth % 2 == 0 { "kept" } else { "passed" };
        let path = format!("/s3proxy/s3/{profile}@sky/t{}.png", nth / 2 % TILES);
        let answer = client.exchange("GET", &path, &[]);
        let well = answer.status() == 200
            && answer.ending == Ending::Whole
            && answer.text() == tile(nth / 2 % TILES);
        tally.judge(&path, well, || format!("{answer:?}"));
        tally.kept.fetch_add(usize::from(status(&answer).contains("hit")), Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A large body, read so slowly that access keys are replaced several times during the transfer.
fn read_slowly(gateway: &Gateway, profile: &str, done: &AtomicBool, tally: &Tally) {
    const STEPS: usize = 60;
    let expected = large();
    while !done.load(Ordering::Acquire) {
        let mut client = Client::narrow(gateway.address);
        let path = format!("/s3proxy/s3/{profile}@sky/large.fits");
        client.request("GET", &path, &[("Connection", "close")]);
        let Some(head) = client.head() else {
            tally.judge(&path, false, || "no answer".to_owned());
            continue;
        };
        for step in 1..STEPS {
            client.fill_to(LARGE / STEPS * step);
            std::thread::sleep(Duration::from_millis(50));
        }
        let (body, ending) = client.body(&head, "GET");
        let well = head.status == 200 && ending == Ending::Whole && body == expected;
        tally.judge(&path, well, || format!("{head:?}, {} bytes, {ending:?}", body.len()));
        tally.large.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until `/profiles` reports that requests are signed with this access key.
fn await_key(admin: Admin, nth: usize) {
    let deadline = Instant::now() + PATIENCE;
    let expected = format!("...{nth:04}");
    loop {
        let profiles = admin.send("GET", "/profiles").json();
        let profiles = profiles.as_array().expect("profiles").clone();
        let mut named = profiles.iter().filter(|profile| profile["profile"] != "default");
        if named.all(|profile| profile["key_id"] == expected) {
            return;
        }
        assert!(Instant::now() < deadline, "rotation {nth}: {profiles:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn fifty_rotations_under_load_fail_no_request() {
    let origin = Origin::start();
    for nth in 0..TILES {
        origin.put(&format!("t{nth}.png"), tile(nth));
    }
    origin.put("large.fits", large());
    let url = origin.url();
    let (id, secret) = key(0);
    origin.accept_key(&id, &secret);
    let profiles = format!(
        "profiles:\n  kept:\n    endpoint: \"{url}\"\n  passed:\n    endpoint: \"{url}\"\n    \
         cache: {{store: false}}\n"
    );
    let files = Files::new(Way::Rename, &sections(&key(0)), &profiles);
    let (setup, admin) = Admin::of(with_cache(&url));
    let gateway = files.setup(setup, "50ms").start();
    let (done, tally) = (AtomicBool::new(false), Tally::default());
    std::thread::scope(|scope| {
        let (gateway, done, tally) = (&gateway, &done, &tally);
        for seed in 0..CLIENTS {
            scope.spawn(move || read_tiles(gateway, seed, done, tally));
        }
        for profile in ["kept", "passed"] {
            scope.spawn(move || read_slowly(gateway, profile, done, tally));
        }
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for nth in 1..=ROTATIONS {
                let (id, secret) = key(nth);
                origin.accept_key(&id, &secret);
                files.write_one(INI, &sections(&key(nth)));
                await_key(admin, nth);
                // The previous access key stays valid until the next rotation, as in a manual
                // rotation.
                if let Some(older) = nth.checked_sub(2) {
                    origin.refuse_key(&key(older).0);
                }
            }
        }));
        done.store(true, Ordering::Release);
        if let Err(panic) = rotated {
            std::panic::resume_unwind(panic);
        }
    });
    let failed = tally.failed.lock().expect("no panic");
    let [made, kept, large] = [&tally.made, &tally.kept, &tally.large];
    let [made, kept, large] = [made, kept, large].map(|count| count.load(Ordering::Relaxed));
    eprintln!(
        "{ROTATIONS} rotations: {made} requests ({kept} from the cache, {large} large and slow), {} \
         failed",
        failed.len()
    );
    tally::add("requests during rotations", made, failed.len());
    assert!(failed.is_empty(), "{} of {made}, first {}", failed.len(), failed[0]);
    assert!(
        made > 10 * ROTATIONS && kept > 0 && made > kept && large >= 4,
        "{made} {kept} {large}"
    );
    assert_eq!(count(&gateway, "configuration reloaded"), ROTATIONS);
    let by_last_key = format!("Credential={}/", key(ROTATIONS).0);
    assert_eq!(gateway.object("passed@sky/t0.png").status(), 200);
    let last = origin.requests().pop().expect("a request");
    assert!(last.header("authorization").contains(&by_last_key), "signed by the last key");
    assert!(!gateway.log_text().contains("canary"), "a secret in the log");
}
