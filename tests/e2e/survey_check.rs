//! `s3proxy check --hips`: each fault of a survey is found, with its fix, and nothing else is reported.

use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::credentials::{accept_issued, with_issued};
use crate::gateway::Setup;
use crate::origin::{Manners, Origin};
use crate::surveys::{Survey, path, picture, tiles};

/// The steps that are neither ok nor skipped, as `name: detail (fix)`; and the exit code.
fn check(setup: Setup, place: &str) -> (Vec<(String, String)>, Option<i32>) {
    let finished = setup.args(&["check", "--hips", place, "--json"]).run();
    let report: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr));
    assert_eq!(report["sections"][0]["subject"], "survey");
    let steps = report["sections"][0]["steps"].as_array().expect("steps");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let faults = steps.iter().filter(|it| it["state"] == "warning" || it["state"] == "failed");
    let faults = faults.map(|it| {
        assert!(!text(&it["fix"]).is_empty(), "{it}");
        (
            text(&it["name"]),
            format!("{} {} ({})", text(&it["state"]), text(&it["detail"]), text(&it["fix"])),
        )
    });
    (faults.collect(), finished.status.code())
}

/// A fault: its name, how to make it, the step that finds it, words of the finding.
type Row = (&'static str, fn(&mut Survey), &'static str, &'static str);

const FAULTS: [Row; 20] = [
    ("no properties", |it| drop(it.0.remove("properties")), "properties", "failed there is no"),
    (
        "a line without =",
        |it| it.replace("hips_version = 1.4", "hips_version 1.4\nhips_version = 1.4"),
        "properties",
        "failed properties is not in the form keyword = value: line 4",
    ),
    (
        "a keyword is missing",
        |it| it.replace("obs_title = A few cells\n", ""),
        "keywords",
        "failed properties lacks obs_title",
    ),
    (
        "a misspelt frame",
        |it| it.replace("= equatorial", "= ICRS"),
        "keywords",
        "warning hips_frame is \"ICRS\"",
    ),
    (
        "hips_order too deep",
        |it| it.replace("hips_order = 5", "hips_order = 6"),
        "orders",
        "failed hips_order is 6, and the deepest tiles that were found are of order 5 (set hips_order = 5",
    ),
    (
        "hips_order too low",
        |it| it.replace("hips_order = 5", "hips_order = 4"),
        "orders",
        "failed hips_order is 4, and order 5 has tiles",
    ),
    (
        "hips_order is no number",
        |it| it.replace("hips_order = 5", "hips_order = five"),
        "orders",
        "failed hips_order is not a whole number",
    ),
    (
        "no hips_order_min",
        |it| it.replace("hips_order_min = 3\n", ""),
        "order_min",
        "warning properties lacks hips_order_min",
    ),
    (
        "hips_order_min too low",
        |it| it.replace("hips_order_min = 3", "hips_order_min = 1"),
        "order_min",
        "failed hips_order_min is 1, and the lowest tiles are of order 3",
    ),
    (
        "hips_order_min above hips_order",
        |it| it.replace("hips_order_min = 3", "hips_order_min = 9"),
        "order_min",
        "failed hips_order_min is 9, and hips_order is 5: no viewer asks for any tile",
    ),
    (
        "a format without tiles",
        |it| {
            it.replace("png fits", "png fits webp");
            it.0.insert("Norder3/Allsky.webp".to_owned(), b"RIFF".to_vec());
        },
        "formats",
        "failed hips_tile_format names webp",
    ),
    (
        "a format that is not named",
        |it| it.replace("png fits", "fits"),
        "formats",
        "warning there are tiles in png",
    ),
    (
        "no Allsky",
        |it| drop(it.0.remove("Norder3/Allsky.fits")),
        "allsky",
        "warning there is no Norder3/Allsky.fits",
    ),
    ("no Moc.fits", |it| drop(it.0.remove("Moc.fits")), "moc", "warning there is no Moc.fits"),
    (
        "Moc.fits cut",
        |it| it.0.get_mut("Moc.fits").expect("a map").truncate(6000),
        "moc",
        "failed Moc.fits is no coverage map: it has 6000 bytes, and its headers say 8640",
    ),
    (
        "Moc.fits and its keyword differ",
        |it| it.replace("hips_order = 5", "moc_sky_fraction = 0.5\nhips_order = 5"),
        "moc",
        "warning moc_sky_fraction is 0.5, and Moc.fits covers",
    ),
    (
        "a tile within the map is missing",
        |it| drop(it.0.remove(&path(5, 12000, "png"))),
        "inside",
        "failed 1 of 276 tiles within Moc.fits are missing, about 0.4 % of the survey: Norder5/Dir10000/Npix12000.png",
    ),
    (
        "a tile outside of the map",
        |it| drop(it.0.insert(path(5, 9000, "png"), picture("png", 512))),
        "outside",
        "failed tiles exist outside of Moc.fits",
    ),
    (
        "an error page in place of a tile",
        |it| drop(it.0.insert(path(4, 2000, "fits"), b"<html>".to_vec())),
        "tiles",
        "failed 1 of",
    ),
    (
        "a tile of another width",
        |it| drop(it.0.insert(path(4, 2000, "png"), picture("png", 256))),
        "tiles",
        "Norder4/Dir0/Npix2000.png, which is 256 pixels wide, and hips_tile_width is 512",
    ),
];

#[test]
fn a_survey_without_faults_is_clean_on_disk_and_in_its_bucket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Survey::new().write(folder.path());
    let place = folder.path().to_str().expect("a path of UTF-8");
    assert_eq!(check(Setup::bare(), place), (vec![], Some(0)));

    let origin = Origin::start();
    Survey::new().upload(&origin, "s/");
    assert_eq!(check(Setup::new(&origin.url()), "sky/s/"), (vec![], Some(0)));
    let requests = origin.count();
    let files = Survey::new().0.len();
    // Each tile at most for three reasons, and samples outside.
    assert!(requests > files && requests < 3 * files + 200, "{requests} requests, {files} files");
    let written = Setup::new(&origin.url()).args(&["check", "--hips", "sky/s"]).run();
    assert!(written.stdout.ends_with("All checks passed.\n"), "{}", written.stdout);
    assert!(written.stdout.contains("138 png"), "{}", written.stdout);
}

/// The check asked with the credentials of the configuration, of which there are none.
#[test]
fn a_survey_of_a_profile_whose_credentials_are_issued_is_checked() {
    let origin = Origin::start();
    accept_issued(&origin);
    Survey::new().upload(&origin, "s/");
    let setup = with_issued(Setup::bare(), &origin.url());
    assert_eq!(check(setup, "issued@sky/s/"), (vec![], Some(0)));
    let credentials = json!({ "from": "process", "process": "/bin/false" });
    let profile = json!({ "endpoint": origin.url(), "credentials": credentials });
    let failing = Setup::bare().yaml(json!({ "profiles": { "hips": profile } }));
    let (faults, code) = check(failing, "hips@sky/s/");
    let [(step, detail)] = &faults[..] else { panic!("{faults:#?}") };
    assert_eq!((step.as_str(), code), ("credentials", Some(1)));
    assert!(detail.contains("run the program by hand"), "{detail}");
}

/// The check read the folder of the alias itself, which is empty.
#[test]
fn a_survey_is_checked_by_the_alias_that_clients_use() {
    let origin = Origin::start();
    Survey::new().upload(&origin, "v2/");
    for place in ["sky/current/", "sky/current"] {
        let aliased =
            Setup::new(&origin.url()).yaml(json!({ "aliases": { "sky/current/": "sky/v2/" } }));
        assert_eq!(check(aliased.clone(), place), (vec![], Some(0)));
        let written = aliased.args(&["check", "--hips", place]).run().stdout;
        assert!(written.contains("stands for s3://sky/v2/"), "{written}");
    }
}

#[test]
fn each_planted_fault_is_found_with_its_fix_and_nothing_else() {
    for (name, plant, step, words) in FAULTS {
        let mut survey = Survey::new();
        plant(&mut survey);
        let folder = tempfile::tempdir().expect("a temporary folder");
        survey.write(folder.path());
        let (faults, code) = check(Setup::bare(), folder.path().to_str().expect("UTF-8"));
        let [(found, detail)] = &faults[..] else { panic!("{name}: {faults:#?}") };
        assert_eq!(found, step, "{name}: {detail}");
        assert!(detail.contains(words), "{name}: {detail}");
        assert_eq!(code, Some(i32::from(detail.starts_with("failed"))), "{name}");
    }
}

/// "0 tiles within the map exist" was said of a survey without a map, and "about 138" of tiles that were all
/// read.
#[test]
fn without_a_map_nothing_is_said_of_it_and_listed_tiles_are_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut survey = Survey::new();
    survey.0.remove("Moc.fits");
    survey.write(folder.path());
    let place = folder.path().to_str().expect("UTF-8");
    let said = |samples: &str| {
        let args = ["check", "--hips", place, "--samples", samples];
        let said = Setup::bare().args(&args).run().stdout;
        let line = |name: &str| {
            let mut lines = said.lines().filter(|line| line.contains(name));
            lines.next().unwrap_or_else(|| panic!("{name}: {said}")).to_owned()
        };
        [line("  inside, outside "), line("  estimate ")]
    };
    let [inside, estimate] = said("5000");
    assert!(inside.contains("skipped") && inside.contains("no map"), "{inside}");
    assert!(estimate.contains("138 png") && !estimate.contains("about"), "{estimate}");
    let [_, estimate] = said("100");
    assert!(estimate.contains("about 138 png"), "{estimate}");
}

/// The check waited for a writer of the pipe, for ever.
#[test]
fn a_pipe_in_place_of_a_file_is_not_read() {
    for name in ["Moc.fits", "properties", "Norder3/Allsky.png"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Survey::new().write(folder.path());
        let path = folder.path().join(name);
        std::fs::remove_file(&path).expect("removed");
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success());
        let (faults, code) = check(Setup::bare(), folder.path().to_str().expect("UTF-8"));
        assert_eq!(code, Some(1), "{name}: {faults:#?}");
        assert!(faults.iter().any(|(_, it)| it.contains("no regular file")), "{name}: {faults:#?}");
    }
}

#[test]
fn a_store_that_may_not_be_listed_shows_the_same_faults_and_its_own() {
    let origin = Origin::with(Manners { may_list: false, ..Manners::rgw() });
    let mut survey = Survey::new();
    survey.replace("hips_order_min = 3\n", "");
    survey.upload(&origin, "");
    let (faults, code) = check(Setup::new(&origin.url()), "sky/");
    let steps: Vec<&str> = faults.iter().map(|(step, _)| step.as_str()).collect();
    assert_eq!(steps, ["order_min", "missing"], "{faults:#?}");
    assert!(faults[1].1.contains("set missing_on_403: true"), "{faults:#?}");
    assert_eq!(code, Some(1));
    let lenient =
        Setup::new(&origin.url()).yaml(json!({ "default_profile": { "missing_on_403": true } }));
    assert_eq!(check(lenient, "sky/").0.len(), 1);
}

#[test]
fn types_that_the_gateway_refuses_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Survey::new().write(folder.path());
    let place = folder.path().to_str().expect("UTF-8");
    let strict = Setup::bare().yaml(json!({ "mime": { "disallow": ["image/fits"] } }));
    let (faults, _) = check(strict, place);
    let [(step, detail)] = &faults[..] else { panic!("{faults:#?}") };
    assert_eq!(step, "policy");
    assert!(detail.contains("Moc.fits (image/fits), Norder3/Allsky.fits (image/fits)"), "{detail}");
}

#[test]
fn tiles_of_the_future_and_maps_of_the_past_are_warnings() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Survey::new().write(folder.path());
    let place = folder.path().to_str().expect("UTF-8");
    let date = |path: &str, at: SystemTime| {
        let file = std::fs::File::options().write(true).open(folder.path().join(path));
        file.and_then(|file| file.set_modified(at)).expect("a modification time");
    };
    #[expect(clippy::disallowed_methods, reason = "files have times")]
    let now = SystemTime::now();
    let tile = path(3, *tiles(3).first().expect("a tile"), "png");
    date(&tile, now + Duration::from_secs(86400));
    let (faults, code) = check(Setup::bare(), place);
    assert!(faults[0].1.contains("1 tiles are dated in the future"), "{faults:#?}");
    assert_eq!((faults.len(), code), (1, Some(0)));
    date(&tile, now);
    date("Moc.fits", now - Duration::from_secs(3 * 86400));
    let (faults, _) = check(Setup::bare(), place);
    assert!(faults[0].1.contains("tiles are newer than Moc.fits"), "{faults:#?}");
}

#[test]
fn a_place_that_is_none_is_named() {
    let origin = Origin::start();
    for (place, code, words) in [
        ("./nowhere", 1, "there is no such folder"),
        ("sky/nowhere/", 1, "there is no properties file"),
        ("none@sky/", 1, "no profile has this name"),
        ("sky", 2, "a survey is PROFILE@BUCKET/PREFIX/"),
    ] {
        let finished = Setup::new(&origin.url()).args(&["check", "--hips", place]).run();
        assert_eq!(finished.status.code(), Some(code), "{place}");
        let said = [finished.stdout, finished.stderr].concat();
        assert!(said.contains(words), "{place}: {said}");
    }
    let gone = Setup::new("http://127.0.0.1:1").yaml(json!({ "upstream": { "retries": 0 } }));
    let (faults, code) = check(gone, "sky/");
    assert!(faults[0].1.contains("properties cannot be read: upstream_unreachable"), "{faults:#?}");
    assert_eq!(code, Some(1));
}
