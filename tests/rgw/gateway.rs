//! The real binary, started on a free port in front of the RGW and ended with the test.

use crate::{
    rgw::{Rgw, encode},
    wire::{Answer, ask},
};
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Prefixes of header lines that no answer may have. Newer RGWs name themselves in `Server`.
const STORE_HEADERS: [&str; 4] = ["x-amz-", "x-rgw-", "set-cookie:", "server: ceph"];

/// A running gateway with two profiles for the same store: `rgw`, and `wrong` with a bad secret.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    address: SocketAddr,
    bucket: String,
}

impl Gateway {
    /// Starts the binary and waits until it answers.
    ///
    /// # Panics
    /// When it ends, or does not answer within 20 s; the message has what it wrote.
    pub(crate) fn start(rgw: &Rgw) -> Self {
        Self::start_with(rgw, &[("S3PROXY_CACHE_MEMORY", "0")])
    }

    /// The same, with these additional variables.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub(crate) fn start_with(rgw: &Rgw, settings: &[(&str, &str)]) -> Self {
        let address = free_address();
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("rgw-gateway-{}.log", address.port()));
        let output = File::create(&log).expect("create the gateway's log");
        let Rgw { authority, access_key, secret_key, .. } = rgw;
        let process = Command::new(env!("CARGO_BIN_EXE_s3proxy"))
            .env_clear()
            .env("S3_ENDPOINT_URL", format!("http://{authority}"))
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret_key)
            .env(
                "LSST_RESOURCES_S3_PROFILE_rgw",
                format!("http://{access_key}:{secret_key}@{authority}"),
            )
            .env(
                "LSST_RESOURCES_S3_PROFILE_wrong",
                format!("http://{access_key}:not{secret_key}@{authority}"),
            )
            .env("S3PROXY_LISTEN", address.to_string())
            .env("S3PROXY_ADMIN_LISTEN", "off")
            // Tests count the requests at the store.
            .env("S3PROXY_UPSTREAM_PROBE", "false")
            .env("S3PROXY_PROFILE", "production")
            .env("S3PROXY_CACHE_MAX_AGE", "60")
            .env("S3PROXY_DEFAULT_MIMETYPE", "text/plain")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("one log for both streams"))
            .stderr(output)
            .spawn()
            .expect("start the gateway");
        let mut gateway = Self { process, address, bucket: rgw.bucket.clone() };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = gateway.process.try_wait().expect("look at the gateway");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the gateway does not listen ({ended:?}):\n{}",
                std::fs::read_to_string(&log).unwrap_or_default(),
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(gateway.ask("GET", "/", &[]).status, 200, "the answer to the probe");
        gateway
    }

    /// The path at which the gateway serves `key` of the test's bucket.
    pub(crate) fn path(&self, key: &str) -> String {
        self.path_for("rgw", key)
    }

    /// The same for another profile.
    pub(crate) fn path_for(&self, profile: &str, key: &str) -> String {
        format!("/s3proxy/s3/{profile}@{}/{}", self.bucket, encode(key))
    }

    /// Sends one request, and checks that no header or error document of the store is passed on.
    ///
    /// # Panics
    /// When a header or an error document of the store got through, or `nosniff` is missing.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> =
            headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let answer = ask(self.address, method, path, &headers, b"");
        for (name, value) in &answer.headers {
            let line = format!("{name}: {value}").to_ascii_lowercase();
            assert!(
                !STORE_HEADERS.iter().any(|beginning| line.starts_with(beginning)),
                "{method} {path} lets the store's header through: {line}",
            );
        }
        let nosniff = answer.header("x-content-type-options");
        assert_eq!(nosniff, Some("nosniff"), "{method} {path}: {:?}", answer.headers);
        if answer.status >= 400 {
            let text = answer.text();
            assert!(!text.contains("<?xml"), "{method} {path} lets the store's error out: {text}");
        }
        answer
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}
