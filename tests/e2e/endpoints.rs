//! Stores with several endpoints: which one is asked, when a request moves on, what the breakers do. On both
//! ways of a request, since each applies the rules by itself.

mod hedging;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cached::status;
use crate::client::PATIENCE;
use crate::faulty::{self, Faulty, Step};
use crate::files::{Files, Way, ini};
use crate::gateway::{ACCESS_KEY, Gateway, SECRET_KEY, Setup, free_port};
use crate::origin::Origin;
use crate::reload::await_reload;
use crate::scene::Scene;

const WAYS: [(&str, &str); 2] = [("uncached", "0"), ("cached", "64MiB")];

/// A gateway whose default profile has these endpoints.
pub(crate) fn at(endpoints: &[&str], memory: &str) -> Setup {
    Setup::bare()
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("S3PROXY_CACHE_MEMORY", memory)
        .yaml(json!({
            "default_profile": {"endpoints": endpoints},
            "upstream": {
                "connect_timeout": "500ms",
                "first_byte_timeout": "1s",
                "read_timeout": "1s",
                "total_timeout": "4s",
            },
        }))
        .tolerate("the breaker of endpoint")
}

/// A profile with two endpoints, for the metrics that others do not have.
pub(crate) fn with_two(setup: Setup, url: &str) -> Setup {
    let endpoints = json!([url, "http://127.0.0.1:1"]);
    let anonymous = json!({"anonymous": true});
    setup.profile_settings(
        "two",
        &json!({"endpoints": endpoints, "hedge": true, "credentials": anonymous}),
    )
}

/// The requests for objects, without probes.
fn asked(store: &Faulty) -> usize {
    store.requests().iter().filter(|it| !it.target.contains("s3proxy-probe")).count()
}

fn endpoints(admin: &Admin) -> Value {
    admin.send("GET", "/profiles").json()[0]["endpoints"].clone()
}

fn await_breaker(admin: &Admin, place: usize, state: &str) {
    let deadline = Instant::now() + PATIENCE;
    while endpoints(admin)[place]["breaker"] != state {
        assert!(Instant::now() < deadline, "not {state}: {}", endpoints(admin));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn get(gateway: &Gateway, key: &str) -> (u16, String) {
    let answer = gateway.object(&format!("sky/{key}"));
    (answer.status(), answer.text().to_owned())
}

#[test]
fn a_request_moves_on_to_the_next_endpoint_which_gets_a_signature_of_its_own() {
    let error = |status| Some(faulty::s3_error(status, "InternalError"));
    let busy = faulty::answer(503, &[("Retry-After", "60")], b"");
    for (way, memory) in WAYS {
        for (fault, steps) in [
            ("refused", None),
            ("reset", Some(vec![Step::Reset])),
            ("closed", Some(vec![Step::Close])),
            ("silent", Some(vec![Step::Stall])),
            ("500", error(500)),
            ("502", error(502)),
            ("503", error(503)),
            ("504", error(504)),
            ("503 with a time", Some(busy.clone())),
        ] {
            let what = format!("{way}, {fault}");
            let first = steps.map(Faulty::always);
            let closed = format!("http://127.0.0.1:{}", free_port());
            let url = first.as_ref().map_or(closed, Faulty::url);
            // It verifies the signature, and with it the name of the host.
            let second = Origin::start();
            second.put("a b.png", "tile");
            let gateway = at(&[&url, &second.url()], memory).start();
            let answer = gateway.object("sky/a%20b.png");
            assert_eq!((answer.status(), answer.text()), (200, "tile"), "{what}");
            assert_eq!(second.count(), 1, "{what}");
            if let Some(first) = &first {
                assert_eq!(asked(first), 1, "{what}");
            }
            let line = gateway.line_of(&answer);
            assert_eq!(
                (&line["severity"], &line["upstream_attempts"]),
                (&json!("info"), &json!(2)),
                "{what}"
            );
            assert_eq!(line["upstream_endpoint"], second.url().as_str(), "{what}: {line}");
            assert_eq!(line["upstream_hedge"], Value::Null, "{what}: {line}");
        }
    }
}

#[test]
fn an_answer_about_the_object_stays_that_of_the_first_endpoint() {
    for (way, memory) in WAYS {
        for (answer, expected) in [
            (faulty::s3_error(404, "NoSuchKey"), 404),
            (faulty::s3_error(403, "AccessDenied"), 403),
            (faulty::s3_error(429, "SlowDown"), 503),
        ] {
            let (first, second) = (Faulty::always(answer), Faulty::spy());
            let setup = at(&[&first.url(), &second.url()], memory);
            let gateway = setup.tolerate("upstream_").start();
            let (status, _) = get(&gateway, "a.png");
            assert_eq!((status, second.count()), (expected, 0), "{way}");
        }
    }
}

#[test]
fn no_request_finds_out_about_an_endpoint_that_is_left_out_and_probes_bring_it_back() {
    for (way, memory) in WAYS {
        let (first, second) = (Scene::start(vec![Step::Reset]), Faulty::spy());
        let (setup, admin) = Admin::of(at(&[&first.url(), &second.url()], memory));
        let gateway = setup.start();
        for number in 0..3 {
            assert_eq!(get(&gateway, &format!("{number}.png")).0, 200, "{way}");
        }
        await_breaker(&admin, 0, "open");
        assert_eq!(endpoints(&admin)[0]["fault"], "connections end before an answer");
        let metrics = admin.send("GET", "/metrics").text().to_owned();
        for (url, up) in [(first.url(), 0), (second.url(), 1)] {
            let line = format!(
                "s3proxy_upstream_endpoint_up{{profile=\"default\",endpoint=\"{url}\"}} {up}\n"
            );
            assert!(metrics.contains(&line), "{way}: {line}");
        }
        let before = asked(&first.store);
        for number in 10..30 {
            assert_eq!(get(&gateway, &format!("{number}.png")).0, 200, "{way}");
        }
        assert_eq!(asked(&first.store), before, "{way}: only probes");
        first.now(faulty::object(b"first"));
        await_breaker(&admin, 0, "closed");
        gateway.expect_log("it is back", |line| line.to_string().contains("answers again"));
        assert_eq!(get(&gateway, "after.png"), (200, "first".to_owned()), "{way}");
    }
}

/// Three requests that wait are enough: none of them fails, and none that follows waits.
#[test]
fn requests_that_wait_for_a_silent_endpoint_leave_it_together() {
    let (first, second) = (Faulty::always(vec![Step::Stall]), Faulty::spy());
    let setup = at(&[&first.url(), &second.url()], "64MiB")
        .yaml(json!({"upstream": {"first_byte_timeout": "30s", "read_timeout": "30s", "total_timeout": "60s"}}));
    let (setup, admin) = Admin::of(setup);
    let gateway = setup.start();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let gateway = &gateway;
            scope.spawn(move || assert_eq!(get(gateway, &format!("{number}.png")).0, 200));
        }
    });
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(endpoints(&admin)[0]["breaker"], "open");
    assert_eq!(get(&gateway, "next.png").0, 200);
    assert_eq!(asked(&first), 4);
}

/// Where none is well all are tried, so that none has to wait for a probe.
#[test]
fn where_every_breaker_is_open_the_endpoints_are_asked_nevertheless() {
    for (way, memory) in WAYS {
        let scenes = [Scene::start(vec![Step::Reset]), Scene::start(vec![Step::Reset])];
        let setup = at(&[&scenes[0].url(), &scenes[1].url()], memory).tolerate("upstream_");
        let (setup, admin) = Admin::of(setup);
        let gateway = setup.start();
        for number in 0..6 {
            assert_eq!(get(&gateway, &format!("{number}.png")).0, 502, "{way}");
        }
        for place in [0, 1] {
            await_breaker(&admin, place, "open");
        }
        scenes[1].now(faulty::object(b"tile"));
        assert_eq!(get(&gateway, "now.png"), (200, "tile".to_owned()), "{way}");
    }
}

#[test]
fn a_reload_with_another_order_keeps_the_cache_and_one_with_another_store_does_not() {
    let mut stores = [(); 3].map(|()| Origin::start());
    // The identity is the endpoint that comes first by its port.
    stores.sort_by_key(|store| store.address().port());
    for (name, store) in ["a", "b", "c"].iter().zip(&stores) {
        for key in ["1.png", "2.png", "3.png"] {
            store.put(key, format!("{key} of {name}"));
        }
    }
    let [a, b, c] = [0, 1, 2].map(|place: usize| stores[place].url());
    let yaml = |urls: &[&String]| format!("profiles: {{p: {{endpoints: {urls:?}}}}}\n");
    let files = Files::new(Way::Rename, &ini(&["p"]), &yaml(&[&a, &b]));
    let gateway = files.setup(Setup::bare().env("S3PROXY_CACHE_MEMORY", "64MiB"), "50ms").start();
    let get = |key: &str| gateway.object(&format!("p@sky/{key}"));
    assert_eq!(get("1.png").text(), "1.png of a");
    for urls in [&[&b, &a][..], &[&c, &b, &a]] {
        files.write(&ini(&["p"]), &yaml(urls));
        await_reload(&gateway, "profile p: now at");
        let answer = get("1.png");
        assert!(status(&answer).starts_with("s3proxy; hit"), "{}", status(&answer));
        assert_eq!(answer.text(), "1.png of a");
    }
    assert_eq!(get("2.png").text(), "2.png of c", "the first of the new order is asked");
    files.write(&ini(&["p"]), &yaml(&[&b, &c]));
    await_reload(&gateway, "profile p: settings changed");
    assert_eq!(get("1.png").text(), "1.png of b");
}

#[test]
fn the_check_tests_every_endpoint() {
    let second = Origin::start();
    second.put("a.png", "tile");
    let closed = format!("http://127.0.0.1:{}", free_port());
    let setup = at(&[&closed, &second.url()], "0");
    let run = setup.clone().args(&["check", "--json"]).run();
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let sections = report["sections"].as_array().expect("sections");
    let state = |name: &str, step: &str| {
        let section = sections.iter().find(|it| it["name"] == name).expect("a section");
        let steps = section["steps"].as_array().expect("steps");
        let found = steps.iter().find(|it| it["name"] == step).expect("a step");
        found["state"].as_str().expect("a state").to_owned()
    };
    assert_eq!(state("default, endpoint 1", "tcp"), "failed", "{report:#}");
    assert_eq!(state("default, endpoint 2", "request"), "ok", "{report:#}");
    assert_eq!(run.status.code(), Some(1));
    let run = setup.args(&["check", "--json", "sky/a.png"]).run();
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let steps = report["sections"][0]["steps"].as_array().expect("steps").clone();
    let answer = steps.iter().find(|it| it["name"] == "answer").expect("an answer");
    assert_eq!(answer["state"], "ok", "{report:#}");
    let moved = |it: &&Value| it["state"] == "warning" && it.to_string().contains(&second.url());
    assert_eq!(steps.iter().filter(moved).count(), 1, "{report:#}");
}
