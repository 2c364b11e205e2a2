//! Documents and sources agree: causes and log fields are documented, links and paths exist.

use std::path::Path;

use super::{assert_none, file, files, repository};

/// The lines of a function, from the line that begins so to the brace that closes it.
fn function<'a>(text: &'a str, begins: &str) -> Vec<&'a str> {
    let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with(begins));
    let first = lines.next().unwrap_or_default();
    let indent = first.len() - first.trim_start().len();
    let end = format!("{}}}", " ".repeat(indent));
    lines.take_while(|line| *line != end).collect()
}

/// Those of the names that do not stand in `text` as code.
fn undocumented(names: &[&str], text: &str) -> Vec<String> {
    let missing = names.iter().filter(|name| !text.contains(&format!("`{name}`")));
    missing.map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_cause_is_documented() {
    for (path, at_least) in [("src/response/refusal.rs", 20), ("src/protocol/request_check.rs", 8)]
    {
        let text = file(path);
        let lines = function(&text, "pub fn cause(");
        let causes: Vec<&str> =
            lines.iter().filter_map(|line| line.split("=> \"").nth(1)?.split('"').next()).collect();
        assert!(causes.len() >= at_least, "the causes of {path} were found: {causes:?}");
        for page in ["docs/http.md", "docs/troubleshooting.md"] {
            assert_none(&format!("{page} leaves out"), &undocumented(&causes, &file(page)));
        }
    }
}

/// The book has every page of `docs`, and the README leads to it.
#[test]
fn every_page_is_in_the_book() {
    let summary = file("docs/SUMMARY.md");
    let in_book: Vec<&str> = links(&summary);
    let pages = files("docs", &[".md"]);
    assert!(pages.len() > 20, "the pages were found: {}", pages.len());
    let left_out: Vec<String> = pages
        .iter()
        .map(|page| page.path.trim_start_matches("docs/"))
        .filter(|page| *page != "SUMMARY.md" && !in_book.contains(page))
        .map(str::to_owned)
        .collect();
    assert_none("docs/SUMMARY.md leaves out", &left_out);
    let readme = file("README.md");
    let in_readme: Vec<&str> = links(&readme);
    let unreachable: Vec<String> = in_book
        .iter()
        .filter(|page| !page.contains('/') && !in_readme.contains(&&*format!("docs/{page}")))
        .map(|page| (*page).to_owned())
        .collect();
    assert_none("README.md leads not to", &unreachable);
}

/// The names of the fields that the access log writes.
fn written_fields(text: &str) -> Vec<&str> {
    let calls = ["key", "text", "begin", "millis", "maybe_text", "maybe_number"];
    let calls = calls.map(|call| format!("line.{call}(\""));
    let name = |line: &'_ str| -> Option<usize> {
        calls.iter().find_map(|call| line.starts_with(call.as_str()).then_some(call.len()))
    };
    let lines = text.lines().map(str::trim_start);
    lines.filter_map(|line| line.get(name(line)?..)?.split('"').next()).collect()
}

#[test]
fn every_field_of_the_log_is_documented() {
    let text = file("src/logging/json_line.rs");
    let fields = written_fields(&text);
    assert!(fields.len() > 20, "the fields were found: {fields:?}");
    assert!(
        ["httpRequest", "remoteIp", "duration_ms", "blocks_disk", "upstream_code"]
            .iter()
            .all(|field| fields.contains(field))
    );
    assert_none("docs/logs.md leaves out", &undocumented(&fields, &file("docs/logs.md")));
}

/// Targets of `[text](target)` outside of code.
fn links(markdown: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in markdown.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code {
            found.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
        }
    }
    found
}

/// The anchors of a page's headings, as GitHub makes them: lower case, without punctuation, hyphens for
/// spaces, and a number for a repetition.
fn anchors(markdown: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut in_code = false;
    for line in markdown.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let text = line.trim_start_matches('#');
        let level = line.len() - text.len();
        if in_code || !(1..=6).contains(&level) || !text.starts_with(' ') {
            continue;
        }
        let kept = text.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let before = |anchor: &str| found.iter().filter(|known| *known == anchor).count();
        let anchor = match before(&anchor) {
            0 => anchor,
            _ => (1..).map(|n| format!("{anchor}-{n}")).find(|it| before(it) == 0).expect("one"),
        };
        found.push(anchor);
    }
    found
}

#[test]
fn anchors_are_those_of_github() {
    let page = "# One `two`, three-four\n```\n# no\n```\n## A_b (c)\n## A_b (c)\n#tag\n";
    assert_eq!(anchors(page), ["one-two-three-four", "a_b-c", "a_b-c-1"]);
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut checked, mut dead) = (0, Vec::new());
    for page in files(".", &[".md"]) {
        let folder = root.join(&page.path).parent().expect("a file is in a folder").to_owned();
        for link in links(&page.text) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") {
                continue;
            }
            checked += 1;
            let path = folder.join(target);
            let text = match target {
                "" => Some(page.text.clone()),
                _ if target.ends_with(".md") => std::fs::read_to_string(&path).ok(),
                _ => None,
            };
            let leads = (target.is_empty() || path.exists())
                && (anchor.is_empty()
                    || text.is_none_or(|text| anchors(&text).iter().any(|known| known == anchor)));
            if !leads {
                dead.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(checked > 100, "links were found: {checked}");
    assert_none("dead links", &dead);
}

/// Paths of Rust files in `text`, such as `src/cache/tiers.rs` or `gateway/hit.rs`.
fn rust_paths(text: &str) -> Vec<&str> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
    let words = text.split(|c: char| !is_path(c)).map(|word| word.trim_end_matches('.'));
    words.filter(|word| word.ends_with(".rs") && word.contains('/')).collect()
}

#[test]
fn rust_paths_are_found_in_prose() {
    let text = "See `src/a.rs`, b/c_d.rs: (tests/e2e/x.rs). A plain y.rs is none.";
    assert_eq!(rust_paths(text), ["src/a.rs", "b/c_d.rs", "tests/e2e/x.rs"]);
}

/// A path may be written from the repository, `src`, `tests`, or the folder of its file.
#[test]
fn named_rust_files_exist() {
    let (mut checked, mut missing) = (0, Vec::new());
    for source in repository() {
        let (folder, _) = source.path.rsplit_once('/').unwrap_or_default();
        let is_rust = source.path.ends_with(".rs");
        if !is_rust && !source.path.ends_with(".md") {
            continue;
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            // Code names files in other ways, tests of this very function among them.
            if is_rust && !line.trim_start().starts_with("//") {
                continue;
            }
            for path in rust_paths(line).into_iter().filter(|path| !path.contains("..")) {
                checked += 1;
                let root = Path::new(env!("CARGO_MANIFEST_DIR"));
                let places = ["", "src", "tests", folder].map(|place| root.join(place));
                if !places.iter().any(|place| place.join(path).exists()) {
                    missing.push(format!("{}:{number}: {path}", source.path));
                }
            }
        }
    }
    assert!(checked > 20, "paths were found: {checked}");
    assert_none("files that do not exist are named", &missing);
}
