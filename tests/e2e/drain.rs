//! Terminations under load: no request is refused during the lame-duck period, and no answer is
//! cut.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cached::with_cache;
use crate::client::{Client, Ending, PATIENCE};
use crate::crowd::{Watched, await_that};
use crate::gateway::Setup;
use crate::origin::Origin;
use crate::tally;

const CLIENTS: usize = 8;
const LARGE: usize = 24 << 20;
/// How late the test's own clock may be.
const MARGIN: Duration = Duration::from_millis(100);

/// A gateway that is terminated, and the observations of its clients.
struct Run {
    address: SocketAddr,
    lame_duck: Duration,
    /// When SIGTERM was sent.
    terminated_at: Mutex<Option<Instant>>,
    answered: AtomicUsize,
    answered_after: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Run {
    fn terminated_at(&self) -> Option<Instant> {
        *self.terminated_at.lock().expect("no panic")
    }

    /// Whether a request that begins now must be answered.
    fn serves(&self) -> bool {
        self.terminated_at()
            .is_none_or(|terminated_at| terminated_at.elapsed() + MARGIN < self.lame_duck)
    }

    fn fail(&self, what: String) {
        self.failed.lock().expect("no panic").push(what);
    }

    /// Small objects, on a new connection each, or on one as long as the gateway keeps it open,
    /// until connections are refused.
    fn read_tiles(&self, seed: usize) {
        let mut kept_alive = None;
        for nth in seed.. {
            let must = self.serves();
            let began = Instant::now();
            let client = kept_alive.take().or_else(|| Client::try_connect(self.address).ok());
            let Some(mut client) = client else {
                if must {
                    self.fail(format!("{seed}: refused"));
                }
                return;
            };
            let closes = seed.is_multiple_of(2);
            let headers: &[_] = if closes { &[("Connection", "close")] } else { &[] };
            let profile = if nth % 3 == 0 { "passed" } else { "kept" };
            client.request("GET", &format!("/s3proxy/s3/{profile}@sky/a.png"), headers);
            match client.answer("GET") {
                None if must => {
                    let terminated_at =
                        self.terminated_at().map(|terminated_at| terminated_at.elapsed());
                    return self.fail(format!(
                        "{seed}: no answer after {:?}, {terminated_at:?} after SIGTERM",
                        began.elapsed()
                    ));
                }
                None => return,
                Some(answer) => {
                    if (answer.status(), answer.ending) != (200, Ending::Whole)
                        || answer.text() != "tile"
                    {
                        self.fail(format!("{seed}: {answer:?}"));
                    }
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    if self.terminated_at().is_some() {
                        self.answered_after.fetch_add(1, Ordering::Relaxed);
                    }
                    if answer.header("connection") != Some("close") {
                        kept_alive = Some(client);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// A large body that is being sent when SIGTERM arrives, and when the lame-duck period ends.
    fn read_slowly(&self, profile: &str) {
        const STEPS: usize = 20;
        let mut client = Client::narrow(self.address);
        let path = format!("/s3proxy/s3/{profile}@sky/large.fits");
        client.request("GET", &path, &[]);
        let head = client.head().expect("the head of an answer");
        // Half of it before the end of the lame-duck period, half of it after.
        let pause = (self.lame_duck + Duration::from_millis(300)) / 10;
        for step in 1..STEPS {
            client.fill_to(LARGE / STEPS * step);
            std::thread::sleep(if step > 12 { Duration::from_millis(20) } else { pause });
        }
        let (body, ending) = client.body(&head, "GET");
        if (body.len(), ending) != (LARGE, Ending::Whole) || body.iter().any(|byte| *byte != b'x') {
            self.fail(format!("{path}: {} bytes, {ending:?}", body.len()));
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Terminates a gateway under load; returns the number of answers, and how long the shutdown took.
fn terminate(origin: &Origin, setup: Setup, lame_duck: Duration) -> (usize, Duration) {
    let mut gateway = setup
        .profile("kept", &origin.url())
        .profile("passed", &origin.url())
        .profile_settings("passed", &json!({"cache": {"store": false}}))
        .start();
    let run = Run {
        address: gateway.address,
        lame_duck,
        terminated_at: Mutex::new(None),
        answered: AtomicUsize::new(0),
        answered_after: AtomicUsize::new(0),
        failed: Mutex::new(Vec::new()),
    };
    let took = std::thread::scope(|scope| {
        let run = &run;
        for seed in 0..CLIENTS {
            scope.spawn(move || run.read_tiles(seed));
        }
        for profile in ["kept", "passed"] {
            scope.spawn(move || run.read_slowly(profile));
        }
        let deadline = Instant::now() + PATIENCE;
        while run.answered.load(Ordering::Relaxed) < 10 * CLIENTS && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Set before the signal is sent, so that the lame-duck period ends no earlier than the test
        // assumes.
        let began = Instant::now();
        *run.terminated_at.lock().expect("no panic") = Some(began);
        gateway.signal("TERM");
        let status = gateway.await_end(Duration::from_secs(25));
        assert_eq!(status.code(), Some(0), "{status}");
        began.elapsed()
    });
    let failed = run.failed.into_inner().expect("no panic");
    let answered = run.answered.into_inner();
    tally::add("answers during terminations", answered, failed.len());
    assert!(failed.is_empty(), "{} of {answered}: {failed:?}", failed.len());
    assert!(run.answered_after.into_inner() > CLIENTS, "served as a lame duck");
    assert!(took >= lame_duck, "{took:?}");
    gateway.assert_log_clean();
    (answered, took)
}

/// A client that was accepted does not expect a closed connection in answer to its first request.
#[test]
fn a_connection_that_was_accepted_before_the_end_has_its_first_request_answered() {
    let origin = origin();
    for direct in ["true", "false"] {
        let setup = with_cache(&origin.url())
            .yaml(json!({"server": {"lame_duck": "100ms", "grace_period": "10s"}}))
            .env("S3PROXY_SERVER_DIRECT_HITS", direct);
        let mut watched = Watched::start(setup);
        assert_eq!(watched.gateway.object("sky/a.png").text(), "tile");
        let (mut slow, silent) = (watched.gateway.connect(), watched.gateway.connect());
        await_that("both are accepted", || watched.metric("s3proxy_connections") >= 2);
        watched.gateway.signal("TERM");
        let address = watched.gateway.address;
        await_that("the port is closed", || Client::try_connect(address).is_err());
        slow.request("GET", "/s3proxy/s3/sky/a.png", &[]);
        let answer = slow.answer("GET").expect("an answer");
        assert_eq!((answer.status(), answer.text()), (200, "tile"), "direct: {direct}");
        assert_eq!(answer.header("connection"), Some("close"));
        // One that stays silent is not waited for until the grace period ends.
        let began = Instant::now();
        let status = watched.gateway.await_end(PATIENCE);
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        drop(silent);
        watched.gateway.assert_log_clean();
    }
}

fn origin() -> Origin {
    let origin = Origin::start();
    origin.put("a.png", "tile");
    origin.put("large.fits", vec![b'x'; LARGE]);
    origin
}

#[test]
fn ten_terminations_under_load_cut_and_refuse_nothing() {
    const SHORT: Duration = Duration::from_millis(700);
    let origin = origin();
    let (mut all, mut longest) = (0, Duration::ZERO);
    for _ in 0..9 {
        let short = json!({"server": {"lame_duck": "700ms", "grace_period": "10s"}});
        let (answered, took) = terminate(&origin, with_cache(&origin.url()).yaml(short), SHORT);
        (all, longest) = (all + answered, longest.max(took));
    }
    let (answered, with_defaults) =
        terminate(&origin, with_cache(&origin.url()), Duration::from_secs(5));
    eprintln!(
        "10 terminations: {} answers, 0 cut, 0 refused while a lame duck; shutdown took at most \
         {longest:?}, with the defaults {with_defaults:?}",
        all + answered
    );
}
