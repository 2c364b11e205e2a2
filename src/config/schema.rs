//! The JSON Schema of the configuration file, for editors and for checks before a rollout. It accepts
//! every file that the loader accepts. The loader refuses more: settings that contradict each other,
//! and times out of range that have a fraction or several units.

mod ranges;

use serde_json::{Map, Value, json};

use crate::config::kind::{Accepts, Form};
use crate::config::settings::cache::rule;
use crate::config::settings::paths::{CACHE, DEFAULT_PROFILE, PROFILES};
use crate::config::settings::row::Row;
use crate::config::settings::{MAPPINGS, PATTERN, global, of_profile};

/// The schema (draft 2020-12), as indented JSON.
#[must_use]
pub fn schema() -> String {
    let mut file = mapping("s3proxy", "The configuration file of s3proxy.");
    insert_all(&mut file, "", global());
    let profile = json!({ "$ref": "#/$defs/profile" });
    insert(&mut file, "", DEFAULT_PROFILE, described(profile.clone(), about(DEFAULT_PROFILE)));
    let profiles = json!({
        "type": ["object", "null"],
        "propertyNames": { "pattern": "^[A-Za-z0-9._-]+$" },
        "additionalProperties": profile,
    });
    insert(&mut file, "", PROFILES, described(profiles, about(PROFILES)));
    if let Some(file) = file.as_object_mut() {
        let long_time = json!({
            "description": "A time with a fraction or with several units, such as 1.5h or 1m30s.",
            "type": "string",
            "pattern": ranges::long_time(),
        });
        let defs = json!({
            "profile": profile_schema(),
            "pattern": pattern_schema(),
            "long_time": long_time,
        });
        file.insert("$defs".to_owned(), defs);
        file.shift_insert(
            0,
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
    }
    let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
    text.push('\n');
    text
}

fn profile_schema() -> Value {
    let mut profile = mapping("profile", "A store, and how its objects are served.");
    insert_all(&mut profile, "profile", of_profile());
    for row in rule::ROWS {
        insert(&mut profile, "profile", &format!("{CACHE}.{}", row.key), override_of(row));
    }
    profile
}

fn pattern_schema() -> Value {
    let mut pattern =
        mapping("pattern", "A rule of the cache for object keys that match a pattern.");
    insert_all(&mut pattern, "", PATTERN.iter());
    for row in rule::ROWS {
        insert(&mut pattern, "", row.key, override_of(row));
    }
    if let Some(pattern) = pattern.as_object_mut() {
        pattern.insert("type".to_owned(), json!("object"));
        pattern.insert("required".to_owned(), PATTERN.iter().map(|row| row.key).collect());
    }
    pattern
}

fn mapping(title: &str, description: &str) -> Value {
    json!({
        "title": title,
        "description": description,
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {},
    })
}

/// The text for the mapping at this path.
fn about(path: &str) -> &'static str {
    MAPPINGS.iter().find(|(of, _)| *of == path).map_or("", |(_, text)| *text)
}

fn described(mut schema: Value, description: &str) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), json!(description));
    }
    schema
}

fn insert_all(into: &mut Value, at: &str, rows: impl Iterator<Item = &'static Row>) {
    for row in rows {
        let default = serde_yaml::from_str(row.default).unwrap_or(Value::Null);
        insert(into, at, row.path, setting(row, row.text, &default));
    }
}

/// Inserts a schema below the mapping at `at`, and mappings around it.
fn insert(into: &mut Value, at: &str, path: &str, schema: Value) {
    let Some(properties) = into.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let Some((first, rest)) = path.split_once('.') else {
        properties.insert(path.to_owned(), schema);
        return;
    };
    let at = if at.is_empty() { first.to_owned() } else { format!("{at}.{first}") };
    let child = properties.entry(first).or_insert_with(|| mapping(first, about(&at)));
    insert(child, &at, rest, schema);
}

/// A rule's field in a profile or a pattern.
fn override_of(row: &Row) -> Value {
    let text = format!("{} Overrides the global `{}`.", row.text, row.path);
    let mut schema = setting(row, &text, &Value::Null);
    if let Some(schema) = schema.as_object_mut() {
        schema.shift_remove("x-variable");
    }
    schema
}

fn setting(row: &Row, text: &str, default: &Value) -> Value {
    let mut schema = Map::new();
    let range = row.accepts.text();
    schema.insert("description".to_owned(), json!(format!("{text} Values: {range}.")));
    if !row.variable.is_empty() {
        // An annotation: validators ignore it.
        schema.insert("x-variable".to_owned(), json!(row.variable));
    }
    schema.insert("default".to_owned(), default.clone());
    if let Value::Object(accepted) = accepted(row.accepts) {
        schema.extend(accepted);
    }
    Value::Object(schema)
}

fn accepted(accepts: Accepts) -> Value {
    // `minimum` and `maximum` are for numbers, `pattern` is for texts.
    let number = |min: Value, max: Value, pattern: &str| {
        json!({
            "type": ["integer", "string", "null"],
            "minimum": min,
            "maximum": max,
            "pattern": pattern,
        })
    };
    let time = |kind: &str, min: Value, max: Value, pattern: &str| {
        json!({ "anyOf": [
            {
                "type": [kind, "string", "null"],
                "minimum": min,
                "maximum": max,
                "pattern": pattern,
            },
            { "$ref": "#/$defs/long_time" },
        ] })
    };
    match accepts {
        Accepts::Boolean => json!({ "type": ["boolean", "null"] }),
        Accepts::Count { min, max } => number(min.into(), max.into(), &ranges::count(min, max)),
        Accepts::Ratio => json!({
            "type": ["number", "string", "null"],
            "minimum": 0,
            "maximum": 1,
            "pattern": "^[+]?(0+[.]?0*|0*[.][0-9]+|0*1[.]?0*|[0-9]*[.]?[0-9]*[Ee][+-]?[0-9]+)$",
        }),
        Accepts::Size { min, max } => number(min.into(), max.into(), &ranges::size(min, max)),
        Accepts::BlockSize { min, max } => {
            let sizes = (0..u64::BITS).map(|shift| 1u64 << shift);
            let sizes = sizes.filter(|size| (min..=max).contains(size)).map(Value::from);
            json!({ "anyOf": [
                { "enum": sizes.chain([Value::Null]).collect::<Value>() },
                { "type": "string", "pattern": ranges::power_of_two(min, max) },
            ] })
        }
        Accepts::Memory { min, max } => json!({ "anyOf": [
            { "enum": ["auto", 0, null] },
            { "type": "string", "pattern": "^\\s*auto\\s*$" },
            { "type": "string", "pattern": ranges::size(0, 0) },
            number(min.into(), max.into(), &ranges::size(min, max)),
        ] }),
        Accepts::Time { min, max } => {
            time("number", seconds(min), seconds(max), &ranges::time(min, max))
        }
        Accepts::Seconds { max } => {
            time("integer", 0.into(), max.into(), &ranges::time(0, max.saturating_mul(1000)))
        }
        Accepts::Words(words) => {
            let words = words().into_iter().map(Value::from).chain([Value::Null]);
            json!({ "enum": words.collect::<Value>() })
        }
        Accepts::AnyCase(words) => {
            let pattern: Vec<String> = words().into_iter().map(any_case).collect();
            let words = words().into_iter().map(Value::from).chain([Value::Null]);
            json!({ "anyOf": [
                { "enum": words.collect::<Value>() },
                { "type": "string", "pattern": format!("^({})$", pattern.join("|")) },
            ] })
        }
        Accepts::Text(form) => {
            let mut schema = text(form);
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("type".to_owned(), json!(["string", "null"]));
            }
            schema
        }
        Accepts::List { of, at_least } => list(of, at_least),
        Accepts::BooleanOrList { of } => {
            json!({ "anyOf": [{ "type": ["boolean", "null"] }, list(of, 0)] })
        }
        Accepts::Mapping(form) => {
            json!({ "type": ["object", "null"], "additionalProperties": text(form) })
        }
        Accepts::Patterns => {
            json!({ "type": ["array", "null"], "items": { "$ref": "#/$defs/pattern" } })
        }
    }
}

fn text(Form { pattern, .. }: Form) -> Value {
    match pattern {
        "" => json!({ "type": "string" }),
        _ => json!({ "type": "string", "pattern": pattern }),
    }
}

/// One text stands for a list of one.
fn list(of: Form, at_least: usize) -> Value {
    let mut schema = text(of);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("type".to_owned(), json!(["array", "string", "null"]));
        schema.insert("items".to_owned(), text(of));
        schema.insert("minItems".to_owned(), at_least.into());
    }
    schema
}

/// Milliseconds as a number of seconds.
fn seconds(millis: u64) -> Value {
    match millis % 1000 {
        0 => (millis / 1000).into(),
        _ => std::time::Duration::from_millis(millis).as_secs_f64().into(),
    }
}

fn any_case(word: &str) -> String {
    word.chars()
        .map(|c| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()))
        .collect()
}
