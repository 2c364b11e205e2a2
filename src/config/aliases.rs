//! The aliases: folders that stand for others. Each is checked with the profiles it names and with all
//! others, because a request goes through at most one.

use crate::config::layers::{Layers, Location, Reported};
use crate::config::problem::{Problem, ValueSource};
use crate::config::profiles::ResolvedProfiles;
use crate::config::settings::gateway::{WrittenAliases, aliases};
use crate::config::value::{Written, all, boolean, list_of, text_pairs};
use crate::profile::WhichFolders;
use crate::profile::alias::{Alias, Aliases, overlap};
use crate::s3::address::ObjectAddress;

/// Surveys of one profile in the list of surveys.
const MAX_SURVEYS: usize = 200;

/// Reads the aliases, with the profiles that they name.
///
/// # Errors
/// Every mistake is reported.
pub(super) fn resolve(
    layers: &mut Layers<'_>,
    profiles: &ResolvedProfiles,
    bucket_validation: bool,
) -> Result<Aliases, Reported> {
    let written = WrittenAliases::read(layers, &Location::default())?;
    let row = aliases::aliases().row;
    // A pair that is no text hides no mistake of another.
    let is_unread = layers.report.is_unread(row.path);
    let pairs = if is_unread {
        layers.last_written(&row).map(text_pairs).unwrap_or_default()
    } else {
        written.aliases
    };
    let mut problems = Vec::new();
    let mut read: Vec<(&String, Alias)> = Vec::new();
    for (name, target) in &pairs {
        let folders = folder(name, bucket_validation).and_then(|name| {
            let target = folder(target, bucket_validation)?;
            Ok(Alias { name, target })
        });
        match folders {
            Err(message) => problems.push((name, message)),
            Ok(alias) => {
                problems.extend(mistakes(&alias, profiles).into_iter().map(|it| (name, it)));
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
    let failed = is_unread || !problems.is_empty();
    for (name, message) in problems {
        let key = row.path;
        let in_file = layers.file.as_ref().filter(|file| file.get(&[key, name]).is_some());
        let source = match in_file {
            Some(file) => file.source(&[key, name]),
            None => layers.report.source(key),
        };
        let alias = format!("{key}[{name:?}]");
        // Only the place in a file is shown with its key.
        let message = match source {
            ValueSource::File { .. } => message,
            _ => format!("{alias}: {message}"),
        };
        layers.report.problem(Problem::new(source, message).key(alias));
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
    let mut number = 0;
    let folders = list_of(written, |text| {
        number += 1;
        // The rule for buckets is applied when the folder is read.
        match folder(&text, false)?.profile {
            None => Ok(text),
            Some(_) => Err(format!("must name folders of this profile, without @, not {text:?}")),
        }
    });
    let few = match number > MAX_SURVEYS {
        true => Err(format!("must name at most {MAX_SURVEYS} folders")),
        false => Ok(Vec::new()),
    };
    all([few, folders]).map(|lists| lists.concat())
}

/// `true`, `false`, or the folders for which it is true.
pub(super) fn which_folders(written: Written<'_>) -> Result<WhichFolders, String> {
    match boolean(written) {
        Ok(true) => Ok(WhichFolders::All),
        Ok(false) => Ok(WhichFolders::None),
        Err(_) => match survey_folders(written) {
            Ok(folders) if folders.is_empty() => Ok(WhichFolders::None),
            Ok(folders) => Ok(WhichFolders::In(folders)),
            Err(error) => Err(error),
        },
    }
}

/// Profiles that do not exist, and a target that every request would be refused for.
fn mistakes(alias: &Alias, resolved: &ResolvedProfiles) -> Vec<String> {
    let Alias { name, target } = alias;
    let sides = [("", name), ("its target: ", target)];
    let unknown = sides.into_iter().filter(|(_, it)| !resolved.has(it.profile.as_deref()));
    let unknown = unknown.map(|(side, address)| match &address.profile {
        Some(profile) => format!("{side}there is no profile {profile}"),
        None => format!("{side}there is no default profile: write PROFILE@ before the bucket"),
    });
    let profile = resolved.profiles.get(target.profile.as_deref());
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
