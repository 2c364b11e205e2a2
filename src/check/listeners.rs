//! The certificates that the gateway shows its clients: whether they are valid, and for how long.

use std::time::{Duration, SystemTime};

use crate::certificate::Identity;
use crate::check::report::{CheckStep, Finding};
use crate::config::{Config, TlsFiles};
use crate::reload::{certificate_line, not_valid_line};

/// The alert S3ProxyCertificateExpires fires as early.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// A step for each certificate of `tls` and of `admin.tls`.
pub(super) fn certificates(config: &Config, now: SystemTime) -> Vec<CheckStep> {
    let public = config.tls.iter().map(|tls| ("tls", &tls.files));
    let all = public.chain(config.admin_tls.iter().map(|files| ("admin.tls", files)));
    let steps = |(section, files): (&'static str, &TlsFiles)| {
        let findings = files.identities.iter().map(|identity| finding(section, identity, now));
        findings.map(|finding| CheckStep::new("listener", finding)).collect::<Vec<_>>()
    };
    all.flat_map(steps).collect()
}

fn finding(section: &str, identity: &Identity, now: SystemTime) -> Finding {
    let renew = || format!("renew the files of {section}.certificate_file and {section}.key_file");
    if !identity.is_valid(now) {
        return Finding::failed(format!("{section}: {}", not_valid_line(identity)), renew());
    }
    let issuer = identity.last_issuer();
    let issuer = issuer.map(|it| format!("; its clients have to know the authority {it}"));
    let line = format!("{section}: {}{}", certificate_line(identity), issuer.unwrap_or_default());
    match identity.is_valid(now + SOON) {
        true => Finding::ok(line),
        false => Finding::warning(format!("{line}, less than 14 days"), renew()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Chain, PrivateKey};
    use crate::check::report::StepState;

    #[test]
    fn a_certificate_is_renewed_before_it_expires() {
        let made = rcgen::generate_simple_self_signed(["sky.example.org".to_owned()]);
        let made = made.expect("a certificate");
        let chain = Chain::parse(&made.cert.pem()).expect("a chain");
        let key = PrivateKey::parse(&made.signing_key.serialize_pem()).expect("a key");
        let identity = Identity::new(chain, key).expect("a pair");
        let day = Duration::from_secs(24 * 3600);
        for (now, state, words) in [
            (identity.not_after - 15 * day, StepState::Ok, "sky.example.org, valid until"),
            (identity.not_after - 13 * day, StepState::Warning, "less than 14 days"),
            (identity.not_after + day, StepState::Failed, "not valid now"),
            (identity.not_before - day, StepState::Failed, "it is valid from"),
        ] {
            let found = finding("tls", &identity, now);
            assert_eq!(found.state, state, "{}", found.detail);
            assert!(found.detail.contains(words), "{}", found.detail);
            assert_eq!(found.fix.is_some(), state != StepState::Ok);
        }
    }
}
