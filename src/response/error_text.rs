//! What a page says of a refusal: a heading, who has to act, and what to do. The sentence is that of the
//! JSON body.

use crate::response::refusal::Refusal;

const CLIENT: &str = "you, or the page that linked here";
const OPERATOR: &str = "the operator of this service";
const STORE: &str = "the operator of the store; nothing is wrong with your request";
const NOBODY: &str = "nobody: it passes";

/// The words of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorText {
    pub title: &'static str,
    /// What happened, where the JSON body has no sentence for people.
    pub what: Option<&'static str>,
    pub who: &'static str,
    pub advice: &'static str,
}

impl Refusal {
    /// The words for its page. `of_folder`: the URL is that of a folder, in a profile that opens none.
    #[must_use]
    pub fn text(&self, of_folder: bool) -> ErrorText {
        let of = |title, who, advice| ErrorText { title, what: None, who, advice };
        let with = |title, what, who, advice| ErrorText { title, what: Some(what), who, advice };
        match self {
            Self::RouteUnknown => with(
                "Not found",
                "This gateway has no page at this address.",
                CLIENT,
                "Compare the address with those on the start page.",
            ),
            Self::MethodNotAllowed => with(
                "Method not allowed",
                "This gateway reads objects, and changes none.",
                CLIENT,
                "Use GET or HEAD.",
            ),
            Self::UserMissing => with(
                "Login required",
                "The request names no user.",
                OPERATOR,
                "Open the address through the login of this service.",
            ),
            Self::UserNotInCertificate => with(
                "Login required",
                "The certificate of this client names no user: its subject has no common name (CN).",
                CLIENT,
                "Use a certificate with a common name, of the authority that issued yours.",
            ),
            Self::BadRequest(_) => of("Bad request", CLIENT, "Correct the request."),
            Self::Address(_) => of("Bad address", CLIENT, "Correct the address."),
            Self::ProfileUnknown | Self::NoDefaultProfile => {
                of("Not found", CLIENT, "Check the spelling: names are case-sensitive.")
            }
            Self::BucketNotAllowed => {
                of("Not allowed", CLIENT, "If you need this bucket, ask the operator.")
            }
            Self::MediaTypeDenied(_) if of_folder => with(
                "Not listed",
                "This is the address of a folder, and the gateway lists no folders of this profile.",
                CLIENT,
                "Open the address of an object. If you need the list of a folder, ask the operator of this \
                 service to set listing: true for the profile.",
            ),
            Self::MediaTypeDenied(_) => with(
                "Not served",
                "Objects of this type are not served here. The address of a folder ends with a slash.",
                CLIENT,
                "If you need this object, ask the operator to allow its media type.",
            ),
            Self::ObjectNotFound => with(
                "Not found",
                "There is no such object.",
                CLIENT,
                "Check the spelling of the address: it is case-sensitive.",
            ),
            Self::PreconditionFailed => of("Changed", CLIENT, "Fetch the object again."),
            Self::RangeNotSatisfiable(_) => {
                of("No such part", CLIENT, "Request a part within the length of the object.")
            }
            Self::CredentialsMissing | Self::UpstreamRedirect => {
                of("Not configured", OPERATOR, "Report the request id to the operator.")
            }
            Self::ListingDenied | Self::UpstreamForbidden | Self::UpstreamRejected => {
                of("Access denied", OPERATOR, "Report the request id to the operator.")
            }
            Self::ArchiveDamaged(_) | Self::ArchiveUnsupported(_) => of(
                "The archive cannot be read",
                OPERATOR,
                "Report the request id to the operator, who can ask the owner of the data.",
            ),
            Self::ArchiveNotCached => of("Not available now", NOBODY, "Try again in a moment."),
            Self::UpstreamBusy(_) => of("The store is busy", NOBODY, "Try again in a moment."),
            Self::UpstreamSaturated | Self::UserSaturated | Self::ConnectionsFull => {
                of("Too many requests", NOBODY, "Try again in a moment.")
            }
            Self::UpstreamError
            | Self::UpstreamProtocol
            | Self::UpstreamUnresolved
            | Self::UpstreamProxy
            | Self::UpstreamUnreachable
            | Self::UpstreamReset => of(
                "The store fails",
                STORE,
                "Try again in a minute. If it persists, report the request id to the operator.",
            ),
            Self::UpstreamTimeout => of(
                "The store is slow",
                STORE,
                "Try again in a minute. If it persists, report the request id to the operator.",
            ),
            Self::Internal => {
                of("The gateway failed", OPERATOR, "Report the request id to the operator.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_store_is_not_blamed_on_the_client() {
        for refusal in [Refusal::UpstreamError, Refusal::UpstreamTimeout, Refusal::ListingDenied] {
            assert_ne!(refusal.text(false).who, CLIENT, "{refusal:?}");
        }
        assert_eq!(Refusal::ObjectNotFound.text(false).who, CLIENT);
    }
}
