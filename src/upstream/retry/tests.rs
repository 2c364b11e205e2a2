//! The rules as tables.

use super::*;

const JITTER: Duration = Duration::from_millis(100);
const TOTAL: Duration = Duration::from_secs(20);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 9000))
}

fn attempts(retries: u8, now: Instant) -> Attempts {
    let mut attempts = Attempts::start(RetryPolicy { retries, total: TOTAL }, now);
    attempts.begin(address(1));
    attempts
}

/// The pause before another attempt, and whether it needs a new connection; or the refusal.
type Row = Result<(Duration, bool), Refusal>;

fn next(attempts: &mut Attempts, failure: &AttemptFailure, only: bool, now: Instant) -> Row {
    match attempts.failed(failure, only, now) {
        NextAttempt::Again => Ok((attempts.pause(JITTER, now), attempts.needs_new_connection())),
        NextAttempt::Refuse(refusal) => Err(refusal),
    }
}

#[test]
fn each_failure_has_its_next_attempt() {
    use AttemptFailure::{Answer, Final, Late, NoConnection, Reset};
    let now = Instant::now();
    let unreachable = || NoConnection(Refusal::UpstreamUnreachable);
    let none = Duration::ZERO;
    for (failure, only_address, first, second, penalised) in [
        (unreachable(), true, Ok((JITTER, false)), Err(Refusal::UpstreamUnreachable), true),
        (unreachable(), false, Ok((none, false)), Err(Refusal::UpstreamUnreachable), true),
        (
            NoConnection(Refusal::UpstreamTimeout),
            false,
            Ok((none, false)),
            Err(Refusal::UpstreamTimeout),
            true,
        ),
        (Reset { reused: false }, false, Ok((JITTER, false)), Err(Refusal::UpstreamReset), false),
        (Reset { reused: true }, false, Ok((none, true)), Ok((none, true)), false),
        (
            Answer(Refusal::UpstreamError),
            false,
            Ok((JITTER, false)),
            Err(Refusal::UpstreamError),
            false,
        ),
        (
            Answer(Refusal::UpstreamBusy(5)),
            false,
            Ok((JITTER, false)),
            Err(Refusal::UpstreamBusy(5)),
            false,
        ),
        (Late, false, Err(Refusal::UpstreamTimeout), Err(Refusal::UpstreamTimeout), true),
        (
            Final(Refusal::UpstreamProtocol),
            false,
            Err(Refusal::UpstreamProtocol),
            Err(Refusal::UpstreamProtocol),
            false,
        ),
        (
            Final(Refusal::UpstreamUnresolved),
            false,
            Err(Refusal::UpstreamUnresolved),
            Err(Refusal::UpstreamUnresolved),
            false,
        ),
    ] {
        let mut attempts = attempts(1, now);
        assert_eq!(next(&mut attempts, &failure, only_address, now), first, "{failure:?}");
        attempts.begin(address(2));
        assert_eq!(next(&mut attempts, &failure, only_address, now), second, "{failure:?}");
        assert_eq!(failure.penalises_address(), penalised, "{failure:?}");
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
        assert_eq!(next(&mut attempts(0, now), &failure, true, now).is_ok(), is_again);
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
    attempts.begin(address(1));
    attempts.begin(address(2));
    assert_eq!((attempts.made(), attempts.address()), (2, Some(address(2))));
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
