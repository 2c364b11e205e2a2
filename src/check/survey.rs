//! `s3proxy check --hips`: a survey in a bucket or on a disk, before a release. Its files are compared with
//! each other, and with the rules of the gateway.
//!
//! `gather` asks for files, `judge` and `tiles` say what they mean.

mod gather;
mod judge;
mod observed;
pub(super) mod source;
mod tiles;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::check::object_name::read;
use crate::check::profile::credentials;
use crate::check::report::{CheckReport, CheckSection, CheckStep, Finding, Subject};
use crate::check::request::clock;
use crate::check::survey::source::{Source, StoreSource};
use crate::check::with_credentials;
use crate::config::Config;
use crate::mime::StoredVerdict;
use crate::profile::{ContentTypeFrom, Profile};
use crate::s3::credentials::Credentials;
use crate::upstream::certificates::Trusted;
use crate::upstream::issue::TIMEOUT;

/// The place of a survey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SurveyPlace {
    /// A folder on a disk.
    Folder(PathBuf),
    /// `profile@bucket/prefix/`, in the forms of an object's name.
    Bucket(String),
}

impl SurveyPlace {
    /// A path that begins with a dot or a slash, or an existing folder; else a place in a bucket.
    #[must_use]
    pub fn of(argument: &str) -> Self {
        let is_path = argument.starts_with(['.', '/']);
        let path = Path::new(argument);
        if is_path || !argument.contains('@') && path.is_dir() {
            return Self::Folder(path.to_owned());
        }
        Self::Bucket(argument.to_owned())
    }

    /// As the operator wrote it. The query of a URL may hold a signature.
    fn name(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Bucket(argument) => {
                argument.split(['?', '#']).next().unwrap_or_default().to_owned()
            }
        }
    }
}

/// Checks a survey with about `samples` tiles. `progress` is called with the numbers of tiles so far that
/// have an answer and that were asked for; more follow.
pub async fn check_survey(
    config: &Config,
    place: &SurveyPlace,
    samples: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> CheckReport {
    let started = Instant::now();
    let opened = match place {
        SurveyPlace::Folder(folder) => open_folder(folder),
        SurveyPlace::Bucket(argument) => {
            open_bucket(&with_credentials(config, TIMEOUT).await, argument)
        }
    };
    let (name, steps) = match opened {
        Ok(Opened { source, name, profile, mut steps }) => {
            let seen = gather::gather(&source, samples, clock(), progress).await;
            let by_type =
                profile.as_ref().is_some_and(|it| it.content_type == ContentTypeFrom::Origin);
            let policy = |path: &str, stored: Option<&str>| served(config, by_type, path, stored);
            steps.extend(judge::judge(&seen, &policy));
            let took = started.elapsed();
            if let Some(last) = steps.last_mut() {
                *last = CheckStep::timed(last.name, last.finding.clone(), took);
            }
            (name, steps)
        }
        Err(failed) => (place.name(), vec![failed]),
    };
    let section = CheckSection { subject: Subject::Survey, name: Some(name), steps };
    CheckReport { sections: vec![section] }
}

struct Opened {
    source: Source,
    name: String,
    profile: Option<Arc<Profile>>,
    /// What was found before the first request.
    steps: Vec<CheckStep>,
}

fn open_folder(folder: &Path) -> Result<Opened, CheckStep> {
    if !folder.is_dir() {
        let fix = "name the folder of properties, or PROFILE@BUCKET/PREFIX/";
        return Err(failed("address", "there is no such folder", fix));
    }
    let name = folder.display().to_string();
    let source = Source::Folder(folder.to_owned());
    Ok(Opened { source, name, profile: None, steps: Vec::new() })
}

/// The prefix of a bucket, after aliases.
///
/// # Errors
/// The step that failed, if the gateway would not ask the store.
fn open_bucket(config: &Config, argument: &str) -> Result<Opened, CheckStep> {
    let gateway = &config.gateway;
    let mut address = read(argument, &gateway.path_prefix, gateway.bucket_validation)
        .map_err(|not_named| CheckStep::new("address", not_named.finding))?
        .address;
    if !address.key.is_empty() && !address.key.ends_with('/') {
        address.key.push('/');
    }
    let named = config.profiles.aliases.apply(address).map_err(|error| {
        failed("alias", error.to_string(), "shorten the target of the alias, or the prefix")
    })?;
    let mut steps = Vec::new();
    if let Some(object) = &named.aliased {
        let stands = format!("stands for {}", object.target.name());
        steps.push(CheckStep::new("alias", Finding::ok(stands)));
    }
    let address = named.target();
    let Some(profile) = config.profiles.get(address.profile.as_deref()) else {
        let fix = "s3proxy config lists the profiles";
        return Err(failed("endpoint", "no profile has this name", fix));
    };
    if !profile.admits(&address.bucket) {
        let detail = format!("the profile does not serve bucket {}", address.bucket);
        return Err(failed("allowed", detail, "add the bucket to buckets of the profile"));
    }
    if let Credentials::Missing(_) = &profile.credentials {
        return Err(CheckStep::new("credentials", credentials(profile, false)));
    }
    if let Err(error) = Trusted::read(&config.upstream) {
        return Err(failed("certificates", error.to_string(), "correct upstream.ca_file"));
    }
    let source = StoreSource::new(profile, &config.upstream, &address.bucket, &address.key);
    Ok(Opened {
        source: Source::Store(Arc::new(source)),
        name: named.requested.name(),
        profile: Some(Arc::clone(profile)),
        steps,
    })
}

fn failed(name: &'static str, detail: impl Into<String>, fix: &str) -> CheckStep {
    CheckStep::new(name, Finding::failed(detail, fix))
}

/// Whether the gateway serves a file with this path and this stored type.
fn served(
    config: &Config,
    by_type: bool,
    path: &str,
    stored: Option<&str>,
) -> Result<(), Option<String>> {
    if !by_type {
        let key_type = config.mime.key_type(path);
        return key_type.map(|_| ()).map_err(|refused| refused.map(str::to_owned));
    }
    // A kind of which no file was found has no stored type.
    let Some(stored) = stored.and_then(|stored| HeaderValue::from_str(stored).ok()) else {
        return Ok(());
    };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, stored)]);
    match config.mime.stored_verdict(&headers) {
        StoredVerdict::Allowed(_) => Ok(()),
        StoredVerdict::Denied(media_type) => Err(media_type),
    }
}
