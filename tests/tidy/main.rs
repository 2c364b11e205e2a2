//! The invariants of `ARCHITECTURE.md`, as far as reading the sources can check them.

#![expect(clippy::expect_used, reason = "clippy knows test functions as tests, not what they call")]

mod documents;
mod rooms;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest a source file may be, lines.
const MAX_LINES: usize = 500;

/// Files that may read a secret: signing, and building one from configuration.
const MAY_EXPOSE: &[&str] = &[
    "src/s3/secret.rs",
    "src/s3/sign.rs",
    "src/config/headers.rs",
    // The key that values of the shared tier are authenticated with.
    "src/cache/shared/value.rs",
    "src/s3/provider/sts.rs",
    "src/upstream/call.rs",
    "src/upstream/tunnel.rs",
    // Private keys of client certificates.
    "src/certificate.rs",
    "src/certificate/store_tls.rs",
    // The same, while others take their place.
    "src/reload/sources.rs",
    "src/upstream/peer_tls.rs",
];

/// Calls that would end the process, or a request, without an answer.
const ABRUPT: &[&str] = &[".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "dbg!("];

struct Source {
    /// Relative to the repository, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// Whether the whole file is tests.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Numbered lines without comments and without items for tests alone.
    fn product_lines(&self) -> Vec<(usize, &str)> {
        let mut kept = Vec::new();
        let mut lines = (1..).zip(self.text.lines());
        while let Some((number, line)) = lines.next() {
            if line.trim() == "#[cfg(test)]" {
                let indent = line.len() - line.trim_start().len();
                let ends = |line: &str| line.len() == indent + 1 && line.trim() == "}";
                // The item: one line that ends with a semicolon, or up to its closing brace.
                for (nth, (_, line)) in lines.by_ref().enumerate() {
                    if ends(line) || nth == 0 && line.ends_with(';') {
                        break;
                    }
                }
            } else if !line.trim_start().starts_with("//") {
                kept.push((number, line));
            }
        }
        kept
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path == *place || (place.ends_with('/') && self.path.starts_with(place))
        })
    }

    /// Lines of code that hold any of these, as `path:line: text`.
    fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let lines = self.product_lines().into_iter();
        let found = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        found.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim())).collect()
    }
}

fn files(folder: &str, ends: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let paths: Vec<PathBuf> =
            entries.map(|entry| entry.expect("a readable folder").path()).collect();
        for path in paths {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !matches!(name, "target" | ".git") {
                    folders.push(path);
                }
            } else if ends.iter().any(|end| name.ends_with(end)) {
                let relative = path.strip_prefix(root).expect("inside the repository");
                found.push(Source {
                    path: relative.to_string_lossy().replace('\\', "/"),
                    text: fs::read_to_string(&path).expect("a text of UTF-8"),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The sources of the product, test files left out.
fn sources() -> Vec<Source> {
    let mut sources = files("src", &[".rs"]);
    sources.retain(|source| !source.is_test());
    assert!(sources.len() > 20, "the sources were found: {}", sources.len());
    sources
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn the_listed_files_exist() {
    let sources = sources();
    for place in MAY_EXPOSE {
        assert!(sources.iter().any(|source| source.is_in(&[place])), "{place}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for folder in ["src", "tests", "examples", "benches"] {
        for source in files(folder, &[".rs"]) {
            assert!(source.text.starts_with("//! "), "{} starts with //!", source.path);
        }
    }
}

#[test]
fn files_are_small() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines, more than {MAX_LINES}", source.path);
    }
}

#[test]
fn modules_are_files_beside_their_folder() {
    for source in sources() {
        assert!(!source.path.ends_with("/mod.rs"), "{}", source.path);
    }
}

#[test]
fn items_for_tests_alone_are_left_out() {
    let text = "//! a\nfn a() {}\n#[cfg(test)]\nmod tests;\nfn b() {}\n#[cfg(test)]\nmod tests {\n    \
                fn t() {\n    }\n}\nfn c() {}\n";
    let source = Source { path: "src/a.rs".to_owned(), text: text.to_owned() };
    assert_eq!(source.product_lines(), [(2, "fn a() {}"), (5, "fn b() {}"), (11, "fn c() {}")]);
}

#[test]
fn secrets_are_read_in_few_places() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| !s.is_in(MAY_EXPOSE)) {
        found.extend(source.lines_with(&["expose("]));
    }
    assert_none("a secret is read elsewhere", &found);
}

#[test]
fn nothing_ends_abruptly_outside_tests() {
    let mut found = Vec::new();
    for source in sources() {
        found.extend(source.lines_with(ABRUPT));
    }
    assert_none("an abrupt end", &found);
}

/// Folders of the user who runs the tests: this repository and the home folder, unless a file may
/// name them for another reason, as `/build` or `/tmp`.
fn own_folders() -> Vec<String> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let home = std::env::home_dir().unwrap_or_default();
    [(repository, 3), (home, 2)]
        .into_iter()
        .filter(|(folder, parts)| folder.components().count() >= *parts)
        .filter(|(folder, _)| *folder != std::env::temp_dir())
        .map(|(folder, _)| format!("{}/", folder.display()))
        .collect()
}

/// Every file of the repository; without git, those that look like it.
fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    let names = match listed {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout),
        _ => Ok(String::new()),
    };
    let names = names.expect("names of UTF-8");
    let tracked: Vec<Source> = names
        .split('\0')
        // Not those that are deleted and not yet committed so.
        .filter_map(|name| Some((name, fs::read(root.join(name)).ok()?)))
        .map(|(name, bytes)| Source {
            path: name.to_owned(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
        .collect();
    if tracked.is_empty() {
        return files(".", &[".rs", ".md", ".toml", ".yaml", ".ini", ".example", "Dockerfile"]);
    }
    tracked
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let own = own_folders();
    let mut found = Vec::new();
    for source in repository() {
        let lines = (1..).zip(source.text.lines());
        let here = lines.filter(|(_, line)| own.iter().any(|folder| line.contains(folder)));
        found.extend(here.map(|(number, line)| format!("{}:{number}: {line}", source.path)));
    }
    assert_none("a path of one machine", &found);
}

/// The one file at this path.
fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a text of UTF-8")
}
