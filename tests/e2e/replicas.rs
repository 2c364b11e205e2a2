//! `s3proxy status` and `s3proxy purge` for one process and for all replicas.

use std::net::{SocketAddr, ToSocketAddrs as _};

use serde_json::Value;

use crate::admin::Admin;
use crate::cached::with_cache;
use crate::faulty::Faulty;
use crate::gateway::{Finished, Gateway, Setup, free_port};

/// A gateway whose admin listener has this address.
fn replica(store: &str, address: SocketAddr) -> (Gateway, Admin) {
    let gateway = with_cache(store).env("S3PROXY_ADMIN_LISTEN", &address.to_string()).start();
    let admin = Admin { address };
    admin.await_listening();
    (gateway, admin)
}

/// Two gateways on one port of two addresses.
fn two_replicas(store: &str) -> [(Gateway, Admin); 2] {
    let port = free_port();
    [2, 3].map(|last| replica(store, SocketAddr::from(([127, 0, 0, last], port))))
}

fn run(args: &[&str]) -> Finished {
    Setup::bare().args(args).run()
}

#[test]
fn one_command_purges_in_all_replicas_and_says_what_each_has_removed() {
    let spy = Faulty::spy();
    let [(first, one), (second, two)] = two_replicas(&spy.url());
    first.object("sky/many/a.png");
    first.object("sky/many/b.png");
    second.object("sky/many/a.png");
    second.object("sky/other.png");
    let places = [format!("dns:{}", one.address), two.address.to_string()];
    let replicas = ["--replicas", &places[0], "--replicas", &places[1]];
    let purged = run(&[&["purge"][..], &replicas, &["sky/many/"]].concat());
    assert_eq!((purged.status.code(), purged.stderr.as_str()), (Some(0), ""), "{purged:?}");
    let expected = format!(
        "{}: s3://sky/many/ and all objects below it: removed 2 from memory\n\
         {}: s3://sky/many/ and all objects below it: removed 1 from memory\n\
         purged in 2 of 2 replicas\n",
        one.address, two.address
    );
    assert_eq!(purged.stdout, expected);
    for admin in [one, two] {
        assert_eq!(admin.number("purges"), 1);
    }
    assert_eq!((one.number("memory_entries"), two.number("memory_entries")), (0, 1));
}

/// A replica that was down was a line among others of a loop of the shell, whose exit code was 0.
#[test]
fn a_replica_that_is_down_is_named_and_the_others_are_purged() {
    let spy = Faulty::spy();
    let (gateway, admin) = replica(&spy.url(), SocketAddr::from(([127, 0, 0, 2], free_port())));
    gateway.object("sky/a.png");
    let down = SocketAddr::from(([127, 0, 0, 3], admin.address.port())).to_string();
    let up = admin.address.to_string();
    let places = ["--replicas", down.as_str(), "--replicas", up.as_str()];
    let purged = run(&[&["purge"][..], &places, &["sky/a.png", "none@sky/a.png"]].concat());
    assert_eq!(purged.status.code(), Some(1), "{purged:?}");
    assert!(purged.stdout.contains(&format!("{up}: s3://sky/a.png: removed 1")), "{purged:?}");
    assert!(purged.stdout.ends_with("purged in 0 of 2 replicas\n"), "{purged:?}");
    for part in [format!("{down}: sky/a.png: no answer"), format!("{up}: none@sky/a.png: 404")] {
        assert!(purged.stderr.contains(&part), "{part} in {purged:?}");
    }
    assert_eq!(admin.number("memory_entries"), 0);

    let status = run(&[&["status"][..], &places].concat());
    assert_eq!(status.status.code(), Some(1), "{status:?}");
    let line = |start: &str| status.stdout.lines().any(|line| line.starts_with(start));
    assert!(line(&format!("{up}  ready")) && line(&format!("{down}  no answer")), "{status:?}");
    assert!(line(&format!("{down}: no answer: ")), "{status:?}");
}

#[test]
fn the_replicas_of_a_name_are_its_addresses() {
    let spy = Faulty::spy();
    let port = free_port();
    let addresses: Vec<SocketAddr> =
        ("localhost", port).to_socket_addrs().expect("localhost has an address").collect();
    let (_gateway, _admin) = replica(&spy.url(), SocketAddr::from(([127, 0, 0, 1], port)));
    let place = format!("dns:localhost:{port}");
    let status = run(&["status", "--json", "--replicas", &place]);
    // Where localhost is an IPv6 address too, nothing listens there.
    let is_one = addresses.iter().all(SocketAddr::is_ipv4);
    assert_eq!(status.status.code(), Some(i32::from(!is_one)), "{status:?}");
    let lines: Vec<Value> =
        status.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let one = lines.iter().find(|line| line["replica"] == format!("127.0.0.1:{port}"));
    assert_eq!(one.expect("a line of the gateway")["status"]["state"], "ready", "{lines:?}");

    let unknown = run(&["purge", "--replicas", "dns:no-such-name.invalid:9090", "sky/a.png"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(unknown.stderr.contains("no-such-name.invalid: cannot be resolved"), "{unknown:?}");
    for wrong in ["dns:localhost", "localhost:9090", "dns::9090", "x"] {
        let run = run(&["status", "--replicas", wrong]);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        assert!(run.stderr.contains("dns:NAME:PORT"), "{run:?}");
    }
}

#[test]
fn the_status_of_one_process_is_text_without_colours_in_a_pipe() {
    let spy = Faulty::spy();
    let (setup, admin) = Admin::of(with_cache(&spy.url()));
    let gateway = setup.start();
    admin.await_listening();
    gateway.object("sky/a.png");
    let url = format!("http://{}/", admin.address);
    let status = run(&["status", &url]);
    assert_eq!((status.status.code(), status.stderr.as_str()), (Some(0), ""), "{status:?}");
    for part in [
        &format!("at {}: ready, up ", admin.address),
        "  requests     ",
        "  memory       ",
        "of 64.0 MiB (",
        "  disk         off\n",
        "default  ok",
    ] {
        assert!(status.stdout.contains(part), "{part} in {}", status.stdout);
    }
    assert!(!status.stdout.contains('\u{1b}'), "{status:?}");
    // With `--replicas` a line for each, also if there is one: a script reads it.
    let one = run(&["status", "--replicas", &admin.address.to_string()]).stdout;
    let second = one.lines().nth(1).unwrap_or_default();
    assert!(second.starts_with(&format!("{}  ready", admin.address)), "{one}");
    assert_eq!(one.lines().count(), 2, "{one}");
    // Without a URL it is the process of the configuration.
    let own = Setup::new(&spy.url()).env("S3PROXY_ADMIN_LISTEN", &admin.address.to_string());
    let own = own.args(&["status", "--json"]).run();
    let line: Value = serde_json::from_str(&own.stdout).expect("one JSON object");
    assert_eq!((&line["error"], &line["status"]["state"]), (&Value::Null, &"ready".into()));
    let off = run(&["status"]);
    assert_eq!(off.status.code(), Some(2), "{off:?}");
    assert!(off.stderr.contains("admin.listen is off"), "{off:?}");
    let public = run(&["status", &gateway.address.to_string()]);
    assert_eq!(public.status.code(), Some(1), "not the admin listener: {public:?}");
}
