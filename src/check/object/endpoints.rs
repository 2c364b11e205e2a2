//! The check of an object whose profile has several endpoints.

use pingora::connectors::TransportConnector;

use crate::check::object::ObjectCheck;
use crate::check::report::Finding;
use crate::mime::KeyType;
use crate::profile::Profile;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;

impl ObjectCheck<'_> {
    /// Asks the endpoints in their order until one answers, as the gateway does that knows nothing of them
    /// yet.
    pub(super) async fn ask_endpoints(
        &mut self,
        connector: &TransportConnector,
        address: &ObjectAddress,
        profile: &Profile,
        content_type: Option<KeyType>,
    ) -> Result<Finding, Refusal> {
        let mut endpoints = profile.at_each_endpoint().peekable();
        let mut answer = Err(Refusal::Internal);
        while let Some(single) = endpoints.next() {
            answer = self.ask_store(connector, address, &single, content_type.clone()).await;
            let Err(refusal) = &answer else { break };
            let Some(next) = endpoints.peek().filter(|_| refusal.is_store_failure()) else { break };
            let detail = format!(
                "endpoint {} fails ({}): {} is asked",
                single.endpoint,
                refusal.cause(),
                next.endpoint
            );
            let fix = "the gateway leaves the endpoint out as long as it does not answer; see the steps above";
            self.note("endpoint", Finding::warning(detail, fix));
        }
        answer
    }
}
