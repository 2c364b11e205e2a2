//! The four places where a value may be written. The last of them wins: defaults, file, environment,
//! options.

use std::any::Any;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use log::LevelFilter;
use serde_yaml::Value;

use crate::config::endpoint_url::redacted;
use crate::config::env::Environment;
use crate::config::file::File;
use crate::config::listen::{self, Listen};
use crate::config::problem::{Problem, ValueSource};
use crate::config::rules::LOG_LEVELS;
use crate::config::settings::paths;
use crate::config::settings::row::{Row, Setting, Shown};
use crate::config::value::Written;
use crate::profile::DEFAULT_LABEL;

/// Options of the command line that override everything else, as typed.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`: the path of the YAML file.
    pub config: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--log-level`
    pub log_level: Option<String>,
    /// `--log-format`
    pub log_format: Option<String>,
    /// `--endpoint`: the URL of the one store to serve. Files and variables name no other store then.
    pub endpoint: Option<String>,
    /// `--access-key-file`
    pub access_key_file: Option<String>,
    /// `--bucket`, as a JSON list.
    pub buckets: Option<String>,
}

/// The option that names the one store to serve.
pub(super) const ENDPOINT_FLAG: &str = "--endpoint";
/// The end of a warning about a place that names other stores.
pub(super) const NOT_USED: &str = "is not used: --endpoint serves one store alone";

impl Flags {
    fn get(&self, path: &str) -> Option<(&'static str, &str)> {
        let (flag, value) = match path {
            "listen" => ("--listen", &self.listen),
            "log.level" => ("--log-level", &self.log_level),
            "log.format" => ("--log-format", &self.log_format),
            "default_profile.endpoint" => (ENDPOINT_FLAG, &self.endpoint),
            "default_profile.buckets" => ("--bucket", &self.buckets),
            "credentials_file" => ("--access-key-file", &self.access_key_file),
            _ => return None,
        };
        value.as_deref().map(|value| (flag, value))
    }
}

/// A setting as it will be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The full YAML path.
    pub key: String,
    /// One line, secrets redacted.
    pub value: String,
    pub source: ValueSource,
}

/// Problems, settings and warnings, collected while the layers are read.
#[derive(Debug, Default)]
pub(super) struct LoadReport {
    pub(super) problems: Vec<Problem>,
    pub(super) settings: Vec<Effective>,
    pub(super) warnings: Vec<String>,
    /// The settings whose value cannot be read.
    unread: BTreeSet<String>,
}

impl LoadReport {
    /// Where the value of a setting comes from.
    pub(super) fn source(&self, key: &str) -> ValueSource {
        let found = self.settings.iter().find(|setting| setting.key == key);
        found.map_or(ValueSource::Default, |setting| setting.source.clone())
    }

    /// Shows the value of another setting for one that was not written.
    pub(super) fn show_same(&mut self, key: &str, other: &str) {
        if let Some(Effective { value, source, .. }) =
            self.settings.iter().find(|setting| setting.key == other).cloned()
        {
            self.show_from(key, value, source);
        }
    }

    /// Shows a value that was computed.
    pub(super) fn show(&mut self, key: &str, value: String) {
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.key == key) {
            setting.value = value;
        }
    }

    /// Shows a value, and where it comes from.
    pub(super) fn show_from(&mut self, key: &str, value: String, source: ValueSource) {
        self.show(key, value);
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.key == key) {
            setting.source = source;
        }
    }

    /// Whether the value of this setting cannot be read, which is reported: what is used is its default.
    pub(super) fn is_unread(&self, key: &str) -> bool {
        self.unread.contains(key)
    }

    /// Whether a problem of this setting is reported. Its value may be known all the same.
    pub(super) fn is_wrong(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key.as_deref() == Some(key))
    }

    /// A problem of two settings that contradict each other, at the one that was written. None if one of
    /// them cannot be read: a default contradicts nothing that was meant.
    pub(super) fn contradiction(&mut self, first: &Row, second: &Row, message: &str) {
        if ![first.path, second.path].iter().any(|key| self.is_unread(key)) {
            self.problem_of_two(first, second, message);
        }
    }

    /// A problem of two settings, at the one that was written.
    pub(super) fn problem_of_two(&mut self, first: &Row, second: &Row, message: &str) {
        let keys = [first.path, second.path];
        let mut written = keys.into_iter().map(|key| (key, self.source(key)));
        let found = written.find(|(_, source)| *source != ValueSource::Default);
        let (key, source) = found.unwrap_or((first.path, ValueSource::Default));
        self.problem(Problem::new(source, message).key(key));
    }

    pub(super) fn problem(&mut self, problem: Problem) -> Reported {
        self.problems.push(problem);
        Reported
    }
}

/// The error of a value that cannot be used. The reason is among the problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported;

/// A mapping of the file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Location<'p> {
    /// The path of the mapping that the paths of its settings start from; empty for the whole file.
    pub(super) prefix: &'p [&'p str],
    /// A variable of this mapping alone: the path of its setting, its name and its text.
    pub(super) variable: Option<(&'static str, (&'p str, &'p str))>,
    /// Shows none of its settings by itself.
    pub(super) is_shown_elsewhere: bool,
}

/// Everything that was written.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    pub(super) flags: &'a Flags,
    pub(super) env: Environment<'a>,
    pub(super) file: Option<File>,
    pub(super) report: LoadReport,
}

impl Layers<'_> {
    /// Reads a setting. A mistake is a problem, and gives the default: the configuration is refused
    /// anyway, and so the other mistakes are found as well.
    ///
    /// # Errors
    /// Only a default that cannot be read.
    pub(super) fn read<T: 'static>(
        &mut self,
        place: &Location<'_>,
        setting: &Setting<T>,
    ) -> Result<T, Reported> {
        let default = setting.row.default_value();
        let path: Vec<&str> =
            place.prefix.iter().copied().chain(setting.row.path.split('.')).collect();
        let default = (ValueSource::Default, Written::Yaml(&default));
        let fallback = self.value(&paths::written(&path), setting, &default);
        self.written(place, setting, &path, Some(default)).map_or(fallback, Ok)
    }

    /// Reads a setting where it overrides another one: `None` if it is not written in this mapping.
    pub(super) fn read_override<T: 'static>(
        &mut self,
        place: &Location<'_>,
        setting: &Setting<T>,
    ) -> Option<T> {
        let path: Vec<&str> = place.prefix.iter().copied().chain([setting.row.key]).collect();
        self.written(place, setting, &path, None)
    }

    /// Reads every place where the setting is written, so that a mistake is reported even where
    /// another place overrides it, and takes the last.
    fn written<T: 'static>(
        &mut self,
        place: &Location<'_>,
        setting: &Setting<T>,
        path: &[&str],
        default: Option<(ValueSource, Written<'_>)>,
    ) -> Option<T> {
        let key = paths::written(path);
        let file = self.file.as_ref().and_then(|file| Some((file.source(path), file.get(path)?)));
        let file = file.map(|(source, value)| (source, value.clone()));
        let of_place = place.variable.filter(|(path, _)| *path == setting.row.path);
        let variable = of_place.map(|(_, variable)| variable);
        let is_global = place.prefix.is_empty();
        let variable =
            variable.or_else(|| self.env.get(setting.row.variable).filter(|_| is_global));
        let flag = self.flags.get(&key);
        let written = [
            file.as_ref().map(|(source, value)| (source.clone(), Written::Yaml(value))),
            variable
                .map(|(name, text)| (ValueSource::Variable(name.to_owned()), Written::Text(text))),
            flag.map(|(name, text)| (ValueSource::Flag(name), Written::Text(text))),
        ];
        let nothing = (ValueSource::Default, Written::Yaml(&Value::Null));
        let mut effective = default.unwrap_or(nothing);
        let mut result = None;
        for written in written.into_iter().flatten() {
            result = self.value(&key, setting, &written).ok();
            if result.is_none() {
                self.report.unread.insert(key.clone());
            } else {
                self.report.unread.remove(&key);
            }
            effective = written;
        }
        let how = if place.is_shown_elsewhere { Shown::Elsewhere } else { setting.shown };
        let (source, written) = effective;
        let in_force = result.as_ref().filter(|_| how == Shown::Whole).and_then(in_force);
        if let Some(value) = in_force.or_else(|| shown(how, written)) {
            self.report.settings.push(Effective { key, value, source });
        }
        result
    }

    /// What is written of a setting of the whole file, in the place that counts; `None` if nothing is. Where it
    /// cannot be read as a whole, parts of it can.
    pub(super) fn last_written(&self, row: &Row) -> Option<Written<'_>> {
        let path: Vec<&str> = row.path.split('.').collect();
        let flag = self.flags.get(row.path).map(|(_, text)| Written::Text(text));
        let variable = || self.env.get(row.variable).map(|(_, text)| Written::Text(text));
        let file = || self.file.as_ref()?.get(&path).map(Written::Yaml);
        flag.or_else(variable).or_else(file)
    }

    /// Where the settings of a profile are in the file; `profiles.default` is another name of `default_profile`.
    pub(super) fn profile_path<'n>(&self, name: Option<&'n str>) -> Vec<&'n str> {
        let other = [paths::PROFILES, DEFAULT_LABEL];
        match name {
            Some(name) => vec![paths::PROFILES, name],
            None if self.is_in_file(&other) => other.to_vec(),
            None => vec![paths::DEFAULT_PROFILE],
        }
    }

    /// Whether the file has something at this path.
    pub(super) fn is_in_file(&self, path: &[&str]) -> bool {
        self.file.as_ref().is_some_and(|file| file.get(path).is_some())
    }

    fn value<T>(
        &mut self,
        key: &str,
        setting: &Setting<T>,
        (source, written): &(ValueSource, Written<'_>),
    ) -> Result<T, Reported> {
        (setting.read)(*written).map_err(|messages| {
            let shown = match setting.shown {
                Shown::Whole | Shown::Elsewhere => written.shown_if_scalar(),
                Shown::Url => written.shown_if_scalar().map(|url| redacted(&url)),
                Shown::Names => None,
            };
            for message in messages.lines() {
                let problem = Problem::new(source.clone(), message).key(key);
                self.report.problem(match &shown {
                    Some(shown) => problem.value(shown.clone()),
                    None => problem,
                });
            }
            Reported
        })
    }
}

/// A value as it is in force, of the kinds whose text in a variable may differ: `yes` is `true`, a
/// variable may have the opposite meaning of its setting, and `localhost` is an address.
fn in_force<T: 'static>(value: &T) -> Option<String> {
    let value: &dyn Any = value;
    if let Some(flag) = value.downcast_ref::<bool>() {
        Some(flag.to_string())
    } else if let Some(addresses) = value.downcast_ref::<Vec<Listen>>() {
        Some(listen::shown(addresses))
    } else if let Some(address) = value.downcast_ref::<Option<SocketAddr>>() {
        Some(address.map_or_else(|| "off".to_owned(), |address| address.to_string()))
    } else if let Some(level) = value.downcast_ref::<LevelFilter>() {
        let mut names = LOG_LEVELS.iter().filter(|(_, known)| known == level);
        names.next().map(|(name, _)| (*name).to_owned())
    } else {
        let list = value.downcast_ref::<Vec<String>>()?;
        serde_json::to_string(list).ok()
    }
}

/// What `s3proxy config` shows of a value.
fn shown(how: Shown, written: Written<'_>) -> Option<String> {
    match how {
        Shown::Whole => Some(written.shown()),
        Shown::Url => Some(redacted(&written.shown())),
        Shown::Names => Some(match written {
            Written::Yaml(Value::Mapping(headers)) if !headers.is_empty() => {
                let names = headers.keys().filter_map(Value::as_str);
                names.map(|name| format!("{name}: (redacted)")).collect::<Vec<_>>().join(", ")
            }
            _ => "(none)".to_owned(),
        }),
        Shown::Elsewhere => None,
    }
}
