//! The client certificates that are presented to stores.

use std::sync::Arc;
use std::time::SystemTime;

use log::warn;

use crate::profile::Profile;

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
