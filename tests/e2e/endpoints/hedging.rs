//! A second endpoint that is asked because the first byte of the first one is late.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::admin::Admin;
use crate::client::{Client, PATIENCE};
use crate::endpoints::{at, get};
use crate::faulty::{self, Faulty, Gate, Step};
use crate::gateway::Gateway;

/// More requests than the estimate needs, and enough for a budget of several hedges.
const WARM_UP: usize = 160;

/// A store that answers keys with `slow` when the gate opens, and others at once.
fn slow(gate: &Gate, status: u16, body: &'static str) -> Faulty {
    let gate = gate.clone();
    Faulty::scripted(move |request, _| {
        let mut steps = if request.target.contains("slow") {
            vec![Step::Wait(gate.clone())]
        } else {
            Vec::new()
        };
        steps.extend(match status {
            200 => faulty::object(body.as_bytes()),
            _ if !request.target.contains("slow") => faulty::object(body.as_bytes()),
            _ => faulty::s3_error(status, "NoSuchKey"),
        });
        steps
    })
}

fn asked_for(store: &Faulty, key: &str) -> usize {
    store.requests().iter().filter(|it| it.target.contains(key)).count()
}

/// A gateway that knows how late the answers of its first endpoint usually are.
fn warm(first: &Faulty, second: &Faulty) -> (Gateway, Admin) {
    let setup = at(&[&first.url(), &second.url()], "64MiB").yaml(json!({
        "default_profile": {"hedge": true},
        "upstream": {"first_byte_timeout": "30s", "read_timeout": "30s", "total_timeout": "60s"},
    }));
    let (setup, admin) = Admin::of(setup);
    let gateway = setup.start();
    for number in 0..WARM_UP {
        assert_eq!(get(&gateway, &format!("{number}.png")).0, 200);
    }
    (gateway, admin)
}

/// The most hedges of this many requests since then: one in twenty, and one a second.
fn most(requests: usize, began: Instant) -> usize {
    let seconds = usize::try_from(began.elapsed().as_secs()).expect("a short test");
    requests / 20 + seconds + 1
}

fn counted(admin: &Admin, result: &str) -> usize {
    let metrics = admin.send("GET", "/metrics").text().to_owned();
    let name = format!("s3proxy_upstream_hedges_total{{profile=\"default\",result=\"{result}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{name}: {metrics}"))
}

#[test]
fn the_first_good_answer_wins_and_the_other_request_is_closed() {
    let (gate, began) = (Gate::new(), Instant::now());
    let (first, second) = (slow(&gate, 200, "first"), Faulty::always(faulty::object(b"second")));
    let (gateway, admin) = warm(&first, &second);
    let won = counted(&admin, "won");
    assert_eq!(asked_for(&second, "slow"), 0);
    assert_eq!(get(&gateway, "slow.png"), (200, "second".to_owned()));
    // On a busy machine the store may read it after the other has answered.
    first.await_asked("slow");
    assert_eq!((asked_for(&first, "slow"), asked_for(&second, "slow")), (1, 1));
    gate.open();
    first.await_hung_up(1);
    assert_eq!(counted(&admin, "won"), won + 1);
    let hedges = counted(&admin, "won") + counted(&admin, "lost");
    assert!(hedges <= most(WARM_UP + 1, began), "{hedges}");
    // One that lost may not have left.
    assert!((1..=hedges).contains(&second.count()), "{} of {hedges}", second.count());
}

/// The budget was spent, and requests alone fill it: this one waited for its time limit.
#[test]
fn a_request_that_waits_alone_is_hedged_although_the_budget_is_spent() {
    const MORE_THAN_THE_BUDGET: usize = WARM_UP / 20 + 2;
    let gate = Gate::new();
    let (first, second) = (slow(&gate, 200, "first"), Faulty::always(faulty::object(b"second")));
    let (gateway, _) = warm(&first, &second);
    for number in 0..MORE_THAN_THE_BUDGET {
        let answer = get(&gateway, &format!("slow{number}.png"));
        assert_eq!(answer, (200, "second".to_owned()), "{number}");
    }
    gate.open();
}

/// One hundredth of the requests made the tail of all: a budget that is nearly spent had nothing left for them.
#[test]
fn every_answer_that_never_comes_is_answered_by_the_other_endpoint() {
    const CLIENTS: usize = 8;
    const EACH: usize = 200;
    let (gate, began) = (Gate::new(), Instant::now());
    let usual = || Step::Pause(Duration::from_millis(10));
    let slow = gate.clone();
    let first = Faulty::scripted(move |request, _| {
        let first = match request.target.contains("slow") {
            true => Step::Wait(slow.clone()),
            false => usual(),
        };
        std::iter::once(first).chain(faulty::object(b"first")).collect()
    });
    let second = Faulty::scripted(move |_, _| {
        std::iter::once(usual()).chain(faulty::object(b"second")).collect()
    });
    let (gateway, admin) = warm(&first, &second);
    let before = (counted(&admin, "won"), second.count());
    let names = |client| {
        (0..EACH).map(move |number| match (client * EACH + number) % 100 {
            99 => (format!("slow-{client}-{number}.png"), "second"),
            _ => (format!("{client}-{number}.png"), "first"),
        })
    };
    let read = |client| {
        let mut worst = Duration::ZERO;
        for (name, from) in names(client) {
            let began = Instant::now();
            let (status, body) = get(&gateway, &name);
            assert_eq!(status, 200, "{name}");
            if from == "second" {
                assert_eq!(body, from, "{name}");
                worst = worst.max(began.elapsed());
            }
        }
        worst
    };
    let worst = std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || read(client))).collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader")).max()
    });
    let slow = CLIENTS * EACH / 100;
    // The time limit of an answer is 30 s.
    assert!(worst < Some(PATIENCE), "{worst:?}");
    // Where no answer comes for a second, as on a machine without CPU, requests move on before they are hedged.
    let have_moved_on = gateway.log_text().contains("the breaker of endpoint");
    let most = most(WARM_UP + CLIENTS * EACH, began);
    if !have_moved_on {
        assert!(counted(&admin, "won") >= before.0 + slow);
        let sent_twice = second.count();
        assert!(sent_twice <= most, "{sent_twice} of {most}, after {}", before.1);
    }
    for (name, from) in names(CLIENTS - 1).filter(|(_, from)| *from == "second") {
        let path = format!("s3://sky/{name}");
        let line = gateway.expect_log(from, |line| line["path"] == path.as_str());
        assert_eq!(line["upstream_endpoint"], second.url().as_str(), "{line}");
        if !have_moved_on {
            assert_eq!(line["upstream_hedge"], "won", "{line}");
            assert_eq!(line["upstream_attempts"], 2, "{line}");
        }
    }
    gate.open();
}

#[test]
fn a_missing_object_of_the_second_endpoint_waits_for_the_first() {
    let (gate, open) = (Gate::new(), Gate::new());
    open.open();
    let (first, second) = (slow(&gate, 200, "first"), slow(&open, 404, "second"));
    let (gateway, _) = warm(&first, &second);
    let mut client = Client::connect(gateway.address);
    client.request("GET", "/s3proxy/s3/sky/slow.png", &[]);
    second.await_asked("slow");
    gate.open();
    let answer = client.answer("GET").expect("an answer");
    assert_eq!((answer.status(), answer.text()), (200, "first"));
}

#[test]
fn a_missing_object_of_the_first_endpoint_is_the_answer() {
    let (first_gate, second_gate) = (Gate::new(), Gate::new());
    let (first, second) = (slow(&first_gate, 404, "first"), slow(&second_gate, 200, "second"));
    let (gateway, _) = warm(&first, &second);
    let mut client = Client::connect(gateway.address);
    client.request("GET", "/s3proxy/s3/sky/slow.png", &[]);
    second.await_asked("slow");
    first_gate.open();
    assert_eq!(client.answer("GET").expect("an answer").status(), 404);
    second_gate.open();
}
