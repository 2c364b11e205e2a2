//! The line of each key, and that both parsers of the YAML file find the same keys.

mod agreement;

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
    let positions = Positions::of(YAML);
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
        assert_eq!(positions.find(&path), line, "{path:?}");
    }
}

#[test]
fn what_is_not_found_gets_the_nearest_key_around_it() {
    let positions = Positions::of(YAML);
    for (path, line) in
        [("server.threads", 20), ("server.grace", 21), ("profiles.hips.region", 6), ("nothing", 1)]
    {
        let path: Vec<&str> = path.split('.').collect();
        assert_eq!(positions.find(&path), line, "{path:?}");
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
    let positions = Positions::of(yaml);
    for (path, line) in [
        ("a.[0].y", 3),
        ("a.[1]", 5),
        ("a.[1].x", 5),
        ("a.[2]", 7),
        ("a.[3].x", 8),
        ("a.[3].b.[0]", 10),
        ("a.[3].b.[1].[1]", 12),
        ("a.[4]", 13),
        ("a.[5]", 1),
        ("c.[0].x", 15),
        ("d", 16),
    ] {
        let path: Vec<&str> = path.split('.').collect();
        assert_eq!(positions.find(&path), line, "{path:?}");
    }
}

#[test]
fn aliases_merge_keys_escapes_and_flow_style_have_lines() {
    let yaml = "\
base: &base
  retries: 0
  list: [a,
    {deep: 1}]
\"up\\x73tream\": &a !tag
  <<: *base
  own: 1
other: *base
merged: {<<: [*a, *base]}
? ttl
: 5m
";
    let positions = Positions::of(yaml);
    for (path, line) in [
        ("base.list.[1].deep", 4),
        ("upstream", 5),
        ("upstream.retries", 2),
        ("upstream.own", 7),
        ("other", 8),
        ("other.retries", 2),
        ("merged.own", 7),
        ("merged.retries", 2),
        ("ttl", 10),
    ] {
        let path: Vec<&str> = path.split('.').collect();
        assert_eq!(positions.find(&path), line, "{path:?}");
    }
}
