//! Providers of credentials: where each may be named, and which comes first.

use super::*;

const BASE: &str = "[base]\naws_access_key_id = BASEKEY\naws_secret_access_key = hush\n";
const HIPS: &str = "profiles:\n  hips: {endpoint: \"https://h.example\"}\n";

/// What a profile signs with: the name of its provider, or its access key id.
fn source(profile: &Profile) -> String {
    match (&profile.provider, &profile.credentials) {
        (Some(provider), Credentials::Missing(why)) => {
            assert!(why.ends_with("has issued none yet"), "{why}");
            provider.to_string()
        }
        (None, Credentials::Keys { keys, .. }) => keys.access_key_id.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_section_names_a_role_a_token_or_a_program_as_for_awss_own_tools() {
    let keys = "aws_access_key_id = OWNKEY\naws_secret_access_key = hush\n";
    for (section, expected) in [
        ("role_arn = r\nsource_profile = base\n".to_owned(), "role r at https://h.example"),
        (format!("role_arn = r\n{keys}"), "role r at https://h.example"),
        (
            "role_arn = r\nweb_identity_token_file = /t\n".to_owned(),
            "the token /t for role r at https://h.example",
        ),
        ("credential_process = /bin/p --token hush\n".to_owned(), "the program /bin/p"),
        (format!("credential_process = /bin/p\n{keys}"), "OWNKEY"),
    ] {
        let ini = format!("{BASE}[hips]\n{section}");
        let loaded = Case { yaml: HIPS, ini: &ini, ..Case::default() }.good();
        assert_eq!(source(named(&loaded, "hips")), expected, "{section}");
        assert!(!show(&loaded, &[]).contains("hush"));
    }
    for (section, problem) in [
        (
            "role_arn = r",
            "c.ini:4: [hips]: role_arn needs source_profile or web_identity_token_file",
        ),
        (
            "role_arn = r\nsource_profile = nobody",
            "c.ini:4: [hips]: source_profile: there is no access key in [nobody]",
        ),
        ("credential_process = 'a", "c.ini:4: [hips]: credential_process: a quote is not closed"),
    ] {
        let ini = format!("{BASE}[hips]\n{section}\n");
        let problems = Case { yaml: HIPS, ini: &ini, ..Case::default() }.bad();
        assert_eq!(problems, [problem], "{section}");
    }
}

#[test]
fn sts_is_that_of_the_profile_or_of_aws_in_its_region() {
    for (endpoint, sts, expected) in [
        ("https://h.example:9000/base", "", "https://h.example:9000/base"),
        ("aws", "", "https://sts.eu-west-1.amazonaws.com"),
        ("https://s3.eu-west-1.amazonaws.com", "", "https://sts.eu-west-1.amazonaws.com"),
        ("http://h.example", ", sts_endpoint: \"https://sts.example\"", "https://sts.example"),
    ] {
        let text = format!(
            "profiles:\n  hips:\n    endpoint: \"{endpoint}\"\n    region: eu-west-1\n    credentials: \
             {{role_arn: r, section: base{sts}}}\n"
        );
        let loaded = Case { yaml: &text, ini: BASE, ..Case::default() }.good();
        assert_eq!(source(named(&loaded, "hips")), format!("role r at {expected}"), "{endpoint}");
    }
}

#[test]
fn the_environment_of_a_pod_is_the_last_source_of_the_default_profile_alone() {
    let pod = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
        ("AWS_ROLE_ARN", "r"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x"),
    ];
    let keys = [("AWS_ACCESS_KEY_ID", "ENVKEY"), ("AWS_SECRET_ACCESS_KEY", "hush")];
    let hips = ("LSST_RESOURCES_S3_PROFILE_hips", "https://h.example");
    let with = |more: &[(&'static str, &'static str)]| -> Vec<_> {
        pod.iter().chain(more).copied().chain([hips]).collect()
    };
    let loaded = env(&with(&[])).good();
    let token = "the token /t for role r at https://sts.us-east-1.amazonaws.com";
    assert_eq!(source(default(&loaded)), token);
    assert!(named(&loaded, "hips").provider.is_none());
    assert_eq!(source(default(&env(&with(&keys)).good())), "ENVKEY");
    let section = "[default]\naws_access_key_id = FILEKEY\naws_secret_access_key = hush\n";
    let loaded = Case { env: &with(&[]), ini: section, ..Case::default() }.good();
    assert_eq!(source(default(&loaded)), "FILEKEY");
    let container = env(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")]).good();
    assert_eq!(source(default(&container)), "the container endpoint http://169.254.170.2/v2/x");
    let problems = env(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/x")]).bad();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("AWS_CONTAINER_CREDENTIALS_FULL_URI must begin with https://"));
}
