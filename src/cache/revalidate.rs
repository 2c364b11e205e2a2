//! Revalidation: asks the store whether a stored object is still right, with the fewest requests that
//! also notice changed metadata. Copying an object onto itself with other metadata leaves its `ETag`,
//! so a 304 confirms the metadata only if it carries `Last-Modified`; HEAD shows all of it.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{ETAG, LAST_MODIFIED};

use crate::cache::confirmation::{
    Confirmation, ConfirmedHeaders, has_validator, is_same_body, of_not_modified,
};
use crate::cache::object::ObjectBody;
use crate::cache::request::CacheRequest;
use crate::protocol::entity_tag::EntityTag;
use crate::response::refusal::Refusal;
use crate::trace::span::SpanParent;
use crate::upstream::client::{FetchReport, FetchRequest, FetchResponse, FetchResult, StoreClient};
use crate::upstream::revalidation::RevalidateBy;

/// The store's answer about a stored object.
#[derive(Debug)]
pub(super) enum Revalidated {
    /// Its body is still right.
    Confirmed { headers: ConfirmedHeaders, report: FetchReport },
    /// Another answer, to this request.
    Answered(FetchRequest, Box<FetchResult>),
}

/// Asks the store about the object of this request, of which `source` is stored.
pub(super) async fn revalidate(
    client: &Arc<StoreClient>,
    request: &CacheRequest,
    source: &ObjectBody,
    trace: Option<&SpanParent>,
) -> Revalidated {
    let store = &request.store;
    let learned = &store.revalidation;
    let stored_head = source.head();
    let (stored, in_blocks) = (&stored_head.headers, matches!(source, ObjectBody::Blocks(_)));
    let ask = |question: FetchRequest| async move {
        let question = FetchRequest { trace: trace.cloned(), ..question };
        let fetched = client.fetch_resumable(store, request.target(), &question).await;
        (question, fetched)
    };
    let head = || FetchRequest { head_only: true, ..FetchRequest::default() };
    // A whole body is of no use for an object in blocks.
    let anew = || FetchRequest { head_only: in_blocks, ..FetchRequest::default() };
    let is_same = |headers: &HeaderMap| is_same_body(stored, source.length(), headers);

    let mut refused_head = false;
    if learned.method() == RevalidateBy::Head && has_validator(stored) {
        let (question, FetchResult { report, outcome }) = ask(head()).await;
        match outcome {
            Ok(FetchResponse::Object { headers, .. }) if is_same(&headers) => {
                return Revalidated::Confirmed { headers: ConfirmedHeaders::All(headers), report };
            }
            Ok(FetchResponse::Object { .. }) if !in_blocks => {
                let (question, fetched) = ask(anew()).await;
                return Revalidated::Answered(question, Box::new(fetched));
            }
            // Perhaps HEAD alone is not allowed.
            Err(Refusal::UpstreamForbidden) if !in_blocks => refused_head = true,
            outcome => {
                return Revalidated::Answered(question, Box::new(FetchResult { report, outcome }));
            }
        }
    }
    let (question, fetched) = ask(FetchRequest { head_only: in_blocks, ..condition(stored) }).await;
    let FetchResult { report, outcome: Ok(FetchResponse::NotModified(headers)) } = fetched else {
        return Revalidated::Answered(question, Box::new(fetched));
    };
    if refused_head {
        learned.learn(RevalidateBy::Condition);
    }
    let confirmation = of_not_modified(stored, &headers);
    match confirmation {
        Confirmation::Contradicted => {
            let (question, fetched) = ask(anew()).await;
            return Revalidated::Answered(question, Box::new(fetched));
        }
        Confirmation::BodyOnly | Confirmation::Nameless
            if learned.method() != RevalidateBy::Condition => {}
        _ => {
            return Revalidated::Confirmed { headers: ConfirmedHeaders::Some(headers), report };
        }
    }
    let (question, shown) = ask(head()).await;
    match shown.outcome {
        Ok(FetchResponse::Object { headers, .. }) if is_same(&headers) => {
            if shown.report.head_by_get {
                learned.learn(RevalidateBy::Condition);
            } else if confirmation == Confirmation::Nameless {
                learned.learn(RevalidateBy::Head);
            }
            let (headers, report) = (ConfirmedHeaders::All(headers), shown.report);
            Revalidated::Confirmed { headers, report }
        }
        Ok(FetchResponse::Object { .. }) if !in_blocks => {
            let (question, fetched) = ask(anew()).await;
            Revalidated::Answered(question, Box::new(fetched))
        }
        outcome @ (Ok(FetchResponse::Object { .. }) | Err(Refusal::ObjectNotFound)) => {
            let report = shown.report;
            Revalidated::Answered(question, Box::new(FetchResult { report, outcome }))
        }
        // The store has confirmed the body a moment ago.
        Ok(FetchResponse::NotModified(_)) | Err(_) => {
            if shown.report.status.is_some_and(|status| status < 500 && status != 429) {
                learned.learn(RevalidateBy::Condition);
            }
            Revalidated::Confirmed { headers: ConfirmedHeaders::Some(headers), report }
        }
    }
}

/// The condition that a stored object has not changed: by its entity tag, else by its date.
fn condition(head: &HeaderMap) -> FetchRequest {
    let tag = head.get(ETAG).and_then(|tag| EntityTag::parse_lenient(tag.as_bytes()));
    let if_none_match = tag.and_then(|tag| tag.strong_header());
    let if_modified_since = match if_none_match {
        None => head.get(LAST_MODIFIED).cloned(),
        Some(_) => None,
    };
    FetchRequest { if_none_match, if_modified_since, ..FetchRequest::default() }
}
