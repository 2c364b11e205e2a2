//! Answers that earlier settings have shaped are not served, however they came into the cache.

use std::time::Duration;

use serde_json::json;

use crate::cached::{status, with_cache};
use crate::crowd::await_requests_read;
use crate::disk::{Bench, is_hit, start_scanned, stop};
use crate::faulty::{self, Faulty, Gate, Step};
use crate::files::{Files, Way, ini, yaml};
use crate::origin::Origin;
use crate::reload::await_reload;

const LINK: (&str, &str) = ("x-amz-meta-link", "here");

#[test]
fn a_get_that_followed_a_head_from_before_a_reload_leaves_no_old_answer() {
    let gate = Gate::new();
    let held = gate.clone();
    let store = Faulty::scripted(move |request, _| {
        let mut headers = faulty::OBJECT_HEADERS.to_vec();
        headers.push(LINK);
        let mut steps = faulty::answer(200, &headers, b"a tile");
        if request.method == "HEAD" {
            steps.truncate(1);
            steps.insert(0, Step::Wait(held.clone()));
        }
        steps
    });
    let url = store.url();
    let with =
        |header: &str| format!("{}    response_headers: [\"{header}\"]\n", yaml(&[("hips", &url)]));
    let files = Files::new(Way::Rename, &ini(&["hips"]), &with("x-amz-meta-*"));
    let gateway = files.setup(with_cache(&url), "0").start();
    let (mut head, mut get) = (gateway.connect(), gateway.connect());
    head.request("HEAD", "/s3proxy/s3/hips@sky/a.png", &[]);
    store.await_requests(1);
    get.request("GET", "/s3proxy/s3/hips@sky/a.png", &[]);
    await_requests_read(&gateway, 2);
    files.write(&ini(&["hips"]), &with("x-other"));
    gateway.signal("HUP");
    await_reload(&gateway, "hips");
    // The purge of the reload has ended.
    std::thread::sleep(Duration::from_millis(300));
    gate.open();
    // The GET keeps the settings that it began with, and asks the store once more by them.
    let begun_before = get.head().expect("a head");
    assert_eq!(begun_before.header(LINK.0), Some(LINK.1));
    let _ = get.body(&begun_before, "GET");
    for _ in 0..3 {
        let answer = gateway.object("hips@sky/a.png");
        assert_eq!(answer.header(LINK.0), None, "{}", status(&answer));
    }
    assert!(is_hit(&gateway.object("hips@sky/a.png")));
}

#[test]
fn a_header_that_is_passed_on_since_a_restart_is_in_answers_from_disk() {
    let (bench, origin) = (Bench::new(), Origin::start());
    let mut object = crate::store::Object::new("a tile");
    object.metadata.push(("link".to_owned(), "here".to_owned()));
    origin.put_object("sky", "a.png", object);
    let setup = bench.setup(&origin.url()).profile("hips", &origin.url());
    let gateway = start_scanned(&setup);
    assert_eq!(gateway.object("hips@sky/a.png").header(LINK.0), None);
    bench.await_records(1);
    stop(gateway);

    let passing = setup.profile_settings("hips", &json!({"response_headers": ["x-amz-meta-*"]}));
    let gateway = start_scanned(&passing);
    let answer = gateway.object("hips@sky/a.png");
    assert_eq!(answer.header(LINK.0), Some(LINK.1), "{}", status(&answer));
    assert!(is_hit(&gateway.object("hips@sky/a.png")));
    stop(gateway);

    // The same settings, the same records.
    origin.clear();
    let gateway = start_scanned(&passing);
    let again = gateway.object("hips@sky/a.png");
    assert!(is_hit(&again), "{}", status(&again));
    assert_eq!((again.header(LINK.0), origin.count()), (Some(LINK.1), 0));
}
