//! The priority of a request (RFC 9218): which of the responses of one connection is sent first.

use http::HeaderMap;

/// The name of the field.
const PRIORITY: &str = "priority";
/// The urgency of a request that names none (section 4.1).
const DEFAULT_URGENCY: u8 = 3;

/// How urgent a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponsePriority {
    /// From 0, the most urgent, to 7.
    pub urgency: u8,
    /// It is of use before it is complete: it shares the connection with others of its urgency.
    pub incremental: bool,
}

impl Default for ResponsePriority {
    /// That of a request which says nothing of it. Such requests share the connection, so that no download keeps
    /// the others waiting.
    fn default() -> Self {
        Self { urgency: DEFAULT_URGENCY, incremental: true }
    }
}

impl ResponsePriority {
    /// The priority in these headers. Members that are unknown, or not valid, are ignored (section 4).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(PRIORITY).iter().peekable();
        if fields.peek().is_none() {
            return Self::default();
        }
        let mut priority = Self { urgency: DEFAULT_URGENCY, incremental: false };
        for member in fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')) {
            // Parameters of a member say nothing here.
            let member = member.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            match member {
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::headers_of;

    fn parsed(fields: &[&str]) -> (u8, bool) {
        let fields: Vec<_> = fields.iter().map(|value| (PRIORITY, *value)).collect();
        let priority = ResponsePriority::of(&headers_of(&fields));
        (priority.urgency, priority.incremental)
    }

    #[test]
    fn what_clients_send_is_understood_and_all_else_ignored() {
        for (fields, expected) in [
            (&[][..], (3, true)),
            (&[""], (3, false)),
            (&["u=0, i"], (0, true)),
            (&["u=5,i=?1"], (5, true)),
            (&["i, u=7"], (7, true)),
            (&["i=?0"], (3, false)),
            (&["u=1;x=2, i;y"], (1, true)),
            (&["u=2", "i"], (2, true)),
            (&["u=1, u=6"], (6, false)),
            (&["u=8, i=1"], (3, false)),
            (&["u=-1"], (3, false)),
            (&["u=10"], (3, false)),
            (&["u = 1"], (3, false)),
            (&["U=1, I, urgent, x=\"u=1\""], (3, false)),
            (&[",,, ,;;=;,u=4"], (4, false)),
        ] {
            assert_eq!(parsed(fields), expected, "{fields:?}");
        }
    }
}
