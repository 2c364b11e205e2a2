//! The settings of the listener with TLS.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::kind::{self, Kind};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::settings::row::{Row, Setting, Shown};

settings! {
    /// The listener with TLS, as written.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::config) struct WrittenTls, tls at "tls." {
        listen: Option<SocketAddr> {
            kind: kind::optional_address(),
            variable: "S3PROXY_TLS_LISTEN",
            default: "off",
            text: "The address and port for HTTPS, beside `listen`. `off` for none.",
        }
        certificate_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_TLS_CERTIFICATE_FILE",
            default: "null",
            reload: "true",
            text: "A PEM file with the certificate of the gateway, then those of the intermediate authorities. Read again when it changes.",
        }
        key_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_TLS_KEY_FILE",
            default: "null",
            reload: "true",
            text: "A PEM file with the unencrypted private key of the certificate. Read again when it changes.",
        }
        client_ca_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_TLS_CLIENT_CA_FILE",
            default: "null",
            reload: "true",
            text: "A PEM file of CA certificates. If set, each client must present a certificate of one of them, and the common name of its subject is the user. Read again when it changes.",
        }
    }
}
