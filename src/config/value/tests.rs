//! Values as people write them, by tables and at random.

use super::*;

fn list(written: Written<'_>) -> Result<Vec<String>, String> {
    list_of(written, Ok)
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("valid YAML")
}

#[test]
fn times_are_numbers_with_units() {
    for (text, millis) in [
        ("0", 0),
        ("5", 5000),
        ("1.0", 1000),
        ("0.5", 500),
        ("5s", 5000),
        ("250ms", 250),
        ("1m30s", 90_000),
        ("90s", 90_000),
        ("2h", 7_200_000),
        ("1d1h1m1s1ms", 90_061_001),
        ("1.5h", 5_400_000),
    ] {
        let expected = Ok(Duration::from_millis(millis));
        assert_eq!(duration::<0, { u64::MAX }>(Written::Text(text)), expected, "{text}");
        assert_eq!(duration::<0, { u64::MAX }>(Written::Yaml(&yaml(text))), expected, "{text}");
    }
    for text in ["", "-1", "s", "5 s", "5x", "1s1s", "1s1m", "1.s", ".5s", "1e3", "9d9d", "∞"] {
        assert!(duration::<0, { u64::MAX }>(Written::Text(text)).is_err(), "{text}");
    }
}

#[test]
fn a_time_out_of_range_names_the_range() {
    let text = Written::Text("500d");
    let start = "must be a time such as 5s or 1m30s, from ";
    assert_eq!(duration::<1, 60_000>(text), Err(format!("{start}1ms to 1m")));
    assert_eq!(duration::<0, 90_000>(text), Err(format!("{start}0s to 90s")));
    assert_eq!(duration::<1500, 86_400_000>(text), Err(format!("{start}1500ms to 1d")));
}

#[test]
fn seconds_are_whole_and_not_negative() {
    for (text, expected) in [("86400", 86_400), ("1.0", 1), ("1d", 86_400), ("2147483648", 1 << 31)]
    {
        assert_eq!(seconds(Written::Text(text)), Ok(expected), "{text}");
    }
    for text in ["", "\"86400\"", "-1", "1.5", "500ms", "2147483649", "8.64e+04"] {
        assert!(seconds(Written::Text(text)).is_err(), "{text}");
    }
}

#[test]
fn sizes_are_bytes_with_binary_units() {
    for (text, bytes) in [
        ("4096", 4096),
        ("4096B", 4096),
        ("32KiB", 32_768),
        ("32 KiB", 32_768),
        ("1MiB", 1 << 20),
        ("512Mi", 512 << 20),
        ("1Gi", 1 << 30),
        ("2TiB", 2 << 40),
        ("4KB", 4000),
        ("4kB", 4000),
        ("3GB", 3_000_000_000),
        ("512M", 512_000_000),
        ("1k", 1000),
    ] {
        assert_eq!(size::<u64, 0, { 1 << 50 }>(Written::Text(text)), Ok(bytes), "{text}");
        assert_eq!(size::<u64, 0, { 1 << 50 }>(Written::Yaml(&yaml(text))), Ok(bytes), "{text}");
    }
    for text in ["", "KiB", "-1", "1kb", "1m", "1mib", "1.5MiB", "99999999999999GiB"] {
        assert!(size::<u64, 0, { 1 << 40 }>(Written::Text(text)).is_err(), "{text}");
    }
}

#[test]
fn a_size_out_of_range_names_the_range() {
    assert_eq!(
        size::<u64, 4096, { 3 << 29 }>(Written::Text("1")),
        Err("must be a size such as 32KiB, from 4KiB to 1536MiB".to_owned())
    );
    assert_eq!(size_text(0), "0 bytes");
    assert_eq!(size_text(1025), "1025 bytes");
}

#[test]
fn booleans_are_strict_in_yaml_and_generous_in_variables() {
    for (text, expected) in
        [("true", true), ("TRUE", true), ("1", true), ("off", false), ("No", false)]
    {
        assert_eq!(boolean(Written::Text(text)), Ok(expected), "{text}");
    }
    assert_eq!(boolean(Written::Yaml(&yaml("false"))), Ok(false));
    assert!(boolean(Written::Text("")).is_err());
    assert!(boolean(Written::Yaml(&yaml("'true'"))).is_err());
    assert!(boolean(Written::Yaml(&yaml("1"))).is_err());
}

#[test]
fn lists_and_mappings_are_json_in_variables() {
    assert_eq!(list(Written::Text(r#"["a","b"]"#)), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(list(Written::Yaml(&yaml("[a, b]"))), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(list(Written::Text("[]")), Ok(vec![]));
    let pair = Ok(vec![("a".to_owned(), "b".to_owned())]);
    assert_eq!(map(Written::Text(r#"{"a":"b"}"#)), pair);
    assert_eq!(map(Written::Yaml(&yaml("a: b"))), pair);
    for text in ["", " ", "{}", "[1]", "\"a\"", "null", "[a, b]"] {
        assert!(list(Written::Text(text)).is_err(), "{text}");
    }
    for text in ["", "[]", "{\"a\":1}", "a", "null"] {
        assert!(map(Written::Text(text)).is_err(), "{text}");
    }
    assert!(list(Written::Yaml(&yaml("[1]"))).is_err());
    assert!(map(Written::Yaml(&yaml("a: 1"))).is_err());
}

#[test]
fn one_text_stands_for_a_list_of_one() {
    let texts = |texts: &[&str]| Ok(texts.iter().map(|&text| text.to_owned()).collect());
    assert_eq!(list(Written::Yaml(&yaml("'*'"))), texts(&["*"]));
    assert_eq!(list(Written::Yaml(&yaml("a, b"))), texts(&["a, b"]), "not split");
    assert_eq!(list(Written::Text(" a ")), texts(&["a"]));
    assert_eq!(list(Written::Text("a, b")), texts(&["a", "b"]));
    for node in ["''", "1", "true", "{a: b}", "null"] {
        assert!(list(Written::Yaml(&yaml(node))).is_err(), "{node}");
    }
}

#[test]
fn text_in_yaml_is_not_a_number() {
    assert!(text(Written::Yaml(&yaml("1"))).is_err());
    assert_eq!(text(Written::Yaml(&yaml("'1'"))), Ok("1".to_owned()));
}
