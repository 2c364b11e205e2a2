//! What the check says of an object before its store is asked.

use crate::archive::ArchiveKind;
use crate::archive::name::MemberKey;
use crate::check::report::{Finding, StepState};
use crate::profile::Profile;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;

pub(super) fn address_finding(
    address: &ObjectAddress,
    was_cut: bool,
    opens_folders: bool,
) -> Finding {
    let detail = format!(
        "profile {}, bucket {}, key {}",
        address.profile.as_deref().unwrap_or("(default)"),
        address.bucket,
        address.key
    );
    if address.key.is_empty() && !opens_folders {
        return Finding::failed(
            format!("{detail}: the key is empty, and the profile has neither index nor listing"),
            "name an object: profile@bucket/path/to/file",
        );
    }
    if was_cut {
        return Finding::warning(
            format!("{detail}; the part from ? or # on is ignored"),
            "write ? as %3F and # as %23 if they are part of the key",
        );
    }
    Finding::ok(detail)
}

pub(super) fn unknown_profile(address: &ObjectAddress, known: &[&str]) -> Finding {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let Some(name) = address.profile.as_deref() else {
        return Finding::failed(
            format!("the URL has no profile@, and there is no default profile; known: {known}"),
            "put the name of a profile and @ before the bucket, or add default_profile: to the \
             configuration file (or set S3_ENDPOINT_URL) to serve URLs without profile@",
        );
    };
    Finding::failed(
        format!("unknown profile {name}; known: {known}"),
        format!(
            "correct the name (it is case-sensitive), or add the endpoint of the profile \
             (LSST_RESOURCES_S3_PROFILE_{name}, or profiles.{name}.endpoint)"
        ),
    )
}

pub(super) fn allowed(profile: &Profile, bucket: &str) -> Finding {
    match &profile.buckets {
        None => Finding::ok("the profile serves every bucket"),
        Some(_) if profile.admits(bucket) => {
            Finding::ok(format!("the buckets list of the profile contains {bucket}"))
        }
        Some(_) => Finding::failed(
            format!("the buckets list of the profile does not contain {bucket}"),
            "add the bucket to the buckets list of the profile to serve it",
        ),
    }
}

/// The failed step has the fix.
pub(super) fn refused(refusal: &Refusal) -> Finding {
    let detail = format!("{} {}", refusal.status(), refusal.cause());
    Finding { state: StepState::Failed, detail, fix: None }
}

/// The member that a URL names, and how it is read.
pub(super) fn member_finding(member: &MemberKey<'_>, archive: &ObjectAddress) -> Finding {
    let format = match member.kind {
        ArchiveKind::Zip => "zip file",
        ArchiveKind::Pmtiles => "PMTiles",
    };
    Finding::ok(format!(
        "{} in the {format} {}: the steps below are those of the {format}, of which ranges are read",
        member.member,
        archive.name()
    ))
}
