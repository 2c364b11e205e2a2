//! Which proxy is on the way to an endpoint: that of the profile, that of `upstream.proxy`, or that of
//! the variables that curl and Python's requests read.

use crate::config::endpoint_url::redacted;
use crate::config::layers::{Layers, Reported};
use crate::config::problem::{Problem, ValueSource};
use crate::config::settings::connections::upstream;
use crate::config::settings::variable;
use crate::config::value::{Written, optional, text};
use crate::s3::endpoint::Endpoint;
use crate::s3::proxy::{NoProxy, Proxy};

/// What a setting says of proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    /// Stores are connected to directly.
    Off,
    Through(Proxy),
}

/// Reads `off` or the URL of a proxy; nothing written is `None`. No message contains credentials.
pub(super) fn proxy_choice(written: Written<'_>) -> Result<Option<ProxyChoice>, String> {
    optional(written, |written| match text(written)?.as_str() {
        "off" => Ok(ProxyChoice::Off),
        url => Proxy::parse(url).map(ProxyChoice::Through),
    })
}

/// The proxies for all profiles.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    /// `upstream.proxy`.
    general: Option<(ProxyChoice, ValueSource)>,
    https: Option<(Proxy, ValueSource)>,
    http: Option<(Proxy, ValueSource)>,
    no_proxy: NoProxy,
}

impl Proxies {
    /// Reads the variables, the lower-case spelling first, as curl and requests do.
    pub(super) fn read(
        layers: &mut Layers<'_>,
        general: Option<ProxyChoice>,
    ) -> Result<Self, Reported> {
        let source = layers.report.source(upstream::proxy().row.path);
        let general = general.map(|choice| (choice, source));
        let https = of_variable(layers, variable::HTTPS_PROXY);
        let http = of_variable(layers, variable::HTTP_PROXY);
        let no_proxy = either_spelling(layers, variable::NO_PROXY);
        let no_proxy = no_proxy.map(|(_, list)| NoProxy::parse(list)).unwrap_or_default();
        Ok(Self { general, https: https?, http: http?, no_proxy })
    }

    /// The proxy on the way to this endpoint, and where it is written. `own` is what the profile says: it
    /// counts for hosts of `NO_PROXY`, too.
    pub(super) fn of(
        &self,
        endpoint: &Endpoint,
        own: Option<(&ProxyChoice, ValueSource)>,
    ) -> Option<(Proxy, ValueSource)> {
        match own {
            Some((ProxyChoice::Off, _)) => return None,
            Some((ProxyChoice::Through(proxy), source)) => return Some((proxy.clone(), source)),
            None => {}
        }
        if self.no_proxy.exempts(endpoint) {
            return None;
        }
        match &self.general {
            Some((ProxyChoice::Off, _)) => None,
            Some((ProxyChoice::Through(proxy), source)) => Some((proxy.clone(), source.clone())),
            None if endpoint.tls => self.https.clone(),
            None => self.http.clone(),
        }
    }
}

fn either_spelling<'a>(layers: &Layers<'a>, name: &str) -> Option<(&'a str, &'a str)> {
    layers.env.get(&name.to_ascii_lowercase()).or_else(|| layers.env.get(name))
}

fn of_variable(
    layers: &mut Layers<'_>,
    name: &str,
) -> Result<Option<(Proxy, ValueSource)>, Reported> {
    let Some((name, url)) = either_spelling(layers, name) else { return Ok(None) };
    let source = ValueSource::Variable(name.to_owned());
    match Proxy::parse(url) {
        Ok(proxy) => Ok(Some((proxy, source))),
        Err(message) => {
            let problem = Problem::new(source, message).value(redacted(url));
            Err(layers.report.problem(problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(url: &str) -> (Proxy, ValueSource) {
        (Proxy::parse(url).expect("a proxy"), ValueSource::Variable(url.to_owned()))
    }

    #[test]
    fn the_profile_comes_first_then_the_gateway_then_the_variable_of_the_scheme() {
        let variables = Proxies {
            general: None,
            https: Some(some("s:1")),
            http: Some(some("h:1")),
            no_proxy: NoProxy::parse("near"),
        };
        let through = |url| ProxyChoice::Through(some(url).0);
        let with = |general: ProxyChoice| Proxies {
            general: Some((general, ValueSource::Default)),
            ..variables.clone()
        };
        for (proxies, own, url, expected) in [
            (&variables, None, "https://far", Some("http://s:1")),
            (&variables, None, "http://far", Some("http://h:1")),
            (&variables, None, "http://near", None),
            (&variables, Some(through("o:1")), "http://near", Some("http://o:1")),
            (&variables, Some(ProxyChoice::Off), "http://far", None),
            (&with(through("g:1")), None, "https://far", Some("http://g:1")),
            (&with(through("g:1")), None, "https://near", None),
            (&with(through("g:1")), Some(ProxyChoice::Off), "https://far", None),
            (&with(ProxyChoice::Off), None, "https://far", None),
            (&with(ProxyChoice::Off), Some(through("o:1")), "https://far", Some("http://o:1")),
            (&Proxies::default(), None, "https://far", None),
        ] {
            let endpoint = Endpoint::parse(url).expect("an endpoint");
            let own = own.as_ref().map(|choice| (choice, ValueSource::Default));
            let found = proxies.of(&endpoint, own).map(|(proxy, _)| proxy.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn off_is_a_word_and_nothing_is_no_proxy() {
        let yaml = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).expect("YAML");
        for (text, choice) in [("off", Some(ProxyChoice::Off)), ("null", None)] {
            assert_eq!(proxy_choice(Written::Yaml(&yaml(text))), Ok(choice), "{text}");
        }
        assert_eq!(proxy_choice(Written::Text("")), Ok(None));
        assert!(proxy_choice(Written::Yaml(&yaml("false"))).is_err());
    }
}
