//! The tiers of the cache, and the rules of each profile: what its patterns say, then the patterns for
//! all, then what the profile says, then what holds for all.

mod blocks;

use std::time::Duration;

use serde_yaml::Value;
use wildmatch::WildMatch;

use crate::config::file::{self, CACHE, PATTERNS};
use crate::config::layers::{Layers, Reported};
use crate::config::problem::{Problem, Source};
use crate::config::settings::cache::{self as settings, rule};
use crate::config::settings::{RULE, Shown};
use crate::config::value::{Written, size_text};
use crate::config::{CacheConfig, CacheMemory, DiskConfig};
use crate::profile::cache_rules::{CacheRules, Rule};

/// What profiles share.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    base: Rule,
    patterns: Vec<Pattern>,
    /// The memory of the cache in bytes, where it is written.
    memory: Option<u64>,
}

/// Why nothing of a profile may be kept. To ask for the opposite in the same profile is a mistake;
/// what is said for all profiles just does not count.
#[derive(Debug, Clone)]
pub(super) struct Forbidden {
    /// The full path of the setting that says so.
    pub(super) key: String,
    /// Goes on after the path.
    pub(super) reason: &'static str,
}

/// What fields are held to.
#[derive(Debug, Clone, Copy)]
struct Limits<'f> {
    memory: Option<u64>,
    forbidden: Option<&'f Forbidden>,
}

/// The fields of a rule that are written in one place.
#[derive(Debug, Clone)]
struct Fields {
    store: Option<bool>,
    ttl: Option<Duration>,
    negative_ttl: Option<Duration>,
    stale_while_revalidate: Option<Duration>,
    stale_if_error: Option<Duration>,
    max_object: Option<u64>,
    client_no_cache: Option<bool>,
}

#[derive(Debug, Clone)]
struct Pattern {
    keys: WildMatch,
    fields: Fields,
}

/// Reads the settings of the cache as a whole.
pub(super) fn tiers(layers: &mut Layers<'_>) -> Result<CacheConfig, Reported> {
    let memory = layers.read(&settings::MEMORY);
    let path = layers.read(&settings::DISK_PATH);
    let size = layers.read(&settings::DISK_SIZE);
    let background_refreshes = layers.read(&settings::BACKGROUND_REFRESHES);
    let blocks = blocks::blocks(layers, memory);
    let (memory, path, size) = (memory?, path?, size?);
    let path_key = settings::DISK_PATH.row.path;
    if path.is_some() && memory == CacheMemory::Bytes(0) {
        let memory_key = settings::MEMORY.row.path;
        layers
            .report
            .warnings
            .push(format!("{path_key} has no effect: {memory_key} is 0, which turns caching off"));
    }
    let size_key = settings::DISK_SIZE.row.path;
    let default = (settings::DISK_SIZE.read)(Written::Text(settings::DISK_SIZE.row.default));
    // To write the default out is no mistake: the shipped example does.
    if path.is_none() && Ok(size) != default {
        layers.report.warnings.push(format!("{size_key} has no effect without {path_key}"));
    }
    Ok(CacheConfig {
        memory,
        disk: path.map(|path| DiskConfig { path, size }),
        background_refreshes: background_refreshes?,
        blocks: blocks?,
    })
}

/// Reads the rules that hold for all profiles; after [`tiers`].
pub(super) fn shared(
    layers: &mut Layers<'_>,
    tiers: Result<&CacheConfig, Reported>,
) -> Result<Shared, Reported> {
    let memory = match tiers.map(|tiers| tiers.memory) {
        Ok(CacheMemory::Bytes(bytes)) if bytes > 0 => Some(bytes),
        _ => None,
    };
    let store = layers.read(&settings::STORE);
    let ttl = layers.read(&settings::TTL);
    let negative_ttl = layers.read(&settings::NEGATIVE_TTL);
    let stale_while_revalidate = layers.read(&settings::STALE_WHILE_REVALIDATE);
    let stale_if_error = layers.read(&settings::STALE_IF_ERROR);
    let max_object = layers.read(&settings::MAX_OBJECT);
    let client_no_cache = layers.read(&settings::CLIENT_NO_CACHE);
    let patterns = patterns(layers, &[], Limits { memory, forbidden: None });

    let key = settings::MAX_OBJECT.row.path;
    if let Ok(max_object) = max_object
        && layers.report.source(key) != Source::Default
    {
        warn_of_large(layers, key, max_object, memory);
    }
    let base = Rule {
        store: store?,
        ttl: ttl?,
        negative_ttl: negative_ttl?,
        stale_while_revalidate: stale_while_revalidate?,
        stale_if_error: stale_if_error?,
        max_object: max_object?,
        client_no_cache: client_no_cache?,
    };
    Ok(Shared { base, patterns: patterns?, memory })
}

/// Reads the rules of the profile written at `prefix`.
pub(super) fn of_profile(
    layers: &mut Layers<'_>,
    prefix: &[&str],
    shared: &Shared,
    forbidden: Option<&Forbidden>,
) -> Result<CacheRules, Reported> {
    let path = [prefix, &[CACHE]].concat();
    let limits = Limits { memory: shared.memory, forbidden };
    let own = Fields::read(layers, &path, Shown::Whole, limits);
    let patterns = patterns(layers, prefix, limits);
    for row in RULE {
        let key = file::written(&[&path[..], &[row.path]].concat());
        if layers.report.source(&key) == Source::Default {
            layers.report.show_same(&key, &format!("{CACHE}.{}", row.path));
        }
    }
    let (own, patterns) = (own?, patterns?);
    let base = own.over(&shared.base);
    let rules = patterns.iter().chain(&shared.patterns);
    let rules = rules.map(|pattern| (pattern.keys.clone(), pattern.fields.over(&base))).collect();
    let mut rules = CacheRules { base, patterns: rules };
    if let Some(forbidden) = forbidden {
        rules.base.store = false;
        for (_, rule) in &mut rules.patterns {
            rule.store = false;
        }
        let store = file::written(&[&path[..], &[rule::STORE.row.path]].concat());
        let source = layers.report.source(&forbidden.key);
        layers.report.show_from(&store, false.to_string(), source);
    }
    Ok(rules)
}

/// The patterns in the `cache` at `prefix`, each with its `match`.
fn patterns(
    layers: &mut Layers<'_>,
    prefix: &[&str],
    limits: Limits<'_>,
) -> Result<Vec<Pattern>, Reported> {
    let count = layers.read_in(prefix, &settings::PATTERNS, None)?;
    let mut patterns = Vec::new();
    for place in 0..count {
        let item = file::item(place);
        let path = [prefix, &[CACHE, PATTERNS, &item]].concat();
        let keys = layers.read_in(&path, &settings::MATCH, None);
        let fields = Fields::read(layers, &path, Shown::Elsewhere, limits);
        let keys = keys.and_then(|keys| keys.ok_or_else(|| without_match(layers, &path)));
        patterns.push((keys, fields));
    }
    patterns
        .into_iter()
        .map(|(keys, fields)| Ok(Pattern { keys: keys?, fields: fields? }))
        .collect()
}

fn without_match(layers: &mut Layers<'_>, path: &[&str]) -> Reported {
    let Some(file) = &layers.file else { return Reported };
    if file.get(path).is_some_and(|item| !matches!(item, Value::Mapping(_))) {
        // Reported with the other shapes that are wrong.
        return Reported;
    }
    let message = format!(
        "needs a {}: the keys it is for, such as \"*/Norder*/*\"",
        settings::MATCH.row.path
    );
    let problem = Problem::new(file.source(path), message).key(file::written(path));
    layers.report.problem(problem)
}

impl Fields {
    fn read(
        layers: &mut Layers<'_>,
        path: &[&str],
        shown: Shown,
        Limits { memory, forbidden }: Limits<'_>,
    ) -> Result<Self, Reported> {
        let mut store = layers.read_in(path, &rule::STORE.shown(shown), None);
        let ttl = layers.read_in(path, &rule::TTL.shown(shown), None);
        let negative_ttl = layers.read_in(path, &rule::NEGATIVE_TTL.shown(shown), None);
        let stale_while_revalidate =
            layers.read_in(path, &rule::STALE_WHILE_REVALIDATE.shown(shown), None);
        let stale_if_error = layers.read_in(path, &rule::STALE_IF_ERROR.shown(shown), None);
        let max_object = layers.read_in(path, &rule::MAX_OBJECT.shown(shown), None);
        let client_no_cache = layers.read_in(path, &rule::CLIENT_NO_CACHE.shown(shown), None);
        if store == Ok(Some(true))
            && let Some(Forbidden { key, reason }) = forbidden
        {
            let path = [path, &[rule::STORE.row.path]].concat();
            let source = layers.file.as_ref().map_or(Source::Default, |file| file.source(&path));
            let message =
                format!("is true, but nothing of this profile can be kept: {key} {reason}");
            let problem = Problem::new(source, message).key(file::written(&path));
            store = Err(layers.report.problem(problem));
        }
        if let Ok(Some(max_object)) = max_object {
            let key = file::written(&[path, &[rule::MAX_OBJECT.row.path]].concat());
            warn_of_large(layers, &key, max_object, memory);
        }
        Ok(Self {
            store: store?,
            ttl: ttl?,
            negative_ttl: negative_ttl?,
            stale_while_revalidate: stale_while_revalidate?,
            stale_if_error: stale_if_error?,
            max_object: max_object?,
            client_no_cache: client_no_cache?,
        })
    }

    /// These fields, and those of `base` that are not among them.
    fn over(&self, base: &Rule) -> Rule {
        Rule {
            store: self.store.unwrap_or(base.store),
            ttl: self.ttl.unwrap_or(base.ttl),
            negative_ttl: self.negative_ttl.unwrap_or(base.negative_ttl),
            stale_while_revalidate: self
                .stale_while_revalidate
                .unwrap_or(base.stale_while_revalidate),
            stale_if_error: self.stale_if_error.unwrap_or(base.stale_if_error),
            max_object: self.max_object.unwrap_or(base.max_object),
            client_no_cache: self.client_no_cache.unwrap_or(base.client_no_cache),
        }
    }
}

/// One object may push out most of the others, or never fit. No mistake: the gateway serves all the
/// same, and a disk may hold what the memory cannot.
fn warn_of_large(layers: &mut Layers<'_>, key: &str, max_object: u64, memory: Option<u64>) {
    if let Some(memory) = memory
        && max_object > memory / 2
    {
        layers.report.warnings.push(format!(
            "{key} is {}, more than half of {}, {}: one object may push out most of the others",
            size_text(max_object),
            settings::MEMORY.row.path,
            size_text(memory),
        ));
    }
}
