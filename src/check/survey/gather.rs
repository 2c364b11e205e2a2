//! Asks for the files of a survey, eight at a time: first those that describe it, then samples of tiles.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use tokio::task::JoinSet;

use crate::check::survey::observed::{
    FileReply, FolderListing, MapState, Observed, Reason, TileReply,
};
use crate::check::survey::source::Source;
use crate::survey::{
    Coverage, Frame, MAX_MAP_BYTES, MAX_PROPERTIES_BYTES, Properties, SurveyFile, Tile, TileFormat,
    locate, sample,
};

/// Requests in progress at the same time.
const AT_ONCE: usize = 8;
/// Tiles that show whether an order or a format exists.
const PROBES: usize = 8;
/// The seed of the samples: a second run compares the same tiles.
const SEED: u64 = 18;

/// Called with the numbers of tiles so far that have an answer and that were asked for; more follow.
pub(super) type ShowAnswers<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Asks for about this number of tiles.
pub(super) async fn gather(
    source: &Source,
    samples: usize,
    now: SystemTime,
    progress: ShowAnswers<'_>,
) -> Observed {
    let properties_reply = source.whole(&SurveyFile::Properties.path(), MAX_PROPERTIES_BYTES).await;
    let map_reply = source.whole(&SurveyFile::Coverage.path(), MAX_MAP_BYTES + 1).await;
    let properties = Properties::parse(&properties_reply.bytes);
    let (map, coverage) = usable_map(&properties, &map_reply);
    let mut gathering = Gathering {
        source,
        progress,
        seen: Observed {
            now,
            properties,
            properties_reply,
            map,
            map_reply,
            coverage,
            listed_orders: None,
            lowest: None,
            allsky: Vec::new(),
            tiles: Vec::new(),
            whole_orders: BTreeMap::new(),
            listed_outside: Vec::new(),
        },
    };
    if gathering.seen.properties_reply.is_found() && !gathering.seen.properties.is_cube() {
        gathering.files(samples).await;
    }
    gathering.seen
}

/// The map, if it can be compared with the tiles; else the whole sky, of order 0.
fn usable_map(properties: &Properties, reply: &FileReply) -> (MapState, Coverage) {
    let (state, map) = match Coverage::read(&reply.bytes) {
        _ if !reply.is_found() => (MapState::None, None),
        Ok(_) if properties.frame() != Some(Frame::Equatorial) => (MapState::OtherFrame, None),
        Ok(map) => (MapState::Usable, Some(map)),
        Err(invalid) => (MapState::Invalid(invalid), None),
    };
    (state, map.unwrap_or_else(Coverage::whole_sky))
}

struct Gathering<'a> {
    source: &'a Source,
    progress: ShowAnswers<'a>,
    seen: Observed,
}

impl Gathering<'_> {
    async fn files(&mut self, samples: usize) {
        let seen = &self.seen;
        let (formats, _) = seen.properties.formats();
        let last = seen.properties.order("hips_order").ok().flatten();
        let first = seen.properties.order("hips_order_min").ok().flatten();
        let root = self.source.list("").await;
        self.seen.listed_orders = root.as_ref().map(orders_of);
        for format in &formats {
            let path = SurveyFile::Allsky { order: 3, format: *format }.path();
            let reply = self.source.start(&path).await;
            self.seen.allsky.push((*format, reply));
        }
        let (Some(last), Some(format)) = (last, formats.first().copied()) else { return };
        self.lowest_order(format, last).await;
        let Some(lowest) = self.seen.lowest else { return };

        let first = first.unwrap_or(lowest).min(last);
        if self.seen.listed_orders.is_some() {
            self.listed(first..=last, samples / 5).await;
        }
        let orders = usize::from(last - first) + 1;
        let share = (samples * 7 / 10).div_ceil(orders * formats.len());
        let few = (samples / 10).div_ceil(orders);
        let mut wanted = Vec::new();
        for order in first..=last {
            for (seed, format) in (SEED..).zip(&formats) {
                let inside = sample(self.seen.coverage.tiles(order), share, seed);
                wanted.extend(tiles(order, inside).map(|it| (it, *format, Reason::Inside)));
            }
            if self.seen.map == MapState::Usable {
                let outside = sample(self.seen.coverage.gaps(order), few, SEED);
                wanted.extend(tiles(order, outside).map(|it| (it, format, Reason::Outside)));
            }
        }
        self.ask(wanted).await;
        self.deeper(format, last).await;
        self.other_formats(&formats).await;
    }

    /// Finds the lowest order with tiles, up to the order of the survey.
    async fn lowest_order(&mut self, format: TileFormat, last: u8) {
        for order in 0..=last {
            let listed = self.seen.listed_orders.as_ref();
            if listed.is_some_and(|orders| !orders.contains(&order)) {
                continue;
            }
            let inside = sample(self.seen.coverage.tiles(order), PROBES, SEED);
            let probes = tiles(order, inside).map(|it| (it, format, Reason::Shallower));
            let before = self.seen.tiles.len();
            self.ask(probes.collect()).await;
            let found = self.seen.tiles.iter().skip(before).any(|it| it.reply.is_found());
            let may_list = self.seen.listed_orders.is_some();
            if found || may_list && !listed_tiles(self.source, order).await.0.is_empty() {
                self.seen.lowest = Some(order);
                return;
            }
        }
    }

    /// Asks for children of the deepest tiles.
    async fn deeper(&mut self, format: TileFormat, last: u8) {
        let of_last = self.seen.found().map(|it| it.tile).filter(|tile| tile.order() == last);
        let deepest: BTreeSet<Tile> = of_last.take(PROBES).collect();
        let wanted = deepest.into_iter().flat_map(Tile::children);
        self.ask(wanted.map(|it| (it, format, Reason::Deeper)).collect()).await;
    }

    /// Asks for tiles that exist in the formats of pictures that the survey does not name.
    async fn other_formats(&mut self, formats: &[TileFormat]) {
        let found: Vec<Tile> = self.seen.found().map(|it| it.tile).take(3).collect();
        let others = TileFormat::ALL.into_iter().filter(|it| !formats.contains(it));
        let wanted = others
            .flat_map(|format| found.iter().map(move |tile| (*tile, format, Reason::OtherFormat)));
        self.ask(wanted.collect()).await;
    }

    /// Asks for tiles that listings name, and compares all of these with the map.
    async fn listed(&mut self, orders: std::ops::RangeInclusive<u8>, samples: usize) {
        let share = samples.div_ceil(orders.clone().count()).max(1);
        let mut wanted = Vec::new();
        for order in orders {
            let (listed, is_whole) = listed_tiles(self.source, order).await;
            if self.seen.map == MapState::Usable {
                let coverage = &self.seen.coverage;
                let outside = listed.iter().map(|(tile, _)| *tile);
                let outside = outside.filter(|tile| !coverage.touches(*tile));
                self.seen.listed_outside.extend(outside);
            }
            let step = listed.len().div_ceil(share).max(1);
            wanted.extend(
                listed.iter().step_by(step).map(|(tile, format)| (*tile, *format, Reason::Listed)),
            );
            if is_whole {
                self.seen.whole_orders.insert(order, listed);
            }
        }
        self.ask(wanted).await;
    }

    /// Asks for these tiles, each once.
    async fn ask(&mut self, wanted: Vec<(Tile, TileFormat, Reason)>) {
        let mut known: BTreeSet<_> =
            self.seen.tiles.iter().map(|it| (it.tile, it.format, it.reason as u8)).collect();
        let mut wanted: Vec<_> = wanted
            .into_iter()
            .filter(|(tile, format, reason)| known.insert((*tile, *format, *reason as u8)))
            .collect();
        let all = self.seen.tiles.len() + wanted.len();
        let mut requests = JoinSet::new();
        wanted.reverse();
        loop {
            while requests.len() < AT_ONCE
                && let Some((tile, format, reason)) = wanted.pop()
            {
                let source = self.source.clone();
                requests.spawn(async move {
                    let reply = source.start(&tile.path(format)).await;
                    TileReply { tile, format, reason, reply }
                });
            }
            let Some(answered) = requests.join_next().await else { break };
            // A request that panicked is a bug, and its tile was not compared.
            self.seen.tiles.extend(answered.ok());
            (self.progress)(self.seen.tiles.len(), all);
        }
    }
}

fn tiles(order: u8, indices: Vec<u64>) -> impl Iterator<Item = Tile> {
    indices.into_iter().filter_map(move |index| Tile::new(order, index))
}

/// The orders whose folders are in the root.
fn orders_of(root: &FolderListing) -> Vec<u8> {
    let orders = root.folders.iter().filter_map(|name| name.strip_prefix("Norder")?.parse().ok());
    let mut orders: Vec<u8> = orders.collect();
    orders.sort_unstable();
    orders
}

/// Some tiles of an order, from its first and its last folder, and whether these are all tiles.
async fn listed_tiles(source: &Source, order: u8) -> (Vec<(Tile, TileFormat)>, bool) {
    let folder = format!("Norder{order}/");
    let Some(FolderListing { folders, mut is_whole, .. }) = source.list(&folder).await else {
        return (Vec::new(), false);
    };
    is_whole &= folders.len() <= 2;
    let folders: BTreeSet<&String> = folders.first().into_iter().chain(folders.last()).collect();
    let mut found = Vec::new();
    for name in folders {
        let folder = format!("{folder}{name}/");
        let Some(listing) = source.list(&folder).await else {
            is_whole = false;
            continue;
        };
        is_whole &= listing.is_whole;
        found.extend(listing.files.iter().filter_map(|file| {
            match locate(&[&folder, file.as_str()].concat()) {
                Some(("", SurveyFile::Tile { tile, format })) => Some((tile, format)),
                _ => None,
            }
        }));
    }
    (found, is_whole)
}
