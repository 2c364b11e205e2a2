//! What differs between two configurations of stores, in words that hold no secret: keys are told by
//! the last four characters of their ids.

use crate::config::Profiles;
use crate::profile::Profile;
use crate::s3::credentials::Credentials;

/// Characters of a key's id that are told.
const TOLD: usize = 4;

/// What became of the profiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// One line for each profile that is not as it was.
    pub lines: Vec<String>,
    /// Labels of the profiles whose objects may not be answered as before: they are gone, or changed in
    /// more than their keys.
    pub outdated: Vec<Outdated>,
}

/// A profile of before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outdated {
    /// `None` for the default profile.
    pub name: Option<String>,
}

/// What differs, the default profile first, then by name.
#[must_use]
pub(super) fn changes(old: &Profiles, new: &Profiles) -> Changes {
    let mut changes = Changes::default();
    for before in old.iter() {
        let label = before.label();
        let Some(after) = new.get(before.name.as_deref()) else {
            changes.lines.push(format!("profile {label} is gone"));
            changes.outdated.push(Outdated { name: before.name.clone() });
            continue;
        };
        if before == after {
            continue;
        }
        let (was, is) = (keys(before), keys(after));
        let secret_alone = if was == is && before.credentials != after.credentials {
            " (another secret)"
        } else {
            ""
        };
        if before.credentials != after.credentials {
            changes.lines.push(format!("profile {label}: {is}, before {was}{secret_alone}"));
        }
        if !after.differs_only_in_credentials(before) {
            changes.lines.push(format!("profile {label}: other settings"));
            changes.outdated.push(Outdated { name: before.name.clone() });
        }
    }
    for profile in new.iter().filter(|profile| old.get(profile.name.as_deref()).is_none()) {
        let line =
            format!("profile {} is new: {}, {}", profile.label(), profile.endpoint, keys(profile));
        changes.lines.push(line);
    }
    changes
}

/// What a profile signs with.
fn keys(profile: &Profile) -> String {
    match &profile.credentials {
        Credentials::Keys { keys, .. } => format!("key {}", told(&keys.access_key_id)),
        Credentials::Anonymous => "unsigned".to_owned(),
        Credentials::Missing(_) => "no key".to_owned(),
    }
}

/// The end of a key's id, of one that is long enough to have a rest.
#[must_use]
pub fn told(key_id: &str) -> String {
    let characters: Vec<char> = key_id.chars().collect();
    match characters.len().checked_sub(TOLD) {
        Some(rest) if rest >= TOLD => {
            let end: String = characters.into_iter().skip(rest).collect();
            format!("...{end}")
        }
        _ => "...".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::s3::credentials::{CredentialSource, Keys};
    use crate::s3::endpoint::Endpoint;
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
        let default = Arc::new(profile(None, "AKIADEFAULTDEFAULT", "s"));
        Profiles { default, named: named.collect::<BTreeMap<_, _>>() }
    }

    #[test]
    fn what_changed_is_told_by_name_and_the_end_of_the_key() {
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
                "profile a: key ...NEW2, before key ...OLD1",
                "profile b: key ...BBBB, before key ...BBBB (another secret)",
                "profile c: other settings",
                "profile d is gone",
                "profile e: key ..., before key ... (another secret)",
                "profile f is new: https://s3.example.org, key ...FFFF",
            ]
        );
        let outdated: Vec<_> = changes.outdated.iter().filter_map(|o| o.name.as_deref()).collect();
        assert_eq!(outdated, ["c", "d"]);
        assert!(!format!("{changes:?}").contains("secret-of"));
    }

    #[test]
    fn of_a_key_id_only_the_end_is_told() {
        for (id, end) in [
            ("AKIAIOSFODNN7EXAMPLE", "...MPLE"),
            ("12345678", "...5678"),
            ("1234567", "..."),
            ("", "..."),
            ("ééééabcd", "...abcd"),
        ] {
            assert_eq!(told(id), end);
        }
    }

    #[test]
    fn nothing_is_told_of_what_is_as_it_was() {
        let same = profiles(&[profile(Some("a"), "AKIAAAAAAAAAAAAAOLD1", "s")]);
        assert_eq!(changes(&same, &same.clone()), Changes::default());
    }
}
