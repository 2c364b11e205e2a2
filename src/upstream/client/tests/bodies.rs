//! Bodies: whole, cut, too long, stalled, abandoned; and whether their connections are reused.

use super::*;

#[tokio::test]
async fn one_connection_serves_one_fetch_after_another() {
    let chunked = "200 OK\nTransfer-Encoding: chunked";
    let close = "200 OK\nConnection: close\nContent-Length: 4";
    for (steps, text, connections) in [
        (vec![whole(200, "tile")], "tile", 1),
        (vec![whole(200, "")], "", 1),
        (vec![answer(chunked, "2\r\nti\r\n2\r\nle\r\n0\r\n\r\n")], "tile", 1),
        (vec![answer(chunked, "0\r\n\r\n")], "", 1),
        (vec![answer(chunked, "4\r\ntile\r\n0\r\nX-Sum: 1\r\n\r\n")], "tile", 1),
        (vec![answer(chunked, "4\r\nti"), send("le\r"), send("\n0\r\n"), send("\r\n")], "tile", 1),
        (vec![answer(close, "tile")], "tile", 3),
    ] {
        let script = Script::always(steps).await;
        let (fetcher, store) = (StoreClient::new(&config()), store_at(&[script.address]));
        for _ in 0..3 {
            let fetched = ask(&fetcher, &store, &FetchRequest::default()).await;
            assert_eq!(fetched.report.attempts, 1);
            assert_eq!(read(fetched.outcome).await.unwrap(), text);
        }
        assert_eq!(script.seen().connections, connections, "{text:?}");
    }
}

#[tokio::test]
async fn a_reader_that_knows_the_length_keeps_the_connection() {
    let script = Script::always(vec![whole(200, "tile")]).await;
    let (fetcher, store) = (StoreClient::new(&config()), store_at(&[script.address]));
    for _ in 0..3 {
        let outcome = ask(&fetcher, &store, &FetchRequest::default()).await.outcome;
        let Ok(FetchResponse::Object { mut body, .. }) = outcome else { panic!("{outcome:?}") };
        let mut arrived = 0;
        while arrived < 4 {
            arrived += body.next().await.unwrap().unwrap().len();
        }
    }
    assert_eq!(script.seen().connections, 1);
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let script = Script::always(vec![answer("200 OK\nContent-Length: 4096", "")]).await;
    let (fetcher, store) = (StoreClient::new(&config()), store_at(&[script.address]));
    let question = FetchRequest { head_only: true, ..FetchRequest::default() };
    for _ in 0..2 {
        let outcome = ask(&fetcher, &store, &question).await.outcome;
        let Ok(FetchResponse::Object { headers, mut body, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(headers.get("content-length").unwrap(), "4096");
        assert_eq!(body.next().await, Ok(None));
    }
    assert_eq!(script.seen().connections, 1);
}

#[tokio::test]
async fn a_cut_body_is_an_error_for_good() {
    let chunked = "200 OK\nTransfer-Encoding: chunked";
    for (lines, body) in [
        ("200 OK\nContent-Length: 9", "tile"),
        ("200 OK\nContent-Length: 9", ""),
        (chunked, ""),
        (chunked, "4\r\nti"),
        (chunked, "4\r\ntile\r\n"),
        (chunked, "4\r\ntile\r\n0\r\n"),
    ] {
        let script = Script::always(vec![answer(lines, body), Step::Close]).await;
        let outcome = plainly(&script).await.outcome;
        let Ok(FetchResponse::Object { mut body, .. }) = outcome else { panic!("{outcome:?}") };
        let refusal = loop {
            match body.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("taken for whole: {lines}"),
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(refusal, Refusal::UpstreamReset, "{lines}");
        assert_eq!(body.next().await, Err(refusal), "an end never follows an error");
    }
}

#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    let steps = vec![answer("200 OK\nTransfer-Encoding: chunked", "xyz\r\n"), Step::Stall];
    let outcome = plainly(&Script::always(steps).await).await.outcome;
    assert_eq!(read(outcome).await, Err(Refusal::UpstreamProtocol));
}

#[tokio::test]
async fn a_body_whose_end_nothing_tells_is_refused() {
    for lines in ["200 OK", "200 OK\nTransfer-Encoding: gzip, chunked"] {
        let script = Script::always(vec![answer(lines, "tile"), Step::Stall]).await;
        let fetched = plainly(&script).await;
        assert_eq!(fetched.outcome.unwrap_err(), Refusal::UpstreamProtocol, "{lines}");
        script.await_hung_up(1).await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_an_error_in_time() {
    let head = "200 OK\nContent-Length: 9";
    let script = Script::always(vec![answer(head, "tile"), Step::Stall]).await;
    let config = UpstreamConfig { read_timeout: SHORT, ..config() };
    let fetched = once(&script, &config, &FetchRequest::default()).await;
    let began = Instant::now();
    assert_eq!(read(fetched.outcome).await, Err(Refusal::UpstreamTimeout));
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    script.await_hung_up(1).await;
}

#[tokio::test]
async fn what_follows_a_body_is_neither_read_nor_taken_for_the_next_answer() {
    let script = Script::always(vec![send(
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntileHTTP/1.1 200 OK\r\nContent-Length: \
         4\r\n\r\nevil",
    )])
    .await;
    let (fetcher, store) = (StoreClient::new(&config()), store_at(&[script.address]));
    for _ in 0..2 {
        let outcome = ask(&fetcher, &store, &FetchRequest::default()).await.outcome;
        assert_eq!(read(outcome).await.unwrap(), "tile");
    }
    script.await_hung_up(2).await;
}

#[tokio::test]
async fn a_body_left_early_closes_its_connection() {
    let head = "200 OK\nContent-Length: 9";
    let script = Script::always(vec![answer(head, "tile"), Step::Stall]).await;
    let outcome = plainly(&script).await.outcome;
    let Ok(FetchResponse::Object { mut body, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(body.next().await.unwrap().unwrap(), "tile");
    assert_eq!(script.seen().hung_up, 0);
    drop(body);
    script.await_hung_up(1).await;
}

#[tokio::test]
async fn a_piece_nobody_waited_for_is_not_lost() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let opened = Arc::clone(&gate);
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nti").await.unwrap();
        opened.notified().await;
        stream.write_all(b"le").await.unwrap();
    });
    let fetched =
        ask(&StoreClient::new(&config()), &store_at(&[address]), &FetchRequest::default()).await;
    let Ok(FetchResponse::Object { mut body, .. }) = fetched.outcome else { panic!("an object") };
    assert_eq!(body.next().await.unwrap().unwrap(), "ti");
    tokio::time::timeout(SHORT, body.next()).await.unwrap_err();
    gate.notify_one();
    assert_eq!(body.next().await.unwrap().unwrap(), "le");
    assert_eq!(body.next().await, Ok(None));
}

#[tokio::test]
async fn a_part_must_be_the_one_asked_for() {
    let part = |range: &str, framing: &str| {
        format!("206 Partial Content\nContent-Range: bytes {range}\n{framing}")
    };
    let length = "Content-Length: 4";
    let chunked = "Transfer-Encoding: chunked";
    let tile = "4\r\ntile\r\n0\r\n\r\n";
    let asked = Some(ByteRange::FromTo { first: 4, last: Some(7) });
    let protocol = || Err(Refusal::UpstreamProtocol);
    for (range, lines, body, expected) in [
        (asked, part("4-7/12", length), "tile", Ok("tile".to_owned())),
        (asked, part("4-7/*", chunked), tile, Ok("tile".to_owned())),
        (Some(ByteRange::Suffix(4)), part("8-11/12", length), "tile", Ok("tile".to_owned())),
        (asked, "200 OK\nContent-Length: 4".to_owned(), "tile", Ok("tile".to_owned())),
        (asked, part("4-8/12", chunked), tile, protocol()),
        (asked, part("3-6/12", length), "tile", protocol()),
        (asked, part("4-7/12", "Content-Length: 5"), "tile?", protocol()),
        (asked, format!("206 Partial Content\n{length}"), "tile", protocol()),
        (None, part("4-7/12", length), "tile", protocol()),
        // In chunks the length is not told before.
        (asked, part("4-7/12", chunked), "3\r\ntil\r\n0\r\n\r\n", Err(Refusal::UpstreamReset)),
        (asked, part("4-7/12", chunked), "5\r\ntiles\r\n0\r\n\r\n", Err(Refusal::UpstreamReset)),
    ] {
        let script = Script::always(vec![answer(&lines, body)]).await;
        let question = FetchRequest { range, ..FetchRequest::default() };
        let fetched = once(&script, &config(), &question).await;
        assert_eq!(read(fetched.outcome).await, expected, "{lines}");
    }
}

#[tokio::test]
async fn a_range_without_a_byte_is_refused_with_the_length_where_it_is_told() {
    let question = FetchRequest {
        range: Some(ByteRange::FromTo { first: 99, last: None }),
        ..FetchRequest::default()
    };
    for (lines, length) in [
        ("416 Range\nContent-Range: bytes */12\nContent-Length: 0", Some(12)),
        ("416 Range\nContent-Length: 0", None),
    ] {
        let script = Script::always(vec![answer(lines, "")]).await;
        let outcome = once(&script, &config(), &question).await.outcome;
        assert_eq!(outcome.unwrap_err(), Refusal::RangeNotSatisfiable(length), "{lines}");
    }
}

#[tokio::test]
async fn large_bodies_come_in_pieces() {
    let large = "x".repeat(1_000_000);
    let script = Script::always(vec![whole(200, &large)]).await;
    let outcome = plainly(&script).await.outcome;
    let Ok(FetchResponse::Object { mut body, .. }) = outcome else { panic!("{outcome:?}") };
    let mut arrived = 0;
    while let Some(piece) = body.next().await.unwrap() {
        assert!(piece.len() <= 64 * 1024, "{}", piece.len());
        arrived += piece.len();
    }
    assert_eq!(arrived, large.len());
}
