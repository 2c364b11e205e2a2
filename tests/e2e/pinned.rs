//! Pinned objects: a crawl does not evict them, the first picture does not wait for the store, and all that ends
//! an entry ends them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cached::{status, with_cache};
use crate::client::PATIENCE;
use crate::files::{Files, Way, ini, yaml};
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;
use crate::reload::await_reload;
use crate::store::Object;
use crate::surveys::path;

/// What a viewer requests first: fifty tiles, 500 kB.
fn first() -> Vec<String> {
    let tiles = (0..48).map(|index| format!("s/{}", path(3, index, "png")));
    tiles.chain(["s/properties".to_owned(), "s/Norder3/Allsky.png".to_owned()]).collect()
}

fn origin() -> Origin {
    let origin = Origin::start();
    for key in first() {
        origin.put(&key, vec![7; 10_000]);
    }
    origin
}

fn setup(origin: &Origin, cache: &Value) -> Setup {
    with_cache(&origin.url())
        .env("S3PROXY_CACHE_MEMORY", "16MiB")
        .yaml(json!({ "default_profile": { "hips": true }, "cache": cache }))
}

fn open(gateway: &Gateway) {
    for key in first() {
        assert_eq!(gateway.object(&format!("sky/{key}")).status(), 200, "{key}");
    }
}

/// The requests of a second visit that reach the store.
fn asked_again(gateway: &Gateway, origin: &Origin) -> usize {
    origin.clear();
    open(gateway);
    origin.count()
}

#[test]
fn a_crawl_does_not_evict_what_a_viewer_requests_first() {
    let origin = origin();
    for index in 0..400 {
        origin.put(&format!("s/{}", path(7, index, "png")), vec![7; 60_000]);
    }
    for (cache, is_pinned) in [(json!({}), true), (json!({ "pin": [] }), false)] {
        let (setup, admin) = Admin::of(setup(&origin, &cache));
        let gateway = setup.start();
        let mut crawler = gateway.connect();
        let mut crawl = |tiles: std::ops::Range<u64>| {
            for index in tiles {
                let url = format!("/s3proxy/s3/sky/s/{}", path(7, index, "png"));
                assert_eq!(crawler.exchange("GET", &url, &[]).status(), 200);
            }
        };
        // What comes first into an empty memory stays longer.
        crawl(0..200);
        open(&gateway);
        crawl(200..400);
        assert!(admin.number("memory_evictions") > 0, "the crawl is larger than the memory");
        let asked = asked_again(&gateway, &origin);
        assert_eq!(asked == 0, is_pinned, "{cache}: {asked} requests");
        let (held, limit) = (admin.number("pinned_bytes"), admin.number("pinned_limit"));
        assert_eq!(held > 500_000, is_pinned, "{cache}: {held}");
        assert!(held <= limit, "{cache}: {held} of {limit}");
    }
}

#[test]
fn the_share_is_a_bound() {
    let origin = origin();
    let cache = json!({ "pin": ["*"], "pin_share": 1 });
    let (setup, admin) = Admin::of(setup(&origin, &cache));
    let gateway = setup.start();
    open(&gateway);
    let (held, limit) = (admin.number("pinned_bytes"), admin.number("pinned_limit"));
    // A hundredth of three quarters of the memory: the rest is for blocks.
    assert_eq!(limit, (16 << 20) / 4 * 3 / 100);
    assert!(held > limit / 2 && held <= limit, "{held} of {limit}");
    assert_eq!(asked_again(&gateway, &origin), 0, "the others are ordinary entries");
}

#[test]
fn pinned_objects_are_revalidated_before_they_are_stale_without_a_request() {
    let origin = origin();
    // A second would be too short to be pinned, and four are over before the refresh is late.
    let cache = json!({ "ttl": "4s", "stale_while_revalidate": 0 });
    let (setup, admin) = Admin::of(setup(&origin, &cache));
    let gateway = setup.start();
    let key = "sky/s/properties";
    assert_eq!(gateway.object(key).status(), 200);
    origin.clear();
    let started = Instant::now();
    admin.await_number("refreshes", |refreshes| refreshes >= 1);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    let asked = origin.requests();
    // Without the body: conditional, and a HEAD where the 304 of this store says too little.
    assert!((1..=2).contains(&asked.len()), "{asked:?}");
    assert!(asked.iter().all(|request| request.bytes_sent == 0), "{asked:?}");
    assert_eq!(admin.number("pinned_refreshes"), 1);
    // Beyond the lifetime of what the client got.
    std::thread::sleep(Duration::from_millis(4200).saturating_sub(started.elapsed()));
    let answer = gateway.object(key);
    assert!(status(&answer).starts_with("s3proxy; hit; ttl="), "{}", status(&answer));
    assert!(!status(&answer).contains("stale"), "{}", status(&answer));
}

#[test]
fn a_new_version_replaces_the_pinned_one_in_the_background() {
    let origin = origin();
    let (setup, _) =
        Admin::of(setup(&origin, &json!({ "ttl": "4s", "stale_while_revalidate": 0 })));
    let gateway = setup.start();
    assert_eq!(gateway.object("sky/s/properties").body.len(), 10_000);
    origin.put("s/properties", "new");
    let deadline = Instant::now() + PATIENCE;
    while gateway.object("sky/s/properties").text() != "new" {
        assert!(Instant::now() < deadline, "the old version is still served");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_the_store_forbids_to_store_and_what_is_missing_is_not_pinned() {
    let origin = origin();
    let mut private = Object::new("secret");
    private.cache_control = Some("no-store".to_owned());
    origin.put_object("sky", "s/properties", private);
    origin.delete("s/Norder3/Allsky.png");
    let (setup, admin) = Admin::of(setup(&origin, &json!({})));
    let gateway = setup.start();
    for _ in 0..2 {
        assert_eq!(gateway.object("sky/s/properties").text(), "secret");
        assert_eq!(gateway.object("sky/s/Norder3/Allsky.png").status(), 404);
    }
    assert_eq!(admin.number("pinned_bytes"), 0);
    // A tile of a deeper order is an ordinary entry.
    origin.put(&format!("s/{}", path(4, 1, "png")), "tile");
    assert_eq!(gateway.object(&format!("sky/s/{}", path(4, 1, "png"))).status(), 200);
    assert_eq!(admin.number("pinned_bytes"), 0);
}

#[test]
fn a_purge_removes_what_is_pinned() {
    let origin = origin();
    let (setup, admin) = Admin::of(setup(&origin, &json!({})));
    let gateway = setup.start();
    open(&gateway);
    let before = admin.number("pinned_bytes");
    admin.purge("sky/s/properties");
    admin.await_number("pinned_bytes", |held| held > 0 && held < before);
    origin.put("s/properties", "new");
    assert_eq!(gateway.object("sky/s/properties").text(), "new");
    admin.purge("sky/s/");
    admin.await_number("pinned_bytes", |held| held == 0);
    assert_eq!(asked_again(&gateway, &origin), first().len());
}

#[test]
fn a_reload_that_changes_the_list_ends_the_pins() {
    let origin = origin();
    let file = |cache: &str| {
        format!("{}    hips: true\n    cache: {cache}\n", yaml(&[("hips", &origin.url())]))
    };
    let files = Files::new(Way::Rename, &ini(&["hips"]), &file("{}"));
    let (setup, admin) = Admin::of(files.setup(with_cache(&origin.url()), "400ms"));
    let gateway = setup.start();
    for key in first() {
        assert_eq!(gateway.object(&format!("hips@sky/{key}")).status(), 200);
    }
    assert!(admin.number("pinned_bytes") > 500_000);
    files.write(&ini(&["hips"]), &file("{pin: []}"));
    await_reload(&gateway, "settings changed");
    admin.await_number("pinned_bytes", |held| held == 0);
    assert_eq!(gateway.object("hips@sky/s/properties").status(), 200);
    assert_eq!(admin.number("pinned_bytes"), 0);
}
