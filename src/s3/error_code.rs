//! The error code in an S3 error document, such as `NoSuchKey`: for the log, never for the client.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

/// The most bytes of an error document that are read for its code.
pub const ERROR_DOCUMENT_BYTES: usize = 64 * 1024;

/// The text of the first `<Code>` element, if it is 1 to 64 letters and digits as in every S3 error
/// code. The rest of the document is ignored.
#[must_use]
pub fn error_code(document: &[u8]) -> Option<&str> {
    let start = find(document, b"<Code>")? + b"<Code>".len();
    let rest = document.get(start..)?;
    let code = rest.get(..find(rest, b"</Code>")?)?;
    let plausible = (1..=64).contains(&code.len()) && code.iter().all(u8::is_ascii_alphanumeric);
    if plausible { std::str::from_utf8(code).ok() } else { None }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_documents_of_real_stores() {
        for (document, code) in [
            (
                "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>x</Message></Error>",
                Some("NoSuchKey"),
            ),
            ("<Error>\n <Code>SlowDown</Code>", Some("SlowDown")),
            ("{\"Code\":\"InvalidRequest\"}", None),
            ("<Code></Code>", None),
            ("<Code>half", None),
            ("<Code><script></Code>", None),
            ("", None),
        ] {
            assert_eq!(error_code(document.as_bytes()), code, "{document}");
        }
    }
}
