//! Where in a YAML text a key stands. `serde_yaml::Value` keeps no positions, so the lines are
//! read again by their indentation. Keys inside flow style (`{a: 1}`) and block scalars are not
//! looked for: they get the line of the nearest key around them.

/// The keys of a YAML text with the line (from 1) each stands on.
#[derive(Debug, Default)]
pub(super) struct Lines {
    keys: Vec<(Vec<String>, usize)>,
}

impl Lines {
    /// Reads the keys of a text that is valid YAML; of any other it makes what it can.
    pub(super) fn of(yaml: &str) -> Self {
        let mut keys = Vec::new();
        let mut open: Vec<(usize, String)> = Vec::new();
        let mut flow = Flow::default();
        let mut block_scalar: Option<usize> = None;
        for (index, line) in yaml.lines().enumerate() {
            let content = line.trim_start();
            let indent = line.len() - content.len();
            if content.is_empty() || (content.starts_with('#') && block_scalar.is_none()) {
                continue;
            }
            if block_scalar.is_some_and(|parent| indent > parent) {
                continue;
            }
            block_scalar = None;
            if flow.is_open() {
                flow.read(content);
                continue;
            }
            let Some((indent, key, value)) = key_of(indent, content) else {
                flow.read(content);
                continue;
            };
            while open.last().is_some_and(|(other, _)| *other >= indent) {
                open.pop();
            }
            open.push((indent, key));
            keys.push((open.iter().map(|(_, key)| key.clone()).collect(), index + 1));
            if value.starts_with(['|', '>']) {
                block_scalar = Some(indent);
            } else {
                flow.read(value);
            }
        }
        Self { keys }
    }

    /// The line of the key with this path, or else of the nearest key around it; 1 for the whole.
    pub(super) fn find<S: AsRef<str>>(&self, path: &[S]) -> usize {
        let matches = |key: &[String]| {
            key.len() <= path.len() && key.iter().zip(path).all(|(a, b)| a == b.as_ref())
        };
        self.keys
            .iter()
            .filter(|(key, _)| matches(key))
            .max_by_key(|(key, _)| key.len())
            .map_or(1, |(_, line)| *line)
    }
}

/// Splits `key: value`, also behind the dash of a list item; the indentation is that of the key.
fn key_of(mut indent: usize, mut content: &str) -> Option<(usize, String, &str)> {
    while let Some(rest) = content.strip_prefix("- ") {
        let item = rest.trim_start();
        indent += content.len() - item.len();
        content = item;
    }
    let quote = content.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (key, rest) = match quote {
        Some(quote) => content.get(1..)?.split_once(quote)?,
        None => {
            let colon = content.match_indices(':').map(|(at, _)| at).find(|at| {
                content.get(at + 1..).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })?;
            let (key, rest) = content.split_at(colon);
            // A `#` or a bracket before the colon: a comment or a value, not a key.
            if key.contains(" #") || key.starts_with(['{', '[']) {
                return None;
            }
            (key, rest)
        }
    };
    let value = rest.trim_start().strip_prefix(':')?;
    Some((indent, key.trim_end().to_owned(), value.trim_start()))
}

/// How deep in brackets and quotes the text is.
#[derive(Default)]
struct Flow {
    depth: usize,
    quote: Option<char>,
}

impl Flow {
    fn is_open(&self) -> bool {
        self.depth > 0 || self.quote.is_some()
    }

    fn read(&mut self, content: &str) {
        let mut previous = ' ';
        for letter in content.chars() {
            match (self.quote, letter) {
                (Some('"'), '"') if previous == '\\' => {}
                (Some(quote), _) if letter == quote => self.quote = None,
                (Some(_), _) => {}
                (None, '#') if previous == ' ' => return,
                (None, '"' | '\'') if matches!(previous, ' ' | '[' | '{' | ',') => {
                    self.quote = Some(letter);
                }
                (None, '[' | '{') if self.depth > 0 || previous == ' ' => self.depth += 1,
                (None, ']' | '}') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            previous = letter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
# a comment: not a key
---
listen: 127.0.0.1:8080   # a: b

profiles:
  hips:
    endpoint: https://h:9000/x
    \"response headers\" : [a,
      region: b, ']', c]
    buckets: [x]
  'other':
    note: |
      region: in a block scalar
      # not a comment
    region: r
    list:
    - name: first
      value: 1
    - name: second
server: {threads: 2,
  grace: 3s}
upstream:
    retries: 1
";

    #[test]
    fn a_key_is_found_by_its_full_path() {
        let lines = Lines::of(YAML);
        for (path, line) in [
            ("listen", 3),
            ("profiles", 5),
            ("profiles.hips", 6),
            ("profiles.hips.endpoint", 7),
            ("profiles.hips.response headers", 8),
            ("profiles.hips.buckets", 10),
            ("profiles.other", 11),
            ("profiles.other.note", 12),
            ("profiles.other.region", 15),
            ("profiles.other.list", 16),
            ("server", 20),
            ("upstream.retries", 23),
        ] {
            let path: Vec<&str> = path.split('.').collect();
            assert_eq!(lines.find(&path), line, "{path:?}");
        }
    }

    #[test]
    fn what_is_not_found_gets_the_nearest_key_around_it() {
        let lines = Lines::of(YAML);
        for (path, line) in [
            ("server.threads", 20),
            ("server.grace", 20),
            ("profiles.hips.region", 6),
            ("nothing", 1),
        ] {
            let path: Vec<&str> = path.split('.').collect();
            assert_eq!(lines.find(&path), line, "{path:?}");
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        use proptest::prelude::*;
        proptest!(|(text in "[ a:\\-#'\"\\[\\]{}|\n\\\\é]{0,80}")| {
            let lines = Lines::of(&text);
            prop_assert!(lines.find(&["a", "a"]) <= text.lines().count().max(1));
        });
    }
}
