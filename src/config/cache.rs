//! The tiers of the cache, and the rules of each profile. The first match applies: patterns of the
//! profile, patterns for all profiles, the profile, all profiles.

mod blocks;
pub(super) mod shared;

use serde_yaml::Value;
use wildmatch::WildMatch;

use crate::config::layers::{Layers, Location, Reported};
use crate::config::load::Inputs;
use crate::config::problem::{Problem, ValueSource};
use crate::config::settings::cache::{
    RuleOverrides, WrittenDisk, WrittenPatterns, WrittenPins, WrittenRule, WrittenTiers, pattern,
    pins, rule, tiers,
};
use crate::config::settings::paths::{self, CACHE, PATTERNS};
use crate::config::value::size_text;
use crate::config::{CacheConfig, CacheMemory, DiskConfig};
use crate::profile::cache_rules::{CacheRules, Rule, SURVEY_PINS};
use crate::profile::globs::Globs;

/// The rules for all profiles.
#[derive(Debug, Clone)]
pub(super) struct SharedRules {
    base: WrittenRule,
    patterns: Vec<Pattern>,
    /// The globs of `patterns`: profiles without patterns of their own share them.
    globs: Globs,
    /// The keys that are pinned; `None`: by the profile.
    pins: Option<Globs>,
    /// The memory of the cache in bytes, if it is written.
    memory: Option<u64>,
}

/// Why a profile is not cached. `store: true` in the same profile is a mistake; in the rules for all
/// profiles it has no effect on this one.
#[derive(Debug, Clone)]
pub(super) struct Forbidden {
    /// The full path of the setting that forbids it.
    pub(super) key: String,
    /// The rest of a sentence that starts with the path.
    pub(super) reason: &'static str,
}

/// What fields are checked against.
#[derive(Debug, Clone, Copy)]
struct RuleLimits<'f> {
    memory: Option<u64>,
    forbidden: Option<&'f Forbidden>,
}

#[derive(Debug, Clone)]
struct Pattern {
    keys: WildMatch,
    rule: RuleOverrides,
}

impl From<WrittenRule> for Rule {
    fn from(written: WrittenRule) -> Self {
        Self {
            store: written.store,
            ttl: written.ttl,
            negative_ttl: written.negative_ttl,
            stale_while_revalidate: written.stale_while_revalidate,
            stale_if_error: written.stale_if_error,
            max_object: written.max_object,
            client_no_cache: written.client_no_cache,
        }
    }
}

/// Reads the settings of the cache as a whole.
pub(super) fn tiers(layers: &mut Layers<'_>, inputs: &Inputs<'_>) -> Result<CacheConfig, Reported> {
    let file = Location::default();
    let WrittenTiers {
        memory,
        archive_directories,
        background_refreshes,
        revalidate_timeout,
        pin_share,
    } = WrittenTiers::read(layers, &file)?;
    let WrittenDisk { path, size } = WrittenDisk::read(layers, &file)?;
    let blocks = blocks::blocks(layers, memory)?;
    let disk = path.map(|path| DiskConfig { path, size });
    let shared = shared::shared(layers, inputs)?;
    Ok(CacheConfig {
        memory,
        disk,
        shared,
        archive_directories,
        background_refreshes,
        revalidate_timeout,
        pin_share,
        blocks,
    })
}

/// Reads the rules for all profiles.
pub(super) fn shared(
    layers: &mut Layers<'_>,
    tiers: &CacheConfig,
) -> Result<SharedRules, Reported> {
    let memory = match tiers.memory {
        CacheMemory::Bytes(bytes) if bytes > 0 => Some(bytes),
        _ => None,
    };
    let base = WrittenRule::read(layers, &Location::default())?;
    let pins = WrittenPins::read(layers, &Location::default())?.pin;
    let patterns = patterns(layers, &[], RuleLimits { memory, forbidden: None })?;
    let key = rule::max_object().row.path;
    if layers.report.source(key) != ValueSource::Default {
        warn_of_large(layers, key, base.max_object, memory);
    }
    let globs = patterns.iter().map(|pattern| pattern.keys.clone()).collect();
    Ok(SharedRules { base, patterns, globs, pins, memory })
}

/// Reads the rules of the profile written at `prefix`, which has surveys if it is `of_surveys`.
pub(super) fn of_profile(
    layers: &mut Layers<'_>,
    prefix: &[&str],
    shared: &SharedRules,
    of_surveys: bool,
    forbidden: Option<&Forbidden>,
) -> Result<CacheRules, Reported> {
    let path = [prefix, &[CACHE]].concat();
    let limits = RuleLimits { memory: shared.memory, forbidden };
    let own = overrides(layers, &Location { prefix: &path, ..Location::default() }, limits);
    let pins = pins_of(layers, prefix, shared, of_surveys)?;
    let patterns = patterns(layers, prefix, limits)?;
    for row in rule::ROWS {
        let key = paths::written(&[&path[..], &[row.key]].concat());
        if layers.report.source(&key) == ValueSource::Default {
            layers.report.show_same(&key, row.path);
        }
    }
    let base = own.over(&shared.base);
    let all = || patterns.iter().chain(&shared.patterns);
    let globs = if patterns.is_empty() {
        shared.globs.clone()
    } else {
        all().map(|pattern| pattern.keys.clone()).collect()
    };
    let made = |written: WrittenRule| {
        let rule = Rule::from(written);
        Rule { store: rule.store && forbidden.is_none(), ..rule }
    };
    let by_pattern = all().map(|pattern| made(pattern.rule.clone().over(&base))).collect();
    let rules = CacheRules::new(made(base), globs, by_pattern).with_pins(pins);
    if let Some(forbidden) = forbidden {
        let store = paths::written(&[&path[..], &[rule::store().row.key]].concat());
        let source = layers.report.source(&forbidden.key);
        layers.report.show_from(&store, false.to_string(), source);
    }
    Ok(rules)
}

/// The keys that the profile written at `prefix` pins.
fn pins_of(
    layers: &mut Layers<'_>,
    prefix: &[&str],
    shared: &SharedRules,
    of_surveys: bool,
) -> Result<Globs, Reported> {
    let own = WrittenPins::read(layers, &Location { prefix, ..Location::default() })?.pin;
    let by_default = || {
        let globs = SURVEY_PINS.iter().filter(|_| of_surveys);
        globs.map(|glob| WildMatch::new(glob)).collect()
    };
    let is_written = own.is_some();
    let globs: Globs = own.or_else(|| shared.pins.clone()).unwrap_or_else(by_default);
    if !is_written {
        let list: Vec<String> = globs.iter().map(ToString::to_string).collect();
        let key = paths::written(&[prefix, &[CACHE, pins::pin().row.key]].concat());
        layers.report.show(&key, serde_json::to_string(&list).unwrap_or_default());
    }
    Ok(globs)
}

/// The patterns in the `cache` at `prefix`, each with its `match`.
fn patterns(
    layers: &mut Layers<'_>,
    prefix: &[&str],
    limits: RuleLimits<'_>,
) -> Result<Vec<Pattern>, Reported> {
    let in_profile = Location { prefix, ..Location::default() };
    let WrittenPatterns { patterns: count } = WrittenPatterns::read(layers, &in_profile)?;
    let mut patterns = Vec::new();
    for place in 0..count {
        let item = paths::item(place);
        let path = [prefix, &[CACHE, PATTERNS, &item]].concat();
        let place = Location { prefix: &path, is_shown_elsewhere: true, ..Location::default() };
        let keys = layers.read(&place, &pattern::MATCH)?;
        let rule = overrides(layers, &place, limits);
        match keys {
            Some(keys) => patterns.push(Pattern { keys, rule }),
            None => report_no_match(layers, &path),
        }
    }
    Ok(patterns)
}

fn report_no_match(layers: &mut Layers<'_>, path: &[&str]) {
    let Some(file) = &layers.file else { return };
    let key = pattern::MATCH.row.key;
    // Both are reported already.
    let is_mapping = file.get(path).is_none_or(Value::is_mapping);
    if !is_mapping || layers.report.is_unread(&paths::written(&[path, &[key]].concat())) {
        return;
    }
    let message = format!("needs a {key}: the object keys it applies to, such as \"*/Norder*/*\"");
    let problem = Problem::new(file.source(path), message).key(paths::written(path));
    layers.report.problem(problem);
}

/// Reads the fields of a rule that a profile or a pattern overrides.
fn overrides(
    layers: &mut Layers<'_>,
    place: &Location<'_>,
    RuleLimits { memory, forbidden }: RuleLimits<'_>,
) -> RuleOverrides {
    let fields = RuleOverrides::read(layers, place);
    if let (Some(true), Some(Forbidden { key, reason })) = (fields.store, forbidden) {
        let path = [place.prefix, &[rule::store().row.key]].concat();
        let source = layers.file.as_ref().map_or(ValueSource::Default, |file| file.source(&path));
        let message = format!("is true, but this profile cannot be cached: {key} {reason}");
        let problem = Problem::new(source, message).key(paths::written(&path));
        layers.report.problem(problem);
    }
    if let Some(max_object) = fields.max_object {
        let key = paths::written(&[place.prefix, &[rule::max_object().row.key]].concat());
        warn_of_large(layers, &key, max_object, memory);
    }
    fields
}

/// One object may evict most of the others, or never fit. A warning only: responses are right, and the
/// disk tier may have room for the object.
fn warn_of_large(layers: &mut Layers<'_>, key: &str, max_object: u64, memory: Option<u64>) {
    if let Some(memory) = memory
        && max_object > memory / 2
    {
        layers.report.warnings.push(format!(
            "{key} is {}, more than half of {}, {}: one object may evict most of the others",
            size_text(max_object),
            tiers::memory().row.path,
            size_text(memory),
        ));
    }
}
