//! Each setting without an effect gives a warning, and none where it has one.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::config::settings::{global, of_profile};
use crate::config::{Flags, Inputs, load};

/// What is said about settings without an effect.
fn warnings(environment: &[(&str, &str)], yaml: &str) -> Vec<String> {
    let made = rcgen::generate_simple_self_signed(["a".to_owned()]).expect("a certificate");
    let files = [
        ("c.yaml", yaml.to_owned()),
        ("c", made.cert.pem()),
        ("k", made.signing_key.serialize_pem()),
    ];
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| path == Path::new(name));
        found.map(|(_, text)| text.clone()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let environment = environment.iter().map(|(name, text)| ((*name).into(), (*text).into()));
    let loaded = load(&Inputs {
        environment: environment.collect::<BTreeMap<_, _>>(),
        flags: Flags { config: Some("c.yaml".to_owned()), ..Flags::default() },
        processors: 1,
        read: &read,
    });
    let mut warnings = loaded.expect(yaml).warnings;
    warnings.retain(|warning| warning.contains(" no effect"));
    warnings
}

/// A profile, and the settings of the gateway before it.
fn with_profile(global: &str, profile: &str) -> String {
    format!("{global}\nprofiles: {{a: {{endpoint: 'http://s', {profile}}}}}\n")
}

const TLS: &str = "listen: '127.0.0.1:1', certificate_file: c, key_file: k";

/// A configuration in which a setting has no effect, the warning, and a configuration in which it has one.
#[test]
fn what_has_no_effect_is_told_and_what_has_one_is_not() {
    let global = |text: &str| with_profile(text, "");
    let of_profile = |text: &str| with_profile("", text);
    for (without, warning, with) in [
        (
            global("tls: {public_port: 443, http2: false}"),
            "tls.http2, tls.public_port have no effect without tls.listen",
            global(&format!(
                "tls: {{public_port: 443, redirect_to_https: true, http2: false, {TLS}}}"
            )),
        ),
        (
            global(&format!("tls: {{public_port: 443, {TLS}}}")),
            "tls.public_port has no effect without tls.redirect_to_https",
            global(&format!("tls: {{public_port: 443, redirect_to_https: true, {TLS}}}")),
        ),
        (
            global(&format!("tls: {{hsts_include_subdomains: true, {TLS}}}")),
            "tls.hsts_include_subdomains has no effect without tls.hsts_max_age",
            global(&format!("tls: {{hsts_include_subdomains: true, hsts_max_age: 1, {TLS}}}")),
        ),
        (
            global("admin: {listen: off, hosts: [a]}"),
            "admin.hosts has no effect without admin.listen",
            global("admin: {hosts: [a]}"),
        ),
        (
            global("tracing: {sample: 1, trust_clients: true, service_name: a, queue: 10}"),
            "tracing.sample, tracing.trust_clients, tracing.service_name, tracing.queue have no effect \
             without tracing.endpoint",
            global("tracing: {endpoint: 'http://c:4318', sample: 1, queue: 10}"),
        ),
        (
            global("cors: {max_age: 2h, credentials: true}"),
            "cors.credentials, cors.max_age have no effect without cors.origins",
            global("cors: {max_age: 2h, credentials: true, origins: ['https://a']}"),
        ),
        (
            global("alias_max_age: 5"),
            "alias_max_age has no effect without aliases",
            global("alias_max_age: 5\naliases: {a@bucket/b/: a@bucket/c/}"),
        ),
        (
            global("forwarded_header: Forwarded\ntrusted_proxies: []"),
            "forwarded_header has no effect without trusted_proxies",
            global("forwarded_header: Forwarded"),
        ),
        (
            global(&format!("downstream: {{http2_max_age: 5m}}\ntls: {{http2: false, {TLS}}}")),
            "downstream.http2_max_age has no effect without tls.listen with tls.http2, or listen with the \
             word http2",
            global("downstream: {http2_max_age: 5m}\nlisten: '127.0.0.1:1 http2'"),
        ),
        (
            global("cache: {memory: 0, ttl: 1h, disk: {path: d}, shared: {url: 'redis://h'}}"),
            "cache.disk.path, cache.shared.url have no effect: cache.memory is 0, which turns the cache off",
            global("cache: {ttl: 1h, disk: {path: d}, shared: {url: 'redis://h'}}"),
        ),
        (
            global("cache: {disk: {size: 1GiB}}"),
            "cache.disk.size has no effect without cache.disk.path",
            global("cache: {disk: {size: 1GiB, path: d}}"),
        ),
        (
            global("cache: {shared: {prefix: a, timeout: 20ms}}"),
            "cache.shared.prefix, cache.shared.timeout have no effect without cache.shared.url",
            global("cache: {shared: {url: 'redis://h', prefix: a}}"),
        ),
        (
            global("cache: {store: false, ttl: 1h, background_refreshes: 9}"),
            "cache.ttl, cache.background_refreshes have no effect without cache.store",
            with_profile("cache: {store: false, ttl: 1h}", "cache: {store: true}"),
        ),
        (
            global("cache: {stale_if_error: 0, revalidate_timeout: 3s}"),
            "cache.revalidate_timeout has no effect without cache.stale_if_error",
            global("cache: {revalidate_timeout: 3s}"),
        ),
        (
            global("cache: {pin_share: 0, pin: [a]}"),
            "cache.pin has no effect: cache.pin_share is 0, which pins nothing",
            global("cache: {pin_share: 5, pin: [a]}"),
        ),
        (
            global("cache: {pin_share: 5}"),
            "cache.pin_share has no effect without cache.pin",
            with_profile("cache: {pin_share: 5}", "hips: true"),
        ),
        (
            global("cache: {archive_directories: 5MiB}"),
            "cache.archive_directories has no effect without a profile with archives",
            with_profile("cache: {archive_directories: 5MiB}", "archives: true"),
        ),
        (
            of_profile("hedge: true"),
            "profiles.a.hedge has no effect without several profiles.a.endpoints",
            "profiles: {a: {endpoints: ['http://s', 'http://t'], hedge: true}}".to_owned(),
        ),
        (
            of_profile("surveys: [sky/]"),
            "profiles.a.surveys has no effect without profiles.a.listed",
            of_profile("surveys: [sky/], listed: true"),
        ),
        (
            of_profile("listing_ttl: 5m"),
            "profiles.a.listing_ttl has no effect without profiles.a.listing",
            of_profile("listing_ttl: 5m, listing: true"),
        ),
        (
            of_profile("cache: {store: false, ttl: 1h}"),
            "profiles.a.cache.ttl has no effect without profiles.a.cache.store",
            of_profile("cache: {store: false, ttl: 1h, patterns: [{match: b, store: true}]}"),
        ),
        (
            with_profile("cache: {pin_share: 0}", "cache: {pin: [a]}"),
            "profiles.a.cache.pin has no effect: cache.pin_share is 0, which pins nothing",
            of_profile("cache: {pin: [a]}"),
        ),
        (
            "profiles: {default: {endpoint: 'http://s', hedge: true}}".to_owned(),
            "profiles.default.hedge has no effect without several profiles.default.endpoints",
            "default_profile: {endpoint: 'http://s', listing: true, listing_ttl: 5m}".to_owned(),
        ),
    ] {
        assert_eq!(warnings(&[], &without), [warning], "{without}");
        assert_eq!(warnings(&[], &with), [""; 0], "{with}");
    }
}

#[test]
fn a_default_that_is_written_out_is_no_mistake() {
    for text in
        ["tls: {http2: true, public_port: null}", "tracing: {sample: 0.01}", "cache: {pin: null}"]
    {
        assert_eq!(warnings(&[], &with_profile(text, "")), [""; 0], "{text}");
    }
    for (variable, text) in [
        ("S3PROXY_TLS_REDIRECT_TO_HTTPS", "no"),
        ("S3PROXY_TLS_CLIENT_CA_FILE", ""),
        ("S3PROXY_TLS_CERTIFICATE_FILE", ""),
        ("OTEL_SERVICE_NAME", "s3proxy"),
    ] {
        assert_eq!(warnings(&[(variable, text)], ""), [""; 0], "{variable}");
    }
    let told = warnings(&[("OTEL_TRACES_SAMPLER_ARG", "1")], "");
    assert_eq!(told, ["tracing.sample has no effect without tracing.endpoint"]);
}

/// A new setting in one of these mappings belongs into the tables.
#[test]
fn the_settings_that_need_another_one_are_known() {
    let of = |rows: &'static [&'static [Row]]| rows.iter().copied().flatten().map(|row| row.path);
    let dependent: BTreeSet<&str> = GLOBAL.iter().flat_map(|it| of(it.settings)).collect();
    let groups = ["tls.", "admin.tls.", "tracing.", "cors.", "cache.disk.", "cache.shared."];
    for row in global().filter(|row| groups.iter().any(|group| row.path.starts_with(group))) {
        assert!(dependent.contains(row.path), "{}", row.path);
    }
    let dependent: BTreeSet<&str> = OF_PROFILE.iter().flat_map(|it| of(it.settings)).collect();
    for row in of_profile().filter(|row| row.path.starts_with("cache.")) {
        assert!(dependent.contains(row.path), "{}", row.path);
    }
}
