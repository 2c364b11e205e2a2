//! Requests at a steady rate to an endpoint of which each hundredth answer takes a hundred times as long, beside one
//! that is always well: simulated, so that the times are those of the rules and not those of the machine.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::super::{HedgeBudget, HedgeWait, LateEstimate, SHARE};

const USUAL: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_secs(2);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);
/// Requests before those that count.
const WARM_UP: usize = 400;
/// The hedges of 20,000 requests: one in twenty, and one in each of their hundred seconds.
const MOST: u32 = 20_000 / SHARE + 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Begins,
    /// The first endpoint has answered.
    First,
    /// The second one has.
    Second,
    /// It asks for a hedge, if it is not answered.
    Late,
}

struct Request {
    began: Duration,
    wait: Option<HedgeWait>,
    is_slow: bool,
    took: Option<Duration>,
}

/// What became of the requests after the warm-up.
struct Outcome {
    slow: Vec<Duration>,
    all: Vec<Duration>,
    hedges: u32,
    p95: Duration,
}

/// `noise`: how many times as long the answers take that begin at this time.
fn run(requests: usize, hedges: bool, seed: u64, noise: impl Fn(Duration) -> f64) -> Outcome {
    let (mut random, base) = (fastrand::Rng::with_seed(seed), Instant::now());
    let (mut estimate, mut budget) = (LateEstimate::default(), HedgeBudget::default());
    let mut state: Vec<Request> = (0..requests)
        .map(|number| Request {
            began: PAUSE * u32::try_from(number).unwrap(),
            wait: None,
            is_slow: number % 100 == 99,
            took: None,
        })
        .collect();
    let begin =
        |(number, request): (usize, &Request)| Reverse((request.began, number, Event::Begins));
    let mut events: BinaryHeap<_> = state.iter().enumerate().map(begin).collect();
    let mut sent = 0;
    while let Some(Reverse((now, number, event))) = events.pop() {
        let request = &mut state[number];
        // A tail beside the slow answers, as every network has.
        let spread = random.f64() + if random.u32(..20) == 0 { random.f64() } else { 0.0 };
        let usual = USUAL.mul_f64((1.0 + 0.3 * spread) * noise(now));
        match event {
            Event::Begins => {
                budget.requested();
                let answered = now + if request.is_slow { SLOW } else { usual };
                events.push(Reverse((answered, number, Event::First)));
                request.wait = estimate.p95().filter(|_| hedges).map(HedgeWait::new);
                if let Some(wait) = &request.wait {
                    events.push(Reverse((now + wait.until(), number, Event::Late)));
                }
            }
            _ if request.took.is_some() => {}
            Event::First | Event::Second => {
                request.took = Some(now - request.began);
                estimate.note(now - request.began);
            }
            Event::Late => {
                let Some(wait) = &mut request.wait else { continue };
                if wait.take(&mut budget, base + now) {
                    sent += 1;
                    events.push(Reverse((now + usual, number, Event::Second)));
                } else {
                    wait.wait_on();
                    events.push(Reverse((request.began + wait.until(), number, Event::Late)));
                }
            }
        }
    }
    let counted = || state.iter().skip(WARM_UP);
    let took = |request: &Request| request.took.expect("it was answered");
    Outcome {
        slow: counted().filter(|request| request.is_slow).map(took).collect(),
        all: counted().map(took).collect(),
        hedges: sent,
        p95: estimate.p95().expect("an estimate"),
    }
}

fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place")]
    let place = (times.len() as f64 * share) as usize;
    times[place.min(times.len() - 1)]
}

#[test]
fn slow_answers_come_from_the_other_endpoint_in_twice_the_usual_time() {
    for seed in 0..20 {
        let run = |hedges| run(20_000, hedges, seed, |_| 1.0);
        let (without, with) = (run(false), run(true));
        let worst = with.slow.iter().max().expect("slow ones");
        let limit = with.p95 * 2 + USUAL * 2;
        assert!(*worst <= limit, "{seed}: {worst:?} of {limit:?}");
        let (before, after) = (quantile(&without.all, 0.999), quantile(&with.all, 0.999));
        assert!(before >= 20 * after, "{seed}: {before:?}, {after:?}");
        assert!(with.hedges <= MOST, "{seed}: {} hedges", with.hedges);
    }
}

/// All answers are late at times, and the budget is spent for them.
#[test]
fn slow_answers_find_a_hedge_while_everything_is_slow_for_a_while() {
    let noise = |now: Duration| if now.as_secs().is_multiple_of(10) { 3.0 } else { 1.0 };
    for seed in 0..20 {
        let with = run(20_000, true, seed, noise);
        let worst = with.slow.iter().max().expect("slow ones");
        assert!(*worst <= SLOW / 4, "{seed}: {worst:?}");
        assert!(with.hedges <= MOST, "{seed}: {} hedges", with.hedges);
    }
}
