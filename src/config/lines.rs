//! Where in a YAML text a key stands. `serde_yaml::Value` keeps no positions, so the lines are
//! read again by their indentation. Keys inside flow style (`{a: 1}`) and block scalars are not
//! looked for: they get the line of the nearest key around them.

/// The keys and list items of a YAML text with the line (from 1) each stands on. An item is named by
/// its place, from 0: `[2]`.
#[derive(Debug, Default)]
pub(super) struct Lines {
    keys: Vec<(Vec<String>, usize)>,
}

impl Lines {
    /// Reads the keys of a text that is valid YAML; of any other it makes what it can.
    pub(super) fn of(yaml: &str) -> Self {
        let mut keys = Vec::new();
        let mut open = Open::default();
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
            let (mut indent, mut content) = (indent, content);
            let mut around = None;
            while let Some(item) = item_of(content) {
                open.item(indent);
                keys.push((open.path(), index + 1));
                around = Some(indent);
                indent += content.len() - item.len();
                content = item;
            }
            let value = match key_of(content) {
                Some((key, value)) => {
                    open.key(indent, key);
                    keys.push((open.path(), index + 1));
                    around = Some(indent);
                    value
                }
                None => content,
            };
            if around.is_some() && value.starts_with(['|', '>']) {
                block_scalar = around;
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

/// The keys and items around a line.
#[derive(Default)]
struct Open(Vec<Opened>);

struct Opened {
    /// The column of the key, or of the dash.
    indent: usize,
    name: String,
    /// The place in its list, for an item.
    place: Option<usize>,
}

impl Open {
    fn key(&mut self, indent: usize, name: String) {
        while self.0.last().is_some_and(|other| other.indent >= indent) {
            self.0.pop();
        }
        self.0.push(Opened { indent, name, place: None });
    }

    /// The dashes of a list may stand as far left as the key of the list.
    fn item(&mut self, indent: usize) {
        let mut place = 0;
        while let Some(last) = self.0.last() {
            if last.indent < indent || (last.indent == indent && last.place.is_none()) {
                break;
            }
            if last.indent == indent {
                place = last.place.map_or(0, |before| before + 1);
            }
            self.0.pop();
        }
        self.0.push(Opened { indent, name: format!("[{place}]"), place: Some(place) });
    }

    fn path(&self) -> Vec<String> {
        self.0.iter().map(|opened| opened.name.clone()).collect()
    }
}

/// What stands behind the dash of a list item.
fn item_of(content: &str) -> Option<&str> {
    if content == "-" {
        return Some("");
    }
    content.strip_prefix("- ").map(str::trim_start)
}

/// Splits `key: value`.
fn key_of(content: &str) -> Option<(String, &str)> {
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
    Some((key.trim_end().to_owned(), value.trim_start()))
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
            ("profiles.other.list.[0].name", 17),
            ("profiles.other.list.[0].value", 18),
            ("profiles.other.list.[1]", 19),
            ("profiles.other.list.[1].name", 19),
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
    fn items_are_counted_however_they_are_written() {
        let yaml = "\
a:
  - {x: 1,
     y: 2}
  -
    x: 1
  - |
    - not an item
  - x: 1
    b:
    - 1
    - - 2
      - 3
  - last
c:
- x: 1
d: 1
";
        let lines = Lines::of(yaml);
        for (path, line) in [
            ("a.[0].y", 2),
            ("a.[1]", 4),
            ("a.[1].x", 5),
            ("a.[2]", 6),
            ("a.[3].x", 8),
            ("a.[3].b.[0]", 10),
            ("a.[3].b.[1].[1]", 12),
            ("a.[4]", 13),
            ("a.[5]", 1),
            ("c.[0].x", 15),
            ("d", 16),
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
