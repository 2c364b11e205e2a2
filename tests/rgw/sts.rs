//! Credentials that the STS of a real RGW issues: `AssumeRole`, signed with the access key of a user, and requests
//! for objects that are signed with what it issued.

use std::io::Write as _;

use crate::{
    gateway::Gateway,
    rgw::{Rgw, variable},
};

/// A role that the user may assume, and that may read every bucket.
const ROLE_ARN: &str = "S3PROXY_TEST_RGW_ROLE_ARN";

#[test]
fn rgw_issues_credentials_for_a_role_that_read_objects() {
    let Some(rgw) = Rgw::from_environment("sts") else { return };
    let Some(role) = variable(ROLE_ARN) else {
        // The test runner hides the output of a passing test.
        let skipped =
            format!("\nSKIPPED: the test of RGW's STS did nothing, {ROLE_ARN} is not set.\n");
        let _closed = std::io::stderr().write_all(skipped.as_bytes());
        return;
    };
    rgw.put("a.txt", b"read by a role");
    let Rgw { authority, access_key, secret_key, .. } = &rgw;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s3proxy.yaml");
    let profile = |name: &str, arn: &str| {
        format!(
            "  {name}:\n    endpoint: \"http://{access_key}:{secret_key}@{authority}\"\n    \
             credentials: {{role_arn: \"{arn}\"}}\n"
        )
    };
    let text =
        ["profiles:\n", &profile("role", &role), &profile("other", &format!("{role}-other"))];
    std::fs::write(&path, text.concat()).expect("the configuration");
    let path = path.to_str().expect("UTF-8");
    let gateway =
        Gateway::start_with(&rgw, &[("S3PROXY_CACHE_MEMORY", "0"), ("S3PROXY_CONFIG", path)]);
    let answer = gateway.ask("GET", &gateway.path_for("role", "a.txt"), &[]);
    assert_eq!((answer.status, answer.text()), (200, "read by a role".to_owned()), "{answer:?}");
    let refused = gateway.ask("GET", &gateway.path_for("other", "a.txt"), &[]);
    assert_eq!(refused.status, 502, "there is no such role: {refused:?}");
    assert!(refused.text().contains("credentials_missing"), "{refused:?}");
}
