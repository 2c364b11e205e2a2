//! The credentials file: sections of `aws_access_key_id`, `aws_secret_access_key`,
//! `aws_session_token` and `region`, as the AWS command line writes them.
//!
//! <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html>
//!
//! rust-ini reads the values. It keeps no positions and reads on over the end of a line that has
//! no `=`, so the lines are looked at first. No message repeats anything but section names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ini::{Ini, ParseOption};

use crate::config::problem::{Problem, Source};
use crate::config::rules;
use crate::config::value::Written;
use crate::s3::credentials::Keys;
use crate::s3::secret::Secret;

/// The sections of a credentials file, by name.
#[derive(Debug, Default)]
pub(super) struct CredentialsFile {
    /// `None` where no file was found, or none was looked for.
    pub(super) path: Option<PathBuf>,
    pub(super) sections: BTreeMap<String, Section>,
}

/// What one section says.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) line: usize,
    pub(super) keys: Option<Keys>,
    /// The region and its line.
    pub(super) region: Option<(String, usize)>,
}

/// Reads a credentials file; the sections that are in order are returned beside the problems of
/// the others.
pub(super) fn parse(path: &Path, text: &str) -> (CredentialsFile, Vec<Problem>) {
    let mut file = CredentialsFile { path: Some(path.to_owned()), ..CredentialsFile::default() };
    let (lines, mut problems) = Lines::of(path, text);
    if !problems.is_empty() {
        return (file, problems);
    }
    let options = ParseOption {
        // Secrets may hold quotes and backslashes, and AWS's own tools take them as they are.
        enabled_quote: false,
        enabled_escape: false,
        ..ParseOption::default()
    };
    let trimmed: Vec<&str> = text.trim_start_matches('\u{feff}').lines().map(str::trim).collect();
    let ini = match Ini::load_from_str_opt(&trimmed.join("\n"), options) {
        Ok(ini) => ini,
        Err(error) => {
            problems.push(Problem::new(at(path, error.line), "cannot be read as an INI file"));
            return (file, problems);
        }
    };
    for (name, properties) in &ini {
        let Some(name) = name else { continue };
        let section = Reader { path, name, lines: &lines, problems: &mut problems };
        let section = section.read(properties);
        file.sections.insert(name.to_owned(), section);
    }
    (file, problems)
}

fn at(path: &Path, line: usize) -> Source {
    Source::File { path: path.to_owned(), line: Some(line) }
}

/// The line of every section, and of every key (lower case) in it.
#[derive(Default)]
struct Lines {
    sections: BTreeMap<String, usize>,
    keys: BTreeMap<(String, String), usize>,
}

impl Lines {
    fn of(path: &Path, text: &str) -> (Self, Vec<Problem>) {
        let mut lines = Self::default();
        let mut problems = Vec::new();
        let mut section: Option<String> = None;
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let number = index + 1;
            let mut refuse = |message: &str| problems.push(Problem::new(at(path, number), message));
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let Some((name, "")) = rest.split_once(']') else {
                    refuse("is not a section: it must be [name] and nothing else");
                    // Its keys are somewhere, and need no words of their own.
                    section = Some(String::new());
                    continue;
                };
                let name = name.trim().to_owned();
                if let Some(first) = lines.sections.insert(name.clone(), number) {
                    refuse(&format!("[{name}] is there twice, first in line {first}"));
                }
                section = Some(name);
                continue;
            }
            let Some((key, _)) = line.split_once(['=', ':']) else {
                refuse("must be [section], a comment or key = value");
                continue;
            };
            let key = key.trim().to_ascii_lowercase();
            let Some(section) = &section else {
                refuse("stands before the first [section]");
                continue;
            };
            let is_ours = OURS.contains(&key.as_str());
            let first = lines.keys.insert((section.clone(), key.clone()), number);
            if let Some(first) = first.filter(|_| is_ours) {
                refuse(&format!("[{section}] has {key} twice, first in line {first}"));
            }
        }
        (lines, problems)
    }
}

const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";
const REGION: &str = "region";
const OURS: [&str; 4] = [ID, SECRET, TOKEN, REGION];

/// Reads one section.
struct Reader<'a> {
    path: &'a Path,
    name: &'a str,
    lines: &'a Lines,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn read(mut self, properties: &ini::Properties) -> Section {
        let get = |wanted: &str| {
            let mut pairs = properties.iter().filter(|(key, _)| key.eq_ignore_ascii_case(wanted));
            pairs.next().map(|(_, value)| value).filter(|value| !value.is_empty())
        };
        let keys = match (get(ID), get(SECRET)) {
            (Some(id), Some(secret)) => self.keys(id, secret, get(TOKEN)),
            (None, None) => None,
            (Some(_), None) => self.half(ID, SECRET),
            (None, Some(_)) => self.half(SECRET, ID),
        };
        let region = get(REGION).and_then(|region| match rules::region(Written::Text(region)) {
            Ok(region) => Some((region, self.line(REGION))),
            Err(message) => self.refuse(REGION, &message),
        });
        Section { line: self.line(""), keys, region }
    }

    fn keys(&mut self, id: &str, secret: &str, token: Option<&str>) -> Option<Keys> {
        for (key, value) in [(ID, Some(id)), (SECRET, Some(secret)), (TOKEN, token)] {
            if value.is_some_and(|value| !is_credential(value)) {
                return self.refuse(key, NOT_A_CREDENTIAL);
            }
        }
        Some(Keys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(secret.to_owned()),
            session_token: token.map(|token| Secret::new(token.to_owned())),
        })
    }

    fn half<T>(&mut self, has: &str, lacks: &str) -> Option<T> {
        self.refuse(has, &format!("is there without {lacks}"))
    }

    fn refuse<T>(&mut self, key: &str, message: &str) -> Option<T> {
        let problem = Problem::new(at(self.path, self.line(key)), message);
        self.problems.push(problem.key(format!("[{}] {key}", self.name)));
        None
    }

    /// The line of a key, or else of the section.
    fn line(&self, key: &str) -> usize {
        let key = (self.name.to_owned(), key.to_owned());
        let section = self.lines.sections.get(self.name);
        self.lines.keys.get(&key).or(section).copied().unwrap_or(1)
    }
}

/// What is allowed of a key, secret or token, in the words of a problem.
pub(super) const NOT_A_CREDENTIAL: &str =
    "must be printable ASCII without spaces or line breaks, also at its ends";

/// Whether the text can stand in a signed header: visible ASCII.
pub(super) fn is_credential(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (CredentialsFile, Vec<String>) {
        let (file, problems) = parse(Path::new("c.ini"), text);
        (file, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn sections_are_read_as_awss_own_tools_read_them() {
        let (file, problems) = read(
            "\u{feff}# a comment\r\n\
             [ hips ]\r\n\
               aws_access_key_id = AK1\r\n\
             AWS_SECRET_ACCESS_KEY=a\"b'c\\n/+=#;x\r\n\
             aws_session_token : t=\r\n\
             region = eu-west-1\r\n\
             output = json\r\n\
             ; another\r\n\
             [empty]\r\n\
             [Case]\r\n\
             s3 =\r\n\
               max_concurrent_requests = 20\r\n",
        );
        assert_eq!(problems, [""; 0]);
        assert_eq!(file.sections.keys().collect::<Vec<_>>(), ["Case", "empty", "hips"]);
        let hips = &file.sections["hips"];
        let keys = hips.keys.as_ref().expect("keys");
        assert_eq!(keys.access_key_id, "AK1");
        assert_eq!(keys.secret_access_key.expose(), "a\"b'c\\n/+=#;x");
        assert_eq!(keys.session_token.as_ref().map(Secret::expose), Some("t="));
        assert_eq!(hips.region, Some(("eu-west-1".to_owned(), 6)));
        assert_eq!(hips.line, 2);
        assert_eq!(file.sections["empty"].keys, None);
    }

    #[test]
    fn every_mistake_names_section_and_line_and_never_a_value() {
        for (text, expected) in [
            (
                "[a]\n\naws_access_key_id = hush",
                "c.ini:3: [a] aws_access_key_id: is there without aws_secret_access_key",
            ),
            (
                "[a]\naws_secret_access_key = hush",
                "c.ini:2: [a] aws_secret_access_key: is there without aws_access_key_id",
            ),
            (
                "[a]\naws_access_key_id = hush\naws_secret_access_key =",
                "c.ini:2: [a] aws_access_key_id: is there without aws_secret_access_key",
            ),
            ("[a]\n[b]\n[a]", "c.ini:3: [a] is there twice, first in line 1"),
            ("[a]\nregion = x\nregion = y", "c.ini:3: [a] has region twice, first in line 2"),
            ("[a\nx = hush", "c.ini:1: is not a section: it must be [name] and nothing else"),
            ("[a] hush", "c.ini:1: is not a section: it must be [name] and nothing else"),
            ("[a]\nhush\nb = c", "c.ini:2: must be [section], a comment or key = value"),
            ("b = hush", "c.ini:1: stands before the first [section]"),
            ("[a]\nregion = hu sh", "c.ini:2: [a] region: must be a region such as us-east-1"),
            (
                "[a]\naws_access_key_id = AK\naws_secret_access_key = hu sh",
                "c.ini:3: [a] aws_secret_access_key: must be printable ASCII without spaces or \
                 line breaks, also at its ends",
            ),
        ] {
            assert_eq!(read(text).1, [expected], "{text}");
        }
    }

    #[test]
    fn one_bad_section_does_not_hide_the_others() {
        let (file, problems) = read(
            "[a]\naws_access_key_id = x\n[b]\naws_secret_access_key = x\n\
             [c]\naws_access_key_id = x\naws_secret_access_key = y",
        );
        assert_eq!(problems.len(), 2);
        assert!(file.sections["c"].keys.is_some());
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        use proptest::prelude::*;
        proptest!(|(text in "[a\\[\\]=:;#\"'\\\\ \r\n]{0,60}")| {
            let _ = parse(Path::new("c.ini"), &text);
        });
    }
}
