//! The table: each fault of a store with its verdict, and where a road has another, the reason.

use std::sync::Arc;
use std::time::Duration;

use crate::fault_table::bodies::bodies;
use crate::faulty::{self, Recorded, Step, head};

/// What the client gets, the cause in the log, and how many requests reach the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: u16,
    /// Empty where nothing failed.
    pub(super) cause: &'static str,
    pub(super) requests: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Road {
    Uncached,
    Cached,
    /// A fetch of the cache, which has a stale object.
    Stale,
    Check,
}

type Script = dyn Fn(&Recorded, usize) -> Vec<Step> + Send + Sync;

/// Where the store is, and what it does with the request of this number.
pub(super) enum Store {
    Script(Arc<Script>),
    Refuses,
    Unresolved,
}

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) store: Store,
    pub(super) verdict: Verdict,
    /// Whether the fault is met on a connection that has served another request.
    pub(super) reused: bool,
    /// How many of the requests are for the rest of a body.
    pub(super) rest: usize,
    /// Where the verdict is another, and the reason.
    pub(super) but: Vec<(Road, Verdict, &'static str)>,
}

impl Row {
    pub(super) fn on(&self, road: Road) -> Verdict {
        let other = self.but.iter().find(|(of, ..)| *of == road);
        other.map_or_else(|| self.usual(road), |(_, verdict, _)| *verdict)
    }

    /// The verdict on a road for which the row has no other.
    pub(super) fn usual(&self, road: Road) -> Verdict {
        match road {
            Road::Stale => self.on(Road::Cached).with_a_stale_object(),
            Road::Uncached | Road::Cached | Road::Check => self.verdict,
        }
    }

    pub(super) fn but(
        mut self,
        road: Road,
        status: u16,
        cause: &'static str,
        requests: usize,
        why: &'static str,
    ) -> Self {
        self.but.push((road, Verdict { status, cause, requests }, why));
        self
    }

    fn reused(mut self) -> Self {
        self.reused = true;
        self
    }

    /// This number of its requests is for the rest of a body.
    pub(super) fn rest(mut self, requests: usize) -> Self {
        self.rest = requests;
        self
    }
}

impl Verdict {
    /// A failure of the store has the stale object served in its place.
    fn with_a_stale_object(self) -> Self {
        let is_final = ["", "object_not_found", "upstream_cut"].contains(&self.cause);
        Self { status: if is_final { self.status } else { 200 }, ..self }
    }
}

pub(super) fn row(
    name: &'static str,
    store: Store,
    status: u16,
    cause: &'static str,
    requests: usize,
) -> Row {
    let verdict = Verdict { status, cause, requests };
    Row { name, store, verdict, reused: false, rest: 0, but: Vec::new() }
}

/// The same steps for every request.
fn always(steps: Vec<Step>) -> Store {
    Store::Script(Arc::new(move |_, _| steps.clone()))
}

/// These steps for the first request; after it the store is well.
fn once(steps: Vec<Step>) -> Store {
    Store::Script(Arc::new(move |_, nth| match nth {
        0 => steps.clone(),
        _ => faulty::object(b"tile"),
    }))
}

fn bytes(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Vec<Step> {
    faulty::answer(status, headers, b"")
}

/// The head of an error with a document of 1000 bytes, and the beginning of it.
fn unfinished(status: u16) -> Vec<Step> {
    let headers = [("Content-Length", "1000"), ("x-amz-request-id", "tx1")];
    vec![head(status, &headers), bytes("<Error><Code>NoSuchKey</Code>")]
}

const ASKS_A_BYTE: &str = "check asks for the first byte, which fits this answer";
const IS_ABOUT_THE_OBJECT: &str = "the store answers, and forbids the object";
const ASKS_THE_BUCKET: &str = "the bucket is asked whether it may be listed";
const CONFIRMS_THE_STALE: &str =
    "a stale object is confirmed by it, and HEAD asks for the metadata";
const READS_CODE_AGAIN: &str =
    "the head is handed on before the document, which is asked for again";
pub(super) const READS_NO_BODY: &str = "check reads nothing of an object";
const NEVER_REUSES: &str = "check never uses a connection twice";

fn connections() -> Vec<Row> {
    let half = || bytes("HTTP/1.1 200 OK\r\nContent-Le");
    vec![
        row("the name does not resolve", Store::Unresolved, 502, "upstream_unresolved", 0),
        row("connections are refused", Store::Refuses, 502, "upstream_unreachable", 0),
        row("closed before the answer", always(vec![Step::Close]), 502, "upstream_reset", 2),
        row("closed before the answer, once", once(vec![Step::Close]), 200, "", 2),
        row("reset before the answer", always(vec![Step::Reset]), 502, "upstream_reset", 2),
        row("reset before the answer, once", once(vec![Step::Reset]), 200, "", 2),
        row("closed in the head", always(vec![half(), Step::Close]), 502, "upstream_reset", 2),
        row("closed in the head, once", once(vec![half(), Step::Close]), 200, "", 2),
        row("reused, closed once", once(vec![Step::Close]), 200, "", 2).reused(),
        row(
            "reused, and every connection is reset",
            always(vec![Step::Reset]),
            502,
            "upstream_reset",
            3,
        )
        .reused()
        .but(Road::Check, 502, "upstream_reset", 2, NEVER_REUSES),
        row("no byte in time", always(vec![Step::Stall]), 504, "upstream_timeout", 1),
        row("half a head in time", always(vec![half(), Step::Stall]), 504, "upstream_timeout", 1),
    ]
}

fn statuses() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, status, code, client, cause, requests) in [
        ("400 InvalidRequest", 400, "InvalidRequest", 502, "upstream_error", 1),
        ("400 malformed", 400, "AuthorizationHeaderMalformed", 502, "upstream_error", 1),
        ("400 ExpiredToken", 400, "ExpiredToken", 502, "upstream_error", 1),
        ("401", 401, "Unauthorized", 403, "upstream_forbidden", 1),
        ("403 signature", 403, "SignatureDoesNotMatch", 403, "upstream_forbidden", 1),
        ("403 access key", 403, "InvalidAccessKeyId", 403, "upstream_forbidden", 1),
        ("403 clock", 403, "RequestTimeTooSkewed", 403, "upstream_forbidden", 1),
        ("404 key", 404, "NoSuchKey", 404, "object_not_found", 1),
        ("404 bucket", 404, "NoSuchBucket", 404, "object_not_found", 1),
        ("405", 405, "MethodNotAllowed", 502, "upstream_error", 1),
        ("409", 409, "OperationAborted", 502, "upstream_error", 1),
        ("412 unasked", 412, "PreconditionFailed", 502, "upstream_protocol", 1),
        ("429", 429, "TooManyRequests", 503, "upstream_busy", 1),
        ("500", 500, "InternalError", 502, "upstream_error", 2),
        ("501", 501, "NotImplemented", 502, "upstream_error", 1),
        ("502", 502, "BadGateway", 502, "upstream_error", 2),
        ("503", 503, "SlowDown", 503, "upstream_busy", 2),
        ("504", 504, "GatewayTimeout", 502, "upstream_error", 2),
    ] {
        rows.push(row(name, always(faulty::s3_error(status, code)), client, cause, requests));
    }
    for status in [500, 502, 503, 504] {
        let steps = faulty::s3_error(status, "InternalError");
        rows.push(row("a failure, once", once(steps), 200, "", 2));
    }
    for status in [301, 302, 303, 307, 308] {
        let steps = answer(status, &[("Location", "http://127.0.0.1:9/sky/a.png")]);
        rows.push(row("a redirect", always(steps), 502, "upstream_redirect", 1));
    }
    let denied = always(faulty::s3_error(403, "AccessDenied"));
    let plain = [("Content-Type", "text/plain; charset=utf-8")];
    let no_store = always(faulty::answer(404, &plain, b"default backend - 404"));
    let later = always(answer(503, &[("Retry-After", "7")]));
    let part = [("Content-Range", "bytes 0-0/4")];
    rows.extend([
        row("403 AccessDenied", denied, 403, "upstream_forbidden", 1)
            .but(Road::Check, 403, "upstream_forbidden", 2, ASKS_THE_BUCKET)
            .but(Road::Stale, 403, "upstream_forbidden", 1, IS_ABOUT_THE_OBJECT),
        row("403 without a body", always(answer(403, &[])), 403, "upstream_forbidden", 1),
        row(
            "404 without a length",
            always(vec![head(404, &[("x-amz-request-id", "tx1")]), Step::Close]),
            404,
            "object_not_found",
            1,
        ),
        row("404 that the store did not write", no_store, 502, "upstream_error", 1).but(
            Road::Uncached,
            502,
            "upstream_error",
            2,
            READS_CODE_AGAIN,
        ),
        row("503 with Retry-After", later, 503, "upstream_busy", 1),
        row("204", always(vec![head(204, &[])]), 502, "upstream_error", 1),
        row("304 unasked", always(vec![head(304, &[])]), 502, "upstream_protocol", 1).but(
            Road::Stale,
            200,
            "",
            2,
            CONFIRMS_THE_STALE,
        ),
        row("206 unasked", always(faulty::answer(206, &part, b"t")), 502, "upstream_protocol", 1)
            .but(Road::Check, 200, "", 1, ASKS_A_BYTE),
        row(
            "416 unasked",
            always(faulty::s3_error(416, "InvalidRange")),
            502,
            "upstream_protocol",
            1,
        )
        .but(Road::Check, 200, "", 1, ASKS_A_BYTE),
    ]);
    rows
}

fn heads_and_documents() -> Vec<Row> {
    let interim = |text: &str| [vec![bytes(text)], faulty::object(b"tile")].concat();
    let long = format!("X-Padding: {}\r\n", "x".repeat(1000)).repeat(400);
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n{long}\r\ntile");
    // The pause has the beginning of the answer leave before the end of the connection is seen.
    let pause = Step::Pause(Duration::from_millis(200));
    let short = vec![head(200, &[("Content-Length", "9")]), bytes("tile"), pause, Step::Close];
    let over = vec![head(200, &[("Content-Length", "4")]), bytes("tiles and more"), Step::Close];
    let coded = vec![head(200, &[("Transfer-Encoding", "gzip")]), bytes("x"), Step::Close];
    let trickle = [
        unfinished(404),
        (0..100).flat_map(|_| [Step::Pause(Duration::from_millis(100)), bytes("x")]).collect(),
    ]
    .concat();
    let then = |mut steps: Vec<Step>, last| {
        steps.push(last);
        steps
    };
    let marked = [("Content-Length", "1000"), ("x-amz-id-2", "x")];
    let silent = vec![head(404, &marked), Step::Stall];
    vec![
        row(
            "no HTTP",
            always(vec![bytes("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Step::Close]),
            502,
            "upstream_protocol",
            1,
        ),
        row(
            "no status",
            always(vec![bytes("HTTP/1.1 abc OK\r\n\r\n"), Step::Close]),
            502,
            "upstream_protocol",
            1,
        ),
        row(
            "a head that is too long",
            always(vec![bytes(&long), Step::Stall]),
            502,
            "upstream_protocol",
            1,
        ),
        row("100 before the answer", always(interim("HTTP/1.1 100 Continue\r\n\r\n")), 200, "", 1),
        row(
            "103 before the answer",
            always(interim("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")),
            200,
            "",
            1,
        ),
        row(
            "101",
            always(vec![head(101, &[("Upgrade", "x"), ("Connection", "upgrade")]), Step::Stall]),
            502,
            "upstream_error",
            1,
        ),
        row(
            "no length",
            always(vec![head(200, &[]), bytes("tile"), Step::Close]),
            502,
            "upstream_protocol",
            1,
        ),
        row("a coding besides chunked", always(coded), 502, "upstream_protocol", 1),
        row("a body shorter than its length", always(short), 200, "upstream_cut", 1).but(
            Road::Check,
            200,
            "",
            1,
            READS_NO_BODY,
        ),
        row("a body longer than its length", always(over), 200, "", 1),
        row(
            "an error document that stalls",
            always(then(unfinished(404), Step::Stall)),
            404,
            "object_not_found",
            1,
        ),
        row("an error document that never begins", always(silent), 404, "object_not_found", 1),
        row("an error document that trickles", always(trickle), 404, "object_not_found", 1),
        row(
            "an error document that breaks off",
            always(then(unfinished(404), Step::Close)),
            404,
            "object_not_found",
            1,
        ),
        row(
            "an error document that is reset",
            always(then(unfinished(403), Step::Reset)),
            403,
            "upstream_forbidden",
            1,
        ),
        row(
            "500 with a document that stalls",
            always(then(unfinished(500), Step::Stall)),
            502,
            "upstream_error",
            2,
        ),
    ]
}

/// The table.
pub(super) fn rows() -> Vec<Row> {
    [connections(), statuses(), heads_and_documents(), bodies()].into_iter().flatten().collect()
}
