//! Files that are wrong, gone or empty while the gateway runs: the previous configuration stays in
//! force, and the log reports the mistake once.

use std::fs;
use std::process::Command;

use crate::client::PATIENCE;
use crate::files::{Files, INI, Way, YAML, ini, section, yaml};
use crate::gateway::{Gateway, SECRET_KEY, Setup};
use crate::origin::Origin;
use crate::reload::{await_reload, count, event};
use crate::tally::trial;

/// Files with a mistake.
const SPOILT: &str = "spoilt configurations";
const REFUSED: &str = "configuration not reloaded, the previous configuration stays in force: ";

fn expect_refusal(gateway: &Gateway) -> String {
    let line = gateway.expect_log("an error about the configuration", |line| {
        line["severity"] == "error" && event(line).starts_with(REFUSED)
    });
    event(&line).trim_start_matches(REFUSED).to_owned()
}

/// Waits until the files have been checked often enough that a second line would have appeared.
fn wait_for_checks() {
    std::thread::sleep(std::time::Duration::from_millis(700));
}

#[test]
fn a_broken_file_changes_nothing_and_is_logged_once() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let url = origin.url();
    let (good_ini, good_yaml) = (ini(&["hips"]), yaml(&[("hips", &url)]));
    let files = Files::new(Way::Rename, &good_ini, &good_yaml);
    let gateway = files.setup(Setup::new(&url), "50ms").start();
    let ini_path = files.path(INI).display().to_string();
    let yaml_path = files.path(YAML).display().to_string();
    let bad_section = format!("{good_ini}[new\nx = {SECRET_KEY}\n");
    let half = format!("{good_ini}[new]\naws_secret_access_key = {SECRET_KEY}\n");
    let unknown = format!("{good_yaml}    endpiont: x\n");
    for (name, text, mentions) in [
        (INI, bad_section.as_str(), format!("{ini_path}:4: is not a section")),
        (INI, &half, format!("{ini_path}:5: [new] aws_secret_access_key: is set without")),
        (INI, "", format!("{ini_path}: is empty and was not before")),
        (INI, " \n\n", format!("{ini_path}: is empty and was not before")),
        (YAML, "profiles: [", format!("{yaml_path}:2: is not valid YAML")),
        (YAML, &unknown, format!("{yaml_path}:4: profiles.hips.endpiont: is an unknown key")),
        (YAML, "", format!("{yaml_path}: is empty and was not before")),
        (YAML, "profiles:\n  hips:\n    endpoint: ftp://x\n", format!("{yaml_path}:3: ")),
    ] {
        let _trial = trial(SPOILT);
        let before = count(&gateway, REFUSED);
        files.write_one(name, text);
        let line = expect_refusal(&gateway);
        assert!(line.starts_with(&mentions), "{mentions:?} in {line}");
        assert_eq!(gateway.object("hips@sky/a.png").status(), 200, "{text}");
        wait_for_checks();
        assert_eq!(count(&gateway, REFUSED), before + 1, "one line for one mistake: {text}");
        // As before: there is no change to load, and the same mistake would be logged again.
        files.write(&good_ini, &good_yaml);
        wait_for_checks();
    }
    files.write_one(YAML, "profiles: [");
    expect_refusal(&gateway);
    files.write(&ini(&["hips", "new"]), &yaml(&[("hips", &url), ("new", &url)]));
    await_reload(&gateway, "profile new added");
    assert_eq!(gateway.object("new@sky/a.png").status(), 200);
    assert_eq!(count(&gateway, "configuration reloaded"), 1);
    assert!(!gateway.log_text().contains("canary"), "a secret in the log");
}

#[test]
fn a_missing_or_unreadable_file_removes_no_profiles() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let url = origin.url();
    let (good_ini, good_yaml) = (ini(&["hips"]), yaml(&[("hips", &url)]));
    for name in [INI, YAML] {
        let files = Files::new(Way::InPlace, &good_ini, &good_yaml);
        let gateway = files.setup(Setup::new(&url), "50ms").start();
        let path = files.path(name);
        // Removed, replaced by a folder, not valid text: unreadable even for root.
        for spoil in [
            &(|| fs::remove_file(&path).expect("removed")) as &dyn Fn(),
            &|| {
                fs::remove_file(&path).expect("removed");
                fs::create_dir(&path).expect("a folder");
            },
            &|| fs::write(&path, b"\xff\xfe").expect("written"),
        ] {
            let _trial = trial(SPOILT);
            let before = count(&gateway, REFUSED);
            spoil();
            let told = expect_refusal(&gateway);
            assert!(told.contains(&path.display().to_string()), "{told}");
            assert!(told.contains("cannot be read"), "{told}");
            wait_for_checks();
            assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
            assert_eq!(count(&gateway, REFUSED), before + 1, "logged once");
            let _it_was_a_file = fs::remove_dir(&path);
            files.write(&good_ini, &good_yaml);
            wait_for_checks();
        }
        // The previous configuration stayed in force, so there was nothing to apply, even if a check
        // happened while a file was written.
        let read = count(&gateway, "configuration reloaded");
        let alike = count(&gateway, "configuration reloaded: profiles unchanged");
        assert_eq!(read, alike);
    }
}

/// The file of the home folder need not exist at startup, but removing it does not remove its
/// profiles.
#[test]
fn a_missing_file_of_the_home_folder_removes_no_profiles() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let url = origin.url();
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join(".aws")).expect("a folder");
    let path = home.path().join(".aws/credentials");
    let setup = Setup::new(&url)
        .env("HOME", home.path().to_str().expect("UTF-8"))
        .env("S3PROXY_SERVER_RELOAD_INTERVAL", "50ms");
    let gateway = setup.tolerate("has no endpoint").start();
    assert_eq!(gateway.object("hips@sky/a.png").status(), 404);
    fs::write(&path, ini(&["hips"])).expect("written");
    await_reload(&gateway, "profile hips added");
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    let _trial = trial(SPOILT);
    fs::remove_file(&path).expect("removed");
    let told = expect_refusal(&gateway);
    assert!(told.contains("credentials: cannot be read any more"), "{told}");
    wait_for_checks();
    assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    // A comment removes the profiles on purpose.
    fs::write(&path, "# none\n").expect("written");
    await_reload(&gateway, "profile hips removed");
    assert_eq!(gateway.object("hips@sky/a.png").status(), 404);
}

/// For example on a disk that does not answer.
#[test]
fn a_file_whose_reading_hangs_is_logged_and_delays_no_request() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let url = origin.url();
    let files = Files::new(Way::InPlace, &ini(&["hips"]), &yaml(&[("hips", &url)]));
    let setup = files.setup(Setup::new(&url), "50ms");
    let mut gateway = setup.env("S3PROXY_SERVER_LAME_DUCK", "0").start();
    fs::remove_file(files.path(INI)).expect("removed");
    let _trial = trial(SPOILT);
    let command = format!("mkfifo {}", files.path(INI).display());
    assert!(Command::new("sh").args(["-c", &command]).status().expect("a shell").success());
    gateway.expect_log("an error about the reading", |line| {
        line["severity"] == "error" && event(line).contains("cannot be read within 2 s")
    });
    for _ in 0..10 {
        assert_eq!(gateway.object("hips@sky/a.png").status(), 200);
    }
    gateway.signal("TERM");
    assert_eq!(gateway.await_end(PATIENCE).code(), Some(0));
}

/// A half-written file is not loaded while it is being written, and never if it is wrong.
#[test]
fn a_half_written_file_is_not_loaded() {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    let url = origin.url();
    let both = ini(&["hips", "embargo"]);
    let profiles = yaml(&[("hips", &url), ("embargo", &url)]);
    let files = Files::new(Way::InPlace, &both, &profiles);
    let gateway = files.setup(Setup::new(&url), "400ms").start();
    let new = section("hips", "AKIASECONDSECOND", "canary/second")
        + &section("embargo", "AKIASECONDSECOND", "canary/second");
    origin.accept_key("AKIASECONDSECOND", "canary/second");
    // A complete section without a mistake; the other one follows soon.
    files.write_one(INI, new.split_at(new.len() / 2 - 2).0);
    std::thread::sleep(std::time::Duration::from_millis(100));
    files.write_one(INI, &new);
    let told = await_reload(&gateway, "");
    assert!(!told.contains("missing credentials"), "{told}");
    assert_eq!(told.matches("access key ...MPLE replaced by ...COND").count(), 2, "{told}");
    let _trial = trial(SPOILT);
    // Cut in the middle of a section, and left so.
    files.write_one(INI, both.split_at(both.len() - 60).0);
    expect_refusal(&gateway);
    for name in ["hips", "embargo"] {
        assert_eq!(gateway.object(&format!("{name}@sky/a.png")).status(), 200, "{name}");
    }
    files.write_one(INI, &both);
    await_reload(&gateway, "access key ...COND replaced by ...MPLE");
}
