//! How the gateway under test is started: the real binary with its own port, folder, environment and log.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::PATIENCE;
use crate::log::Log;
pub(crate) use crate::ports::free_port;
pub(crate) use crate::running::Gateway;
use crate::running::{NotServing, wait};
use crate::{answers, canary};

pub(crate) const ACCESS_KEY: &str = "AKIDE2EXAMPLE";
/// This secret must never leave the gateway; [`canary`] checks that.
pub(crate) const SECRET_KEY: &str = "canary/SecretKey+OfTheSuite/0123456789";

/// The settings, files and arguments a gateway is started with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    env: BTreeMap<String, String>,
    yaml: Value,
    ini: String,
    args: Vec<String>,
    tolerated: Vec<&'static str>,
    /// The address to listen on, in place of a port of its own on 127.0.0.1.
    listen: Option<SocketAddr>,
    unnamed: bool,
    /// Another process serves on this port at first.
    takes_over: bool,
    /// Its output stays in the pipes at first.
    log_unread: bool,
}

impl Setup {
    /// Serves, with the environment alone, objects of the store at this URL.
    pub(crate) fn new(store: &str) -> Self {
        Self::bare()
            .env("S3_ENDPOINT_URL", store)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    }

    /// Nothing but a port and the production log.
    pub(crate) fn bare() -> Self {
        let nothing = Self {
            env: BTreeMap::new(),
            yaml: Value::Null,
            ini: String::new(),
            args: Vec::new(),
            tolerated: Vec::new(),
            listen: None,
            unnamed: false,
            takes_over: false,
            log_unread: false,
        };
        // The default profile is Amazon's, whose host name many machines cannot resolve.
        nothing.env("S3PROXY_PROFILE", "production").tolerate("s3.us-east-1.amazonaws.com")
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Merges these settings into the configuration file, which exists only if this is called.
    pub(crate) fn yaml(mut self, settings: Value) -> Self {
        merge(&mut self.yaml, settings);
        self
    }

    /// Adds a section to the credentials file, which exists only if this is called.
    pub(crate) fn ini(mut self, section: &str) -> Self {
        self.ini.push_str(section);
        self.ini.push('\n');
        self
    }

    /// A named profile with keys in the credentials file.
    pub(crate) fn profile(self, name: &str, url: &str) -> Self {
        self.env(&format!("LSST_RESOURCES_S3_PROFILE_{name}"), url).ini(&format!(
            "[{name}]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        ))
    }

    /// Further settings of a named profile, from the configuration file.
    pub(crate) fn profile_settings(self, name: &str, settings: &Value) -> Self {
        self.yaml(json!({"profiles": {name: settings}}))
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|&a| a.to_owned()).collect();
        self
    }

    pub(crate) fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.parse().expect("an address with port"));
        self
    }

    /// Starts on the address of another gateway, and is ready when it has replaced that one.
    pub(crate) fn takes_over(mut self, other: &Gateway) -> Self {
        self.listen = Some(other.address);
        self.takes_over = true;
        self.args(&["serve", "--upgrade"])
    }

    /// Leaves `S3PROXY_NAME` unset, by which the harness recognizes its own gateway.
    pub(crate) fn unnamed(mut self) -> Self {
        self.unnamed = true;
        self
    }

    /// The output is not read before [`Gateway::read_log`].
    pub(crate) fn log_unread(mut self) -> Self {
        self.log_unread = true;
        self
    }

    /// Log lines with this text do not fail the test.
    pub(crate) fn tolerate(mut self, text: &'static str) -> Self {
        self.tolerated.push(text);
        self
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self) -> Gateway {
        const ATTEMPTS: usize = 3;
        for attempt in 1..=ATTEMPTS {
            match self.try_start() {
                Ok(gateway) => return gateway,
                Err(NotServing::PortTaken) if attempt < ATTEMPTS => {}
                Err(NotServing::PortTaken) => panic!("no free port in {ATTEMPTS} attempts"),
                Err(NotServing::Ended { status, log }) => panic!("ended at start: {status}\n{log}"),
                Err(NotServing::Silent { log }) => panic!("not serving: {self:#?}\n{log}"),
            }
        }
        unreachable!("the loop ends in its last attempt")
    }

    fn try_start(&self) -> Result<Gateway, NotServing> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let own = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let address = self.listen.unwrap_or_else(own);
        // Always as long, as is what contains it.
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{:07}-{serial:05}", std::process::id());
        let mut setup = self.clone();
        // A test of the flag sets another address here.
        setup.env.entry("S3PROXY_LISTEN".to_owned()).or_insert_with(|| address.to_string());
        if self.yaml.get("admin").is_none() && !self.takes_over {
            // For the check of its metrics at its end.
            setup.env.entry("S3PROXY_ADMIN_LISTEN".to_owned()).or_insert_with(|| own().to_string());
        }
        let admin = setup.env.get("S3PROXY_ADMIN_LISTEN").and_then(|text| text.parse().ok());
        answers::of_this_test([address].into_iter().chain(admin));
        let name = if self.unnamed {
            "s3proxy".to_owned()
        } else {
            setup.env.entry("S3PROXY_NAME".to_owned()).or_insert(name).clone()
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut child = setup.command(dir.path()).spawn().expect("the binary starts");
        let log = Log::new(
            child.stdout.take().expect("stdout is piped"),
            child.stderr.take().expect("stderr is piped"),
        );
        if !self.log_unread {
            log.read();
        }
        let mut gateway = Gateway {
            child,
            address,
            admin,
            log,
            tolerated: self.tolerated.clone(),
            folder: dir,
            ended: None,
        };
        gateway.wait_until_serving(&name, self.takes_over)?;
        Ok(gateway)
    }

    /// Runs the binary until it exits, for commands that exit by themselves.
    pub(crate) fn run(self) -> Finished {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut command = self.command(dir.path());
        let mut child = command.spawn().expect("the binary starts");
        let read = |stream: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut text = String::new();
                let mut stream = stream;
                stream.read_to_string(&mut text).expect("output of UTF-8");
                text
            })
        };
        let stdout = read(Box::new(child.stdout.take().expect("stdout is piped")));
        let stderr = read(Box::new(child.stderr.take().expect("stderr is piped")));
        let status = wait(&mut child, PATIENCE);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let (stdout, stderr) = (stdout.join().expect("stdout"), stderr.join().expect("stderr"));
        for output in [&stdout, &stderr] {
            canary::search("what a command printed", output);
        }
        canary::count();
        let Some(status) = status else {
            panic!("still running after {PATIENCE:?}\n{stdout}\n{stderr}")
        };
        Finished { status, stdout, stderr, folder: dir }
    }

    /// The command with its files written and an otherwise empty environment.
    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3proxy"));
        command.env_clear().args(&self.args).current_dir(dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !self.ini.is_empty() {
            let path = dir.join("aws-credentials.ini");
            std::fs::write(&path, &self.ini).expect("the credentials file is written");
            command.env("AWS_SHARED_CREDENTIALS_FILE", path);
        }
        if !self.yaml.is_null() {
            let path = dir.join("s3proxy.yaml");
            let text = serde_json::to_string_pretty(&self.yaml).expect("JSON, which is YAML too");
            std::fs::write(&path, text).expect("the configuration file is written");
            command.env("S3PROXY_CONFIG", path);
        }
        // Most tests count requests to the store, and several gateways run at once.
        for (name, value, key) in [
            ("S3PROXY_CACHE_MEMORY", "0", "cache"),
            ("S3PROXY_ADMIN_LISTEN", "off", "admin"),
            ("S3PROXY_UPSTREAM_PROBE", "false", "upstream.probe"),
        ] {
            if self.yaml.get(key).is_none() {
                command.env(name, value);
            }
        }
        if self.env.contains_key("S3PROXY_ADMIN_LISTEN") {
            // The `Host` of this suite's client.
            command.env("S3PROXY_ADMIN_HOSTS", r#"["gateway.test"]"#);
        }
        // By `tests/senders/run`.
        if let Some(direct) = std::env::var_os("S3PROXY_TEST_DIRECT_HITS") {
            command.env("S3PROXY_SERVER_DIRECT_HITS", direct);
        }
        command.envs(&self.env);
        command
    }
}

/// A run that ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Stored until the assertions are done: messages name files in it.
    #[expect(dead_code, reason = "held for its Drop")]
    folder: TempDir,
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
