//! Folders, in profiles with `index` or `listing`: which request is for one, and what it is answered with
//! where no object answers it.

use std::sync::Arc;

use http::{HeaderMap, Method};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::cache::{CacheRequest, LookupResult};
use crate::downstream::transport::Transport;
use crate::gateway::Gateway;
use crate::gateway::admit::Admitted;
use crate::gateway::context::Context;
use crate::gateway::html::{viewer_page, wants_page};
use crate::mime::{MimePolicy, TypeRule};
use crate::pages::viewer::{Viewer, is_fits};
use crate::profile::ContentTypeFrom;
use crate::profile::alias::NamedObject;
use crate::protocol::request_check::target_path;
use crate::response::refusal::Refusal;
use crate::s3::address::{ObjectAddress, check_key};
use crate::s3::encode::{decode, encode_path};
use crate::s3::list::ListPage;
use crate::trace::span::SpanParent;
use crate::upstream::Store;
use crate::upstream::client::FetchRequest;

/// What a request is answered with where no object answers it.
#[derive(Debug)]
pub struct OpenedFolder {
    pub store: Arc<Store>,
    /// Its key is the prefix of the folder: empty, or it ends with a slash.
    pub named: NamedObject,
    pub answer: FolderAnswer,
    /// The span of the request.
    pub trace: Option<SpanParent>,
}

/// How a folder answers.
#[derive(Debug)]
pub enum FolderAnswer {
    /// With what is in it.
    Listing,
    /// With the viewer of a survey, if it holds one; else with what is in it, if the profile lists folders.
    Viewer,
    /// The URL lacks the final slash: with a redirect if anything is in the folder, else with this.
    AddSlash { otherwise: Refusal },
}

impl Gateway {
    /// Admits a request in a profile whose folders are opened. The store is admitted already.
    pub(super) fn admit_where_folders_open(
        &self,
        client: &RequestHeader,
        ctx: &mut Context,
        store: &Arc<Store>,
        named: &NamedObject,
    ) -> Result<Admitted, Refusal> {
        let (path, query) = path_and_query(client);
        let address = Arc::clone(&named.requested);
        let has_page = store.profile.viewer && is_fits(&address.key);
        ctx.depends_on_accept = has_page;
        if has_page && wants_page(client) && parameter(query, "raw").is_none() {
            let page = viewer_page(Viewer::Fits, &self.pages.site, &address);
            return Ok(Admitted::Response(page));
        }
        let asks_for_object = parameter(query, "object").is_some();
        if !address.key.is_empty() && (!address.key.ends_with('/') || asks_for_object) {
            let folder = (!asks_for_object && self.may_be_folder(client, &address.key))
                .then(|| self.folder_without_slash(&address))
                .flatten();
            let admitted = self.admit_address(client, ctx, Some(store), named);
            let otherwise = match &admitted {
                Ok(_) => Refusal::ObjectNotFound,
                Err(refusal) => refusal.clone(),
            };
            ctx.folder = folder.map(|(named, store)| {
                let (answer, trace) = (FolderAnswer::AddSlash { otherwise }, ctx.trace());
                Box::new(OpenedFolder { store, named, answer, trace })
            });
            return match admitted {
                Err(Refusal::MediaTypeDenied(_)) if ctx.folder.is_some() => Ok(Admitted::Folder),
                admitted => admitted.map(Admitted::Object),
            };
        }
        if !path.ends_with(b"/") {
            // Of an encoded slash; links that are relative to the folder need a plain one.
            return self.redirect_to_folder(client, ctx, &address, query);
        }
        let asks_for_listing = parameter(query, "continuation-token").is_some()
            || parameter(query, "format").is_some();
        let views = store.profile.viewer
            && !asks_for_listing
            && parameter(query, "raw").is_none()
            && wants_page(client);
        if store.profile.listing || views {
            let (store, named) = (Arc::clone(store), named.clone());
            let answer = if views { FolderAnswer::Viewer } else { FolderAnswer::Listing };
            let trace = ctx.trace();
            ctx.folder = Some(Box::new(OpenedFolder { store, named, answer, trace }));
        }
        if let Some(index) = index_of(store, named).filter(|_| !asks_for_listing) {
            ctx.set_name(&index);
            match self.admit_address(client, ctx, Some(store), &index) {
                Ok(object) => return Ok(Admitted::Object(object)),
                Err(Refusal::MediaTypeDenied(_)) if ctx.folder.is_some() => {}
                Err(refusal) => return Err(refusal),
            }
        }
        ctx.set_name(named);
        if ctx.folder.is_some() { Ok(Admitted::Folder) } else { Err(Refusal::ObjectNotFound) }
    }

    /// The folder of this name and its store, if the store opens folders. With its slash it may have an alias.
    fn folder_without_slash(&self, address: &ObjectAddress) -> Option<(NamedObject, Arc<Store>)> {
        let key = format!("{}/", address.key);
        let (named, store) = self.stores.find(ObjectAddress { key, ..address.clone() }).ok()?;
        let store = store.filter(|store| store.profile.opens_folders())?;
        store.profile.admits(&named.target().bucket).then_some((named, store))
    }

    /// Whether a redirect to a folder may answer for this key. A browser that asks for a page gets one for
    /// any name.
    fn may_be_folder(&self, client: &RequestHeader, key: &str) -> bool {
        check_key(key).is_ok() && (has_name_of_folder(&self.heads.mime, key) || wants_page(client))
    }

    /// Answers a request that was admitted as one for a folder, or for the list of surveys. Returns whether it
    /// was.
    pub(super) async fn answer_folder_or_list(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<bool> {
        if ctx.lists_surveys {
            self.answer_hips_list(session, ctx).await?;
            return Ok(true);
        }
        let Some(folder) = ctx.folder.take() else { return Ok(false) };
        self.open_folder(session, ctx, *folder).await?;
        Ok(true)
    }

    /// Answers for a folder, where no object has answered. A browser gets a page, and a redirect for more names.
    pub(super) async fn open_folder(
        &self,
        session: &mut Session,
        ctx: &mut Context,
        folder: OpenedFolder,
    ) -> Result<()> {
        self.note_exchange(ctx);
        ctx.folder_opened = true;
        ctx.depends_on_accept = true;
        match folder.answer {
            FolderAnswer::Listing => self.answer_listing(session, ctx, folder).await,
            FolderAnswer::Viewer => {
                let properties = folder.named.inside("properties");
                let holds_survey = match properties {
                    Some(properties) => self.exists(&folder, &properties, &Method::GET).await,
                    None => false,
                };
                if holds_survey {
                    let page =
                        viewer_page(Viewer::Survey, &self.pages.site, &folder.named.requested);
                    return self.respond(session, ctx, &page).await;
                }
                if folder.store.profile.listing {
                    return self.answer_listing(session, ctx, folder).await;
                }
                self.write_refusal(session, ctx, Refusal::ObjectNotFound).await
            }
            FolderAnswer::AddSlash { ref otherwise } => {
                let is_folder = self.is_folder(session, &ctx.transport, &folder).await;
                if !is_folder {
                    return self.write_refusal(session, ctx, otherwise.clone()).await;
                }
                let client = session.req_header();
                let (_, query) = path_and_query(client);
                match self.redirect_to_folder(client, ctx, &folder.named.requested, query) {
                    Ok(Admitted::Response(response)) => self.respond(session, ctx, &response).await,
                    _ => self.write_refusal(session, ctx, otherwise.clone()).await,
                }
            }
        }
    }

    /// Whether anything is in the folder. Without `listing` only its index object is asked for, which
    /// needs no further permission.
    async fn is_folder(
        &self,
        session: &Session,
        transport: &Transport,
        folder: &OpenedFolder,
    ) -> bool {
        let none = HeaderMap::new();
        let (store, address) = (Arc::clone(&folder.store), Arc::clone(folder.named.target()));
        if store.profile.listing {
            let wanted = CacheRequest::listing(store, address, None, &none);
            let wanted = Arc::new(wanted.traced(folder.trace.clone()));
            let (_, page) = self.list_page(session, transport, &wanted).await;
            return page.is_ok_and(|page| !page.is_empty());
        }
        let Some(index) = index_of(&store, &folder.named) else { return false };
        self.exists(folder, &index, &Method::HEAD).await
    }

    /// Whether there is such an object that may be served.
    async fn exists(&self, folder: &OpenedFolder, named: &NamedObject, method: &Method) -> bool {
        let (store, address) = (&folder.store, Arc::clone(named.target()));
        let content_type = match store.profile.content_type {
            ContentTypeFrom::Origin => None,
            ContentTypeFrom::Key => match self.heads.mime.key_type(&address.key) {
                Ok(content_type) => Some(content_type),
                Err(_) => return false,
            },
        };
        let (store, none) = (Arc::clone(store), HeaderMap::new());
        let wanted = CacheRequest::new(store, address, content_type, method, &none);
        let wanted = Arc::new(wanted.traced(folder.trace.clone()));
        if let Some(cache) = self.cache.filter(|_| wanted.rule.store) {
            match cache.cache().find(&wanted).await.what {
                LookupResult::Object { .. } => return true,
                LookupResult::Refused(_) => return false,
                LookupResult::Bypass => {}
            }
        }
        let request = FetchRequest { head_only: true, ..FetchRequest::of(wanted.trace.as_ref()) };
        self.client.fetch(&wanted.store, wanted.target(), &request).await.outcome.is_ok()
    }

    /// 307 to the path of a folder.
    fn redirect_to_folder(
        &self,
        client: &RequestHeader,
        ctx: &Context,
        folder: &ObjectAddress,
        query: &[u8],
    ) -> Result<Admitted, Refusal> {
        let mut path = [&self.prefix, "/s3/"].concat();
        if let Some(profile) = &folder.profile {
            path.push_str(profile);
            path.push('@');
        }
        encode_path(folder.bucket.as_bytes(), &mut path);
        path.push('/');
        encode_path(folder.key.as_bytes(), &mut path);
        self.redirect(client, ctx, path.as_bytes(), query).map(Admitted::Response)
    }
}

/// Path and query of the request target; the query begins with `?` or is empty.
pub(super) fn path_and_query(client: &RequestHeader) -> (&[u8], &[u8]) {
    let target = target_path(client.raw_path());
    let query = target.iter().position(|byte| *byte == b'?');
    target.split_at(query.unwrap_or(target.len()))
}

/// The decoded value of a parameter of a query; `None` where it is missing or no text.
pub(super) fn parameter(query: &[u8], name: &str) -> Option<String> {
    let query = query.strip_prefix(b"?")?;
    query.split(|byte| *byte == b'&').find_map(|parameter| {
        let mut parts = parameter.splitn(2, |byte| *byte == b'=');
        let is_named = parts.next()? == name.as_bytes();
        let value = decode(parts.next().unwrap_or_default()).ok().filter(|_| is_named)?;
        String::from_utf8(value).ok()
    })
}

/// Whether a key could be that of a folder without its slash, by its last segment. Not the names that
/// viewers and readers of Zarr ask for in numbers where there is nothing: those of a known type, of digits
/// and dots, and with a dot in front. For them a program is worth no request to the store.
fn has_name_of_folder(mime: &MimePolicy, key: &str) -> bool {
    let last = key.rsplit('/').next().unwrap_or_default();
    let is_chunk = last.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_typed = !matches!(mime.rule(key), None | Some(TypeRule::Default));
    !is_chunk && !is_typed && !last.starts_with('.')
}

/// The index object of a folder.
fn index_of(store: &Store, folder: &NamedObject) -> Option<NamedObject> {
    folder.inside(store.profile.index.as_deref()?)
}

impl OpenedFolder {
    /// `profile@bucket` as the client named it, or the bucket alone.
    pub(super) fn bucket(&self) -> String {
        let address = &self.named.requested;
        let profile = address.profile.as_deref().unwrap_or_default();
        let at = if profile.is_empty() { "" } else { "@" };
        [profile, at, &address.bucket].concat()
    }

    /// The prefix of its keys.
    pub(super) fn prefix(&self) -> &str {
        &self.named.target().key
    }

    /// Gives the keys of a page the prefix that the client named, so that links stay below an alias.
    pub(super) fn rename(&self, page: &mut ListPage) {
        if self.named.aliased.is_none() {
            return;
        }
        let objects = page.objects.iter_mut().map(|object| &mut object.key);
        for key in objects.chain(&mut page.folders) {
            if let Some(rest) = key.strip_prefix(self.prefix()) {
                *key = [&self.named.requested.key, rest].concat();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::MimeSettings;

    #[test]
    fn tiles_and_chunks_have_no_name_of_a_folder() {
        let mime = MimePolicy::new(&MimeSettings::default()).expect("a policy");
        for (key, expected) in [
            ("hips/Norder3", true),
            ("Norder3", true),
            ("data/image.zarr", true),
            ("release/v1.0", true),
            ("hips/Norder3/Dir0/Npix1.png", false),
            ("hips/image.fits.fz", false),
            ("hips/properties", false),
            ("a.zarr/flux/c/0/12", false),
            ("a.zarr/flux/0.12", false),
            ("a.zarr/flux/.zarray", false),
        ] {
            assert_eq!(has_name_of_folder(&mime, key), expected, "{key}");
        }
    }

    #[test]
    fn parameters_are_found_by_name_and_decoded() {
        for (query, name, value) in [
            ("?a=1&continuation-token=x%2F%3D", "continuation-token", Some("x/=")),
            ("?object", "object", Some("")),
            ("?object=", "object", Some("")),
            ("?objects", "object", None),
            ("", "object", None),
            ("?format=%zz", "format", None),
            ("?format=%FF", "format", None),
        ] {
            assert_eq!(parameter(query.as_bytes(), name).as_deref(), value, "{query}");
        }
    }
}
