//! Answers with what is in a folder: a page of the store each for a browser, as JSON likewise, and all of
//! it in one answer for programs, which follow no link to a next page. Each page of the store is found in
//! the cache or fetched once, as an object is.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::cache::{CacheRequest, Lookup, LookupResult, ObjectBody};
use crate::downstream::transport::Transport;
use crate::gateway::Gateway;
use crate::gateway::admit::client_of;
use crate::gateway::context::{ClientRequest, Context, ObjectRequest};
use crate::gateway::folder::{OpenedFolder, parameter, path_and_query};
use crate::gateway::html::{HTML, page_headers};
use crate::pages::listing::{FolderPage, Paging};
use crate::profile::ContentTypeFrom;
use crate::protocol::accept::{Preferred, preferred};
use crate::protocol::cache_status::{CacheStatus, ForwardReason};
use crate::response::gateway_response::{GatewayResponse, NOSNIFF};
use crate::response::refusal::Refusal;
use crate::s3::address::AddressError;
use crate::s3::list::{self, ListPage};

/// Pages of the store in one answer: a million keys.
const MAX_PAGES: usize = 1000;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListingForm {
    /// One page of the store, with a link to the next.
    Page,
    Json,
    /// All pages of the store.
    Whole,
}

impl Gateway {
    /// Answers with what is in the folder.
    pub(super) async fn answer_listing(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        folder: OpenedFolder,
    ) -> Result<()> {
        ctx.set_name(&folder.named);
        let (_, query) = path_and_query(session.req_header());
        let token = parameter(query, "continuation-token");
        let form = form(session, query);
        if token.as_ref().is_some_and(|token| !(1..=list::MAX_TOKEN_BYTES).contains(&token.len())) {
            let refusal = Refusal::Address(AddressError::Token);
            return self.write_refusal(session, ctx, refusal).await;
        }
        let wanted = self.page_request(session, &folder, token.as_deref());
        let client = ClientRequest::of(session.req_header());
        let mut object = ObjectRequest::new(wanted, &client, self.attempts());
        let (lookup, page) = self.list_page(session, &ctx.transport, &object.wanted).await;
        object.lookup = Some(lookup);
        let cache_control = cache_control(&object);
        ctx.object = Some(Box::new(object));
        let mut page = match page {
            // S3 has no folders: one without objects does not exist.
            Ok(page) if page.is_empty() && token.is_none() && !folder.prefix().is_empty() => {
                return self.write_refusal(session, ctx, Refusal::ObjectNotFound).await;
            }
            Ok(page) => page,
            Err(refusal) => return self.write_refusal(session, ctx, refusal).await,
        };
        let left_out = self.leave_out(&folder, &mut page);
        let bucket = folder.bucket();
        let prefix = &folder.named.requested.key;
        let shown = FolderPage { site: &self.pages.site, bucket: &bucket, prefix };
        let mut headers = page_headers();
        headers.extend(cache_control.map(|value| (CACHE_CONTROL, value)));
        if form == ListingForm::Whole && page.next.is_some() {
            return self.send_whole(session, ctx, &folder, &shown, page, left_out, headers).await;
        }
        let is_continued = token.is_some();
        let paging = Paging { is_continued, next: page.next.as_deref(), left_out };
        let (content_type, body) = match form {
            ListingForm::Json => ("application/json", shown.json(&page, &paging).to_string()),
            ListingForm::Page | ListingForm::Whole => {
                (HTML, [shown.start(), shown.rows(&page), shown.end(&paging)].concat())
            }
        };
        let response =
            GatewayResponse { status: 200, content_type, body: body.into_bytes(), headers };
        self.respond(session, ctx, &response).await
    }

    fn page_request(
        &self,
        session: &Session,
        folder: &OpenedFolder,
        token: Option<&str>,
    ) -> CacheRequest {
        let (store, address) = (Arc::clone(&folder.store), Arc::clone(folder.named.target()));
        CacheRequest::listing(store, address, token, &session.req_header().headers)
            .traced(folder.trace.clone())
    }

    /// A page of a listing, from the cache or the store.
    pub(super) async fn list_page(
        &self,
        session: &Session,
        transport: &Transport,
        wanted: &Arc<CacheRequest>,
    ) -> (Lookup, Result<ListPage, Refusal>) {
        let prefix = &wanted.address.key;
        let mut lookup = Lookup::bypass(ForwardReason::Miss);
        lookup.status = CacheStatus::Bypass;
        if let Some(cache) = self.cache.filter(|_| wanted.rule.store) {
            lookup = cache.cache().find(wanted).await;
            match &lookup.what {
                LookupResult::Object { source, .. } => {
                    let document = whole(source).await;
                    let page = document.and_then(|document| parse(&document, prefix));
                    return (lookup, page);
                }
                LookupResult::Refused(refusal) => {
                    let refusal = refusal.clone();
                    return (lookup, Err(refusal));
                }
                LookupResult::Bypass => {}
            }
        }
        let store = &wanted.store;
        let client = client_of(session, transport);
        let share = store.shares.acquire(&client, self.upstream.queue_timeout).await;
        if share.is_none() {
            return (lookup, Err(Refusal::UserSaturated));
        }
        let (report, document) =
            self.client.list(store, wanted.target(), prefix, wanted.trace.clone()).await;
        lookup.report = Some(Arc::new(report));
        (lookup, document.and_then(|document| parse(&document, prefix)))
    }

    /// Leaves out the objects that are not served, and gives the others the names that the client uses;
    /// returns the number of those left out.
    fn leave_out(&self, folder: &OpenedFolder, page: &mut ListPage) -> usize {
        let before = page.objects.len();
        if folder.store.profile.content_type == ContentTypeFrom::Key {
            let is_served = |key: &str| self.heads.mime.key_type(key).is_ok();
            let is_marker = |key: &str| key == folder.prefix();
            page.objects.retain(|object| is_marker(&object.key) || is_served(&object.key));
        }
        let left_out = before - page.objects.len();
        folder.rename(page);
        left_out
    }

    /// Sends all pages of the store as one answer, as they come. If one fails, the answer ends before its
    /// last chunk: a program sees that it is not whole.
    #[expect(clippy::too_many_arguments, reason = "the first page, and all that shapes the others")]
    async fn send_whole(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        folder: &OpenedFolder,
        shown: &FolderPage<'_>,
        first: ListPage,
        mut left_out: usize,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<()> {
        let mut head = ResponseHeader::build_no_case(StatusCode::OK, Some(16))?;
        head.insert_header(CONTENT_TYPE, HTML)?;
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
        head.insert_header(X_CONTENT_TYPE_OPTIONS, NOSNIFF)?;
        for (name, value) in headers {
            head.append_header(name, value)?;
        }
        self.add_request_headers(session.req_header(), &mut head, ctx)?;
        ctx.ttfb = Some(ctx.started.elapsed());
        let is_head = session.req_header().method == Method::HEAD;
        let written = session.write_response_header(Box::new(head), is_head).await;
        written.map_err(|error| error.into_down())?;
        if is_head {
            return Ok(());
        }
        let mut html = shown.start() + &shown.rows(&first);
        let mut next = first.next;
        for _ in 0..MAX_PAGES {
            let Some(token) = next.take() else {
                html.push_str(&shown.end(&Paging { left_out, ..Paging::default() }));
                return write(session, html, true).await;
            };
            write(session, std::mem::take(&mut html), false).await?;
            let wanted = Arc::new(self.page_request(session, folder, Some(&token)));
            let (_, page) = self.list_page(session, &ctx.transport, &wanted).await;
            match page {
                Ok(mut page) if page.next.as_ref() != Some(&token) => {
                    left_out += self.leave_out(folder, &mut page);
                    html = shown.rows(&page);
                    next = page.next;
                }
                Ok(_) => return Err(cut(ctx, &Refusal::UpstreamProtocol)),
                Err(refusal) => return Err(cut(ctx, &refusal)),
            }
        }
        ctx.detail = Some(format!("the folder has more than {MAX_PAGES} pages"));
        Err(cut(ctx, &Refusal::UpstreamProtocol))
    }
}

/// Ends an answer that has begun.
fn cut(ctx: &mut Context, refusal: &Refusal) -> Box<Error> {
    ctx.failure = Some("upstream_cut");
    ctx.detail.get_or_insert_with(|| format!("a further page: {}", refusal.cause()));
    Error::explain(ErrorType::ReadError, "a further page of the listing failed").into_up()
}

async fn write(session: &mut Session, html: String, is_end: bool) -> Result<()> {
    let written = session.write_response_body(Some(Bytes::from(html)), is_end).await;
    written.map_err(|error| error.into_down())
}

fn form(session: &Session, query: &[u8]) -> ListingForm {
    let client = session.req_header();
    if parameter(query, "format").as_deref() == Some("json") {
        return ListingForm::Json;
    }
    match preferred(&client.headers) {
        Preferred::Json => ListingForm::Json,
        Preferred::Html => ListingForm::Page,
        // An old client could not see that a further page failed.
        Preferred::Either if client.version < Version::HTTP_11 => ListingForm::Page,
        Preferred::Either => ListingForm::Whole,
    }
}

/// `Cache-Control` of a page: that of the profile, or the time for which the cache holds it.
fn cache_control(object: &ObjectRequest) -> Option<HeaderValue> {
    if let Some(value) = &object.wanted.store.profile.cache_control {
        return Some(value.clone());
    }
    let LookupResult::Object { freshness, .. } = &object.lookup()?.what else { return None };
    #[expect(clippy::disallowed_methods, reason = "the rest of its lifetime")]
    let ttl = freshness.ttl(SystemTime::now()).max(0);
    HeaderValue::try_from(format!("max-age={ttl}")).ok()
}

fn parse(document: &[u8], prefix: &str) -> Result<ListPage, Refusal> {
    list::parse(document, prefix).map_err(|list::InvalidListing| Refusal::UpstreamProtocol)
}

/// The body of a small object in the cache.
pub(super) async fn whole(source: &ObjectBody) -> Result<Bytes, Refusal> {
    let length = source.length();
    let mut document = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    while let Ok(Some(piece)) = source.read(document.len() as u64, length).await {
        document.extend_from_slice(&piece);
    }
    Ok(document.into())
}
