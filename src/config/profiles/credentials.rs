//! The credentials of a profile: the access key in its endpoint URL, else (for the default profile) that
//! of the environment, else a section of the credentials file, else (for the default profile) a provider that the
//! environment names. `from` names one of them. `anonymous` sends unsigned requests.

use crate::config::credentials_from::CredentialsFrom;
use crate::config::ini::{IniSection, NOT_A_CREDENTIAL};
use crate::config::layers::{Effective, Layers, Reported};
use crate::config::nearest::nearest;
use crate::config::problem::{Problem, ValueSource};
use crate::config::profiles::ProfileReader;
use crate::config::settings::gateway::gateway;
use crate::config::settings::profile::WrittenCredentials;
use crate::config::settings::variable;
use crate::s3::credentials::{CredentialSource, Credentials, Keys, is_credential};
use crate::s3::endpoint::Endpoint;
use crate::s3::provider::Provider;
use crate::s3::secret::Secret;

/// `AWS_ACCESS_KEY_ID` and its companions.
pub(super) fn environment_keys(layers: &mut Layers<'_>) -> Result<Option<Keys>, Reported> {
    let env = layers.env;
    let report = &mut layers.report;
    let mut wrong = false;
    let token = [variable::SESSION_TOKEN, variable::OLD_SESSION_TOKEN];
    let token = token.into_iter().find(|name| env.get(name).is_some());
    let token = token.unwrap_or(variable::SESSION_TOKEN);
    for name in [variable::ACCESS_KEY_ID, variable::SECRET_ACCESS_KEY, token] {
        if env.get(name).is_some_and(|(_, text)| !is_credential(text)) {
            report.problem(Problem::new(ValueSource::Variable(name.to_owned()), NOT_A_CREDENTIAL));
            wrong = true;
        }
    }
    let text = |name| env.get(name).map(|(_, text)| text.to_owned());
    let half = |has: &str, lacks: &str| {
        let source = ValueSource::Variable(has.to_owned());
        Problem::new(source, format!("is set without {lacks}"))
    };
    match (text(variable::ACCESS_KEY_ID), text(variable::SECRET_ACCESS_KEY)) {
        _ if wrong => Err(Reported),
        (Some(access_key_id), Some(secret)) => Ok(Some(Keys {
            access_key_id,
            secret_access_key: Secret::new(secret),
            session_token: text(token).map(Secret::new),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(report.problem(half(variable::ACCESS_KEY_ID, variable::SECRET_ACCESS_KEY)))
        }
        (None, Some(_)) => {
            Err(report.problem(half(variable::SECRET_ACCESS_KEY, variable::ACCESS_KEY_ID)))
        }
    }
}

/// What was written of one profile's credentials.
pub(super) struct CredentialSettings<'n> {
    pub(super) prefix: String,
    /// The same, in its parts.
    pub(super) path: &'n [&'n str],
    pub(super) name: Option<&'n str>,
    pub(super) written: WrittenCredentials,
    pub(super) url_keys: Option<Keys>,
    pub(super) environment_keys: Option<Keys>,
}

impl CredentialSettings<'_> {
    pub(super) fn section_name(&self) -> &str {
        self.written.section.as_deref().or(self.name).unwrap_or("default")
    }

    /// The setting by which requests are unsigned, if one says so.
    pub(super) fn anonymous_by(&self) -> Option<&'static str> {
        match self.written.from {
            _ if self.written.anonymous => Some("anonymous"),
            Some(CredentialsFrom::Anonymous) => Some("from"),
            _ => None,
        }
    }

    /// The path of a key under `credentials`.
    pub(super) fn path(&self, setting: &'static str) -> Vec<&str> {
        self.path.iter().copied().chain(["credentials", setting]).collect()
    }
}

impl ProfileReader<'_, '_> {
    /// Decides what the profile's requests are signed with, and shows where it was found.
    pub(super) fn credentials(
        &mut self,
        mut found: CredentialSettings<'_>,
        endpoint: Option<&Endpoint>,
        region: &str,
    ) -> Result<(Credentials, Option<Provider>), Reported> {
        let key = format!("{}.credentials", found.prefix);
        let provider = self.provider(&mut found, endpoint, region)?;
        if let Some((provider, source)) = provider {
            let value = format!("from {provider}");
            self.layers.report.settings.push(Effective { key, value, source });
            let missing = Credentials::Missing(format!("{provider} has issued none yet"));
            return Ok((missing, Some(provider)));
        }
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
        Ok((credentials, None))
    }

    fn find_credentials(
        &mut self,
        found: CredentialSettings<'_>,
        key: &str,
    ) -> Result<(Credentials, ValueSource), Reported> {
        let endpoint_key = format!("{}.endpoint", found.prefix);
        let endpoint_source = self.layers.report.source(&endpoint_key);
        if let Some(setting) = found.anonymous_by() {
            self.check_anonymous(&found, setting, key)?;
            let source = self.source_in_file(&found, setting);
            return Ok((Credentials::Anonymous, source));
        }
        if let Some(keys) = found.url_keys {
            let written = match &endpoint_source {
                ValueSource::Variable(name) => name.clone(),
                _ => endpoint_key,
            };
            let source = CredentialSource::EndpointUrl(written);
            return Ok((Credentials::Keys { keys, source }, endpoint_source));
        }
        if let Some(keys) = found.environment_keys {
            let source = ValueSource::Variable(variable::ACCESS_KEY_ID.to_owned());
            let credentials = Credentials::Keys { keys, source: CredentialSource::Environment };
            return Ok((credentials, source));
        }
        self.in_section(&found)
    }

    /// `anonymous: true` beside other credentials: in the file that is a contradiction, while an
    /// access key in the environment may be meant for another program.
    fn check_anonymous(
        &mut self,
        found: &CredentialSettings<'_>,
        setting: &'static str,
        key: &str,
    ) -> Result<(), Reported> {
        let file_names_section = self
            .layers
            .file
            .as_ref()
            .is_some_and(|file| file.get(&found.path("section")).is_some());
        if found.url_keys.is_some() || file_names_section {
            let other = if file_names_section { "a section" } else { "keys in the endpoint URL" };
            let source = self.source_in_file(found, setting);
            let problem = Problem::new(source, format!("is anonymous and has {other}: choose one"));
            return Err(self.layers.report.problem(problem.key(key)));
        }
        if found.environment_keys.is_some() {
            self.layers
                .report
                .warnings
                .push(format!("{} is not used: {key} is anonymous", variable::ACCESS_KEY_ID));
        }
        Ok(())
    }

    /// The access key of an INI section.
    fn in_section(
        &mut self,
        found: &CredentialSettings<'_>,
    ) -> Result<(Credentials, ValueSource), Reported> {
        let section = found.section_name();
        let file = match &self.file.path {
            Some(path) => path.display().to_string(),
            None => format!(
                "a credentials file ({} is not set)",
                gateway::credentials_file().row.variable
            ),
        };
        if found.name.is_some_and(|name| name != section) {
            self.taken.insert(section.to_owned());
        }
        if let (Some(IniSection { keys: Some(keys), line, .. }), Some(path)) =
            (self.file.sections.get(section), &self.file.path)
        {
            let source = CredentialSource::File { path: path.clone(), section: section.to_owned() };
            let credentials = Credentials::Keys { keys: keys.clone(), source };
            return Ok((credentials, ValueSource::File { path: path.clone(), line: Some(*line) }));
        }
        let lacks = match self.file.sections.get(section) {
            Some(_) => format!("section [{section}] of {file} has no access key"),
            None => format!("there is no section [{section}] in {file}"),
        };
        let meant = nearest(section, self.file.sections.keys().map(String::as_str))
            .filter(|meant| *meant != section)
            .map(|meant| format!("; did you mean [{meant}]?"))
            .unwrap_or_default();
        if let ValueSource::File { .. } = self.source_in_file(found, "section") {
            let problem =
                Problem::new(self.source_in_file(found, "section"), format!("{lacks}{meant}"));
            let key = format!("{}.credentials.section", found.prefix);
            return Err(self.layers.report.problem(problem.key(key)));
        }
        let report = &mut self.layers.report;
        let written = report.source(&format!("{}.endpoint", found.prefix));
        // With named profiles only, a warning about the default profile would be noise.
        if found.name.is_some()
            || found.written.section.is_some()
            || written != ValueSource::Default
        {
            let urls = match found.name {
                Some(name) => format!("{name}@"),
                None => "URLs without a profile".to_owned(),
            };
            report.warnings.push(format!("{urls} will be refused: {lacks}{meant}"));
        }
        let looked = match found.name {
            Some(_) => lacks,
            None => format!("{} is not set, and {lacks}", variable::ACCESS_KEY_ID),
        };
        Ok((Credentials::Missing(looked), ValueSource::Default))
    }

    /// Where the file has this setting of the profile's credentials.
    pub(super) fn source_in_file(
        &self,
        found: &CredentialSettings<'_>,
        setting: &'static str,
    ) -> ValueSource {
        let path = found.path(setting);
        let file = self.layers.file.as_ref();
        let overridden = found.name.is_none()
            && setting == "section"
            && self.layers.env.get(variable::DEFAULT_SECTION).is_some();
        file.filter(|file| !overridden && file.get(&path).is_some())
            .map_or(ValueSource::Default, |file| file.source(&path))
    }
}

/// The last four characters of an access key id, and no more than half of it.
fn key_shown(access_key_id: &str) -> String {
    match access_key_id.len().checked_sub(4).filter(|hidden| *hidden >= 4) {
        Some(hidden) => {
            format!("access key ending {}", access_key_id.get(hidden..).unwrap_or_default())
        }
        None => "access key (redacted)".to_owned(),
    }
}
