//! The settings: where each can be written, its default, its range, and its text. Loading,
//! `s3proxy config`, the suggestions for unknown keys, `conf/s3proxy.yaml`, the tables of
//! `docs/configuration.md` and the JSON Schema all come from these declarations.

/// Declares the settings of one mapping of the file, and the struct that they are read into.
///
/// `settings! { struct NAME, MODULE at PREFIX { FIELD: TYPE { ... } } }` makes the struct `NAME` with
/// `NAME::read`, and the module `MODULE` with a function for each setting, and `ROWS`, all of them. The
/// path of a setting is `PREFIX`, which ends with a dot, and the name of its field.
///
/// `variable`, `shown` and `reload` may be left out: no variable, shown in full, and applied by a
/// restart only. With `overridden by OTHER` it also makes the struct `OTHER`, whose fields are
/// optional, for places that override some of these settings.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $visible:vis struct $name:ident overridden by $overrides:ident, $module:ident at $prefix:literal
        { $( $field:ident: $type:ty { $($inner:tt)* } )* }
    ) => {
        settings! {
            $(#[$meta])*
            $visible struct $name, $module at $prefix { $( $field: $type { $($inner)* } )* }
        }

        #[doc = concat!("Those settings of [`", stringify!($name), "`] that are written in one place.")]
        #[derive(Debug, Clone)]
        $visible struct $overrides {
            $( pub(in crate::config) $field: Option<$type>, )*
        }

        impl $overrides {
            /// Reads the mapping at `place`.
            pub(in crate::config) fn read(layers: &mut Layers<'_>, place: &Location<'_>) -> Self {
                Self { $( $field: layers.read_override(place, &$module::$field()), )* }
            }

            /// These settings, and those of `base` where there is none here.
            pub(in crate::config) fn over(self, base: &$name) -> $name {
                $name { $( $field: self.$field.unwrap_or(base.$field), )* }
            }
        }
    };
    (
        $(#[$meta:meta])*
        $visible:vis struct $name:ident, $module:ident at $prefix:literal
        {
            $( $field:ident: $type:ty {
                kind: $kind:expr,
                $( variable: $variable:literal, )?
                default: $default:literal,
                $( shown: $shown:expr, )?
                $( reload: $reload:literal, )?
                text: $text:literal,
            } )*
        }
    ) => {
        $(#[$meta])*
        $visible struct $name {
            $( #[doc = $text] pub $field: $type, )*
        }

        impl $name {
            /// Reads the mapping at `place`.
            pub(in crate::config) fn read(
                layers: &mut Layers<'_>,
                place: &Location<'_>,
            ) -> Result<Self, Reported> {
                Ok(Self { $( $field: layers.read(place, &$module::$field())?, )* })
            }
        }

        pub(in crate::config) mod $module {
            use super::*;

            $( pub(in crate::config) const fn $field() -> Setting<$type> {
                let kind: Kind<$type> = $kind;
                let row = Row {
                    path: concat!($prefix, stringify!($field)),
                    key: stringify!($field),
                    variable: concat!($($variable)?),
                    default: $default,
                    accepts: kind.accepts,
                    reload: matches!(concat!($($reload)?).as_bytes(), b"true"),
                    text: $text,
                };
                let setting = Setting { row, read: kind.read, shown: Shown::Whole };
                $( let setting = setting.shown($shown); )?
                setting
            } )*

            /// The settings in the order of the documentation.
            pub(in crate::config) const ROWS: &[Row] = &[ $( $field().row, )* ];
        }
    };
}

pub(super) mod cache;
pub(super) mod connections;
pub(super) mod gateway;
pub(super) mod paths;
pub(super) mod process;
pub(super) mod profile;
pub(super) mod row;
pub(super) mod tls;
pub(super) mod tracing;
pub(super) mod variable;

use crate::config::settings::paths::{DEFAULT_PROFILE, PROFILES};
use crate::config::settings::row::Row;

/// The settings of the whole gateway, in the order of the documentation.
const GLOBAL: &[&[Row]] = &[
    gateway::gateway::ROWS,
    gateway::aliases::ROWS,
    process::log::ROWS,
    gateway::mime::ROWS,
    gateway::cors::ROWS,
    connections::upstream::ROWS,
    connections::downstream::ROWS,
    process::server::ROWS,
    process::admin::ROWS,
    tls::admin_tls::ROWS,
    tls::tls::ROWS,
    tracing::tracing::ROWS,
    cache::tiers::ROWS,
    cache::disk::ROWS,
    cache::shared::ROWS,
    cache::blocks::ROWS,
    cache::rule::ROWS,
    cache::pins::ROWS,
    cache::patterns::ROWS,
];

/// The settings of each profile; their paths are within the profile.
const PROFILE: &[&[Row]] =
    &[profile::store::ROWS, profile::credentials::ROWS, cache::pins::ROWS, cache::patterns::ROWS];

/// What a mapping of the file consists of, for the comments of `conf/s3proxy.yaml` and the JSON
/// Schema.
pub(super) static MAPPINGS: &[(&str, &str)] = &[
    ("log", "The log."),
    (
        "mime",
        "The objects that are served, and their media types. Variables take lists and mappings as JSON.",
    ),
    ("cors", "Access for pages of other origins."),
    ("upstream", "Connections to the stores."),
    ("downstream", "Connections of clients."),
    ("server", "The process."),
    ("admin", "The listener for operators."),
    ("admin.tls", "TLS of the listener for operators."),
    ("tls", "The listeners with TLS."),
    ("tracing", "Traces, which are sent to a collector of OpenTelemetry."),
    (
        "cache",
        "The cache of the gateway. For the caches of clients see `cache_max_age` and the `cache_control` of a profile.",
    ),
    ("cache.disk", "The disk tier of the cache."),
    ("cache.shared", "The tier of the cache that replicas share, in a Valkey or Redis."),
    (
        "cache.blocks",
        "Objects larger than `max_object`, and objects of which clients request parts, are cached in blocks.",
    ),
    (DEFAULT_PROFILE, "The store of URLs without `profile@`. It has the settings of a profile."),
    (PROFILES, "The stores of URLs with `profile@`, by name."),
    ("profile.credentials", "The access key of requests to the store."),
    (
        "profile.cache",
        "Rules of the cache for this profile. `null` is the value of the global `cache`.",
    ),
];

/// The settings of the whole gateway.
pub(super) fn global() -> impl Iterator<Item = &'static Row> {
    GLOBAL.iter().copied().flatten()
}

/// The settings of each profile, without the fields of a rule of the cache.
pub(super) fn of_profile() -> impl Iterator<Item = &'static Row> {
    PROFILE.iter().copied().flatten()
}

/// What a pattern has besides the fields of a rule.
pub(super) const PATTERN: &[Row] = cache::pattern::ROWS;

/// Every variable that is read.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    let of_rows = global().map(|row| row.variable).filter(|name| !name.is_empty());
    of_rows.chain(variable::FURTHER.iter().copied())
}

/// Whether a reload applies another value of the setting with this full path. All other settings need
/// a restart.
#[must_use]
pub fn is_live(key: &str) -> bool {
    let of_profiles = [PROFILES, DEFAULT_PROFILE]
        .into_iter()
        .any(|section| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')));
    // `cache.patterns[2].ttl` is part of `cache.patterns`.
    let path = key.split('[').next().unwrap_or_default();
    of_profiles || global().any(|row| row.path == path && row.reload)
}

#[cfg(test)]
mod tests;
