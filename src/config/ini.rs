//! The credentials file: sections of `aws_access_key_id`, `aws_secret_access_key`,
//! `aws_session_token` and `region`, as the AWS command line writes them.
//!
//! <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html>
//!
//! rust-ini reads the file line by line. In one piece it would lose the positions, and join two lines
//! where the first has no `=` or ends with a backslash. Messages show names of sections and of keys
//! that are read, and nothing else of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ini::{Ini, ParseOption};

use crate::config::problem::{Problem, ValueSource};
use crate::config::rules;
use crate::config::value::Written;
use crate::s3::credentials::{Keys, is_credential};
use crate::s3::secret::Secret;

/// The sections of a credentials file, by name.
#[derive(Debug, Default)]
pub(super) struct CredentialsFile {
    /// `None` if there is no credentials file.
    pub(super) path: Option<PathBuf>,
    pub(super) sections: BTreeMap<String, IniSection>,
    /// Settings that other programs heed and s3proxy does not.
    pub(super) warnings: Vec<String>,
}

/// The settings of one section.
#[derive(Debug, Default)]
pub(super) struct IniSection {
    pub(super) line: usize,
    pub(super) keys: Option<Keys>,
    /// The region and its line.
    pub(super) region: Option<(String, usize)>,
    /// Other ways to credentials.
    pub(super) other: IniProvider,
}

/// The settings of a section that lead to credentials other than an access key.
#[derive(Debug, Default)]
pub(super) struct IniProvider {
    pub(super) role_arn: Option<String>,
    /// The section with the access key that assumes the role.
    pub(super) source_profile: Option<String>,
    pub(super) role_session_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) web_identity_token_file: Option<String>,
    pub(super) credential_process: Option<String>,
}

/// Reads a credentials file. Returns the valid sections, and the problems of the others; no section
/// at all if a line is not INI.
pub(super) fn parse(path: &Path, text: &str) -> (CredentialsFile, Vec<Problem>) {
    let (written, mut problems) = sections(path, text);
    let mut file = CredentialsFile { path: Some(path.to_owned()), ..CredentialsFile::default() };
    if problems.is_empty() {
        for (name, written) in &written {
            let reader = SectionReader { path, name, written, problems: &mut problems };
            let section = reader.read();
            file.sections.insert(name.clone(), section);
            file.warnings.extend(not_supported(path, name, written));
        }
    }
    (file, problems)
}

fn at(path: &Path, line: usize) -> ValueSource {
    ValueSource::File { path: path.to_owned(), line: Some(line) }
}

/// A section as written.
#[derive(Debug, PartialEq, Eq)]
struct WrittenSection {
    line: usize,
    pairs: Vec<Pair>,
}

#[derive(Debug, PartialEq, Eq)]
struct Pair {
    key: String,
    value: String,
    line: usize,
}

/// One line as rust-ini reads it.
enum IniLine {
    /// Blank, or a comment.
    Nothing,
    Section(String),
    Pair(String, String),
}

fn read_line(line: &str) -> Result<IniLine, &'static str> {
    let options = ParseOption {
        // Secrets may contain quotes and backslashes, and AWS's own tools take them as they are.
        enabled_quote: false,
        enabled_escape: false,
        ..ParseOption::default()
    };
    let is_section = line.starts_with('[');
    let refusal = if is_section {
        "is not a section: it must be [name] and nothing else"
    } else {
        "must be [section], a comment or key = value"
    };
    let line = if is_section { section_of(line).ok_or(refusal)? } else { line };
    let ini = Ini::load_from_str_opt(line, options).map_err(|_| refusal)?;
    let sections: Vec<&str> = ini.sections().flatten().collect();
    let pairs: Vec<(&str, &str)> =
        ini.section(None::<String>).into_iter().flat_map(|pairs| pairs.iter()).collect();
    match (&sections[..], &pairs[..]) {
        ([], []) => Ok(IniLine::Nothing),
        ([name], []) => Ok(IniLine::Section((*name).to_owned())),
        ([], [(key, value)]) => Ok(IniLine::Pair((*key).to_owned(), (*value).to_owned())),
        _ => Err(refusal),
    }
}

/// `[name]`, without a comment after it; `None` if anything else follows.
fn section_of(line: &str) -> Option<&str> {
    let (section, rest) = line.split_at(line.find(']')? + 1);
    let rest = rest.trim_start();
    (rest.is_empty() || rest.starts_with(['#', ';'])).then_some(section)
}

/// The value without a comment after it: white space, then `#` or `;`. None of the values that are read
/// contains white space.
fn without_comment(value: &str) -> &str {
    let comment = value.match_indices(char::is_whitespace).find(|(at, _)| {
        value.get(*at..).is_some_and(|rest| rest.trim_start().starts_with(['#', ';']))
    });
    comment.and_then(|(at, _)| value.get(..at)).unwrap_or(value)
}

fn sections(path: &Path, text: &str) -> (BTreeMap<String, WrittenSection>, Vec<Problem>) {
    let mut sections: BTreeMap<String, WrittenSection> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut current: Option<String> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = index + 1;
        let mut refuse = |message: &str| problems.push(Problem::new(at(path, number), message));
        match read_line(line.trim()) {
            Ok(IniLine::Nothing) => {}
            Ok(IniLine::Section(name)) => {
                if let Some(WrittenSection { line, .. }) = sections.get(&name) {
                    refuse(&format!("[{name}] is there twice, first in line {line}"));
                } else {
                    let section = WrittenSection { line: number, pairs: Vec::new() };
                    sections.insert(name.clone(), section);
                }
                current = Some(name);
            }
            Ok(IniLine::Pair(key, value)) => {
                let Some(name) = &current else {
                    refuse("is before the first [section]");
                    continue;
                };
                // No section for the keys of a name that is refused.
                let Some(section) = sections.get_mut(name) else { continue };
                let key = key.to_ascii_lowercase();
                let first = section.pairs.iter().find(|pair| pair.key == key);
                if let Some(Pair { line, .. }) = first.filter(|_| OURS.contains(&key.as_str())) {
                    refuse(&format!("[{name}] has {key} twice, first in line {line}"));
                }
                section.pairs.push(Pair { key, value, line: number });
            }
            Err(message) => {
                refuse(message);
                if line.trim().starts_with('[') {
                    // One problem is enough: none for each key below it.
                    current = Some(REFUSED.to_owned());
                }
            }
        }
    }
    (sections, problems)
}

/// In place of the name of a section that is refused. No section is called so.
const REFUSED: &str = "]";

const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";
const REGION: &str = "region";
/// The old name of [`TOKEN`], which boto and its tools still write.
const OLD_TOKEN: &str = "aws_security_token";
const OURS: [&str; 5] = [ID, SECRET, TOKEN, OLD_TOKEN, REGION];
/// Other ways to credentials, which s3proxy does not know.
const NOT_SUPPORTED: [&str; 2] = ["credential_source", "sso_session"];

/// A warning for each way to credentials in a section that s3proxy does not know.
fn not_supported(path: &Path, name: &str, written: &WrittenSection) -> Vec<String> {
    let found = written.pairs.iter().filter(|pair| NOT_SUPPORTED.contains(&pair.key.as_str()));
    found
        .map(|Pair { key, line, .. }| {
            format!(
                "{}: [{name}] {key} is not supported and not used: see docs/credentials.md for the \
                 sources of credentials",
                at(path, *line)
            )
        })
        .collect()
}

/// Reads one section.
struct SectionReader<'a> {
    path: &'a Path,
    name: &'a str,
    written: &'a WrittenSection,
    problems: &'a mut Vec<Problem>,
}

impl<'a> SectionReader<'a> {
    fn read(mut self) -> IniSection {
        let keys = match (self.get(ID), self.get(SECRET)) {
            (Some(id), Some(secret)) => {
                let token = self.get(TOKEN).map(|token| (TOKEN, token));
                let token = token.or_else(|| Some((OLD_TOKEN, self.get(OLD_TOKEN)?)));
                self.keys(id, secret, token)
            }
            (None, None) => None,
            (Some(_), None) => self.half(ID, SECRET),
            (None, Some(_)) => self.half(SECRET, ID),
        };
        let region = self.get(REGION);
        let region = region.and_then(|region| match rules::region(Written::Text(region)) {
            Ok(region) => Some((region, self.line(REGION))),
            Err(message) => self.refuse(REGION, &message),
        });
        let text = |key: &str| self.get(key).map(str::to_owned);
        let other = IniProvider {
            role_arn: text("role_arn"),
            source_profile: text("source_profile"),
            role_session_name: text("role_session_name"),
            external_id: text("external_id"),
            web_identity_token_file: text("web_identity_token_file"),
            credential_process: text("credential_process"),
        };
        IniSection { line: self.written.line, keys, region, other }
    }

    /// The value of a key; an empty one is no value.
    fn get(&self, key: &str) -> Option<&'a str> {
        let pair = self.written.pairs.iter().find(|pair| pair.key == key);
        pair.map(|pair| without_comment(&pair.value)).filter(|value| !value.is_empty())
    }

    fn keys(&mut self, id: &str, secret: &str, token: Option<(&str, &str)>) -> Option<Keys> {
        for (key, value) in [(ID, id), (SECRET, secret)].into_iter().chain(token) {
            if !is_credential(value) {
                return self.refuse(key, NOT_A_CREDENTIAL);
            }
        }
        Some(Keys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(secret.to_owned()),
            session_token: token.map(|(_, token)| Secret::new(token.to_owned())),
        })
    }

    fn half<T>(&mut self, has: &str, lacks: &str) -> Option<T> {
        self.refuse(has, &format!("is set without {lacks}"))
    }

    fn refuse<T>(&mut self, key: &str, message: &str) -> Option<T> {
        let problem = Problem::new(at(self.path, self.line(key)), message);
        self.problems.push(problem.key(format!("[{}] {key}", self.name)));
        None
    }

    /// The line of a key, or else of the section.
    fn line(&self, key: &str) -> usize {
        let pair = self.written.pairs.iter().find(|pair| pair.key == key);
        pair.map_or(self.written.line, |pair| pair.line)
    }
}

/// What a problem says of an access key, secret or token that cannot be signed with.
pub(super) const NOT_A_CREDENTIAL: &str =
    "must be printable ASCII without spaces or line breaks, also at its ends";

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
                "c.ini:3: [a] aws_access_key_id: is set without aws_secret_access_key",
            ),
            (
                "[a]\naws_secret_access_key = hush",
                "c.ini:2: [a] aws_secret_access_key: is set without aws_access_key_id",
            ),
            (
                "[a]\naws_access_key_id = hush\naws_secret_access_key =",
                "c.ini:2: [a] aws_access_key_id: is set without aws_secret_access_key",
            ),
            ("[a]\n[b]\n[a]", "c.ini:3: [a] is there twice, first in line 1"),
            ("[a]\nregion = x\nregion = y", "c.ini:3: [a] has region twice, first in line 2"),
            ("[a\nx = hush", "c.ini:1: is not a section: it must be [name] and nothing else"),
            ("[a] hush # x", "c.ini:1: is not a section: it must be [name] and nothing else"),
            ("[a] hush", "c.ini:1: is not a section: it must be [name] and nothing else"),
            ("[a]\nhush\nb = c", "c.ini:2: must be [section], a comment or key = value"),
            ("b = hush", "c.ini:1: is before the first [section]"),
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

    /// `[hips] # comment` was refused, and the old name of the token ignored.
    #[test]
    fn comments_after_a_section_and_the_old_name_of_the_token_are_understood() {
        let (file, problems) = read(
            "[hips] # of the survey\naws_access_key_id = AK1 ; rotated in May\n\
             aws_secret_access_key = a#b;c\naws_security_token = old\nregion = eu-1\t# near\n\
             [both];x\naws_access_key_id = AK2\naws_secret_access_key = s\n\
             aws_session_token = new\naws_security_token = old\n",
        );
        assert_eq!(problems, [""; 0]);
        let keys = |name: &str| file.sections[name].keys.as_ref().expect("keys");
        assert_eq!(keys("hips").access_key_id, "AK1");
        assert_eq!(keys("hips").secret_access_key.expose(), "a#b;c");
        assert_eq!(keys("hips").session_token.as_ref().map(Secret::expose), Some("old"));
        assert_eq!(file.sections["hips"].region, Some(("eu-1".to_owned(), 5)));
        assert_eq!(keys("both").session_token.as_ref().map(Secret::expose), Some("new"));
    }

    #[test]
    fn ways_to_credentials_that_are_not_supported_are_named() {
        let (file, problems) =
            read("[a]\nrole_arn = r\ncredential_source = hush\n[b]\nsso_session = hush");
        assert_eq!(problems, [""; 0]);
        assert_eq!(file.warnings.len(), 2, "{:?}", file.warnings);
        assert!(file.warnings[0].starts_with("c.ini:3: [a] credential_source is not supported"));
        assert!(file.warnings[1].starts_with("c.ini:5: [b] sso_session is not supported"));
        assert!(!file.warnings[1].contains("hush"));
        assert_eq!(file.sections["a"].other.role_arn.as_deref(), Some("r"));
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
    fn a_value_may_end_with_a_backslash() {
        let (file, problems) =
            read("[a]\naws_secret_access_key = s\\\naws_access_key_id = k\\\nregion = r\n");
        assert_eq!(problems, [""; 0]);
        let section = &file.sections["a"];
        let keys = section.keys.as_ref().expect("keys");
        assert_eq!(keys.secret_access_key.expose(), "s\\");
        assert_eq!(keys.access_key_id, "k\\");
        assert_eq!(section.region, Some(("r".to_owned(), 4)));
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        use proptest::prelude::*;
        proptest!(|(text in "[a\\[\\]=:;#\"'\\\\ \r\n]{0,60}")| {
            let _ = parse(Path::new("c.ini"), &text);
        });
    }

    /// Line by line, rust-ini finds what it finds in the whole text, in the lines that have it.
    #[test]
    fn the_lines_and_the_whole_text_say_the_same() {
        use proptest::prelude::*;
        let line = prop_oneof![
            "\\[[a-c]\\]",
            Just("[ a b ]".to_owned()),
            Just("[]".to_owned()),
            "[a-d] ?[=:] ?[a=:;#\"' \u{e9}/+]{0,6}",
            Just("aws_access_key_id=AK".to_owned()),
            Just("s3 =".to_owned()),
            Just("  nested = 1".to_owned()),
            Just("\tkey\t=\tv\t".to_owned()),
            Just("# [x]".to_owned()),
            Just("; a = b".to_owned()),
            Just(String::new()),
            "[a\\[\\]=:;# ]{0,6}",
        ];
        let ends = prop_oneof![Just("\n"), Just("\r\n")];
        let text = (proptest::collection::vec(line, 0..8), ends)
            .prop_map(|(lines, end)| format!("{}{end}", lines.join(end)));
        proptest!(ProptestConfig::with_cases(2000), |(text in text, bom in any::<bool>())| {
            let text = if bom { format!("\u{feff}{text}") } else { text };
            let (sections, problems) = sections(Path::new("c.ini"), &text);
            if !problems.is_empty() {
                return Ok(());
            }
            let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
            let whole: Vec<&str> = lines
                .iter()
                .map(|line| line.trim())
                .map(|line| section_of(line).filter(|_| line.starts_with('[')).unwrap_or(line))
                .collect();
            let options = ParseOption {
                enabled_quote: false,
                enabled_escape: false,
                ..ParseOption::default()
            };
            let whole = Ini::load_from_str_opt(&whole.join("\n"), options).expect("valid INI");
            let names: Vec<&str> = whole.sections().flatten().collect();
            prop_assert_eq!(names.len(), sections.len());
            for name in names {
                let section = sections.get(name).expect("a section with a line");
                prop_assert!(lines[section.line - 1].contains(name), "{}", text);
                let pairs = whole.section(Some(name)).expect("the section").iter();
                let expected: Vec<_> =
                    pairs.map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned())).collect();
                let found: Vec<_> = section
                    .pairs
                    .iter()
                    .map(|pair| (pair.key.clone(), pair.value.clone()))
                    .collect();
                for pair in &section.pairs {
                    prop_assert!(lines[pair.line - 1].contains(&pair.value), "{}", text);
                }
                let sorted = |mut pairs: Vec<(String, String)>| { pairs.sort(); pairs };
                prop_assert_eq!(sorted(found), sorted(expected), "{}", text);
            }
        });
    }
}
