//! Releases by name: an alias is a folder that stands for another, such as `hips@sky/current/` for
//! `hips@sky/dp1_v2/`. It is applied once, to the decoded key; the target is signed, requested and cached.

use std::fmt;
use std::sync::Arc;

use crate::profile::DEFAULT_LABEL;
use crate::s3::address::{AddressError, ObjectAddress, check_key};

/// An alias. The key of each address is empty, or ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The folder that clients name.
    pub name: ObjectAddress,
    /// The folder whose objects they get.
    pub target: ObjectAddress,
}

/// The aliases of a configuration. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases {
    longest_first: Vec<Alias>,
    /// How long browsers may use an answer for an alias without asking again, seconds.
    max_age: u64,
}

/// An object, by the name that a client wrote.
#[derive(Debug, Clone)]
pub struct NamedObject {
    /// As the client wrote it.
    pub requested: Arc<ObjectAddress>,
    /// The object that it stands for, if an alias applies.
    pub aliased: Option<AliasedObject>,
}

/// An object that was requested by an alias.
#[derive(Debug, Clone)]
pub struct AliasedObject {
    pub target: Arc<ObjectAddress>,
    /// How long browsers may use an answer without asking again, seconds.
    pub max_age: u64,
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, target] = [&self.name, &self.target].map(ObjectAddress::name);
        let plain = |name: &str| name.strip_prefix("s3://").unwrap_or_default().to_owned();
        write!(f, "{} -> {}", plain(&name), plain(&target))
    }
}

impl Aliases {
    /// These aliases. Of several that match, the one with the longest key applies.
    #[must_use]
    pub fn new(mut aliases: Vec<Alias>, max_age: u64) -> Self {
        aliases.sort_by_key(|alias| std::cmp::Reverse(alias.name.key.len()));
        Self { longest_first: aliases, max_age }
    }

    /// Every alias.
    pub fn iter(&self) -> impl Iterator<Item = &Alias> {
        self.longest_first.iter()
    }

    /// The object that an address names.
    ///
    /// # Errors
    /// The key of the target breaks a rule; it may be longer than the one that was written.
    pub fn apply(&self, requested: ObjectAddress) -> Result<NamedObject, AddressError> {
        let aliased = match self.iter().find(|alias| contains(&alias.name, &requested)) {
            None => None,
            Some(alias) => {
                let rest = requested.key.get(alias.name.key.len()..).unwrap_or_default();
                let key = [&alias.target.key, rest].concat();
                check_key(&key)?;
                let target = Arc::new(ObjectAddress { key, ..alias.target.clone() });
                Some(AliasedObject { target, max_age: self.max_age })
            }
        };
        Ok(NamedObject { requested: Arc::new(requested), aliased })
    }
}

impl NamedObject {
    /// The object itself.
    #[must_use]
    pub fn target(&self) -> &Arc<ObjectAddress> {
        self.aliased.as_ref().map_or(&self.requested, |aliased| &aliased.target)
    }

    /// An object in this folder; `None` if its key would break a rule. The name contains no slash, so the
    /// same alias applies.
    #[must_use]
    pub fn inside(&self, name: &str) -> Option<Self> {
        let inside = |folder: &ObjectAddress| {
            let key = [&folder.key, name].concat();
            check_key(&key).ok()?;
            Some(Arc::new(ObjectAddress { key, ..folder.clone() }))
        };
        let aliased = match &self.aliased {
            None => None,
            Some(AliasedObject { target, max_age }) => {
                Some(AliasedObject { target: inside(target)?, max_age: *max_age })
            }
        };
        Some(Self { requested: inside(&self.requested)?, aliased })
    }
}

/// Whether two folders have objects in common.
#[must_use]
pub fn overlap(one: &ObjectAddress, other: &ObjectAddress) -> bool {
    contains(one, other) || contains(other, one)
}

/// Whether this folder contains the object. `default@` names the profile of URLs without a profile.
fn contains(folder: &ObjectAddress, object: &ObjectAddress) -> bool {
    folder.bucket == object.bucket
        && object.key.starts_with(&folder.key)
        && label(folder) == label(object)
}

/// The label of the profile that an address names.
fn label(address: &ObjectAddress) -> &str {
    address.profile.as_deref().unwrap_or(DEFAULT_LABEL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> ObjectAddress {
        let (bucket, key) = text.split_once('/').expect("a slash");
        ObjectAddress::of_text(bucket, key.to_owned(), true).expect("an address")
    }

    fn aliases(all: &[(&str, &str)]) -> Aliases {
        let alias =
            |(name, target): &(&str, &str)| Alias { name: address(name), target: address(target) };
        Aliases::new(all.iter().map(alias).collect(), 60)
    }

    fn target(aliases: &Aliases, requested: &str) -> String {
        let named = aliases.apply(address(requested)).expect("an object");
        assert_eq!(*named.requested, address(requested));
        named.target().name()
    }

    #[test]
    fn the_longest_alias_applies_once_and_to_whole_segments() {
        let aliases = aliases(&[
            ("hips@sky/current/", "hips@sky/dp1_v2/"),
            ("hips@sky/current/beta/", "lab@fits/dp2/"),
            ("whole/", "hips@sky/all/"),
            ("hips@sky/all/", "hips@other/"),
        ]);
        for (requested, expected) in [
            ("hips@sky/current/a b.png", "s3://hips@sky/dp1_v2/a b.png"),
            ("hips@sky/current/", "s3://hips@sky/dp1_v2/"),
            ("hips@sky/current/current/a", "s3://hips@sky/dp1_v2/current/a"),
            ("hips@sky/current/beta/a", "s3://lab@fits/dp2/a"),
            ("hips@sky/current/betas/a", "s3://hips@sky/dp1_v2/betas/a"),
            ("hips@sky/current//a", "s3://hips@sky/dp1_v2//a"),
            ("hips@sky/current", "s3://hips@sky/current"),
            ("hips@sky/currently/a", "s3://hips@sky/currently/a"),
            ("hips@sky/a/current/a", "s3://hips@sky/a/current/a"),
            ("hips@other/current/a", "s3://hips@other/current/a"),
            ("lab@sky/current/a", "s3://lab@sky/current/a"),
            ("sky/current/a", "s3://sky/current/a"),
            ("whole/a", "s3://hips@sky/all/a"),
            ("default@whole/a", "s3://hips@sky/all/a"),
            ("hips@sky/all/a", "s3://hips@other/a"),
        ] {
            assert_eq!(target(&aliases, requested), expected, "{requested}");
        }
        assert_eq!(target(&Aliases::default(), "sky/current/a"), "s3://sky/current/a");
    }

    #[test]
    fn a_target_whose_key_is_too_long_is_refused() {
        let aliases = aliases(&[("sky/c/", "sky/releases/dp1/")]);
        let long = format!("sky/c/{}", "k".repeat(1020));
        assert_eq!(aliases.apply(address(&long)).err(), Some(AddressError::KeyTooLong));
    }

    #[test]
    fn an_object_inside_a_folder_has_both_names() {
        let aliases = aliases(&[("sky/c/", "sky/dp1/")]);
        let folder = aliases.apply(address("sky/c/x/")).expect("a folder");
        let index = folder.inside("index.html").expect("a key");
        assert_eq!(index.requested.name(), "s3://sky/c/x/index.html");
        assert_eq!(index.target().name(), "s3://sky/dp1/x/index.html");
        assert!(folder.inside(&"k".repeat(1024)).is_none());
        assert_eq!(
            aliases.iter().next().map(ToString::to_string).as_deref(),
            Some("sky/c/ -> sky/dp1/")
        );
    }

    proptest! {
        #[test]
        fn the_rest_of_the_key_is_the_same_byte_for_byte(rest in "[^\0./]{0,40}(/[^\0./]{0,20})?") {
            let aliases = aliases(&[("sky/c/", "x@other/dp1/")]);
            let requested = ObjectAddress { key: format!("c/{rest}"), ..address("sky/c/") };
            let named = aliases.apply(requested).expect("an object");
            prop_assert_eq!(&named.target().key, &format!("dp1/{rest}"));
        }
    }
}
