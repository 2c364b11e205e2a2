//! `s3proxy explain` knows what the shared tier has.

use serde_json::Value;

use crate::admin::Admin;
use crate::origin::Origin;
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};

#[test]
fn an_entry_that_only_the_shared_tier_has_is_explained() {
    let Some(engine) = Engine::start() else { return };
    let origin = Origin::start();
    let etag = origin.put("a.png", "a tile of the sky");
    let one = Replica::start(&origin.url(), &engine);
    one.get("sky/a.png");
    one.get("sky/none.png");
    one.await_written(2);
    // Its memory is empty.
    let (setup, admin) = Admin::of(sharing(&origin.url(), &engine));
    let other = Replica { gateway: setup.clone().start(), admin };
    other.await_state("on");
    let explain = |tail: &str| -> Value {
        let run = setup.clone().args(&["explain", "--json", tail]).run();
        serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"))
    };
    let gateway = |json: &Value| -> String {
        let steps = json["steps"].as_array().expect("steps");
        let step = steps.iter().find(|step| step["name"] == "gateway").expect("the step");
        step["detail"].as_str().expect("a text").to_owned()
    };
    let before = other.admin.cache();
    let found = explain("sky/a.png");
    assert_eq!((&found["served"], &found["status"]), (&true.into(), &200.into()), "{found:#}");
    assert_eq!(found["from"], "cache", "{found:#}");
    let kept = &found["kept"]["shared"];
    assert_eq!((&kept["what"], &kept["state"]), (&"object".into(), &"fresh".into()), "{found:#}");
    assert_eq!((&kept["length"], &kept["etag"]), (&17.into(), &etag.into()), "{found:#}");
    assert!(kept["ttl"].as_i64().is_some_and(|ttl| (200..=300).contains(&ttl)), "{kept}");
    assert_eq!(found["kept"]["memory"], Value::Null, "{found:#}");
    let text = gateway(&found);
    assert!(text.contains("in the shared tier: whole object, 17 bytes, ETag "), "{text}");
    assert!(!text.contains("in memory"), "{text}");

    let missing = explain("sky/none.png");
    assert_eq!((&missing["from"], &missing["status"]), (&"cache".into(), &404.into()));
    assert!(gateway(&missing).contains("in the shared tier: negative entry"), "{missing:#}");

    let nowhere = explain("sky/nowhere.png");
    assert_eq!(nowhere["kept"].get("shared"), None, "{nowhere:#}");
    assert!(gateway(&nowhere).contains("not cached"), "{nowhere:#}");
    for name in ["shared_hits", "shared_misses", "memory_entries"] {
        assert_eq!(other.admin.cache()[name], before[name], "to look changes nothing: {name}");
    }

    // What is served is then in both, and what is purged in neither.
    assert_eq!(other.get("sky/a.png").0, 200);
    let both = explain("sky/a.png");
    for tier in ["memory", "shared"] {
        assert_eq!(both["kept"][tier]["what"], "object", "{both:#}");
    }
    one.admin.purge("sky/a.png");
    let purged = explain("sky/a.png");
    assert!(gateway(&purged).contains("not cached"), "{purged:#}");
}
