//! A Valkey or Redis of its own for a test.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::PATIENCE;
use crate::ports::free_port;

/// A running engine. Killed when dropped.
pub(crate) struct Engine {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

/// The program of the engine; `None` where there is none.
fn program() -> Option<&'static str> {
    ["valkey-server", "redis-server"].into_iter().find(|program| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    })
}

impl Engine {
    /// An engine with these further arguments. `None`, and a line that says so, where there is none.
    pub(crate) fn start_with(arguments: &[&str]) -> Option<Self> {
        if program().is_none() {
            eprintln!("SKIPPED: neither valkey-server nor redis-server is installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let arguments: Vec<String> = arguments.iter().map(|&it| it.to_owned()).collect();
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(port, &arguments, &folder);
            if await_listening(&mut child, port) {
                return Some(Self { child, port, arguments, folder });
            }
        }
        panic!("no engine serves")
    }

    /// A server of a cluster that has to be made still. Its servers speak to each other at further ports.
    pub(crate) fn of_cluster() -> Option<Self> {
        let port = free_port().to_string();
        Self::start_with(&[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &port,
            "--cluster-node-timeout",
            "3000",
            // However long its replica has heard nothing of it, it may take its place.
            "--cluster-replica-validity-factor",
            "0",
        ])
    }

    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("a shell");
        assert!(status.success(), "{command}");
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, without its data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, &self.arguments, &self.folder);
        assert!(await_listening(&mut self.child, self.port), "it serves again");
    }

    /// Sends one command, in words without spaces, and returns the raw answer.
    pub(crate) fn ask(&self, command: &str) -> String {
        ask(self.port, command)
    }

    /// How often it was asked for this command, scripts included.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let answer = self.ask("INFO commandstats");
        let begins = format!("cmdstat_{command}:calls=");
        let line = answer.lines().find_map(|line| line.strip_prefix(begins.as_str()));
        let number = line.and_then(|rest| rest.split(',').next()?.parse().ok());
        number.unwrap_or_default()
    }

    /// Lets all clients wait, for this many milliseconds.
    pub(crate) fn pause(&self, milliseconds: u64) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(format!("CLIENT PAUSE {milliseconds} ALL\r\n").as_bytes()).expect("sent");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"+OK\r\n");
    }

    /// The names of the values in it.
    pub(crate) fn values(&self) -> Vec<String> {
        let answer = self.ask("KEYS s3proxy:{*}");
        let names = answer.lines().filter(|line| line.starts_with("s3proxy:"));
        names.map(str::to_owned).collect()
    }
}

fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).expect("the command");
    // A sentinel knows no QUIT.
    stream.shutdown(Shutdown::Write).expect("the end of the commands");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned()
}

/// A sentinel, which names the primary of the service `cache`, and replaces it. Killed when dropped.
pub(crate) struct Sentinel {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Sentinel {
    pub(crate) fn of(primary: &Engine) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sentinel.conf");
        for _ in 0..5 {
            let (port, of) = (free_port(), primary.port);
            let text = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor cache 127.0.0.1 {of} 1\n\
                 sentinel down-after-milliseconds cache 1500\nsentinel failover-timeout cache 6000\n"
            );
            std::fs::write(&path, text).expect("a file");
            let mut command = Command::new(program().expect("it was there before"));
            command.arg(&path).arg("--sentinel").current_dir(folder.path());
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let mut child = command.spawn().expect("the sentinel starts");
            if await_listening(&mut child, port) {
                return Self { child, port, _folder: folder };
            }
        }
        panic!("no sentinel serves")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/cache", self.port)
    }

    pub(crate) fn ask(&self, command: &str) -> String {
        ask(self.port, command)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, arguments: &[String], folder: &TempDir) -> Child {
    let mut command = Command::new(program().expect("it was there before"));
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no"]);
    command.args(["--maxmemory-policy", "allkeys-lru"]).args(arguments);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("the engine starts")
}

fn await_listening(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
