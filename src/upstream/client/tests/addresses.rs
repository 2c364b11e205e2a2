//! Fetches from a name with several addresses, of which some do not work.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::upstream::dial::HEAD_START;

/// The state of each address, in the order of the store's.
fn states(store: &Store) -> Vec<&'static str> {
    store.endpoints.at(0).addresses.report().iter().map(|report| report.state.as_str()).collect()
}

/// Fetches the tile; how long that took, and the attempts.
async fn fetched(fetcher: &StoreClient, store: &Store) -> (Duration, u8) {
    let began = Instant::now();
    let fetched = ask(fetcher, store, &FetchRequest::default()).await;
    assert_eq!(read(fetched.outcome).await.unwrap(), "tile");
    (began.elapsed(), fetched.report.attempts)
}

/// An address that answers no SYN while the sockets are held: the queue of its socket is full.
async fn silent_address() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        queue.push(stream);
    }
    (address, (listener, queue))
}

#[tokio::test]
async fn a_late_first_byte_moves_on_to_another_address() {
    let hung = Script::always(vec![Step::Stall]).await;
    let well = Script::always(vec![whole(200, "tile")]).await;
    let fetcher = StoreClient::new(&UpstreamConfig { first_byte_timeout: SHORT * 3, ..config() });
    let store = store_at(&[hung.address, well.address]);
    let attempts: Vec<u8> = [
        fetched(&fetcher, &store).await.1,
        fetched(&fetcher, &store).await.1,
        fetched(&fetcher, &store).await.1,
    ]
    .into();
    assert_eq!(attempts, [2, 1, 1], "after the first it is passed over");
    assert_eq!(states(&store), ["passed_over", "healthy"]);
    assert_eq!(hung.seen().requests.len(), 1);
}

#[tokio::test]
async fn without_a_retry_a_late_first_byte_ends_the_request() {
    let hung = Script::always(vec![Step::Stall]).await;
    let well = Script::always(vec![whole(200, "tile")]).await;
    let config = UpstreamConfig { first_byte_timeout: SHORT, retries: 0, ..config() };
    let store = store_at(&[hung.address, well.address]);
    let asked = ask(&StoreClient::new(&config), &store, &FetchRequest::default()).await;
    assert_eq!(asked.outcome.unwrap_err(), Refusal::UpstreamTimeout);
}

#[tokio::test]
async fn an_address_that_loses_packets_costs_the_head_start_once() {
    let (silent, _held) = silent_address().await;
    let well = Script::always(vec![whole(200, "tile")]).await;
    let store = store_at(&[silent, well.address]);
    let fetcher = StoreClient::new(&config());
    let (took, attempts) = fetched(&fetcher, &store).await;
    assert!(took >= HEAD_START, "{took:?}: the silent address had its turn");
    assert_eq!((attempts, states(&store)), (1, vec!["passed_over", "healthy"]));
    for _ in 0..4 {
        let fresh = StoreClient::new(&config());
        assert_eq!(fetched(&fresh, &store).await.1, 1);
    }
    assert_eq!(well.seen().connections, 5);
}

#[tokio::test]
async fn every_address_is_tried_before_a_request_fails_and_none_counts_as_the_retry() {
    let well = Script::run(|nth| match nth {
        0 => vec![whole(500, "")],
        _ => vec![whole(200, "tile")],
    })
    .await;
    let port = well.address.port();
    let refusing = |last: u8| SocketAddr::from(([127, 0, 0, last], port));
    let store = store_at(&[refusing(2), refusing(3), refusing(4), well.address]);
    let (_, attempts) = fetched(&StoreClient::new(&config()), &store).await;
    assert_eq!(attempts, 2, "the retry is for the error of the store");
}

#[tokio::test]
async fn resets_of_new_connections_pass_over_an_address_after_three() {
    let broken = Script::always(vec![Step::Close]).await;
    let well = Script::always(vec![whole(200, "tile")]).await;
    let store = store_at(&[broken.address, well.address]);
    let mut attempts = Vec::new();
    for _ in 0..8 {
        attempts.push(fetched(&StoreClient::new(&config()), &store).await.1);
    }
    assert_eq!(broken.seen().requests.len(), 3, "{attempts:?}");
    assert_eq!(states(&store), ["passed_over", "healthy"]);
}

#[tokio::test]
async fn a_dead_connection_makes_the_older_ones_to_its_address_suspect() {
    // Each connection answers once; four are opened together.
    let gate = Arc::new(tokio::sync::Barrier::new(4));
    let script = Script::run(|_| vec![whole(200, "tile")]).await;
    let store = Arc::new(store_at(&[script.address]));
    let fetcher = Arc::new(StoreClient::new(&config()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (gate, store, fetcher) = (Arc::clone(&gate), Arc::clone(&store), Arc::clone(&fetcher));
        tasks.spawn(async move {
            let asked = ask(&fetcher, &store, &FetchRequest::default()).await;
            gate.wait().await;
            assert_eq!(read(asked.outcome).await.unwrap(), "tile");
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let before = script.seen().connections;
    let chosen = store.endpoints.at(0).addresses.pick(&[], PATIENCE).await.unwrap();
    let died = crate::upstream::retry::AttemptFailure::Reset { reused: true };
    store.endpoints.at(0).addresses.attempt_failed(chosen, &died, true, Instant::now());
    fetched(&fetcher, &store).await;
    assert_eq!(script.seen().connections, before + 1, "no idle connection was used");
    fetched(&fetcher, &store).await;
    assert_eq!(script.seen().connections, before + 1, "the new one is");
}
