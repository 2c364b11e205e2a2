//! The fill against a plain model: every reader sees the bytes that are pushed, in whatever pieces, or
//! sees that the body was truncated.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cache::memory::budget::Budget;

fn fill(length: u64) -> Arc<FillBuffer> {
    let budget = Budget::new(u64::MAX);
    FillBuffer::new(length, Arc::new(budget.take(length).expect("there is room")))
}

fn numbered(length: u64) -> Vec<u8> {
    (0..length).map(|i| (i % 253) as u8).collect()
}

/// Reads from `from` to `to`; `Err` holds the bytes before the truncation.
async fn read_all(fill: Arc<FillBuffer>, from: u64, to: u64) -> Result<Vec<u8>, Vec<u8>> {
    let mut seen = Vec::new();
    loop {
        match fill.read(from + seen.len() as u64, to).await {
            Ok(Some(bytes)) => seen.extend_from_slice(&bytes),
            Ok(None) => return Ok(seen),
            Err(Truncated) => return Err(seen),
        }
    }
}

#[tokio::test]
async fn readers_follow_the_writer_and_keep_their_places() {
    let whole = numbered(10);
    let fill = fill(10);
    let early = tokio::spawn(read_all(Arc::clone(&fill), 0, 10));
    let middle = tokio::spawn(read_all(Arc::clone(&fill), 4, 7));
    tokio::task::yield_now().await;
    fill.push(Bytes::copy_from_slice(&whole[..5])).expect("fits");
    tokio::task::yield_now().await;
    fill.push(Bytes::copy_from_slice(&whole[5..])).expect("fits");
    let body = fill.complete().expect("all of it has come");
    assert_eq!(body.len(), 10);
    fill.end();
    assert_eq!(early.await.expect("no panic"), Ok(whole.clone()));
    assert_eq!(middle.await.expect("no panic"), Ok(whole[4..7].to_vec()));
    assert_eq!(read_all(fill, 9, 100).await, Ok(vec![9]), "after the end it can be read as well");
}

#[tokio::test]
async fn a_short_body_is_cut_for_every_reader_and_not_kept() {
    let fill = fill(10);
    let reader = tokio::spawn(read_all(Arc::clone(&fill), 0, 10));
    fill.push(Bytes::from_static(b"0123")).expect("fits");
    assert_eq!(fill.complete().expect_err("six bytes are missing"), Truncated);
    assert_eq!(reader.await.expect("no panic"), Err(b"0123".to_vec()));
    assert_eq!(
        read_all(Arc::clone(&fill), 0, 3).await,
        Ok(b"012".to_vec()),
        "the bytes so far are right"
    );
}

#[tokio::test]
async fn the_last_bytes_are_shown_when_the_body_is_stored() {
    let fill = fill(10);
    fill.push(Bytes::from_static(b"0123")).expect("fits");
    fill.push(Bytes::from_static(b"456789")).expect("fits");
    let reader = tokio::spawn(read_all(Arc::clone(&fill), 0, 10));
    tokio::task::yield_now().await;
    assert!(fill.complete().is_ok());
    tokio::task::yield_now().await;
    assert!(!reader.is_finished() && !fill.is_settled_at(4) && fill.is_settled_at(3));
    fill.end();
    assert_eq!(reader.await.expect("no panic"), Ok(b"0123456789".to_vec()));
}

#[tokio::test]
async fn a_failed_fill_wakes_who_waits() {
    let fill = fill(10);
    let reader = tokio::spawn(read_all(Arc::clone(&fill), 5, 10));
    tokio::task::yield_now().await;
    fill.fail();
    let seen = tokio::time::timeout(Duration::from_secs(10), reader).await.expect("is woken");
    assert_eq!(seen.expect("no panic"), Err(Vec::new()));
}

#[tokio::test]
async fn more_than_the_length_is_a_failure() {
    let fill = fill(3);
    assert_eq!(fill.push(Bytes::from_static(b"0123")), Err(Truncated));
    assert!(fill.complete().is_err());
    assert_eq!(read_all(fill, 0, 3).await, Err(Vec::new()));
}

#[tokio::test]
async fn an_empty_body_is_complete_at_once() {
    let fill = fill(0);
    assert!(fill.complete().expect("nothing is missing").is_empty());
    assert_eq!(read_all(fill, 0, 0).await, Ok(Vec::new()));
}

#[test]
fn room_is_taken_until_the_last_reader_has_left() {
    let budget = Budget::new(10);
    let fill = FillBuffer::new(10, Arc::new(budget.take(10).expect("there is room")));
    let reader = Arc::clone(&fill);
    drop(fill);
    assert_eq!(budget.held(), 10);
    drop(reader);
    assert_eq!(budget.held(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_reader_sees_the_same_bytes(
        sizes in proptest::collection::vec(1_usize..400_000, 0..12),
        missing in proptest::option::weighted(0.3, 1_u64..1000),
        ranges in proptest::collection::vec((0_u64..5_000_000, 0_u64..5_000_000), 1..6),
    ) {
        let arrives: u64 = sizes.iter().map(|size| *size as u64).sum();
        let length = arrives + missing.unwrap_or(0);
        let whole = numbered(arrives);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        runtime.expect("a runtime").block_on(async {
            let fill = fill(length);
            let readers: Vec<_> = ranges
                .iter()
                .map(|(a, b)| (a.min(b).min(&length), a.max(b).min(&length)))
                .map(|(from, to)| (*from, *to, tokio::spawn(read_all(Arc::clone(&fill), *from, *to))))
                .collect();
            let mut rest = &whole[..];
            for size in &sizes {
                let (now, later) = rest.split_at(*size);
                fill.push(Bytes::copy_from_slice(now)).expect("fits");
                rest = later;
                tokio::task::yield_now().await;
            }
            let completed = fill.complete();
            fill.end();
            prop_assert_eq!(completed.is_ok(), missing.is_none());
            for (from, to, reader) in readers {
                let seen = reader.await.expect("no panic");
                let place = |at: u64| usize::try_from(at.min(arrives)).expect("a small body");
                let there = &whole[place(from)..place(to)];
                if to <= arrives || from == to {
                    prop_assert!(seen == Ok(there.to_vec()), "{}..{} of {}", from, to, length);
                } else {
                    prop_assert!(seen == Err(there.to_vec()), "{}..{} of {}", from, to, length);
                }
            }
            if let Ok(body) = completed {
                prop_assert!(body.pieces().concat() == whole);
            }
            Ok(())
        })?;
    }
}
