//! A gateway that reloads its configuration and is replaced by a new process again and again, while clients
//! ask it.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::PATIENCE;
use crate::gateway::{Gateway, Setup, free_port};

/// Requests between two events.
const BETWEEN: u64 = 600;
/// Events of which one is a restart; the others are reloads.
const RESTARTS_OF: u64 = 4;

/// A running gateway, and the way to start it again.
pub(crate) struct Life {
    gateway: Gateway,
    setup: Setup,
    configuration: PathBuf,
    _folder: TempDir,
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Lived {
    pub(crate) reloads: u64,
    pub(crate) restarts: u64,
    longest: Duration,
}

impl fmt::Display for Lived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reloads, restarts, longest } = self;
        write!(f, "{reloads} reloads, {restarts} restarts, of which the longest took {longest:.1?}")
    }
}

impl Life {
    pub(crate) fn new(setup: &Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let configuration = folder.path().join("s3proxy.yaml");
        fs::write(&configuration, yaml(0)).expect("written");
        let setup = setup
            .clone()
            .listen(&format!("127.0.0.1:{}", free_port()))
            .env("S3PROXY_CONFIG", configuration.to_str().expect("UTF-8"))
            .env("S3PROXY_SERVER_LAME_DUCK", "200ms")
            .env("S3PROXY_SERVER_GRACE_PERIOD", "5s");
        Self { gateway: setup.clone().start(), setup, configuration, _folder: folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    /// Runs clients, which count the requests that are left, and an event each time some were made.
    pub(crate) fn during<R: Send>(
        mut self,
        requests: u64,
        clients: impl FnOnce(&AtomicU64) -> R + Send,
    ) -> (R, Lived) {
        let left = AtomicU64::new(requests);
        let mut lived = Lived::default();
        let result = std::thread::scope(|scope| {
            let clients = scope.spawn(|| clients(&left));
            let mut next = requests.saturating_sub(BETWEEN);
            for event in 1.. {
                while left.load(Ordering::SeqCst) > next && !clients.is_finished() {
                    std::thread::sleep(Duration::from_millis(2));
                }
                if next == 0 || clients.is_finished() {
                    break;
                }
                next = next.min(left.load(Ordering::SeqCst)).saturating_sub(BETWEEN);
                if event % RESTARTS_OF == 0 {
                    self.restart(&mut lived);
                } else {
                    self.reload(event);
                    lived.reloads += 1;
                }
            }
            clients.join().expect("the clients")
        });
        (result, lived)
    }

    fn reload(&self, event: u64) {
        fs::write(&self.configuration, yaml(event)).expect("written");
        self.gateway.signal("HUP");
        self.gateway.expect_log("a reload", |line| {
            line["event"].as_str().is_some_and(|event| event.starts_with("configuration reloaded"))
        });
    }

    fn restart(&mut self, lived: &mut Lived) {
        let began = Instant::now();
        self.gateway.signal("TERM");
        let status = self.gateway.await_end(PATIENCE);
        assert_eq!(status.code(), Some(0), "{status}");
        self.gateway = self.setup.clone().start();
        lived.restarts += 1;
        lived.longest = lived.longest.max(began.elapsed());
    }
}

/// The configuration after this event: profiles come and go.
fn yaml(event: u64) -> String {
    format!(
        "profiles: {{extra{event}: {{endpoint: \"http://127.0.0.1:9\", credentials: {{from: anonymous}}}}}}\n"
    )
}
