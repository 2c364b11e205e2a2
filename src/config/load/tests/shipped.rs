//! The files in `conf/` and the tables of `docs/configuration.md` agree with the table of settings.

use super::*;
use crate::config::settings::{PATTERN, cache, global, of_profile, variable};

const FULL: &str = include_str!("../../../../conf/s3proxy.yaml");
const MINIMAL: &str = include_str!("../../../../conf/minimal.yaml");
const EXAMPLE_INI: &str = include_str!("../../../../conf/aws-credentials.ini.example");
const DOCUMENTATION: &str = include_str!("../../../../docs/configuration.md");

#[test]
fn the_shipped_files_load() {
    for (name, text) in [("s3proxy.yaml", FULL), ("minimal.yaml", MINIMAL)] {
        for ini in ["", EXAMPLE_INI] {
            let loaded = Case { yaml: text, ini, ..Case::default() }.good();
            assert_eq!(named(&loaded, "hips").endpoint.to_string(), "https://s3.example.org");
            let odd = loaded.warnings.iter().find(|warning| warning.contains("cache."));
            assert_eq!(odd, None, "{name}");
            if ini.is_empty() {
                continue;
            }
            assert_eq!(keys(named(&loaded, "hips")).0, "PLACEHOLDER-HIPS-KEY-ID", "{name}");
            assert_eq!(loaded.orphan_sections, ["embargo"], "{name}");
        }
    }
}

#[test]
fn the_shipped_full_example_says_the_defaults() {
    let defaults = env(&[]).good().settings;
    let full = yaml(FULL).good();
    for expected in defaults {
        let found = setting(&full, &expected.key);
        assert_eq!(found.value, expected.value, "{}", expected.key);
    }
}

/// The paths of every mapping of a YAML text whose keys are settings.
fn mappings(node: &serde_yaml::Value, path: &[String], found: &mut Vec<Vec<String>>) {
    let Some(mapping) = node.as_mapping() else { return };
    if path.last().is_some_and(|last| ["upstream_headers", "aliases"].contains(&last.as_str())) {
        return;
    }
    found.push(path.to_vec());
    for (key, value) in mapping {
        let mut below = path.to_vec();
        below.push(key.as_str().expect("keys are text").to_owned());
        mappings(value, &below, found);
    }
}

#[test]
fn a_stray_key_in_any_mapping_of_the_full_example_is_reported_by_path_and_line() {
    let root: serde_yaml::Value = serde_yaml::from_str(FULL).expect("valid YAML");
    let mut found = Vec::new();
    mappings(&root, &[], &mut found);
    assert!(found.len() >= 10, "{found:?}");
    for path in found {
        // Below the key of the mapping, two columns further in.
        let opening = crate::config::positions::Positions::of(FULL).find(&path);
        let at = if path.is_empty() { 0 } else { opening };
        let mut lines: Vec<String> = FULL.lines().map(str::to_owned).collect();
        lines.insert(at, format!("{}stray: 1", "  ".repeat(path.len())));
        let problems = yaml(&lines.join("\n")).bad();
        let key = path.iter().map(String::as_str).chain(["stray"]).collect::<Vec<_>>().join(".");
        let start = format!("c.yaml:{}: {key}: ", at + 1);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with(&start), "{start} in {problems:?}");
    }
}

#[test]
fn every_setting_is_in_the_documentation_and_in_the_full_example() {
    let root: serde_yaml::Value = serde_yaml::from_str(FULL).expect("valid YAML");
    let has = |path: &str| path.split('.').try_fold(&root, |node, key| node.get(key)).is_some();
    for row in global() {
        assert!(has(row.path), "conf/s3proxy.yaml lacks {}", row.path);
    }
    for row in of_profile() {
        assert!(
            has(&format!("profiles.hips.{}", row.path)),
            "conf/s3proxy.yaml lacks {}",
            row.path
        );
    }
    let hips = root.get("profiles").and_then(|profiles| profiles.get("hips"));
    let rules = hips.and_then(|hips| hips.get("cache")).expect("the cache's rules of a profile");
    for row in cache::rule::ROWS {
        assert!(rules.get(row.key).is_some(), "conf/s3proxy.yaml lacks {}", row.key);
    }
    let pattern = rules.get("patterns").and_then(|patterns| patterns.get(0)).expect("a pattern");
    for row in PATTERN {
        assert!(pattern.get(row.path).is_some(), "conf/s3proxy.yaml lacks {}", row.path);
    }
    for row in global().chain(of_profile()).chain(PATTERN).chain(cache::rule::ROWS) {
        let start = format!("| `{}` |", row.path);
        let line = DOCUMENTATION.lines().find(|line| line.starts_with(&start));
        let line = line.or_else(|| {
            let start = format!("| `{}` |", row.key);
            DOCUMENTATION.lines().find(|line| line.starts_with(&start))
        });
        assert!(line.is_some(), "docs/configuration.md lacks {}", row.path);
    }
    for name in variable::FURTHER {
        assert!(DOCUMENTATION.contains(&format!("`{name}")), "docs/configuration.md lacks {name}");
    }
    for row in global().filter(|row| !row.variable.is_empty()) {
        assert!(FULL.contains(row.variable), "conf/s3proxy.yaml lacks {}", row.variable);
    }
}

#[test]
fn every_setting_of_the_table_is_read() {
    let loaded = env(&[]).good();
    for row in global() {
        setting(&loaded, row.path);
    }
    for row in of_profile().filter(|row| !row.path.starts_with("credentials.")) {
        setting(&loaded, &format!("default_profile.{}", row.path));
    }
    setting(&loaded, "default_profile.credentials");
    for row in cache::rule::ROWS {
        setting(&loaded, &format!("default_profile.cache.{}", row.key));
    }
}

/// The fenced blocks of the documentation in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    DOCUMENTATION
        .split(&opening)
        .skip(1)
        .map(|rest| rest.split("```").next().expect("the text before the closing fence"))
        .collect()
}

#[test]
fn the_examples_in_the_documentation_load() {
    let ini = "[embargo-readonly]\naws_access_key_id = a\naws_secret_access_key = b\n";
    let examples = blocks("yaml");
    assert!(examples.len() >= 4);
    for yaml in examples {
        let loaded = Case { yaml, ini, ..Case::default() }.load();
        assert!(loaded.is_ok(), "{yaml}\n{loaded:?}");
    }
    for line in blocks("sh").concat().lines() {
        let (name, value) = line.split_once('=').expect("NAME='value'");
        assert!(env(&[(name, value.trim_matches('\''))]).load().is_ok(), "{line}");
    }
    assert!(Case { ini: blocks("ini")[0], ..Case::default() }.load().is_ok());
}

#[test]
fn the_mistakes_in_the_documentation_are_reported_in_these_words() {
    let case = Case {
        yaml: "upstream:\n  retries: 3\n  conect_timeout: 1s\n",
        ..env(&[("S3PROXY_LOG_LEVEL", "trace"), ("AWS_ACCESS_KEY_ID", "AK")])
    };
    let reported = case.bad().join("\n").replace("c.yaml", "conf/s3proxy.yaml");
    assert_eq!(blocks("text")[0].trim_end(), reported);
}

#[test]
fn a_damaged_file_never_makes_the_loader_panic() {
    use proptest::prelude::*;
    let damage = (0..FULL.len(), "[ \n:{}\\[\\]'\"#&*!|>%@é-]{0,4}", 0..12usize);
    proptest!(|((at, insert, cut) in damage)| {
        let mut text: String = FULL.chars().take(at).collect();
        text.push_str(&insert);
        text.extend(FULL.chars().skip(at + cut));
        let _ = yaml(&text).load();
        let ini: String = EXAMPLE_INI.chars().take(at).chain(insert.chars()).collect();
        let _ = Case { ini: &ini, ..Case::default() }.load();
    });
}
