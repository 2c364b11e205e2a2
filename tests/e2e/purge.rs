//! Objects removed by request: which ones, when, and the effect on clients that are reading them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::admin::Admin;
use crate::cache_status::Said;
use crate::cached::with_cache;
use crate::client::{Answer, Ending, PATIENCE};
use crate::crowd::await_requests_read;
use crate::faulty::{self, Faulty, Gate, Step};
use crate::gateway::{Finished, Gateway, Setup};
use crate::scene::{Scene, tile};

pub(crate) fn is_kept(gateway: &Gateway, object: &str) -> bool {
    // A HEAD of an object that is not cached stores its metadata, which cannot answer a GET.
    let answer = gateway.send("HEAD", &format!("/s3proxy/s3/{object}"), &[]);
    assert_eq!(answer.status(), 200, "{object}");
    Said::by(&answer).is("hit")
}

#[test]
fn a_purge_removes_what_it_names_and_nothing_else() {
    let spy = Faulty::spy();
    let all = [
        "sky/a/b.png",
        "sky/a/b/c.png",
        "sky/a/bc.png",
        "sky/a.png",
        "sky/a//b.png",
        "sky/aa/b.png",
        "skyy/a/b.png",
        "sk/y/a/b.png",
        "hips@sky/a/b.png",
        "hips@sky/a/b/c.png",
        "other@sky/a/b.png",
    ];
    for (target, gone) in [
        ("sky/a/b.png", &["sky/a/b.png"][..]),
        ("sky/a/b", &[]),
        ("sky/a/b/", &["sky/a/b/c.png"]),
        ("sky/a/", &["sky/a/b.png", "sky/a/b/c.png", "sky/a/bc.png", "sky/a//b.png"]),
        ("sky/a//", &["sky/a//b.png"]),
        (
            "sky/",
            &[
                "sky/a/b.png",
                "sky/a/b/c.png",
                "sky/a/bc.png",
                "sky/a.png",
                "sky/a//b.png",
                "sky/aa/b.png",
            ],
        ),
        ("hips@sky/a/b.png", &["hips@sky/a/b.png"]),
        ("hips@sky/", &["hips@sky/a/b.png", "hips@sky/a/b/c.png"]),
        ("hips@sk/", &[]),
        ("sk/", &["sk/y/a/b.png"]),
        ("sky/a/b.png?x=/", &["sky/a/b.png"]),
        ("sky//", &[]),
    ] {
        let (setup, admin) = Admin::of(with_cache(&spy.url()));
        let gateway = setup.profile("hips", &spy.url()).profile("other", &spy.url()).start();
        for object in all {
            assert_eq!(gateway.object(object).status(), 200);
            assert!(is_kept(&gateway, object), "{object}");
        }
        let said = admin.purge(target);
        let target = target.split('?').next().unwrap_or_default();
        assert_eq!(said["purged"], format!("s3://{target}"), "{said}");
        assert_eq!(said["below"], target.ends_with('/'), "{said}");
        for object in all {
            assert_eq!(!is_kept(&gateway, object), gone.contains(&object), "{target}: {object}");
        }
        // A purged object that is fetched again stays cached, even while the purge may still be
        // running.
        for object in gone {
            assert!(!Said::by(&gateway.object(object)).is("hit"), "{target}: {object}");
            assert!(is_kept(&gateway, object), "{target}: {object} again");
        }
    }
}

/// Keys as a person writes them, and as a URL contains them.
const HARD: [(&str, &str); 6] = [
    ("a b/c d.png", "a%20b/c%20d.png"),
    ("100%/x%41.png", "100%25/x%2541.png"),
    ("é/ü ñ.png", "%C3%A9/%C3%BC%20%C3%B1.png"),
    ("what?/#1.png", "what%3F/%231.png"),
    ("plus+/=&.png", "plus+/=&.png"),
    ("-/--admin.png", "-/--admin.png"),
];

#[test]
fn hard_keys_are_purged_by_url_and_by_command() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.start();
    for (key, url) in HARD {
        let folder = |text: &str| text.split_inclusive('/').next().map(str::to_owned);
        let prefix = |text: &str| folder(text).expect("a folder");
        for (by_command, target) in [
            (false, format!("sky/{url}")),
            (false, format!("sky/{}", prefix(url))),
            (true, format!("sky/{key}")),
            (true, format!("sky/{}", prefix(key))),
        ] {
            let object = format!("sky/{url}");
            gateway.object(&object);
            assert!(is_kept(&gateway, &object), "{target}");
            if by_command {
                let run = command(&admin, &[&target]);
                assert_eq!(run.status.code(), Some(0), "{run:?}");
                let said: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
                assert_eq!(said["purged"], format!("s3://{target}"), "{said}");
            } else {
                admin.purge(&target);
            }
            assert!(!is_kept(&gateway, &object), "{target}");
        }
    }
}

/// `s3proxy purge` with this admin address.
pub(crate) fn command(admin: &Admin, targets: &[&str]) -> Finished {
    let address = admin.address.to_string();
    Setup::bare().args(&[&["purge", "--admin", &address], targets].concat()).run()
}

#[test]
fn the_command_says_how_it_went() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.clone().start();
    let keep = || {
        for object in ["sky/a.png", "sky/b/c.png"] {
            gateway.object(object);
        }
    };
    let kept = || ["sky/a.png", "sky/b/c.png"].map(|object| is_kept(&gateway, object));

    keep();
    let run = command(&admin, &["sky/a.png", "sky/b/"]);
    assert_eq!((run.status.code(), run.stdout.lines().count()), (Some(0), 2), "{run:?}");
    assert_eq!(run.stderr, "", "{run:?}");
    assert_eq!(kept(), [false, false]);

    // The configured address, and an invalid target beside a valid one.
    keep();
    let run = setup.clone().args(&["purge", "none@sky/x", "sky/a.png"]).run();
    assert_eq!((run.status.code(), run.stdout.lines().count()), (Some(1), 1), "{run:?}");
    for mention in ["none@sky/x", "404", "unknown profile"] {
        assert!(run.stderr.contains(mention), "{mention}: {run:?}");
    }
    assert_eq!(kept(), [false, true]);

    keep();
    for (run, code, mentions) in [
        (command(&admin, &["sky/.."]), 1, &["sky/..", "400"][..]),
        (command(&admin, &["s y/a.png"]), 1, &["s y/a.png"]),
        (command(&admin, &["sky/a.png", "sky"]), 2, &["sky: ", "PROFILE@BUCKET/KEY"]),
        (command(&admin, &[]), 2, &["TARGET"]),
        (Setup::bare().args(&["purge", "--admin", "here", "sky/a.png"]).run(), 2, &["--admin"]),
        (Setup::bare().args(&["purge", "sky/a.png"]).run(), 2, &["admin.listen is off", "--admin"]),
        (
            Setup::bare().env("S3PROXY_LISTEN", "x").args(&["purge", "sky/a.png"]).run(),
            2,
            &["S3PROXY_LISTEN"],
        ),
    ] {
        assert_eq!(run.status.code(), Some(code), "{run:?}");
        assert_eq!(run.stdout, "", "{run:?}");
        for mention in mentions {
            assert!(run.stderr.contains(mention), "{mention}: {run:?}");
        }
    }
    assert_eq!(kept(), [true, true], "nothing was purged");

    let closed = Admin { address: ([127, 0, 0, 1], crate::gateway::free_port()).into() };
    let run = command(&closed, &["sky/a.png"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stderr.contains(&closed.address.to_string()), "{run:?}");

    // Another server on that address is not mistaken for success.
    let other = Faulty::always([faulty::answer(204, &[], b""), vec![Step::Close]].concat());
    let run = command(&Admin { address: other.address }, &["sky/a.png"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
}

#[test]
fn a_purge_leaves_a_line_in_the_log() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.start();
    admin.purge("sky/a%0Ab.png");
    admin.purge("sky/a/");
    for event in ["purged s3://sky/a\\nb.png", "purged s3://sky/a/ and all objects below it"] {
        let line = gateway.expect_log(event, |line| line["event"] == event);
        assert_eq!(line["severity"], "info", "{line}");
    }
}

#[test]
fn readers_of_a_fetch_in_flight_are_served_and_the_next_request_fetches_again() {
    let old = vec![b'o'; 100_000];
    for target in ["sky/a.png", "sky/"] {
        let gate = Gate::new();
        let scene = Scene::start(Vec::new());
        let [head, Step::Send(body)] = &faulty::object(&old)[..] else { panic!("head and body") };
        let (first, rest) = body.split_at(50_000);
        scene.now(vec![
            head.clone(),
            Step::Send(first.to_vec()),
            Step::Wait(gate.clone()),
            Step::Send(rest.to_vec()),
        ]);
        let (setup, admin) = Admin::of(with_cache(&scene.url()));
        let gateway = setup.start();
        let mut readers = [gateway.connect(), gateway.connect()];
        let mut heads = Vec::new();
        for reader in &mut readers {
            reader.request("GET", "/s3proxy/s3/sky/a.png", &[]);
            heads.push(reader.head().expect("a head"));
        }
        admin.purge(target);
        scene.now(faulty::object(b"new"));
        let next = gateway.object("sky/a.png");
        assert_eq!(next.text(), "new", "{target}");
        assert!(!Said::by(&next).is("collapsed"), "{target}: {next:?}");
        assert_eq!(scene.count(), 2, "{target}");
        gate.open();
        for (reader, head) in readers.iter_mut().zip(&heads) {
            let (body, ending) = reader.body(head, "GET");
            assert_eq!(ending, Ending::Whole, "{target}");
            assert!(body == old, "{target}: {} bytes", body.len());
        }
        // The old fetch has ended, and has not replaced the entry of the new one.
        admin.await_number("fetches_under_way", |fetches| fetches == 0);
        let answer = gateway.object("sky/a.png");
        assert_eq!(answer.text(), "new", "{target}");
        assert!(Said::by(&answer).is("hit"), "{target}: {answer:?}");
        assert_eq!(scene.count(), 2, "{target}");
    }
}

#[test]
fn a_purged_copy_is_not_served_as_stale_if_error_to_clients_that_asked_before_the_purge() {
    for target in ["sky/a.png", "sky/"] {
        let gate = Gate::new();
        let scene = Scene::start(tile("old", &[("ETag", "\"a\"")]));
        let rules = json!({"ttl": 0, "stale_while_revalidate": 0, "stale_if_error": "1d"});
        let setup = with_cache(&scene.url())
            .yaml(json!({"cache": rules, "upstream": {"retries": 0}}))
            .tolerate("upstream_busy");
        let (setup, admin) = Admin::of(setup);
        let gateway = setup.start();
        assert_eq!(gateway.object("sky/a.png").text(), "old");
        scene.now([vec![Step::Wait(gate.clone())], faulty::s3_error(503, "SlowDown")].concat());
        let mut clients = [gateway.connect(), gateway.connect()];
        for client in &mut clients {
            client.request("GET", "/s3proxy/s3/sky/a.png", &[]);
        }
        scene.store.await_requests(2);
        // The second client follows the fetch of the first.
        await_requests_read(&gateway, 2);
        admin.purge(target);
        // Longer than a purge is pending: the clients still wait for a fetch that is older than it.
        std::thread::sleep(Duration::from_millis(400));
        gate.open();
        for client in &mut clients {
            let answer = client.answer("GET").expect("an answer");
            assert_eq!(answer.status(), 503, "{target}: {answer:?}");
            gateway.line_of(&answer);
        }
    }
}

#[test]
fn the_result_of_a_purged_fetch_is_stored_neither_in_memory_nor_on_disk() {
    for target in ["sky/a.png", "sky/"] {
        for disk in [false, true] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let gate = Gate::new();
            let scene =
                Scene::start([vec![Step::Wait(gate.clone())], faulty::object(b"old")].concat());
            let (mut setup, admin) = Admin::of(with_cache(&scene.url()));
            if disk {
                let path = folder.path().join("cache").display().to_string();
                setup = setup.env("S3PROXY_CACHE_DISK_PATH", &path);
            }
            let gateway = setup.start();
            let mut reader = gateway.connect();
            reader.request("GET", "/s3proxy/s3/sky/a.png", &[]);
            scene.store.await_requests(1);
            admin.purge(target);
            gate.open();
            assert_eq!(reader.answer("GET").expect("an answer").text(), "old");
            // No request has come since: the fetch ends without storing an entry. The purge is
            // complete when no entry is left.
            admin.await_number("fetches_under_way", |fetches| fetches == 0);
            admin.await_number("memory_bytes", |held| held == 0);
            std::thread::sleep(Duration::from_millis(300));
            scene.now(faulty::object(b"new"));
            let answer = gateway.object("sky/a.png");
            assert_eq!(answer.text(), "new", "{target}, disk {disk}");
            assert!(!Said::by(&answer).is("hit"), "{target}, disk {disk}: {answer:?}");
            assert_eq!(scene.count(), 2, "{target}, disk {disk}");
        }
    }
}

#[test]
fn a_purged_object_on_disk_does_not_come_back() {
    for target in ["sky/a.png", "sky/", "sky/a"] {
        let gone = target != "sky/a";
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("cache").display().to_string();
        let scene = Scene::start(faulty::object(b"old"));
        let (setup, admin) = Admin::of(with_cache(&scene.url()));
        let setup = setup.env("S3PROXY_CACHE_DISK_PATH", &path);
        let mut gateway = setup.clone().start();
        gateway.object("sky/a.png");
        admin.purge(target);
        admin.await_number("memory_bytes", |held| !gone || held == 0);
        // Returns when all queued records are written.
        gateway.signal("INT");
        gateway.await_end(PATIENCE);
        drop(gateway);
        scene.now(faulty::object(b"new"));
        let gateway = setup.start();
        let expected = if gone { "new" } else { "old" };
        assert_eq!(gateway.object("sky/a.png").text(), expected, "{target}");
    }
}

#[test]
fn a_stale_object_is_purged_like_a_fresh_one() {
    let old = [("ETag", "\"a\""), ("Cache-Control", "max-age=60"), ("Age", "60")];
    let scene = Scene::start(tile("old", &old));
    let (setup, admin) = Admin::of(with_cache(&scene.url()));
    let rules = json!({"cache": {"stale_while_revalidate": 0}, "upstream": {"retries": 0}});
    let gateway = setup.yaml(rules).start();
    gateway.object("sky/a.png");
    admin.purge("sky/a.png");
    scene.now(faulty::s3_error(503, "SlowDown"));
    let answer = gateway.object("sky/a.png");
    assert_eq!(answer.status(), 503, "nothing stands in");
    gateway.line_of(&answer);
    assert_eq!(scene.last().header("if-none-match"), None, "and nothing is asked about");
}

#[test]
fn negative_and_hit_for_pass_entries_are_purged_too() {
    let scene = Scene::start(faulty::s3_error(404, "NoSuchKey"));
    let (setup, admin) = Admin::of(with_cache(&scene.url()));
    let gateway = setup.start();
    assert_eq!(gateway.object("sky/a.png").status(), 404);
    scene.now(tile("private", &[("Cache-Control", "private")]));
    assert_eq!(gateway.object("sky/b.png").status(), 200);
    scene.now(tile("tile", &[]));
    admin.purge("sky/");
    for object in ["sky/a.png", "sky/b.png"] {
        assert_eq!(gateway.object(object).text(), "tile", "{object}");
        assert!(is_kept(&gateway, object), "{object}");
    }
}

#[test]
fn a_purge_of_many_answers_at_once_and_frees_their_memory_soon() {
    // More objects would only take longer to fetch: the purge does not visit each of them.
    const OBJECTS: usize = 4000;
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.start();
    let path = |nth: usize| format!("/s3proxy/s3/sky/many/{nth}.png");
    std::thread::scope(|scope| {
        const CLIENTS: usize = 4;
        for client in 0..CLIENTS {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut connection = gateway.connect();
                for nth in (client..OBJECTS).step_by(CLIENTS) {
                    let answer: Answer = connection.exchange("GET", &path(nth), &[]);
                    assert_eq!(answer.status(), 200);
                }
            });
        }
    });
    gateway.object("sky/other.png");
    let held = admin.await_number("fetches_under_way", |fetches| fetches == 0);
    assert_eq!(held, 0);
    let held = admin.number("memory_bytes");
    let each = held / OBJECTS as u64;
    assert!(each > 100, "{held} bytes for {OBJECTS} objects");
    spy.clear();

    let began = Instant::now();
    admin.purge("sky/many/");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    for nth in [0, 1, OBJECTS / 2, OBJECTS - 1] {
        assert_eq!(gateway.get(&path(nth)).status(), 200);
    }
    assert_eq!(spy.count(), 4, "none was answered from the cache");
    admin.await_number("memory_bytes", |held| held < 10 * each);
    assert!(is_kept(&gateway, "sky/other.png"));
}
