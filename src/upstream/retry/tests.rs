//! The rules as tables.

use super::*;

const JITTER: Duration = Duration::from_millis(100);
const TOTAL: Duration = Duration::from_secs(20);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 9000))
}

fn attempts(retries: u8, now: Instant) -> Attempts {
    let mut attempts = Attempts::start(RetryPolicy { retries, total: TOTAL }, now);
    attempts.begin(address(1), now);
    attempts
}

/// The pause before another attempt, and whether it needs a new connection; or the refusal.
type Row = Result<(Duration, bool), Refusal>;

fn next(attempts: &mut Attempts, failure: &AttemptFailure, has_untried: bool, now: Instant) -> Row {
    match attempts.failed(failure, has_untried, now) {
        NextAttempt::Again => Ok((attempts.pause(JITTER, now), attempts.needs_new_connection())),
        NextAttempt::Refuse(refusal) => Err(refusal),
    }
}

#[test]
fn each_failure_has_its_next_attempt() {
    use AttemptFailure::{Answer, Final, Late, NoConnection, Reset};
    use Refusal::{
        UpstreamBusy, UpstreamError, UpstreamProtocol, UpstreamReset, UpstreamTimeout,
        UpstreamUnreachable, UpstreamUnresolved,
    };
    let now = Instant::now();
    let at_once = || Ok((Duration::ZERO, false));
    let after_a_pause = || Ok((JITTER, false));
    let fresh = || Ok((Duration::ZERO, true));
    for (failure, has_untried, first, second, fault) in [
        (
            NoConnection(UpstreamUnreachable),
            false,
            after_a_pause(),
            Err(UpstreamUnreachable),
            Some(Fault::Connection),
        ),
        (NoConnection(UpstreamUnreachable), true, at_once(), at_once(), Some(Fault::Connection)),
        (NoConnection(UpstreamTimeout), true, at_once(), at_once(), Some(Fault::Connection)),
        (Reset { reused: false }, true, after_a_pause(), Err(UpstreamReset), Some(Fault::Reset)),
        (Reset { reused: true }, true, fresh(), fresh(), None),
        (Answer(UpstreamError), true, after_a_pause(), Err(UpstreamError), None),
        (Answer(UpstreamBusy(5)), true, after_a_pause(), Err(UpstreamBusy(5)), None),
        (Late, true, at_once(), Err(UpstreamTimeout), Some(Fault::Late)),
        (Late, false, Err(UpstreamTimeout), Err(UpstreamTimeout), Some(Fault::Late)),
        (Final(UpstreamProtocol), true, Err(UpstreamProtocol), Err(UpstreamProtocol), None),
        (Final(UpstreamUnresolved), true, Err(UpstreamUnresolved), Err(UpstreamUnresolved), None),
    ] {
        let mut attempts = attempts(1, now);
        assert_eq!(next(&mut attempts, &failure, has_untried, now), first, "{failure:?}");
        attempts.begin(address(2), now);
        assert_eq!(next(&mut attempts, &failure, has_untried, now), second, "{failure:?}");
        assert_eq!(failure.fault(), fault, "{failure:?}");
    }
}

#[test]
fn no_retry_is_needed_for_an_address_that_gives_no_connection() {
    let now = Instant::now();
    let mut attempts = attempts(0, now);
    let refused = AttemptFailure::NoConnection(Refusal::UpstreamUnreachable);
    for nth in 2..=u8::try_from(MAX_ADDRESSES).unwrap() {
        assert_eq!(next(&mut attempts, &refused, true, now), Ok((Duration::ZERO, false)));
        attempts.begin(address(nth), now);
    }
    let refusal = Refusal::UpstreamUnreachable;
    assert_eq!(next(&mut attempts, &refused, true, now), Err(refusal), "there is a bound");
}

#[test]
fn a_pool_is_discredited_by_a_connection_that_was_idle() {
    for (failure, reused, discredited) in [
        (AttemptFailure::Reset { reused: true }, true, true),
        (AttemptFailure::Reset { reused: false }, false, false),
        (AttemptFailure::Late, true, true),
        (AttemptFailure::Late, false, false),
        (AttemptFailure::Answer(Refusal::UpstreamError), true, false),
    ] {
        assert_eq!(failure.discredits_pool(reused), discredited, "{failure:?} {reused}");
    }
}

#[test]
fn without_retries_only_a_reused_connection_is_replaced() {
    let now = Instant::now();
    for (failure, is_again) in [
        (AttemptFailure::NoConnection(Refusal::UpstreamUnreachable), false),
        (AttemptFailure::Answer(Refusal::UpstreamError), false),
        (AttemptFailure::Reset { reused: false }, false),
        (AttemptFailure::Reset { reused: true }, true),
    ] {
        assert_eq!(next(&mut attempts(0, now), &failure, false, now).is_ok(), is_again);
    }
}

#[test]
fn a_replaced_connection_leaves_the_retry() {
    let now = Instant::now();
    let mut attempts = attempts(1, now);
    let reset = |reused| AttemptFailure::Reset { reused };
    assert_eq!(next(&mut attempts, &reset(true), false, now), Ok((Duration::ZERO, true)));
    assert_eq!(next(&mut attempts, &reset(false), false, now), Ok((JITTER, true)));
    assert_eq!(next(&mut attempts, &reset(false), false, now), Err(Refusal::UpstreamReset));
}

#[test]
fn no_attempt_begins_after_the_time_for_all() {
    let started = Instant::now();
    let late = started + TOTAL;
    for failure in [
        AttemptFailure::NoConnection(Refusal::UpstreamUnreachable),
        AttemptFailure::Reset { reused: true },
        AttemptFailure::Reset { reused: false },
        AttemptFailure::Answer(Refusal::UpstreamError),
    ] {
        let refusal = failure.refusal();
        assert_eq!(next(&mut attempts(1, started), &failure, true, late), Err(refusal));
    }
    let mut attempts = attempts(1, started);
    let nearly = late - JITTER / 2;
    assert_eq!(attempts.time_left(nearly), JITTER / 2);
    let reset = AttemptFailure::Reset { reused: false };
    assert_eq!(next(&mut attempts, &reset, true, nearly), Ok((JITTER / 2, false)));
    assert_eq!(attempts.pause(JITTER, nearly), Duration::ZERO, "a pause is due once");
}

#[test]
fn attempts_know_their_number_their_place_and_their_time() {
    let now = Instant::now();
    let mut attempts = Attempts::start(RetryPolicy { retries: 1, total: TOTAL }, now);
    assert_eq!((attempts.made(), attempts.address()), (0, None));
    attempts.begin(address(1), now);
    attempts.went_to(address(3));
    let later = now + Duration::from_secs(1);
    attempts.begin(address(2), later);
    assert_eq!((attempts.made(), attempts.address()), (2, Some(address(2))));
    assert_eq!(attempts.tried(), [address(1), address(3), address(2)]);
    assert_eq!(attempts.began(), later);
    attempts.went_to(address(1));
    assert_eq!(attempts.tried(), [address(3), address(2), address(1)]);
    let second = Duration::from_secs;
    assert_eq!(attempts.duration(now + second(1)), second(1));
    attempts.end(now + second(2));
    assert_eq!(attempts.duration(now + second(3)), second(2));
}

#[test]
fn a_store_is_asked_in_another_way_three_times_at_most() {
    let mut attempts = attempts(0, Instant::now());
    let asked: Vec<bool> = (0..5).map(|_| attempts.ask_in_another_way()).collect();
    assert_eq!(asked, [true, true, true, false, false]);
}

#[test]
fn a_request_moves_on_to_another_endpoint_after_what_that_one_may_avoid() {
    use AttemptFailure::{Answer, Final, Late, NoConnection, Reset};
    let now = Instant::now();
    for (failure, moves) in [
        (NoConnection(Refusal::UpstreamUnreachable), true),
        (Reset { reused: false }, true),
        (Reset { reused: true }, false),
        (Late, true),
        (Answer(Refusal::UpstreamError), true),
        (Answer(Refusal::UpstreamBusy(5)), true),
        (Final(Refusal::UpstreamProtocol), false),
    ] {
        let mut attempts = attempts(1, now);
        attempts.go_to(0);
        assert_eq!(attempts.move_on(&failure, now), moves, "{failure:?}");
        assert_eq!(attempts.endpoint(), Some(0).filter(|_| !moves), "{failure:?}");
        assert_eq!(attempts.tried().is_empty(), moves, "addresses of the other endpoint");
        assert!(attempts.tried_endpoints().has(0) && !attempts.tried_endpoints().has(1));
        assert_eq!(attempts.pause(JITTER, now), Duration::ZERO, "{failure:?}");
        assert!(attempts.may_retry(now), "moving on is no retry");
        let mut late = self::attempts(1, now);
        assert!(!late.move_on(&failure, now + TOTAL), "{failure:?}: no time is left");
    }
}

#[test]
fn a_probe_stays_at_its_endpoint() {
    let now = Instant::now();
    let mut attempts = attempts(1, now);
    attempts.stay_at(3);
    assert_eq!(attempts.endpoint(), Some(3));
    assert!((0..MAX_ENDPOINTS).all(|place| attempts.tried_endpoints().has(place)));
    assert!(!EndpointSet::default().has(0) && !EndpointSet::default().has(usize::MAX));
}
