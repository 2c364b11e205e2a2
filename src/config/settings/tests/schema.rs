//! The JSON Schema accepts what the loader accepts, and refuses wrong types, ranges and keys.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use crate::config::kind::Accepts;
use crate::config::schema::schema;
use crate::config::settings::row::Row;
use crate::config::settings::{cache, global, of_profile};
use crate::config::{Flags, Inputs, load};

struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        let document: Value = serde_json::from_str(&schema()).expect("valid JSON");
        compiler.add_resource("s3proxy.json", document).expect("a document");
        let index = compiler.compile("s3proxy.json", &mut schemas).expect("a valid schema");
        Self { schemas, index }
    }

    fn accepts(&self, yaml: &str) -> bool {
        self.accepts_value(serde_yaml::from_str(yaml).expect("valid YAML"))
    }

    fn accepts_value(&self, mut document: serde_yaml::Value) -> bool {
        document.apply_merge().expect("valid merge keys");
        let document = serde_json::to_value(document).expect("as JSON");
        self.schemas.validate(&document, self.index).is_ok()
    }
}

/// The examples of the documentation, and the shipped files.
fn shipped() -> Vec<String> {
    let page = include_str!("../../../../docs/configuration.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let files = [
        include_str!("../../../../conf/s3proxy.yaml"),
        include_str!("../../../../conf/minimal.yaml"),
    ];
    blocks.chain(files).map(str::to_owned).collect()
}

#[test]
fn every_shipped_file_and_example_is_valid() {
    let validator = Validator::new();
    for yaml in shipped() {
        assert!(validator.accepts(&yaml), "{yaml}");
    }
}

#[test]
fn valid_values_are_accepted() {
    let validator = Validator::new();
    for yaml in [
        "",
        "log:",
        "name: null",
        "listen: '[::1]:80'",
        "admin: {listen: off}",
        "log: {level: warning}",
        "path_prefix: ''",
        "cache_max_age: 1d",
        "cache_max_age: 1.0",
        "upstream: {read_timeout: 1m30s, retries: '1', connect_timeout: 0.5}",
        "upstream: {read_timeout: 1.5h, dns_refresh: 1d}",
        "downstream: {header_max_bytes: 16Ki}",
        "cache: {memory: auto}",
        "cache: {memory: 0}",
        "cache: {memory: 0MiB}",
        "cache: {memory: 1024KiB, ttl: 365d, disk: {size: 68MB}}",
        "upstream: {connect_timeout: 60m, read_timeout: 3600, idle_timeout: 1ms}",
        "cache: {memory: 512 MiB, disk: {size: 10GB}, blocks: {size: 2MiB}}",
        "cache: {patterns: [{match: a, ttl: 1h, store: null}]}",
        "mime: {suffixes: {.x: a/b}, accept: ['text/html; charset=utf-8']}",
        "cors: {origins: ['*']}",
        "cors: {origins: '*'}",
        "profiles: {a.b-c: null}",
        "profiles: {a: {endpoint: aws, cache: {patterns: [{match: '*'}]}}}",
        "default_profile: {credentials: {section: x}, buckets: ['a:b-*']}",
        "profiles: {a: {upstream_headers: {x-a: b}, request_headers: [x-trace-*]}}",
    ] {
        assert!(validator.accepts(yaml), "{yaml}");
    }
}

#[test]
fn wrong_types_ranges_and_keys_are_refused() {
    let validator = Validator::new();
    for yaml in [
        "[]",
        "lisen: 0.0.0.0:80",
        "listen: 8080",
        "name: 1",
        "require_user: 'yes'",
        "path_prefix: s3/",
        "log: {level: loud}",
        "log: {format: Production}",
        "cache_max_age: -1",
        "upstream: {retries: 2}",
        "upstream: {retries: '2'}",
        "upstream: {connect_timeout: 2h}",
        "upstream: {connect_timeout: 0}",
        "upstream: {connect_timeout: 0ms}",
        "cors: {max_age: 25h}",
        "cache_max_age: 1.5",
        "cache: {ttl: 366d}",
        "cache: {disk: {size: 63MiB}}",
        "cache: {disk: {size: 67MB}}",
        "cache: {memory: 1023KiB}",
        "cache: {blocks: {size: 3MiB}}",
        "cache: {blocks: {size: 32KiB}}",
        "cache: {blocks: {read_ahead: 257MiB}}",
        "upstream: {retries: 0.5}",
        "upstream: {read_timeout: soon}",
        "upstream: {read_timeout: 1s1m}",
        "upstream: {read_timeout: 3601}",
        "upstream: {dns_refresh: 0.5}",
        "upstream: {connect_timout: 1s}",
        "downstream: {header_max_bytes: 4095}",
        "downstream: {header_max_bytes: 1mib}",
        "downstream: {max_connections: 15}",
        "cache: {memory: 1}",
        "cache: {memory: half}",
        "cache: {blocks: {share: 91}}",
        "cache: {disk: {size: 1}}",
        "cache: {patterns: {match: a}}",
        "cache: {patterns: [{ttl: 1h}]}",
        "cache: {patterns: [{match: a, tll: 1h}]}",
        "cache: {patterns: [null]}",
        "mime: {accept: [png]}",
        "mime: {accept: png}",
        "cors: {origins: ''}",
        "profiles: {a@b: {}}",
        "profiles: [a]",
        "profiles: {a: {endpoint: s3.example.org}}",
        "profiles: {a: {buckets: []}}",
        "profiles: {a: {addressing: host}}",
        "profiles: {a: {cache: {memory: 1GiB}}}",
        "default_profile: {secret: x}",
    ] {
        assert!(!validator.accepts(yaml), "{yaml}");
    }
}

/// The defaults of the schema are those of the settings, so it accepts them too.
#[test]
fn every_setting_has_a_text_and_a_default() {
    fn check(path: &str, schema: &Value) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 5), "{path}");
            let is_setting = property.get("properties").is_none() && property.get("$ref").is_none();
            if is_setting && key != "profiles" {
                assert!(property.get("default").is_some(), "{path}");
            }
            check(&path, property);
        }
    }
    let schema: Value = serde_json::from_str(&schema()).expect("valid JSON");
    for part in [&schema, &schema["$defs"]["profile"], &schema["$defs"]["pattern"]] {
        check("", part);
    }
}

/// Values of every kind, and around the ends of many ranges.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "yes",
    "'true'",
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "1.0",
    "1.5",
    "'1'",
    "'+1'",
    "007",
    "15",
    "16",
    "90",
    "91",
    "1024",
    "1025",
    "4095",
    "4096",
    "10000",
    "10001",
    "65536",
    "65537",
    "1000000",
    "1000001",
    "2147483648",
    "2147483649",
    "9007199254740993",
    "0s",
    "0ms",
    "1ms",
    "99ms",
    "100ms",
    "1000ms",
    "1s",
    "60m",
    "61m",
    "3600s",
    "3601s",
    "1h",
    "2h",
    "24h",
    "25h",
    "1d",
    "2d",
    "365d",
    "366d",
    "1h1s",
    "1s1h",
    "1m30s",
    "0.5s",
    "1.5h",
    "' 1s'",
    "1S",
    "4KiB",
    "4Ki",
    "1MiB",
    "1 MiB",
    "1023KiB",
    "63MiB",
    "64MiB",
    "67MB",
    "68MB",
    "1mib",
    "64KiB",
    "3MiB",
    "16MiB",
    "17MiB",
    "256MiB",
    "257MiB",
    "1024TiB",
    "1025TiB",
    "auto",
    "' auto '",
    "off",
    "''",
    "' '",
    "INFO",
    "info",
    "Warning",
    "warn",
    "development",
    "production",
    "path",
    "virtual",
    "key",
    "origin",
    "127.0.0.1:80",
    "'[::1]:80'",
    "localhost:80",
    "/",
    "/a",
    "/a/b",
    "a/",
    "us-east-1",
    "a b",
    "image/png",
    "'text/html; charset=x'",
    "[]",
    "[a]",
    "[1]",
    "[image/png]",
    "['*']",
    "[https://a.example]",
    "['https://a.example/']",
    "['*', a]",
    "[x-a-*]",
    "[host]",
    "[rubin-*]",
    "{}",
    "{a: b}",
    "{x-a: b}",
    "{a: image/png}",
    "{a: 1}",
    "[{match: a}]",
    "[{match: a, ttl: 1h}]",
    "[{ttl: 1h}]",
    "[null]",
    "aws",
    "https://h",
    "HTTP://h:9000/x",
    "h",
    "no-store",
    "'public, max-age=1'",
    "é",
];

/// Whether the schema bounds these exactly.
fn is_exact(accepts: Accepts) -> bool {
    match accepts {
        Accepts::Boolean
        | Accepts::Count { .. }
        | Accepts::Ratio
        | Accepts::Size { .. }
        | Accepts::Memory { .. }
        | Accepts::BlockSize { .. }
        | Accepts::Time { .. }
        | Accepts::Words(_)
        | Accepts::AnyCase(_)
        | Accepts::Mapping(_)
        | Accepts::Patterns => true,
        Accepts::Seconds { .. }
        | Accepts::Text(_)
        | Accepts::List { .. }
        | Accepts::BooleanOrList { .. } => false,
    }
}

#[test]
fn the_schema_refuses_no_value_that_the_loader_accepts_and_few_others() {
    let validator = Validator::new();
    let of_global = global().map(|row| (row.path.to_owned(), row));
    let of_store = of_profile().map(|row| (format!("profiles.a.{}", row.path), row));
    let of_rule =
        cache::rule::ROWS.iter().map(|row| (format!("profiles.a.cache.{}", row.key), row));
    let rows: Vec<(String, &Row)> = of_global.chain(of_store).chain(of_rule).collect();
    for value in VALUES {
        let parsed: serde_yaml::Value = serde_yaml::from_str(value).expect("valid YAML");
        // Every setting has this value: the loader reports each that is wrong.
        let mut all = serde_yaml::Value::Null;
        for (path, _) in &rows {
            insert(&mut all, path, &parsed);
        }
        let text = serde_yaml::to_string(&all).expect("as YAML");
        let read = |file: &Path| match file.to_str() {
            Some("c.yaml") => Ok(text.clone()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let environment = BTreeMap::from([("S3PROXY_CONFIG".to_owned(), "c.yaml".to_owned())]);
        let inputs = Inputs { environment, flags: Flags::default(), processors: 1, read: &read };
        let problems = load(&inputs).err().unwrap_or_default();
        for (path, row) in &rows {
            let mut one = serde_yaml::Value::Null;
            insert(&mut one, path, &parsed);
            let accepted = validator.accepts_value(one);
            // Not those of another setting whose name begins with this one.
            let is_of_path = |key: &String| {
                let rest = key.strip_prefix(path.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let mut of_path =
                problems.iter().filter(|problem| problem.key.as_ref().is_some_and(is_of_path));
            let is_wrong = of_path.clone().next().is_some();
            assert!(is_wrong || accepted, "the schema refuses {path}: {value}");
            // Other messages are of settings that contradict each other.
            let is_wrong_value = of_path.any(|problem| problem.message.starts_with("must"));
            let is_long_time = ["1h1s", "1m30s", "."].iter().any(|part| value.contains(part));
            if is_wrong_value && is_exact(row.accepts) && !is_long_time {
                assert!(!accepted, "the schema accepts {path}: {value}");
            }
        }
    }
}

/// Sets the value at a path, in mappings that are made as needed.
fn insert(into: &mut serde_yaml::Value, path: &str, value: &serde_yaml::Value) {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    if !into.is_mapping() {
        *into = serde_yaml::Value::Mapping(serde_yaml::Mapping::new());
    }
    let child = into.as_mapping_mut().expect("a mapping").entry(first.into());
    let child = child.or_insert(serde_yaml::Value::Null);
    if rest.is_empty() {
        *child = value.clone();
    } else {
        insert(child, rest, value);
    }
}
