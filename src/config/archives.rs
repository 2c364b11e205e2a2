//! The members of archives are read through the cache.

use crate::config::layers::Layers;
use crate::config::problem::Problem;
use crate::config::settings::cache::{blocks, rule, tiers};
use crate::config::settings::paths;
use crate::config::settings::profile::store;
use crate::config::{CacheConfig, CacheMemory, Profiles};
use crate::profile::WhichFolders;

/// Reports profiles that serve members of archives without the cache that they are read through.
pub(super) fn check(layers: &mut Layers<'_>, cache: &CacheConfig, profiles: &Profiles) {
    let off = if cache.memory == CacheMemory::Bytes(0) {
        Some(tiers::memory().row.path)
    } else {
        (cache.blocks.share == 0).then_some(blocks::share().row.path)
    };
    for profile in profiles.iter().filter(|profile| profile.archives != WhichFolders::None) {
        let place = paths::written(&layers.profile_path(profile.name.as_deref()));
        let setting = store::archives().row.path;
        let key = format!("{place}.{setting}");
        let message = match off {
            Some(off) => format!("needs the cache and its blocks: {off} is 0"),
            None if !profile.cache.of(".zip").store && !profile.cache.of(".pmtiles").store => {
                format!("needs the cache: {} is false for this profile", rule::store().row.path)
            }
            None => continue,
        };
        let problem = Problem::new(layers.report.source(&key), message).key(key);
        layers.report.problem(problem);
    }
}
