//! Startup: configuration errors, warnings, precedence of sources, and the other commands.

use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::faulty::Faulty;
use crate::gateway::{ACCESS_KEY, Finished, SECRET_KEY, Setup, free_port};

/// The start must fail, and one run must report each of these.
fn assert_refused(setup: Setup, mentions: &[&str]) -> Finished {
    let run = setup.run();
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    for mention in mentions {
        assert!(run.stderr.contains(mention), "{mention:?} in {}", run.stderr);
    }
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    run
}

/// The default was used without a word.
#[test]
fn a_variable_that_is_not_utf_8_is_named() {
    let not_utf_8 = std::ffi::OsStr::from_bytes(b"a\xff");
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3proxy"));
    let run = command
        .arg("config")
        .env_clear()
        .env("S3PROXY_NAME", not_utf_8)
        .env("AWS_DEFAULT_REGION", not_utf_8)
        .env("LANG", not_utf_8)
        .output()
        .expect("s3proxy runs");
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    let said = String::from_utf8(run.stderr).expect("UTF-8");
    for name in ["S3PROXY_NAME", "AWS_DEFAULT_REGION"] {
        assert!(said.contains(&format!("{name}: must be text in UTF-8\n")), "{said}");
    }
    assert!(said.contains("2 mistakes in the configuration"), "{said}");
}

/// One run of `s3proxy config` must report each of these in this configuration file: its line, and words.
#[track_caller]
pub(crate) fn assert_mistakes(text: &str, mistakes: &[(usize, &str)]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("UTF-8");
    let run = Setup::bare().args(&["config", "--config", path]).run();
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    for (line, words) in mistakes {
        let start = format!("{path}:{line}: ");
        let lines = run.stderr.lines().chain(run.stdout.lines());
        let found = lines.filter(|text| text.contains(&start) && text.contains(words)).count();
        assert_eq!(found, 1, "line {line}: {words}\n{run:?}");
    }
}

#[test]
fn every_mistake_in_the_environment_is_named_in_one_run() {
    let run = assert_refused(
        Setup::new("no-scheme.example.org")
            .env("S3PROXY_LISTEN", "localhost")
            .env("S3PROXY_PATH_PREFIX", "no-slash/")
            .env("S3PROXY_PROFILE", "Production")
            .env("S3PROXY_LOG_LEVEL", "loud")
            .env("S3PROXY_CACHE_MAX_AGE", "a day")
            .env("S3PROXY_ACCEPT_MIMETYPES", "")
            .env("S3PROXY_SUFFIX_MIMETYPES", "[1]")
            .env("S3PROXY_REQUIRE_USER", "perhaps")
            .env("S3PROXY_DEFAULT_MIMETYPE", "no type")
            .env("LSST_RESOURCES_S3_PROFILE_bad", "ftp://s3.example.org"),
        &[
            "S3_ENDPOINT_URL",
            "S3PROXY_LISTEN",
            "S3PROXY_PATH_PREFIX",
            "S3PROXY_PROFILE",
            "S3PROXY_LOG_LEVEL",
            "S3PROXY_CACHE_MAX_AGE",
            "S3PROXY_ACCEPT_MIMETYPES",
            "S3PROXY_SUFFIX_MIMETYPES",
            "S3PROXY_REQUIRE_USER",
            "S3PROXY_DEFAULT_MIMETYPE",
            "LSST_RESOURCES_S3_PROFILE_bad",
        ],
    );
    assert!(run.stderr.contains("DEBUG"), "what is allowed: {}", run.stderr);
}

#[test]
fn every_mistake_in_the_file_is_named_with_its_full_path() {
    assert_refused(
        Setup::bare().yaml(json!({
            "listn": "127.0.0.1:1",
            "upstream": {"retries": 7, "first_byte_timeout": "soon"},
            "profiles": {"hips": {"endpoint": "s3.example.org", "adressing": "virtual"}},
        })),
        &[
            "s3proxy.yaml",
            "listn",
            "upstream.retries",
            "upstream.first_byte_timeout",
            "profiles.hips.endpoint",
            "profiles.hips.adressing",
        ],
    );
}

#[test]
fn mistakes_of_all_sources_come_together() {
    assert_refused(
        Setup::bare()
            .env("S3PROXY_CACHE_MAX_AGE", "-1")
            .yaml(json!({"no_such_key": 1}))
            .ini("[half]\naws_access_key_id = AKHALF\n"),
        &["S3PROXY_CACHE_MAX_AGE", "no_such_key", "half", "aws-credentials.ini"],
    );
}

#[test]
fn missing_files_are_named_by_their_path() {
    for (variable, path) in [
        ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials.ini"),
        ("S3PROXY_CONFIG", "/nonexistent/s3proxy.yaml"),
    ] {
        assert_refused(Setup::bare().env(variable, path), &[path]);
    }
}

#[test]
fn a_bad_value_is_shown_and_a_secret_never() {
    let url = format!("http://{ACCESS_KEY}:{}@", SECRET_KEY.replace('/', "%2F"));
    let run = assert_refused(
        Setup::bare()
            .env("S3PROXY_CACHE_MAX_AGE", "often")
            .env("LSST_RESOURCES_S3_PROFILE_hips", &url)
            .env("S3_ENDPOINT_URL", "http://user-without-secret@s3.example.org"),
        &["often", "LSST_RESOURCES_S3_PROFILE_hips"],
    );
    assert!(!run.stderr.contains("canary"), "{}", run.stderr);
}

#[test]
fn environment_overrides_file_and_flags_override_both() {
    let printed = |setup: Setup, args: &[&str]| {
        let run = setup.args(args).run();
        assert!(run.status.success(), "{run:?}");
        run.stdout
    };
    let file = Setup::bare().yaml(json!({"name": "from-the-file", "cache_max_age": 111}));
    let both = file.clone().env("S3PROXY_NAME", "from-the-environment");
    let first = printed(file, &["config"]);
    assert!(first.contains("from-the-file") && first.contains("111"), "{first}");
    let second = printed(both, &["config"]);
    assert!(second.contains("from-the-environment"), "{second}");
    assert!(!second.contains("from-the-file"), "{second}");
    assert!(second.contains("S3PROXY_NAME"), "where the value came from: {second}");
    assert!(second.contains("111"), "{second}");
}

#[test]
fn the_effective_configuration_never_shows_a_secret() {
    let run = Setup::new("http://s3.example.org")
        .profile("hips", "http://s3.example.org")
        .profile_settings("hips", &json!({"upstream_headers": {"x-amz-key": "canary-of-a-header"}}))
        .env("AWS_SESSION_TOKEN", "canary-of-a-session")
        .args(&["config"])
        .run();
    assert!(run.status.success(), "{run:?}");
    let shown = format!("{}{}", run.stdout, run.stderr);
    assert!(shown.contains("hips") && shown.contains("s3.example.org"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

/// An editor asks for it before there is a configuration, or while it is wrong.
#[test]
fn the_schema_of_the_file_is_printed_whatever_the_configuration_is() {
    let committed = include_str!("../../conf/s3proxy.schema.json");
    for setup in [Setup::bare(), Setup::bare().yaml(json!({"lisen": 1}))] {
        let run = setup.args(&["config", "--schema"]).run();
        assert!(run.status.success(), "{run:?}");
        assert_eq!(run.stdout, committed);
        let schema: Value = serde_json::from_str(&run.stdout).expect("JSON on stdout");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["upstream"]["properties"]["retries"]["maximum"], 1);
    }
}

#[test]
fn orphans_both_ways_are_warned_of_at_start() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .env("LSST_RESOURCES_S3_PROFILE_keyless", &spy.url())
        .ini(&format!(
            "[unused]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        ))
        .start();
    for name in ["keyless", "unused"] {
        gateway.expect_log(&format!("a warning about {name}"), |line| {
            line["severity"] == "warning"
                && line["event"].as_str().is_some_and(|e| e.contains(name))
        });
    }
    let answer = gateway.object("unused@sky/a.png");
    assert_eq!(answer.status(), 200, "its keys at the default endpoint, as ever");
    let authorization = spy.only().header("authorization").unwrap_or_default().to_owned();
    assert!(authorization.contains(ACCESS_KEY), "{authorization}");
}

#[test]
fn unusable_credentials_are_a_warning_at_start_and_an_error_per_request() {
    let spy = Faulty::spy();
    let gateway = Setup::bare().env("S3_ENDPOINT_URL", &spy.url()).start();
    gateway.expect_log("a warning about missing credentials", |line| {
        let event = line["event"].as_str().unwrap_or_default().to_ascii_lowercase();
        line["severity"] == "warning" && (event.contains("credential") || event.contains("key"))
    });
    assert_eq!(gateway.get("/").status(), 200);
    let answer = gateway.object("sky/a.png");
    assert!(answer.status() >= 500, "{answer:?}");
    assert_eq!(answer.json()["cause"], "credentials_missing");
    let line = gateway.line_of(&answer);
    let looked = line["detail"].as_str().unwrap_or_default();
    assert!(looked.contains("AWS_ACCESS_KEY_ID"), "where keys were looked for: {line}");
    assert_eq!(spy.count(), 0, "never unsigned by accident");
}

#[test]
fn unknown_variables_of_ours_are_ignored_as_before() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .env("S3PROXY_SOMETHING_ELSE", "1")
        .env("S3PROXY_STREAM_CHUNK_SIZE", "262144")
        .env("S3PROXY_PORT", "tcp://10.0.0.1:8080")
        .env("S3PROXY_SERVICE_HOST", "10.0.0.1")
        .tolerate("S3PROXY_S")
        .start();
    assert_eq!(gateway.object("sky/a.png").status(), 200);
}

#[test]
fn variable_names_are_taken_in_any_case() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url()).env("s3proxy_cache_max_age", "7").start();
    let answer = gateway.object("sky/a.png");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=7"));
}

#[test]
fn a_taken_port_ends_the_start_with_a_clear_message() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let run = Setup::new("http://127.0.0.1:9").env("S3PROXY_LISTEN", &address).run();
    assert!(!run.status.success(), "{run:?}");
    let shown = format!("{}{}", run.stdout, run.stderr);
    assert!(shown.contains(&address), "{shown}");
    assert!(!shown.contains("panicked"), "{shown}");
}

#[test]
fn serve_takes_the_file_as_an_argument() {
    let spy = Faulty::spy();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("own.yaml");
    std::fs::write(&path, "cache_max_age: 5\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let gateway = Setup::new(&spy.url()).args(&["serve", "--config", path]).start();
    let answer = gateway.object("sky/a.png");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=5"));
}

#[test]
fn help_version_and_completions_are_printed() {
    let shown = |args: &[&str]| {
        let run = Setup::bare().args(args).run();
        assert!(run.status.success(), "{args:?}: {run:?}");
        run.stdout
    };
    assert_eq!(shown(&["--version"]).trim(), format!("s3proxy {}", env!("CARGO_PKG_VERSION")));
    let help = shown(&["--help"]);
    for command in ["serve", "config", "check"] {
        assert!(help.contains(command), "{command} in {help}");
    }
    assert!(shown(&["serve", "--help"]).contains("--config"));
    let run = Setup::bare().args(&["--no-such-flag"]).run();
    assert_eq!(run.status.code(), Some(2), "{run:?}");
}

#[test]
fn check_reports_whether_a_profile_works() {
    let origin = crate::origin::Origin::start();
    origin.put("a.png", "tile");
    let setup = Setup::new(&origin.url()).profile("hips", &origin.url());
    let good = setup.clone().args(&["check", "hips@sky/a.png"]).run();
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let missing = setup.clone().args(&["check", "hips@sky/missing.png"]).run();
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    let wrong = setup.clone().env("AWS_SECRET_ACCESS_KEY", "wrong");
    let wrong = wrong.args(&["check", "--json", "sky/a.png"]).run();
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let report: Value = serde_json::from_str(&wrong.stdout).expect("JSON on stdout");
    assert!(report.to_string().contains("SignatureDoesNotMatch"), "{report}");
    for run in [&good, &missing, &wrong] {
        assert!(!format!("{}{}", run.stdout, run.stderr).contains("canary"), "{run:?}");
    }
}

#[test]
fn listen_counts_before_and_after_the_command() {
    let spy = Faulty::spy();
    for words in [&["--listen", "X", "serve"][..], &["serve", "--listen", "X"], &["--listen", "X"]]
    {
        let address = format!("127.0.0.1:{}", free_port());
        let other = format!("127.0.0.1:{}", free_port());
        let args: Vec<_> = words.iter().map(|w| if *w == "X" { &*address } else { *w }).collect();
        let gateway = Setup::new(&spy.url())
            .env("S3PROXY_LISTEN", &other)
            .listen(&address)
            .args(&args)
            .start();
        assert_eq!(gateway.object("sky/a.png").text(), "tile", "{words:?}");
        assert!(std::net::TcpStream::connect(&other).is_err(), "{words:?}: on both");
    }
}

#[test]
fn listen_before_config_is_shown_with_its_source() {
    for args in [["--listen", "127.0.0.1:17", "config"], ["config", "--listen", "127.0.0.1:17"]] {
        let run = Setup::bare().env("S3PROXY_LISTEN", "127.0.0.1:18").args(&args).run();
        assert!(run.status.success(), "{run:?}");
        let line = run.stdout.lines().find(|line| line.starts_with("listen "));
        let line = line.unwrap_or_else(|| panic!("listen in {}", run.stdout));
        assert!(line.contains("127.0.0.1:17") && line.contains("(--listen)"), "{line}");
    }
}

#[test]
fn a_profile_that_no_url_can_name_is_a_mistake() {
    for name in ["h+x", "h x", "h@x", "h\u{e9}"] {
        let variable = format!("LSST_RESOURCES_S3_PROFILE_{name}");
        assert_refused(Setup::bare().env(&variable, "http://127.0.0.1:9"), &[&variable]);
    }
}

#[test]
fn a_start_with_nothing_configured_warns() {
    let gateway = Setup::bare().start();
    let line = gateway.expect_log("a warning", |line| {
        line["severity"] == "warning"
            && line["event"].as_str().is_some_and(|e| e.contains("credentials"))
    });
    assert!(line["event"].as_str().is_some_and(|e| e.contains("refused")), "{line}");
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn a_profile_without_access_keys_reports_per_request_where_it_searched() {
    let spy = Faulty::spy();
    let gateway = Setup::new(&spy.url())
        .env("LSST_RESOURCES_S3_PROFILE_keyless", &spy.url())
        .tolerate("keyless")
        .start();
    let answer = gateway.object("keyless@sky/a.png");
    assert_eq!(answer.json()["cause"], "credentials_missing");
    let line = gateway.line_of(&answer);
    let looked = line["detail"].as_str().unwrap_or_default();
    assert!(looked.contains("AWS_SHARED_CREDENTIALS_FILE"), "{line}");
    assert!(!answer.text().contains("AWS_"), "for operators alone: {}", answer.text());
    assert_eq!(spy.count(), 0);
}
