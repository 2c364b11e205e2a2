//! Profiles: endpoints, keys and regions from everywhere they may be written.

use super::*;
use crate::s3::credentials::{CredentialSource, Credentials};
use crate::s3::endpoint::Addressing;

#[test]
fn a_named_profile_takes_keys_from_its_url_or_its_section_and_never_from_the_environment() {
    let access = [("AWS_ACCESS_KEY_ID", "ENVKEY"), ("AWS_SECRET_ACCESS_KEY", "hush-env")];
    let urls = [
        ("LSST_RESOURCES_S3_PROFILE_hips", "https://hips.example/base/"),
        ("LSST_RESOURCES_S3_PROFILE_url", "http://URLKEY:hush%2Furl@url.example:9000"),
        ("LSST_RESOURCES_S3_PROFILE_none", "https://none.example"),
    ];
    let all: Vec<_> = access.iter().chain(&urls).copied().collect();
    let loaded = Case { env: &all, ini: INI, ..Case::default() }.good();

    let hips = named(&loaded, "hips");
    assert_eq!(hips.endpoint.to_string(), "https://hips.example/base");
    assert_eq!(keys(hips), ("HIPSKEY0002", "hush-hips"));
    assert_eq!(hips.region, "eu-west-1");
    assert_eq!(hips.addressing, Addressing::Path);
    let Credentials::Keys { source, keys: hips_keys } = &hips.credentials else {
        panic!("hips has keys")
    };
    let section = "hips".to_owned();
    assert_eq!(*source, CredentialSource::File { path: "c.ini".into(), section });
    assert!(hips_keys.session_token.is_some());

    let url = named(&loaded, "url");
    assert_eq!(keys(url), ("URLKEY", "hush/url"));
    assert_eq!(url.region, "us-east-1");

    let none = &named(&loaded, "none").credentials;
    let Credentials::Missing(why) = none else { panic!("{none:?}") };
    assert_eq!(why, "there is no section [none] in c.ini");
    assert_eq!(loaded.warnings, ["none@ will be refused: there is no section [none] in c.ini"]);

    assert_eq!(keys(default(&loaded)), ("ENVKEY", "hush-env"));
}

#[test]
fn the_default_profile_looks_in_its_url_then_the_environment_then_its_section() {
    let url = ("S3_ENDPOINT_URL", "https://URLKEY:hush@h");
    let id = ("AWS_ACCESS_KEY_ID", "ENVKEY");
    let secret = ("AWS_SECRET_ACCESS_KEY", "hush");
    let profile = ("AWS_PROFILE", "hips");
    for (env, key) in [
        (&[url, id, secret, profile][..], "URLKEY"),
        (&[id, secret, profile], "ENVKEY"),
        (&[profile], "HIPSKEY0002"),
        (&[], "DEFAULTKEY0001"),
    ] {
        let loaded = Case { env, ini: INI, ..Case::default() }.good();
        assert_eq!(keys(default(&loaded)).0, key);
    }
}

#[test]
fn half_a_pair_is_a_mistake_wherever_it_is() {
    assert_eq!(
        env(&[("AWS_SECRET_ACCESS_KEY", "hush")]).bad(),
        ["AWS_SECRET_ACCESS_KEY: is set without AWS_ACCESS_KEY_ID"]
    );
    let case = Case { ini: "\n[x]\naws_secret_access_key = hush", ..Case::default() };
    assert_eq!(
        case.bad(),
        ["c.ini:3: [x] aws_secret_access_key: is set without aws_access_key_id"]
    );
}

#[test]
fn keys_with_a_line_break_at_the_end_are_refused() {
    let problems = env(&[("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "hush\n")]).bad();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("AWS_SECRET_ACCESS_KEY: must be printable"), "{problems:?}");
}

#[test]
fn the_default_endpoint_has_three_variables_and_the_first_wins() {
    let one = ("S3_ENDPOINT_URL", "https://one.example");
    let two = ("AWS_ENDPOINT_URL_S3", "https://two.example");
    let three = ("AWS_ENDPOINT_URL", "https://three.example");
    let none = ("S3_ENDPOINT_URL", "");
    let file = "default_profile: {endpoint: https://file.example}";
    for (env, yaml, endpoint) in [
        (&[one, two][..], file, "https://one.example"),
        (&[none, two], file, "https://two.example"),
        (&[none, two, three], file, "https://two.example"),
        (&[none, three], file, "https://three.example"),
        (&[none], file, "https://file.example"),
        (&[none], "", "https://s3.us-east-1.amazonaws.com"),
    ] {
        let loaded = Case { env, yaml, ..Case::default() }.good();
        assert_eq!(default(&loaded).endpoint.to_string(), endpoint);
    }
}

#[test]
fn a_section_without_an_endpoint_is_a_profile_on_the_default_one_with_a_warning() {
    let case = Case {
        env: &[
            ("S3_ENDPOINT_URL", "https://default.example"),
            ("LSST_RESOURCES_S3_PROFILE_Hips", "https://hips.example"),
        ],
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    let orphan = named(&loaded, "hips");
    assert_eq!(orphan.endpoint.to_string(), "https://default.example");
    assert_eq!(keys(orphan).0, "HIPSKEY0002");
    assert_eq!(loaded.orphan_sections, ["hips"]);
    assert_eq!(
        loaded.warnings,
        [
            "Hips@ will be refused: there is no section [Hips] in c.ini; did you mean [hips]?",
            "c.ini:4: section [hips] has no endpoint (there is one for Hips): hips@ uses its \
             access key at the endpoint of the default profile; set LSST_RESOURCES_S3_PROFILE_hips if \
             that is wrong",
        ]
    );
    assert_eq!(keys(named(&loaded, "default")).0, "DEFAULTKEY0001");
    assert!(!loaded.config.profiles.named.contains_key("default"), "it is the default profile");
}

#[test]
fn names_that_no_url_can_hold_are_told() {
    let ini = "[sp ace]\naws_access_key_id = AKIA\naws_secret_access_key = s";
    let loaded = Case { ini, ..Case::default() }.good();
    assert!(loaded.config.profiles.named.is_empty());
    assert!(loaded.warnings[0].contains("cannot be used in a URL"), "{:?}", loaded.warnings);
    let problems = env(&[("LSST_RESOURCES_S3_PROFILE_h+x", "http://h")]).bad();
    assert!(problems[0].contains("LSST_RESOURCES_S3_PROFILE_h+x"), "{problems:?}");
}

#[test]
fn a_section_without_keys_makes_no_profile() {
    let loaded = Case { ini: "[x]\nregion = y", ..Case::default() }.good();
    assert!(loaded.config.profiles.named.is_empty());
    assert!(loaded.warnings[0].contains("it has no access key"), "{:?}", loaded.warnings);
    assert!(loaded.warnings[1].starts_with("no profile has credentials"));
}

#[test]
fn yaml_names_sections_and_anonymous_access() {
    let case = Case {
        yaml: "default_profile: {credentials: {section: hips}}\n\
               profiles:\n  a: {credentials: {section: hips}, region: mars-1}\n  \
               p: {credentials: {anonymous: true}, endpoint: aws, region: eu-west-3}\n",
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    assert_eq!(keys(default(&loaded)).0, "HIPSKEY0002");
    assert_eq!(default(&loaded).region, "eu-west-1");
    assert_eq!(keys(named(&loaded, "a")).0, "HIPSKEY0002");
    assert_eq!(named(&loaded, "a").region, "mars-1");
    let public = named(&loaded, "p");
    assert_eq!(public.credentials, Credentials::Anonymous);
    assert_eq!(public.endpoint.to_string(), "https://s3.eu-west-3.amazonaws.com");
    assert_eq!(public.addressing, Addressing::Virtual);
    assert_eq!(loaded.config.profiles.get(Some("hips")).map(|p| p.label()), None, "taken by a");
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn credentials_that_contradict_each_other_are_refused() {
    for (yaml, start) in [
        (
            "profiles:\n  a:\n    endpoint: https://k:hush@h\n    credentials:\n      \
             anonymous: true\n",
            "c.yaml:5: profiles.a.credentials: is anonymous and has keys in the endpoint URL",
        ),
        (
            "profiles:\n  a:\n    credentials:\n      section: hips\n      anonymous: true\n",
            "c.yaml:5: profiles.a.credentials: is anonymous and has a section",
        ),
        (
            "profiles:\n  a:\n    credentials:\n      section: hpis\n",
            "c.yaml:4: profiles.a.credentials.section: there is no section [hpis] in c.ini; did \
             you mean [hips]?",
        ),
    ] {
        let problems = Case { yaml, ini: INI, ..Case::default() }.bad();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(start), "{problems:?}");
    }
}

#[test]
fn an_environment_endpoint_replaces_that_of_the_file_with_its_keys() {
    let case = Case {
        env: &[("LSST_RESOURCES_S3_PROFILE_hips", "https://env.example")],
        yaml: "profiles:\n  hips:\n    endpoint: https://FILEKEY:hush@file.example\n    \
               addressing: virtual\n    missing_on_403: true\n    buckets: [a-*]\n",
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    let hips = named(&loaded, "hips");
    assert_eq!(hips.endpoint.to_string(), "https://env.example");
    assert_eq!(keys(hips).0, "HIPSKEY0002");
    assert_eq!(hips.addressing, Addressing::Virtual);
    assert!(hips.missing_on_403 && hips.admits("a-b") && !hips.admits("b"));
}

#[test]
fn regions_come_from_profile_section_or_the_global_setting() {
    let case = Case {
        env: &[("AWS_DEFAULT_REGION", "env-1"), ("AWS_REGION", "unread-1")],
        yaml: "region: file-1\nprofiles: {hips: {}, a: {}, b: {region: own-1}}",
        ini: INI,
        ..Case::default()
    };
    let loaded = case.good();
    for (name, region, source) in [
        ("hips", "eu-west-1", "c.ini:8"),
        ("a", "env-1", "AWS_DEFAULT_REGION"),
        ("b", "own-1", "c.yaml:2"),
    ] {
        assert_eq!(named(&loaded, name).region, region, "{name}");
        let shown = setting(&loaded, &format!("profiles.{name}.region"));
        assert_eq!((shown.value.as_str(), shown.source.to_string().as_str()), (region, source));
    }
}

#[test]
fn the_credentials_file_in_the_home_directory_is_optional() {
    let loaded = env(&[("HOME", "/home/x")]).good();
    assert_eq!(keys(default(&loaded)).0, "DEFAULTKEY0001");
    assert_eq!(loaded.credentials_file, Some("/home/x/.aws/credentials".into()));
    let without = env(&[("HOME", "/home/y")]).good();
    assert_eq!(without.credentials_file, None);
    assert!(without.warnings.iter().all(|warning| !warning.contains("/home/y")));
    let tilde = [("HOME", "/home/u"), ("AWS_SHARED_CREDENTIALS_FILE", "~/c.ini")];
    assert_eq!(env(&tilde).good().credentials_file, Some("/home/u/c.ini".into()));
}

/// A file that names one store made a gateway that also signed requests with `[default]`, and with every
/// other section, of `~/.aws/credentials`.
#[test]
fn a_file_that_names_other_stores_does_not_publish_the_account_of_the_user() {
    let yaml = "profiles: {hips: {endpoint: https://hips.example}}";
    let loaded = Case {
        yaml,
        ini: &format!("{INI}\n[work]\naws_access_key_id=A\naws_secret_access_key=B"),
        ..Case::default()
    }
    .good();
    assert_eq!(loaded.config.profiles.default, None);
    assert_eq!(loaded.config.profiles.named.keys().collect::<Vec<_>>(), ["hips"]);
    assert!(loaded.config.profiles.get(Some("default")).is_none());
    assert_eq!(loaded.orphan_sections, ["work"]);
    assert!(loaded.warnings[0].contains("there is no default profile"), "{:?}", loaded.warnings);
    for (env, yaml, endpoint) in [
        (&[][..], "default_profile: {}", "https://s3.us-east-1.amazonaws.com"),
        (&[("S3_ENDPOINT_URL", "https://env.example")], yaml, "https://env.example"),
        (
            &[("LSST_RESOURCES_S3_PROFILE_default", "https://own.example")],
            yaml,
            "https://own.example",
        ),
        (&[], "profiles: {default: {endpoint: https://alias.example}}", "https://alias.example"),
    ] {
        let loaded = Case { env, yaml, ini: INI, ..Case::default() }.good();
        assert_eq!(default(&loaded).endpoint.to_string(), endpoint);
        assert_eq!(keys(default(&loaded)).0, "DEFAULTKEY0001");
        assert!(!loaded.config.profiles.named.contains_key("default"));
    }
}

#[test]
fn access_keys_for_a_default_profile_that_is_not_there_are_a_warning() {
    let access = [("AWS_ACCESS_KEY_ID", "ENVKEY"), ("AWS_SECRET_ACCESS_KEY", "hush-env")];
    let yaml = "profiles: {hips: {endpoint: https://hips.example}}";
    let loaded = Case { env: &access, yaml, ini: INI, ..Case::default() }.good();
    assert_eq!(loaded.config.profiles.default, None);
    assert!(
        loaded.warnings[0].starts_with("AWS_ACCESS_KEY_ID is not used"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn the_default_profile_is_defined_once() {
    let yaml = "default_profile: {}\nprofiles: {default: {}}";
    let problems = Case { yaml, ini: INI, ..Case::default() }.bad();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("c.yaml:2: profiles.default: is the default profile"),
        "{problems:?}"
    );
    let urls =
        [("S3_ENDPOINT_URL", "https://a"), ("LSST_RESOURCES_S3_PROFILE_default", "https://b")];
    let problems = Case { env: &urls, ini: INI, ..Case::default() }.bad();
    assert!(problems[0].starts_with("LSST_RESOURCES_S3_PROFILE_default"), "{problems:?}");
}

/// 2.0.1 heeded these; requests were signed without the token, and for Amazon.
#[test]
fn variables_of_awss_tools_that_2_0_1_heeded_are_read() {
    let all = [
        ("AWS_ACCESS_KEY_ID", "ENVKEY"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
        ("AWS_SECURITY_TOKEN", "old"),
        ("AWS_CA_BUNDLE", "ca.pem"),
    ];
    let loaded = env(&all).good();
    let Credentials::Keys { keys, .. } = &default(&loaded).credentials else { panic!("no keys") };
    assert_eq!(keys.session_token.as_ref().map(|token| token.expose()), Some("old"));
    assert_eq!(loaded.config.upstream.ca_file, Some("ca.pem".into()));
    assert_eq!(setting(&loaded, "upstream.ca_file").source.to_string(), "AWS_CA_BUNDLE");
    let own = [("AWS_CA_BUNDLE", "none.pem"), ("S3PROXY_UPSTREAM_CA_FILE", "ca.pem")];
    assert_eq!(env(&own).good().config.upstream.ca_file, Some("ca.pem".into()));
}

#[test]
fn surveys_are_folders_of_their_profile_and_need_a_listed_one() {
    let of = |surveys: &str, listed: bool| {
        format!("profiles:\n  hips: {{listed: {listed}, surveys: {surveys}}}\n")
    };
    let good = of("[sky/, 'sky/a b/']", true);
    assert_eq!(named(&yaml(&good).good(), "hips").surveys, ["sky/", "sky/a b/"]);
    for (surveys, message) in [
        ("[sky/dp1]", "with a slash at its end"),
        ("[hips@sky/dp1/]", "without @"),
        ("[sky/../]", "segment"),
        ("[sky]", "with a slash at its end"),
    ] {
        let file = of(surveys, true);
        let problems = yaml(&file).bad();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(message) && problems[0].contains("surveys"), "{problems:?}");
    }
    let unlisted = of("[sky/]", false);
    let warnings = yaml(&unlisted).good().warnings;
    let expected = "profiles.hips.surveys has no effect without profiles.hips.listed";
    assert!(warnings.iter().any(|warning| warning == expected), "{warnings:?}");
}

#[test]
fn several_endpoints_are_read_in_order_and_a_profile_without_its_own_has_those_of_the_default_one()
{
    let file = "
default_profile: {endpoints: [https://a.example, 'http://b.example:9000/x']}
profiles:
  same: {credentials: {anonymous: true}}
  own: {endpoint: https://c.example, credentials: {anonymous: true}}
  more: {endpoints: [https://d.example, https://a.example], hedge: true, credentials: {anonymous: true}}";
    let case = Case { env: &[("HTTPS_PROXY", "http://proxy:1")], ..yaml(file) };
    let loaded = case.good();
    let at = |profile: &Profile| {
        let ways = profile.ways().map(|way| {
            let proxy = way.proxy.map(|_| " by proxy").unwrap_or_default();
            format!("{}{proxy}", way.endpoint)
        });
        ways.collect::<Vec<_>>().join(", ")
    };
    let both = "https://a.example by proxy, http://b.example:9000/x";
    assert_eq!(at(default(&loaded)), both);
    assert_eq!(at(named(&loaded, "same")), both);
    assert_eq!(at(named(&loaded, "own")), "https://c.example by proxy");
    let more = named(&loaded, "more");
    assert_eq!(at(more), "https://d.example by proxy, https://a.example by proxy");
    assert!(more.hedge && !default(&loaded).hedge);
    assert_eq!(setting(&loaded, "default_profile.endpoint").value, "https://a.example (the first)");
}

#[test]
fn contradictions_of_endpoints_are_told() {
    let both = "profiles: {p: {endpoint: https://a, endpoints: [https://b]}}";
    let problems = yaml(both).bad();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("profiles.p.endpoints")
            && problems[0].contains("profiles.p.endpoint (c.yaml"),
        "{problems:?}"
    );
    let variable = [("LSST_RESOURCES_S3_PROFILE_p", "https://a")];
    let case = Case { env: &variable, ..yaml("profiles: {p: {endpoints: [https://b]}}") };
    assert!(case.bad()[0].contains("LSST_RESOURCES_S3_PROFILE_p"), "{:?}", case.bad());
    let wrong = yaml("profiles: {p: {endpoints: [https://b, ftp://c, 'https://AK:hush@d']}}").bad();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(!wrong.concat().contains("hush"), "{wrong:?}");
    let alone = yaml("default_profile: {endpoint: https://a, hedge: true}").good();
    let warning = "default_profile.hedge has no effect without several default_profile.endpoints";
    assert!(alone.warnings.iter().any(|it| it == warning), "{:?}", alone.warnings);
}
