//! Engines behind TLS.

use std::net::SocketAddr;

use crate::authority::Authority;
use crate::faulty::Faulty;
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};
use crate::tls::front;

#[test]
fn an_engine_behind_tls_is_trusted_by_its_authority_alone() {
    let Some(engine) = Engine::start() else { return };
    let spy = Faulty::spy();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let address: SocketAddr = engine.address();
    let start = |trusted: &Authority| {
        let port = front(&authority, "localhost", address);
        let file = trusted.file();
        let setup = sharing(&spy.url(), &engine)
            .env("S3PROXY_CACHE_SHARED_URL", &format!("rediss://localhost:{port}"))
            .env("S3PROXY_CACHE_SHARED_CA_FILE", file.to_str().expect("UTF-8"));
        Replica::of(setup)
    };
    let one = start(&authority);
    one.await_state("on");
    one.get("sky/a.png");
    one.await_written(1);
    let other = start(&stranger);
    other.gateway.expect_log("a warning", |line| {
        line["event"].as_str().is_some_and(|text| text.starts_with("shared cache: not used: "))
    });
    assert_eq!(other.get("sky/a.png").0, 200);
    assert_eq!(spy.count(), 2);
}
