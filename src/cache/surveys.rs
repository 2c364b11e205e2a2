//! Tiles that the files of their survey exclude: answered as missing without asking the store, for profiles
//! with `hips`.
//!
//! A survey counts while its `properties` and its `Moc.fits` are fresh in memory, by the entity tags of
//! both: a purge, an eviction or another version of one of them ends that at once. The store decides about the
//! first exclusions; of the others one in a hundred is verified in the background. A tile that exists in
//! spite of them switches the survey off, until one of the two files changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use bytes::BytesMut;
use http::header::ETAG;
use http::{HeaderMap, HeaderValue, Method};
use log::warn;

use crate::cache::entry::{Entry, EntryContent};
use crate::cache::fetch::{Fetches, Join};
use crate::cache::object::Object;
use crate::cache::outcome::FetchOutcome;
use crate::cache::request::CacheRequest;
use crate::cache::statistics::Statistics;
use crate::cache::tiers::Tiers;
use crate::profile::WhichFolders;
use crate::s3::address::ObjectAddress;
use crate::survey::{
    Coverage, Exclusion, MAX_MAP_BYTES, MAX_PROPERTIES_BYTES, Properties, SurveyFile, locate,
};

/// Surveys that are known at the same time.
const MAX_SURVEYS: usize = 64;
/// Of each survey this many exclusions are compared with the store before any is served ...
const FIRST: u64 = 20;
/// ... and then one of this number, in the background.
const ONE_IN: u64 = 100;

/// The surveys whose files have passed through the cache.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    /// By the key of the coverage map.
    known: RwLock<HashMap<Box<[u8]>, Arc<Survey>>>,
}

/// One version of a survey.
#[derive(Debug)]
struct Survey {
    versions: [HeaderValue; 2],
    /// Unset while the files are read; `None` if they exclude nothing.
    exclusion: OnceLock<Option<Exclusion>>,
    is_off: AtomicBool,
    excluded: AtomicU64,
}

/// The files of a survey in memory.
struct Files {
    properties: Arc<Object>,
    map: Arc<Object>,
    map_key: Box<[u8]>,
}

impl Surveys {
    /// Whether the survey of the requested tile excludes it. Unless the caller `may_ask_store`, exclusions about which
    /// the store decides are not counted: the request is asked about again.
    pub(super) fn excludes(
        self: &Arc<Self>,
        tiers: &Arc<Tiers>,
        fetches: &Arc<Fetches>,
        request: &Arc<CacheRequest>,
        now: SystemTime,
        may_ask_store: bool,
    ) -> bool {
        let surveys = &request.store.profile.hips;
        let is_of_surveys = *surveys != WhichFolders::None
            && !request.is_listing
            && !request.no_cache
            // Absence is not cached at all.
            && !request.rule.negative_ttl.is_zero();
        if !is_of_surveys {
            return false;
        }
        let located = locate(&request.address.key);
        let Some((root, SurveyFile::Tile { tile, format })) = located else { return false };
        if !surveys.covers(&request.address.bucket, root) {
            return false;
        }
        let Some(files) = Files::in_memory(tiers, request, root, now) else { return false };
        let Some(versions) = files.versions() else { return false };
        let Some(survey) = self.known(&files.map_key, &versions) else {
            self.learn(files, versions);
            return false;
        };
        let exclusion = survey.exclusion.get().and_then(Option::as_ref);
        let is_excluded = exclusion.is_some_and(|exclusion| exclusion.excludes(tile, format));
        if !is_excluded || survey.is_off.load(Ordering::Relaxed) {
            return false;
        }
        if !may_ask_store && survey.excluded.load(Ordering::Relaxed) < FIRST {
            return false;
        }
        let before = survey.excluded.fetch_add(1, Ordering::Relaxed);
        if before < FIRST || before.is_multiple_of(ONE_IN) {
            survey.verify(tiers, fetches, request);
        }
        if before < FIRST {
            // The store decides.
            return false;
        }
        tiers.statistics().survey_exclusions.inc();
        true
    }

    fn known(&self, map_key: &[u8], versions: &[HeaderValue; 2]) -> Option<Arc<Survey>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(map_key).filter(|it| it.versions == *versions).cloned()
    }

    /// Reads the files of a survey, in the background.
    fn learn(self: &Arc<Self>, files: Files, versions: [HeaderValue; 2]) {
        let survey = Arc::new(Survey {
            versions,
            exclusion: OnceLock::new(),
            is_off: AtomicBool::new(false),
            excluded: AtomicU64::new(0),
        });
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let same = known.get(&files.map_key).is_some_and(|it| it.versions == survey.versions);
            if same {
                // Another request was first.
                return;
            }
            known.remove(&files.map_key);
            make_room(&mut known, MAX_SURVEYS - 1, MAX_MAP_BYTES);
            known.insert(files.map_key.clone(), Arc::clone(&survey));
        }
        let surveys = Arc::clone(self);
        let _in_background = tokio::task::spawn_blocking(move || {
            let exclusion = files.exclusion();
            let bytes = exclusion.as_ref().map_or(0, Exclusion::bytes);
            let mut known = surveys.known.write().unwrap_or_else(PoisonError::into_inner);
            let own = known.remove(&files.map_key);
            make_room(&mut known, MAX_SURVEYS - 1, MAX_MAP_BYTES.saturating_sub(bytes));
            if let Some(own) = own {
                known.insert(files.map_key, own);
            }
            let _is_the_first = survey.exclusion.set(exclusion);
        });
    }
}

/// Forgets surveys until at most `most` are left, with maps of at most `bytes`. A survey that is forgotten is read
/// again when one of its tiles is requested.
fn make_room(known: &mut HashMap<Box<[u8]>, Arc<Survey>>, most: usize, bytes: usize) {
    let size = |survey: &Arc<Survey>| {
        survey.exclusion.get().and_then(Option::as_ref).map_or(0, Exclusion::bytes)
    };
    while known.len() > most || known.values().map(size).sum::<usize>() > bytes {
        // The one that is asked for least.
        let least = known.iter().min_by_key(|(_, it)| it.excluded.load(Ordering::Relaxed));
        let Some(key) = least.map(|(key, _)| key.clone()) else { return };
        known.remove(&key);
    }
}

impl Survey {
    /// Asks for an excluded tile after all, in the background.
    fn verify(
        self: &Arc<Self>,
        tiers: &Arc<Tiers>,
        fetches: &Arc<Fetches>,
        request: &Arc<CacheRequest>,
    ) {
        let Join::Fetch { fetch, .. } = fetches.join(request, None) else { return };
        let (survey, tiers) = (Arc::clone(self), Arc::clone(tiers));
        let name = request.address.name();
        let _in_background = tokio::spawn(async move {
            let exists = matches!(
                fetch.outcome().await,
                Some(
                    FetchOutcome::Object { .. }
                        | FetchOutcome::FromDisk(_)
                        | FetchOutcome::Bypass { .. }
                )
            );
            if exists {
                survey.switch_off(&name, tiers.statistics());
            }
        });
    }

    fn switch_off(&self, tile: &str, statistics: &Statistics) {
        if self.is_off.swap(true, Ordering::Relaxed) {
            return;
        }
        statistics.surveys_switched_off.inc();
        warn!(
            "{tile} exists, although properties and Moc.fits of its survey exclude it: missing tiles of the survey \
             are requested from the store again, until one of these files changes; s3proxy check --hips finds the fault"
        );
    }
}

impl Files {
    /// The files, if both are whole and fresh in memory.
    fn in_memory(
        tiers: &Tiers,
        request: &CacheRequest,
        root: &str,
        now: SystemTime,
    ) -> Option<Self> {
        let (properties, _) = find(tiers, request, root, SurveyFile::Properties, now)?;
        let (map, entry) = find(tiers, request, root, SurveyFile::Coverage, now)?;
        let is_small = properties.body.len() <= MAX_PROPERTIES_BYTES as u64
            && map.body.len() <= MAX_MAP_BYTES as u64;
        is_small.then(|| Self { properties, map, map_key: entry.key.as_bytes().into() })
    }

    /// The entity tags of both; without one there is no way to know that a file is another one.
    fn versions(&self) -> Option<[HeaderValue; 2]> {
        let tag = |object: &Object| object.head.to_response().headers.get(ETAG).cloned();
        Some([tag(&self.properties)?, tag(&self.map)?])
    }

    fn exclusion(&self) -> Option<Exclusion> {
        let whole = |object: &Object| {
            let mut bytes = BytesMut::new();
            for piece in object.body.pieces() {
                bytes.extend_from_slice(piece);
            }
            bytes
        };
        let coverage = Coverage::read(&whole(&self.map)).ok()?;
        Exclusion::of(&Properties::parse(&whole(&self.properties)), coverage)
    }
}

/// A file of the survey of this request.
fn find(
    tiers: &Tiers,
    request: &CacheRequest,
    root: &str,
    file: SurveyFile,
    now: SystemTime,
) -> Option<(Arc<Object>, Arc<Entry>)> {
    let key = [root, &file.path()].concat();
    let address = ObjectAddress { key, ..(*request.address).clone() };
    let store = Arc::clone(&request.store);
    let file = CacheRequest::new(store, Arc::new(address), None, &Method::GET, &HeaderMap::new());
    let entry = tiers.lookup(&file).filter(|entry| entry.is_fresh(now))?;
    match &entry.content {
        EntryContent::Object(object) => Some((Arc::clone(object), Arc::clone(&entry))),
        _ => None,
    }
}
