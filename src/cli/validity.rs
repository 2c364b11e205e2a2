//! Certificates that are not valid now, for `s3proxy config`: the configuration itself knows no time.

use std::time::SystemTime;

use crate::config::Config;
use crate::reload::not_valid_line;

/// A warning for each certificate that is not valid at this time: of the listeners, and towards stores.
pub(super) fn warnings(config: &Config, now: SystemTime) -> Vec<String> {
    let expired = config.identities().filter(|(_, identity)| !identity.is_valid(now));
    let mut warnings: Vec<String> = expired
        .map(|(section, identity)| format!("{section}: {}", not_valid_line(identity)))
        .collect();
    for profile in config.profiles.iter() {
        let fault = profile.client_certificate_fault(now);
        warnings.extend(fault.map(|fault| format!("profile {}: {fault}", profile.label())));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::ErrorKind;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{Flags, Inputs, load, show, show_json};

    /// `s3proxy config` said nothing, and the start of the gateway warned.
    #[test]
    fn a_certificate_that_is_not_valid_now_is_a_warning() {
        let made = rcgen::generate_simple_self_signed(["sky.example.org".to_owned()]);
        let made = made.expect("a certificate");
        let yaml = "tls: {listen: '127.0.0.1:8443', certificate_file: c, key_file: k}";
        let read = |path: &Path| match path.to_str() {
            Some("s3proxy.yaml") => Ok(yaml.to_owned()),
            Some("c") => Ok(made.cert.pem()),
            Some("k") => Ok(made.signing_key.serialize_pem()),
            _ => Err(ErrorKind::NotFound.into()),
        };
        let loaded = load(&Inputs {
            environment: BTreeMap::new(),
            flags: Flags { config: Some("s3proxy.yaml".to_owned()), ..Flags::default() },
            processors: 1,
            read: &read,
        });
        let loaded = loaded.expect("a configuration");
        let identity = &loaded.config.tls.as_ref().expect("a listener").files.identities[0];
        let second = Duration::from_secs(1);
        for (now, is_valid) in [
            (identity.not_after, true),
            (identity.not_after + second, false),
            (identity.not_before - second, false),
        ] {
            let found = warnings(&loaded.config, now);
            let text = "tls: TLS certificate for sky.example.org, valid until";
            for shown in [show(&loaded, &found), show_json(&loaded, &found)] {
                assert_eq!(shown.contains(text), !is_valid, "{shown}");
            }
        }
    }
}
