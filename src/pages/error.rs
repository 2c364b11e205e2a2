//! The page of an error: what happened, who has to act, what to do, and what to quote.

use crate::pages::html::{Site, escape, escaped};

/// An error as a person reads it.
#[derive(Debug, Clone, Copy)]
pub struct ErrorPage<'a> {
    /// The HTTP status code.
    pub status: u16,
    /// A few words for the heading.
    pub title: &'a str,
    /// What happened.
    pub what: &'a str,
    /// Who has to act.
    pub who: &'a str,
    /// What to do.
    pub advice: &'a str,
    /// The `s3://` name of the requested object; empty if there is none.
    pub object: &'a str,
    pub cause: &'a str,
    pub request_id: &'a str,
    /// RFC 3339.
    pub time: &'a str,
}

impl ErrorPage<'_> {
    /// The page.
    #[must_use]
    pub fn render(&self, site: &Site) -> String {
        let Self { status, title, what, who, advice, object, cause, request_id, time } = *self;
        let mut main = String::with_capacity(1024);
        let heading = format!("{status} {title}");
        main.push_str("<h1>");
        escape(&heading, &mut main);
        for paragraph in [what, advice] {
            main.push_str(if paragraph == what { "</h1>\n<p>" } else { "<p>" });
            escape(paragraph, &mut main);
            main.push_str("</p>\n");
        }
        main.push_str("<dl>\n");
        for (term, value) in [
            ("Object", object),
            ("Who has to act", who),
            ("Cause", cause),
            ("Request id, to quote in a report", request_id),
            ("Time", time),
        ] {
            if !value.is_empty() {
                let value = escaped(value);
                main.push_str(&format!("<dt>{term}</dt><dd><bdi>{value}</bdi></dd>\n"));
            }
        }
        main.push_str("</dl>\n");
        site.document(&heading, &main)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_is_text() {
        let page = ErrorPage {
            status: 404,
            title: "Not found",
            what: "There is no such object.",
            who: "you",
            advice: "Check the URL.",
            object: "s3://sky/<script>alert(1)</script>",
            cause: "object_not_found",
            request_id: "\"><img>",
            time: "2026-01-01T00:00:00Z",
        };
        let html = page.render(&Site::new("x", "/p", "3"));
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        for part in ["<h1>404 Not found</h1>", "Check the URL.", "object_not_found", "2026-01-01"] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
