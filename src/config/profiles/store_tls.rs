//! TLS with the store of a profile: the files of `ca_file`, `client_certificate_file` and `client_key_file`.

use std::path::Path;
use std::sync::Arc;

use crate::certificate::store_tls::{Authorities, ClientCertificate, StoreTls};
use crate::certificate::{Chain, PrivateKey};
use crate::config::layers::Reported;
use crate::config::problem::Problem;
use crate::config::profiles::ProfileReader;
use crate::config::settings::profile::{WrittenProfile, store};
use crate::config::tls::{parsed, wrong};

impl ProfileReader<'_, '_> {
    /// Reads the files. `key` is the path of a setting of the profile.
    ///
    /// # Errors
    /// Every mistake is reported.
    pub(super) fn read_store_tls(
        &mut self,
        key: &dyn Fn(&str) -> String,
        written: &WrittenProfile,
    ) -> Result<Option<Arc<StoreTls>>, Reported> {
        let rows = [store::ca_file(), store::client_certificate_file(), store::client_key_file()];
        let keys = rows.map(|setting| key(setting.row.path));
        let WrittenProfile { ca_file, client_certificate_file, client_key_file, .. } = written;
        let files = [ca_file, client_certificate_file, client_key_file].map(Option::as_deref);
        let is_unreadable = keys.iter().any(|key| self.layers.report.is_unread(key));
        if files.iter().all(Option::is_none) && !is_unreadable {
            return Ok(None);
        }
        let [ca_key, certificate_key, key_key] = &keys;
        let [ca, certificate, private_key] = files;
        for (one, other, missing) in
            [(certificate, private_key, key_key), (private_key, certificate, certificate_key)]
        {
            if one.is_some() && other.is_none() && !self.layers.report.is_unread(missing) {
                let present = if missing == key_key { certificate_key } else { key_key };
                let source = self.layers.report.source(present);
                let problem = Problem::new(source, format!("needs {missing}")).key(present.clone());
                self.layers.report.problem(problem);
            }
        }
        let authorities = ca.map(|path| self.parsed(ca_key, path, Authorities::parse));
        let chain = certificate.map(|path| self.parsed(certificate_key, path, Chain::parse));
        let parsed_key = private_key.map(|path| self.parsed(key_key, path, PrivateKey::parse));
        let client = match (chain.flatten(), parsed_key.flatten(), private_key) {
            (Some(chain), Some(parsed), Some(path)) => {
                match ClientCertificate::new(chain, parsed) {
                    Ok(client) => Some(client),
                    Err(error) => {
                        wrong(self.layers, key_key, path, &error);
                        None
                    }
                }
            }
            _ => None,
        };
        if keys.iter().any(|key| self.layers.report.is_wrong(key)) {
            return Err(Reported);
        }
        let files = files.into_iter().flatten().map(Path::to_owned).collect();
        Ok(Some(Arc::new(StoreTls::new(authorities.flatten(), client, files))))
    }

    fn parsed<T>(
        &mut self,
        key: &str,
        path: &Path,
        parse: impl Fn(&str) -> Result<T, crate::certificate::CertificateError>,
    ) -> Option<T> {
        parsed(self.layers, self.common.inputs, key, path, parse)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Flags, Inputs, Loaded, Problem, load};

    fn loaded(yaml: &str, files: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
        let read = |path: &Path| {
            let mut all = [("s3proxy.yaml", yaml)].into_iter().chain(files.iter().copied());
            let found = all.find(|(name, _)| path == Path::new(name));
            found
                .map(|(_, text)| text.to_owned())
                .ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        load(&Inputs {
            environment: BTreeMap::new(),
            flags: Flags { config: Some("s3proxy.yaml".to_owned()), ..Flags::default() },
            processors: 1,
            read: &read,
        })
    }

    fn profile(endpoint: &str, settings: &str) -> String {
        format!(
            "profiles: {{a: {{endpoint: '{endpoint}', credentials: {{anonymous: true}}, {settings}}}}}"
        )
    }

    #[test]
    fn files_are_read_with_the_profile_and_a_plain_endpoint_is_a_warning() {
        let made = rcgen::generate_simple_self_signed(["gateway.example.org".to_owned()]);
        let made = made.expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let files = [("c", certificate.as_str()), ("k", &key)];
        let all = "ca_file: c, client_certificate_file: c, client_key_file: k";
        for (endpoint, settings, shown, warns) in [
            ("https://s", all, Some("its own CA certificates and a client certificate"), false),
            ("https://s", "ca_file: c", Some("its own CA certificates"), false),
            ("http://s", "ca_file: c", Some("its own CA certificates"), true),
            ("https://s", "region: x", None, false),
        ] {
            let found = loaded(&profile(endpoint, settings), &files).expect("a configuration");
            let named = found.config.profiles.named.get("a").expect("the profile");
            let tls = named.tls.as_ref().map(ToString::to_string);
            assert_eq!(tls.as_deref(), shown, "{settings}");
            let warned = found.warnings.iter().any(|it| it.contains("which is plain HTTP"));
            assert_eq!(warned, warns, "{endpoint}: {:?}", found.warnings);
            assert!(!format!("{named:?}").contains(key.lines().nth(1).expect("a line")));
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_a_mistake_and_so_is_the_reverse() {
        for (settings, words) in [
            ("client_certificate_file: c", "needs profiles.a.client_key_file"),
            ("client_key_file: c", "needs profiles.a.client_certificate_file"),
            ("ca_file: gone", "\"gone\" cannot be read"),
        ] {
            let found = loaded(&profile("https://s", settings), &[("c", "")]).err();
            let found: Vec<_> = found.iter().flatten().map(ToString::to_string).collect();
            assert!(found.iter().any(|it| it.contains(words)), "{words}: {found:?}");
        }
    }
}
