//! What operators are told of a member: by `explain`, `check` and the admin listener.

use rawzip::CompressionMethod;
use serde_json::{Value, json};

use super::{member, setup, stored};
use crate::admin::Admin;
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::store::Object;
use crate::zip_file::zip;

/// The detail and the fix of a step of a report.
fn step(report: &Value, name: &str) -> String {
    let steps = report["steps"].as_array().or(report["sections"][0]["steps"].as_array());
    let step = steps.expect("steps").iter().find(|step| step["name"] == name);
    let step = step.unwrap_or_else(|| panic!("{name}: {report:#}"));
    format!("{} {}", step["detail"], step["fix"])
}

fn report(setup: &Setup, command: &str, object: &str) -> (Value, Option<i32>) {
    let run = setup.clone().args(&[command, "--json", object]).run();
    let report = serde_json::from_str(&run.stdout);
    (
        report.unwrap_or_else(|error| panic!("{error}: {} {}", run.stdout, run.stderr)),
        run.status.code(),
    )
}

#[test]
fn explain_and_check_find_a_member_by_the_directory_of_its_archive() {
    let origin = Origin::start();
    let padding = vec![7; 200_000];
    origin.put("t.zip", stored(&[("one.png", b"0123456789"), ("pad.bin", &padding)]));
    let setup = setup(&origin.url());
    let gateway = setup.clone().start();
    let served = member(&gateway, "t.zip/one.png", &[]);
    let etag = served.header("etag").expect("a tag").trim_matches('"').to_owned();
    for command in ["explain", "check"] {
        let (report, code) = report(&setup, command, "sky/t.zip/one.png");
        assert_eq!(code, Some(0), "{command}: {report:#}");
        let archive = step(&report, "archive");
        assert!(archive.contains("one.png in the zip file s3://sky/t.zip"), "{archive}");
        assert!(step(&report, "type").contains("image/png"), "{report:#}");
        assert!(step(&report, "sent").contains("/sky/t.zip"), "{report:#}");
        let found = step(&report, "member");
        // Behind a header of 30 bytes and the name.
        assert!(found.contains("10 bytes from byte 37 of the archive on, image/png"), "{found}");
        assert!(found.contains(&etag), "{found}: {etag}");
        assert!(found.contains("read from the store: 2 requests"), "{found}");
        assert!(step(&report, "answer").contains("200 image/png, 10 bytes"), "{report:#}");
    }
}

#[test]
fn explain_says_why_a_member_is_not_served() {
    let origin = Origin::start();
    let good = stored(&[("one.png", b"0123456789")]);
    let deflated = zip(&[("one.png", b"0123456789")], CompressionMethod::DEFLATE);
    let mut coded = Object::new(good.clone());
    coded.content_encoding = Some("gzip".to_owned());
    origin.put("good.zip", good.clone());
    origin.put("deflated.zip", deflated);
    origin.put("cut.zip", good[..good.len() - 3].to_vec());
    origin.put("empty.zip", Vec::new());
    origin.put_object("sky", "coded.zip", coded);
    let rule = json!({"cache": {"patterns": [{"match": "good.zip", "store": false}]}});
    let setup = setup(&origin.url());
    for (setup, name, cause, words) in [
        (setup.clone(), "good.zip/two.png", "object_not_found", "has no such member"),
        (setup.clone(), "good.zip/ONE.png", "object_not_found", "names are case-sensitive"),
        (setup.clone(), "deflated.zip/one.png", "archive_unsupported", "zip -0"),
        (setup.clone(), "cut.zip/one.png", "archive_damaged", "write the archive again"),
        (setup.clone(), "empty.zip/one.png", "archive_damaged", "is no zip file"),
        (setup.clone(), "coded.zip/one.png", "archive_unsupported", "Content-Encoding"),
        (setup.yaml(rule), "good.zip/one.png", "archive_not_cached", "its rule stores nothing"),
    ] {
        let (report, code) = report(&setup, "explain", &format!("sky/{name}"));
        assert_eq!(code, Some(1), "{name}: {report:#}");
        let member = step(&report, "member");
        assert!(member.contains(words), "{name}: {member}");
        assert!(step(&report, "answer").contains(cause), "{name}: {report:#}");
    }
}

#[test]
fn the_admin_listener_says_what_is_known_of_a_member() {
    let origin = Origin::start();
    origin.put("t.zip", stored(&[("one.png", b"0123456789")]));
    let (setup, admin) = Admin::of(setup(&origin.url()));
    let gateway = setup.clone().start();
    let known = |name: &str| {
        let document = admin.send("GET", &format!("/cache/sky/t.zip/{name}")).json();
        assert_eq!(document["object"], "s3://sky/t.zip", "{document}");
        document["member"].clone()
    };
    assert_eq!(known("one.png"), json!({"state": "unread", "name": "one.png"}));
    let served = member(&gateway, "t.zip/one.png", &[]);
    origin.clear();
    assert_eq!(
        known("one.png"),
        json!({
            "state": "found",
            "offset": 0,
            "length": 10,
            "content_type": "image/png",
            "content_encoding": null,
            "etag": served.header("etag").expect("a tag"),
            "name": "one.png",
        })
    );
    assert_eq!(known("two.png"), json!({"state": "missing", "name": "two.png"}));
    assert_eq!(origin.count(), 0, "an inspection reads nothing");
    let (report, _) = report(&setup, "explain", "sky/t.zip/one.png");
    let gateway = step(&report, "gateway");
    assert!(gateway.contains("by the directory in memory the member has 10 bytes"), "{gateway}");
}
