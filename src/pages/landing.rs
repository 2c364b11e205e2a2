//! The landing page: what the gateway is, how a URL is made, and the profiles that may be named.

use crate::pages::html::{Site, escaped};

/// A profile that is `listed`.
#[derive(Debug, Clone)]
pub struct ListedProfile {
    /// The part of a URL before the bucket: `hips@`, or nothing for the default profile.
    pub name: String,
    /// A few words on its store.
    pub state: String,
    /// The buckets that have a page: those of a profile with `listing` whose names are known.
    pub buckets: Vec<String>,
}

/// The page; `origin` is scheme and host as the browser named them.
#[must_use]
pub fn render(site: &Site, description: &str, origin: &str, profiles: &[ListedProfile]) -> String {
    let (name, description) = (escaped(&site.name), escaped(description));
    let (origin, prefix) = (escaped(origin), escaped(&site.prefix));
    let mut main = format!(
        "<h1>{name}</h1>\n<p>{description}. Read the objects of private S3 buckets like files on a web \
         server.</p>\n<h2>How a URL is made</h2>\n\
         <pre tabindex=\"0\"><code>{origin}{prefix}/s3/profile@bucket/path/to/file</code></pre>\n\
         <p>The profile before the <code>@</code> selects a store and its access key. The operator says \
         which profiles and buckets there are. <a href=\"{prefix}/docs\">How to use it</a> has the rest; \
         <a href=\"{prefix}/openapi.json\">openapi.json</a> says the same to programs.</p>\n"
    );
    if !profiles.is_empty() {
        main.push_str(
            "<h2>Profiles</h2>\n<table>\n<thead><tr><th scope=\"col\">Profile</th>\
             <th scope=\"col\">Store</th><th scope=\"col\">Buckets</th></tr></thead>\n<tbody>\n",
        );
        for profile in profiles {
            let label = if profile.name.is_empty() { "(default)" } else { &profile.name };
            let links: Vec<String> =
                profile.buckets.iter().map(|bucket| link(site, &profile.name, bucket)).collect();
            main.push_str(&format!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
                escaped(label),
                escaped(&profile.state),
                links.join(" ")
            ));
        }
        main.push_str("</tbody>\n</table>\n");
    }
    site.document(&site.name, &main)
}

fn link(site: &Site, profile: &str, bucket: &str) -> String {
    let (prefix, profile, bucket) = (escaped(&site.prefix), escaped(profile), escaped(bucket));
    format!("<a href=\"{prefix}/s3/{profile}{bucket}/\">{bucket}</a>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_profiles_are_named() {
        let site = Site::new("tiles", "/s3proxy", "3");
        let page = render(&site, "Data", "https://data.example", &[]);
        assert!(page.contains("https://data.example/s3proxy/s3/profile@bucket/"));
        assert!(!page.contains("<table"));
        let profile = ListedProfile {
            name: "hips@".to_owned(),
            state: "answers".to_owned(),
            buckets: vec!["sky".to_owned()],
        };
        let page = render(&site, "Data", "http://\"><b>", &[profile]);
        assert!(page.contains("<a href=\"/s3proxy/s3/hips@sky/\">sky</a>"), "{page}");
        assert!(!page.contains("<b>"));
    }
}
