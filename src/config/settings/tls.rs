//! The settings of TLS: of the public listeners, and of the one for operators.

use std::path::PathBuf;

use crate::config::kind::{self, Kind};
use crate::config::layers::{Layers, Location, Reported};
use crate::config::listen::Listen;
use crate::config::settings::row::{Row, Setting, Shown};

settings! {
    /// The public listeners with TLS, as written.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::config) struct WrittenTls, tls at "tls." {
        listen: Vec<Listen> {
            kind: kind::optional_addresses(),
            variable: "S3PROXY_TLS_LISTEN",
            default: "off",
            text: "The address and port for HTTPS, or a list of them, in the form of `listen`, and beside it. `off` for none.",
        }
        certificate_file: Vec<PathBuf> {
            kind: kind::paths(),
            variable: "S3PROXY_TLS_CERTIFICATE_FILE",
            default: "[]",
            reload: "true",
            text: "A PEM file with the certificate of the gateway, then those of the intermediate authorities; or a list of such files, if there are several certificates. A client gets the certificate for the name that it asks for (SNI), else the first. Read again when they change.",
        }
        key_file: Vec<PathBuf> {
            kind: kind::paths(),
            variable: "S3PROXY_TLS_KEY_FILE",
            default: "[]",
            reload: "true",
            text: "A PEM file with the unencrypted private key of the certificate: RSA with 2,048 to 4,096 bits, ECDSA with P-256 or P-384, or Ed25519; or a list, in the order of the certificates. Read again when they change.",
        }
        client_ca_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_TLS_CLIENT_CA_FILE",
            default: "null",
            reload: "true",
            text: "A PEM file of CA certificates. If set, each client must present a certificate of one of them, and the common name of its subject is the user. Read again when it changes.",
        }
        http2: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_TLS_HTTP2",
            default: "true",
            text: "Offer HTTP/2 besides HTTP/1.1 to clients of `tls.listen` (ALPN). Browsers use it, and then send all requests at once over one connection.",
        }
        redirect_to_https: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_TLS_REDIRECT_TO_HTTPS",
            default: "false",
            text: "Redirect requests without TLS to the same URL with `https`: 301, or 308 for methods other than GET and HEAD. `/` is answered all the same, for probes, except to browsers. A trusted proxy says by `X-Forwarded-Proto` that its client uses TLS.",
        }
        public_port: usize {
            kind: kind::automatic_count::<1, 65_535>(),
            variable: "S3PROXY_TLS_PUBLIC_PORT",
            default: "null",
            text: "The port in the URLs of `redirect_to_https`, where clients use another one than `tls.listen`. Unset: the first port of `tls.listen`.",
        }
        hsts_max_age: u64 {
            kind: kind::seconds(),
            variable: "S3PROXY_TLS_HSTS_MAX_AGE",
            default: "0",
            text: "Send `Strict-Transport-Security: max-age=N` with answers over TLS, N in seconds: browsers then use `https` alone for this host, for this time. `0` sends none.",
        }
        hsts_include_subdomains: bool {
            kind: kind::boolean(),
            variable: "S3PROXY_TLS_HSTS_INCLUDE_SUBDOMAINS",
            default: "false",
            text: "Add `includeSubDomains` to it: the same holds for all names below.",
        }
    }
}

settings! {
    /// TLS of the listener for operators, as written.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::config) struct AdminTls, admin_tls at "admin.tls." {
        certificate_file: Vec<PathBuf> {
            kind: kind::paths(),
            variable: "S3PROXY_ADMIN_TLS_CERTIFICATE_FILE",
            default: "[]",
            reload: "true",
            text: "As `tls.certificate_file`. If set, `admin.listen` speaks HTTPS alone.",
        }
        key_file: Vec<PathBuf> {
            kind: kind::paths(),
            variable: "S3PROXY_ADMIN_TLS_KEY_FILE",
            default: "[]",
            reload: "true",
            text: "As `tls.key_file`.",
        }
        client_ca_file: Option<PathBuf> {
            kind: kind::optional_path(),
            variable: "S3PROXY_ADMIN_TLS_CLIENT_CA_FILE",
            default: "null",
            reload: "true",
            text: "A PEM file of CA certificates. If set, a client must present a certificate of one of them, except for `/livez` and `/readyz`, which kubelet requests without one. Read again when it changes.",
        }
    }
}
