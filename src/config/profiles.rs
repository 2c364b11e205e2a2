//! The stores: endpoints from the environment and the file, keys from the credentials file, and
//! what does not fit together.

mod credentials;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::Profiles;
use crate::config::cache::{self, Forbidden};
use crate::config::endpoint_url::EndpointUrl;
use crate::config::file::{DEFAULT_PROFILE, PROFILES};
use crate::config::headers;
use crate::config::ini::{CredentialsFile, Section};
use crate::config::layers::{Layers, Reported};
use crate::config::nearest::nearest;
use crate::config::problem::{Problem, Source};
use crate::config::profiles::credentials::{Found, environment_keys};
use crate::config::settings::{self, gateway, profile};
use crate::profile::Profile;
use crate::s3::address::is_profile_name;
use crate::s3::credentials::{Credentials, Keys};
use crate::s3::endpoint::{Addressing, Endpoint};

/// The stores, and the INI sections that no endpoint was written for.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) profiles: Profiles,
    pub(super) orphan_sections: Vec<String>,
}

/// Reads every profile.
pub(super) fn resolve(
    layers: &mut Layers<'_>,
    file: &CredentialsFile,
    region: &str,
    cache: &cache::Shared,
) -> Result<Resolved, Reported> {
    let environment_keys = environment_keys(layers);
    let declared = declared(layers);
    let mut stores = Stores { layers, file, region, cache, base: None, taken: BTreeSet::new() };

    let default = stores.default_profile(environment_keys);
    let mut named = Vec::new();
    for name in &declared {
        named.push(stores.named(name));
    }
    let mut orphan_sections = Vec::new();
    for (name, section) in &file.sections {
        if declared.contains(name) || stores.taken.contains(name) {
            continue;
        }
        let is_orphan = stores.warn_of_orphan(name, section, &declared);
        if section.keys.is_some() && is_profile_name(name) {
            named.push(stores.named(name));
        }
        if is_orphan {
            orphan_sections.push(name.clone());
        }
    }

    let default = Arc::new(default?);
    let named: BTreeMap<_, _> = named
        .into_iter()
        .map(|profile| {
            let profile = profile?;
            Ok((profile.label().to_owned(), Arc::new(profile)))
        })
        .collect::<Result<_, _>>()?;
    let usable = |profile: &Arc<Profile>| !matches!(profile.credentials, Credentials::Missing(_));
    let told = layers.report.warnings.iter().any(|warning| warning.contains("will be refused"));
    if !told && !std::iter::once(&default).chain(named.values()).any(usable) {
        layers.report.warnings.push(
            "no profile has credentials: every object will be refused until there are some; \
             s3proxy check says where they are looked for"
                .to_owned(),
        );
    }
    Ok(Resolved { profiles: Profiles { default, named }, orphan_sections })
}

/// The names of profiles that the file or a variable defines.
fn declared(layers: &mut Layers<'_>) -> BTreeSet<String> {
    let in_file = layers.file.iter().flat_map(|file| file.profiles());
    let in_variables = layers.env.profiles().map(|(_, name)| name);
    let names = in_file.chain(in_variables).map(str::to_owned).collect();
    for (variable, name) in layers.env.profiles() {
        if !is_profile_name(name) {
            let message = "names a profile that no URL can name: profiles have letters, digits and \
                           ._- in their names";
            layers.report.problem(Problem::new(Source::Variable(variable.to_owned()), message));
        }
        if layers.env.get(variable).is_none() {
            layers.report.warnings.push(format!(
                "{variable} is empty: {name}@ is looked for at the endpoint of the file, or else \
                 of the default profile"
            ));
        }
    }
    names
}

/// What is needed to put one profile together.
struct Stores<'l, 'a> {
    layers: &'l mut Layers<'a>,
    file: &'l CredentialsFile,
    /// The region of profiles without their own.
    region: &'l str,
    /// The rules of the cache for all profiles.
    cache: &'l cache::Shared,
    /// The endpoint of the default profile, if it is not AWS.
    base: Option<Endpoint>,
    /// Sections that a profile of another name uses.
    taken: BTreeSet<String>,
}

impl<'a> Stores<'_, 'a> {
    fn default_profile(
        &mut self,
        environment_keys: Result<Option<Keys>, Reported>,
    ) -> Result<Profile, Reported> {
        let env = self.layers.env;
        let url = env.get(settings::DEFAULT_ENDPOINT).or_else(|| env.get(settings::AWS_ENDPOINT));
        let section = env.get(settings::DEFAULT_SECTION);
        self.profile(&[DEFAULT_PROFILE], None, url, section, environment_keys)
    }

    fn named(&mut self, name: &str) -> Result<Profile, Reported> {
        let url = self.layers.env.get(&format!("{}{name}", settings::PROFILE_ENDPOINT));
        self.profile(&[PROFILES, name], Some(name), url, None, Ok(None))
    }

    fn profile(
        &mut self,
        prefix: &[&str],
        name: Option<&str>,
        url: Option<(&'a str, &'a str)>,
        section: Option<(&'a str, &'a str)>,
        environment_keys: Result<Option<Keys>, Reported>,
    ) -> Result<Profile, Reported> {
        let layers = &mut *self.layers;
        let url = layers.read_in(prefix, &profile::ENDPOINT, url);
        let region = layers.read_in(prefix, &profile::REGION, None);
        let addressing = layers.read_in(prefix, &profile::ADDRESSING, None);
        let section = layers.read_in(prefix, &profile::SECTION, section);
        let anonymous = layers.read_in(prefix, &profile::ANONYMOUS, None);
        let buckets = layers.read_in(prefix, &profile::BUCKETS, None);
        let missing_on_403 = layers.read_in(prefix, &profile::MISSING_ON_403, None);
        let content_type = layers.read_in(prefix, &profile::CONTENT_TYPE, None);
        let response_headers = layers.read_in(prefix, &profile::RESPONSE_HEADERS, None);
        let request_headers = layers.read_in(prefix, &profile::REQUEST_HEADERS, None);
        let upstream_headers = layers.read_in(prefix, &profile::UPSTREAM_HEADERS, None);
        let cache_control = layers.read_in(prefix, &profile::CACHE_CONTROL, None);
        let forbidden = if let Ok(Some(value)) = &cache_control
            && let Some(reason) = headers::keeps_from_storing(value)
        {
            Some((profile::CACHE_CONTROL.row.path, reason))
        } else if request_headers.as_ref().is_ok_and(|headers| !headers.is_empty()) {
            let reason = "passes headers of clients to the store, whose answers may depend on them";
            Some((profile::REQUEST_HEADERS.row.path, reason))
        } else {
            None
        };
        let forbidden = forbidden
            .map(|(key, reason)| Forbidden { key: format!("{}.{key}", prefix.join(".")), reason });
        let cache = cache::of_profile(layers, prefix, self.cache, forbidden.as_ref());

        // A URL that cannot be read must not hide what else is wrong with the profile.
        let url_read = url.as_ref().map(|_| ()).map_err(|reported| *reported);
        let base = self.base.clone();
        let (explicit, url_keys) = match url.unwrap_or_default() {
            Some(EndpointUrl { endpoint, keys }) => (endpoint, keys),
            None => (base, None),
        };
        if name.is_none() {
            self.base.clone_from(&explicit);
        }
        let found = Found {
            prefix: prefix.join("."),
            name,
            section: section?,
            anonymous: anonymous?,
            url_keys,
            environment_keys: environment_keys?,
        };
        let region = self.region(&found, region?);
        let credentials = self.credentials(found)?;
        url_read?;
        let key = |setting: &str| format!("{}.{setting}", prefix.join("."));
        let default_addressing =
            if explicit.is_some() { Addressing::Path } else { Addressing::Virtual };
        let addressing = addressing?.unwrap_or(default_addressing);
        let endpoint = explicit.unwrap_or_else(|| Endpoint::aws(&region));
        let report = &mut self.layers.report;
        report.show(&key("endpoint"), endpoint.to_string());
        report.show(&key("addressing"), addressing_word(addressing).to_owned());
        if let Ok(None) = buckets {
            report.show(&key("buckets"), "(every bucket)".to_owned());
        }
        Ok(Profile {
            name: name.map(str::to_owned),
            endpoint,
            region,
            addressing,
            credentials,
            buckets: buckets?,
            missing_on_403: missing_on_403?,
            content_type: content_type?,
            response_headers: response_headers?,
            request_headers: request_headers?,
            upstream_headers: upstream_headers?,
            cache_control: cache_control?,
            cache: cache?,
        })
    }

    /// The region of the profile: its own, that of its section, or the one of all.
    fn region(&mut self, found: &Found<'_>, own: Option<String>) -> String {
        let key = format!("{}.region", found.prefix);
        let in_section = match &found.url_keys {
            Some(_) => None,
            None => self.file.sections.get(found.section_name()).and_then(|s| s.region.clone()),
        };
        if let Some(own) = own {
            return own;
        }
        let report = &mut self.layers.report;
        let (region, source) = match (in_section, &self.file.path) {
            (Some((region, line)), Some(path)) => {
                (region, Source::File { path: path.clone(), line: Some(line) })
            }
            _ => (self.region.to_owned(), report.source(gateway::REGION.row.path)),
        };
        report.show_from(&key, region.clone(), source);
        region
    }

    /// Warns of a section that is in the credentials file alone, and says whether it did.
    fn warn_of_orphan(
        &mut self,
        name: &str,
        section: &Section,
        declared: &BTreeSet<String>,
    ) -> bool {
        let of_default = self.layers.env.get(settings::DEFAULT_SECTION).map(|(_, name)| name);
        if name == "default" || of_default == Some(name) {
            return false;
        }
        let meant = nearest(name, declared.iter().map(String::as_str))
            .map(|meant| format!(" (there is one for {meant})"))
            .unwrap_or_default();
        let place = match &self.file.path {
            Some(path) => Source::File { path: path.clone(), line: Some(section.line) },
            None => Source::Default,
        };
        let variable = settings::PROFILE_ENDPOINT;
        let fate = match section.keys {
            Some(_) if !is_profile_name(name) => {
                "no URL can name it (letters, digits and ._- alone), and it is not used".to_owned()
            }
            Some(_) => format!(
                "{name}@ uses its keys at the endpoint of the default profile; \
                 set {variable}{name} if that is wrong"
            ),
            None => "it has no keys and is not used".to_owned(),
        };
        let warning = format!("{place}: section [{name}] has no endpoint{meant}: {fate}");
        self.layers.report.warnings.push(warning);
        true
    }
}

/// The word for an addressing style in the file.
fn addressing_word(addressing: Addressing) -> &'static str {
    match addressing {
        Addressing::Path => "path",
        Addressing::Virtual => "virtual",
    }
}
