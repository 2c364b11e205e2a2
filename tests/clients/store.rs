//! The store of the clients' run: `store FOLDER` serves the files of a folder as S3 does, from
//! memory and to signed requests only, and reports the requests it received.
//!
//! A folder in FOLDER is a bucket, the path of a file in it a key. The first line of standard
//! output has the port on 127.0.0.1, the access key and the secret key, which are valid for this
//! run only. Each line on standard input is a command, answered by one line of JSON: `requests`
//! returns all requests so far, `clear` returns the same and then discards them, `put BUCKET/KEY`
//! stores the file of this path again, or for the first time, and returns `null`. `make JSON` stores
//! an object that no folder can hold, `{"bucket", "key", "runs": [{"text", "length"}]}`: each text over and
//! over to its length, or once without a length. It returns `null`. The program ends at the end of its
//! input.

#[expect(dead_code, reason = "the run serves and counts; the rest is for the tests")]
#[path = "../support/store.rs"]
mod store;

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use store::{Object, Request, Store};

/// Stores every file of this folder; its key is its path below the bucket's folder.
fn fill(store: &Store, bucket: &str, folder: &Path, prefix: &str) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name of UTF-8")?;
        if path.is_dir() {
            fill(store, bucket, &path, &format!("{prefix}{name}/"))?;
        } else {
            store.put(bucket, &format!("{prefix}{name}"), Object::new(std::fs::read(&path)?));
        }
    }
    Ok(())
}

/// Stores one file of the folder by its path below it.
fn put(store: &Store, folder: &Path, path: &str) -> Result<(), Box<dyn Error>> {
    let (bucket, key) = path.split_once('/').ok_or("BUCKET/KEY")?;
    store.put(bucket, key, Object::new(std::fs::read(folder.join(path))?));
    Ok(())
}

/// Stores an object of runs.
fn make(store: &Store, json: &str) -> Result<(), Box<dyn Error>> {
    let wanted: Value = serde_json::from_str(json)?;
    let text = |of: &Value, name: &str| -> Result<String, String> {
        let value = of.get(name).and_then(Value::as_str);
        value.map(str::to_owned).ok_or_else(|| format!("{name} is missing"))
    };
    let mut runs = Vec::new();
    for run in wanted.get("runs").and_then(Value::as_array).ok_or("runs are missing")? {
        let text = text(run, "text")?;
        let length = run.get("length").and_then(Value::as_u64).unwrap_or(text.len() as u64);
        runs.push((text, length));
    }
    store.put(&text(&wanted, "bucket")?, &text(&wanted, "key")?, Object::of_runs(runs));
    Ok(())
}

fn as_json(request: &Request) -> Value {
    json!({
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "range": request.header("range"),
        "status": request.status.map(|status| status.as_u16()),
        "bytes": request.bytes_sent,
        "complete": request.complete,
    })
}

fn requests(store: &Store) -> Value {
    store.requests().iter().map(as_json).collect()
}

const USAGE: &str = "\
usage: store FOLDER

Serves the folders in FOLDER as buckets, from memory, on a port of 127.0.0.1. The first line of the output has
the port, the access key and the secret key. Lines of the input are commands: requests, clear,
put BUCKET/KEY, make JSON. The program ends at the end of its input.
";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.as_slice() {
        [help] if help == "--help" || help == "-h" => {
            return match write!(io::stdout(), "{USAGE}") {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        [folder] if Path::new(folder).is_dir() => serve(folder).await,
        [folder] => Err(format!("{folder}: there is no such folder\n{USAGE}").into()),
        _ => Err(USAGE.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _stderr_closed = writeln!(io::stderr(), "store: {error}");
            ExitCode::from(2)
        }
    }
}

async fn serve(folder: &str) -> Result<(), Box<dyn Error>> {
    let key = |length| -> String { (0..length).map(|_| fastrand::alphanumeric()).collect() };
    let (access_key, secret_key) = (key(20), key(40));
    let store = Store::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let bucket = path.file_name().and_then(|name| name.to_str()).ok_or("a name of UTF-8")?;
        fill(&store, bucket, &path, "")?;
    }
    // A connection of loopback takes megabytes that nobody reads: a network would not. The store counts
    // what it sends, so its buffer is small.
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(64 << 10)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let listener = socket.listen(1024)?;
    let serving = store.serve(listener, &access_key, &secret_key)?;
    writeln!(io::stdout(), "{} {access_key} {secret_key}", serving.address().port())?;
    // The workers serve in the background; this thread has nothing else to do.
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("requests", "") => requests(&store),
            ("clear", "") => {
                let requests = requests(&store);
                store.clear_log();
                requests
            }
            ("put", path) => {
                put(&store, Path::new(folder), path)?;
                Value::Null
            }
            ("make", json) => {
                make(&store, json)?;
                Value::Null
            }
            _ => return Err(format!("{line:?} is not a command").into()),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}
