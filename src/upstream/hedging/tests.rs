//! The estimate and the budget by themselves, and both in a simulated run of many requests.

mod simulation;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_estimate_is_at_least_the_quantile_and_at_most_a_fifth_above() {
    for (slow, expected) in [(0, 10 * MS), (4, 10 * MS), (6, 1000 * MS)] {
        let mut estimate = LateEstimate::default();
        for number in 0..1000 {
            estimate.note(if number % 100 < slow { 1000 * MS } else { 10 * MS });
        }
        let found = estimate.p95().expect("an estimate");
        assert!(found >= expected && found < expected.mul_f64(1.2), "{slow}: {found:?}");
    }
}

#[test]
fn few_answers_are_no_estimate_and_old_ones_are_forgotten() {
    let mut estimate = LateEstimate::default();
    for _ in 1..LEAST {
        estimate.note(MS);
        assert_eq!(estimate.p95(), None);
    }
    for _ in 0..100_000 {
        estimate.note(MS);
    }
    assert!(estimate.p95() < Some(2 * MS));
    for _ in 0..4 * HALVED_AT {
        estimate.note(50 * MS);
    }
    assert!(estimate.p95() > Some(49 * MS));
    for _ in 0..4 * HALVED_AT {
        estimate.note(MS);
    }
    assert!(estimate.p95() < Some(2 * MS));
}

#[test]
fn every_time_has_a_bucket() {
    let mut estimate = LateEstimate::default();
    for late in [Duration::ZERO, Duration::from_nanos(1), FIRST, 3600_u32 * 1000 * MS] {
        estimate.note(late);
    }
    assert_eq!(estimate.total, 4);
    assert!(upper_end(bucket(Duration::from_secs(25))) >= Duration::from_secs(25));
}

#[test]
fn no_more_than_one_request_in_twenty_is_hedged_and_one_in_a_second_besides() {
    let (mut budget, now) = (HedgeBudget::default(), Instant::now());
    assert!(!budget.take(1, now), "none before the first requests");
    assert!(budget.take(0, now), "the one of this second");
    let mut hedges = 0;
    for _ in 0..10_000 {
        budget.requested();
        hedges += u32::from(budget.take(0, now));
    }
    assert_eq!(hedges, 10_000 / SHARE);
    for _ in 0..10_000 {
        budget.requested();
    }
    assert_eq!((0..1000).filter(|_| budget.take(0, now)).count(), BURST as usize);
    let tenth = |number: u32| now + BEYOND / 10 * number;
    assert_eq!((1..=100).filter(|number| budget.take(0, tenth(*number))).count(), 10);
    assert!(!budget.take(1, tenth(200)), "for a request that is not late enough");
}

#[test]
fn what_is_later_still_finds_a_hedge_where_others_find_none() {
    let (mut budget, now) = (HedgeBudget::default(), Instant::now());
    assert!(budget.take(0, now), "the one of this second");
    for _ in 0..1000 {
        budget.requested();
    }
    let takes = |budget: &mut HedgeBudget, looks: usize| {
        let mut wait = HedgeWait::new(10 * MS);
        let look = |_| {
            let is_taken = wait.take(budget, now);
            wait.wait_on();
            is_taken
        };
        (0..looks).map(look).collect::<Vec<_>>()
    };
    let first = (0..20).filter(|_| takes(&mut budget, 1) == [true]).count();
    assert_eq!(first, (BURST - RESERVE) as usize, "late ones");
    assert_eq!(takes(&mut budget, 2), [false, true]);
    assert_eq!(takes(&mut budget, 2), [false, true]);
    assert_eq!(takes(&mut budget, 3), [false, false, true]);
    assert_eq!(takes(&mut budget, 4), [false, false, false, true]);
    assert_eq!(takes(&mut budget, 40), [false; 40]);
    let mut wait = HedgeWait::new(10 * MS);
    for expected in [10, 20, 40, 80, 160, 320, 640, 1280, 2280, 3280] {
        assert_eq!(wait.until(), expected * MS);
        assert!(!wait.take(&mut budget, now));
        assert_eq!(wait.wait_on(), expected == 10);
    }
    assert!(HedgeWait::new(Duration::ZERO).until() >= MS, "what is answered at once");
}

/// The budget was spent and no other request came to fill it: the request waited for its time limit.
#[test]
fn requests_that_wait_alone_are_hedged_one_by_one_although_the_budget_is_spent() {
    let (mut budget, began) = (HedgeBudget::default(), Instant::now());
    let mut waits: Vec<HedgeWait> = (0..4).map(|_| HedgeWait::new(10 * MS)).collect();
    let mut hedged = Vec::new();
    while !waits.is_empty() {
        let next = waits.iter().map(HedgeWait::until).min().expect("one that waits");
        waits.retain_mut(|wait| {
            let is_hedged = wait.until() == next && wait.take(&mut budget, began + next);
            if is_hedged {
                hedged.push(next);
            } else if wait.until() == next {
                wait.wait_on();
            }
            !is_hedged
        });
    }
    assert_eq!(hedged, [80, 1280, 2280, 3280].map(|at| at * MS));
}

proptest! {
    #[test]
    fn the_budget_never_exceeds_its_share(asks in prop::collection::vec(any::<bool>(), 0..2000)) {
        let (mut budget, mut requests, mut hedges) = (HedgeBudget::default(), 0, 0);
        let now = Instant::now();
        prop_assert!(budget.take(0, now), "the one of this second");
        for ask in asks {
            budget.requested();
            requests += 1;
            hedges += u32::from(ask && budget.take(0, now));
            prop_assert!(hedges * SHARE <= requests);
        }
    }

    #[test]
    fn the_estimate_bounds_nineteen_of_twenty(times in prop::collection::vec(1_u32..20_000, 100..400)) {
        let mut estimate = LateEstimate::default();
        for time in &times {
            estimate.note(MS * *time);
        }
        let limit = estimate.p95().expect("an estimate");
        let within = times.iter().filter(|time| MS * **time <= limit).count();
        prop_assert!(within * 20 >= times.len() * 19, "{limit:?}");
    }
}
