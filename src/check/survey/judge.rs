//! The verdicts on a survey: what its files say of each other, and the fix of each fault.

use crate::check::report::{CheckStep, Finding};
use crate::check::survey::observed::{MapState, Observed, Presence, Reason};
use crate::check::survey::tiles;
use crate::survey::{Frame, SurveyFile, Tile, TileFormat};

/// The rules of the gateway for a key: an error is the type that is refused, if there is one.
pub(super) type Policy<'a> = &'a dyn Fn(&str, Option<&str>) -> Result<(), Option<String>>;

/// All steps, in the order in which an operator would repair the survey.
#[must_use]
pub(super) fn judge(seen: &Observed, policy: Policy<'_>) -> Vec<CheckStep> {
    let mut steps = vec![CheckStep::new("properties", properties(seen))];
    if !seen.properties_reply.is_found() {
        return steps;
    }
    steps.push(CheckStep::new("keywords", keywords(seen)));
    if seen.properties.is_cube() {
        let detail = "the tiles of a cube are not compared";
        steps.push(CheckStep::new("tiles", Finding::skipped(detail)));
        return steps;
    }
    steps.extend([
        CheckStep::new("policy", served(seen, policy)),
        CheckStep::new("orders", orders(seen)),
        CheckStep::new("order_min", order_min(seen)),
        CheckStep::new("formats", formats(seen)),
        CheckStep::new("allsky", allsky(seen)),
        CheckStep::new("moc", moc(seen)),
    ]);
    steps.extend(tiles::judge(seen));
    steps
}

fn properties(seen: &Observed) -> Finding {
    let reply = &seen.properties_reply;
    match &reply.presence {
        Presence::Found => {}
        Presence::Missing => {
            return Finding::failed(
                "there is no properties file: no viewer opens the survey",
                "check the path: it is the folder of properties, Moc.fits and Norder3; upload properties",
            );
        }
        Presence::Denied => {
            return Finding::failed(
                "the store answers 403 for properties: it is missing, or may not be read",
                "check the path, and s3:GetObject of the access key; s3proxy check PROFILE@BUCKET/KEY shows more",
            );
        }
        Presence::Failed(cause) => {
            return Finding::failed(
                format!("properties cannot be read: {cause}"),
                "s3proxy check PROFILE tests the store",
            );
        }
    }
    let faults: Vec<String> = seen.properties.faults().iter().map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Finding::failed(
            format!("properties is not in the form keyword = value: {}", faults.join("; ")),
            "correct these lines; a comment begins with #",
        );
    }
    Finding::ok(format!("read, {} bytes", reply.bytes.len()))
}

fn keywords(seen: &Observed) -> Finding {
    let properties = &seen.properties;
    let missing = properties.missing();
    if !missing.is_empty() {
        return Finding::failed(
            format!("properties lacks {}", missing.join(", ")),
            "add these keywords: HiPS 1.0 requires them (section 4.4.1)",
        );
    }
    let frame = properties.get("hips_frame").unwrap_or_default();
    if properties.frame() == Some(Frame::Other) {
        return Finding::warning(
            format!("hips_frame is {frame:?}"),
            "of the sky it is equatorial, galactic or ecliptic, in lower case",
        );
    }
    let title = properties.get("obs_title").unwrap_or_default();
    Finding::ok(format!("all that HiPS 1.0 requires; {title:?}, {frame}"))
}

/// A file of each kind.
fn kinds(seen: &Observed) -> Vec<(String, Option<&str>)> {
    let mut kinds = vec![
        (SurveyFile::Properties.path(), seen.properties_reply.content_type.as_deref()),
        (SurveyFile::Coverage.path(), seen.map_reply.content_type.as_deref()),
    ];
    for (format, reply) in &seen.allsky {
        let path = SurveyFile::Allsky { order: 3, format: *format }.path();
        kinds.push((path, reply.content_type.as_deref()));
        let tile = seen.found().find(|it| it.format == *format);
        if let Some(it) = tile {
            kinds.push((it.tile.path(*format), it.reply.content_type.as_deref()));
        } else if let Some(first) = Tile::new(3, 0) {
            kinds.push((first.path(*format), None));
        }
    }
    kinds
}

fn served(seen: &Observed, policy: Policy<'_>) -> Finding {
    let mut refused = Vec::new();
    for (path, stored) in kinds(seen) {
        if let Err(media_type) = policy(&path, stored) {
            let media_type = media_type.unwrap_or_else(|| "no type".to_owned());
            refused.push(format!("{path} ({media_type})"));
        }
    }
    if refused.is_empty() {
        return Finding::ok("the gateway serves files of every kind in the survey");
    }
    Finding::failed(
        format!("the gateway refuses, with 415: {}", refused.join(", ")),
        "add the types to mime.also_allow; without a type, add the name to mime.also_extensionless",
    )
}

/// The deepest order with tiles.
fn deepest(seen: &Observed) -> Option<u8> {
    let found = seen.found().map(|it| it.tile.order()).max();
    let listed = seen.listed_orders.as_ref().and_then(|orders| orders.last().copied());
    found.max(listed)
}

fn orders(seen: &Observed) -> Finding {
    let Ok(Some(order)) = seen.properties.order("hips_order") else {
        return Finding::failed(
            "hips_order is not a whole number from 0 to 29: no tile can be asked for",
            "set hips_order to the deepest order that has tiles",
        );
    };
    let Some(deepest) = deepest(seen) else {
        return Finding::failed(
            format!("no tile of orders 0 to {order} was found"),
            "check the path, and that the tiles are uploaded",
        );
    };
    let fix = format!("set hips_order = {deepest}, or upload the tiles of order {order}");
    match order {
        _ if deepest > order => Finding::failed(
            format!("hips_order is {order}, and order {deepest} has tiles that no viewer asks for"),
            format!("set hips_order = {deepest}"),
        ),
        _ if deepest < order && seen.map == MapState::Usable && !is_coarse(seen, order)
            || deepest < order && seen.listed_orders.is_some() =>
        {
            Finding::failed(
                format!(
                    "hips_order is {order}, and the deepest tiles that were found are of order {deepest}"
                ),
                fix,
            )
        }
        _ if deepest < order => Finding::warning(
            format!(
                "hips_order is {order}; of the tiles that were asked for, the deepest is of order {deepest}"
            ),
            fix,
        ),
        _ => Finding::ok(format!("hips_order is {order}, as the deepest tiles")),
    }
}

/// Whether the map does not say which tiles of this order exist.
pub(super) fn is_coarse(seen: &Observed, order: u8) -> bool {
    seen.map != MapState::Usable || seen.coverage.order() < order
}

fn order_min(seen: &Observed) -> Finding {
    let Ok(declared) = seen.properties.order("hips_order_min") else {
        return Finding::failed(
            "hips_order_min is not a whole number from 0 to 29",
            "set it to the lowest order that has tiles",
        );
    };
    let Some(lowest) = seen.lowest else { return Finding::skipped("no tile was found") };
    let set = format!("set hips_order_min = {lowest} in properties");
    if let (Some(declared), Ok(Some(order))) = (declared, seen.properties.order("hips_order"))
        && declared > order
    {
        return Finding::failed(
            format!(
                "hips_order_min is {declared}, and hips_order is {order}: no viewer asks for any tile"
            ),
            set,
        );
    }
    match declared {
        None if lowest > 0 => Finding::warning(
            format!(
                "properties lacks hips_order_min, and the lowest tiles are of order {lowest}: viewers ask for 12 to 17 \
                 tiles that do not exist each time the survey is opened"
            ),
            format!("add hips_order_min = {lowest} to properties"),
        ),
        Some(declared) if declared < lowest => Finding::failed(
            format!("hips_order_min is {declared}, and the lowest tiles are of order {lowest}"),
            set,
        ),
        Some(declared) if declared > lowest => Finding::warning(
            format!(
                "hips_order_min is {declared}, and order {lowest} has tiles that no viewer asks for"
            ),
            set,
        ),
        _ => Finding::ok(format!("the lowest tiles are of order {lowest}")),
    }
}

fn names(formats: &[TileFormat]) -> String {
    formats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn formats(seen: &Observed) -> Finding {
    let (named, unknown) = seen.properties.formats();
    if let Some(word) = unknown.first() {
        return Finding::failed(
            format!("hips_tile_format names {word:?}, which is no format of HiPS"),
            "write jpeg, png, webp, fits or tsv, with blanks between them",
        );
    }
    if seen.lowest.is_none() && seen.tiles.iter().all(|it| !it.reply.is_found()) {
        return Finding::skipped("no tile was found");
    }
    let has_tiles = |format: TileFormat| seen.found().any(|it| it.format == format);
    let empty: Vec<TileFormat> = named.iter().copied().filter(|it| !has_tiles(*it)).collect();
    if !empty.is_empty() {
        return Finding::failed(
            format!("hips_tile_format names {}, and no such tile was found", names(&empty)),
            "upload these tiles, or take the format out of hips_tile_format",
        );
    }
    let mut others: Vec<TileFormat> =
        seen.of(Reason::OtherFormat).filter(|it| it.reply.is_found()).map(|it| it.format).collect();
    others.dedup();
    if !others.is_empty() {
        return Finding::warning(
            format!("there are tiles in {}, which hips_tile_format does not name", names(&others)),
            "add the format to hips_tile_format, or remove the tiles",
        );
    }
    Finding::ok(format!("tiles in {}, as hips_tile_format says", names(&named)))
}

fn allsky(seen: &Observed) -> Finding {
    let of_pictures = seen.allsky.iter().filter(|(format, _)| *format != TileFormat::Tsv);
    let missing = of_pictures.filter(|(_, reply)| !reply.is_found());
    let missing: Vec<TileFormat> = missing.map(|(format, _)| *format).collect();
    if missing.is_empty() {
        return Finding::ok("Norder3/Allsky in every format");
    }
    let paths = missing.iter().map(|it| format!("Norder3/Allsky.{it}")).collect::<Vec<_>>();
    Finding::warning(
        format!("there is no {}: the first picture of a viewer comes later", paths.join(", ")),
        "make it (Hipsgen: ALLSKY), and upload it",
    )
}

fn moc(seen: &Observed) -> Finding {
    let make = "make it (Hipsgen: MOC; mocpy: MOC.save), and upload it as Moc.fits";
    match (&seen.map, &seen.map_reply.presence) {
        (MapState::None, Presence::Failed(cause)) => {
            return Finding::failed(
                format!("Moc.fits cannot be read: {cause}"),
                "see the log of the store",
            );
        }
        (MapState::None, _) => {
            return Finding::warning(
                "there is no Moc.fits: viewers ask for every tile outside of the survey too",
                make,
            );
        }
        (MapState::Invalid(invalid), _) => {
            return Finding::failed(format!("Moc.fits is no coverage map: {invalid}"), make);
        }
        (MapState::OtherFrame, _) => {
            return Finding::ok("readable; not compared: it is in ICRS, and the tiles are not");
        }
        (MapState::Usable, _) => {}
    }
    let map = &seen.coverage;
    if map.is_empty() {
        return Finding::failed("Moc.fits covers nothing: viewers show nothing", make);
    }
    let said = seen.properties.get("moc_sky_fraction").map(str::parse::<f64>);
    let fraction = map.fraction();
    match said {
        Some(Ok(said)) if !map.has_fraction(said) => Finding::warning(
            format!("moc_sky_fraction is {said}, and Moc.fits covers {fraction:.6} of the sky"),
            "one of the two is of an earlier version of the survey: make both again",
        ),
        Some(Err(_)) => Finding::warning("moc_sky_fraction is not a number", "write it as 0.0123"),
        _ => {
            let order = map.order();
            Finding::ok(format!("covers {:.4} % of the sky, order {order}", 100.0 * fraction))
        }
    }
}
