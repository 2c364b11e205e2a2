//! Certificates in the log: that of the listener, and those that are presented to stores.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use log::warn;

use crate::certificate::Identity;
use crate::profile::Profile;
use crate::protocol::timestamp::rfc3339;

/// Logs a warning for each client certificate that is not valid now.
pub fn warn_of_client_certificates<'a>(profiles: impl Iterator<Item = &'a Arc<Profile>>) {
    #[expect(clippy::disallowed_methods, reason = "certificates are valid for some time")]
    let now = SystemTime::now();
    for profile in profiles {
        if let Some(fault) = profile.client_certificate_fault(now) {
            warn!("profile {}: {fault}; its store may refuse connections", profile.label());
        }
    }
}

/// A certificate in one line of the log.
#[must_use]
pub fn certificate_line(identity: &Identity) -> String {
    let names = match identity.names.is_empty() {
        true => "no name".to_owned(),
        false => identity.names.join(", "),
    };
    format!("TLS certificate for {names}, valid until {}", rfc3339(identity.not_after))
}

/// Seconds since the Unix epoch.
pub(super) fn expiry(identity: &Identity) -> u64 {
    identity.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
