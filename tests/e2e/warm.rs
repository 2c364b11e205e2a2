//! `s3proxy warm`: fills the cache of a running gateway through its front door.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::faulty::{self, Faulty};
use crate::gateway::{Finished, Gateway, Setup};
use crate::origin::Origin;
use crate::surveys::{Survey, tiles};

fn gateway(origin: &Origin) -> Gateway {
    Setup::new(&origin.url()).env("S3PROXY_CACHE_MEMORY", "64MiB").start()
}

/// A finished run against this gateway.
fn warm(gateway: &Gateway, args: &[&str]) -> Finished {
    let url = format!("http://{}", gateway.address);
    Setup::bare().args(&[&["warm", "--url", &url, "--rate", "2000/s"], args].concat()).run()
}

/// How often the store was asked for each path.
fn counts(origin: &Origin) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in origin.requests() {
        *counts.entry(request.path).or_default() += 1;
    }
    counts
}

#[test]
fn every_file_of_a_survey_is_fetched_once_and_then_served_from_memory() {
    let origin = Origin::start();
    let survey = Survey::new();
    survey.upload(&origin, "s/");
    origin.put("s/Norder5/Dir0/Npix9000.png", "outside of the map");
    let gateway = gateway(&origin);
    let run = warm(&gateway, &["sky/s/"]);
    assert_eq!(run.status.code(), Some(0), "{}{}", run.stdout, run.stderr);
    let files = survey.0.len();
    // Two of them were fetched to know the others.
    let said =
        format!("{} from the store, 2 from the cache, 0 missing, 0 refused, 0 failed;", files - 2);
    assert!(run.stdout.contains(&said), "{}", run.stdout);
    let counts = counts(&origin);
    assert_eq!(counts.len(), files);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    for path in survey.0.keys() {
        let answer = gateway.object(&format!("sky/s/{path}"));
        assert!(answer.header("cache-status").is_some_and(|it| it.contains("hit")), "{path}");
    }
    assert_eq!(origin.count(), files);
}

#[test]
fn orders_formats_and_another_map_narrow_a_run() {
    let origin = Origin::start();
    Survey::new().upload(&origin, "");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let map = folder.path().join("map.fits");
    std::fs::write(&map, include_bytes!("../surveys/maps/few.nuniq.fits")).expect("a map");
    let gateway = gateway(&origin);
    let map = map.to_str().expect("a path of UTF-8");
    let run = warm(&gateway, &["--orders", "0-4", "--formats", "fits", "--moc", map, "sky/"]);
    assert_eq!(run.status.code(), Some(0), "{}{}", run.stdout, run.stderr);
    let pictures = tiles(3).len() + tiles(4).len();
    let paths: Vec<String> = counts(&origin).into_keys().collect();
    assert_eq!(paths.len(), 3 + pictures, "{paths:?}");
    assert!(
        !paths.iter().any(|path| path.ends_with(".png") || path.contains("Norder5")),
        "{paths:?}"
    );
}

#[test]
fn a_list_of_keys_is_asked_for_as_it_is_written() {
    let origin = Origin::start();
    let keys = ["a b.png", "ü/ä#?.png", "a%20b.png", "gone.png", "secret.pem"];
    for key in &keys[..3] {
        origin.put(&format!("p/{key}"), "tile");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = folder.path().join("list");
    std::fs::write(&list, keys.join("\n")).expect("a list");
    let gateway = gateway(&origin);
    let run = warm(&gateway, &["--list", list.to_str().expect("UTF-8"), "sky/p"]);
    let said = "3 from the store, 0 from the cache, 1 missing, 1 refused, 0 failed; 0.0 MB\n\
                refused or failed, for example: /s3proxy/s3/sky/p/secret.pem: 415\n";
    assert_eq!(run.stdout, said, "{}", run.stderr);
    assert_eq!(run.status.code(), Some(1));
}

/// A running `s3proxy warm`; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _has_ended = self.0.kill();
        let _has_ended = self.0.wait();
    }
}

#[test]
fn a_run_that_was_killed_is_resumed_and_asks_nothing_twice() {
    let origin = Origin::start();
    let survey = Survey::new();
    survey.upload(&origin, "s/");
    let gateway = gateway(&origin);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let journal = folder.path().join("journal");
    let journal = journal.to_str().expect("UTF-8");
    let url = format!("http://{}", gateway.address);
    for kill_at in [40, 120] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3proxy"));
        command
            .env_clear()
            .args(["warm", "--url", &url, "--rate", "100/s", "--resume", journal, "sky/s/"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let running = Running(child);
        let deadline = Instant::now() + PATIENCE;
        while origin.count() < kill_at {
            assert!(Instant::now() < deadline, "{} requests", origin.count());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(running);
    }
    let run = warm(&gateway, &["--resume", journal, "sky/s/"]);
    assert_eq!(run.status.code(), Some(0), "{}{}", run.stdout, run.stderr);
    let skipped: u64 =
        run.stdout.split(' ').next().and_then(|it| it.parse().ok()).expect("a number");
    // Those in flight when it was killed are asked for again, and the gateway has them.
    assert!(skipped >= 120 - 2 * 8, "{}", run.stdout);
    let counts = counts(&origin);
    assert_eq!(counts.len(), survey.0.len());
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");

    let again = warm(&gateway, &["--resume", journal, "sky/s/"]);
    assert!(
        again.stdout.starts_with(&format!("{} keys were answered before\n0 from", survey.0.len())),
        "{}",
        again.stdout
    );
    // The journal is of these keys, and of no others.
    let other = warm(&gateway, &["--resume", journal, "--orders", "4-4", "sky/s/"]);
    assert!(other.stdout.contains("the journal is of a run with other keys"), "{}", other.stdout);
    assert_eq!(other.status.code(), Some(1));
}

#[test]
fn a_store_that_fails_is_not_asked_on() {
    let store = Faulty::always(faulty::s3_error(500, "InternalError"));
    let gateway = Setup::new(&store.url())
        .env("S3PROXY_CACHE_MEMORY", "64MiB")
        .yaml(serde_json::json!({ "upstream": { "retries": 0 } }))
        .tolerate("upstream")
        .start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = folder.path().join("list");
    let keys: Vec<String> = (0..200).map(|n| format!("{n}.png")).collect();
    std::fs::write(&list, keys.join("\n")).expect("a list");
    let journal = folder.path().join("journal");
    let args = [
        "--list",
        list.to_str().expect("UTF-8"),
        "--resume",
        journal.to_str().expect("UTF-8"),
        "sky/",
    ];
    let run = warm(&gateway, &args);
    assert_eq!(run.status.code(), Some(1));
    assert!(
        run.stdout.contains("stopped: too many failures, the last one: /s3proxy/s3/sky/"),
        "{}",
        run.stdout
    );
    // Five failures, and those that were in flight.
    assert!(store.count() <= 5 + 8, "{} requests", store.count());
    let journal = std::fs::read_to_string(&journal).expect("a journal");
    assert_eq!(journal.lines().count(), 1, "no failure is an answer: {journal}");
}

#[test]
fn a_gateway_that_is_not_there_and_a_place_without_survey_are_named() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    for (args, code, words) in [
        (&["sky/none/"][..], 1, "s3://sky/none/properties: 404 from"),
        (&["a@b@c/"], 2, "contains more than one @; write PROFILE@BUCKET/PREFIX/"),
        (&["--orders", "5-3", "sky/"], 2, "must be FIRST-LAST"),
        (&["--list", "-", "--moc", "x", "sky/"], 2, "cannot be used with"),
    ] {
        let run = warm(&gateway, args);
        assert_eq!(run.status.code(), Some(code), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{args:?}: {}", run.stderr);
    }
    let run = Setup::bare().args(&["warm", "--url", "http://127.0.0.1:1", "sky/"]).run();
    assert!(run.stderr.contains("properties from 127.0.0.1:1: "), "{}", run.stderr);
    let run = Setup::bare().args(&["warm", "--url", "ftp://example.org", "sky/"]).run();
    assert!(run.stderr.contains("must be http://HOST:PORT or https://HOST:PORT"), "{}", run.stderr);
}
