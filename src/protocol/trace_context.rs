//! The context of a trace in a request: `traceparent` and `tracestate`
//! (<https://www.w3.org/TR/trace-context/>, section 3).

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the ids of the trace and of the span that sends the request.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with the notes of tracing systems.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of a `traceparent` of version 00, bytes.
const LENGTH: usize = 55;
/// The flag of a span that is recorded.
const SAMPLED: u8 = 1;
/// The longest `tracestate` that is kept, bytes (section 3.3.1.1).
const MAX_STATE: usize = 512;
/// The most members of a `tracestate` (section 3.3.1.3).
const MAX_MEMBERS: usize = 32;
/// The longest key, and the longest value, of a member, bytes (section 3.3.1.3).
const MAX_PART: usize = 256;

/// A span, as others name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Never 0.
    pub trace_id: u128,
    /// Never 0.
    pub span_id: u64,
    /// Whether the span is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The context in the headers of a request; `None` if there is none, more than one, or it is not
    /// well-formed.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            _ => None,
        }
    }

    /// Parses the value of `traceparent`. Of a later version, the part that version 00 has is read (section
    /// 4.3); upper case is not accepted.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let text = std::str::from_utf8(known).ok()?;
        let mut fields = text.split('-');
        let version = number(fields.next()?, 2)?;
        let trace_id = number(fields.next()?, 32)?;
        let span_id = u64::try_from(number(fields.next()?, 16)?).ok()?;
        let flags = u8::try_from(number(fields.next()?, 2)?).ok()?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        let is_known = fields.next().is_none() && is_whole && trace_id != 0 && span_id != 0;
        is_known.then_some(Self { trace_id, span_id, sampled: flags & SAMPLED != 0 })
    }

    /// The value of `traceparent`, version 00.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        let mut text = String::with_capacity(LENGTH);
        text.push_str("00-");
        self.push_trace_id(&mut text);
        text.push('-');
        self.push_span_id(&mut text);
        text.push_str(if self.sampled { "-01" } else { "-00" });
        // Hexadecimal digits and hyphens are a value.
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Appends the trace id, 32 hexadecimal digits.
    pub fn push_trace_id(&self, text: &mut String) {
        push_hex(text, &self.trace_id.to_be_bytes());
    }

    /// Appends the span id, 16 hexadecimal digits.
    pub fn push_span_id(&self, text: &mut String) {
        push_hex(text, &self.span_id.to_be_bytes());
    }
}

/// The `tracestate` that belongs to the context of a request, its lines joined; `None` if there is none, or
/// one that is too long, names a key twice, or has a member that is none.
#[must_use]
pub fn trace_state(headers: &HeaderMap) -> Option<String> {
    let mut state = String::new();
    let mut keys = Vec::new();
    for line in headers.get_all(TRACESTATE) {
        for member in line.to_str().ok()?.split(',').map(|it| it.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let is_new = keys.iter().all(|other| *other != key);
            if !is_new || !is_key(key) || !is_value(value) || keys.len() == MAX_MEMBERS {
                return None;
            }
            keys.push(key);
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
        }
    }
    (1..=MAX_STATE).contains(&state.len()).then_some(state)
}

/// Whether this is the name of a tracing system (section 3.3.1.3.1). The first character of a tenant's may be a digit.
fn is_key(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = text.bytes().next();
    first.is_some_and(is_alphanumeric)
        && text.len() <= MAX_PART
        && text.bytes().all(|byte| is_alphanumeric(byte) || b"_-*/@".contains(&byte))
}

/// Whether this is the note of one (section 3.3.1.3.2); spaces at its end are gone already.
fn is_value(text: &str) -> bool {
    let is_part = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    (1..=MAX_PART).contains(&text.len()) && text.bytes().all(is_part)
}

/// A number of exactly `digits` lower-case hexadecimal digits.
fn number(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(is_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// Appends at most 16 bytes as hexadecimal digits. Each log line has two ids: all digits are made before they are
/// appended.
fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let mut digits = [0; 32];
    let (pairs, _) = digits.as_chunks_mut();
    for ([high, low], byte) in pairs.iter_mut().zip(bytes) {
        (*high, *low) = (digit(byte >> 4), digit(byte & 0xf));
    }
    let digits = digits.get(..2 * bytes.len()).unwrap_or_default();
    text.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_context_is_taken_only_if_it_is_well_formed() {
        let whole = format!("00-{TRACE}-{SPAN}-01");
        let zero = "0".repeat(32);
        for (value, sampled) in [
            (whole.clone(), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            // Other flags say nothing here.
            (format!("00-{TRACE}-{SPAN}-02"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-ff"), Some(true)),
            // A later version may have more.
            (format!("01-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what-comes"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01.what-comes"), None),
            (format!("cc-{TRACE}-{SPAN}-010"), None),
            (format!("00-{TRACE}-{SPAN}-01-x"), None),
            (format!("00-{TRACE}-{SPAN}-01 "), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{zero}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}-{SPAN}-0g"), None),
            (format!("00-{TRACE}-{SPAN}-+1"), None),
            (format!("00-{TRACE}_{SPAN}-01"), None),
            (format!("0-0{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("00-{}-{SPAN}x-01", TRACE.trim_start_matches('4')), None),
            (String::new(), None),
            ("é".repeat(28), None),
        ] {
            let parsed = TraceContext::parse(value.as_bytes());
            assert_eq!(parsed.map(|it| it.sampled), sampled, "{value:?}");
            let is_ours = |it: TraceContext| {
                it.span_id == 0x00f0_67aa_0ba9_02b7 && format!("{:032x}", it.trace_id) == TRACE
            };
            assert!(parsed.is_none_or(is_ours), "{value:?}");
        }
    }

    #[test]
    fn two_headers_are_no_context() {
        let value = || HeaderValue::from_str(&format!("00-{TRACE}-{SPAN}-01")).expect("a value");
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        headers.append(TRACEPARENT, value());
        assert!(TraceContext::of(&headers).is_some());
        headers.append(TRACEPARENT, value());
        assert_eq!(TraceContext::of(&headers), None);
    }

    #[test]
    fn the_state_is_kept_if_it_is_a_list_of_members() {
        let many =
            |number: u32| (0..number).map(|nth| format!("a{nth}=1")).collect::<Vec<_>>().join(",");
        let long = |more: usize| format!("a={},b={}", "x".repeat(253), "x".repeat(254 + more));
        for (lines, expected) in [
            (vec![], None),
            (vec![""], None),
            (vec!["congo=t61"], Some("congo=t61".to_owned())),
            (vec!["a=1, b=2", "c@x=3,,"], Some("a=1,b=2,c@x=3".to_owned())),
            (vec!["a=1", "b"], None),
            (vec!["=1"], None),
            (vec!["a=\u{e9}"], None),
            (vec![&many(32)], Some(many(32))),
            (vec![&many(33)], None),
            (vec![&long(0)], Some(long(0))),
            (vec![&long(1)], None),
            (vec![&format!("a={}", "x".repeat(257))], None),
            (vec![&format!("{}=x", "a".repeat(257))], None),
            (vec!["1a@b/c-d_e*=x y;!"], Some("1a@b/c-d_e*=x y;!".to_owned())),
            // Only one entry for a key; keys are lower case.
            (vec!["a=1,a=2"], None),
            (vec!["a=1", "b=2,a=1"], None),
            (vec!["A=1;;"], None),
            (vec!["a =1"], None),
            (vec!["_a=1"], None),
            (vec!["a="], None),
            (vec!["a=1=2"], None),
            (vec!["a=1\t2"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                let value = HeaderValue::from_bytes(line.as_bytes()).expect("a value");
                headers.append(TRACESTATE, value);
            }
            assert_eq!(trace_state(&headers), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, sampled: bool,
        ) {
            let context = TraceContext { trace_id, span_id, sampled };
            let header = context.to_header();
            prop_assert_eq!(header.len(), LENGTH);
            prop_assert_eq!(TraceContext::parse(header.as_bytes()), Some(context));
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _parsed = TraceContext::parse(&bytes);
        }

        #[test]
        fn one_wrong_byte_is_never_another_length(at in 0..LENGTH, byte in any::<u8>()) {
            let mut value = format!("00-{TRACE}-{SPAN}-01").into_bytes();
            value[at] = byte;
            if let Some(parsed) = TraceContext::parse(&value) {
                // Whatever is accepted is written as it was, but for version and flags.
                let written = parsed.to_header();
                prop_assert_eq!(&written.as_bytes()[3..52], &value[3..52]);
            }
        }
    }
}
