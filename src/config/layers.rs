//! The four places a value may be written, and which of them counts:
//! defaults < file < environment < options.

use serde_yaml::Value;

use crate::config::endpoint_url::redacted;
use crate::config::env::Environment;
use crate::config::file::{self, File};
use crate::config::problem::{Problem, Source};
use crate::config::settings::{Row, Setting, Shown};
use crate::config::value::Written;

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
}

impl Flags {
    fn get(&self, path: &str) -> Option<(&'static str, &str)> {
        let (flag, value) = match path {
            "listen" => ("--listen", &self.listen),
            "log.level" => ("--log-level", &self.log_level),
            "log.format" => ("--log-format", &self.log_format),
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
    pub source: Source,
}

/// What is found while the layers are read.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Problem>,
    pub(super) settings: Vec<Effective>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    /// Where the value of a setting that was read came from.
    pub(super) fn source(&self, key: &str) -> Source {
        let found = self.settings.iter().find(|setting| setting.key == key);
        found.map_or(Source::Default, |setting| setting.source.clone())
    }

    /// Shows the value of another setting in place of one that was not written.
    pub(super) fn show_same(&mut self, key: &str, other: &str) {
        if let Some(Effective { value, source, .. }) =
            self.settings.iter().find(|setting| setting.key == other).cloned()
        {
            self.show_from(key, value, source);
        }
    }

    /// Shows a value that was worked out, and not written.
    pub(super) fn show(&mut self, key: &str, value: String) {
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.key == key) {
            setting.value = value;
        }
    }

    /// The same, where it came from another place as well.
    pub(super) fn show_from(&mut self, key: &str, value: String, source: Source) {
        self.show(key, value);
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.key == key) {
            setting.source = source;
        }
    }

    /// A problem of two settings that do not go together, at the one that was written.
    pub(super) fn contradiction(&mut self, first: &Row, second: &Row, message: &str) -> Reported {
        let written = [first.path, second.path]
            .map(|key| (key, self.source(key)))
            .into_iter()
            .find(|(_, source)| *source != Source::Default);
        let (key, source) = written.unwrap_or((first.path, Source::Default));
        self.problem(Problem::new(source, message).key(key))
    }

    pub(super) fn problem(&mut self, problem: Problem) -> Reported {
        self.problems.push(problem);
        Reported
    }
}

/// In place of a value that could not be read: the reason is among the problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported;

/// Everything that was written.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    pub(super) flags: &'a Flags,
    pub(super) env: Environment<'a>,
    pub(super) file: Option<File>,
    pub(super) report: Report,
}

impl<'a> Layers<'a> {
    /// A setting of the whole gateway.
    pub(super) fn read<T>(&mut self, setting: &Setting<T>) -> Result<T, Reported> {
        let Row { path, variable, .. } = setting.row;
        let path: Vec<&str> = path.split('.').collect();
        self.resolve(setting, &path, self.env.get(variable), self.flags.get(setting.row.path))
    }

    /// A setting of the profile written at `prefix`.
    pub(super) fn read_in<T>(
        &mut self,
        prefix: &[&str],
        setting: &Setting<T>,
        variable: Option<(&'a str, &'a str)>,
    ) -> Result<T, Reported> {
        let path: Vec<&str> = prefix.iter().copied().chain(setting.row.path.split('.')).collect();
        self.resolve(setting, &path, variable, None)
    }

    /// Reads every place where the setting is written, so that a mistake is reported even where
    /// another place overrides it, and takes the last.
    fn resolve<T>(
        &mut self,
        setting: &Setting<T>,
        path: &[&str],
        variable: Option<(&str, &str)>,
        flag: Option<(&'static str, &str)>,
    ) -> Result<T, Reported> {
        let key = file::written(path);
        // A default is written as in the file. One that cannot be read is a problem like any other.
        let default = serde_yaml::from_str(setting.row.default).unwrap_or(Value::Null);
        let written = [
            Some((Source::Default, Written::Yaml(&default))),
            self.file
                .as_ref()
                .and_then(|file| Some((file.source(path), Written::Yaml(file.get(path)?)))),
            variable.map(|(name, text)| (Source::Variable(name.to_owned()), Written::Text(text))),
            flag.map(|(name, text)| (Source::Flag(name), Written::Text(text))),
        ];
        let mut result = Err(Reported);
        let mut effective = None;
        for (source, written) in written.into_iter().flatten() {
            result = (setting.read)(written).map_err(|message| {
                let problem = Problem::new(source.clone(), message).key(&key);
                let shown = match setting.shown {
                    Shown::Whole | Shown::Elsewhere => written.shown_if_scalar(),
                    Shown::Url => written.shown_if_scalar().map(|url| redacted(&url)),
                    Shown::Names => None,
                };
                let problem = match shown {
                    Some(shown) => problem.value(shown),
                    None => problem,
                };
                self.report.problem(problem)
            });
            effective = Some((source, written));
        }
        if let Some((source, written)) = effective
            && let Some(value) = shown(setting.shown, written)
        {
            self.report.settings.push(Effective { key, value, source });
        }
        result
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
