//! Reads one value: the text of a variable or an option, or a node of the YAML file. Every error is the
//! end of a sentence that starts with the value: "must be ...".

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_yaml::Value;

/// An hour and a day, in milliseconds.
pub(super) const HOUR: u64 = 3_600_000;
pub(super) const DAY: u64 = 24 * HOUR;

/// A value as written, before it is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// From a variable or an option; lists and mappings are JSON.
    Text(&'a str),
    /// From the file, or a default.
    Yaml(&'a Value),
}

/// Turns a written value into a value of the configuration. The error says what is allowed; several
/// mistakes are one per line.
pub(super) type Read<T> = fn(Written<'_>) -> Result<T, String>;

impl Written<'_> {
    /// The value on one line, for a person.
    pub(super) fn shown(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Yaml(Value::Null) => "(none)".to_owned(),
            Self::Yaml(Value::String(text)) => text.clone(),
            Self::Yaml(value) => {
                serde_json::to_string(value).unwrap_or_else(|_| "(a mapping)".to_owned())
            }
        }
    }

    /// The value for the report of a mistake. Lists and mappings may contain anything, secrets
    /// included, and are not shown.
    pub(super) fn shown_if_scalar(self) -> Option<String> {
        match self {
            Self::Yaml(Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_)) => None,
            _ => Some(self.shown()),
        }
    }

    /// The text of a scalar that may be written with or without quotes, such as `5s` or `5`.
    pub(super) fn scalar(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.trim().to_owned()),
            Self::Yaml(Value::String(text)) => Some(text.clone()),
            Self::Yaml(Value::Number(number)) => Some(number.to_string()),
            Self::Yaml(_) => None,
        }
    }
}

/// Any text.
pub(super) fn text(written: Written<'_>) -> Result<String, String> {
    match written {
        Written::Text(text) => Ok(text.to_owned()),
        Written::Yaml(Value::String(text)) => Ok(text.clone()),
        Written::Yaml(_) => Err("must be text; put it in quotes".to_owned()),
    }
}

/// Nothing (`null`, or an empty variable), or what `read` reads.
pub(super) fn optional<T>(written: Written<'_>, read: Read<T>) -> Result<Option<T>, String> {
    match written {
        Written::Text("") | Written::Yaml(Value::Null) => Ok(None),
        _ => read(written).map(Some),
    }
}

/// A path of a file, or nothing.
pub(super) fn optional_path(written: Written<'_>) -> Result<Option<PathBuf>, String> {
    optional(written, path)
}

/// A path of a file.
pub(super) fn path(written: Written<'_>) -> Result<PathBuf, String> {
    match text(written)? {
        text if text.is_empty() => Err("must be the path of a file".to_owned()),
        text => Ok(text.into()),
    }
}

/// Paths of files, or none.
pub(super) fn paths(written: Written<'_>) -> Result<Vec<PathBuf>, String> {
    let all = optional(written, |written| list_of(written, |text| path(Written::Text(&text))))?;
    Ok(all.unwrap_or_default())
}

/// `true` or `false`; in variables also `1`/`0`, `yes`/`no`, `on`/`off`, `t`/`f`, `y`/`n`, in any
/// case, as the Python service reads them.
pub(super) fn boolean(written: Written<'_>) -> Result<bool, String> {
    let value = match written {
        Written::Yaml(Value::Bool(value)) => Some(*value),
        Written::Yaml(_) => None,
        Written::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
            "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
            _ => None,
        },
    };
    value.ok_or_else(|| "must be true or false".to_owned())
}

/// `true` or `false`, or nothing.
pub(super) fn optional_boolean(written: Written<'_>) -> Result<Option<bool>, String> {
    optional(written, boolean)
}

/// A whole number from `MIN` to `MAX`, which `N` can hold.
pub(super) fn count<N: TryFrom<usize>, const MIN: usize, const MAX: usize>(
    written: Written<'_>,
) -> Result<N, String> {
    written
        .scalar()
        .and_then(|text| text.parse().ok())
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
}

/// A whole number from `MIN` to `MAX`; nothing is 0, in place of a number that is worked out.
pub(super) fn automatic_count<const MIN: usize, const MAX: usize>(
    written: Written<'_>,
) -> Result<usize, String> {
    Ok(optional(written, count::<usize, MIN, MAX>)?.unwrap_or(0))
}

/// A number of bytes from `MIN` to `MAX`, which `N` can hold: `32KiB`, `16MiB`, `1GiB`, or a bare
/// number.
pub(super) fn size<N: TryFrom<u64>, const MIN: u64, const MAX: u64>(
    written: Written<'_>,
) -> Result<N, String> {
    written
        .scalar()
        .and_then(|text| parse_size(&text))
        .filter(|bytes| (MIN..=MAX).contains(bytes))
        .and_then(|bytes| N::try_from(bytes).ok())
        .ok_or_else(|| {
            format!("must be a size such as 32KiB, from {} to {}", size_text(MIN), size_text(MAX))
        })
}

/// The units of sizes with all their spellings, in bytes. Kubernetes' spelling (`Mi`) counts as `MiB`;
/// `MB` is the decimal million, and so is `M`, as in Kubernetes.
pub(super) const SIZE_UNITS: &[(&[&str], u64)] = &[
    (&["", "B"], 1),
    (&["KiB", "Ki"], 1 << 10),
    (&["MiB", "Mi"], 1 << 20),
    (&["GiB", "Gi"], 1 << 30),
    (&["TiB", "Ti"], 1 << 40),
    (&["KB", "kB", "K", "k"], 1_000),
    (&["MB", "M"], 1_000_000),
    (&["GB", "G"], 1_000_000_000),
    (&["TB", "T"], 1_000_000_000_000),
];

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, bytes) = SIZE_UNITS.iter().find(|(spellings, _)| spellings.contains(&unit))?;
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// A number of bytes as a multiple of the largest binary unit that divides it.
pub(super) fn size_text(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = |shift: u32| bytes != 0 && bytes.is_multiple_of(1 << shift);
    match UNITS.into_iter().find(|(_, shift)| whole(*shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// A time from `MIN` to `MAX` milliseconds: `500ms`, `5s`, `1m30s`, `2h`, or bare seconds.
pub(super) fn duration<const MIN: u64, const MAX: u64>(
    written: Written<'_>,
) -> Result<Duration, String> {
    let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
    written
        .scalar()
        .and_then(|text| parse_duration(&text))
        .filter(|time| (min..=max).contains(time))
        .ok_or_else(|| {
            let (min, max) = (time_text(MIN), time_text(MAX));
            format!("must be a time such as 5s or 1m30s, from {min} to {max}")
        })
}

/// The most seconds that HTTP can express (RFC 9111, section 1.2.2).
pub(super) const MAX_SECONDS: u64 = 1 << 31;

/// Whole seconds from 0 to [`MAX_SECONDS`].
pub(super) fn seconds(written: Written<'_>) -> Result<u64, String> {
    written
        .scalar()
        .and_then(|text| parse_duration(&text))
        .filter(|time| time.subsec_nanos() == 0 && time.as_secs() <= MAX_SECONDS)
        .map(|time| time.as_secs())
        .ok_or_else(|| {
            format!(
                "must be a whole number of seconds from 0 to {MAX_SECONDS}, or a time such as 1h"
            )
        })
}

/// The units of times, in milliseconds, from the largest to the smallest.
pub(super) const TIME_UNITS: [(&str, u32); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A number of milliseconds as a multiple of the largest unit that divides it.
pub(super) fn time_text(millis: u64) -> String {
    let whole = |unit: u32| millis != 0 && millis.is_multiple_of(u64::from(unit));
    match TIME_UNITS.into_iter().find(|(_, unit)| whole(*unit)) {
        Some((name, unit)) => format!("{}{name}", millis / u64::from(unit)),
        None => "0s".to_owned(),
    }
}

/// `1h30m`, `1.5s`, `250ms`; units in falling order. A number without a unit is seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    if let Some(bare) = decimal(text) {
        return Some(bare);
    }
    let mut total = Duration::ZERO;
    let mut smallest = u32::MAX;
    let mut rest = text;
    loop {
        let (number, tail) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let (unit, tail) =
            tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let (_, millis) = TIME_UNITS.into_iter().find(|(name, _)| *name == unit)?;
        if millis >= smallest {
            return None;
        }
        smallest = millis;
        // Multiplied before it is divided, so that 1.5ms is exact.
        total = total.checked_add(decimal(number)?.checked_mul(millis)? / 1000)?;
        rest = tail;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// A decimal number of seconds, to the nanosecond.
fn decimal(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    Some(Duration::new(whole.parse().ok()?, format!("{fraction:0<9}").parse().ok()?))
}

/// `host:port` with an IP address, as a listener needs it, or `localhost`, which is 127.0.0.1.
pub(super) fn address(written: Written<'_>) -> Result<SocketAddr, String> {
    let parse = |text: String| match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
        None => text.parse().ok(),
    };
    written.scalar().and_then(parse).ok_or_else(|| {
        "must be an IP address or localhost, and a port, such as 0.0.0.0:8080 or [::]:8080"
            .to_owned()
    })
}

/// All that was read of the parts of a value, or the mistakes of all parts, one per line.
pub(super) fn all<T>(parts: impl IntoIterator<Item = Result<T, String>>) -> Result<Vec<T>, String> {
    let mut read = Vec::new();
    let mut mistakes: Vec<String> = Vec::new();
    for part in parts {
        match part {
            Ok(part) => read.push(part),
            Err(mistake) if mistakes.contains(&mistake) => {}
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(read) } else { Err(mistakes.join("\n")) }
}

/// A list of texts, each of which `read` reads, or one text in place of a list of one. In a variable a list
/// is JSON, or has commas between its texts. The error has the mistakes of all texts.
pub(super) fn list_of<T>(
    written: Written<'_>,
    mut read: impl FnMut(String) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    all(items(written)?.into_iter().map(|item| read(item?)))
}

/// The items of a list: a text, or what is wrong with the item.
pub(super) fn items(written: Written<'_>) -> Result<Vec<Result<String, String>>, String> {
    const SUCH_AS: &str = "such as [\"a\", \"b\"]";
    let item = |(at, text): (usize, Option<&str>)| {
        text.map(str::to_owned).ok_or_else(|| {
            format!("must be a list of texts only, {SUCH_AS}: put item {} in quotes", at + 1)
        })
    };
    match written {
        Written::Text(text) if is_bare(text) => {
            Ok(text.split(',').map(|item| Ok(item.trim().to_owned())).collect())
        }
        Written::Yaml(Value::String(text)) if !text.is_empty() => Ok(vec![Ok(text.clone())]),
        Written::Text(json) => match serde_json::from_str::<Vec<serde_json::Value>>(json) {
            Ok(list) => Ok(list.iter().map(|value| value.as_str()).enumerate().map(item).collect()),
            Err(_) => Err(format!("must be a JSON list of texts, {SUCH_AS}")),
        },
        Written::Yaml(Value::Sequence(list)) => {
            Ok(list.iter().map(Value::as_str).enumerate().map(item).collect())
        }
        Written::Yaml(_) => Err(format!("must be a list of texts, {SUCH_AS}")),
    }
}

/// Whether the text of a variable is no JSON.
fn is_bare(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text != "null" && !text.starts_with(['[', '{', '"'])
}

/// A mapping from text to text, in the order written; JSON in a variable.
pub(super) fn map(written: Written<'_>) -> Result<Vec<(String, String)>, String> {
    all(pairs(written)?)
}

/// A mapping as of [`map`], each pair of which `read` reads. The error has the mistakes of all pairs.
pub(super) fn map_of<T>(
    written: Written<'_>,
    mut read: impl FnMut(String, String) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    all(pairs(written)?.into_iter().map(|pair| pair.and_then(|(name, value)| read(name, value))))
}

/// The pairs of a mapping that are texts.
pub(super) fn text_pairs(written: Written<'_>) -> Vec<(String, String)> {
    pairs(written).unwrap_or_default().into_iter().flatten().collect()
}

/// Two texts of a mapping, or what is wrong with the pair.
type TextPair = Result<(String, String), String>;

/// The pairs of a mapping.
fn pairs(written: Written<'_>) -> Result<Vec<TextPair>, String> {
    const SUCH_AS: &str = "such as {\"name\": \"value\"}";
    let pair = |at: usize, name: Option<&str>, value: Option<&str>| match (name, value) {
        (Some(name), Some(value)) => Ok((name.to_owned(), value.to_owned())),
        (Some(name), None) => Err(format!(
            "must be a mapping of texts only, {SUCH_AS}: put the value of {name:?} in quotes"
        )),
        (None, _) => Err(format!(
            "must be a mapping of texts only, {SUCH_AS}: put the name of pair {} in quotes",
            at + 1
        )),
    };
    match written {
        Written::Text(json) => {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)
                .map_err(|_| format!("must be a JSON object of texts, {SUCH_AS}"))?;
            let pairs = object.iter().enumerate();
            Ok(pairs.map(|(at, (name, value))| pair(at, Some(name), value.as_str())).collect())
        }
        Written::Yaml(Value::Mapping(mapping)) => {
            let pairs = mapping.iter().enumerate();
            Ok(pairs.map(|(at, (name, value))| pair(at, name.as_str(), value.as_str())).collect())
        }
        Written::Yaml(_) => Err(format!("must be a mapping of texts, {SUCH_AS}")),
    }
}

#[cfg(test)]
mod tests;
