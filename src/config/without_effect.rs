//! Settings that have an effect only together with another one. Each that is written where it has none gives a
//! warning: its author believes that it does something.

use std::collections::BTreeSet;

use crate::config::layers::Layers;
use crate::config::problem::ValueSource;
use crate::config::settings::cache::{disk, patterns, pins, rule, shared, tiers};
use crate::config::settings::connections::downstream;
use crate::config::settings::gateway::{aliases, cors, gateway};
use crate::config::settings::paths;
use crate::config::settings::process::admin;
use crate::config::settings::profile::store;
use crate::config::settings::row::Row;
use crate::config::settings::tls::{admin_tls, tls};
use crate::config::settings::tracing::tracing;
use crate::config::value::Written;
use crate::config::{CacheMemory, Config};
use crate::profile::cache_rules::Rule;
use crate::profile::{Profile, WhichFolders};

/// What settings have no effect without.
enum Lacking {
    /// Another setting: of the same profile, if they are of a profile.
    Setting(Row),
    /// The same, with more than one item.
    Several(Row),
    /// A setting of the whole gateway is 0, which has this consequence.
    Zero(Row, &'static str),
    /// Something else.
    Other(&'static str),
}

/// Settings, and what they need.
struct Dependence<F: 'static> {
    /// All of these but the one that they need.
    settings: &'static [&'static [Row]],
    need: Lacking,
    has_effect: F,
}

/// Whether settings of the whole gateway have an effect.
type OfGateway = fn(&Config) -> bool;
/// The same of settings of a profile.
type OfProfile = fn(&Config, &Profile) -> bool;

/// The settings of the whole gateway. Of several that apply to a setting, the first is told.
static GLOBAL: &[Dependence<OfGateway>] = &[
    Dependence {
        settings: &[tls::ROWS],
        need: Lacking::Setting(tls::listen().row),
        has_effect: |config| config.tls.is_some(),
    },
    Dependence {
        settings: &[&[tls::public_port().row]],
        need: Lacking::Setting(tls::redirect_to_https().row),
        has_effect: |config| config.tls.as_ref().is_some_and(|tls| tls.redirect_port.is_some()),
    },
    Dependence {
        settings: &[&[tls::hsts_include_subdomains().row]],
        need: Lacking::Setting(tls::hsts_max_age().row),
        has_effect: |config| config.tls.as_ref().is_some_and(|tls| tls.hsts.is_some()),
    },
    Dependence {
        settings: &[admin::ROWS, admin_tls::ROWS],
        need: Lacking::Setting(admin::listen().row),
        has_effect: |config| config.admin_listen.is_some(),
    },
    Dependence {
        settings: &[tracing::ROWS],
        need: Lacking::Setting(tracing::endpoint().row),
        has_effect: |config| config.tracing.is_some(),
    },
    Dependence {
        settings: &[cors::ROWS],
        need: Lacking::Setting(cors::origins().row),
        has_effect: |config| config.cors.is_some(),
    },
    Dependence {
        settings: &[&[aliases::alias_max_age().row]],
        need: Lacking::Setting(aliases::aliases().row),
        has_effect: |config| config.profiles.aliases.iter().next().is_some(),
    },
    Dependence {
        settings: &[&[gateway::forwarded_header().row]],
        need: Lacking::Setting(gateway::trusted_proxies().row),
        has_effect: |config| !config.gateway.trusted_proxies.is_empty(),
    },
    Dependence {
        settings: &[&[downstream::http2_max_streams().row, downstream::http2_max_age().row]],
        need: Lacking::Other("tls.listen with tls.http2, or listen with the word http2"),
        has_effect: Config::speaks_http2,
    },
    Dependence {
        // Its rules stay as they are where the cache is turned off.
        settings: &[disk::ROWS, shared::ROWS],
        need: Lacking::Zero(tiers::memory().row, "turns the cache off"),
        has_effect: |config| config.cache.memory != CacheMemory::Bytes(0),
    },
    Dependence {
        settings: &[disk::ROWS],
        need: Lacking::Setting(disk::path().row),
        has_effect: |config| config.cache.disk.is_some(),
    },
    Dependence {
        settings: &[shared::ROWS],
        need: Lacking::Setting(shared::url().row),
        has_effect: |config| config.cache.shared.is_some(),
    },
    Dependence {
        settings: &[
            rule::ROWS,
            pins::ROWS,
            patterns::ROWS,
            &[tiers::background_refreshes().row, tiers::revalidate_timeout().row],
        ],
        need: Lacking::Setting(rule::store().row),
        has_effect: |config| any_rule(config, |rule| rule.store),
    },
    Dependence {
        settings: &[&[tiers::revalidate_timeout().row]],
        need: Lacking::Setting(rule::stale_if_error().row),
        has_effect: |config| any_rule(config, |rule| rule.store && !rule.stale_if_error.is_zero()),
    },
    Dependence { settings: &[pins::ROWS], need: NO_PINS, has_effect: |it| it.cache.pin_share > 0 },
    Dependence {
        settings: &[&[tiers::pin_share().row]],
        need: Lacking::Setting(pins::pin().row),
        has_effect: |config| any(config, |profile| profile.cache.has_pins()),
    },
    Dependence {
        settings: &[&[tiers::archive_directories().row]],
        need: Lacking::Other("a profile with archives"),
        has_effect: |config| any(config, |profile| profile.archives != WhichFolders::None),
    },
];

/// The settings of each profile.
static OF_PROFILE: &[Dependence<OfProfile>] = &[
    Dependence {
        settings: &[&[store::hedge().row]],
        need: Lacking::Several(store::endpoints().row),
        has_effect: |_, profile| !profile.further.is_empty(),
    },
    Dependence {
        settings: &[&[store::surveys().row]],
        need: Lacking::Setting(store::listed().row),
        has_effect: |_, profile| profile.listed,
    },
    Dependence {
        settings: &[&[store::listing_ttl().row]],
        need: Lacking::Setting(store::listing().row),
        has_effect: |_, profile| profile.listing,
    },
    Dependence {
        settings: &[rule::ROWS, pins::ROWS, patterns::ROWS, &[store::hips().row]],
        need: Lacking::Setting(rule::store().row),
        has_effect: |_, profile| profile.cache.rules().any(|rule| rule.store),
    },
    Dependence {
        settings: &[pins::ROWS],
        need: NO_PINS,
        has_effect: |config, _| config.cache.pin_share > 0,
    },
];

const NO_PINS: Lacking = Lacking::Zero(tiers::pin_share().row, "pins nothing");

/// Whether this holds for a profile, or there is none that a setting could have an effect on.
fn any(config: &Config, holds: impl Fn(&Profile) -> bool) -> bool {
    let mut profiles = config.profiles.iter().peekable();
    profiles.peek().is_none() || profiles.any(|profile| holds(profile))
}

/// The same of the rules of the cache.
fn any_rule(config: &Config, holds: impl Fn(&Rule) -> bool) -> bool {
    any(config, |profile| profile.cache.rules().any(&holds))
}

/// Warns of all settings without an effect.
pub(super) fn warn(layers: &mut Layers<'_>, config: &Config) {
    let mut warnings = Warnings { layers, told: BTreeSet::new() };
    for dependence in GLOBAL.iter().filter(|it| !(it.has_effect)(config)) {
        warnings.add(&[], dependence);
    }
    for profile in config.profiles.iter() {
        let prefix = warnings.layers.profile_path(profile.name.as_deref());
        for dependence in OF_PROFILE.iter().filter(|it| !(it.has_effect)(config, profile)) {
            warnings.add(&prefix, dependence);
        }
    }
}

struct Warnings<'l, 'a> {
    layers: &'l mut Layers<'a>,
    /// The settings that have a warning.
    told: BTreeSet<String>,
}

impl Warnings<'_, '_> {
    /// One warning for those settings of the mapping at `prefix` that are written.
    fn add<F>(&mut self, prefix: &[&str], Dependence { settings, need, .. }: &Dependence<F>) {
        let key = |row: &Row| {
            let path: Vec<&str> = prefix.iter().copied().chain(row.path.split('.')).collect();
            paths::written(&path)
        };
        let needed = match need {
            Lacking::Setting(row) | Lacking::Several(row) | Lacking::Zero(row, _) => Some(row.path),
            Lacking::Other(_) => None,
        };
        let rows = settings.iter().copied().flatten().filter(|row| Some(row.path) != needed);
        let mut idle = Vec::new();
        for row in rows {
            if self.is_written(prefix, row) && self.told.insert(key(row)) {
                idle.push(key(row));
            }
        }
        if idle.is_empty() {
            return;
        }
        let verb = if idle.len() == 1 { "has" } else { "have" };
        let why = match need {
            Lacking::Setting(row) => format!(" without {}", key(row)),
            Lacking::Several(row) => format!(" without several {}", key(row)),
            Lacking::Zero(row, consequence) => format!(": {} is 0, which {consequence}", row.path),
            Lacking::Other(what) => format!(" without {what}"),
        };
        let warning = format!("{} {verb} no effect{why}", idle.join(", "));
        self.layers.report.warnings.push(warning);
    }

    /// Whether a setting of the mapping at `prefix` is written, with another value than its default: to write the
    /// default out is no mistake, the shipped example does.
    fn is_written(&self, prefix: &[&str], row: &Row) -> bool {
        let path: Vec<&str> = prefix.iter().copied().chain(row.path.split('.')).collect();
        let key = paths::written(&path);
        let mut settings = self.layers.report.settings.iter();
        let Some(setting) = settings.find(|setting| setting.key == key) else { return false };
        // A rule that a profile does not have is shown with its place among those for all profiles.
        let is_here = prefix.is_empty() || self.layers.is_in_file(&path);
        let is_default = setting.value.is_empty()
            || setting.value == Written::Yaml(&row.default_value()).shown();
        is_here && setting.source != ValueSource::Default && !is_default
    }
}

#[cfg(test)]
mod tests;
