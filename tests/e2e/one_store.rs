//! `s3proxy serve --endpoint`: one store without a configuration file.

use crate::faulty::Faulty;
use crate::gateway::{ACCESS_KEY, Gateway, SECRET_KEY, Setup};
use crate::origin::Origin;

/// A file with one access key.
fn key_file(section: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[{section}]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    );
    std::fs::write(file.path(), text).expect("written");
    file
}

fn serve(args: &[&str], setup: Setup) -> Gateway {
    setup.args(&[&["serve"][..], args].concat()).start()
}

#[test]
fn one_store_is_served_with_options_alone() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    origin.create_bucket("other");
    let url = origin.url();
    // The only section of the file, whatever its name is.
    for section in ["default", "rubin"] {
        let file = key_file(section);
        let path = file.path().to_str().expect("UTF-8");
        let args = ["--endpoint", &url, "--access-key-file", path, "--bucket", "sky"];
        let gateway = serve(&args, Setup::bare());
        assert_eq!(gateway.object("sky/a.png").text(), "tile", "{section}");
        assert_eq!(gateway.object("other/a.png").status(), 403, "{section}");
        assert_eq!(gateway.object("rubin@sky/a.png").status(), 404, "{section}");
    }
}

#[test]
fn the_options_override_the_environment_and_no_other_store_is_served() {
    let (origin, spy) = (Origin::start(), Faulty::spy());
    origin.put("a.png", "tile");
    let file = key_file("default");
    let path = file.path().to_str().expect("UTF-8");
    let setup = Setup::bare()
        .env("S3_ENDPOINT_URL", &spy.url())
        .env("AWS_ACCESS_KEY_ID", "AKIANOBODYNOBODY")
        .env("AWS_SECRET_ACCESS_KEY", "nobody")
        .env("LSST_RESOURCES_S3_PROFILE_hips", &spy.url())
        .env("S3PROXY_CONFIG", "/nonexistent/s3proxy.yaml");
    let gateway = serve(&["--endpoint", &origin.url(), "--access-key-file", path], setup);
    for place in ["S3PROXY_CONFIG", "LSST_RESOURCES_S3_PROFILE_hips"] {
        let warning = format!("{place} is not used: --endpoint serves one store alone");
        gateway.expect_log(&warning, |line| line.to_string().contains(&warning));
    }
    assert_eq!(gateway.object("sky/a.png").text(), "tile");
    assert_eq!(gateway.object("hips@sky/a.png").status(), 404);
    assert_eq!(spy.count(), 0);
}

#[test]
fn mistakes_in_the_options_of_one_store_are_named() {
    let run = |args: &[&str]| Setup::bare().args(&[&["serve"][..], args].concat()).run();
    for (args, mentions) in [
        (&["--endpoint", "s3.example.org"][..], &["--endpoint"][..]),
        (&["--endpoint", "http://AKID:canary@h"], &["--endpoint", "--access-key-file"]),
        (&["--endpoint", "http://h", "--access-key-file", "/nonexistent"], &["--access-key-file"]),
        (&["--bucket", "sky"], &["--endpoint"]),
        (&["--endpoint", "http://h", "--config", "x"], &["--config"]),
    ] {
        let run = run(args);
        assert_eq!(run.status.code(), Some(2), "{args:?}: {run:?}");
        for mention in mentions {
            assert!(run.stderr.contains(mention), "{mention} in {run:?}");
        }
    }
}
