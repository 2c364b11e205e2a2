//! `s3proxy check --hips`: a survey in a bucket or on a disk, before a release. Its files are compared with
//! each other, and with the rules of the gateway.
//!
//! `gather` asks for files, `judge` and `tiles` say what they mean.

mod gather;
mod judge;
mod observed;
mod source;
mod tiles;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::check::object_name::read;
use crate::check::report::{CheckReport, CheckSection, CheckStep, Finding, StepState, Subject};
use crate::check::request::clock;
use crate::check::survey::source::{Source, StoreSource};
use crate::config::Config;
use crate::mime::StoredVerdict;
use crate::profile::{ContentTypeFrom, Profile};
use crate::s3::credentials::Credentials;
use crate::upstream::certificates::Trusted;

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
}

/// Checks a survey with about `samples` tiles. `progress` is called with the number of answers so far,
/// and the number of requests so far.
pub async fn check_survey(
    config: &Config,
    place: &SurveyPlace,
    samples: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> CheckReport {
    let started = Instant::now();
    let mut steps = Vec::new();
    let opened = match place {
        SurveyPlace::Folder(folder) => open_folder(folder),
        SurveyPlace::Bucket(argument) => open_bucket(config, argument, &mut steps),
    };
    let name = match (&opened, place) {
        (Some(Opened { name, .. }), _) => name.clone(),
        (None, SurveyPlace::Folder(folder)) => folder.display().to_string(),
        (None, SurveyPlace::Bucket(argument)) => {
            argument.split(['?', '#']).next().unwrap_or_default().to_owned()
        }
    };
    match opened {
        Some(Opened { source, profile, .. }) => {
            let seen = gather::gather(&source, samples, clock(), progress).await;
            let by_type =
                profile.as_ref().is_some_and(|it| it.content_type == ContentTypeFrom::Origin);
            let policy = |path: &str, stored: Option<&str>| served(config, by_type, path, stored);
            steps.extend(judge::judge(&seen, &policy));
            let took = started.elapsed();
            if let Some(last) = steps.last_mut() {
                *last = CheckStep::timed(last.name, last.finding.clone(), took);
            }
        }
        None if steps.iter().all(|step| step.finding.state != StepState::Failed) => {
            let finding = Finding::failed(
                "there is no such folder",
                "name the folder of properties, or PROFILE@BUCKET/PREFIX/",
            );
            steps.push(CheckStep::new("address", finding));
        }
        None => {}
    }
    let section = CheckSection { subject: Subject::Survey, name: Some(name), steps };
    CheckReport { sections: vec![section] }
}

struct Opened {
    source: Source,
    name: String,
    profile: Option<Arc<Profile>>,
}

fn open_folder(folder: &Path) -> Option<Opened> {
    let name = folder.display().to_string();
    let source = Source::Folder(folder.to_owned());
    folder.is_dir().then_some(Opened { source, name, profile: None })
}

/// The prefix of a bucket; the first step that failed if the gateway would not ask the store.
fn open_bucket(config: &Config, argument: &str, steps: &mut Vec<CheckStep>) -> Option<Opened> {
    let mut failed = |name, detail: String, fix: &str| {
        steps.push(CheckStep::new(name, Finding::failed(detail, fix)));
    };
    let gateway = &config.gateway;
    let address = match read(argument, &gateway.path_prefix, gateway.bucket_validation) {
        Ok(named) => named.address,
        Err(not_named) => {
            steps.push(CheckStep::new("address", not_named.finding));
            return None;
        }
    };
    let Some(profile) = config.profiles.get(address.profile.as_deref()) else {
        let fix = "s3proxy config lists the profiles";
        failed("endpoint", "no profile has this name".to_owned(), fix);
        return None;
    };
    if !profile.admits(&address.bucket) {
        let detail = format!("the profile does not serve bucket {}", address.bucket);
        failed("allowed", detail, "add the bucket to buckets of the profile");
        return None;
    }
    if let Credentials::Missing(why) = &profile.credentials {
        let fix = "add an access key for the profile, or set anonymous: true";
        failed("credentials", format!("the profile has no access key: {why}"), fix);
        return None;
    }
    if let Err(error) = Trusted::read(&config.upstream) {
        failed("certificates", error.to_string(), "correct upstream.ca_file");
        return None;
    }
    let mut root = address.key.clone();
    if !root.is_empty() && !root.ends_with('/') {
        root.push('/');
    }
    let source = StoreSource::new(profile, &config.upstream, &address.bucket, &root);
    let name = crate::s3::address::ObjectAddress { key: root, ..address }.name();
    Some(Opened {
        source: Source::Store(Arc::new(source)),
        name,
        profile: Some(Arc::clone(profile)),
    })
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
