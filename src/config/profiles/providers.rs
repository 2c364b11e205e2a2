//! The provider of a profile's credentials: named by `credentials.from`, by a role for its access key, by its
//! section of the credentials file, or (for the default profile) by the environment, in this order.

use std::path::PathBuf;

use crate::config::credentials_from::{CredentialsFrom, NOT_ALLOWED};
use crate::config::ini::IniSection;
use crate::config::layers::Reported;
use crate::config::problem::{Problem, ValueSource};
use crate::config::profiles::ProfileReader;
use crate::config::profiles::credentials::CredentialSettings;
use crate::config::settings::profile::WrittenCredentials;
use crate::config::settings::variable;
use crate::s3::credentials::{Keys, is_credential};
use crate::s3::endpoint::Endpoint;
use crate::s3::provider::{ContainerToken, Provider, StsRole, is_allowed, split_command};
use crate::s3::secret::Secret;

/// The address of the container endpoint of ECS.
const ECS: &str = "http://169.254.170.2";
/// The address of the metadata of an EC2 instance.
const EC2: &str = "http://169.254.169.254";
/// The name of a session if none is set.
const SESSION_NAME: &str = "s3proxy";

type Found = Option<(Provider, ValueSource)>;

impl ProfileReader<'_, '_> {
    /// The provider, if one issues the credentials of the profile, and where it is named.
    pub(super) fn provider(
        &mut self,
        found: &mut CredentialSettings<'_>,
        endpoint: Option<&Endpoint>,
        region: &str,
    ) -> Result<Found, Reported> {
        let from = found.written.from;
        self.check_unused(found)?;
        if found.anonymous_by().is_some() {
            return Ok(None);
        }
        if let Some(from) = from.filter(|from| *from != CredentialsFrom::Keys) {
            if found.url_keys.is_some() {
                let other =
                    format!("is {} and has keys in the endpoint URL: choose one", from.word());
                return Err(self.refuse(found, "from", other));
            }
            let written = found.written.clone();
            let provider = self.provider_from(from, &written, endpoint, region);
            let provider = provider.map_err(|message| self.refuse(found, "from", message))?;
            return Ok(Some((provider, self.source_in_file(found, "from"))));
        }
        if let Some(arn) = found.written.role_arn.clone() {
            let keys = found.url_keys.take().or_else(|| found.environment_keys.take());
            let keys = keys.or_else(|| self.keys_of_section(found.section_name()));
            let role = self.role(&found.written, arn, endpoint, region);
            let role = role.map_err(|message| self.refuse(found, "role_arn", message))?;
            let Some(keys) = keys else {
                let message = "needs an access key that assumes the role: in the credentials file, the \
                               endpoint URL or the environment; or from: web_identity";
                return Err(self.refuse(found, "role_arn", message.to_owned()));
            };
            if found.name.is_some_and(|name| name != found.section_name()) {
                self.taken.insert(found.section_name().to_owned());
            }
            let external_id = found.written.external_id.clone();
            let source = self.source_in_file(found, "role_arn");
            return Ok(Some((Provider::Role { role, keys, external_id }, source)));
        }
        if found.url_keys.is_some() || found.environment_keys.is_some() {
            return Ok(None);
        }
        let in_section = self.in_ini(found, endpoint, region)?;
        if in_section.is_some() || from == Some(CredentialsFrom::Keys) || found.name.is_some() {
            return Ok(in_section);
        }
        let has_keys = self.keys_of_section(found.section_name()).is_some();
        if has_keys { Ok(None) } else { self.in_environment(found, endpoint, region) }
    }

    /// Settings of a provider that is not the one of the profile.
    fn check_unused(&mut self, found: &CredentialSettings<'_>) -> Result<(), Reported> {
        let WrittenCredentials { from, anonymous, .. } = found.written;
        let written = &found.written;
        let is = |wanted: &[CredentialsFrom]| from.is_some_and(|from| wanted.contains(&from));
        let keys = from.is_none_or(|from| from == CredentialsFrom::Keys) && !anonymous;
        let mut result = Ok(());
        if anonymous && let Some(from) = from.filter(|from| *from != CredentialsFrom::Anonymous) {
            let message = format!("contradicts from: {}: choose one", from.word());
            result = Err(self.refuse(found, "anonymous", message));
        }
        // The section of AWS_PROFILE may be meant for another program.
        if let Some(from) = from
            && !matches!(from, CredentialsFrom::Keys | CredentialsFrom::Anonymous)
            && matches!(self.source_in_file(found, "section"), ValueSource::File { .. })
        {
            let message = format!("is not used: credentials come from: {}", from.word());
            result = Err(self.refuse(found, "section", message));
        }
        let web = is(&[CredentialsFrom::WebIdentity]);
        let container = is(&[CredentialsFrom::Container]);
        let roles = keys && written.role_arn.is_some() || web;
        for (setting, is_written, is_used, needs) in [
            (
                "process",
                written.process.is_some(),
                is(&[CredentialsFrom::Process]),
                "from: process",
            ),
            (
                "role_arn",
                written.role_arn.is_some(),
                keys || web,
                "an access key, or from: web_identity",
            ),
            ("role_session_name", written.role_session_name.is_some(), roles, "role_arn"),
            (
                "external_id",
                written.external_id.is_some(),
                roles && keys,
                "role_arn and an access key",
            ),
            ("sts_endpoint", written.sts_endpoint.is_some(), roles, "role_arn"),
            (
                "web_identity_token_file",
                written.web_identity_token_file.is_some(),
                web,
                "from: web_identity",
            ),
            (
                "uri",
                written.uri.is_some(),
                container || is(&[CredentialsFrom::Instance]),
                "from: container or from: instance",
            ),
            ("token_file", written.token_file.is_some(), container, "from: container"),
        ] {
            if is_written && !is_used {
                result = Err(self.refuse(found, setting, format!("is not used: it needs {needs}")));
            }
        }
        result
    }

    /// The provider of this name.
    fn provider_from(
        &self,
        from: CredentialsFrom,
        written: &WrittenCredentials,
        endpoint: Option<&Endpoint>,
        region: &str,
    ) -> Result<Provider, String> {
        match from {
            CredentialsFrom::Process => {
                let command = written.process.as_deref().and_then(split_command);
                let message = "needs credentials.process: the program, then its arguments; quotes must be closed";
                Ok(Provider::Process(command.ok_or(message)?))
            }
            CredentialsFrom::WebIdentity => {
                let token_file = written.web_identity_token_file.clone();
                let token_file = token_file.or_else(|| {
                    self.variable(variable::WEB_IDENTITY_TOKEN_FILE).map(PathBuf::from)
                });
                let arn = written.role_arn.clone().or_else(|| self.variable(variable::ROLE_ARN));
                let (Some(token_file), Some(arn)) = (&token_file, &arn) else {
                    let needs = [
                        (arn.is_none(), "role_arn", variable::ROLE_ARN),
                        (
                            token_file.is_none(),
                            "web_identity_token_file",
                            variable::WEB_IDENTITY_TOKEN_FILE,
                        ),
                    ];
                    let needs = needs.iter().filter(|(is_missing, ..)| *is_missing);
                    let needs =
                        needs.map(|(_, key, variable)| format!("needs {key}, or {variable}"));
                    return Err(needs.collect::<Vec<_>>().join("; "));
                };
                let (token_file, arn) = (token_file.clone(), arn.clone());
                let role = self.role(written, arn, endpoint, region)?;
                Ok(Provider::WebIdentity { role, token_file })
            }
            CredentialsFrom::Container => self.container(written),
            CredentialsFrom::Instance => {
                let ec2 = || Endpoint::parse(EC2).map_err(|error| error.to_string());
                let endpoint = written.uri.clone().map_or_else(ec2, Ok)?;
                Ok(Provider::Instance(endpoint))
            }
            CredentialsFrom::Keys | CredentialsFrom::Anonymous => {
                Err("names no provider".to_owned())
            }
        }
    }

    fn container(&self, written: &WrittenCredentials) -> Result<Provider, String> {
        let relative = || {
            let path = self.variable(variable::CONTAINER_RELATIVE_URI)?;
            path.starts_with('/').then(|| [ECS, &path].concat())
        };
        let endpoint = match &written.uri {
            Some(endpoint) => endpoint.clone(),
            None => {
                let url = relative().or_else(|| self.variable(variable::CONTAINER_FULL_URI));
                let url =
                    url.ok_or_else(|| format!("needs uri, or {}", variable::CONTAINER_FULL_URI))?;
                let endpoint = Endpoint::parse(&url)
                    .map_err(|error| format!("{}: {error}", variable::CONTAINER_FULL_URI))?;
                if !is_allowed(&endpoint) {
                    return Err(format!("{} {NOT_ALLOWED}", variable::CONTAINER_FULL_URI));
                }
                endpoint
            }
        };
        let file = written.token_file.clone();
        let file =
            file.or_else(|| self.variable(variable::CONTAINER_TOKEN_FILE).map(PathBuf::from));
        let token = match (file, self.variable(variable::CONTAINER_TOKEN)) {
            (Some(file), _) => ContainerToken::File(file),
            (None, Some(text)) if is_credential(&text.replace(' ', "")) => {
                ContainerToken::Text(Secret::new(text))
            }
            (None, Some(_)) => {
                return Err(format!("{} cannot be sent in a header", variable::CONTAINER_TOKEN));
            }
            (None, None) => ContainerToken::None,
        };
        Ok(Provider::Container { endpoint, token })
    }

    /// The role with this ARN, and its STS: as set, or the endpoint of the profile, or that of AWS.
    fn role(
        &self,
        written: &WrittenCredentials,
        arn: String,
        endpoint: Option<&Endpoint>,
        region: &str,
    ) -> Result<StsRole, String> {
        let is_aws = |endpoint: &&Endpoint| endpoint.host.ends_with(".amazonaws.com");
        let sts = match (&written.sts_endpoint, endpoint.filter(|it| !is_aws(it))) {
            (Some(sts), _) => sts.clone(),
            (None, Some(endpoint)) if is_allowed(endpoint) => endpoint.clone(),
            (None, Some(endpoint)) => {
                return Err(format!(
                    "needs credentials.sts_endpoint: others could read the credentials that {endpoint} issues"
                ));
            }
            (None, None) => {
                Endpoint { host: format!("sts.{region}.amazonaws.com"), ..Endpoint::aws(region) }
            }
        };
        let session_name = written.role_session_name.clone();
        let session_name = session_name.or_else(|| self.variable(variable::ROLE_SESSION_NAME));
        let session_name = session_name.unwrap_or_else(|| SESSION_NAME.to_owned());
        let proxy = self.way(&sts).map(|(proxy, _)| proxy);
        let tls = self.tls.clone();
        Ok(StsRole { arn, session_name, sts, proxy, tls, region: region.to_owned() })
    }

    /// The provider in the profile's section of the credentials file.
    fn in_ini(
        &mut self,
        found: &CredentialSettings<'_>,
        endpoint: Option<&Endpoint>,
        region: &str,
    ) -> Result<Found, Reported> {
        let section = found.section_name();
        let Some(IniSection { other, keys, line, .. }) = self.file.sections.get(section) else {
            return Ok(None);
        };
        let path = self.file.path.clone().unwrap_or_default();
        let source = ValueSource::File { path, line: Some(*line) };
        let written = WrittenCredentials {
            role_session_name: other.role_session_name.clone(),
            ..found.written.clone()
        };
        let provider = match (&other.role_arn, &other.web_identity_token_file) {
            (Some(arn), Some(token_file)) => self
                .role(&written, arn.clone(), endpoint, region)
                .map(|role| Provider::WebIdentity { role, token_file: token_file.into() }),
            (Some(arn), None) => {
                let named = other.source_profile.as_deref();
                let keys = self.keys_of_section(named.unwrap_or(section));
                let role = self.role(&written, arn.clone(), endpoint, region);
                let external_id = other.external_id.clone();
                match keys {
                    Some(keys) => role.map(|role| Provider::Role { role, keys, external_id }),
                    None => Err(match named {
                        Some(source) => {
                            format!("source_profile: there is no access key in [{source}]")
                        }
                        None => {
                            "role_arn needs source_profile or web_identity_token_file".to_owned()
                        }
                    }),
                }
            }
            (None, _) => match (keys, &other.credential_process) {
                (None, Some(command)) => split_command(command)
                    .map(Provider::Process)
                    .ok_or_else(|| "credential_process: a quote is not closed".to_owned()),
                _ => return Ok(None),
            },
        };
        if found.name.is_some_and(|name| name != section) {
            self.taken.insert(section.to_owned());
        }
        self.taken.extend(other.source_profile.clone());
        match provider {
            Ok(provider) => Ok(Some((provider, source))),
            Err(message) => {
                let problem = Problem::new(source, message).key(format!("[{section}]"));
                Err(self.layers.report.problem(problem))
            }
        }
    }

    /// The provider that the environment names: that of the pod, the task or the function.
    fn in_environment(
        &mut self,
        found: &CredentialSettings<'_>,
        endpoint: Option<&Endpoint>,
        region: &str,
    ) -> Result<Found, Reported> {
        for (from, name) in [
            (CredentialsFrom::WebIdentity, variable::WEB_IDENTITY_TOKEN_FILE),
            (CredentialsFrom::Container, variable::CONTAINER_RELATIVE_URI),
            (CredentialsFrom::Container, variable::CONTAINER_FULL_URI),
        ] {
            if self.variable(name).is_some() {
                let source = ValueSource::Variable(name.to_owned());
                return match self.provider_from(from, &found.written, endpoint, region) {
                    Ok(provider) => Ok(Some((provider, source))),
                    Err(message) => Err(self.layers.report.problem(Problem::new(source, message))),
                };
            }
        }
        Ok(None)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.layers.env.get(name).map(|(_, text)| text.to_owned())
    }

    fn keys_of_section(&self, section: &str) -> Option<Keys> {
        self.file.sections.get(section)?.keys.clone()
    }

    fn refuse(
        &mut self,
        found: &CredentialSettings<'_>,
        setting: &'static str,
        message: String,
    ) -> Reported {
        let source = self.source_in_file(found, setting);
        let key = format!("{}.credentials.{setting}", found.prefix);
        self.layers.report.problem(Problem::new(source, message).key(key))
    }
}
