//! Tiles that a survey excludes are 404 without the store; no tile that exists is ever hidden.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use s3proxy::survey::{Coverage, Tile};
use serde_json::json;

use crate::admin::Admin;
use crate::client::{Answer, PATIENCE};
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;
use crate::surveys::{PROPERTIES, Survey, path, picture, tiles};

fn setup(origin: &Origin) -> Setup {
    Setup::new(&origin.url())
        .env("S3PROXY_CACHE_MEMORY", "64MiB")
        .yaml(json!({ "default_profile": { "hips": true } }))
}

fn is_by_map(answer: &Answer) -> bool {
    answer.status() == 404 && answer.header("cache-status") == Some("s3proxy; hit; detail=moc")
}

/// What a viewer asks for first.
fn open(gateway: &Gateway) {
    for file in ["properties", "Moc.fits"] {
        assert_eq!(gateway.object(&format!("sky/s/{file}")).status(), 200);
    }
}

/// Cells of order 5 that the survey does not have.
fn outside() -> Vec<u64> {
    let inside = tiles(5);
    (0..12288).filter(|index| !inside.contains(index)).collect()
}

/// Asks for excluded tiles until one is answered by the map. Returns those asked for.
fn until_by_map(gateway: &Gateway) -> BTreeSet<u64> {
    let deadline = Instant::now() + PATIENCE;
    let mut asked = BTreeSet::new();
    for index in outside() {
        let answer = gateway.object(&format!("sky/s/{}", path(5, index, "png")));
        assert_eq!(answer.status(), 404);
        if is_by_map(&answer) {
            return asked;
        }
        asked.insert(index);
        assert!(Instant::now() < deadline, "no answer by the map after {} tiles", asked.len());
    }
    panic!("no answer by the map");
}

#[test]
fn excluded_tiles_are_answered_without_the_store_and_every_tile_is_served() {
    let origin = Origin::start();
    let survey = Survey::new();
    survey.upload(&origin, "s/");
    let (setup, admin) = Admin::of(setup(&origin));
    let gateway = setup.start();
    open(&gateway);
    let asked = until_by_map(&gateway);
    // Each request counts once, although memory is asked before the whole cache is.
    assert!(asked.len() >= 20, "the store has decided about {} tiles", asked.len());
    origin.clear();
    let excluded =
        ["Norder5/Dir0/Npix9.jpg", "Norder5/Dir10000/Npix12000.webp", "Norder6/Dir0/Npix0.png"];
    for key in excluded {
        assert!(is_by_map(&gateway.object(&format!("sky/s/{key}"))), "{key}");
    }
    let rest: Vec<u64> =
        outside().into_iter().filter(|it| !asked.contains(it)).take(1000).collect();
    for (nth, index) in rest.iter().enumerate() {
        let method = if nth % 7 == 0 { "HEAD" } else { "GET" };
        let url = format!("/s3proxy/s3/sky/s/{}", path(5, *index, "fits"));
        let answer = gateway.send(method, &url, &[]);
        assert_eq!(answer.status(), 404);
        // The first one was asked for above; each hundredth is verified, and then a negative entry.
        assert!(is_by_map(&answer), "{index}: {answer:?}");
    }
    let verified = origin.count();
    assert!((1..=15).contains(&verified), "{verified} requests for 1000 tiles");
    for (file, bytes) in &survey.0 {
        let answer = gateway.object(&format!("sky/s/{file}"));
        assert_eq!((answer.status(), &answer.body), (200, bytes), "{file}");
    }
    assert!(admin.number("survey_exclusions") > 1000);
    assert_eq!(admin.number("surveys_switched_off"), 0);
}

#[test]
fn paths_that_are_not_exactly_of_a_survey_go_to_the_store() {
    let origin = Origin::start();
    Survey::new().upload(&origin, "s/");
    let setup = setup(&origin).yaml(json!({ "cache": { "client_no_cache": true } }));
    let gateway = setup.start();
    open(&gateway);
    until_by_map(&gateway);
    for key in [
        "Norder5/Dir0/Npix12000.png",
        "Norder5/Dir0/Npix09.png",
        "Norder5/Dir0/Npix9_1.png",
        "Norder5/Dir0/Npix12288.png",
        "Norder5/Npix9.png",
        "Norder3/Allsky.webp",
        "other/Norder5/Dir0/Npix9000.png",
    ] {
        let url = format!("s/{key}");
        origin.put(&url, "an object");
        assert_eq!(gateway.object(&format!("sky/{url}")).text(), "an object", "{key}");
    }
    // A client that wants the store asked gets its answer.
    let tile = format!("s/{}", path(5, 9000, "png"));
    assert!(is_by_map(&gateway.object(&format!("sky/{tile}"))));
    origin.put(&tile, "new");
    let answer = gateway.object_with(&format!("sky/{tile}"), &[("Cache-Control", "no-cache")]);
    assert_eq!(answer.text(), "new");
}

/// A change of a survey after which its files exclude nothing.
type Doubt = (&'static str, fn(&mut Survey));

#[test]
fn a_survey_whose_files_are_in_doubt_excludes_nothing() {
    let doubts: [Doubt; 11] = [
        ("no map", |it| drop(it.0.remove("Moc.fits"))),
        ("a map that is cut", |it| it.0.get_mut("Moc.fits").expect("a map").truncate(8639)),
        ("a map that is too large", |it| {
            it.0.get_mut("Moc.fits").expect("a map").resize(20 << 20, 0);
        }),
        ("a map of another frame", |it| {
            let map = it.0.get_mut("Moc.fits").expect("a map");
            let at = map.windows(8).position(|it| it == b"COORDSYS").expect("a keyword");
            map[at + 11] = b'G';
        }),
        ("a map of another order than its cells", |it| {
            let map = it.0.get_mut("Moc.fits").expect("a map");
            let at = map.windows(8).position(|it| it == b"MOCORD_S").expect("a keyword");
            let value = map[at..at + 80].iter().position(|it| *it == b'5').expect("its value");
            map[at + value] = b'3';
        }),
        ("a map that is a page", |it| drop(it.0.insert("Moc.fits".to_owned(), b"<html>".to_vec()))),
        ("galactic tiles", |it| it.replace("= equatorial", "= galactic")),
        ("a cube", |it| it.replace("= image", "= cube")),
        ("an unknown format", |it| it.replace("png fits", "png fits avif")),
        ("no valid order", |it| it.replace("hips_order = 5", "hips_order = five")),
        ("another part of the sky", |it| {
            it.replace("hips_order = 5", "moc_sky_fraction = 0.7\nhips_order = 5");
        }),
    ];
    for (name, plant) in doubts {
        let origin = Origin::start();
        let mut survey = Survey::new();
        plant(&mut survey);
        survey.upload(&origin, "s/");
        let gateway = setup(&origin).start();
        for file in ["properties", "Moc.fits"] {
            gateway.object(&format!("sky/s/{file}"));
        }
        for index in outside().into_iter().step_by(100).take(60) {
            let answer = gateway.object(&format!("sky/s/{}", path(5, index, "png")));
            assert_eq!(answer.status(), 404);
            assert!(!is_by_map(&answer), "{name}: {answer:?}");
        }
        let found = gateway.object(&format!("sky/s/{}", path(5, 12000, "png")));
        assert_eq!(found.status(), 200, "{name}");
    }
}

#[test]
fn a_tile_that_exists_outside_of_its_map_switches_the_map_off() {
    let origin = Origin::start();
    let mut survey = Survey::new();
    for index in outside().into_iter().step_by(2) {
        survey.0.insert(path(5, index, "png"), picture("png", 512));
    }
    survey.upload(&origin, "s/");
    let (setup, admin) = Admin::of(setup(&origin));
    let gateway = setup.start();
    open(&gateway);
    let deadline = Instant::now() + PATIENCE;
    for index in outside() {
        let answer = gateway.object(&format!("sky/s/{}", path(5, index, "png")));
        let exists = survey.0.contains_key(&path(5, index, "png"));
        assert_eq!(answer.status(), if exists { 200 } else { 404 }, "{index}");
        assert!(!is_by_map(&answer), "{index}");
        if admin.number("surveys_switched_off") == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "the survey is still on");
        std::thread::sleep(Duration::from_millis(10));
    }
    gateway.expect_log("a warning about the map", |line| {
        line["event"]
            .as_str()
            .is_some_and(|it| it.contains("exists, although properties and Moc.fits"))
    });
    for index in outside().into_iter().step_by(50) {
        let answer = gateway.object(&format!("sky/s/{}", path(5, index, "fits")));
        assert!(!is_by_map(&answer), "{index}");
    }
}

#[test]
fn another_version_of_the_map_counts_at_once_and_a_purge_ends_it() {
    let origin = Origin::start();
    Survey::new().upload(&origin, "s/");
    let (setup, admin) = Admin::of(setup(&origin));
    let gateway = setup.start();
    open(&gateway);
    until_by_map(&gateway);
    let key = format!("s/{}", path(5, 9000, "png"));
    let tile = format!("sky/{key}");
    assert!(is_by_map(&gateway.object(&tile)));
    // The purge of the survey.
    admin.purge("sky/s/");
    assert!(!is_by_map(&gateway.object(&tile)));
    open(&gateway);
    until_by_map(&gateway);
    // The whole sky from now on: the old map is not used once the new one is cached.
    origin.put("s/Moc.fits", include_bytes!("../surveys/maps/all.range.fits").as_slice());
    origin.put(&key, "new");
    admin.purge("sky/s/Moc.fits");
    admin.purge(&tile);
    assert_eq!(gateway.object("sky/s/Moc.fits").status(), 200);
    assert_eq!(gateway.object(&tile).text(), "new");
    // And so does another order.
    let deep = format!("s/{}", path(6, 7, "png"));
    origin.put("s/properties", PROPERTIES.replace("hips_order = 5", "hips_order = 6"));
    origin.put(&deep, "deep");
    admin.purge("sky/s/properties");
    assert_eq!(gateway.object("sky/s/properties").status(), 200);
    assert_eq!(gateway.object(&format!("sky/{deep}")).text(), "deep");
}

#[test]
fn the_setting_may_name_the_folders_of_surveys() {
    let origin = Origin::start();
    let survey = Survey::new();
    survey.upload(&origin, "s/");
    let with = |folders: &[&str]| {
        let gateway =
            setup(&origin).yaml(json!({ "default_profile": { "hips": folders } })).start();
        open(&gateway);
        gateway
    };
    until_by_map(&with(&["other/s/", "sky/s/"]));
    let gateway = with(&["sky/s2/", "sk/y/s/"]);
    for index in outside().into_iter().take(60) {
        let answer = gateway.object(&format!("sky/s/{}", path(5, index, "png")));
        assert!(answer.status() == 404 && !is_by_map(&answer), "{answer:?}");
    }
}

#[test]
fn without_the_setting_every_missing_tile_is_asked_for() {
    let origin = Origin::start();
    Survey::new().upload(&origin, "s/");
    let gateway = Setup::new(&origin.url()).env("S3PROXY_CACHE_MEMORY", "64MiB").start();
    open(&gateway);
    origin.clear();
    for index in outside().into_iter().take(60) {
        let answer = gateway.object(&format!("sky/s/{}", path(5, index, "png")));
        assert!(answer.status() == 404 && !is_by_map(&answer));
    }
    assert_eq!(origin.count(), 60);
}

#[test]
fn of_ten_thousand_tiles_with_holes_none_is_hidden_and_the_holes_need_no_store() {
    let maps: [(&[u8], usize); 2] = [
        (include_bytes!("../surveys/maps/patches.range.fits"), 1),
        (include_bytes!("../surveys/maps/patches.nuniq.fits"), 10),
    ];
    for (map, step) in maps {
        // Compared with the numbers of an independent reader by the unit tests.
        let coverage = Coverage::read(map).expect("a map");
        let origin = Origin::start();
        origin.put("s/Moc.fits", map);
        let properties = PROPERTIES.replace("hips_order = 5", "hips_order = 7");
        origin.put("s/properties", properties.replace("png fits", "png"));
        let mut existing = 0;
        for order in 0..=7 {
            // Of the order below the cells of the map one in eight.
            let every = if order == 7 { 8 } else { 1 };
            for index in coverage.tiles(order).flatten().step_by(every) {
                origin.put(&format!("s/{}", path(order, index, "png")), format!("{order}/{index}"));
                existing += 1;
            }
        }
        assert_eq!(existing, 18_830);
        let gateway = setup(&origin).start();
        open(&gateway);
        let mut client = gateway.connect();
        let mut ask = |order: u8, index: u64| {
            let url = format!("/s3proxy/s3/sky/s/{}", path(order, index, "png"));
            client.exchange("GET", &url, &[])
        };
        let mut holes = coverage.gaps(6).flatten();
        let deadline = Instant::now() + PATIENCE;
        while !is_by_map(&ask(6, holes.next().expect("a hole"))) {
            assert!(Instant::now() < deadline, "no answer by the map");
        }
        let first = holes.next().expect("a hole");
        origin.clear();
        let (mut served, mut excluded) = (0, 0);
        for (order, every) in [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 4), (6, 12), (7, 64)] {
            for index in (0..Tile::count(order)).step_by(every * step) {
                let tile = Tile::new(order, index).expect("a tile");
                let exists = coverage.touches(tile);
                if exists && order == 7 {
                    continue;
                }
                let answer = ask(order, index);
                if exists {
                    assert_eq!(answer.text(), format!("{order}/{index}"));
                    served += 1;
                } else if order != 6 || index > first {
                    assert!(is_by_map(&answer), "{order}/{index}: {answer:?}");
                    excluded += 1;
                }
            }
        }
        for index in coverage.tiles(7).flatten().step_by(64 * step) {
            assert_eq!(ask(7, index).text(), format!("7/{index}"));
            served += 1;
        }
        assert!(served > 2000 / step && excluded > 6000 / step, "{served}, {excluded}");
        let verified = origin.count() - served;
        assert!(verified <= excluded / 100 + 1, "{verified} requests for {excluded} holes");
    }
}
