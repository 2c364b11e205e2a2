//! The stores: endpoints from the environment and the file, keys from the credentials file, and
//! what does not fit together.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::Profiles;
use crate::config::endpoint_url::EndpointUrl;
use crate::config::file::{DEFAULT_PROFILE, PROFILES};
use crate::config::ini::{CredentialsFile, NOT_A_CREDENTIAL, Section, is_credential};
use crate::config::layers::{Effective, Layers, Reported};
use crate::config::nearest::nearest;
use crate::config::problem::{Problem, Source};
use crate::config::settings::{self, profile};
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::s3::profile::{CredentialSource, Credentials, Keys, Profile};
use crate::secret::Secret;

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
) -> Result<Resolved, Reported> {
    let environment_keys = environment_keys(layers);
    let declared = declared(layers);
    let mut stores = Stores { layers, file, region, base: None, taken: BTreeSet::new() };

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
        if section.keys.is_some() {
            named.push(stores.named(name));
        }
        if is_orphan {
            orphan_sections.push(name.clone());
        }
    }

    let default = Arc::new(default?);
    let named = named
        .into_iter()
        .map(|profile| {
            let profile = profile?;
            Ok((profile.label().to_owned(), Arc::new(profile)))
        })
        .collect::<Result<_, _>>()?;
    Ok(Resolved { profiles: Profiles { default, named }, orphan_sections })
}

/// The names of profiles that the file or a variable defines.
fn declared(layers: &mut Layers<'_>) -> BTreeSet<String> {
    let in_file = layers.file.iter().flat_map(|file| file.profiles());
    let in_variables = layers.env.profiles().map(|(_, name)| name);
    let names = in_file.chain(in_variables).map(str::to_owned).collect();
    for (variable, name) in layers.env.profiles() {
        if layers.env.get(variable).is_none() {
            layers.report.warnings.push(format!(
                "{variable} is empty: {name}@ is looked for at the endpoint of the file, or else \
                 of the default profile"
            ));
        }
    }
    names
}

/// `AWS_ACCESS_KEY_ID` and its companions.
fn environment_keys(layers: &mut Layers<'_>) -> Result<Option<Keys>, Reported> {
    let env = layers.env;
    let report = &mut layers.report;
    let mut wrong = false;
    for name in [settings::ACCESS_KEY_ID, settings::SECRET_ACCESS_KEY, settings::SESSION_TOKEN] {
        if env.get(name).is_some_and(|(_, text)| !is_credential(text)) {
            report.problem(Problem::new(Source::Variable(name.to_owned()), NOT_A_CREDENTIAL));
            wrong = true;
        }
    }
    let text = |name| env.get(name).map(|(_, text)| text.to_owned());
    let half = |has: &str, lacks: &str| {
        let source = Source::Variable(has.to_owned());
        Problem::new(source, format!("is there without {lacks}"))
    };
    match (text(settings::ACCESS_KEY_ID), text(settings::SECRET_ACCESS_KEY)) {
        _ if wrong => Err(Reported),
        (Some(access_key_id), Some(secret)) => Ok(Some(Keys {
            access_key_id,
            secret_access_key: Secret::new(secret),
            session_token: text(settings::SESSION_TOKEN).map(Secret::new),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(report.problem(half(settings::ACCESS_KEY_ID, settings::SECRET_ACCESS_KEY)))
        }
        (None, Some(_)) => {
            Err(report.problem(half(settings::SECRET_ACCESS_KEY, settings::ACCESS_KEY_ID)))
        }
    }
}

/// What is needed to put one profile together.
struct Stores<'l, 'a> {
    layers: &'l mut Layers<'a>,
    file: &'l CredentialsFile,
    /// The region of profiles without their own.
    region: &'l str,
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
            _ => (self.region.to_owned(), report.source(settings::REGION.row.path)),
        };
        report.show_from(&key, region.clone(), source);
        region
    }

    /// Decides what the profile's requests are signed with, and shows where it was found.
    fn credentials(&mut self, found: Found<'_>) -> Result<Credentials, Reported> {
        let key = format!("{}.credentials", found.prefix);
        let (credentials, source) = self.find_credentials(found, &key)?;
        let value = match &credentials {
            Credentials::Keys { keys, .. } => key_shown(&keys.access_key_id),
            Credentials::Anonymous => "anonymous".to_owned(),
            Credentials::Missing(_) => "missing".to_owned(),
        };
        let value = match &credentials {
            Credentials::Keys { source: CredentialSource::File { section, .. }, .. } => {
                format!("{value}, section [{section}]")
            }
            Credentials::Keys { source: CredentialSource::EndpointUrl(_), .. } => {
                format!("{value}, in the endpoint URL")
            }
            _ => value,
        };
        self.layers.report.settings.push(Effective { key, value, source });
        Ok(credentials)
    }

    fn find_credentials(
        &mut self,
        found: Found<'_>,
        key: &str,
    ) -> Result<(Credentials, Source), Reported> {
        let endpoint_key = format!("{}.endpoint", found.prefix);
        let endpoint_source = self.layers.report.source(&endpoint_key);
        if found.anonymous {
            self.check_anonymous(&found, key)?;
            let source = self.source_in_file(&found, "anonymous");
            return Ok((Credentials::Anonymous, source));
        }
        if let Some(keys) = found.url_keys {
            let written = match &endpoint_source {
                Source::Variable(name) => name.clone(),
                _ => endpoint_key,
            };
            let source = CredentialSource::EndpointUrl(written);
            return Ok((Credentials::Keys { keys, source }, endpoint_source));
        }
        if let Some(keys) = found.environment_keys {
            let source = Source::Variable(settings::ACCESS_KEY_ID.to_owned());
            let credentials = Credentials::Keys { keys, source: CredentialSource::Environment };
            return Ok((credentials, source));
        }
        self.in_section(&found)
    }

    /// `anonymous: true` beside other credentials: in the file that is a contradiction, while keys
    /// in the environment may be meant for another program.
    fn check_anonymous(&mut self, found: &Found<'_>, key: &str) -> Result<(), Reported> {
        let file_names_section = self
            .layers
            .file
            .as_ref()
            .is_some_and(|file| file.get(&found.path("section")).is_some());
        if found.url_keys.is_some() || file_names_section {
            let other = if file_names_section { "a section" } else { "keys in the endpoint URL" };
            let source = self.source_in_file(found, "anonymous");
            let problem = Problem::new(source, format!("is anonymous and has {other}: choose one"));
            return Err(self.layers.report.problem(problem.key(key)));
        }
        if found.environment_keys.is_some() {
            self.layers
                .report
                .warnings
                .push(format!("{} is not used: {key} says anonymous", settings::ACCESS_KEY_ID));
        }
        Ok(())
    }

    /// The keys of an INI section.
    fn in_section(&mut self, found: &Found<'_>) -> Result<(Credentials, Source), Reported> {
        let section = found.section_name();
        let file = match &self.file.path {
            Some(path) => path.display().to_string(),
            None => format!(
                "a credentials file ({} is not set)",
                settings::CREDENTIALS_FILE.row.variable
            ),
        };
        if found.name.is_some_and(|name| name != section) {
            self.taken.insert(section.to_owned());
        }
        if let (Some(Section { keys: Some(keys), line, .. }), Some(path)) =
            (self.file.sections.get(section), &self.file.path)
        {
            let source = CredentialSource::File { path: path.clone(), section: section.to_owned() };
            let credentials = Credentials::Keys { keys: keys.clone(), source };
            return Ok((credentials, Source::File { path: path.clone(), line: Some(*line) }));
        }
        let lacks = match self.file.sections.get(section) {
            Some(_) => format!("section [{section}] of {file} has no keys"),
            None => format!("there is no section [{section}] in {file}"),
        };
        let meant = nearest(section, self.file.sections.keys().map(String::as_str))
            .filter(|meant| *meant != section)
            .map(|meant| format!("; did you mean [{meant}]?"))
            .unwrap_or_default();
        if let Source::File { .. } = self.source_in_file(found, "section") {
            let problem =
                Problem::new(self.source_in_file(found, "section"), format!("{lacks}{meant}"));
            let key = format!("{}.credentials.section", found.prefix);
            return Err(self.layers.report.problem(problem.key(key)));
        }
        let report = &mut self.layers.report;
        let written = report.source(&format!("{}.endpoint", found.prefix));
        // Whoever uses named profiles alone needs no word about the default one.
        if found.name.is_some() || found.section.is_some() || written != Source::Default {
            let urls = match found.name {
                Some(name) => format!("{name}@"),
                None => "URLs without a profile".to_owned(),
            };
            report.warnings.push(format!("{urls} will be refused: {lacks}{meant}"));
        }
        let looked = match found.name {
            Some(_) => lacks,
            None => format!("{} is not set, and {lacks}", settings::ACCESS_KEY_ID),
        };
        Ok((Credentials::Missing(looked), Source::Default))
    }

    /// Where the file says this of the profile's credentials.
    fn source_in_file(&self, found: &Found<'_>, setting: &'static str) -> Source {
        let path = found.path(setting);
        let file = self.layers.file.as_ref();
        let overridden = found.name.is_none()
            && setting == "section"
            && self.layers.env.get(settings::DEFAULT_SECTION).is_some();
        file.filter(|file| !overridden && file.get(&path).is_some())
            .map_or(Source::Default, |file| file.source(&path))
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

/// What was written of one profile's credentials.
struct Found<'n> {
    prefix: String,
    name: Option<&'n str>,
    /// The section that was named.
    section: Option<String>,
    anonymous: bool,
    url_keys: Option<Keys>,
    environment_keys: Option<Keys>,
}

impl Found<'_> {
    fn section_name(&self) -> &str {
        self.section.as_deref().or(self.name).unwrap_or("default")
    }

    /// The path of a key under `credentials`.
    fn path(&self, setting: &'static str) -> Vec<&str> {
        let of_profile = match self.name {
            Some(name) => vec![PROFILES, name],
            None => vec![DEFAULT_PROFILE],
        };
        of_profile.into_iter().chain(["credentials", setting]).collect()
    }
}

/// The last four characters of a key id, and no more than half of it.
fn key_shown(access_key_id: &str) -> String {
    match access_key_id.len().checked_sub(4).filter(|hidden| *hidden >= 4) {
        Some(hidden) => {
            format!("key ending {}", access_key_id.get(hidden..).unwrap_or_default())
        }
        None => "key (redacted)".to_owned(),
    }
}

/// The word for an addressing style in the file.
fn addressing_word(addressing: Addressing) -> &'static str {
    match addressing {
        Addressing::Path => "path",
        Addressing::Virtual => "virtual",
    }
}
