//! Differences between the profiles of two configurations, in words that hold no secret: an access key is
//! shown by the last four characters of its id.

use std::sync::Arc;

use crate::config::Profiles;
use crate::profile::Profile;
use crate::profile::alias::Aliases;
use crate::s3::address::ObjectAddress;
use crate::s3::credentials::{Credentials, masked_id};

/// The differences between two sets of profiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// One or two lines for each profile that changed.
    pub lines: Vec<String>,
    /// Profiles whose cached objects must be purged: they are removed, or more than their access keys
    /// changed.
    pub outdated: Vec<OutdatedProfile>,
}

/// A profile of the previous configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutdatedProfile {
    /// `None` for the default profile.
    pub name: Option<String>,
}

/// The differences, the default profile first, then by name.
#[must_use]
pub(super) fn changes(old: &Profiles, new: &Profiles) -> Changes {
    let mut changes = Changes::default();
    for before in old.iter() {
        let label = before.label();
        let Some(after) = new.get(before.name.as_deref()) else {
            changes.lines.push(format!("profile {label} removed"));
            changes.outdated.push(OutdatedProfile { name: before.name.clone() });
            continue;
        };
        if before == after {
            continue;
        }
        if before.provider != after.provider {
            let (old, new) = (describe(before), describe(after));
            changes.lines.push(format!("profile {label}: {old} replaced by {new}"));
        } else if before.credentials != after.credentials {
            let change = credentials_change(&before.credentials, &after.credentials);
            changes.lines.push(format!("profile {label}: {change}"));
        }
        if before.proxy != after.proxy {
            changes.lines.push(format!("profile {label}: now {}", way(after)));
        }
        if before.tls != after.tls {
            let tls = after
                .tls
                .as_ref()
                .map_or_else(|| "the certificates of all stores".to_owned(), |tls| tls.to_string());
            changes.lines.push(format!("profile {label}: TLS now with {tls}"));
        }
        let is_same_store = before.identity() == after.identity();
        if is_same_store && !before.endpoints().eq(after.endpoints()) {
            changes.lines.push(format!("profile {label}: now at {}", all_endpoints(after)));
        }
        // The way to a store says nothing of its objects, nor does the order of endpoints with the same ones.
        let mut before_with_way = Profile {
            proxy: after.proxy.clone(),
            tls: after.tls.clone(),
            hedge: after.hedge,
            ..(**before).clone()
        };
        if is_same_store {
            before_with_way.endpoint = after.endpoint.clone();
            before_with_way.further.clone_from(&after.further);
        }
        if !after.differs_only_in_credentials(&before_with_way) {
            changes.lines.push(format!("profile {label}: settings changed"));
            changes.outdated.push(OutdatedProfile { name: before.name.clone() });
        }
    }
    changes.lines.extend(alias_changes(&old.aliases, &new.aliases));
    for profile in new.iter().filter(|profile| old.get(profile.name.as_deref()).is_none()) {
        let credentials = describe(profile);
        let line = format!("profile {} added: {}, {credentials}", profile.label(), place(profile));
        changes.lines.push(line);
    }
    changes
}

/// Aliases that are added, removed or lead elsewhere.
fn alias_changes(old: &Aliases, new: &Aliases) -> Vec<String> {
    let named = |all: &Aliases, name: &ObjectAddress| all.iter().any(|alias| alias.name == *name);
    let changed = new.iter().filter(|alias| !old.iter().any(|before| before == *alias));
    let mut lines: Vec<_> = changed
        .map(|alias| {
            let verb = if named(old, &alias.name) { "changed" } else { "added" };
            format!("alias {verb}: {alias}")
        })
        .collect();
    let removed = old.iter().filter(|alias| !named(new, &alias.name));
    lines.extend(removed.map(|alias| format!("alias removed: {alias}")));
    lines
}

/// The difference between two credentials that are not equal.
fn credentials_change(before: &Credentials, after: &Credentials) -> String {
    match (before, after) {
        (Credentials::Keys { keys: old, .. }, Credentials::Keys { keys: new, .. }) => {
            let id = masked_id(&new.access_key_id);
            if old.access_key_id != new.access_key_id {
                format!("access key {} replaced by {id}", masked_id(&old.access_key_id))
            } else if old.secret_access_key != new.secret_access_key {
                format!("secret of access key {id} replaced")
            } else if old.session_token != new.session_token {
                format!("session token of access key {id} replaced")
            } else {
                format!("access key {id} moved to another source")
            }
        }
        (Credentials::Missing(_), Credentials::Missing(_)) => {
            "credentials still missing".to_owned()
        }
        _ => {
            format!("{} replaced by {}", describe_credentials(before), describe_credentials(after))
        }
    }
}

/// A line of the log for each profile: its endpoint, and the end of its access key id.
#[must_use]
pub fn profile_lines(profiles: &Profiles) -> Vec<String> {
    let line = |profile: &Arc<Profile>| {
        let (label, credentials) = (profile.label(), describe(profile));
        format!("profile {label}: {}, {credentials}", place(profile))
    };
    profiles.iter().map(line).collect()
}

/// Its endpoint, and the proxy on the way to it.
fn place(profile: &Profile) -> String {
    match &profile.proxy {
        Some(_) => format!("{} {}", all_endpoints(profile), way(profile)),
        None => all_endpoints(profile),
    }
}

/// Its endpoints, in the order in which they are asked.
fn all_endpoints(profile: &Profile) -> String {
    profile.endpoints().map(ToString::to_string).collect::<Vec<_>>().join(", then ")
}

/// How its store is reached.
fn way(profile: &Profile) -> String {
    match &profile.proxy {
        Some(proxy) => format!("through the proxy {proxy}"),
        None => "reached directly".to_owned(),
    }
}

/// How a profile signs its requests.
fn describe(profile: &Profile) -> String {
    match &profile.provider {
        Some(provider) => format!("credentials from {provider}"),
        None => describe_credentials(&profile.credentials),
    }
}

fn describe_credentials(credentials: &Credentials) -> String {
    match credentials {
        Credentials::Keys { keys, .. } => format!("access key {}", masked_id(&keys.access_key_id)),
        Credentials::Anonymous => "unsigned requests".to_owned(),
        Credentials::Missing(_) => "missing credentials".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::profile::Way;
    use crate::profile::alias::Alias;
    use crate::s3::credentials::{CredentialSource, Keys};
    use crate::s3::endpoint::Endpoint;
    use crate::s3::provider::Provider;
    use crate::s3::secret::Secret;

    fn profile(name: Option<&str>, key: &str, secret: &str) -> Profile {
        let keys = Keys {
            access_key_id: key.to_owned(),
            secret_access_key: Secret::new(secret.to_owned()),
            session_token: None,
        };
        let credentials = Credentials::Keys { keys, source: CredentialSource::Environment };
        let endpoint = Endpoint::parse("https://s3.example.org").expect("an endpoint");
        Profile { credentials, ..Profile::unsigned(name, endpoint) }
    }

    fn profiles(named: &[Profile]) -> Profiles {
        let named = named.iter().map(|p| (p.label().to_owned(), Arc::new(p.clone())));
        let default = Some(Arc::new(profile(None, "AKIADEFAULTDEFAULT", "s")));
        let named = named.collect::<BTreeMap<_, _>>();
        Profiles { default, named, aliases: Arc::default() }
    }

    #[test]
    fn changes_name_the_profile_and_the_end_of_the_access_key_id() {
        let old = profiles(&[
            profile(Some("a"), "AKIAAAAAAAAAAAAAOLD1", "secret-of-a"),
            profile(Some("b"), "AKIABBBBBBBBBBBBBBBB", "secret-of-b"),
            profile(Some("c"), "AKIACCCCCCCCCCCCCCCC", "secret-of-c"),
            profile(Some("d"), "AKIADDDDDDDDDDDDDDDD", "secret-of-d"),
            profile(Some("e"), "short", "secret-of-e"),
        ]);
        let mut moved = profile(Some("c"), "AKIACCCCCCCCCCCCCCCC", "secret-of-c");
        moved.region = "elsewhere".to_owned();
        let new = profiles(&[
            profile(Some("a"), "AKIAAAAAAAAAAAAANEW2", "secret-of-a-2"),
            profile(Some("b"), "AKIABBBBBBBBBBBBBBBB", "secret-of-b-2"),
            moved,
            profile(Some("e"), "shorter", "secret-of-e"),
            profile(Some("f"), "AKIAFFFFFFFFFFFFFFFF", "secret-of-f"),
        ]);
        let changes = changes(&old, &new);
        assert_eq!(
            changes.lines,
            [
                "profile a: access key ...OLD1 replaced by ...NEW2",
                "profile b: secret of access key ...BBBB replaced",
                "profile c: settings changed",
                "profile d removed",
                "profile e: access key ... replaced by ...",
                "profile f added: https://s3.example.org, access key ...FFFF",
            ]
        );
        let outdated: Vec<_> = changes.outdated.iter().filter_map(|o| o.name.as_deref()).collect();
        assert_eq!(outdated, ["c", "d"]);
        assert!(!format!("{changes:?}").contains("secret-of"));
    }

    /// A change from an access key to a provider was told twice, in two ways, and purged the cache.
    #[test]
    fn a_change_of_the_provider_is_one_line_and_purges_nothing() {
        let keys = || profile(Some("a"), "AKIAAAAAAAAAAAAAOLD1", "secret");
        let process = |name: &str| Profile {
            credentials: Credentials::Missing(format!("{name} has issued none yet")),
            provider: Some(Arc::new(Provider::Process(vec![name.to_owned()]))),
            ..keys()
        };
        for (before, after, line) in [
            (
                keys(),
                process("/bin/one"),
                "profile a: access key ...OLD1 replaced by credentials from the program /bin/one",
            ),
            (
                process("/bin/one"),
                process("/bin/other"),
                "profile a: credentials from the program /bin/one replaced by credentials from the program /bin/other",
            ),
            (
                process("/bin/one"),
                keys(),
                "profile a: credentials from the program /bin/one replaced by access key ...OLD1",
            ),
        ] {
            let changes = changes(&profiles(&[before]), &profiles(&[after]));
            assert_eq!(changes, Changes { lines: vec![line.to_owned()], outdated: vec![] });
        }
    }

    #[test]
    fn another_order_of_endpoints_and_one_more_purge_nothing_and_another_store_does() {
        let at = |urls: &[&str]| {
            let way = |url: &&str| Way {
                endpoint: Endpoint::parse(url).expect("an endpoint"),
                proxy: None,
            };
            let mut ways: Vec<_> = urls.iter().map(way).collect();
            let endpoint = ways.remove(0).endpoint;
            profiles(&[Profile { endpoint, further: ways, ..profile(Some("a"), "AKIA", "s") }])
        };
        let (a, b, c) = ("https://a", "https://b", "https://c");
        for (before, after, line, purges) in [
            (&[a, b][..], &[b, a][..], "now at https://b, then https://a", false),
            (&[a], &[c, a], "now at https://c, then https://a", false),
            (&[a, b], &[a], "now at https://a", false),
            (&[a, b], &[b], "settings changed", true),
            (&[b], &[a, b], "settings changed", true),
        ] {
            let changes = changes(&at(before), &at(after));
            assert_eq!(changes.lines, [format!("profile a: {line}")], "{before:?} {after:?}");
            assert_eq!(!changes.outdated.is_empty(), purges, "{before:?} {after:?}");
        }
    }

    #[test]
    fn aliases_that_lead_elsewhere_are_named() {
        let with = |all: &[(&str, &str)]| {
            let folder = |key: &str| {
                ObjectAddress::of_text("sky", key.to_owned(), true).expect("an address")
            };
            let alias = |(name, target): &(&str, &str)| Alias {
                name: folder(name),
                target: folder(target),
            };
            let aliases = Aliases::new(all.iter().map(alias).collect(), 60);
            Profiles { aliases: Arc::new(aliases), ..profiles(&[]) }
        };
        let old = with(&[("a/", "x/"), ("b/", "x/"), ("c/", "x/")]);
        let new = with(&[("a/", "x/"), ("b/", "y/"), ("d/", "x/")]);
        assert_eq!(
            changes(&old, &new).lines,
            [
                "alias changed: sky/b/ -> sky/y/",
                "alias added: sky/d/ -> sky/x/",
                "alias removed: sky/c/ -> sky/x/",
            ]
        );
    }

    #[test]
    fn only_the_end_of_an_access_key_id_is_shown() {
        for (id, end) in [
            ("AKIAIOSFODNN7EXAMPLE", "...MPLE"),
            ("12345678", "...5678"),
            ("1234567", "..."),
            ("", "..."),
            ("ééééabcd", "...abcd"),
        ] {
            assert_eq!(masked_id(id), end);
        }
    }

    #[test]
    fn equal_profiles_have_no_changes() {
        let same = profiles(&[profile(Some("a"), "AKIAAAAAAAAAAAAAOLD1", "s")]);
        assert_eq!(changes(&same, &same.clone()), Changes::default());
    }

    #[test]
    fn changes_of_credentials_name_the_part_that_changed() {
        let with = |source, token: Option<&str>| {
            let keys = Keys {
                access_key_id: "AKIAAAAAAAAAAAAAAAAA".to_owned(),
                secret_access_key: Secret::new("s".to_owned()),
                session_token: token.map(|token| Secret::new(token.to_owned())),
            };
            Credentials::Keys { keys, source }
        };
        let plain = || with(CredentialSource::Environment, None);
        let temporary = with(CredentialSource::Environment, Some("token"));
        let moved = with(CredentialSource::EndpointUrl("S3_ENDPOINT_URL".to_owned()), None);
        let missing = Credentials::Missing("nowhere".to_owned());
        for (before, after, words) in [
            (plain(), temporary, "session token of access key ...AAAA replaced"),
            (plain(), moved, "access key ...AAAA moved to another source"),
            (plain(), Credentials::Anonymous, "access key ...AAAA replaced by unsigned requests"),
            (missing, plain(), "missing credentials replaced by access key ...AAAA"),
        ] {
            assert_eq!(credentials_change(&before, &after), words);
        }
    }
}
