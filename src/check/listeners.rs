//! The certificates that the gateway shows its clients: whether they are valid, and for how long.

use std::time::SystemTime;

use crate::certificate::Identity;
use crate::check::report::{CheckStep, Finding};
use crate::config::Config;
use crate::reload::{certificate_line, not_valid_line};

/// A step for each certificate of `tls` and of `admin.tls`.
pub(super) fn certificates(config: &Config, now: SystemTime) -> Vec<CheckStep> {
    let findings = config.identities().map(|(section, identity)| finding(section, identity, now));
    findings.map(|finding| CheckStep::new("listener", finding)).collect()
}

fn finding(section: &str, identity: &Identity, now: SystemTime) -> Finding {
    let renew = || format!("renew the files of {section}.certificate_file and {section}.key_file");
    if !identity.is_valid(now) {
        return Finding::failed(format!("{section}: {}", not_valid_line(identity)), renew());
    }
    let issuer = identity.last_issuer();
    let issuer = issuer.map(|it| format!("; its clients have to know the authority {it}"));
    let line = format!("{section}: {}{}", certificate_line(identity), issuer.unwrap_or_default());
    match identity.is_renewal_late(now) {
        true => Finding::warning(format!("{line}: its renewal is late"), renew()),
        false => Finding::ok(line),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::certificate::{Chain, PrivateKey};
    use crate::check::report::StepState;

    #[test]
    fn a_certificate_is_renewed_before_it_expires() {
        let made = rcgen::generate_simple_self_signed(["sky.example.org".to_owned()]);
        let made = made.expect("a certificate");
        let chain = Chain::parse(&made.cert.pem()).expect("a chain");
        let key = PrivateKey::parse(&made.signing_key.serialize_pem()).expect("a key");
        let mut identity = Identity::new(chain, key).expect("a pair");
        let day = Duration::from_secs(24 * 3600);
        let late = "its renewal is late";
        for (days, left, state, words) in [
            (90, 15.0, StepState::Ok, "sky.example.org, valid until"),
            (90, 13.0, StepState::Warning, late),
            (90, -1.0, StepState::Failed, "not valid now"),
            (90, 91.0, StepState::Failed, "it is valid from"),
            // A third is left when it is usually renewed.
            (40, 13.0, StepState::Ok, "sky.example.org, valid until"),
            (40, 9.0, StepState::Warning, late),
            (7, 6.5, StepState::Ok, "sky.example.org, valid until"),
            (7, 2.3, StepState::Ok, "sky.example.org, valid until"),
            (7, 1.7, StepState::Warning, late),
        ] {
            identity.not_before = identity.not_after - days * day;
            let after = day.mul_f64((f64::from(days) - left).abs());
            let now = match f64::from(days) < left {
                true => identity.not_before - after,
                false => identity.not_before + after,
            };
            let found = finding("tls", &identity, now);
            assert_eq!(found.state, state, "{days} {left} {}", found.detail);
            assert!(found.detail.contains(words), "{}", found.detail);
            assert_eq!(found.fix.is_some(), state != StepState::Ok);
        }
    }
}
