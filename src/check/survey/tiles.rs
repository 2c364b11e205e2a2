//! The verdicts on the tiles of a survey, by samples.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::check::report::{CheckStep, Finding};
use crate::check::survey::judge::is_coarse;
use crate::check::survey::observed::{MapState, Observed, Presence, Reason, TileReply};
use crate::survey::{Tile, TileFormat};

/// Tiles that are newer than the map by more than this were made after it.
const UPLOAD_TIME: Duration = Duration::from_secs(2 * 24 * 3600);
/// A clock may be wrong by this.
const CLOCK_ERROR: Duration = Duration::from_secs(300);
/// Examples in a line.
const EXAMPLES: usize = 3;

pub(super) fn judge(seen: &Observed) -> Vec<CheckStep> {
    vec![
        CheckStep::new("inside", inside(seen)),
        CheckStep::new("outside", outside(seen)),
        CheckStep::new("tiles", pictures(seen)),
        CheckStep::new("missing", missing(seen)),
        CheckStep::new("times", times(seen)),
        CheckStep::new("answers", answers(seen)),
        CheckStep::new("estimate", estimate(seen)),
    ]
}

/// The tiles that exist, each once: some were asked for twice.
fn found_tiles(seen: &Observed) -> Vec<&TileReply> {
    let found: BTreeMap<_, &TileReply> =
        seen.found().map(|it| ((it.tile, it.format), it)).collect();
    found.into_values().collect()
}

/// Some of their paths.
fn examples<'a>(tiles: impl Iterator<Item = &'a TileReply>) -> String {
    let paths: Vec<String> = tiles.take(EXAMPLES).map(|it| it.tile.path(it.format)).collect();
    paths.join(", ")
}

fn inside(seen: &Observed) -> Finding {
    if seen.map != MapState::Usable {
        return Finding::skipped("there is no map to compare with");
    }
    // Lower orders have a finding of their own.
    let of_survey = |it: &&TileReply| seen.lowest.is_some_and(|first| it.tile.order() >= first);
    // A format without any tile has a finding of its own.
    let with_tiles: BTreeSet<TileFormat> = seen.found().map(|it| it.format).collect();
    let has_tiles = |it: &&TileReply| with_tiles.contains(&it.format);
    let asked = seen.of(Reason::Inside).filter(of_survey).filter(has_tiles);
    let asked: Vec<&TileReply> = asked.collect();
    if asked.is_empty() {
        return Finding::skipped("no tile was asked for");
    }
    let (coarse, fine): (Vec<&TileReply>, Vec<&TileReply>) =
        asked.iter().partition(|it| is_coarse(seen, it.tile.order()));
    let absent: Vec<&TileReply> = fine.iter().copied().filter(|it| it.reply.is_absent()).collect();
    if !absent.is_empty() {
        let percent = percent(absent.len(), fine.len());
        return Finding::failed(
            format!(
                "{} of {} tiles within Moc.fits are missing, about {percent} of the survey: {}",
                absent.len(),
                fine.len(),
                examples(absent.iter().copied())
            ),
            "upload them, or make Moc.fits of the tiles that exist",
        );
    }
    let mut said = format!("{} tiles within the map exist", fine.len());
    let gone = coarse.iter().filter(|it| it.reply.is_absent()).count();
    if !coarse.is_empty() {
        said.push_str(&format!(
            "; of {} deeper than the map, which says nothing about them, {gone} are missing",
            coarse.len()
        ));
    }
    Finding::ok(said)
}

fn outside(seen: &Observed) -> Finding {
    if seen.map != MapState::Usable {
        return Finding::skipped("there is no map to compare with");
    }
    let asked = seen.of(Reason::Outside).count();
    let exist: Vec<&TileReply> =
        seen.of(Reason::Outside).filter(|it| it.reply.is_found()).collect();
    if exist.is_empty() && seen.listed_outside.is_empty() {
        return Finding::ok(format!("{asked} tiles outside of the map do not exist"));
    }
    let example = seen.listed_outside.first().map(|tile| tile.path(TileFormat::Fits));
    let example = example.map(|path| path.trim_end_matches(".fits").to_owned());
    Finding::failed(
        format!(
            "tiles exist outside of Moc.fits, where no viewer asks for them: {} in samples, {} in listings: {}",
            exist.len(),
            seen.listed_outside.len(),
            if exist.is_empty() {
                example.unwrap_or_default()
            } else {
                examples(exist.iter().copied())
            },
        ),
        "make Moc.fits of all tiles, and upload it",
    )
}

/// What is wrong with a tile as a picture.
fn fault(it: &TileReply, width: Option<u64>) -> Option<String> {
    let TileReply { format, reply, .. } = it;
    if reply.length == Some(0) {
        return Some("is empty".to_owned());
    }
    if !format.begins(&reply.bytes) {
        return Some(format!("is no {format}"));
    }
    let is = format.width(&reply.bytes);
    match (is, width) {
        (Some(is), Some(width)) if is != width => {
            Some(format!("is {is} pixels wide, and hips_tile_width is {width}"))
        }
        _ => None,
    }
}

fn pictures(seen: &Observed) -> Finding {
    let width = seen.properties.get("hips_tile_width");
    let width = match width.map(str::parse::<u64>) {
        None => 512,
        Some(Ok(width)) => width,
        Some(Err(_)) => {
            return Finding::failed("hips_tile_width is not a number", "write the width in pixels");
        }
    };
    let found = found_tiles(seen);
    if found.is_empty() {
        return Finding::skipped("no tile was found");
    }
    let faulty: Vec<(&TileReply, String)> =
        found.iter().filter_map(|it| fault(it, Some(width)).map(|fault| (*it, fault))).collect();
    if let Some((_, first)) = faulty.first() {
        let count = faulty.len();
        return Finding::failed(
            format!(
                "{count} of {} tiles are not what their name says, such as {}, which {first}",
                found.len(),
                examples(faulty.iter().map(|(it, _)| *it).take(1)),
            ),
            "make these tiles again; for the width, correct hips_tile_width (512 without it)",
        );
    }
    Finding::ok(format!("{} tiles begin as their format does, {width} pixels wide", found.len()))
}

fn missing(seen: &Observed) -> Finding {
    let count = |presence| seen.replies().filter(|it| it.presence == presence).count();
    let (missing, denied) = (count(Presence::Missing), count(Presence::Denied));
    if denied > 0 {
        return Finding::failed(
            format!("{denied} files answer 403 in place of 404: viewers take it for an error"),
            "grant s3:ListBucket to the access key, or set missing_on_403: true in the profile",
        );
    }
    if missing == 0 {
        return Finding::ok("no file that was asked for is missing");
    }
    Finding::ok(format!("{missing} files that do not exist are missing for the store"))
}

fn times(seen: &Observed) -> Finding {
    let late = seen.now.checked_add(CLOCK_ERROR).unwrap_or(seen.now);
    let found = found_tiles(seen);
    let future =
        || found.iter().copied().filter(|it| it.reply.modified.is_some_and(|at| at > late));
    if future().next().is_some() {
        return Finding::warning(
            format!("{} tiles are dated in the future: {}", future().count(), examples(future())),
            "clients that revalidate by date keep an old copy: upload them again with the right clock",
        );
    }
    let undated = found.iter().filter(|it| it.reply.modified.is_none()).count();
    if undated > 0 {
        return Finding::warning(
            format!("{undated} tiles have no modification time"),
            "clients that revalidate by date fetch them each time; the store should send Last-Modified",
        );
    }
    let newest = found.iter().max_by_key(|it| it.reply.modified);
    let (Some(newest), Some(of_map)) = (newest, seen.map_reply.modified) else {
        return Finding::ok("nothing to compare");
    };
    let limit = of_map.checked_add(UPLOAD_TIME).unwrap_or(SystemTime::UNIX_EPOCH);
    if newest.reply.modified.is_some_and(|at| at > limit) {
        return Finding::warning(
            format!(
                "tiles are newer than Moc.fits by more than {} days, such as {}",
                UPLOAD_TIME.as_secs() / 86400,
                newest.tile.path(newest.format)
            ),
            "make Moc.fits again if tiles were added or removed, and upload it after the tiles",
        );
    }
    Finding::ok("Moc.fits is as new as the tiles")
}

fn answers(seen: &Observed) -> Finding {
    let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
    for reply in seen.replies() {
        if let Presence::Failed(cause) = &reply.presence {
            *causes.entry(cause).or_default() += 1;
        }
    }
    let all = seen.replies().count();
    if causes.is_empty() {
        return Finding::ok(format!("{all} requests, none failed"));
    }
    let causes: Vec<String> =
        causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
    Finding::failed(
        format!("requests failed: of {all} {}", causes.join(", ")),
        "s3proxy check PROFILE tests the store; see its log",
    )
}

/// `12 %`, or the decimal that shows that it is not nothing.
#[expect(clippy::cast_precision_loss, reason = "a percentage, shown with some digits")]
fn percent(part: usize, of: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / of.max(1) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn estimate(seen: &Observed) -> Finding {
    let mut of_format: BTreeMap<TileFormat, (f64, f64)> = BTreeMap::new();
    let (mut is_exact, mut last) = (true, None);
    // Where a listing names all tiles, nothing is to be estimated but their lengths.
    let lengths: BTreeMap<(Tile, TileFormat), u64> =
        seen.found().filter_map(|it| Some(((it.tile, it.format), it.reply.length?))).collect();
    let (named, _) = seen.properties.formats();
    for (order, all) in &seen.whole_orders {
        for format in &named {
            let all = all.iter().filter(|(_, of)| of == format);
            let known: Vec<u64> = all.clone().filter_map(|it| lengths.get(it).copied()).collect();
            let count = all.count();
            if count == 0 {
                continue;
            }
            is_exact &= known.len() == count;
            let (tiles, size) = of_format.entry(*format).or_default();
            *tiles += count as f64;
            let mean = known.iter().sum::<u64>() as f64 / known.len().max(1) as f64;
            *size += mean * count as f64;
            last = last.max(Some(*order));
        }
    }
    let mut groups: BTreeMap<(u8, TileFormat), Vec<&TileReply>> = BTreeMap::new();
    let is_listed = |order: u8| seen.whole_orders.contains_key(&order);
    for it in seen.of(Reason::Inside).filter(|it| !is_listed(it.tile.order())) {
        groups.entry((it.tile.order(), it.format)).or_default().push(it);
    }
    for ((order, format), asked) in groups {
        let all = seen.coverage.count(order);
        last = last.max(Some(order));
        is_exact &= asked.len() as u64 == all;
        let found: Vec<&&TileReply> = asked.iter().filter(|it| it.reply.is_found()).collect();
        let bytes: u64 = found.iter().filter_map(|it| it.reply.length).sum();
        let each = all as f64 / asked.len() as f64;
        let (tiles, size) = of_format.entry(format).or_default();
        *tiles += each * found.len() as f64;
        *size += each * bytes as f64;
    }
    let Some(last) = last else { return Finding::skipped("no tile was asked for") };
    let about = if is_exact { "" } else { "about " };
    let parts: Vec<String> = of_format
        .iter()
        .map(|(format, (tiles, bytes))| format!("{tiles:.0} {format}, {:.1} MB", bytes / 1e6))
        .collect();
    let cells = Tile::count(last);
    Finding::ok(format!("{about}{} (order {last} has {cells} cells)", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::check::survey::observed::FileReply;
    use crate::survey::{Coverage, Properties};

    fn reply(index: u64, format: TileFormat, presence: Presence) -> TileReply {
        let tile = Tile::new(7, index).expect("a tile");
        TileReply { tile, format, reason: Reason::Inside, reply: FileReply::without(presence) }
    }

    fn observed(tiles: Vec<TileReply>) -> Observed {
        let missing = || FileReply::without(Presence::Missing);
        Observed {
            now: SystemTime::UNIX_EPOCH,
            properties: Properties::parse(b""),
            properties_reply: missing(),
            map: MapState::Usable,
            map_reply: missing(),
            coverage: Coverage::of_tiles(Tile::new(0, 0), 7).expect("a map"),
            listed_orders: None,
            lowest: Some(7),
            allsky: Vec::new(),
            tiles,
            whole_orders: BTreeMap::new(),
            listed_outside: Vec::new(),
        }
    }

    /// Each tile was compared with all others: minutes for some ten thousand samples.
    #[test]
    fn thirty_thousand_samples_of_a_format_without_tiles_are_judged_at_once() {
        let of = |format, presence: Presence| {
            (0..30_000).map(move |index| reply(index, format, presence.clone()))
        };
        let absent = of(TileFormat::Png, Presence::Missing);
        let seen = observed(of(TileFormat::Fits, Presence::Found).chain(absent).collect());
        let started = Instant::now();
        assert_eq!(inside(&seen), Finding::ok("30000 tiles within the map exist"));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
