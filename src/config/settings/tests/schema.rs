//! The JSON Schema accepts what the loader accepts, and refuses wrong types, ranges and keys.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use crate::config::schema::schema;

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
        let mut document: serde_yaml::Value = serde_yaml::from_str(yaml).expect("valid YAML");
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
        "cors: {origins: '*'}",
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
