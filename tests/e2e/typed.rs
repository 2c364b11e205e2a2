//! What operators type: names and URLs in the forms in which they see them.

use crate::admin::Admin;
use crate::cached::with_cache;
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::purge::{command, is_kept};

/// This answered 200 and purged nothing.
#[test]
fn a_purge_with_the_path_of_another_page_before_it_purges() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let (setup, admin) = Admin::of(with_cache(&origin.url()).profile("hips", &origin.url()));
    let gateway = setup.start();
    for target in ["cache/hips@sky/", "s3proxy/s3/hips@sky/a.png", "s3://hips@sky/a.png"] {
        let hit = || {
            let answer = gateway.object("hips@sky/a.png");
            answer.header("cache-status").is_some_and(|it| it.contains("; hit"))
        };
        assert!((0..100).any(|_| hit()), "{target}");
        let purged = admin.purge(target);
        assert!(purged["purged"].as_str().is_some_and(|it| it.starts_with("s3://hips@sky/")));
        assert!(!hit(), "{target}");
    }
}

/// Without `profile@` the first part may be a bucket; this answered 200 and purged nothing.
#[test]
fn a_purge_that_may_name_a_page_or_a_bucket_says_what_to_write() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let (setup, admin) = Admin::of(with_cache(&origin.url()));
    let gateway = setup.start();
    for target in ["/cache/sky/a.png", "/cache/sky/", "/s3proxy/s3/sky/a.png"] {
        let answer = admin.send("PURGE", target);
        assert_eq!(answer.status(), 400, "{target}: {answer:?}");
        let message = answer.json()["message"].to_string();
        assert!(message.contains("write /default@sky/"), "{target}: {message}");
    }
    gateway.object("sky/a.png");
    assert!(is_kept(&gateway, "sky/a.png"));
    for target in ["default@sky/a.png", "default@cache/sky/"] {
        admin.purge(target);
    }
    assert!(!is_kept(&gateway, "sky/a.png"));
}

/// Each form in which operators have a URL at hand.
#[test]
fn the_command_takes_what_operators_copy() {
    let origin = Origin::start();
    origin.put("a b.png", "tile");
    let (setup, admin) = Admin::of(with_cache(&origin.url()).profile("hips", &origin.url()));
    let gateway = setup.start();
    for target in [
        "hips@sky/a b.png",
        "s3://hips@sky/a b.png",
        "https://data.example/s3proxy/s3/hips@sky/a%20b.png",
        "https://data.example/s3proxy/s3/hips@sky/a%20b.png?x=1#top",
        "http://s3/s3proxy/s3/hips@sky/",
        "/s3proxy/s3/hips@sky/a%20b.png",
        "cache/hips@sky/",
    ] {
        gateway.object("hips@sky/a%20b.png");
        assert!(is_kept(&gateway, "hips@sky/a%20b.png"), "{target}");
        let run = command(&admin, &[target]);
        assert_eq!(run.status.code(), Some(0), "{target}: {run:?}");
        assert!(!is_kept(&gateway, "hips@sky/a%20b.png"), "{target}");
    }
    for target in ["hips", "hips@sky", "https://data.example/other"] {
        let run = command(&admin, &[target]);
        assert_ne!(run.status.code(), Some(0), "{target}: {run:?}");
        assert!(run.stderr.contains("PROFILE@BUCKET/KEY"), "{target}: {run:?}");
    }
}

/// `check hips` was refused as an object without a key, `completion` as an unknown command.
#[test]
fn check_takes_the_name_of_a_profile_and_completion_is_completions() {
    let origin = Origin::start();
    let setup = Setup::bare().profile("hips", &origin.url()).profile("other", "http://127.0.0.1:1");
    for name in ["hips", "hips@"] {
        let run = setup.clone().args(&["check", name]).run();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        assert!(run.stdout.contains("profile hips") && !run.stdout.contains("profile other"));
    }
    let unknown = setup.clone().args(&["check", "hisp"]).run();
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("hips, other)"), "{unknown:?}");
    let scripts = ["completion", "completions"].map(|command| {
        let run = setup.clone().args(&[command, "bash"]).run();
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        run.stdout
    });
    assert!(scripts[0] == scripts[1] && scripts[0].contains("_s3proxy()"));
}
