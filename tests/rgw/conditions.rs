//! Conditional and range requests, answered as RFC 9110 says even where RGW does not.

use crate::{gateway::Gateway, rgw::Rgw, wire::Answer};
use std::time::{Duration, SystemTime};

/// The expected answer to a GET.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// 200 and all of it.
    Whole,
    /// 206 and the bytes from the first to the second number, both included.
    Part(usize, usize),
    NotModified,
    Failed,
    /// 416, saying how long the object is.
    Unsatisfiable,
}
use Want::{Failed, NotModified, Part, Unsatisfiable, Whole};

const SIZE: usize = 4096;

/// Headers, and the answer. `{etag}` and the dates, of which `{same}` is the object's own
/// Last-Modified, are filled in by [`Validators::fill_in`].
#[rustfmt::skip]
const CASES: &[(&[(&str, &str)], Want)] = &[
    (&[], Whole),

    // Section 13.1.2: weak comparison, lists, `*`.
    (&[("If-None-Match", "{etag}")], NotModified),
    (&[("If-None-Match", "\"other\"")], Whole),
    (&[("If-None-Match", "\"other\", {etag}")], NotModified),
    (&[("If-None-Match", "{etag},\"other\"")], NotModified),
    (&[("If-None-Match", "\"a,b\" ,, {etag}")], NotModified),
    (&[("If-None-Match", "\"other\", \"another\"")], Whole),
    (&[("If-None-Match", "\"other\""), ("If-None-Match", "{etag}")], NotModified),
    (&[("If-None-Match", "W/{etag}")], NotModified),
    (&[("If-None-Match", "\"other\", W/{etag}")], NotModified),
    (&[("If-None-Match", "*")], NotModified),

    // Section 13.1.3: a comparison of dates, not of text.
    (&[("If-Modified-Since", "{same}")], NotModified),
    (&[("If-Modified-Since", "{after}")], NotModified),
    (&[("If-Modified-Since", "{before}")], Whole),
    (&[("If-Modified-Since", "{same-rfc850}")], NotModified),
    (&[("If-Modified-Since", "{same-asctime}")], NotModified),
    (&[("If-Modified-Since", "yesterday")], Whole),
    (&[("If-Modified-Since", "")], Whole),
    (&[("If-None-Match", "\"other\""), ("If-Modified-Since", "{same}")], Whole),
    (&[("If-None-Match", "{etag}"), ("If-Modified-Since", "{before}")], NotModified),

    // Section 13.1.1: strong comparison, lists, `*`.
    (&[("If-Match", "{etag}")], Whole),
    (&[("If-Match", "\"other\"")], Failed),
    (&[("If-Match", "\"other\", {etag}")], Whole),
    (&[("If-Match", "\"other\", \"another\"")], Failed),
    (&[("If-Match", "W/{etag}")], Failed),
    (&[("If-Match", "*")], Whole),

    // Section 13.1.4.
    (&[("If-Unmodified-Since", "{same}")], Whole),
    (&[("If-Unmodified-Since", "{after}")], Whole),
    (&[("If-Unmodified-Since", "{before}")], Failed),
    (&[("If-Unmodified-Since", "yesterday")], Whole),
    (&[("If-Match", "{etag}"), ("If-Unmodified-Since", "{before}")], Whole),

    // Section 13.2.2: 412 and then 304, in this order, before any range.
    (&[("If-Match", "{etag}"), ("If-None-Match", "{etag}")], NotModified),
    (&[("If-Match", "\"other\""), ("If-None-Match", "{etag}")], Failed),
    (&[("If-None-Match", "{etag}"), ("Range", "bytes=0-9")], NotModified),
    (&[("If-None-Match", "\"other\""), ("Range", "bytes=0-9")], Part(0, 9)),
    (&[("If-Match", "\"other\""), ("Range", "bytes=0-9")], Failed),
    (&[("If-Match", "{etag}"), ("Range", "bytes=0-9")], Part(0, 9)),
    (&[("If-None-Match", "{etag}"), ("Range", "bytes=9999-")], NotModified),

    // Section 14: ranges.
    (&[("Range", "bytes=0-9")], Part(0, 9)),
    (&[("Range", "bytes=300-399")], Part(300, 399)),
    (&[("Range", "bytes=4090-")], Part(4090, 4095)),
    (&[("Range", "bytes=-5")], Part(4091, 4095)),
    (&[("Range", "bytes=4000-9999")], Part(4000, 4095)),
    (&[("Range", "bytes=-9999")], Part(0, 4095)),
    (&[("Range", "bytes=0-")], Part(0, 4095)),
    (&[("Range", "BYTES=0-9")], Part(0, 9)),
    (&[("Range", "bytes=4096-")], Unsatisfiable),
    (&[("Range", "bytes=-0")], Unsatisfiable),
    (&[("Range", "bytes=abc")], Whole),
    (&[("Range", "bytes=9-0")], Whole),
    (&[("Range", "bytes=")], Whole),
    (&[("Range", "items=0-9")], Whole),
    (&[("Range", "bytes=0-1,5-6")], Whole),

    // Section 13.1.5: strong comparison; a date must be the very same.
    (&[("Range", "bytes=0-9"), ("If-Range", "{etag}")], Part(0, 9)),
    (&[("Range", "bytes=0-9"), ("If-Range", "\"other\"")], Whole),
    (&[("Range", "bytes=0-9"), ("If-Range", "W/{etag}")], Whole),
    (&[("Range", "bytes=0-9"), ("If-Range", "{same}")], Part(0, 9)),
    (&[("Range", "bytes=0-9"), ("If-Range", "{before}")], Whole),
    (&[("Range", "bytes=0-9"), ("If-Range", "{after}")], Whole),
    (&[("Range", "bytes=9999-"), ("If-Range", "\"other\"")], Whole),
    (&[("If-Range", "\"other\"")], Whole),
    (&[("If-Match", "{etag}"), ("If-Range", "\"other\""), ("Range", "bytes=0-9")], Whole),
];

/// What identifies the object that the cases ask for.
struct Validators {
    etag: String,
    last_modified: String,
}

impl Validators {
    fn of(answer: &Answer) -> Self {
        Self {
            etag: answer.header("etag").expect("an ETag").to_owned(),
            last_modified: answer.header("last-modified").expect("a Last-Modified").to_owned(),
        }
    }

    fn modified(&self) -> SystemTime {
        httpdate::parse_http_date(&self.last_modified).expect("Last-Modified is a date")
    }

    fn fill_in(&self, template: &str) -> String {
        let hour = Duration::from_secs(3600);
        template
            .replace("{etag}", &self.etag)
            .replace("{same}", &self.last_modified)
            .replace("{before}", &httpdate::fmt_http_date(self.modified() - hour))
            .replace("{after}", &httpdate::fmt_http_date(self.modified() + hour))
            .replace("{same-rfc850}", &rfc850(&self.last_modified))
            .replace("{same-asctime}", &asctime(&self.last_modified))
    }

    /// Until a second has passed since the object changed, its Last-Modified is a weak validator
    /// (section 8.8.2.2), and a gateway may rightly refuse to combine parts by it.
    fn wait_until_strong(&self, gateway: &Gateway) {
        let strong = self.modified() + Duration::from_secs(2);
        let date = || {
            let answer = gateway.ask("GET", "/", &[]);
            let date = answer.header("date").expect("a Date").to_owned();
            httpdate::parse_http_date(&date).expect("Date is a date")
        };
        while date() < strong {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`, the first obsolete form of section 5.6.7.
fn rfc850(date: &str) -> String {
    let [weekday, day, month, year, time] = fields(date);
    let weekday = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
        .into_iter()
        .find(|name| name.starts_with(weekday))
        .expect("a day of the week");
    format!(
        "{weekday}, {day}-{month}-{} {time} GMT",
        year.strip_prefix("20").expect("a year of this century")
    )
}

/// `Sun Nov  6 08:49:37 1994`, the second.
fn asctime(date: &str) -> String {
    let [weekday, day, month, year, time] = fields(date);
    let day: u32 = day.parse().expect("a day of the month");
    format!("{weekday} {month} {day:>2} {time} {year}")
}

fn fields(date: &str) -> [&str; 5] {
    let mut fields = date.split([',', ' ']).filter(|field| !field.is_empty());
    std::array::from_fn(|_| fields.next().expect("a date in the preferred form"))
}

fn content() -> Vec<u8> {
    (0..=u8::MAX).cycle().take(SIZE).collect()
}

/// What is wrong with an answer to `method`, if anything.
fn verdict(method: &str, answer: &Answer, want: Want, known: &Validators) -> Result<(), String> {
    let content = content();
    let (status, range, body) = match want {
        Whole => (200, None, &content[..]),
        Part(first, last) => {
            (206, Some(format!("bytes {first}-{last}/{SIZE}")), &content[first..=last])
        }
        NotModified => (304, None, &content[..0]),
        Failed => (412, None, &content[..0]),
        Unsatisfiable => (416, Some(format!("bytes */{SIZE}")), &content[..0]),
    };
    let expect = |what: &str, got: Option<&str>, wanted: Option<&str>| match got == wanted {
        true => Ok(()),
        false => Err(format!("{what}: got {got:?}, want {wanted:?}")),
    };
    expect("status", Some(&answer.status.to_string()), Some(&status.to_string()))?;
    expect("Content-Range", answer.header("content-range"), range.as_deref())?;
    if status >= 400 {
        return Ok(());
    }
    expect("ETag", answer.header("etag"), Some(&known.etag))?;
    let cache_control = answer.header("cache-control");
    if status == 304 {
        // RGW leaves the object's own off its 304, so there the gateway adds no default.
        return match cache_control {
            None | Some("public, max-age=60") => Ok(()),
            other => Err(format!("Cache-Control: got {other:?}")),
        };
    }
    expect("Cache-Control", cache_control, Some("public, max-age=60"))?;
    expect("Last-Modified", answer.header("last-modified"), Some(&known.last_modified))?;
    expect("Content-Type", answer.header("content-type"), Some("image/png"))?;
    expect("Accept-Ranges", answer.header("accept-ranges"), Some("bytes"))?;
    expect("Content-Length", answer.header("content-length"), Some(&body.len().to_string()))?;
    match method == "HEAD" || answer.body == body {
        true => Ok(()),
        false => Err(format!("wrong body of {} bytes", answer.body.len())),
    }
}

#[test]
fn conditions_and_ranges_are_answered_as_rfc_9110_says() {
    let Some(rgw) = Rgw::from_environment("conditions") else { return };
    let gateway = Gateway::start(&rgw);
    rgw.put("o.png", &content());
    let path = gateway.path("o.png");
    // The store's own values, so that a validator that the gateway changed is detected.
    let known = Validators::of(&rgw.get("o.png", &[]));
    known.wait_until_strong(&gateway);

    let mut wrong = Vec::new();
    for (headers, want) in CASES {
        let filled: Vec<_> =
            headers.iter().map(|(name, value)| (*name, known.fill_in(value))).collect();
        let sent: Vec<_> = filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // Section 14.2: Range applies to GET only.
        let for_head = match want {
            Part(..) | Unsatisfiable => Whole,
            other => *other,
        };
        for (method, want) in [("GET", *want), ("HEAD", for_head)] {
            let answer = gateway.ask(method, &path, &sent);
            if let Err(reason) = verdict(method, &answer, want, &known) {
                wrong.push(format!("{method} {sent:?}: {reason}"));
            }
        }
    }
    let asked = CASES.len() * 2;
    assert!(wrong.is_empty(), "{} of {asked} answers:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn conditions_do_not_turn_a_missing_object_into_anything_else() {
    let Some(rgw) = Rgw::from_environment("missing") else { return };
    let gateway = Gateway::start(&rgw);
    for header in [("If-None-Match", "*"), ("If-None-Match", "\"other\""), ("Range", "bytes=0-9")] {
        for method in ["GET", "HEAD"] {
            let answer = gateway.ask(method, &gateway.path("missing.png"), &[header]);
            assert_eq!(answer.status, 404, "{method} {header:?}: {}", answer.text());
        }
    }
}
