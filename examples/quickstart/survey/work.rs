//! Work shared out to threads.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Runs jobs `0..count` on this number of threads, and returns their results in order.
///
/// # Errors
/// The first error; jobs that have not begun are skipped.
pub(crate) fn share<T: Send, E: Send>(
    threads: usize,
    count: u64,
    job: impl Fn(u64) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let result = job(number);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for threads in [0, 1, 3, 200] {
            let squares = share(threads, 100, |n| Ok::<_, ()>(n * n));
            assert_eq!(squares, Ok((0..100).map(|n| n * n).collect()));
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        assert_eq!(share(2, 1 << 40, |n| if n == 50 { Err(n) } else { Ok(()) }), Err(50));
    }
}
