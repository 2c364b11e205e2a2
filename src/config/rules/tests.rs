//! Rules for texts, by tables.

use super::*;

fn json_list(items: &[&str]) -> String {
    serde_json::to_string(items).expect("texts make JSON")
}

#[test]
fn a_prefix_is_empty_or_whole_segments() {
    for prefix in ["", "/s3proxy", "/a/b", "/a.b-c_d~e"] {
        assert_eq!(path_prefix(Written::Text(prefix)).as_deref(), Ok(prefix));
    }
    for prefix in ["/", "s3proxy", "/s3proxy/", "//a", "/a//b", "/a/../b", "/.", "/a b", "/a%41"] {
        assert!(path_prefix(Written::Text(prefix)).is_err(), "{prefix}");
    }
}

#[test]
fn log_levels_have_pythons_names_in_any_case() {
    assert_eq!(log_level(Written::Text("info")), Ok(LevelFilter::Info));
    assert_eq!(log_level(Written::Text("Warning")), Ok(LevelFilter::Warn));
    assert_eq!(log_level(Written::Text("CRITICAL")), Ok(LevelFilter::Error));
    assert_eq!(log_level(Written::Text("warn")), Ok(LevelFilter::Warn));
    assert_eq!(log_level(Written::Text("Fatal")), Ok(LevelFilter::Error));
    for level in ["", "TRACE", "off"] {
        assert!(log_level(Written::Text(level)).is_err(), "{level}");
    }
}

#[test]
fn the_log_format_is_exact() {
    assert_eq!(log_format(Written::Text("production")), Ok(LogFormat::Production));
    for format in ["Production", "", "prod"] {
        assert!(log_format(Written::Text(format)).is_err(), "{format}");
    }
}

#[test]
fn bucket_validation_is_off_unless_its_variable_says_no() {
    for (text, on) in
        [("0", true), ("F", true), ("n", true), ("False", true), ("no", false), ("1", false)]
    {
        assert_eq!(bucket_validation(Written::Text(text)), Ok(on), "{text}");
    }
}

#[test]
fn origins_are_written_as_browsers_send_them() {
    for good in [&["*"][..], &["https://a.example", "http://b:8080"], &[]] {
        assert!(origins(Written::Text(&json_list(good))).is_ok(), "{good:?}");
    }
    for bad in [
        &["*", "https://a.example"][..],
        &["https://a.example/"],
        &["https://a.example/x"],
        &["https://A.example"],
        &["https://a.example:443"],
        &["a.example"],
        &["null"],
        &["https://*.example"],
    ] {
        assert!(origins(Written::Text(&json_list(bad))).is_err(), "{bad:?}");
    }
}

#[test]
fn a_variable_may_name_an_origin_without_a_json_list() {
    for (text, expected) in [
        ("*", &["*"][..]),
        ("https://a.example", &["https://a.example"]),
        ("https://a.example, http://b:8080", &["https://a.example", "http://b:8080"]),
    ] {
        let expected = expected.iter().map(|&origin| origin.to_owned()).collect();
        assert_eq!(origins(Written::Text(text)), Ok(expected), "{text}");
    }
    for text in ["", "a.example", "https://a.example/", "*,https://a.example", "null"] {
        assert!(origins(Written::Text(text)).is_err(), "{text}");
    }
}

#[test]
fn bucket_patterns_hold_bucket_letters_and_wildcards() {
    let read = |items: &[&str]| buckets(Written::Text(&json_list(items)));
    let patterns = read(&["rubin-*", "ten:bkt"]).expect("valid").expect("patterns");
    assert!(patterns.matches("rubin-hips") && !patterns.matches("x-rubin-hips"));
    for bad in [&[][..], &[""], &["a/b"], &["a@b"], &["a b"]] {
        assert!(read(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_memory_of_the_cache_is_auto_none_or_enough() {
    let read = |text| cache_memory::<{ 1 << 20 }, { 1 << 50 }>(Written::Text(text));
    for (text, expected) in [
        ("auto", CacheMemory::Auto),
        ("0", CacheMemory::Bytes(0)),
        ("0MiB", CacheMemory::Bytes(0)),
        ("256MiB", CacheMemory::Bytes(256 << 20)),
        ("256Mi", CacheMemory::Bytes(256 << 20)),
        ("1048576", CacheMemory::Bytes(1 << 20)),
    ] {
        assert_eq!(read(text), Ok(expected), "{text}");
    }
    for text in ["", "off", "Auto", "256", "1023KiB", "2000TiB", "-1", "40%"] {
        let message = "must be auto, 0, or a size such as 256MiB, from 1MiB to 1024TiB";
        assert_eq!(read(text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn a_block_is_a_power_of_two_and_a_mistake_names_the_next_ones() {
    let read = |text| block_size::<{ 64 << 10 }, { 16 << 20 }>(Written::Text(text));
    for (text, bytes) in
        [("64KiB", 64 << 10), ("1Mi", 1 << 20), ("2097152", 2 << 20), ("16MiB", 16 << 20)]
    {
        assert_eq!(read(text), Ok(bytes), "{text}");
    }
    for (text, message) in [
        ("3MiB", "must be a power of two, such as 2MiB or 4MiB"),
        ("1MB", "must be a power of two, such as 512KiB or 1MiB"),
        ("65537", "must be a power of two, such as 64KiB or 128KiB"),
        ("16777215", "must be a power of two, such as 8MiB or 16MiB"),
        ("32KiB", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
        ("32MiB", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
        ("0", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
        ("1", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
        ("auto", "must be a size such as 1MiB, a power of two from 64KiB to 16MiB"),
    ] {
        assert_eq!(read(text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn percents_are_whole_and_bare() {
    for (text, number) in [("0", 0), ("25", 25), ("90", 90)] {
        assert_eq!(percent::<90>(Written::Text(text)), Ok(number));
    }
    for text in ["", "91", "25%", "0.25", "-1", "256", "all"] {
        let message = "must be a whole number of percent such as 25, from 0 to 90";
        assert_eq!(percent::<90>(Written::Text(text)), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn the_admin_listener_can_be_off() {
    for text in ["off", ""] {
        assert_eq!(optional_address(Written::Text(text)), Ok(None));
    }
    let yaml: Value = serde_yaml::from_str("off").expect("valid YAML");
    assert_eq!(optional_address(Written::Yaml(&yaml)), Ok(None));
    assert!(optional_address(Written::Text("[::1]:9090")).is_ok_and(|found| found.is_some()));
    assert!(optional_address(Written::Text("localhost:9090")).is_ok_and(|it| it.is_some()));
    for text in ["9090", "localhost", "host:9090", "no"] {
        assert!(optional_address(Written::Text(text)).is_err(), "{text}");
    }
}

#[test]
fn media_types_have_two_halves() {
    for good in ["image/png", "text/html; charset=utf-8"] {
        assert!(media_types(Written::Text(&json_list(&[good]))).is_ok(), "{good}");
    }
    for bad in ["", "png", "image/", "/png", " image/png", "image/\npng"] {
        assert!(media_types(Written::Text(&json_list(&[bad]))).is_err(), "{bad:?}");
    }
    assert!(optional_media_types(Written::Text("")).is_err());
    assert!(optional_media_map(Written::Text("")).is_err());
    assert!(optional_media_map(Written::Text(r#"{"":"a/b"}"#)).is_err());
    assert_eq!(optional_media_type(Written::Text("")), Ok(None));
}
