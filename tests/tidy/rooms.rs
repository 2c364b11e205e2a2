//! The rooms of `src`, the floors they stand on, and what the pure ones may name.

use super::{Source, assert_none, sources};

/// From the ground up. A file imports its own room and rooms of lower floors, and nothing else.
const FLOORS: &[&[&str]] = &[
    &["protocol", "mime", "survey", "archive", "terminal", "certificate"],
    &["s3", "metrics", "trace"],
    &["profile", "pages"],
    &["config"],
    &["response", "logging"],
    &["upstream", "downstream", "engine"],
    &["cache", "collector"],
    &["reload"],
    &["gateway"],
    &["admin", "check", "warm"],
    &["explain", "server"],
    &["cli"],
];

/// Rooms of values in, values out: no framework, no runtime, no environment, no files, no clock.
const PURE_ROOMS: &[&str] = &[
    "protocol",
    "mime",
    "survey",
    "archive",
    "terminal",
    "certificate",
    "s3",
    "profile",
    "pages",
    "config",
];

/// Files of other rooms that hold to the same. A folder ends with a slash.
const PURE_FILES: &[&str] = &[
    "src/admin/status/document.rs",
    "src/admin/status/page.rs",
    "src/admin/status/ring.rs",
    "src/admin/status/text.rs",
    "src/cache/blocks/layout.rs",
    "src/cache/blocks/streams.rs",
    "src/cache/blocks/version.rs",
    "src/cache/body.rs",
    "src/cache/confirmation.rs",
    "src/cache/disk/breaker.rs",
    "src/cache/disk/index.rs",
    "src/cache/disk/name.rs",
    "src/cache/disk/queue.rs",
    "src/cache/disk/record.rs",
    "src/cache/freshness.rs",
    "src/cache/key.rs",
    "src/cache/shared/purges.rs",
    "src/cache/shared/script.rs",
    "src/engine/breaker.rs",
    "src/collector/otlp.rs",
    "src/check/reply.rs",
    "src/check/survey/judge.rs",
    "src/check/survey/observed.rs",
    "src/check/survey/tiles.rs",
    "src/check/transport.rs",
    "src/check/verdict.rs",
    "src/explain/",
    "src/gateway/pages.rs",
    "src/gateway/pages/",
    "src/gateway/route.rs",
    "src/reload/changes.rs",
    "src/reload/files.rs",
    "src/reload/watched.rs",
    "src/response/error_text.rs",
    "src/response/refusal.rs",
    "src/upstream/answer.rs",
    "src/upstream/deadline.rs",
    "src/upstream/endpoint_breaker.rs",
    "src/upstream/error_document.rs",
    "src/upstream/health.rs",
    "src/upstream/hedging.rs",
    "src/upstream/issuance.rs",
    "src/upstream/pool_trust.rs",
    "src/upstream/rest.rs",
    "src/upstream/retry.rs",
    "src/upstream/turns.rs",
    "src/warm/answer.rs",
    "src/warm/keys.rs",
];

/// What pure code does not name.
const IMPURE: &[&str] = &["pingora", "tokio", "std::env", "std::fs", "::now("];

/// Of the framework pure code may name this: it parses a header, and knows nothing else.
const PURE_OF_PINGORA: &str = "pingora::cache::cache_control::";

/// Files of pure rooms that read files for the others.
const MAY_READ_FILES: &[&str] = &["src/config/load.rs"];

/// The room of a file: the first folder below `src`, or the file that stands beside it. The files
/// that tie the package together belong to none.
fn room(path: &str) -> Option<&str> {
    let first = path.strip_prefix("src/")?.split('/').next()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(room, "lib" | "main")).then_some(room)
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a line of code names: `crate::ROOM`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
}

/// What a file imports from its own floor or above, as `path:line: from -> to`.
fn upward(source: &Source) -> Vec<String> {
    let Some(own) = room(&source.path) else { return Vec::new() };
    let Some(stands_on) = floor(own) else { return vec![format!("{}: no floor", source.path)] };
    let mut found = Vec::new();
    for (number, line) in source.product_lines() {
        for other in named(line).filter(|other| *other != own) {
            if floor(other).is_none_or(|floor| floor >= stands_on) {
                found.push(format!("{}:{number}: {own} -> {other}", source.path));
            }
        }
    }
    found
}

#[test]
fn rooms_import_lower_floors_only() {
    let found: Vec<String> = sources().iter().flat_map(upward).collect();
    assert_none("an import runs up, or within a floor", &found);
}

#[test]
fn an_import_that_runs_up_is_found() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let up = source("src/s3/sign.rs", "//! a\nuse crate::profile::Profile;\n");
    assert_eq!(upward(&up), ["src/s3/sign.rs:2: s3 -> profile"]);
    let beside = source("src/s3/sign.rs", "fn f() -> crate::metrics::Metrics {}\n");
    assert_eq!(upward(&beside).len(), 1);
    let down =
        source("src/gateway/hit.rs", "use crate::cache::Cache;\nuse crate::gateway::Gateway;\n");
    assert!(upward(&down).is_empty());
    let homeless = source("src/odds/ends.rs", "");
    assert_eq!(upward(&homeless), ["src/odds/ends.rs: no floor"]);
}

#[test]
fn every_room_exists_and_every_file_has_one() {
    let sources = sources();
    for room_name in FLOORS.iter().copied().flatten() {
        assert!(sources.iter().any(|s| room(&s.path) == Some(*room_name)), "{room_name} is empty");
    }
    let loose: Vec<String> = sources
        .iter()
        .filter(|source| room(&source.path).is_some_and(|room| floor(room).is_none()))
        .map(|source| source.path.clone())
        .collect();
    assert_none("files without a room", &loose);
}

#[test]
fn the_pure_core_knows_neither_framework_nor_world() {
    let mut found = Vec::new();
    for source in sources() {
        let is_pure = room(&source.path).is_some_and(|room| PURE_ROOMS.contains(&room))
            || source.is_in(PURE_FILES);
        if is_pure && !source.is_in(MAY_READ_FILES) {
            let lines = source.lines_with(IMPURE).into_iter();
            found.extend(lines.filter(|line| !line.contains(PURE_OF_PINGORA)));
        }
    }
    assert_none("pure files name what they must not", &found);
}

#[test]
fn the_pure_files_exist() {
    let sources = sources();
    for place in PURE_FILES.iter().chain(MAY_READ_FILES) {
        assert!(sources.iter().any(|source| source.is_in(&[place])), "{place}");
    }
}

/// The face of the cache: outside of its room only these names are imported from it.
const CACHE_FACE: &[&str] = &[
    "Cache",
    "CacheKey",
    "CacheRequest",
    "Extent",
    "Lookup",
    "LookupResult",
    "Object",
    "ObjectBody",
    "Truncated",
    "BodySlot",
    "PassingObject",
    "MemberRequest",
    "member_tag",
    "KnownMember",
    "OpenedMember",
    "WholeCheck",
    "BlockReader",
    "BlockCounter",
    "BlockError",
    "OpenError",
    "Inspection",
    "StoredBlocks",
    "StoredContent",
    "StoredEntry",
    "StoredState",
    "PurgeScope",
    "Removed",
    "EngineTrial",
    "ReplicaReport",
    "SharedStatus",
    "try_shared",
    "Tier",
];

/// Of the cache's modules, this one is not about its objects: how much memory there is.
const CACHE_MEMORY_LIMIT: &str = "memory::limit::";

/// The layers of the cache from the bottom up. A file imports its own layer and lower ones. All files
/// that are not listed are below: the types of data, the memory tier, the disk tier.
const CACHE_LAYERS: &[&[&str]] = &[
    &["src/cache/tiers.rs", "src/cache/tiers/"],
    &[
        "src/cache/admit.rs",
        "src/cache/blocks/admit.rs",
        "src/cache/blocks/fetches.rs",
        "src/cache/blocks/fill_as_read.rs",
        "src/cache/blocks/range_fetch.rs",
        "src/cache/blocks/reader.rs",
        "src/cache/blocks/reader/",
        "src/cache/blocks/reserve.rs",
        "src/cache/fetch.rs",
        "src/cache/fetch/",
        "src/cache/inspect.rs",
        "src/cache/pinned.rs",
        "src/cache/purge.rs",
        "src/cache/replicas.rs",
        "src/cache/revalidate.rs",
        "src/cache/surveys.rs",
    ],
    &[
        "src/cache.rs",
        "src/cache/members.rs",
        "src/cache/members/",
        "src/cache/service.rs",
        "src/cache/sharing.rs",
    ],
];

/// The names that a `use` of the cache imports from it, each as a path below `crate::cache::`.
fn imports_of_cache(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.product_lines().into_iter().map(|(_, line)| line).collect();
    let text = lines.join(" ");
    let mut found = Vec::new();
    for rest in text.split("crate::cache::").skip(1) {
        match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
            Some((list, _)) => found.extend(list.split(',').map(|name| name.trim().to_owned())),
            None => {
                let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                found.extend(rest.split(|c| !is_path(c)).next().map(str::to_owned));
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn is_of_cache(path: &str) -> bool {
    path == "src/cache.rs" || path.starts_with("src/cache/")
}

#[test]
fn other_rooms_import_the_face_of_the_cache_alone() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !is_of_cache(&source.path)) {
        for name in imports_of_cache(source) {
            let is_face = CACHE_FACE.contains(&name.as_str());
            if !is_face && !name.starts_with(CACHE_MEMORY_LIMIT) {
                found.push(format!("{}: crate::cache::{name}", source.path));
            }
        }
    }
    assert_none("imports behind the face of the cache", &found);
}

#[test]
fn imports_of_the_cache_are_found_in_lists_and_paths() {
    let text = "use crate::cache::{Cache, Lookup};\nfn f(key: &crate::cache::key::CacheKey) {}\n";
    let source = Source { path: "src/a.rs".to_owned(), text: text.to_owned() };
    assert_eq!(imports_of_cache(&source), ["Cache", "Lookup", "key::CacheKey"]);
}

/// The layer of a file of the cache; `None` below the tiers.
fn cache_layer(source: &Source) -> Option<usize> {
    CACHE_LAYERS.iter().position(|places| source.is_in(places))
}

#[test]
fn the_layers_of_the_cache_import_lower_ones_only() {
    let sources = sources();
    let module = |path: &str| {
        let path = path.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
        format!("{}::", path.trim_start_matches("cache::").trim_end_matches("::"))
    };
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| is_of_cache(&source.path)) {
        let own = cache_layer(source);
        for name in imports_of_cache(source) {
            // The longest module whose path begins the name is the one it is imported from.
            let imported = sources
                .iter()
                .filter(|other| is_of_cache(&other.path) && name.starts_with(&module(&other.path)))
                .max_by_key(|other| other.path.len());
            let is_up = imported.is_some_and(|imported| cache_layer(imported) > own);
            let is_of_face = own == CACHE_LAYERS.len().checked_sub(1);
            if is_up || (name == "Cache" && !is_of_face) {
                found.push(format!("{}: crate::cache::{name}", source.path));
            }
        }
    }
    assert_none("imports of a higher layer of the cache", &found);
}

#[test]
fn only_the_tiers_read_a_tier_and_know_the_pending_purges() {
    // A reader that is none of theirs could forget the purges.
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| is_of_cache(&source.path)) {
        let theirs: &[&str] = &["src/cache/tiers.rs", "src/cache/tiers/"];
        let tiers: &[&str] = &[
            "src/cache/memory/",
            "src/cache/disk.rs",
            "src/cache/disk/",
            "src/cache/shared.rs",
            "src/cache/shared/",
        ];
        let names_tier: &[&str] = &["MemoryTier", "DiskTier", "SharedTier"];
        let names_purges: &[&str] = &["PendingPurges"];
        if source.is_in(theirs) {
            continue;
        }
        if !source.is_in(tiers)
            && !source.is_in(&["src/cache/memory.rs", "src/cache/blocks/tier.rs"])
        {
            found.extend(source.lines_with(names_tier));
        }
        if !source.is_in(&["src/cache/purge/"]) {
            found.extend(source.lines_with(names_purges));
        }
    }
    assert_none("a tier or the pending purges are used beside tiers.rs", &found);
}

/// The name of the type that a line defines.
fn defined_type(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let rest =
        ["struct ", "enum ", "trait ", "type "].iter().find_map(|it| line.strip_prefix(it))?;
    let name = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(name)
}

#[test]
fn definitions_of_types_are_found() {
    assert_eq!(defined_type("pub(in crate::cache) struct Entry<'a> {"), Some("Entry"));
    assert_eq!(defined_type("enum Role {"), Some("Role"));
    assert_eq!(defined_type("    let structure = 1;"), None);
}

/// One noun for one thing: a type name that occurs twice makes a reader ask which one is meant.
/// Associated types, such as `CTX`, belong to the traits of others.
#[test]
fn no_type_name_is_used_twice() {
    let mut places = std::collections::BTreeMap::<String, Vec<String>>::new();
    for source in sources() {
        for (number, line) in source.product_lines() {
            if let Some(name) = defined_type(line).filter(|_| !line.starts_with("    type ")) {
                places
                    .entry(name.to_owned())
                    .or_default()
                    .push(format!("{}:{number}", source.path));
            }
        }
    }
    assert!(places.len() > 100, "types were found: {}", places.len());
    let twice = places.iter().filter(|(_, places)| places.len() > 1);
    let twice: Vec<String> = twice.map(|(name, at)| format!("{name}: {}", at.join(", "))).collect();
    assert_none("a type name is used more than once", &twice);
}
