//! The questions of a fetch to the engine have a span.

use crate::collector::{Collector, attribute};
use crate::faulty::Faulty;
use crate::shared::engine::Engine;
use crate::shared::{Replica, sharing};
use crate::traces::{PARENT, TRACE, id, one, parent, traced, traceparent};

#[test]
fn an_object_of_another_replica_is_found_within_the_trace() {
    let Some(engine) = Engine::start() else { return };
    let (collector, store) = (Collector::start(), Faulty::spy());
    let first = Replica::start(&store.url(), &engine);
    assert_eq!(first.get("sky/a.png").0, 200);
    first.await_written(1);
    let second = Replica::of(traced(sharing(&store.url(), &engine), &collector.url()));
    second.await_state("on");
    for (nth, key) in ["a.png", "b.png"].into_iter().enumerate() {
        let trace = TRACE.replace("4b", &format!("{nth}b"));
        let value = traceparent(&trace, PARENT, "01");
        let answer = second.gateway.object_with(&format!("sky/{key}"), &[("Traceparent", &value)]);
        assert_eq!(answer.status(), 200);
    }
    // Request, lookup, fetch and question; and once an attempt besides.
    let spans = collector.await_spans(9);
    for (nth, (said, found)) in [("found", "shared"), ("leased", "store")].into_iter().enumerate() {
        let trace = TRACE.replace("4b", &format!("{nth}b"));
        let (fetch, asked) = (one(&spans, &trace, "fetch"), one(&spans, &trace, "shared tier"));
        assert_eq!(parent(asked), id(fetch));
        assert_eq!(attribute(&asked.attributes, "s3proxy.shared").as_deref(), Some(said));
        assert_eq!(attribute(&fetch.attributes, "s3proxy.found").as_deref(), Some(found));
    }
    assert_eq!(store.count(), 2, "{:?}", store.requests());
}
