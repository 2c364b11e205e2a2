//! A page of a listing: fetched as an object is, read whole, and compared with the request. The cache and
//! requests that bypass it use the same.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::response::refusal::Refusal;
use crate::s3::address::AddressError;
use crate::s3::endpoint::Target;
use crate::s3::list;
use crate::trace::span::SpanParent;
use crate::upstream::Store;
use crate::upstream::client::{
    FetchReport, FetchRequest, FetchResponse, FetchResult, StoreBody, StoreClient,
};

/// How long the body of a page may take.
const PAGE_TIME: Duration = Duration::from_secs(30);

impl StoreClient {
    /// Asks the store for the page of a listing at this target, for the folder with this prefix. The
    /// document is at most [`list::MAX_PAGE_BYTES`] long, and [`list::parse`] accepts it.
    ///
    /// # Errors
    /// The refusals of [`StoreClient::fetch`]; `ListingDenied` where the access key may not list the
    /// bucket, `Address` where the token is not the store's, `UpstreamProtocol` where the answer is not
    /// the page.
    pub async fn list(
        &self,
        store: &Store,
        target: &Target,
        prefix: &str,
        trace: Option<SpanParent>,
    ) -> (FetchReport, Result<Bytes, Refusal>) {
        let request = FetchRequest { is_listing: true, trace, ..FetchRequest::default() };
        let FetchResult { report, outcome } = self.fetch(store, target, &request).await;
        let is_denied = matches!(report.status, Some(401 | 403));
        let is_refused = report.status == Some(400);
        let document = match outcome {
            Ok(FetchResponse::Object { body, .. }) => {
                match tokio::time::timeout(PAGE_TIME, read_whole(body)).await {
                    Ok(read) => read,
                    Err(_late) => Err(Refusal::UpstreamTimeout),
                }
            }
            // The request has no condition.
            Ok(FetchResponse::NotModified(_)) => Err(Refusal::UpstreamProtocol),
            // With `missing_on_403` the second one.
            Err(Refusal::UpstreamForbidden | Refusal::ObjectNotFound) if is_denied => {
                Err(Refusal::ListingDenied)
            }
            // S3 answers so to a token that it has not made: the client wrote another one.
            Err(Refusal::UpstreamError)
                if is_refused && target.path.contains("?continuation-token=") =>
            {
                Err(Refusal::Address(AddressError::Token))
            }
            Err(refusal) => Err(refusal),
        };
        let document = document.and_then(|document| match list::parse(&document, prefix) {
            Ok(_) => Ok(document),
            Err(list::InvalidListing) => Err(Refusal::UpstreamProtocol),
        });
        (report, document)
    }
}

async fn read_whole(mut body: StoreBody) -> Result<Bytes, Refusal> {
    let mut document = BytesMut::new();
    while let Some(piece) = body.next().await? {
        if document.len() + piece.len() > list::MAX_PAGE_BYTES {
            return Err(Refusal::UpstreamProtocol);
        }
        document.extend_from_slice(&piece);
    }
    Ok(document.freeze())
}
