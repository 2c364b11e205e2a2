//! `conf/s3proxy.yaml`, the tables of `docs/configuration.md` and `conf/s3proxy.schema.json` are
//! generated from the settings. To write them anew:
//!
//!     S3PROXY_REGENERATE=1 cargo test --lib config::settings

use std::fs;
use std::path::Path;

use super::*;
use crate::config::schema::schema;
use crate::config::settings::variable::{
    AWS_ENDPOINT, DEFAULT_ENDPOINT, DEFAULT_SECTION, PROFILE_ENDPOINT,
};

/// Compares a committed file with its generated text, or writes it.
#[track_caller]
pub(super) fn hold(path: &str, generate: impl Fn(&str) -> String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let committed = fs::read_to_string(&file).unwrap_or_default();
    let generated = generate(&committed);
    if std::env::var_os("S3PROXY_REGENERATE").is_some() {
        fs::write(&file, &generated).expect("a writable file");
        return;
    }
    let lines = committed.lines().zip(generated.lines());
    let different = lines.into_iter().find(|(old, new)| old != new);
    assert!(
        committed == generated,
        "{path} is not what the settings generate; first difference: {different:?}\n\
         Regenerate it: S3PROXY_REGENERATE=1 cargo test --lib config::settings"
    );
}

#[test]
fn the_schema_is_generated() {
    hold("conf/s3proxy.schema.json", |_| schema());
}

#[test]
fn the_full_example_is_generated() {
    hold("conf/s3proxy.yaml", |_| full_example());
}

#[test]
fn the_tables_of_the_documentation_are_generated() {
    hold("docs/configuration.md", |page| {
        let mut tables: Vec<(&str, String)> = Vec::new();
        for row in global() {
            let name = row.path.split_once('.').map_or("gateway", |(mapping, _)| mapping);
            match tables.last_mut().filter(|(last, _)| *last == name) {
                Some((_, table)) => *table += &global_line(row),
                None => tables.push((name, format!("{GLOBAL_HEAD}{}", global_line(row)))),
            }
        }
        let others = [
            ("profile", profile_table(of_profile())),
            ("pattern", profile_table(PATTERN.iter())),
            ("rule", rule_table()),
        ];
        tables.into_iter().chain(others).fold(page.to_owned(), |page, (name, table)| {
            let marker = format!("<!-- settings: {name} -->\n");
            let (before, rest) =
                page.split_once(&marker).unwrap_or_else(|| panic!("{marker} in the page"));
            let (_, after) = rest.split_once("<!-- end -->").expect("the end of the table");
            format!("{before}{marker}\n{table}\n<!-- end -->{after}")
        })
    });
}

const GLOBAL_HEAD: &str = "| key | variable | default | values | change | meaning |\n\
                           | --- | --- | --- | --- | --- | --- |\n";

fn global_line(row: &Row) -> String {
    let Row { path, variable, default, text, reload, .. } = row;
    let variable = if variable.is_empty() { String::new() } else { format!("`{variable}`") };
    let change = if *reload { "reload" } else { "restart" };
    let values = row.accepts.text();
    format!("| `{path}` | {variable} | `{default}` | {values} | {change} | {text} |\n")
}

fn profile_table(rows: impl Iterator<Item = &'static Row>) -> String {
    let mut table = "| key | default | values | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for row in rows {
        let Row { path, default, text, .. } = row;
        table += &format!("| `{path}` | `{default}` | {} | {text} |\n", row.accepts.text());
    }
    table
}

fn rule_table() -> String {
    let mut table = "| key | values | overrides |\n| --- | --- | --- |\n".to_owned();
    for row in cache::rule::ROWS {
        table += &format!("| `{}` | {} | `{}` |\n", row.key, row.accepts.text(), row.path);
    }
    table
}

/// The YAML file with every setting, its default, and a profile as an example.
fn full_example() -> String {
    let mut example = Example::new(
        "# yaml-language-server: $schema=s3proxy.schema.json\n#\n\
         # Every setting with its default. `null` is no value, or one that is found at start.\n#\n\
         # The environment variable named above a setting overrides this file, and an option of the \
         command line\n# overrides both. Times are written 500ms, 5s, 1m30s, 2h or 1d, a bare number \
         is seconds. Sizes are written\n# 32KiB, 16MiB or 1GiB, a bare number is bytes. `s3proxy \
         config --config conf/s3proxy.yaml` prints the\n# effective configuration. \
         docs/configuration.md explains the settings.\n#\n\
         # This file is generated: S3PROXY_REGENERATE=1 cargo test --lib config::settings\n\n",
    );
    for row in global().filter(|row| row.path != "cache.patterns") {
        example.setting(row.path, row, row.default);
    }
    example.note("cache.patterns", "Rules for object keys; see the profile below.");
    example.value("cache.patterns", "[]");
    let variables = |path: &str| match path {
        "endpoint" => format!("{DEFAULT_ENDPOINT}, or else {AWS_ENDPOINT}"),
        _ => DEFAULT_SECTION.to_owned(),
    };
    for path in ["endpoint", "credentials.section"] {
        let full = format!("{DEFAULT_PROFILE}.{path}");
        example.note(&full, &format!("Variable: {}", variables(path)));
        example.value(&full, "null");
    }
    let hips = format!("{PROFILES}.hips");
    for row in of_profile().filter(|row| row.path != "cache.patterns") {
        let default = if row.path == "endpoint" { "https://s3.example.org" } else { row.default };
        example.setting(&format!("{hips}.{}", row.path), row, default);
        if row.path == "endpoint" {
            example.note_last(&format!("Variable: {PROFILE_ENDPOINT}hips"));
        }
    }
    example
        .note(&format!("{hips}.cache.store"), "These settings are allowed in a pattern as well.");
    for row in cache::rule::ROWS {
        example.value(&format!("{hips}.cache.{}", row.key), "null");
    }
    let patterns = format!("{hips}.cache.patterns");
    example.note(&patterns, cache::patterns::ROWS[0].text);
    example.note(&patterns, "Quote a pattern that starts with `*`: YAML reads it as an alias.");
    example.value(&patterns, "");
    example.text += "        # Tiles of a finished survey never change.\n        - match: \"*/Norder*/*\"\n          \
                     ttl: 1d\n          negative_ttl: 1h\n        # The description of the survey does.\n        \
                     - match: \"*/properties\"\n          ttl: 30s\n";
    example.text
}

/// A YAML text, written from top to bottom.
struct Example {
    text: String,
    /// The mappings around the last key.
    around: Vec<String>,
}

impl Example {
    /// Columns of a comment.
    const WIDTH: usize = 110;

    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), around: Vec::new() }
    }

    /// A key with its text, values and variable.
    fn setting(&mut self, path: &str, row: &Row, default: &str) {
        self.note(path, row.text);
        self.note(path, &format!("Values: {}", row.accepts.text()));
        if !row.variable.is_empty() {
            self.note(path, &format!("Variable: {}", row.variable));
        }
        self.value(path, default);
    }

    /// Opens the mappings around a key, and closes others.
    fn enter(&mut self, path: &str) -> String {
        let mut parts: Vec<&str> = path.split('.').collect();
        let key = parts.pop().expect("a key").to_owned();
        let same = parts.iter().zip(&self.around).take_while(|(a, b)| *a == *b).count();
        self.around.truncate(same);
        for part in parts.into_iter().skip(same) {
            let full = self.around.iter().map(String::as_str).chain([part]).collect::<Vec<_>>();
            let full = full.join(".");
            let in_profile = full
                .strip_prefix("profiles.hips.")
                .or_else(|| full.strip_prefix("default_profile."))
                .map(|rest| format!("profile.{rest}"));
            let wanted = in_profile.as_deref().unwrap_or(&full);
            let about = MAPPINGS.iter().find(|(of, _)| *of == wanted);
            if self.around.is_empty() {
                self.text.push('\n');
            }
            if let Some((_, about)) = about {
                self.comment(about);
            }
            self.text += &format!("{}{part}:\n", self.indent());
            self.around.push(part.to_owned());
        }
        key
    }

    fn indent(&self) -> String {
        "  ".repeat(self.around.len())
    }

    /// A comment above the key at `path`.
    fn note(&mut self, path: &str, text: &str) {
        self.enter(path);
        let last = self.text.lines().last().unwrap_or_default().trim_start();
        if self.around.is_empty() && !last.starts_with('#') || last.is_empty() {
            self.text.push('\n');
        }
        self.comment(text);
    }

    fn comment(&mut self, text: &str) {
        let indent = self.indent();
        let mut line = format!("{indent}#");
        for word in text.split_whitespace() {
            if line.len() + word.len() >= Self::WIDTH {
                self.text += &format!("{line}\n");
                line = format!("{indent}#");
            }
            line += &format!(" {word}");
        }
        self.text += &format!("{line}\n");
    }

    /// A comment above the key that was written last.
    fn note_last(&mut self, text: &str) {
        let last = self.text.trim_end().rfind('\n').map_or(0, |at| at + 1);
        let key = self.text.split_off(last);
        self.comment(text);
        self.text += &key;
    }

    fn value(&mut self, path: &str, value: &str) {
        let key = self.enter(path);
        self.text += format!("{}{key}: {value}", self.indent()).trim_end();
        self.text.push('\n');
    }
}
