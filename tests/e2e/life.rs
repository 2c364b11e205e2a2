//! Shutdown: SIGTERM with its lame-duck period and drain, SIGINT immediately, SIGQUIT for an
//! upgrade.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, Ending, Fate, PATIENCE};
use crate::faulty::{self, Faulty, Gate, Step};
use crate::gateway::{Gateway, Setup};

fn short_lived(store: &str, lame_duck: &str, grace: &str) -> Setup {
    Setup::new(store).yaml(json!({"server": {"lame_duck": lame_duck, "grace_period": grace}}))
}

/// A store that holds every answer back until the gate opens.
fn held(gate: &Gate) -> Faulty {
    Faulty::always([vec![Step::Wait(gate.clone())], faulty::object(b"tile")].concat())
}

fn waiting_client(gateway: &Gateway, id: &str) -> Client {
    let mut client = gateway.connect();
    client.request("GET", "/s3proxy/s3/sky/a.png", &[("X-Request-ID", id)]);
    client
}

/// Waits until the listener is closed.
fn await_no_listener(gateway: &Gateway) {
    let deadline = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(gateway.address).is_ok() {
        assert!(Instant::now() < deadline, "still accepting without a lame duck");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_lame_duck_still_serves_and_says_it_is_well() {
    let spy = Faulty::spy();
    let mut gateway = short_lived(&spy.url(), "2s", "1s").start();
    gateway.signal("TERM");
    let began = Instant::now();
    let mut served = 0;
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(gateway.get("/").status(), 200);
        assert_eq!(gateway.object("sky/a.png").text(), "tile");
        served += 1;
    }
    assert!(served > 5, "{served}");
    assert!(gateway.is_running());
    let status = gateway.await_end(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    gateway.assert_log_clean();
}

#[test]
fn requests_in_flight_at_sigterm_are_finished() {
    let gate = Gate::new();
    let upstream = held(&gate);
    let mut gateway = short_lived(&upstream.url(), "0s", "8s").start();
    let mut waiting: Vec<_> =
        (0..8).map(|i| waiting_client(&gateway, &format!("held-{i}"))).collect();
    upstream.await_requests(8);
    gateway.signal("TERM");
    // Requests already accepted wait for the store.
    await_no_listener(&gateway);
    assert!(gateway.is_running());
    gate.open();
    for client in &mut waiting {
        let answer = client.answer("GET").expect("an answer");
        assert_eq!((answer.status(), answer.text()), (200, "tile"));
        assert_eq!(answer.ending, Ending::Whole);
        assert_ne!(client.fate(PATIENCE), Fate::Open, "kept open by a process that ends");
    }
    let status = gateway.await_end(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
    gateway.assert_log_clean();
}

#[test]
fn a_drained_process_exits_before_its_grace_period_ends() {
    let spy = Faulty::spy();
    let mut gateway = short_lived(&spy.url(), "0s", "20s").start();
    let mut idle: Vec<_> = (0..8).map(|_| gateway.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.exchange("GET", "/s3proxy/s3/sky/a.png", &[]).status(), 200);
    }
    let began = Instant::now();
    gateway.signal("TERM");
    let status = gateway.await_end(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for client in &mut idle {
        assert_ne!(client.fate(PATIENCE), Fate::Open);
    }
    gateway.assert_log_clean();
}

#[test]
fn requests_are_cut_at_the_end_of_the_grace_period() {
    for (lame_duck, grace) in [(0, 1), (1, 2)] {
        let gate = Gate::new();
        let upstream = held(&gate);
        let setup = short_lived(&upstream.url(), &format!("{lame_duck}s"), &format!("{grace}s"));
        let mut gateway = setup.tolerate("").start();
        let mut client = waiting_client(&gateway, "stuck");
        upstream.await_requests(1);
        let began = Instant::now();
        gateway.signal("TERM");
        let status = gateway.await_end(PATIENCE);
        assert_eq!(status.code(), Some(0), "{status}");
        let took = began.elapsed();
        let promised = Duration::from_secs(lame_duck + grace);
        assert!(took >= promised.mul_f32(0.9), "{took:?}, {promised:?} were promised");
        assert!(took < promised + Duration::from_secs(2), "{took:?} in place of {promised:?}");
        assert!(client.answer("GET").is_none_or(|answer| answer.status() >= 500));
        gate.open();
    }
}

#[test]
fn a_large_download_survives_sigterm_whole() {
    let gate = Gate::new();
    let total = 4 << 20;
    let length = total.to_string();
    let upstream = Faulty::always(vec![
        faulty::head(200, &[("Content-Length", &length)]),
        Step::Flood(total / 2),
        Step::Wait(gate.clone()),
        Step::Flood(total / 2),
    ]);
    let mut gateway = short_lived(&upstream.url(), "0s", "8s").start();
    let mut client = waiting_client(&gateway, "large");
    let head = client.head().expect("a head");
    gateway.signal("TERM");
    gate.open();
    let (body, ending) = client.body(&head, "GET");
    assert_eq!((body.len(), ending), (total, Ending::Whole));
    assert_eq!(gateway.await_end(PATIENCE).code(), Some(0));
    gateway.assert_log_clean();
}

fn assert_interrupt_ends_at_once(gateway: &mut Gateway) {
    let began = Instant::now();
    gateway.signal("INT");
    gateway.await_end(PATIENCE);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn sigint_ends_at_once() {
    let gate = Gate::new();
    let upstream = held(&gate);
    let mut gateway = short_lived(&upstream.url(), "60s", "60s").tolerate("").start();
    let _client = waiting_client(&gateway, "cut");
    upstream.await_requests(1);
    assert_interrupt_ends_at_once(&mut gateway);
    gate.open();
}

#[test]
fn sigint_ends_a_lame_duck_at_once() {
    let spy = Faulty::spy();
    let mut gateway = short_lived(&spy.url(), "60s", "60s").tolerate("").start();
    gateway.signal("TERM");
    assert_eq!(gateway.get("/").status(), 200);
    assert_interrupt_ends_at_once(&mut gateway);
}

#[test]
fn sigint_ends_a_drain_at_once() {
    let gate = Gate::new();
    let upstream = held(&gate);
    let mut gateway = short_lived(&upstream.url(), "0s", "60s").tolerate("").start();
    let _client = waiting_client(&gateway, "cut");
    upstream.await_requests(1);
    gateway.signal("TERM");
    await_no_listener(&gateway);
    assert!(gateway.is_running(), "a request is still in flight");
    assert_interrupt_ends_at_once(&mut gateway);
    gate.open();
}

/// A folder that no other user can enter.
fn private_folder() -> tempfile::TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir().expect("a folder")
}

#[test]
fn an_upgrade_loses_no_request() {
    let spy = Faulty::spy();
    let folder = private_folder();
    let socket = folder.path().join("upgrade.sock");
    let setup = Setup::new(&spy.url()).yaml(json!({"server": {
        "upgrade_sock": socket.to_str().expect("UTF-8"),
        "lame_duck": "0s",
        "grace_period": "5s",
    }}));
    let mut old = setup.clone().tolerate("").start();
    let new = setup.tolerate("").takes_over(&old);
    let upgraded = std::sync::atomic::AtomicBool::new(false);
    let new = std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            let new = new.start();
            upgraded.store(true, std::sync::atomic::Ordering::Release);
            new
        });
        old.signal("QUIT");
        let mut served = 0;
        while !upgraded.load(std::sync::atomic::Ordering::Acquire) {
            assert_eq!(old.get("/s3proxy/s3/sky/a.png").text(), "tile");
            served += 1;
        }
        assert!(served > 0);
        starting.join().expect("the new process serves")
    });
    let status = old.await_end(2 * PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(new.object("sky/a.png").text(), "tile");
}

#[test]
fn signals_without_a_meaning_do_not_end_the_process() {
    let spy = Faulty::spy();
    let mut gateway = Setup::new(&spy.url()).start();
    for signal in ["USR1", "USR2"] {
        gateway.signal(signal);
        let effect = format!("SIG{signal} has no effect");
        gateway.expect_log(&effect, |line| line["event"] == effect.as_str());
        assert!(gateway.is_running());
        assert_eq!(gateway.object("sky/a.png").text(), "tile");
    }
}

#[test]
fn the_sockets_are_not_handed_over_where_other_users_could_take_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let spy = Faulty::spy();
    let folder = private_folder();
    let set_mode = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path(), mode).expect("a mode");
    };
    let socket = folder.path().join("upgrade.sock");
    let socket = socket.to_str().expect("UTF-8");
    let setup = Setup::new(&spy.url()).yaml(json!({"server": {"upgrade_sock": socket}}));
    let mut gateway = setup.clone().start();
    set_mode(0o755);
    gateway.signal("QUIT");
    gateway.expect_log("a refused upgrade", |line| {
        line["event"].as_str().is_some_and(|event| event.starts_with("SIGQUIT is ignored"))
    });
    assert!(gateway.is_running());
    assert_eq!(gateway.object("sky/a.png").text(), "tile");
    let refused = setup.run();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let output = [refused.stdout, refused.stderr].concat();
    assert!(output.contains("chmod 700"), "{output}");
    // There is no default: a folder like /tmp is open to every user.
    let unset = Setup::new(&spy.url()).args(&["serve", "--upgrade"]).run();
    assert_eq!(unset.status.code(), Some(1), "{unset:?}");
    let output = [unset.stdout, unset.stderr].concat();
    assert!(output.contains("server.upgrade_sock: is not set"), "{output}");
}

#[test]
fn aborted_requests_cause_no_panic() {
    let upstream = Faulty::scripted(|_, nth| match nth % 3 {
        0 => faulty::object(&vec![b'x'; 200_000]),
        1 => vec![Step::Close],
        _ => vec![faulty::head(200, &[("Content-Length", "9999")]), Step::Reset],
    });
    let gateway = Setup::new(&upstream.url()).tolerate("s3://sky").tolerate("pstream").start();
    for nth in 0..60 {
        let mut client = waiting_client(&gateway, &format!("abort-{nth}"));
        if nth % 2 == 0 {
            let _ = client.head();
        }
    }
    let log = gateway.log_text();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(gateway.get("/").status(), 200);
}
