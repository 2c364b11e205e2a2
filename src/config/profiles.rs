//! The profiles: endpoints from the environment and the file, access keys from the credentials file,
//! and contradictions between them.

mod credentials;
mod endpoints;
mod providers;
mod store_tls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::certificate::store_tls::StoreTls;
use crate::config::Profiles;
use crate::config::cache::{self, Forbidden};
use crate::config::headers;
use crate::config::ini::{CredentialsFile, IniSection};
use crate::config::layers::{Effective, Layers, Location, NOT_USED, Reported};
use crate::config::load::Inputs;
use crate::config::nearest::nearest;
use crate::config::problem::{Problem, ValueSource};
use crate::config::profiles::credentials::{CredentialSettings, environment_keys};
use crate::config::profiles::endpoints::WrittenEndpoints;
use crate::config::proxy::{Proxies, ProxyChoice};
use crate::config::rules;
use crate::config::settings::gateway::gateway;
use crate::config::settings::paths::{DEFAULT_PROFILE, PROFILES};
use crate::config::settings::profile::{self, WrittenCredentials, WrittenProfile, store};
use crate::config::settings::variable;
use crate::profile::{DEFAULT_LABEL, Profile, Way, WhichFolders};
use crate::s3::address::is_profile_name;
use crate::s3::credentials::Keys;
use crate::s3::endpoint::{Addressing, Endpoint};
use crate::s3::proxy::Proxy;

/// The stores, and the INI sections that no endpoint was written for.
#[derive(Debug)]
pub(super) struct ResolvedProfiles {
    /// Those without a mistake.
    pub(super) profiles: Profiles,
    pub(super) orphan_sections: Vec<String>,
    /// The labels of profiles with mistakes, which are reported.
    pub(super) wrong: BTreeSet<String>,
}

impl ResolvedProfiles {
    /// Whether there is a profile of this name, right or not. `None` is the default profile.
    pub(super) fn has(&self, name: Option<&str>) -> bool {
        self.profiles.get(name).is_some() || self.wrong.contains(name.unwrap_or(DEFAULT_LABEL))
    }
}

/// The settings of profiles without their own.
#[derive(Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) region: &'a str,
    pub(super) content_security_policy: bool,
    /// The rules of the cache for all profiles.
    pub(super) cache: &'a cache::SharedRules,
    pub(super) proxies: &'a Proxies,
    /// Reads the files of certificates.
    pub(super) inputs: &'a Inputs<'a>,
}

/// Reads every profile.
pub(super) fn resolve(
    layers: &mut Layers<'_>,
    file: &CredentialsFile,
    common: &Common<'_>,
) -> ResolvedProfiles {
    let is_alone = layers.flags.endpoint.is_some();
    let environment_keys = match layers.flags.access_key_file {
        // An option overrides the environment.
        Some(_) => Ok(None),
        None => environment_keys(layers),
    };
    let declared = if is_alone { none_declared(layers) } else { declared(layers) };
    let default_at = default_location(layers);
    let mut stores = ProfileReader::new(layers, file, common);

    let default = match default_at {
        Some(location) => stores.default_profile(&location, environment_keys).map(Some),
        None => {
            stores.show_no_default();
            environment_keys.map(|_| None)
        }
    };
    let has_default = !matches!(default, Ok(None));
    let mut named = Vec::new();
    for name in &declared {
        named.push((name, stores.named(name)));
    }
    let mut orphan_sections = Vec::new();
    for (name, section) in file.sections.iter().filter(|_| !is_alone) {
        if name == DEFAULT_LABEL || declared.contains(name) || stores.taken.contains(name) {
            continue;
        }
        let is_orphan = stores.warn_of_orphan(name, section, &declared, has_default);
        if has_default && section.keys.is_some() && is_profile_name(name) {
            named.push((name, stores.named(name)));
        }
        if is_orphan {
            orphan_sections.push(name.clone());
        }
    }

    let mut wrong = BTreeSet::new();
    let default = default.unwrap_or_else(|Reported| {
        wrong.insert(DEFAULT_LABEL.to_owned());
        None
    });
    let default = default.map(Arc::new);
    let mut right = BTreeMap::new();
    for (name, profile) in named {
        match profile {
            Ok(profile) => {
                right.insert(name.clone(), Arc::new(profile));
            }
            Err(Reported) => {
                wrong.insert(name.clone());
            }
        }
    }
    let named = right;
    let is_reported =
        layers.report.warnings.iter().any(|warning| warning.contains("will be refused"));
    if !is_reported && !default.iter().chain(named.values()).any(|it| it.is_usable()) {
        layers.report.warnings.push(
            "no profile has credentials: all requests for objects will be refused; s3proxy check \
             shows where s3proxy looks for credentials"
                .to_owned(),
        );
    }
    ResolvedProfiles {
        profiles: Profiles { default, named, aliases: Arc::default() },
        orphan_sections,
        wrong,
    }
}

/// Where the settings of the default profile are written: `profiles.default` is another name of
/// `default_profile`. `None` if there is a configuration file, and neither it nor the variable of an
/// endpoint names the profile: a file that names other stores must not also serve all that the access key
/// in `~/.aws/credentials` may read.
fn default_location(layers: &mut Layers<'_>) -> Option<Vec<&'static str>> {
    let (section, alias) = (vec![DEFAULT_PROFILE], vec![PROFILES, DEFAULT_LABEL]);
    let (has_section, has_alias) = (layers.is_in_file(&section), layers.is_in_file(&alias));
    if has_section && has_alias {
        let source = layers.file.as_ref().map_or(ValueSource::Default, |file| file.source(&alias));
        let message =
            "is the default profile, which default_profile defines already: keep one of them";
        layers.report.problem(Problem::new(source, message).key(alias.join(".")));
    }
    let own = format!("{}{DEFAULT_LABEL}", variable::PROFILE_ENDPOINT);
    let named = DEFAULT_ENDPOINTS.iter().find_map(|name| layers.env.get(name));
    if let (Some((one, url)), Some((other, other_url))) = (named, layers.env.get(&own))
        && url != other_url
    {
        let message =
            format!("is the endpoint of the default profile, and so is {one}: set one of them");
        layers.report.problem(Problem::new(ValueSource::Variable(other.to_owned()), message));
    }
    let has_endpoint = named.is_some() || layers.env.get(&own).is_some();
    if has_alias {
        Some(alias)
    } else {
        (has_section || has_endpoint || layers.file.is_none()).then_some(section)
    }
}

/// The variables of the endpoint of the default profile; the first that is set counts.
const DEFAULT_ENDPOINTS: [&str; 3] =
    [variable::DEFAULT_ENDPOINT, variable::AWS_ENDPOINT, variable::AWS_ENDPOINT_OF_ALL];

/// The names of profiles that the file or a variable defines, without that of the default profile.
fn declared(layers: &mut Layers<'_>) -> BTreeSet<String> {
    let in_file = layers.file.iter().flat_map(|file| file.profiles());
    let in_variables = layers.env.profiles().map(|(_, name)| name);
    let names = in_file.chain(in_variables).filter(|name| *name != DEFAULT_LABEL);
    let names = names.map(str::to_owned).collect();
    for (variable, name) in layers.env.profiles() {
        if !is_profile_name(name) {
            let message = "names a profile that cannot be used in a URL: names of profiles consist of \
                           letters, digits and ._-";
            layers
                .report
                .problem(Problem::new(ValueSource::Variable(variable.to_owned()), message));
        }
        if layers.env.get(variable).is_none() {
            layers.report.warnings.push(format!(
                "{variable} is empty: {name}@ uses the endpoint of the file, or else of the \
                 default profile"
            ));
        }
    }
    names
}

/// No named profile beside the store of `--endpoint`; warns of those that variables define.
fn none_declared(layers: &mut Layers<'_>) -> BTreeSet<String> {
    for (variable, _) in layers.env.profiles() {
        layers.report.warnings.push(format!("{variable} {NOT_USED}"));
    }
    BTreeSet::new()
}

/// What is needed to put one profile together.
struct ProfileReader<'l, 'a> {
    layers: &'l mut Layers<'a>,
    file: &'l CredentialsFile,
    common: &'l Common<'l>,
    /// The proxy of the profile that is read, and where it is written.
    proxy: Option<(ProxyChoice, ValueSource)>,
    /// TLS of the profile that is read.
    tls: Option<Arc<StoreTls>>,
    /// The endpoint of the default profile, if it is not AWS.
    base: Option<Endpoint>,
    /// Its further endpoints.
    base_further: Vec<Endpoint>,
    /// Sections that a profile of another name uses.
    taken: BTreeSet<String>,
}

impl<'l, 'a> ProfileReader<'l, 'a> {
    fn new(layers: &'l mut Layers<'a>, file: &'l CredentialsFile, common: &'l Common<'l>) -> Self {
        let (base, base_further, taken) = (None, Vec::new(), BTreeSet::new());
        Self { layers, file, common, proxy: None, tls: None, base, base_further, taken }
    }

    fn default_profile(
        &mut self,
        location: &[&str],
        environment_keys: Result<Option<Keys>, Reported>,
    ) -> Result<Profile, Reported> {
        let env = self.layers.env;
        let own = env.get(&format!("{}{DEFAULT_LABEL}", variable::PROFILE_ENDPOINT));
        let url = DEFAULT_ENDPOINTS.iter().find_map(|name| env.get(name)).or(own);
        let section = env.get(variable::DEFAULT_SECTION);
        self.profile(location, None, url, section, environment_keys)
    }

    /// Shows that there is no default profile, and what is not used because of that.
    fn show_no_default(&mut self) {
        let value = "(no default profile: URLs without profile@ are refused)".to_owned();
        let key = format!("{DEFAULT_PROFILE}.endpoint");
        let report = &mut self.layers.report;
        report.settings.push(Effective { key, value, source: ValueSource::Default });
        for name in [variable::ACCESS_KEY_ID, variable::DEFAULT_SECTION] {
            if self.layers.env.get(name).is_some() {
                report.warnings.push(format!(
                    "{name} is not used: there is a configuration file, and it does not name a default \
                     profile; add default_profile: to it, or set {}, to serve URLs without profile@",
                    variable::DEFAULT_ENDPOINT
                ));
            }
        }
    }

    fn named(&mut self, name: &str) -> Result<Profile, Reported> {
        let url = self.layers.env.get(&format!("{}{name}", variable::PROFILE_ENDPOINT));
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
        let place = |variable| Location { prefix, variable, ..Location::default() };
        let endpoint_variable = url.map(|url| (store::endpoint().row.path, url));
        let written = WrittenProfile::read(layers, &place(endpoint_variable))?;
        let section_variable =
            section.map(|section| (profile::credentials::section().row.path, section));
        let mut written_credentials = WrittenCredentials::read(layers, &place(section_variable))?;
        if written_credentials.section.is_none() {
            written_credentials.section = only_section(layers, self.file);
        }
        let key = |setting: &str| format!("{}.{setting}", prefix.join("."));
        let forbidden = if let Some(value) = &written.cache_control
            && let Some(reason) = headers::forbids_storing(value)
        {
            Some((store::cache_control().row.path, reason))
        } else if !written.request_headers.is_empty() {
            let reason =
                "forwards headers of clients to the store, so responses may depend on them";
            Some((store::request_headers().row.path, reason))
        } else {
            None
        };
        let forbidden = forbidden.map(|(setting, reason)| Forbidden { key: key(setting), reason });
        let cache = cache::of_profile(
            layers,
            prefix,
            self.common.cache,
            written.hips != WhichFolders::None,
            forbidden.as_ref(),
        )?;
        // Without these the credentials are unknown.
        let wrong = profile::credentials::ROWS
            .iter()
            .any(|setting| layers.report.is_unread(&key(setting.path)));

        let tls = self.read_store_tls(&key, &written);
        self.tls = tls.as_ref().ok().cloned().flatten();
        let WrittenEndpoints { explicit, url_keys, further } =
            self.endpoints(&key, name.is_none(), &written)?;
        if wrong {
            return Err(Reported);
        }
        let found = CredentialSettings {
            prefix: prefix.join("."),
            path: prefix,
            name,
            written: written_credentials,
            url_keys,
            environment_keys: environment_keys?,
        };
        let source = self.layers.report.source(&key("proxy"));
        self.proxy = written.proxy.map(|choice| (choice, source));
        let region = self.region(&found, written.region);
        let (credentials, provider) = self.credentials(found, explicit.as_ref(), &region)?;
        let tls = tls?;
        let default_addressing =
            if explicit.is_some() { Addressing::Path } else { Addressing::Virtual };
        let addressing = written.addressing.unwrap_or(default_addressing);
        let endpoint = explicit.unwrap_or_else(|| Endpoint::aws(&region));
        let content_security_policy =
            written.content_security_policy.unwrap_or(self.common.content_security_policy);
        let proxy = self.way(&endpoint);
        let way = |endpoint: Endpoint| {
            let proxy = self.way(&endpoint).map(|(proxy, _)| proxy);
            Way { endpoint, proxy }
        };
        let further: Vec<_> = further.into_iter().map(way).collect();
        let report = &mut self.layers.report;
        if let Some(tls) = &tls {
            let setting = if further.is_empty() { "endpoint" } else { "endpoints" };
            let all = std::iter::once(&endpoint).chain(further.iter().map(|way| &way.endpoint));
            for endpoint in all.filter(|endpoint| !endpoint.tls) {
                report.warnings.push(format!(
                    "{}: TLS with {tls} has no effect on requests to {endpoint}, which is plain HTTP",
                    key(setting)
                ));
            }
        }
        if let Some((proxy, source)) = &proxy {
            report.show_from(&key("proxy"), proxy.to_string(), source.clone());
        }
        report.show(&key("content_security_policy"), content_security_policy.to_string());
        if further.is_empty() {
            report.show(&key("endpoint"), endpoint.to_string());
        } else {
            let source = report.source(&key("endpoints"));
            report.show_from(&key("endpoint"), format!("{endpoint} (the first)"), source);
        }
        report.show(&key("addressing"), addressing_word(addressing).to_owned());
        if written.buckets.is_none() {
            report.show(&key("buckets"), "(every bucket)".to_owned());
        }
        Ok(Profile {
            name: name.map(str::to_owned),
            endpoint,
            proxy: proxy.map(|(proxy, _)| proxy),
            further,
            hedge: written.hedge,
            tls,
            region,
            addressing,
            credentials,
            provider: provider.map(Arc::new),
            buckets: written.buckets,
            missing_on_403: written.missing_on_403,
            content_type: written.content_type,
            content_security_policy,
            response_headers: written.response_headers,
            request_headers: written.request_headers,
            upstream_headers: written.upstream_headers,
            cache_control: written.cache_control,
            index: written.index,
            listing: written.listing,
            listing_ttl: written.listing_ttl,
            viewer: written.viewer,
            hips: written.hips,
            archives: written.archives,
            listed: written.listed,
            surveys: written.surveys,
            cache,
        })
    }

    /// The proxy on the way to an endpoint of the profile that is read, and where it is written.
    fn way(&self, endpoint: &Endpoint) -> Option<(Proxy, ValueSource)> {
        let own = self.proxy.as_ref().map(|(choice, source)| (choice, source.clone()));
        self.common.proxies.of(endpoint, own)
    }

    /// The region of the profile: its own, that of its section, or the one of all.
    fn region(&mut self, found: &CredentialSettings<'_>, own: Option<String>) -> String {
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
                (region, ValueSource::File { path: path.clone(), line: Some(line) })
            }
            _ => (self.common.region.to_owned(), report.source(gateway::region().row.path)),
        };
        report.show_from(&key, region.clone(), source);
        region
    }

    /// Warns of a section without an endpoint. Returns whether it did.
    fn warn_of_orphan(
        &mut self,
        name: &str,
        section: &IniSection,
        declared: &BTreeSet<String>,
        has_default: bool,
    ) -> bool {
        let of_default = self.layers.env.get(variable::DEFAULT_SECTION).map(|(_, name)| name);
        if of_default == Some(name) {
            return false;
        }
        let meant = nearest(name, declared.iter().map(String::as_str))
            .map(|meant| format!(" (there is one for {meant})"))
            .unwrap_or_default();
        let place = match &self.file.path {
            Some(path) => ValueSource::File { path: path.clone(), line: Some(section.line) },
            None => ValueSource::Default,
        };
        let variable = variable::PROFILE_ENDPOINT;
        let fate = match section.keys {
            Some(_) if !is_profile_name(name) => {
                "it cannot be used in a URL (names consist of letters, digits and ._-) and is \
                 not used"
                    .to_owned()
            }
            Some(_) if !has_default => format!(
                "it is not used, because there is no default profile whose endpoint it could use; \
                 set profiles.{name}.endpoint or {variable}{name} to serve {name}@"
            ),
            Some(_) => format!(
                "{name}@ uses its access key at the endpoint of the default profile; \
                 set {variable}{name} if that is wrong"
            ),
            None => "it has no access key and is not used".to_owned(),
        };
        let warning = format!("{place}: section [{name}] has no endpoint{meant}: {fate}");
        self.layers.report.warnings.push(warning);
        true
    }
}

/// The section of a file that `--access-key-file` names, if it is the only one and not `[default]`.
fn only_section(layers: &Layers<'_>, file: &CredentialsFile) -> Option<String> {
    layers.flags.access_key_file.as_ref()?;
    let mut names = file.sections.keys();
    names.next().filter(|_| names.next().is_none()).cloned()
}

/// The word for an addressing style in the file.
fn addressing_word(addressing: Addressing) -> &'static str {
    let found = rules::ADDRESSINGS.iter().find(|(_, style)| *style == addressing);
    found.map_or("", |(word, _)| *word)
}
