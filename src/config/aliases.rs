//! The aliases: folders that stand for others. Each is checked with the profiles it names and with all
//! others, because a request goes through at most one.

use crate::config::Profiles;
use crate::config::layers::{Layers, Location, Reported};
use crate::config::problem::Problem;
use crate::config::settings::gateway::{WrittenAliases, aliases};
use crate::config::value::{Written, boolean, list};
use crate::profile::Hips;
use crate::profile::alias::{Alias, Aliases, overlap};
use crate::s3::address::ObjectAddress;

/// Surveys of one profile in the list of surveys.
const MAX_SURVEYS: usize = 200;

/// Reads the aliases. `None`: the profiles are wrong.
///
/// # Errors
/// Every mistake is reported.
pub(super) fn resolve(
    layers: &mut Layers<'_>,
    profiles: Option<&Profiles>,
    bucket_validation: bool,
) -> Result<Aliases, Reported> {
    let written = WrittenAliases::read(layers, &Location::default())?;
    let mut problems = Vec::new();
    let mut read: Vec<(&String, Alias)> = Vec::new();
    for (name, target) in &written.aliases {
        let folders = folder(name, bucket_validation).and_then(|name| {
            let target = folder(target, bucket_validation)?;
            Ok(Alias { name, target })
        });
        match folders {
            Err(message) => problems.push((name, message)),
            Ok(alias) => {
                let mistakes = profiles.into_iter().flat_map(|all| mistakes(&alias, all));
                problems.extend(mistakes.map(|message| (name, message)));
                if read
                    .iter()
                    .any(|(_, it)| overlap(&it.name, &alias.name) && it.name.key == alias.name.key)
                {
                    let twice = "is there twice: default@ names the profile of URLs without one";
                    problems.push((name, twice.to_owned()));
                }
                read.push((name, alias));
            }
        }
    }
    for (name, alias) in &read {
        if let Some((_, other)) = read.iter().find(|(_, it)| overlap(&alias.target, &it.name)) {
            problems.push((name, chain(alias, other)));
        }
    }
    let failed = !problems.is_empty();
    for (name, message) in problems {
        let key = aliases::aliases().row.path;
        let in_file = layers.file.as_ref().filter(|file| file.get(&[key, name]).is_some());
        let source = match in_file {
            Some(file) => file.source(&[key, name]),
            None => layers.report.source(key),
        };
        layers.report.problem(Problem::new(source, message).key(format!("{key}[{name:?}]")));
    }
    let read = read.into_iter().map(|(_, alias)| alias).collect();
    if failed { Err(Reported) } else { Ok(Aliases::new(read, written.alias_max_age)) }
}

/// A folder as written: `profile@bucket/prefix/`, decoded.
fn folder(text: &str, bucket_validation: bool) -> Result<ObjectAddress, String> {
    let parts = text.split_once('/').filter(|(_, key)| key.is_empty() || key.ends_with('/'));
    let (bucket, key) = parts.ok_or_else(|| {
        format!("{text:?} must be PROFILE@BUCKET/PREFIX/, with a slash at its end")
    })?;
    ObjectAddress::of_text(bucket, key.to_owned(), bucket_validation)
        .map_err(|error| format!("{text:?}: {error}"))
}

/// The folders of surveys of a profile: `bucket/prefix/`, decoded.
pub(super) fn survey_folders(written: Written<'_>) -> Result<Vec<String>, String> {
    let folders = list(written)?;
    if folders.len() > MAX_SURVEYS {
        return Err(format!("must name at most {MAX_SURVEYS} folders"));
    }
    for text in &folders {
        // The rule for buckets is applied when the folder is read.
        if folder(text, false)?.profile.is_some() {
            return Err(format!("must name folders of this profile, without @, not {text:?}"));
        }
    }
    Ok(folders)
}

/// The surveys that exclude tiles: `true`, `false`, or their folders.
pub(super) fn hips(written: Written<'_>) -> Result<Hips, String> {
    match boolean(written) {
        Ok(true) => Ok(Hips::All),
        Ok(false) => Ok(Hips::None),
        Err(_) => match survey_folders(written) {
            Ok(folders) if folders.is_empty() => Ok(Hips::None),
            Ok(folders) => Ok(Hips::In(folders)),
            Err(error) => Err(format!("must be true, false or a list of folders: {error}")),
        },
    }
}

/// Profiles that do not exist, and a target that every request would be refused for.
fn mistakes(alias: &Alias, profiles: &Profiles) -> Vec<String> {
    let unknown = [&alias.name, &alias.target].into_iter().filter_map(|address| {
        let is_known = profiles.get(address.profile.as_deref()).is_some();
        (!is_known).then(|| match &address.profile {
            Some(profile) => format!("there is no profile {profile}"),
            None => "there is no default profile: write PROFILE@ before the bucket".to_owned(),
        })
    });
    let Alias { target, .. } = alias;
    let profile = profiles.get(target.profile.as_deref());
    let refused = profile.filter(|profile| !profile.admits(&target.bucket)).map(|profile| {
        format!("profile {} does not serve the bucket {}", profile.label(), target.bucket)
    });
    unknown.chain(refused).collect()
}

fn chain(alias: &Alias, other: &Alias) -> String {
    if alias == other {
        return format!("contains its own target, or is in it ({alias}): an alias is applied once");
    }
    let back = if overlap(&other.target, &alias.name) { ", which leads back to it" } else { "" };
    format!(
        "leads to another alias ({other}){back}: an alias is applied once, so name the folder of the objects"
    )
}
