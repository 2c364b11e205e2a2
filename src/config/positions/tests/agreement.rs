//! serde_yaml and saphyr-parser find the same keys in hostile texts.

use proptest::prelude::*;
use serde_yaml::Value;

use super::super::{Positions, SCALAR};

/// Deep enough for every text below, and finite for an alias within its own anchor.
const DEPTH: usize = 12;

/// The paths of all keys and items. Keys that are no text are left out.
fn paths(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    if path.len() >= DEPTH {
        return;
    }
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                if let Value::String(key) = key {
                    below(key.clone(), value, path, found);
                }
            }
        }
        Value::Sequence(items) => {
            for (place, value) in items.iter().enumerate() {
                below(format!("[{place}]"), value, path, found);
            }
        }
        Value::Tagged(tagged) => paths(&tagged.value, path, found),
        _ => {}
    }
}

fn below(name: String, value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    path.push(name);
    found.push(path.clone());
    paths(value, path, found);
    path.pop();
}

/// The line of exactly this path.
fn exact(positions: &Positions, path: &[String]) -> Option<usize> {
    let mut found = (1, 0);
    for name in path {
        let child = positions.child(found.1, name)?;
        found = (child.line, child.node);
    }
    Some(found.0)
}

/// The paths that are positions, merge keys left out.
fn positioned(
    positions: &Positions,
    node: usize,
    path: &mut Vec<String>,
    found: &mut Vec<Vec<String>>,
) {
    if node == SCALAR || path.len() >= DEPTH {
        return;
    }
    for child in positions.nodes.get(node).into_iter().flatten() {
        if child.name == "<<" {
            continue;
        }
        path.push(child.name.clone());
        found.push(path.clone());
        positioned(positions, child.node, path, found);
        path.pop();
    }
}

/// Whether both find the same in a text; nothing is to be found in one that serde_yaml refuses.
fn agree(text: &str) -> Result<(), String> {
    if redefines_an_anchor(text) || has_key_mark_of_yaml_1_1(text) {
        return Ok(());
    }
    let Ok(mut value) = serde_yaml::from_str::<Value>(text) else { return Ok(()) };
    if value.apply_merge().is_err() {
        return Ok(());
    }
    // Before a text that this parser refuses, only part of the keys have positions.
    if saphyr_parser::Parser::new_from_str(text).any(|event| event.is_err()) {
        return Ok(());
    }
    let positions = Positions::of(text);
    let mut keys = Vec::new();
    paths(&value, &mut Vec::new(), &mut keys);
    let breaks = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = breaks.split('\n').collect();
    for path in &keys {
        let Some(line) = exact(&positions, path) else {
            return Err(format!("{path:?} has no line"));
        };
        let Some(found) = line.checked_sub(1).and_then(|line| lines.get(line)) else {
            return Err(format!("{path:?}: there is no line {line}"));
        };
        let name = path.last().map_or("", String::as_str);
        let is_plain = !name.is_empty() && name.chars().all(char::is_alphanumeric);
        let is_escaped = text.contains(['\\', '*']);
        if is_plain && !is_escaped && !found.contains(name) {
            return Err(format!("{path:?} is not in line {line}, {found:?}"));
        }
    }
    let mut others = Vec::new();
    positioned(&positions, 0, &mut Vec::new(), &mut others);
    match others.iter().find(|path| !keys.contains(path)) {
        // A key that is a number, or a boolean, or null is no text for serde_yaml.
        Some(path) if path.iter().any(|name| is_no_text(name)) => Ok(()),
        Some(path) => Err(format!("{path:?} has a line, and serde_yaml does not find it")),
        None => Ok(()),
    }
}

/// serde_yaml numbers anchors by how many names there are, so after `&x` twice and another anchor `*x`
/// is the value of that other one. No file has a use for this.
fn redefines_an_anchor(text: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || ",[]{}".contains(c);
    let mut names: Vec<&str> =
        text.split('&').skip(1).map(|rest| rest.split(ends).next().unwrap_or_default()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    names.len() < count
}

/// `{?a}` has the key `a` in YAML 1.1, which serde_yaml reads, and `?a` in YAML 1.2. The nearest key
/// around it gives the line.
fn has_key_mark_of_yaml_1_1(text: &str) -> bool {
    text.contains(['{', '[']) && text.split('?').skip(1).any(|rest| !rest.starts_with([' ', '\n']))
}

fn is_no_text(name: &str) -> bool {
    !matches!(serde_yaml::from_str(name), Ok(Value::String(_)))
}

/// A YAML text that is mostly valid, and made to be misread.
fn hostile() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        "[a-c]{1,2}",
        "[a-c]",
        Just("é".to_owned()),
        Just("'x y'".to_owned()),
        Just("\"p: q\"".to_owned()),
        Just("\"\\x61\\u00e9\"".to_owned()),
        Just("'it''s'".to_owned()),
        Just("&k k".to_owned()),
        Just("!t k".to_owned()),
        Just("? z\n".to_owned()),
        Just("x#y".to_owned()),
        Just("[0]".to_owned()),
    ];
    let value = prop_oneof![
        Just(" 1".to_owned()),
        Just(" text # a: b".to_owned()),
        Just(" 'a: b # c'".to_owned()),
        Just(" \"a\\\"b: c\"".to_owned()),
        Just(" {a: 1, 'b': [c, {d: 2}], e}".to_owned()),
        Just(" [a,\n      b: 1, {c: d},\n      ]".to_owned()),
        Just(" {a: 1,\n     b: 2}".to_owned()),
        Just(" |\n      c: 1\n\n      # no comment".to_owned()),
        Just(" >-\n      a: 1\n      b".to_owned()),
        Just(" |2\n        a: 1".to_owned()),
        Just(" one\n      two\n      three".to_owned()),
        Just(" 'one\n      a: b'".to_owned()),
        Just(" &x {a: 1}".to_owned()),
        Just(" *x".to_owned()),
        Just(" !tag {a: 1}".to_owned()),
        Just("\t{a: 1}".to_owned()),
        Just(" https://h:1/x#y".to_owned()),
        Just("\n    a: 1\n    b:\n    - 1\n    - c: 2\n      d: 3\n    -\n      e: 1".to_owned()),
        Just("\n    - - a: 1\n      - b\n    - ? q\n      : r".to_owned()),
        Just("\n    <<: *x\n    z: 1".to_owned()),
        Just("".to_owned()),
    ];
    let entry = (key, value, prop_oneof![Just(""), Just("# a: b\n"), Just("\n"), Just("  # x\n")])
        .prop_map(|(key, value, before)| format!("{before}  {key}:{value}"));
    let text = proptest::collection::vec(entry, 0..6).prop_map(|entries| entries.join("\n"));
    let ends = prop_oneof![Just("\n"), Just("\n"), Just("\r\n")];
    let starts = prop_oneof![
        Just(""),
        Just("\u{feff}"),
        Just("---\n"),
        Just("%YAML 1.1\n---\n"),
        Just("root: &x\n"),
        Just("  x: &x {m: 1}\n"),
    ];
    (starts, text, ends)
        .prop_map(|(start, text, end)| format!("{start}{text}\n").replace('\n', end))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn both_parsers_find_the_same_keys_in_hostile_texts(text in hostile()) {
        prop_assert_eq!(agree(&text), Ok(()), "{}", text);
    }

    #[test]
    fn both_parsers_find_the_same_keys_in_any_text(text in "[ a:\\-?#&*!%'\"\\[\\]{},|>\n\r\t\\\\é]{0,40}") {
        prop_assert_eq!(agree(&text), Ok(()), "{:?}", text);
        let positions = Positions::of(&text);
        let breaks = text.matches(['\r', '\n']).count();
        prop_assert!(positions.find(&["a", "a"]) <= breaks + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_parsers_find_the_same_keys_in_a_damaged_example(
        at in 0..18_000usize,
        insert in "[ \n:{}\\[\\]'\"#&*!|>%@é\t-]{0,4}",
        cut in 0..30usize,
    ) {
        const FULL: &str = include_str!("../../../../conf/s3proxy.yaml");
        let mut text: String = FULL.chars().take(at).collect();
        text.push_str(&insert);
        text.extend(FULL.chars().skip(at + cut));
        prop_assert_eq!(agree(&text), Ok(()), "{}", text);
    }
}
