//! Bodies that break off: the rest of the same version is requested, within a budget.

use std::sync::Arc;

use crate::fault_table::rows::{READS_NO_BODY, Road, Row, Store, row};
use crate::faulty::{self, Recorded, Step};

/// The object, and what its store would have of another version.
const WHOLE: &[u8] = b"a tile of the sky";
const OTHER: &[u8] = b"another tile, sky";
/// How much of a body comes before it breaks off.
const PIECE: usize = 2;

type Answering = fn(&Recorded) -> Vec<Step>;

/// The object under this entity tag, or the part of it that is asked for.
fn object(request: &Recorded, body: &[u8], etag: &str) -> Vec<Step> {
    let etag = ("ETag", etag);
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return faulty::answer(200, &[etag], body);
    };
    let first: usize = first.parse().expect("a position");
    let last = last.parse().unwrap_or(body.len() - 1);
    let part = format!("bytes {first}-{last}/{}", body.len());
    faulty::answer(206, &[etag, ("Content-Range", &part)], &body[first..=last])
}

/// The same, with [`PIECE`] bytes of its body and this end.
fn broken(request: &Recorded, end: &Step) -> Vec<Step> {
    let mut steps = object(request, WHOLE, "\"a\"");
    if let Some(Step::Send(bytes)) = steps.last_mut() {
        bytes.truncate(PIECE);
    }
    // The pause has the beginning of the body leave before the end of the connection is seen.
    let pause = Step::Pause(std::time::Duration::from_millis(100));
    [steps, vec![pause, end.clone()]].concat()
}

/// The first answer breaks off in this way; what follows it.
fn broken_then(end: Step, then: impl Fn(&Recorded) -> Vec<Step> + Send + Sync + 'static) -> Store {
    Store::Script(Arc::new(move |request, nth| match nth {
        0 => broken(request, &end),
        _ => then(request),
    }))
}

pub(super) fn bodies() -> Vec<Row> {
    let same = |request: &Recorded| object(request, WHOLE, "\"a\"");
    let whole = [
        ("a body that ends half-way, once", Step::Close),
        ("a body that is reset half-way, once", Step::Reset),
        ("a body that stops half-way, once", Step::Stall),
    ]
    .map(|(name, end)| row(name, broken_then(end, same), 200, "", 2).rest(1));
    let cut: [(&str, Answering, usize); 4] = [
        ("its rest is of another version", |_| faulty::s3_error(412, "PreconditionFailed"), 1),
        ("its rest has another tag", |request| object(request, OTHER, "\"b\""), 1),
        ("its rest is the whole", |_| faulty::answer(200, &[("ETag", "\"a\"")], WHOLE), 1),
        ("its rest breaks off, too", |request| broken(request, &Step::Reset), 3),
    ];
    let cut = cut.map(|(name, then, rest)| {
        row(name, broken_then(Step::Close, then), 200, "upstream_cut", 1 + rest).rest(rest)
    });
    let check = |row: Row| row.but(Road::Check, 200, "", 1, READS_NO_BODY);
    whole.into_iter().chain(cut).map(check).collect()
}
