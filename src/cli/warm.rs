//! `s3proxy warm`.

use std::fs::File;
use std::io::{Read, stdin};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;

use crate::admin::replicas::{self, Replica, Replicas};
use crate::certificate::command_tls::CommandTls;
use crate::cli::operate::unusable;
use crate::cli::progress::ProgressLine;
use crate::cli::tls::{CommandTlsFiles, CommandTlsOptions};
use crate::cli::{BAD_CONFIGURATION, FAILED, SUCCESS, print, print_error};
use crate::config::Config;
use crate::s3::address::ObjectAddress;
use crate::survey::{
    Coverage, MAX_MAP_BYTES, MAX_ORDER, MAX_PROPERTIES_BYTES, Properties, SurveyFile, TileFormat,
};
use crate::terminal::escaped;
use crate::warm::{
    GatewayAddress, Journal, SurveyFilter, SurveyKeys, WarmReport, WarmRun, read_file,
};

/// The longest list of keys, bytes.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// Options of `warm`.
#[derive(Debug, Args)]
pub(super) struct WarmOptions {
    /// PROFILE@BUCKET/PREFIX/ of a HiPS survey, or of the keys of --list
    #[arg(value_name = "PLACE")]
    place: String,
    /// Orders of the survey, such as 0-6; default: all
    #[arg(long, value_name = "FIRST-LAST", value_parser = orders, conflicts_with = "list")]
    orders: Option<RangeInclusive<u8>>,
    /// Formats of the survey, such as webp,fits; default: all
    #[arg(long, value_name = "FORMATS", value_parser = format, value_delimiter = ',', conflicts_with = "list")]
    formats: Option<Vec<TileFormat>>,
    /// Coverage map in place of the survey's own Moc.fits
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    moc: Option<PathBuf>,
    /// File of keys below PLACE, one a line, in place of the tiles of a survey; - for standard input
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Requests a second, such as 50/s
    #[arg(long, value_name = "NUMBER/s", value_parser = rate, default_value = "50/s")]
    rate: u32,
    /// File that remembers which keys are answered: a second run asks for the others
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// A running s3proxy, such as http://s3proxy:8080 or https://s3proxy:8443; default: listen of the
    /// configuration on this machine, or tls.listen if it redirects to HTTPS
    #[arg(long, value_name = "URL", conflicts_with = "replicas")]
    url: Option<String>,
    /// All replicas: dns:NAME:PORT for every address of a name, or ADDRESS:PORT; may be repeated
    #[arg(long, value_name = "dns:NAME:PORT")]
    replicas: Vec<Replicas>,
    #[command(flatten)]
    tls: CommandTlsOptions,
}

fn orders(text: &str) -> Result<RangeInclusive<u8>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let order = |text: &str| text.parse().ok().filter(|order| *order <= MAX_ORDER);
    match (order(first), order(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("must be FIRST-LAST, from 0 to 29".to_owned()),
    }
}

fn format(text: &str) -> Result<TileFormat, String> {
    let names: Vec<&str> = TileFormat::ALL.into_iter().map(TileFormat::extension).collect();
    TileFormat::of_keyword(text).ok_or_else(|| format!("must be of {}", names.join(", ")))
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse().ok();
    number
        .filter(|rate| (1..=100_000).contains(rate))
        .ok_or_else(|| "must be 1/s to 100000/s".to_owned())
}

/// Runs the command; the exit code says whether every key was answered by an object or a 404.
pub(super) fn warm(config: &Config, options: &WarmOptions) -> u8 {
    let fail = |error: &str, code: u8| {
        print_error(&format!("s3proxy: {}\n", escaped(error)));
        code
    };
    let place = match place(config, &options.place) {
        Ok(place) => place,
        Err(error) => return fail(&error, BAD_CONFIGURATION),
    };
    let tls = match options.tls.read() {
        Ok(tls) => tls,
        Err(error) => return unusable(&error),
    };
    let fronts = match fronts(config, options, &tls) {
        Ok(fronts) => fronts,
        Err(error) => return fail(&error, FAILED),
    };
    let journal = match &options.resume {
        None => Journal::default(),
        Some(path) => match Journal::open(path) {
            Ok(journal) => journal,
            Err(error) => return fail(&format!("{}: {error}", path.display()), FAILED),
        },
    };
    let run = WarmRun { fronts: &fronts, place: &place, rate: options.rate };
    let line = ProgressLine::start();
    let report = if let Some(list) = &options.list {
        let keys = match read_list(list) {
            Ok(keys) => keys,
            Err(error) => return fail(&error, FAILED),
        };
        let total = keys.len() as u64;
        run.ask(keys.into_iter(), &journal, &|done| line.show(done, total))
    } else {
        let keys = match survey_keys(&fronts, &place, options) {
            Ok(keys) => keys,
            Err(error) => return fail(&error, FAILED),
        };
        let total = keys.count();
        run.ask(keys.keys(), &journal, &|done| line.show(done, total))
    };
    line.clear();
    print(&text(&report, fronts.len()));
    if report.stopped.is_none() && report.refused + report.failed == 0 { SUCCESS } else { FAILED }
}

/// The place below which the keys are.
fn place(config: &Config, argument: &str) -> Result<ObjectAddress, String> {
    let (bucket, key) = argument.split_once('/').unwrap_or((argument, ""));
    let validate = config.gateway.bucket_validation;
    let mut place = ObjectAddress::parse(bucket.as_bytes(), key.as_bytes(), validate)
        .map_err(|error| format!("{argument}: {error}; write PROFILE@BUCKET/PREFIX/"))?;
    if !place.key.is_empty() && !place.key.ends_with('/') {
        place.key.push('/');
    }
    Ok(place)
}

/// The gateways to ask.
fn fronts(
    config: &Config,
    options: &WarmOptions,
    tls: &CommandTlsFiles,
) -> Result<Vec<GatewayAddress>, String> {
    let (replicas, prefix) = match &options.url {
        Some(url) => {
            let (replica, prefix) = named(url)?;
            (vec![replica], prefix)
        }
        None if options.replicas.is_empty() => (vec![own(config)?], None),
        None => (replicas::find(&options.replicas)?, None),
    };
    let prefix = prefix.unwrap_or_else(|| config.gateway.path_prefix.clone());
    let front = |replica: Replica| GatewayAddress {
        host: replica.label,
        name: replica.host,
        addresses: replica.addresses,
        prefix: prefix.clone(),
        tls: replica.tls,
    };
    Ok(tls.with_all(replicas)?.into_iter().map(front).collect())
}

/// The gateway of a URL, and the path in it, if there is one.
fn named(url: &str) -> Result<(Replica, Option<String>), String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => {
            return Err(format!(
                "{url}: must be http://HOST:PORT or https://HOST:PORT, the gateway itself"
            ));
        }
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let has_port = !host.ends_with(']') && host.contains(':');
    let port = if has_port { String::new() } else { format!(":{port}") };
    let path = path.trim_matches('/');
    let prefix = (!path.is_empty()).then(|| format!("/{path}"));
    Ok((format!("{scheme}://{host}{port}").parse()?, prefix))
}

/// The gateway of this configuration on this machine: where it answers, and does not redirect.
fn own(config: &Config) -> Result<Replica, String> {
    let redirects = config.tls.as_ref().filter(|tls| tls.redirect_port.is_some());
    let (listen, tls) = match redirects {
        Some(tls) => (&tls.listen, CommandTls::to(&tls.files.identities)),
        None => (&config.gateway.listen, None),
    };
    // A header of the PROXY protocol comes from load balancers alone.
    let own = listen.iter().find(|listen| !listen.proxy_protocol);
    let own = own.ok_or(
        "every address that answers has the word proxy_protocol: name the gateway by --url",
    )?;
    let mut own = own.address;
    if own.ip().is_unspecified() {
        own.set_ip(match own {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(Replica { tls, ..own.into() })
}

/// The keys of the survey, by its own files as the first gateway serves them.
fn survey_keys(
    fronts: &[GatewayAddress],
    place: &ObjectAddress,
    options: &WarmOptions,
) -> Result<SurveyKeys, String> {
    let front = fronts.first().ok_or("no gateway is named")?;
    let read = |file: SurveyFile, most: usize| {
        let key = file.path();
        let answer = read_file(front, place, &key, most);
        answer.map_err(|error| format!("{} from {}: {error}", key, front.host))
    };
    let answer = read(SurveyFile::Properties, MAX_PROPERTIES_BYTES)?;
    if answer.status != 200 {
        return Err(format!(
            "{}properties: {} from {}; a survey is the folder of properties, other keys need --list",
            place.name(),
            answer.status,
            front.host
        ));
    }
    let properties = Properties::parse(&answer.body);
    let map =
        match &options.moc {
            Some(path) => {
                let file = read_local(path, MAX_MAP_BYTES as u64)?;
                let map = Coverage::read(&file);
                Some(map.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => {
                let answer = read(SurveyFile::Coverage, MAX_MAP_BYTES)?;
                match answer.status {
                    200 => Some(Coverage::read(&answer.body).map_err(|error| {
                        format!("Moc.fits: {error}; name another map with --moc")
                    })?),
                    404 => None,
                    status => return Err(format!("Moc.fits: {status} from {}", front.host)),
                }
            }
        };
    if map.is_none() {
        print_error("s3proxy: the survey has no Moc.fits: every cell is asked for\n");
    }
    let filter = SurveyFilter { orders: options.orders.clone(), formats: options.formats.clone() };
    SurveyKeys::new(&properties, map, filter)
}

fn read_list(path: &PathBuf) -> Result<Vec<String>, String> {
    let file = if path.as_os_str() == "-" {
        let mut file = Vec::new();
        let read = stdin().lock().take(MAX_LIST_BYTES + 1).read_to_end(&mut file);
        read.map_err(|error| format!("standard input: {error}"))?;
        file
    } else {
        read_local(path, MAX_LIST_BYTES)?
    };
    if file.len() as u64 > MAX_LIST_BYTES {
        return Err(format!("the list is longer than {} MiB", MAX_LIST_BYTES >> 20));
    }
    let text = String::from_utf8(file).map_err(|_| "the list is not UTF-8".to_owned())?;
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// A file on this machine, and no more than a byte beyond this length.
fn read_local(path: &PathBuf, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes)
}

#[expect(clippy::cast_precision_loss, reason = "megabytes, shown with one digit")]
fn text(report: &WarmReport, fronts: usize) -> String {
    let WarmReport { fetched, cached, missing, refused, failed, bytes, skipped, .. } = report;
    let megabytes = *bytes as f64 / 1e6;
    let mut text = String::new();
    if *skipped > 0 {
        text.push_str(&format!("{skipped} keys were answered before\n"));
    }
    let places = if fronts > 1 { format!(" at {fronts} replicas") } else { String::new() };
    text.push_str(&format!(
        "{fetched} from the store, {cached} from the cache, {missing} missing, {refused} refused, {failed} \
         failed{places}; {megabytes:.1} MB\n"
    ));
    if let Some(example) = &report.example {
        text.push_str(&format!("refused or failed, for example: {}\n", escaped(example)));
    }
    if let Some(why) = &report.stopped {
        text.push_str(&format!("stopped: {}\n", escaped(why)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_gateway_its_scheme_and_its_prefix() {
        for (url, label, host, prefix) in [
            ("http://127.0.0.1", "127.0.0.1:80", "127.0.0.1", None),
            ("https://127.0.0.1/", "127.0.0.1:443", "127.0.0.1", None),
            ("https://[::1]/data/", "[::1]:443", "::1", Some("/data")),
            ("http://[::1]:8080/a/b", "[::1]:8080", "::1", Some("/a/b")),
        ] {
            let (replica, path) = named(url).expect(url);
            assert_eq!((replica.label.as_str(), replica.host.as_str()), (label, host), "{url}");
            assert_eq!(path.as_deref(), prefix, "{url}");
            assert_eq!(replica.is_https, url.starts_with("https"), "{url}");
        }
        for url in ["ftp://a:1", "127.0.0.1:80", "https://", "http://127.0.0.1:0"] {
            assert!(named(url).is_err(), "{url}");
        }
    }

    #[test]
    fn options_are_read_as_they_are_typed() {
        for (text, read) in
            [("0-6", Some(0..=6)), ("3", Some(3..=3)), ("6-3", None), ("0-30", None), ("a", None)]
        {
            assert_eq!(orders(text).ok(), read, "{text}");
        }
        for (text, read) in
            [("50/s", Some(50)), ("1", Some(1)), ("0", None), ("x/s", None), ("50/m", None)]
        {
            assert_eq!(rate(text).ok(), read, "{text}");
        }
        assert_eq!(format("jpeg"), Ok(TileFormat::Jpeg));
        assert!(format("gif").unwrap_err().contains("webp"));
    }
}
