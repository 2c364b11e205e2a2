//! The endpoints of a profile: one, with or without keys in its URL, or several.

use crate::config::endpoint_url::EndpointUrl;
use crate::config::layers::{ENDPOINT_FLAG, Reported};
use crate::config::problem::{Problem, ValueSource};
use crate::config::profiles::ProfileReader;
use crate::config::settings::profile::WrittenProfile;
use crate::s3::credentials::Keys;
use crate::s3::endpoint::Endpoint;

/// What is written of the endpoints of a profile.
pub(super) struct WrittenEndpoints {
    /// The first one; `None` is Amazon's endpoint of the profile's region.
    pub(super) explicit: Option<Endpoint>,
    /// The access key in its URL.
    pub(super) url_keys: Option<Keys>,
    /// The others, in order.
    pub(super) further: Vec<Endpoint>,
}

impl ProfileReader<'_, '_> {
    /// Reads the endpoints: those of the profile, or else those of the default profile.
    pub(super) fn endpoints(
        &mut self,
        key: &impl Fn(&str) -> String,
        is_default: bool,
        written: &WrittenProfile,
    ) -> Result<WrittenEndpoints, Reported> {
        let report = &mut self.layers.report;
        let (one, several) = (key("endpoint"), key("endpoints"));
        // Without these the store is unknown.
        if report.is_unread(&several) {
            return Err(Reported);
        }
        let found = match (&written.endpoint, &written.endpoints[..]) {
            (Some(_), [_, ..]) => {
                let source = report.source(&one);
                let message = format!("is set, and so is {one} ({source}): keep one of them");
                let problem = Problem::new(report.source(&several), message).key(several);
                return Err(report.problem(problem));
            }
            (Some(EndpointUrl { endpoint, keys }), []) => WrittenEndpoints {
                explicit: endpoint.clone(),
                url_keys: keys.clone(),
                further: Vec::new(),
            },
            (None, [first, further @ ..]) => WrittenEndpoints {
                explicit: Some(first.clone()),
                url_keys: None,
                further: further.to_vec(),
            },
            (None, []) => WrittenEndpoints {
                explicit: self.base.clone(),
                url_keys: None,
                further: self.base_further.clone(),
            },
        };
        let flag = ValueSource::Flag(ENDPOINT_FLAG);
        if found.url_keys.is_some() && report.source(&one) == flag {
            let message = "has an access key, which every user of this machine sees in the list of \
                           processes: use --access-key-file";
            return Err(report.problem(Problem::new(flag, message)));
        }
        if is_default {
            self.base.clone_from(&found.explicit);
            self.base_further.clone_from(&found.further);
        }
        Ok(found)
    }
}
