//! A Valkey or Redis of its own for a test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
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
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).expect("the command");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned()
    }

    /// The names of the values in it.
    pub(crate) fn values(&self) -> Vec<String> {
        let answer = self.ask("KEYS s3proxy:{*}");
        let names = answer.lines().filter(|line| line.starts_with("s3proxy:"));
        names.map(str::to_owned).collect()
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
